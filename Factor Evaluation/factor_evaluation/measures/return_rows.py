"""Forward returns against a factor's cross-sections: IC, rank IC and quantile means of every bar, in one fused pass.

For every chunk of bars (cache-sized), `factor_rows` brings the factor into its own sorted order; then for every horizon
1. `pack`      keys that carry the name's place in that order
2. NumPy sorts the keys
3. `moments`   returns gathered into that order, bars side by side: sums per quantile (a run of places), then centred
               products with the factor
4. `finish`    the rank IC in integers, exact: the sorted keys' low bits are the factor's ranks already

A bar where every name of the factor's cross-section has a return and no values tie needs nothing else. For the others
the low bits become columns again; where returns are missing, the factor's mean and ranks are made again over the pairs
that are left (`subset_moments`, `subset_ranks`): pairs are dropped per horizon, so a long horizon never changes a short
one's IC.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from Backtest.machine_code import compiled

from .factor_rows import SIDE
from .orderkeys import Columns, Floats, Int8s, Int16s, Ints, Keys, scan, settle
from .ranked import MIN_NAMES, squares_of_ranks

Int32s = NDArray[np.int32]


@compiled
def moments(
    values: Floats,
    column: Columns,
    label: Int8s,
    off: Floats,
    bands: Ints,
    pairs: Int32s,
    turned: Floats,
    sums: Floats,
    cross: Floats,
    own: Floats,
) -> None:
    """Sum the returns [C, S] per quantile, then the centred products; bars side by side.

    `column`, `label`, `off` and `bands` are those of `turn_factor`; `turned` [S, BLOCK] is room for a block's returns,
    zero where missing. Written are `sums` [Q, C], `cross` [C] = sum (r - mean) (f - mean) and `own` [C] =
    sum (r - mean)^2. The products hold where no return is missing; `finish` makes the others again.
    """
    rows, columns = values.shape
    block = turned.shape[1]
    middle = np.empty(block)
    sums[:] = 0.0
    cross[:] = 0.0
    own[:] = 0.0
    for b in range(label.shape[0]):
        start = b * block
        bars = min(block, rows - start)
        _gather(values, start, bars, column, b, turned)
        middle[:] = 0.0
        for q in range(sums.shape[0]):
            for p in range(bands[b, q, 0], bands[b, q, 1]):
                for j in range(bars):
                    sums[q, start + j] += turned[p, j] if label[b, p, j] == q else 0.0
            for j in range(bars):
                middle[j] += sums[q, start + j]
        for j in range(bars):
            middle[j] = middle[j] / pairs[start + j] if pairs[start + j] else 0.0
        for p in range(columns):
            for j in range(bars):
                away = turned[p, j] - middle[j]
                away = away if label[b, p, j] >= 0 else 0.0
                cross[start + j] += away * off[b, p, j]
                own[start + j] += away * away


@compiled
def _gather(values: Floats, start: int, bars: int, column: Columns, b: int, turned: Floats) -> None:
    """Write a block's returns by place [S, BLOCK], zero where missing."""
    for first in range(0, bars, SIDE):
        if first + SIDE <= bars:
            for p in range(turned.shape[0]):
                for j in range(first, first + SIDE):
                    value = values[start + j, column[b, p, j]]
                    turned[p, j] = value if value - value == 0.0 else 0.0
        else:
            for p in range(turned.shape[0]):
                for j in range(first, bars):
                    value = values[start + j, column[b, p, j]]
                    turned[p, j] = value if value - value == 0.0 else 0.0


