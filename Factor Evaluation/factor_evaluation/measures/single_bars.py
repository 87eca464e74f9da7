"""Correlations of one bar whose returns tie or are missing, from its keys in sorted order, which carry columns."""

from __future__ import annotations

import numpy as np

from Backtest.machine_code import compiled

from .blocks import Floats
from .orderkeys import Int16s, Int32s, Ints, Keys


@compiled
def ratio(cross: float, own: float, squares: float) -> float:
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
def untied_ratio(order: Keys, n: int, mask: np.int32, ranks: Int32s, rank_squares: int) -> float:
    """Return the Spearman correlation of the sorted returns, none equal, with the factor's `ranks`."""
    if rank_squares == 0:
        return np.nan
    total = rank_products(order, n, mask, ranks)
    return total / np.sqrt(float(rank_squares) * (float(n) * (float(n) * n - 1.0) / 3.0))


@compiled
def tied_ratio(
    order: Keys, values: Floats, n: int, mask: np.int32, ranks: Int32s, rank_squares: int, first: Ints
) -> float:
    """Do the same with ties; `values` [n] are the sorted returns, `first` [n] is room.

    Nowhere does the processor have to guess whether neighbours tie, which on real returns it cannot.
    """
    start = np.int64(0)
    first[0] = 0
    for i in range(1, n):
        start = np.int64(i) if values[i] != values[i - 1] else start
        first[i] = start
    end = np.int64(n)
    total = own = np.int64(0)
    for i in range(n - 1, -1, -1):
        doubled = first[i] + end - n
        total += doubled * ranks[np.uint32(order[i] & mask)]
        own += doubled * doubled
        end = first[i] if first[i] == i else end
    return total / np.sqrt(float(rank_squares) * float(own)) if own and rank_squares else np.nan


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
    return np.nan if low == high else ratio(cross, own, squares)


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
