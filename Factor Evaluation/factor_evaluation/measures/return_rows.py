"""Forward returns against a factor's cross-sections: IC, rank IC and quantile means of every bar, in one fused pass.

For every chunk of bars (cache-sized), `factor_rows` brings the factor into its own sorted order; then for every horizon
and block of bars, side by side,
1. `gather`     returns gathered into that order
2. `make_keys`, `sort`, `settle`   their own order, in keys that carry the place in the factor's
3. `_moments`   sums per quantile (a run of places), then centred products with the factor
4. `_finish`    the rank IC in integers, exact: the sorted keys' low bits are the factor's ranks already

A bar where every name of the factor's cross-section has a return and no values tie needs nothing else. For the others
the low bits become columns again (`_by_name`); where returns are missing, the factor's mean and ranks are made
again over the pairs that are left (`subset_moments`, `subset_ranks`): pairs are dropped per horizon, so a long horizon
never changes a short one's IC.
"""

from __future__ import annotations

import numpy as np

from Backtest.machine_code import compiled

from .blocks import BLOCK, Bools, Columns, Floats, gather
from .orderkeys import Int8s, Int16s, Int32s, Ints, Keys, Singles, make_keys, place_products, settle, sort
from .ranked import MIN_NAMES


@compiled
def measure_returns(
    values: Floats,
    factor: Floats,
    ranks: Int16s,
    count: Int32s,
    rank_squares: Ints,
    squares: Floats,
    held: Int16s,
    column: Columns,
    off: Floats,
    label: Int8s,
    bands: Ints,
    mask: np.int32,
    turned: Floats,
    single: Singles,
    keys: Keys,
    lanes: Floats,
    pairs: Int32s,
    ic: Floats,
    rank_ic: Floats,
    quantile_return: Floats,
) -> None:
    """Write pairs, IC, rank IC [C] and quantile means [Q, C] of a chunk of returns [C, S].

    `column`, `off`, `label` and `bands` are those of `turn_factor`; `turned` and `keys` [S, BLOCK] and
    `lanes` [Q + 3, BLOCK] are room for a block's returns, their keys and sums, `single` is the keys' memory.
    """
    rows, columns = values.shape
    quantiles = held.shape[0]
    there, short, total = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int32), np.empty(BLOCK, np.int64)
    ties, plain = np.empty(BLOCK, np.bool_), np.empty(BLOCK, np.bool_)
    sums, cross, own, middle = lanes[:quantiles], lanes[quantiles], lanes[quantiles + 1], lanes[quantiles + 2]
    order, fresh, tally = np.empty(columns, np.int32), np.zeros(columns, np.int32), np.zeros(2 * columns + 2, np.int64)
    for b in range(label.shape[0]):
        start = b * BLOCK
        bars = min(BLOCK, rows - start)
        gather(values, start, bars, column[b], turned)
        if label[b, columns - 1].min() < 0:  # not every bar has all its places taken
            for p in range(columns):
                for j in range(BLOCK):
                    turned[p, j] = turned[p, j] if label[b, p, j] >= 0 else np.nan
        make_keys(turned, mask, single, keys, there)
        sort(keys)
        settle(keys, turned, there, mask, ties)
        place_products(keys, mask, short, total)
        _moments(turned, there, off, label, bands, b, sums, middle, cross, own)
        for q in range(quantiles):
            for j in range(bars):
                quantile_return[q, start + j] = sums[q, j] / held[q, start + j]
        _finish(start, bars, there, ties, total, cross, own, count, rank_squares, squares, pairs, ic, rank_ic, plain)
        for j in range(bars):
            if plain[j]:
                continue
            t, n = start + j, there[j]
            if n < count[t]:
                _means_of_some(keys, j, n, mask, label[b], sums, quantile_return[:, t])
            if n >= MIN_NAMES:
                for i in range(n):
                    order[i] = (keys[i, j] & ~mask) | np.int32(column[b, keys[i, j] & mask, j])
                _by_name(
                    order, n, mask, ties[j], t, values, factor, ranks, count, rank_squares, tally, fresh, ic, rank_ic
                )


