"""Slow twins of moments, regressions, weighted means, states and the larger cross-sections; see `reference`.

Where a definition cancels (regression, partial correlation), the twin computes in fractions and rounds once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from Backtest.data.dsl.operators import Context

from .twins import (
    NAN,
    Twin,
    across,
    average_rank,
    column,
    decay,
    deviations,
    ema_twin,
    episode,
    finite,
    flat,
    missing,
    quantile_of,
    variance,
    windowed,
)  # fmt: skip

Rows = Sequence[tuple[float, ...]]

# ---- windows of one series ------------------------------------------------------------------------------------------


def central(rows: Rows, k: int) -> float:
    return math.fsum(u**k for u in deviations(column(rows))) / len(rows)


def skew(rows: Rows, t: int) -> float:
    n = len(rows)
    if n < 3 or flat(column(rows)):
        return NAN
    return math.sqrt(n * (n - 1)) / (n - 2) * central(rows, 3) / central(rows, 2) ** 1.5


def kurt(rows: Rows, t: int) -> float:
    n = len(rows)
    if n < 4 or flat(column(rows)):
        return NAN
    return (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * central(rows, 4) / central(rows, 2) ** 2 - 3 * (n - 1))


def information_ratio(rows: Rows, t: int) -> float:
    if len(rows) < 2 or flat(column(rows)):
        return NAN
    return math.fsum(column(rows)) / len(rows) / math.sqrt(variance(rows, t))


def present(function: Callable[[list[float], float], float]) -> Callable[..., float]:
    """Make a statistic of all values and the present one; missing where that is."""

    def statistic(rows: Rows, t: int) -> float:
        return function(column(rows), rows[-1][1]) if rows[-1][0] == t else NAN

    return statistic


def product(rows: Rows, t: int) -> float:
    return float(math.prod(map(Fraction, column(rows))))


def fit_of_rows(rows: Rows, t: int, out: str) -> float:
    return regression([(row, x, row) for row, x in rows], t, out)


def entropy(rows: Rows, t: int, buckets: int) -> float:
    values = column(rows)
    low, width = min(values), max(values) - min(values)
    if width <= 1e-12 * max(map(abs, values)):
        return 0
    held = [min(int((value - low) / width * buckets), buckets - 1) for value in values]
    shares = [held.count(bucket) / len(held) for bucket in set(held)]
    return -math.fsum(share * math.log(share) for share in shares)


def drawdown(rows: Rows, t: int) -> float:
    values = column(rows)
    if min(values) <= 0:
        return NAN
    return min((u - s) / s for k, s in enumerate(values) for u in values[k:])


def realized_vol(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
    x = operands[0]
    change = np.full(x.shape, NAN)
    for t, b in np.ndindex(x.shape):
        if t > 0 and context.age[t, b] > 1 and x[t, b] > 0 and x[t - 1, b] > 0:
            # The logarithms' difference keeps no digits of a small step, log1p none of a fall to nearly nothing.
            step = (x[t, b] - x[t - 1, b]) / x[t - 1, b]
            change[t, b] = math.log1p(step) if abs(step) < 0.5 else math.log(x[t, b]) - math.log(x[t - 1, b])
    return l2_norm([change], literals, context)


l2_norm = windowed(lambda rows, t: math.sqrt(math.fsum(x * x for x in column(rows))))


def count_nan(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
    gone = np.where(np.isnan(operands[0]), 1.0, 0.0)
    there = windowed(lambda rows, t: len(rows), gap_rule=False)(operands, literals, context)
    bars = windowed(lambda rows, t: len(rows))([gone], {**literals, "min_periods": 1}, context)
    return bars - there


def hull(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
    def mean(x: np.ndarray, d: int) -> np.ndarray:
        return windowed(decay, "d")([x], {"d": d, "min_periods": None}, context)

    d = literals["d"]
    return mean(2 * mean(operands[0], d // 2) - mean(operands[0], d), math.floor(math.sqrt(d)))


def fading(rows: Rows, t: int, f: float) -> float:
    weights = [f ** (rows[-1][0] - row) for row in column(rows, 0)]
    newest = rows[-1][1]
    return newest + math.fsum(w * (x - newest) for w, (_, x) in zip(weights, rows, strict=True)) / math.fsum(weights)


# ---- windows of two and three series --------------------------------------------------------------------------------


def exact_deviations(values: Sequence[float]) -> list[Fraction]:
    held = [Fraction(value) for value in values]
    mean = sum(held, Fraction(0)) / len(held)
    return [value - mean for value in held]


def dot(u: Sequence[Fraction], v: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(u, v, strict=True)), Fraction(0))


def root(value: Fraction) -> float:
    """Square root of a fraction of any size."""
    shift = 2 * max(0, 80 + (value.denominator.bit_length() - value.numerator.bit_length()) // 2)
    return float(Fraction(math.isqrt(int(value * 2**shift)), 2 ** (shift // 2)))


def regression(rows: Rows, t: int, out: str) -> float:
    """Rows are (row, y, x)."""
    n = len(rows)
    if n < 2 or flat(column(rows, 2)):
        return NAN
    y, x = exact_deviations(column(rows, 1)), exact_deviations(column(rows, 2))
    beta = dot(y, x) / dot(x, x)
    left = [u - beta * v for u, v in zip(y, x, strict=True)]
    mean_y, mean_x = Fraction(rows[0][1]) - y[0], Fraction(rows[0][2]) - x[0]
    if out in ("resid", "fitted"):
        return NAN if rows[-1][0] != t else float(left[-1] if out == "resid" else Fraction(rows[-1][1]) - left[-1])
    if out == "r2":
        return NAN if flat(column(rows, 1)) else float(1 - dot(left, left) / dot(y, y))
    if out == "se_beta":
        return root(dot(left, left) / (n - 2) / dot(x, x)) if n > 2 else NAN
    return float(beta if out == "beta" else mean_y - beta * mean_x)


def partial_correlation(rows: Rows, t: int) -> float:
    if len(rows) < 3 or any(flat(column(rows, k)) for k in (1, 2, 3)):
        return NAN
    x, y, z = (exact_deviations(column(rows, k)) for k in (1, 2, 3))
    left = []
    for values in (x, y):
        share = dot(values, z) / dot(z, z)
        left.append([v - share * w for v, w in zip(values, z, strict=True)])
        if dot(left[-1], left[-1]) <= Fraction(1, 10**12) * dot(values, values):
            return NAN
    return float(dot(*left)) / root(dot(left[0], left[0])) / root(dot(left[1], left[1]))


def comoment(power: int) -> Callable[..., float]:
    def statistic(rows: Rows, t: int) -> float:
        n, y, x = len(rows), column(rows, 1), column(rows, 2)
        if n < 2 or flat(y) or flat(x):
            return NAN
        std_y, std_x = (math.sqrt(math.fsum(u * u for u in deviations(values)) / n) for values in (y, x))
        pairs = zip(deviations(y), deviations(x), strict=True)
        return math.fsum(u / std_y * (v / std_x) ** power for u, v in pairs) / n

    return statistic


def weighted_mean(rows: Rows, t: int) -> float:
    weights = [Fraction(w) for w in column(rows, 2)]
    total = sum(weights, Fraction(0))
    if abs(total) <= Fraction(1, 10**12) * sum(map(abs, weights)):
        return NAN
    return float(dot([Fraction(x) for x in column(rows, 1)], weights) / total)


def split(rows: Rows, t: int, k: int, part: str) -> float:
    if len(rows) < k:
        return NAN
    order = [x for _, x, _ in sorted(rows, key=lambda row: (row[2], row[0]))]
    top, bottom = math.fsum(order[-k:]), math.fsum(order[:k])
    return {"top": top, "bottom": bottom, "diff": top - bottom}[part]


# ---- from the episode's first bar -----------------------------------------------------------------------------------


def history(function: Callable[..., float], *names: str) -> Twin:
    """Twin of a recursive operator: `function` gets the episode's rows [(row, x, ...)] up to now, and literals."""

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        out = np.full(context.age.shape, NAN)
        for t, b in np.ndindex(out.shape):
            rows = [(row, *(float(x[row, b]) for x in operands)) for row in episode(context, t, b)]
            if context.age[t, b]:
                out[t, b] = finite(function, rows, *(literals[name] for name in names))
        return out

    return twin


