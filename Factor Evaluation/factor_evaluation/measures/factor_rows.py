"""A factor's cross-sections in their own sorted order, chunk by chunk: what `return_rows` gathers the returns into."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from Backtest.machine_code import compiled

from .orderkeys import Columns, Floats, Int8s, Int16s, Ints
from .ranked import squares_of_ranks

Int32s = NDArray[np.int32]

SIDE = 8
"""Bars written side by side: a cache line of float64."""


@compiled
def turn_factor(
    factor: Floats,
    ranks: Int16s,
    count: Int32s,
    rank_squares: Ints,
    mean: Floats,
    held: Int16s,
    place: Int16s,
    names: Columns,
    column: Columns,
    off: Floats,
    label: Int8s,
    bands: Ints,
) -> None:
    """Bring a chunk of the factor [C, S] into its own order.

    By cell, `place` [C, S]: the name's place, -1 without a rank, and `names` [C, S]: the column at a place. By place,
    `BLOCK` bars side by side, all [B, S, BLOCK]: `column`; `off`, the factor less its bar's mean; `label`, its
    quantile. Beyond the last place they hold any column, 0 and -1. `bands` [B, Q, 2]: the places that a quantile has in
    any bar of the block.
    """
    rows, columns = factor.shape
    block = label.shape[2]
    away = np.empty((SIDE, columns))
    _places(ranks, count, rank_squares, place, names)
    for b in range(label.shape[0]):
        start = b * block
        _label(held, start, min(block, rows - start), label[b], bands[b])
        for first in range(0, min(block, rows - start), SIDE):
            side = min(SIDE, rows - start - first)
            for j in range(side):
                for s in range(columns):
                    away[j, s] = factor[start + first + j, s] - mean[start + first + j]
            if side == SIDE:
                for p in range(columns):
                    for j in range(SIDE):
                        s = names[start + first + j, p]
                        column[b, p, first + j] = s
                        off[b, p, first + j] = away[j, s] if label[b, p, first + j] >= 0 else 0.0
            else:
                for p in range(columns):
                    for j in range(side):
                        s = names[start + first + j, p]
                        column[b, p, first + j] = s
                        off[b, p, first + j] = away[j, s] if label[b, p, first + j] >= 0 else 0.0


@compiled
def _places(ranks: Int16s, count: Int32s, rank_squares: Ints, place: Int16s, names: Columns) -> None:
    """Write the place of every name and the name at every place; beyond the last it is any column."""
    rows, columns = ranks.shape
    names[:] = 0
    for t in range(rows):
        if rank_squares[t] == 0 or rank_squares[t] == squares_of_ranks(count[t]):
            for s in range(columns):
                place[t, s] = (ranks[t, s] >> 1) - 1
        else:
            _tied_places(ranks[t], count[t], place[t])
        if rank_squares[t] and count[t] == columns:
            for s in range(columns):
                names[t, np.uint16(place[t, s])] = s
        else:
            for s in range(columns):
                if place[t, s] >= 0:
                    names[t, np.uint16(place[t, s])] = s


@compiled
def _tied_places(ranks: Int16s, full: int, place: Int16s) -> None:
    """Do `_places`' work on one bar: tied names follow their columns. Counting sorts the ranks, small integers."""
    tally = np.zeros(2 * full + 2, np.int64)
    for rank in ranks:
        tally[rank] += 1
    below = 0
    for rank in range(1, 2 * full + 1):
        here = tally[rank]
        tally[rank] = below
        below += here
    for s in range(ranks.size):
        place[s] = tally[ranks[s]] if ranks[s] else -1
        tally[ranks[s]] += 1


@compiled
def _label(held: Int16s, start: int, bars: int, label: Int8s, bands: Ints) -> None:
    """Write the quantile of every place [S, BLOCK] of a block, -1 beyond the last, and the quantiles' `bands`."""
    below = np.zeros(label.shape[1], np.int32)
    label[:] = -1
    for q in range(held.shape[0]):
        low, high = label.shape[0], 0
        for j in range(bars):
            here = held[q, start + j]
            low = min(low, below[j]) if here else low
            high = max(high, below[j] + here) if here else high
        for p in range(low, high):
            for j in range(bars):
                label[p, j] = q if below[j] <= p < below[j] + held[q, start + j] else label[p, j]
        for j in range(bars):
            below[j] += held[q, start + j]
        bands[q, 0], bands[q, 1] = low, high