@compiled
def _finish(
    start: int,
    bars: int,
    there: Int32s,
    ties: Bools,
    total: Ints,
    cross: Floats,
    own: Floats,
    count: Int32s,
    rank_squares: Ints,
    squares: Floats,
    pairs: Int32s,
    ic: Floats,
    rank_ic: Floats,
    plain: Bools,
) -> None:
    """Write pairs, IC and rank IC of a block's bars, and which of them are `plain`: nothing is missing, nothing ties.

    IC holds where nothing is missing, both hold where a bar is plain.
    """
    for j in range(bars):
        t, n = start + j, np.int64(there[j])
        pairs[t] = n
        enough = n >= MIN_NAMES
        ic[t] = _ratio(cross[j], own[j], squares[t]) if enough else np.nan
        rank_ic[t] = float(4 * total[j] - n * (n - 1) * (n - 1)) / float(rank_squares[t]) if enough else np.nan
        untied = not ties[j] and 3 * rank_squares[t] == n * (n * n - 1)
        plain[j] = enough and untied and n == count[t]


@compiled
def _by_name(
    order: Keys,
    n: int,
    mask: np.int32,
    ties: bool,
    t: int,
    values: Floats,
    factor: Floats,
    ranks: Int16s,
    count: Int32s,
    rank_squares: Ints,
    tally: Ints,
    fresh: Int32s,
    ic: Floats,
    rank_ic: Floats,
) -> None:
    """Write IC and rank IC of a bar that is not plain; `order` are the `n` sorted keys of its returns, by column."""
    row = values[t]
    if ties and row[order[0] & mask] == row[order[n - 1] & mask]:
        ic[t] = rank_ic[t] = np.nan
        return
    if n == count[t]:
        for s in range(row.size):
            fresh[s] = ranks[t, s] - (n + 1)
        left = rank_squares[t]
    else:
        ic[t] = subset_moments(order, row, n, mask, factor[t])
        left = subset_ranks(order, n, mask, ranks[t], count[t], tally, fresh)
    rank_ic[t] = rank_pass(order, row, n, mask, fresh, left, ties)


@compiled
def _moments(
    turned: Floats,
    pairs: Int32s,
    off: Floats,
    label: Int8s,
    bands: Ints,
    b: int,
    sums: Floats,
    middle: Floats,
    cross: Floats,
    own: Floats,
) -> None:
    """Sum a block's returns per quantile [Q, BLOCK], then the centred products, which hold where no return is missing.

    `cross` = sum (r - mean) (f - mean), `own` = sum (r - mean)^2, both [BLOCK].
    """
    middle[:] = 0.0
    sums[:] = 0.0
    cross[:] = 0.0
    own[:] = 0.0
    for q in range(sums.shape[0]):
        for p in range(bands[b, q, 0], bands[b, q, 1]):
            for j in range(BLOCK):
                sums[q, j] += turned[p, j] if label[b, p, j] == q else 0.0
        for j in range(BLOCK):
            middle[j] += sums[q, j]
    for j in range(BLOCK):
        middle[j] = middle[j] / pairs[j] if pairs[j] else 0.0
    for p in range(turned.shape[0]):
        for j in range(BLOCK):
            away = turned[p, j] - middle[j]
            away = away if label[b, p, j] >= 0 else 0.0
            cross[j] += away * off[b, p, j]
            own[j] += away * away


@compiled
def _means_of_some(keys: Keys, j: int, n: int, mask: np.int32, label: Int8s, sums: Floats, means: Floats) -> None:
    """Write the quantile means of a bar with missing returns: nothing by nobody is missing."""
    held = np.zeros(sums.shape[0], np.int64)
    for i in range(n):
        held[label[keys[i, j] & mask, j]] += 1
    for q in range(held.size):
        means[q] = sums[q, j] / held[q]


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
