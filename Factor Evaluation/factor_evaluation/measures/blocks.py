"""Blocks: `BLOCK` bars of an array [T, S] side by side, [S, BLOCK]: a row for every column or place.

What is done to one bar is done to all of a block at once, by vector instructions, whatever the bars hold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from Backtest.machine_code import compiled

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Int32s = NDArray[np.int32]
Columns = NDArray[np.uint16]
"""Unsigned: no index may be taken from the end, which would cost a test per value."""

BLOCK = 64
"""Known when compiled, so that loops over a block's bars are vector instructions and nothing else."""

LINE = 64
"""Bytes of a cache line."""

SIDE = 16
"""Bars written side by side: two cache lines of float64."""


def aligned(shape: tuple[int, ...], kind: Any) -> Any:
    """Return an unwritten array that begins with a cache line, so that no vector of a block lies across two."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.empty(size + LINE, np.uint8)
    skip = -room.ctypes.data % LINE
    return room[skip : skip + size].view(kind).reshape(shape)


@compiled
def turn(values: Floats, wanted: Bools, start: int, bars: int, block: Floats) -> None:
    """Write the `bars` rows of `values` [T, S] from `start` on by column, NaN where not `wanted` or no bar is left."""
    columns = values.shape[1]
    block[:] = np.nan if bars < BLOCK else fetched(values, start, bars)
    for first in range(0, bars, SIDE):
        if first + SIDE <= bars:
            for s in range(columns):
                for j in range(first, first + SIDE):
                    block[s, j] = values[start + j, s] if wanted[start + j, s] else np.nan
        else:
            for s in range(columns):
                for j in range(first, bars):
                    block[s, j] = values[start + j, s] if wanted[start + j, s] else np.nan


@compiled
def turn_back(block: Int32s, spared: Bools, bars: int, rows: Int32s) -> None:
    """Write the columns of `block` [S, BLOCK] as rows [BLOCK, S], `SIDE` of them together unless all are `spared`."""
    for first in range(0, bars, SIDE):
        if spared[first : min(first + SIDE, bars)].all():
            continue
        for p in range(block.shape[0]):
            for j in range(first, first + SIDE):
                rows[j, p] = block[p, j]


@compiled
def gather(values: Floats, start: int, bars: int, column: Columns, block: Floats) -> None:
    """Write the `bars` rows of `values` [T, S] from `start` on by place; `column` [S, BLOCK] says whose that is."""
    block[0, 0] = fetched(values, start, bars)
    for first in range(0, bars, SIDE):
        if first + SIDE <= bars:
            for p in range(block.shape[0]):
                for j in range(first, first + SIDE):
                    block[p, j] = values[start + j, column[p, j]]
        else:
            for p in range(block.shape[0]):
                for j in range(first, bars):
                    block[p, j] = values[start + j, column[p, j]]


@compiled
def fetched(values: Floats, start: int, bars: int) -> float:
    """Bring rows into the cache; return the sum of what was read for it, so that it is read.

    One value of every line, so that as many lines as can be are under way at once: 33 GB/s were measured where all
    values one after the other, with work between, came at 6.
    """
    total = 0.0
    for t in range(start, start + bars):
        for s in range(0, values.shape[1], LINE // 8):
            total += values[t, s]
    return total