def so_far(function: Callable[[list[float]], float]) -> Twin:
    def statistic(rows: Rows) -> float:
        return NAN if missing(rows[-1][1]) else function([x for x in column(rows) if not missing(x)])

    return history(statistic)


def stacked(depth: int) -> Twin:
    one = ema_twin(lambda literals: 2 / (literals["span"] + 1), "span")

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        e1 = one(operands, literals, context)
        e2 = one([e1], literals, context)
        return 2 * e1 - e2 if depth == 2 else 3 * e1 - 3 * e2 + one([e2], literals, context)

    return twin


def kama(rows: Rows, d: int, fast: int, slow: int) -> float:
    x = [value for value in column(rows) if not missing(value)]
    if missing(rows[-1][1]) or len(x) <= d:
        return NAN
    f, s = 2 / (fast + 1), 2 / (slow + 1)
    y = x[d - 1]
    for k in range(d, len(x)):
        path = math.fsum(abs(x[i] - x[i - 1]) for i in range(k - d + 1, k + 1))
        efficiency = abs(x[k] - x[k - d]) / path if path else 1
        y += (efficiency * (f - s) + s) ** 2 * (x[k] - y)
    return y


def bars_since(rows: Rows) -> float:
    return NAN if missing(rows[-1][1]) else rows[-1][0] - max(row for row, c in rows if c == 1)


