"""Forward returns against a factor's cross-sections: IC, rank IC and quantile means of every bar, in one fused pass.

For every chunk of bars (cache-sized) and horizon:
1. `prepare`   sort keys that carry the symbol, and returns transposed: bars lie side by side in the inner loops
2. NumPy sorts the keys
3. `moments`   two passes over the symbols: sums per quantile, then centred products with the factor
4. `finish`    one walk over the sorted order: the rank IC in integers, exact

A bar where every name of the factor's cross-section has a return needs nothing else. Where returns are missing, the
factor's mean and ranks are made again over the pairs that are left (`subset_moments`, `subset_ranks`): pairs are
dropped per horizon, so a long horizon never changes a short one's IC.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from .orderkeys import Floats, Ints, Keys, Singles, in_order, pack
from .ranked import MIN_NAMES

Int8s = NDArray[np.int8]
Int32s = NDArray[np.int32]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def turn_factor(factor: Floats, quantile: Int8s, mean: Floats, off: Floats, label: Int8s) -> None:
    """Write the factor less its bar's mean, and its quantiles, as [S, C]; zero where there is no quantile."""
    rows, columns = factor.shape
    for s in range(columns):
        for t in range(rows):
            label[s, t] = quantile[t, s]
            off[s, t] = factor[t, s] - mean[t] if quantile[t, s] >= 0 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def prepare(
    values: Floats,
    quantile: Int8s,
    mask: np.int32,
    single: Singles,
    bits: Keys,
    keys: Keys,
    pairs: Int32s,
    turned: Floats,
) -> None:
    """Write the keys and the pairs of every bar, and `values` [C, S] transposed [S, C] with zero where missing."""
    rows, columns = values.shape
    pack(values, quantile, mask, single, bits, keys, pairs)
    whole = rows // 8 * 8
    for t in range(0, whole, 8):
        for s in range(columns):
            for j in range(8):
                value = values[t + j, s]
                turned[s, t + j] = value if value - value == 0.0 else 0.0
    for t in range(whole, rows):
        for s in range(columns):
            turned[s, t] = values[t, s] if values[t, s] - values[t, s] == 0.0 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def moments(
    turned: Floats, label: Int8s, off: Floats, pairs: Int32s, sums: Floats, cross: Floats, own: Floats, middle: Floats
) -> None:
    """Sum the returns per quantile, then the centred products; bars side by side.

    `turned`, `label`, `off` are [S, C]; `sums` [Q, C]; `cross` = sum (r - mean) (f - mean), `own` = sum (r - mean)^2
    and `middle` = mean, all [C]. The products hold where no return is missing; `finish` makes the others again.
    """
    columns, rows = turned.shape
    quantiles = sums.shape[0]
    sums[:] = 0.0
    for s in range(columns):
        for q in range(quantiles):
            for t in range(rows):
                sums[q, t] += turned[s, t] if label[s, t] == q else 0.0
    middle[:] = 0.0
    for q in range(quantiles):
        for t in range(rows):
            middle[t] += sums[q, t]
    for t in range(rows):
        middle[t] = middle[t] / pairs[t] if pairs[t] else 0.0
    cross[:] = 0.0
    own[:] = 0.0
    for s in range(columns):
        for t in range(rows):
            away = turned[s, t] - middle[t]
            away = away if label[s, t] >= 0 else 0.0
            cross[t] += away * off[s, t]
            own[t] += away * away