@compiled
def finish(
    keys: Keys,
    values: Floats,
    mask: np.int32,
    factor: Floats,
    names: Columns,
    label: Int8s,
    ranks: Int16s,
    count: Int32s,
    held: Int16s,
    rank_squares: Ints,
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
    block = label.shape[2]
    tally = np.zeros(2 * columns + 2, np.int64)
    fresh = np.zeros(columns, np.int32)
    for q in range(held.shape[0]):
        for t in range(rows):
            quantile_return[q, t] = sums[q, t] / held[q, t]
    for t in range(rows):
        n = pairs[t]
        whole = n == count[t]
        clash, total = scan(keys, t, n, mask)
        size = squares_of_ranks(n)
        if whole and not clash and n >= MIN_NAMES and rank_squares[t] == size:
            ic[t] = _ratio(cross[t], own[t], squares[t])
            rank_ic[t] = _rank_ratio(total, n, size)
            continue
        ic[t] = np.nan
        rank_ic[t] = np.nan
        if not whole:
            _means_of_some(keys[t, :n], mask, label[t // block, :, t % block], sums[:, t], quantile_return[:, t])
        if n < MIN_NAMES:
            continue
        order, row = keys[t], values[t]
        ties = clash and settle(order, row, names[t], n, mask)
        if ties and row[names[t, order[0] & mask]] == row[names[t, order[n - 1] & mask]]:
            continue
        if whole:
            ic[t] = _ratio(cross[t], own[t], squares[t])
            if not ties and rank_squares[t] == size:
                rank_ic[t] = _rank_ratio(scan(keys, t, n, mask)[1], n, size)
                continue
        for i in range(n):
            order[i] = (order[i] & ~mask) | np.int32(names[t, order[i] & mask])
        if whole:
            for s in range(columns):
                fresh[s] = ranks[t, s] - (n + 1)
            left = rank_squares[t]
        else:
            ic[t] = subset_moments(order, row, n, mask, factor[t])
            left = subset_ranks(order, n, mask, ranks[t], count[t], tally, fresh)
        rank_ic[t] = rank_pass(order, row, n, mask, fresh, left, ties)


@compiled
def _rank_ratio(total: int, n: int, size: int) -> float:
    """Return the Spearman correlation without ties from the sum of products of places."""
    return float(4 * total - np.int64(n) * (n - 1) * (n - 1)) / float(size)


@compiled
def _means_of_some(order: Keys, mask: np.int32, label: Int8s, sums: Floats, means: Floats) -> None:
    """Write the quantile means of a bar with missing returns: nothing by nobody is missing."""
    held = np.zeros(sums.size, np.int64)
    for key in order:
        held[label[key & mask]] += 1
    for q in range(sums.size):
        means[q] = sums[q] / held[q]


@compiled
def _ratio(cross: float, own: float, squares: float) -> float:
    """Return the correlation, kept within [-1, 1]; missing when a side does not vary (in float64)."""
    if not (own > 0.0 and squares > 0.0):
        return np.nan
    both = own * squares
    size = np.sqrt(both) if 1e-280 < both < 1e280 else np.sqrt(own) * np.sqrt(squares)
    value = cross / size
    return min(1.0, max(-1.0, value)) if value - value == 0.0 else np.nan


@compiled
def rank_products(order: Keys, n: int, mask: np.int32, ranks: Int32s) -> np.int64:
    """Return the sum of products of both sides' doubled, centred ranks; no ties in the returns."""
    total = np.int64(0)
    for i in range(n):
        total += np.int64(np.int32(2 * i + 1 - n) * np.int32(ranks[np.uint32(order[i] & mask)]))
    return total


@compiled
def rank_pass(order: Keys, row: Floats, n: int, mask: np.int32, ranks: Int32s, rank_squares: int, ties: bool) -> float:
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


@compiled
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


@compiled
def subset_ranks(order: Keys, n: int, mask: np.int32, ranks: Int16s, full: int, tally: Ints, fresh: Int32s) -> int:
    """Rank the `n` names at the head of `order` among themselves into `fresh`; return the sum of squares.

    The doubled ranks among all `full` names are small integers: counting sorts them.
    """
    tally[: 2 * full + 1] = 0
    for i in range(n):
        tally[ranks[order[i] & mask]] += 1
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
        fresh[s] = tally[ranks[s]]
    return squares