def value_when(rows: Rows) -> float:
    return NAN if missing(rows[-1][1]) else [x for _, c, x in rows if c == 1][-1]


def trade_when(rows: Rows) -> float:
    held = NAN
    for _, trigger, x, leave in rows:
        if missing(trigger) or missing(leave):
            continue
        held = NAN if leave else x if trigger else held
    return NAN if missing(rows[-1][1]) or missing(rows[-1][3]) else held


def last_change(rows: Rows) -> float:
    valid = [(row, x) for row, x in rows if not missing(x)]
    changed = [valid[0][0], *(row for (_, old), (row, x) in pairwise(valid) if x != old)]
    return NAN if missing(rows[-1][1]) else rows[-1][0] - changed[-1]


def hump(rows: Rows, limit: float) -> float:
    if missing(rows[-1][1]):
        return NAN
    valid = [x for x in column(rows) if not missing(x)]
    y = valid[0]
    for x in valid:
        y += 0 if abs(x - y) <= limit else math.copysign(limit, x - y)
    return y


def crossing(rises: Callable[[float, float], bool]) -> Twin:
    """`rises(v, w)`: v lies strictly beyond w."""

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        x, y = (np.broadcast_to(operand, context.age.shape) for operand in operands)
        out = np.full(context.age.shape, NAN)
        for t, b in np.ndindex(out.shape):
            if t > 0 and context.age[t, b] > 1 and not any(map(missing, (*x[t - 1 : t + 1, b], *y[t - 1 : t + 1, b]))):
                out[t, b] = rises(x[t, b], y[t, b]) and not rises(x[t - 1, b], y[t - 1, b])
        return out

    return twin


# ---- across symbols -------------------------------------------------------------------------------------------------


def everyone(function: Callable[..., float]) -> Callable[..., list[float]]:
    """Give every member the same value."""
    return lambda values, *literals: [finite(function, values, *literals)] * len(values)


