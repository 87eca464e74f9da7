"""The words of "101 Formulaic Alphas" in plain NumPy and pandas, for the formulas of `paper_first` and `paper_second`.

Slow and plain on purpose: windows are cut out and computed one by one, in two passes, with nothing shared with the
package. Arrays are float64 [T, S], missing is NaN, and a comparison is 1.0, 0.0 or NaN. A window of d bars needs
ceil(0.9 d) values; the market has no gaps, so that windows are short only where x / 0 stands before them.

Ranks of computed values may hang on their last bit: two symbols whose correlations are equal on paper differ by
rounding, and then one of them comes first. Inside `ties_seen` whatever compares values takes those within 1e-9 of each
other as equal; inside `ties_broken` it sees them with an error of 1e-12, drawn from a seed. A cell that changes with
that error is decided by rounding, whoever computes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

VALID_SHARE = 0.9
FLAT = 1e-12
"""A window whose standard deviation is below this share of its largest value does not move: its correlation is 0."""
EQUAL, ERROR = 1e-9, 1e-12
"""Shares of the largest value: what counts as equal in `ties_seen`, the error that is added in `ties_broken`."""
_view: list[Callable[[Floats, Floats], Floats]] = []
"""How comparisons see values, given the scale; empty: as they are."""


@contextmanager
def _seeing(view: Callable[[Floats, Floats], Floats]) -> Iterator[None]:
    _view.append(view)
    try:
        yield
    finally:
        _view.pop()


def ties_seen() -> AbstractContextManager[None]:
    """Let comparisons take values as equal that are nearly so."""
    return _seeing(lambda x, scale: np.round(x / scale / EQUAL) * EQUAL)


def ties_broken(seed: int, error: float = ERROR) -> AbstractContextManager[None]:
    """Let comparisons see values with a small error; the opposite error breaks every tie the other way."""
    draw = np.random.default_rng(seed)
    return _seeing(lambda x, scale: x + error * scale * draw.uniform(-1, 1, x.shape))


def _seen(x: Floats, axis: int) -> Floats:
    """Return what a comparison along `axis` sees of x."""
    if not _view:
        return x
    scale = np.max(np.abs(np.nan_to_num(x)), axis=axis, keepdims=True)
    return _view[-1](x, np.where(scale == 0, 1.0, scale))


_whole: list[Callable[[float], int]] = [math.floor]
"""How windows become whole numbers: the paper rounds down."""


@contextmanager
def windows_rounded() -> Iterator[None]:
    """Round windows to the nearest, as KunQuant does."""
    _whole.append(round)
    try:
        yield
    finally:
        _whole.pop()


# ---- one place ------------------------------------------------------------------------------------------------------


def _finite(x: Floats) -> Floats:
    return np.where(np.isfinite(x), x, np.nan)


def over(x: Floats | float, y: Floats | float) -> Floats:
    """x / y."""
    with np.errstate(all="ignore"):
        return _finite(np.divide(x, y))


def power(x: Floats, y: Floats | float) -> Floats:
    """x ^ y; missing where either is (NumPy says that 1 ^ NaN is 1)."""
    with np.errstate(all="ignore"):
        return np.where(np.isnan(x) | np.isnan(y), np.nan, _finite(np.power(x, y)))


def signedpower(x: Floats, a: Floats | float) -> Floats:
    """sign(x) |x| ^ a."""
    return np.sign(x) * power(np.abs(x), a)


def log(x: Floats) -> Floats:
    """Natural logarithm."""
    with np.errstate(all="ignore"):
        return _finite(np.log(x))


def less(x: Floats | float, y: Floats | float) -> Floats:
    """x < y as 1.0, 0.0 or NaN."""
    pair = _seen(np.stack(np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))), 0)
    return np.where(np.isnan(pair).any(axis=0), np.nan, (pair[0] < pair[1]).astype(float))


def equal(x: Floats, y: float) -> Floats:
    """x == y as 1.0, 0.0 or NaN."""
    return np.where(np.isnan(x), np.nan, (x == y).astype(float))


def choose(c: Floats, a: Floats | float, b: Floats | float) -> Floats:
    """c ? a : b."""
    return np.where(np.isnan(c), np.nan, np.where(c == 1.0, a, b))


def either(c: Floats, e: Floats) -> Floats:
    """c || e of complete operands."""
    return np.where(np.isnan(c) | np.isnan(e), np.nan, np.maximum(c, e))


def larger(x: Floats, y: Floats) -> Floats:
    """max(x, y) of two series."""
    return np.maximum(x, y)


def smaller(x: Floats, y: Floats) -> Floats:
    """min(x, y) of two series."""
    return np.minimum(x, y)


# ---- across symbols -------------------------------------------------------------------------------------------------


def rank(x: Floats) -> Floats:
    """Average-tie rank over the number of symbols."""
    return pd.DataFrame(_seen(x, 1)).rank(axis=1, pct=True).to_numpy()


def scale(x: Floats, a: float = 1.0) -> Floats:
    """A multiple of x with sum |x| = a."""
    return over(a * x, np.nansum(np.abs(x), axis=1, keepdims=True))


def indneutralize(x: Floats, group: Floats) -> Floats:
    """x less the mean of its group."""
    out = np.full_like(x, np.nan)
    for label in np.unique(group[~np.isnan(group)]):
        inside = (group == label) & ~np.isnan(x)
        total = np.where(inside, x, 0.0).sum(axis=1, keepdims=True)
        out = np.where(inside, x - over(total, inside.sum(axis=1, keepdims=True)), out)
    return out


# ---- along time -----------------------------------------------------------------------------------------------------


def delay(x: Floats, d: float) -> Floats:
    """x d bars ago."""
    return pd.DataFrame(x).shift(_whole[-1](d)).to_numpy()


def delta(x: Floats, d: float) -> Floats:
    """x less x d bars ago."""
    return x - delay(x, d)


def _windows(x: Floats, d: float) -> tuple[Floats, Bools, int]:
    """Return the windows [T - d + 1, S, d], where they hold enough values, and d as a whole number."""
    whole = _whole[-1](d)
    cut = sliding_window_view(x, whole, axis=0)
    enough = (~np.isnan(cut)).sum(axis=2) >= math.ceil(VALID_SHARE * whole)
    return cut, enough, whole


def _placed(values: Floats, enough: Bools, rows: int) -> Floats:
    out = np.full((rows, values.shape[1]), np.nan)
    out[rows - len(values) :] = np.where(enough, values, np.nan)
    return out


def ts_sum(x: Floats, d: float) -> Floats:
    """Sum of the window."""
    cut, enough, _ = _windows(x, d)
    return _placed(np.nansum(cut, axis=2), enough, len(x))


def product(x: Floats, d: float) -> Floats:
    """Product of the window."""
    cut, enough, _ = _windows(x, d)
    return _placed(np.nanprod(cut, axis=2), enough, len(x))


def _extreme(x: Floats, d: float, sign: float) -> Floats:
    cut, enough, _ = _windows(sign * x, d)
    return sign * _placed(np.max(np.where(np.isnan(cut), -np.inf, cut), axis=2), enough, len(x))


def ts_max(x: Floats, d: float) -> Floats:
    """Largest value of the window."""
    return _extreme(x, d, 1.0)


def ts_min(x: Floats, d: float) -> Floats:
    """Smallest value of the window."""
    return _extreme(x, d, -1.0)


def ts_argmax(x: Floats, d: float) -> Floats:
    """Which bar of the window is largest: 1 the oldest, d the present one; the later of equal ones."""
    cut, enough, whole = _windows(x, d)
    filled = np.where(np.isnan(cut), -np.inf, _seen(cut, 2))
    return _placed(whole - np.argmax(filled[:, :, ::-1], axis=2).astype(float), enough, len(x))


def ts_argmin(x: Floats, d: float) -> Floats:
    """Which bar of the window is smallest."""
    return ts_argmax(-x, d)


def ts_rank(x: Floats, d: float) -> Floats:
    """Average-tie rank of the present value in the window, 1 the smallest."""
    cut, enough, _ = _windows(x, d)
    cut = _seen(cut, 2)
    now = cut[:, :, -1:]
    ranks = (cut < now).sum(axis=2) + ((cut == now).sum(axis=2) + 1) / 2
    return _placed(np.where(np.isnan(now[:, :, 0]), np.nan, ranks), enough, len(x))


def stddev(x: Floats, d: float) -> Floats:
    """Standard deviation, ddof 1."""
    cut, enough, _ = _windows(x, d)
    away = cut - np.nanmean(cut, axis=2, keepdims=True)
    count = (~np.isnan(cut)).sum(axis=2)
    return _placed(np.sqrt(over(np.nansum(away**2, axis=2), count - 1)), enough, len(x))


def _comoved(x: Floats, y: Floats, d: float) -> tuple[Floats, Floats, Floats, Bools]:
    """Return sum (x - mean)(y - mean), the product of both sums of squares, the count, and where that is enough."""
    both = ~np.isnan(x) & ~np.isnan(y)
    first, enough, _ = _windows(np.where(both, x, np.nan), d)
    second, _, _ = _windows(np.where(both, y, np.nan), d)
    count = (~np.isnan(first)).sum(axis=2)
    with np.errstate(all="ignore"):
        a = np.nan_to_num(first - np.nansum(first, axis=2, keepdims=True) / count[:, :, None])
        b = np.nan_to_num(second - np.nansum(second, axis=2, keepdims=True) / count[:, :, None])
        sums = [(one * two).sum(axis=2) for one, two in ((a, b), (a, a), (b, b))]
        moves = enough.copy()
        for square, cut in ((sums[1], first), (sums[2], second)):
            moves &= np.sqrt(square / count) > FLAT * np.max(np.abs(np.nan_to_num(cut)), axis=2)
    return np.where(moves, sums[0], 0.0), np.where(moves, sums[1] * sums[2], 1.0), count.astype(float), enough


def correlation(x: Floats, y: Floats, d: float) -> Floats:
    """Pearson correlation of the window."""
    together, alone, _, enough = _comoved(x, y, d)
    return _placed(over(together, np.sqrt(alone)), enough, len(x))


def covariance(x: Floats, y: Floats, d: float) -> Floats:
    """Covariance of the window, ddof 1."""
    together, _, count, enough = _comoved(x, y, d)
    return _placed(over(together, count - 1), enough, len(x))


def decay_linear(x: Floats, d: float) -> Floats:
    """Mean of the window with weights 1 (oldest) .. d (now)."""
    cut, enough, whole = _windows(x, d)
    weights = np.where(np.isnan(cut), 0.0, np.arange(1.0, whole + 1))
    return _placed(over(np.nansum(weights * cut, axis=2), weights.sum(axis=2)), enough, len(x))


class Market:
    """The paper's data: prices, volume and what it derives from them."""

    def __init__(self, fields: dict[str, Floats], *, adv_of: str = "quote_asset_volume") -> None:
        self.open, self.high, self.low, self.close = (fields[name] for name in ("open", "high", "low", "close"))
        self.volume, self.averaged = fields["volume"], fields[adv_of]
        self.vwap = over(fields["quote_asset_volume"], self.volume)
        self.returns = over(self.close, delay(self.close, 1)) - 1
        self.cap = fields["supply"] * self.close
        self.sector, self.industry, self.subindustry = fields["sector"], fields["sector"], fields["subindustry"]

    def adv(self, d: int) -> Floats:
        """Mean dollar volume of d bars (or of what `adv_of` names)."""
        return ts_sum(self.averaged, d) / d
