"""Is the mean of a series over bars other than zero? Newey-West errors, Student p-values, bootstrap intervals.

A series has one value per bar of a regular clock, NaN where the bar has none. Missing bars are counted as no deviation
(amplitude modulation, Parzen 1963): a hole never moves later bars closer together.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from .evaluation import Floats, SeriesSummary
from .series import series_numbers

CONFIDENCE = 0.95
DRAWS = 999
SEED = 20_170_814
"""Bootstrap draws are the same in every run: a report does not change by being made again."""

MOST_PICKS = 1_000_000
"""Random block starts of one interval; long series have many blocks, whose sum needs few draws to settle."""


def newey_west_lag(bars: int) -> int:
    """Return the lag for forward returns of `bars` bars: 2 (bars - 1).

    Returns over h bars that start on every bar overlap in h - 1, so that errors are correlated up to there. Bartlett
    weights of that same length would keep only two thirds of the sum of those correlations; twice the length keeps
    five sixths, and the degrees of freedom of `student_p` pay for the noise of the longer window.
    """
    return 2 * (bars - 1)


def newey_west_error(values: Floats, lag: int) -> Floats:
    """Return the standard error of the mean over axis 0, with Bartlett weights up to `lag`.

    Parameters
    ----------
    values
        float64 [T] or [T, K]; NaN is a bar without a value.
    lag
        0 gives std(ddof 1) / sqrt(n). Cut at n - 1.

    Returns
    -------
    float64 [] or [K]
        sqrt(sum_{|l| <= L} (1 - |l| / (L + 1)) sum_t d_t d_{t-l} x n / (n - 1)) / n, d the deviations from the mean
        (Newey and West 1987); missing below two values.
    """
    columns = values.reshape(len(values), -1)
    errors = [series_numbers(columns[:, place], lag)[3] for place in range(columns.shape[1])]
    return np.array(errors).reshape(values.shape[1:])


def student_p(t: float, freedom: float) -> float:
    """Return the two-sided p-value of Student's t; missing in, missing out.

    Source: regularised incomplete beta function I_x(v/2, 1/2), x = v / (v + t^2).
    """
    if not (math.isfinite(t) and freedom > 0):
        return math.nan
    return _incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t), t * t / (freedom + t * t))


def degrees_of_freedom(count: int, lag: int) -> float:
    """Return min(n - 1, 1.5 n / (lag + 1)), those of the Bartlett estimate (Lazarus, Lewis, Stock and Watson 2018)."""
    return min(count - 1.0, 1.5 * count / (lag + 1))


def errors_to_each_side(count: int, lag: int) -> float:
    """Return half of the interval at `CONFIDENCE` of a mean of `count` bars, in its standard errors.

    It excludes zero where `student_p` is below 1 - `CONFIDENCE`.

    Missing below one degree of freedom: there are fewer bars than one horizon, and an error is not to be had of them.
    """
    return _student_quantile(degrees_of_freedom(count, lag))


@lru_cache(maxsize=4096)
def _student_quantile(freedom: float) -> float:
    """Return t with `student_p(t, freedom)` = 1 - `CONFIDENCE`, by bisection."""
    if not freedom >= 1.0:
        return math.nan
    low, high = 1.0, 13.0  # 1.96 for ever so many degrees of freedom, 12.71 for one
    while high - low > 1e-10:
        middle = (low + high) / 2.0
        low, high = (middle, high) if student_p(middle, freedom) > 1.0 - CONFIDENCE else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """Return I_x(a, b), `rest` = 1 - x given without cancellation (continued fraction, DLMF 8.17.22)."""
    if x <= 0.0 or rest <= 0.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _incomplete_beta(b, a, rest, x)
    powers = a * _log_of(x, rest) + b * _log_of(rest, x)
    front = math.exp(powers - _log_beta_half(b if a == 0.5 else a)) / a
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(1.0 - (a + b) * x / (a + 1.0), tiny)
    total = d
    for m in range(1, 400):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0)),
        ):
            d = 1.0 / (1.0 + step * d or tiny)
            c = 1.0 + step / c or tiny
            total *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    return front * total


def _log_of(x: float, rest: float) -> float:
    """Return log(x), where `rest` = 1 - x is the more exact one of the two when it is small."""
    return math.log1p(-rest) if rest < 0.5 else math.log(x)


def _log_beta_half(a: float) -> float:
    """Return log B(a, 1/2); for large `a` by Stirling's series of the ratio, whose terms alone would cancel."""
    if a < 1e3:
        return math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    return math.lgamma(0.5) - 0.5 * math.log(a) + 1.0 / (8.0 * a) - 1.0 / (192.0 * a**3)


def bootstrap_interval(values: Floats, block: int, draws: int = DRAWS) -> tuple[float, float]:
    """Return the percentile interval of the mean of `values` [T] by the circular block bootstrap.

    Blocks of `block` bars keep the dependence inside a block (Politis and Romano 1992). Missing bars are drawn like
    others and count for nothing. (NaN, NaN) below two values.
    """
    valid = np.isfinite(values)
    bars = len(values)
    if int(valid.sum()) < 2:
        return math.nan, math.nan
    size = max(1, min(block, bars))
    blocks = -(-bars // size)
    draws = max(99, min(draws, MOST_PICKS // blocks))
    total = _circular_sums(np.where(valid, values, 0.0), size)
    count = _circular_sums(valid.astype(np.float64), size)
    rng = np.random.default_rng(SEED)
    start = rng.integers(0, bars, (draws, blocks))
    held = count[start].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(held > 0, total[start].sum(axis=1) / held, np.nan)
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.nanquantile(means, (tail, 1.0 - tail))
    return float(low), float(high)


def _circular_sums(values: Floats, size: int) -> Floats:
    run = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: size - 1]]))])
    return np.asarray(run[size:] - run[:-size])


def block_length(bars: int, total: int) -> int:
    """Return the bootstrap's block: twice the horizon, and no less than the cube root of the series' length."""
    return max(2 * bars, math.ceil(total ** (1 / 3))) if total else 1


def summarise(values: Floats, bars: int, *, bootstrap: bool = True) -> SeriesSummary:
    """Return a series [T] in numbers, for forward returns of `bars` bars.

    The p-value is Student's with `degrees_of_freedom`. A number without a value (no bars, no spread) is NaN.
    """
    lag = newey_west_lag(bars)
    n, mean, std, error, hit_rate = series_numbers(values, lag)
    t = mean / error if error > 0 else math.nan
    return SeriesSummary(
        count=n,
        mean=mean,
        std=std,
        icir=mean / std if std > 0 else math.nan,
        t_newey_west=t,
        p_value=student_p(t, degrees_of_freedom(n, lag)),
        hit_rate=hit_rate,
        lag=lag,
        interval=bootstrap_interval(values, block_length(bars, len(values))) if bootstrap else (math.nan, math.nan),
    )
