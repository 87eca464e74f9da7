"""Forward returns against a factor's cross-sections: IC, rank IC and quantile means of every bar, in one fused pass.

For every chunk of bars (cache-sized), `factor_rows` brings the factor into its own sorted order; then for every horizon
and block of bars, side by side,
1. `gather`     returns gathered into that order
2. `make_keys`, `sort`, `settle`   their own order, in keys that carry the place in the factor's
3. `_moments`   sums per quantile (a run of places), then centred products with the factor
4. `_finish`    the rank IC in integers, exact: the sorted keys' low bits are the factor's ranks already

A bar where every name of the factor's cross-section has a return and no values tie needs nothing else. For the others
keys become rows again and their low bits columns (`_finish_rows`: what is done to single bars is done in a row, as in
lanes it took up to three times as long); where returns are missing, the factor's mean and ranks are made
again over the pairs that are left (`subset_moments`, `subset_ranks`): pairs are dropped per horizon, so a long horizon
never changes a short one's IC.
"""

from __future__ import annotations

import numpy as np

from Backtest.machine_code import compiled

from .blocks import BLOCK, Bools, Columns, Floats, gather, turn_back
from .orderkeys import Int8s, Int16s, Int32s, Ints, Keys, Singles, make_keys, place_products, settle, settle_row, sort
from .ranked import MIN_NAMES
from .single_bars import ratio, subset_moments, subset_ranks, tied_ratio, untied_ratio


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
    by_row: Keys,
    lanes: Floats,
    there: Int32s,
    sorted_rows: bool,
    pairs: Int32s,
    ic: Floats,
    rank_ic: Floats,
    quantile_return: Floats,
) -> None:
    """Write pairs, IC, rank IC [C] and quantile means [Q, C] of a chunk of returns [C, S].

    `column`, `off`, `label` and `bands` are those of `turn_factor`; `turned` and `keys` [S, BLOCK], `by_row` [BLOCK, S]
    and `lanes` [Q + 3, BLOCK] are room for a block's returns, their keys and sums, `single` is the keys' memory.
    Where `sorted_rows`, `sort_apart` has made them, and `there`, how many returns each bar has.
    """
    short, total, quantiles = np.empty(BLOCK, np.int32), np.zeros(BLOCK, np.int64), held.shape[0]
    ties, plain = np.ones(BLOCK, np.bool_), np.empty(BLOCK, np.bool_)
    sums, cross, own, middle = lanes[:quantiles], lanes[quantiles], lanes[quantiles + 1], lanes[quantiles + 2]
    for b in range(label.shape[0]):
        start = b * BLOCK
        bars = min(BLOCK, values.shape[0] - start)
        if not sorted_rows:
            make_return_keys(values, start, bars, column[b], label[b], mask, turned, single, keys, there)
            sort(keys)
            settle(keys, turned, there, mask, ties)
            place_products(keys, mask, short, total)
        _moments(turned, there, off, label, bands, b, sums, middle, cross, own)
        for q in range(quantiles):
            for j in range(bars):
                quantile_return[q, start + j] = sums[q, j] / held[q, start + j]
        _finish(start, bars, there, ties, total, cross, own, count, rank_squares, squares, pairs, ic, rank_ic, plain)
        if not plain[:bars].all():
            if not sorted_rows:
                turn_back(keys, plain, bars, by_row)
            here = slice(start, start + bars)
            _finish_rows(
                by_row,
                plain,
                there,
                ties,
                mask,
                column[b],
                label[b],
                sums,
                values[here],
                factor[here],
                ranks[here],
                count[here],
                rank_squares[here],
                ic[here],
                rank_ic[here],
                quantile_return[:, here],
            )


@compiled
def make_return_keys(
    values: Floats,
    start: int,
    bars: int,
    column: Columns,
    label: Int8s,
    mask: np.int32,
    turned: Floats,
    single: Singles,
    keys: Keys,
    there: Int32s,
) -> None:
    """Write a block of returns in the factor's order, its keys, and how many returns each bar has."""
    gather(values, start, bars, column, turned)
    if label[label.shape[0] - 1].min() < 0:  # not every bar has all its places taken
        for p in range(label.shape[0]):
            for j in range(BLOCK):
                turned[p, j] = turned[p, j] if label[p, j] >= 0 else np.nan
    make_keys(turned, mask, single, keys, there)


def sort_apart(
    values: Floats,
    column: Columns,
    label: Int8s,
    mask: np.int32,
    turned: Floats,
    single: Singles,
    keys: Keys,
    by_row: Keys,
    there: Int32s,
) -> None:
    """Make the keys of a chunk of one block and let NumPy sort them by row: of many names faster than the network."""
    make_return_keys(values, 0, len(values), column[0], label[0], mask, turned, single, keys, there)
    turn_back(keys, np.zeros(BLOCK, np.bool_), len(values), by_row)
    by_row[: len(values)].sort(axis=1)


@compiled
def _finish_rows(
    by_row: Keys,
    plain: Bools,
    there: Int32s,
    ties: Bools,
    mask: np.int32,
    column: Columns,
    label: Int8s,
    sums: Floats,
    values: Floats,
    factor: Floats,
    ranks: Int16s,
    count: Int32s,
    rank_squares: Ints,
    ic: Floats,
    rank_ic: Floats,
    quantile_return: Floats,
) -> None:
    """Write IC, rank IC and quantile means of a block's bars that are not `plain`, each from its row of sorted keys."""
    bars, columns = values.shape
    tally, fresh = np.zeros(2 * columns + 2, np.int64), np.zeros(columns, np.int32)
    held, first = np.empty(columns), np.empty(columns, np.int64)
    for t in range(bars):
        if plain[t]:
            continue
        n, order = there[t], by_row[t]
        if n < count[t]:
            _means_of_some(order, t, n, mask, label, sums, quantile_return[:, t])
        if n >= MIN_NAMES:
            for i in range(n):
                order[i] = (order[i] & ~mask) | np.int32(column[order[i] & mask, t])
            tied = ties[t] and settle_row(order, values[t], n, mask, held)
            if tied and held[0] == held[n - 1]:
                ic[t] = rank_ic[t] = np.nan
                continue
            if n == count[t]:
                for s in range(columns):
                    fresh[s] = ranks[t, s] - (n + 1)
                left = rank_squares[t]
            else:
                ic[t] = subset_moments(order, values[t], n, mask, factor[t])
                left = subset_ranks(order, n, mask, ranks[t], count[t], tally, fresh)
            if tied:
                rank_ic[t] = tied_ratio(order, held, n, mask, fresh, left, first)
            else:
                rank_ic[t] = untied_ratio(order, n, mask, fresh, left)


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
        ic[t] = ratio(cross[j], own[j], squares[t]) if enough else np.nan
        rank_ic[t] = float(4 * total[j] - n * (n - 1) * (n - 1)) / float(rank_squares[t]) if enough else np.nan
        untied = not ties[j] and 3 * rank_squares[t] == n * (n * n - 1)
        plain[j] = enough and untied and n == count[t]


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
def _means_of_some(order: Keys, j: int, n: int, mask: np.int32, label: Int8s, sums: Floats, means: Floats) -> None:
    """Write the quantile means of a bar with missing returns: nothing by nobody is missing."""
    held = np.zeros(sums.shape[0], np.int64)
    for i in range(n):
        held[label[order[i] & mask, j]] += 1
    for q in range(held.size):
        means[q] = sums[q, j] / held[q]