def place(values: list[float], x: float) -> float:
    low, high = min(values), max(values)
    return (x - low) / (high - low) if high - low > 1e-12 * max(abs(low), abs(high)) else NAN


def minmax(values: list[float]) -> list[float]:
    return [place(values, value) for value in values]


def robust(values: list[float]) -> tuple[float, float]:
    median = quantile_of(values, 0.5)
    return median, 1.4826 * quantile_of([abs(value - median) for value in values], 0.5)


def robust_zscore(values: list[float]) -> list[float]:
    median, width = robust(values)
    return [(value - median) / width if width > 1e-12 * abs(median) else NAN for value in values]


def clip_mad(values: list[float], k: float) -> list[float]:
    median, width = robust(values)
    return [min(max(value, median - k * width), median + k * width) for value in values]


def cross_std(values: list[float], ddof: int) -> float:
    return math.sqrt(variance([(0, value) for value in values], 0, ddof))


def clip_std(values: list[float], k: float, ddof: int) -> list[float]:
    mean, std = values[0] - deviations(values)[0], cross_std(values, ddof)
    return [NAN if missing(std) else min(max(value, mean - k * std), mean + k * std) for value in values]


def exact_quantile(values: list[float], q: Fraction) -> Fraction:
    held = sorted(map(Fraction, values))
    position = q * (len(held) - 1)
    low = math.floor(position)
    return held[low] + (position - low) * (held[min(low + 1, len(held) - 1)] - held[low])


def qcut(values: list[float], q: int) -> list[float]:
    edges = [exact_quantile(values, Fraction(j, q)) for j in range(1, q)]
    return [sum(edge < value for edge in edges) for value in values]


def normal_scores(values: list[float]) -> list[float]:
    places = [(average_rank(values, value) - 0.5) / len(values) for value in values]
    return [NormalDist().inv_cdf(place) for place in places]


def together(function: Callable[..., Sequence[float]]) -> Twin:
    """Twin of a cross-section of several series: `function` gets those of the members where all are valid."""

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        assert context.population is not None
        out = np.full(context.age.shape, NAN)
        for t in range(len(out)):
            members = [
                s for s in np.flatnonzero(context.population[t]) if not any(missing(x[t, s]) for x in operands)
            ]  # fmt: skip
            if members:
                out[t, members] = function(*([float(x[t, s]) for s in members] for x in operands))
        return out

    return twin


def take_out(directions: Sequence[list[Fraction]], values: list[Fraction]) -> list[Fraction]:
    for direction in directions:
        share = dot(values, direction) / dot(direction, direction)
        values = [v - share * w for v, w in zip(values, direction, strict=True)]
    return values


def residuals(y: list[float], *others: list[float]) -> Sequence[float]:
    if len(y) <= len(others) + 1:
        return [NAN] * len(y)
    directions: list[list[Fraction]] = []
    for x in others:
        left = take_out(directions, exact_deviations(x))
        if dot(left, left) > (Fraction(1, 10**12) * Fraction(max(map(abs, x)))) ** 2 * (len(x) - 1):
            directions.append(left)
    return [float(value) for value in take_out(directions, exact_deviations(y))]


def vector_neut(x: list[float], y: list[float]) -> Sequence[float]:
    directions = [[Fraction(value) for value in y]] if any(y) else []
    return [float(value) for value in take_out(directions, [Fraction(value) for value in x])]


def cross_correlation(x: list[float], y: list[float]) -> Sequence[float]:
    if len(x) < 2 or flat(x) or flat(y):
        return [NAN] * len(x)
    u, v = exact_deviations(x), exact_deviations(y)
    return [float(dot(u, v)) / root(dot(u, u)) / root(dot(v, v))] * len(x)


def of_named(operands: Sequence[np.ndarray], literals: Mapping[str, Any], context: Context) -> np.ndarray:
    """Copy the named column to every symbol that is listed."""
    other = operands[0][:, [context.symbols.index(literals["symbol"])]]
    return np.where(context.age > 0, np.repeat(other, context.age.shape[1], axis=1), NAN)