@numba.njit(nogil=True, cache=True, error_model="numpy")
def finish(
    keys: Keys,
    values: Floats,
    mask: np.int32,
    factor: Floats,
    quantile: Int8s,
    ranks: NDArray[np.int16],
    count: Int32s,
    held: NDArray[np.int16],
    rank_squares: Ints,
    rank_size: Floats,
    squares: Floats,
    pairs: Int32s,
    sums: Floats,
    cross: Floats,
    own: Floats,
    ic: Floats,
    rank_ic: Floats,
    quantile_return: Floats,
) -> None:
    """Write IC, rank IC and quantile means of every bar of the chunk from its sorted keys and its sums."""
    rows, columns = values.shape
    tally = np.zeros(2 * columns + 2, np.int64)
    fresh = np.zeros(columns, np.int16)
    names = np.zeros(sums.shape[0], np.int16)
    for q in range(names.size):
        for t in range(rows):
            quantile_return[q, t] = sums[q, t] / held[q, t]
    for t in range(rows):
        n = pairs[t]
        whole = n == count[t]
        order, row = keys[t], values[t]
        if not whole:
            names[:] = 0
            for i in range(n):
                names[quantile[t, order[i] & mask]] += 1
            for q in range(names.size):
                quantile_return[q, t] = sums[q, t] / names[q]  # nothing by nobody is missing
        ic[t] = np.nan
        rank_ic[t] = np.nan
        if n < MIN_NAMES:
            continue
        ties = in_order(order, row, n, mask)
        if row[order[0] & mask] == row[order[n - 1] & mask]:
            continue
        if whole:
            ic[t] = _ratio(cross[t], own[t], squares[t])
            if ties:
                rank_ic[t] = rank_pass(order, row, n, mask, ranks[t], rank_squares[t], ties)
            else:
                rank_ic[t] = rank_products(order, n, mask, ranks[t]) / rank_size[t]
        else:
            ic[t] = subset_moments(order, row, n, mask, factor[t])
            left = subset_ranks(order, n, mask, ranks[t], count[t], tally, fresh)
            rank_ic[t] = rank_pass(order, row, n, mask, fresh, left, ties)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ratio(cross: float, own: float, squares: float) -> float:
    """Return the correlation, kept within [-1, 1]; missing when a side does not vary (in float64)."""
    if not (own > 0.0 and squares > 0.0):
        return np.nan
    both = own * squares
    size = np.sqrt(both) if 1e-280 < both < 1e280 else np.sqrt(own) * np.sqrt(squares)
    value = cross / size
    return min(1.0, max(-1.0, value)) if value - value == 0.0 else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def rank_products(order: Keys, n: int, mask: np.int32, ranks: NDArray[np.int16]) -> np.int64:
    """Return the sum of products of both sides' doubled, centred ranks; no ties in the returns."""
    total = np.int64(0)
    for i in range(n):
        total += np.int64(np.int32(2 * i + 1 - n) * np.int32(ranks[np.uint32(order[i] & mask)]))
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def rank_pass(
    order: Keys, row: Floats, n: int, mask: np.int32, ranks: NDArray[np.int16], rank_squares: int, ties: bool
) -> float:
    """Return the Spearman correlation of the sorted returns with the factor's `ranks` (doubled, centred)."""
    if rank_squares == 0:
        return np.nan
    total = np.int64(0)
    if not ties:
        total = rank_products(order, n, mask, ranks)
        return total / np.sqrt(float(rank_squares) * (float(n) * (float(n) * n - 1.0) / 3.0))
    own = 0
    i = 0
    while i < n:
        j = i
        value = row[order[i] & mask]
        part = np.int64(ranks[order[i] & mask])
        while j + 1 < n and row[order[j + 1] & mask] == value:
            j += 1
            part += ranks[order[j] & mask]
        doubled = i + j + 1 - n
        total += doubled * part
        own += (j - i + 1) * doubled * doubled
        i = j + 1
    return total / np.sqrt(float(rank_squares) * float(own)) if own else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def subset_moments(order: Keys, row: Floats, n: int, mask: np.int32, factor: Floats) -> float:
    """Return the Pearson correlation over the `n` pairs at the head of `order`."""
    f_mean = r_mean = 0.0
    for i in range(n):
        f_mean += factor[order[i] & mask]
        r_mean += row[order[i] & mask]
    f_mean, r_mean = f_mean / n, r_mean / n
    low = high = factor[order[0] & mask]
    cross = own = squares = 0.0
    for i in range(n):
        value = factor[order[i] & mask]
        low, high = min(low, value), max(high, value)
        f_off, r_off = value - f_mean, row[order[i] & mask] - r_mean
        cross += f_off * r_off
        own += r_off * r_off
        squares += f_off * f_off
    return np.nan if low == high else _ratio(cross, own, squares)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def subset_ranks(
    order: Keys, n: int, mask: np.int32, ranks: NDArray[np.int16], full: int, tally: Ints, fresh: NDArray[np.int16]
) -> int:
    """Rank the `n` names at the head of `order` among themselves into `fresh`; return the sum of squares.

    The doubled ranks among all `full` names are small integers: counting sorts them.
    """
    tally[: 2 * full + 1] = 0
    for i in range(n):
        tally[ranks[order[i] & mask] + full] += 1
    below = 0
    squares = 0
    for place in range(2 * full + 1):
        here = tally[place]
        doubled = 2 * below + here - n
        tally[place] = doubled
        squares += here * doubled * doubled
        below += here
    for i in range(n):
        s = order[i] & mask
        fresh[s] = tally[ranks[s] + full]
    return squares