def beta_to(operands: Sequence[np.ndarray], literals: Mapping[str, Any], context: Context) -> np.ndarray:
    line = windowed(lambda rows, t: regression(rows, t, "beta"))
    return line([operands[0], of_named(operands, literals, context)], {"min_periods": None, **literals}, context)


MORE: dict[str, Twin] = {
    "of": of_named,
    "beta_to": beta_to,
    "ts_product": windowed(product),
    "ts_skew": windowed(skew),
    "ts_kurt": windowed(kurt),
    "ts_moment": windowed(lambda rows, t, k: central(rows, k), "k"),
    "ts_mad": windowed(lambda rows, t: math.fsum(map(abs, deviations(column(rows)))) / len(rows)),
    "ts_scale": windowed(present(place)),
    "ts_av_diff": windowed(lambda rows, t: deviations(column(rows))[-1] if rows[-1][0] == t else NAN),
    "ts_max_diff": windowed(present(lambda values, x: x - max(values))),
    "ts_min_diff": windowed(present(lambda values, x: x - min(values))),
    "ts_ir": windowed(information_ratio),
    "ts_l2_norm": l2_norm,
    "ts_count_nan": count_nan,
    "ts_rsquare": windowed(lambda rows, t: fit_of_rows(rows, t, "r2")),
    "ts_resid": windowed(lambda rows, t: fit_of_rows(rows, t, "resid")),
    "ts_entropy": windowed(entropy, "buckets"),
    "ts_max_drawdown": windowed(drawdown),
    "ts_realized_vol": realized_vol,
    "decay_exp": windowed(fading, "f"),
    "hull": hull,
    "cross_up": crossing(lambda v, w: v > w),
    "cross_down": crossing(lambda v, w: v < w),
    "ts_beta": windowed(lambda rows, t: regression(rows, t, "beta")),
    "ts_regression": windowed(regression, "out"),
    "ts_partial_corr": windowed(partial_correlation),
    "ts_co_skew": windowed(comoment(2)),
    "ts_co_kurt": windowed(comoment(3)),
    "ts_weighted_mean": windowed(weighted_mean),
    "sum_split_by": windowed(split, "k", "part"),
    "ewm_halflife": lambda operands, literals, context: ema_twin(lambda given: 1 - 0.5 ** (1 / given["h"]), "needed")(
        operands, {**literals, "needed": math.ceil(literals["h"])}, context
    ),
    "dema": stacked(2),
    "tema": stacked(3),
    "kama": history(kama, "d", "fast", "slow"),
    "cum_sum": so_far(math.fsum),
    "cum_max": so_far(max),
    "cum_min": so_far(min),
    "cum_count": history(lambda rows: sum(not missing(x) for x in column(rows))),
    "bars_since": history(bars_since),
    "value_when": history(lambda rows: value_when(rows) if any(c == 1 for c in column(rows)) else NAN),
    "days_from_last_change": history(lambda rows: NAN if missing(rows[-1][1]) else last_change(rows)),
    "trade_when": history(trade_when),
    "hump": history(hump, "limit"),
    "cs_minmax": across(minmax),
    "cs_robust_zscore": across(robust_zscore),
    "cs_clip_mad": across(clip_mad, "k"),
    "cs_clip_std": across(clip_std, "k", "ddof"),
    "cs_qcut": across(qcut, "q"),
    "cs_quantile": across(normal_scores),
    "cs_mean": across(everyone(lambda values: math.fsum(values) / len(values))),
    "cs_median": across(everyone(lambda values: quantile_of(values, 0.5))),
    "cs_std": across(everyone(cross_std), "ddof"),
    "cs_sum": across(everyone(math.fsum)),
    "cs_count": across(everyone(len)),
    "cs_resid": together(residuals),
    "cs_vector_neut": together(vector_neut),
    "cs_corr": together(cross_correlation),
}
"""Operator name -> twin."""
