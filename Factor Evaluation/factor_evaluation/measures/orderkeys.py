"""Rows of a [T, S] array in sorted order, through 32-bit integer keys that carry the symbol.

The bits of a float, flipped for negatives, order like the number itself. A key is those of the value rounded to
float32, with the lowest bits given up for the symbol's place (its column, or its place in another order): NumPy's
vectorised sort of int32 then yields the order without an argsort (measured per value at 40 and 300 symbols: int32 1.3
and 1.4 ns, int64 2.1 and 6.4, argsort 32-42).
Rounding keeps the order but may make neighbours agree that differ, or the other way round hide nothing: neighbours
whose kept bits agree are put right from the true values (`settle`), and only they can be ties.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from Backtest.machine_code import compiled

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]
Keys = NDArray[np.int32]
Columns = NDArray[np.uint16]
"""Unsigned: no index may be taken from the end, which would cost a test per value."""

Bools = NDArray[np.bool_]
Int8s = NDArray[np.int8]
Int16s = NDArray[np.int16]

LAST = np.int32(0x7FFFFFFF)
NEGATIVE_ZERO = np.int32(-0x80000000)
SIGN = np.int32(31)
ZERO = np.int32(0)
ONE = np.int32(1)

NARROW = 1_500
"""Names up to which a sum of products of places stays below 2^31."""

MOVES_PER_VALUE = 8
"""Insertion moves per value after which a row is sorted from its true values: float32 cannot tell them apart."""


def column_mask(columns: int) -> np.int32:
    """Return the mask of the low bits that hold a column number."""
    return np.int32((1 << max(1, (columns - 1).bit_length())) - 1)


@compiled
def pack(values: Floats, place: Int16s, mask: np.int32, single: Singles, keys: Keys, count: NDArray[np.int32]) -> None:
    """Write the keys of the rows of `values` [C, S] and how many values of each row are valid.

    A key's low bits hold the cell's `place`. Values that are not finite or whose `place` is negative sort last and
    hold none. `single` and `keys` [C, S] are one memory.
    """
    rows, columns = values.shape
    for t in range(rows):
        for s in range(columns):
            single[t, s] = np.float32(values[t, s])
    for t in range(rows):
        valid = ZERO
        for s in range(columns):
            good = (place[t, s] >= 0) and (values[t, s] - values[t, s] == 0.0)
            word = keys[t, s]
            word = ZERO if word == NEGATIVE_ZERO else word ^ ((word >> SIGN) & LAST)
            keys[t, s] = (word & ~mask) | np.int32(place[t, s]) if good else LAST & ~mask
            valid += ONE if good else ZERO
        count[t] = valid


@compiled
def scan(keys: Keys, t: int, n: int, mask: np.int32) -> tuple[bool, int]:
    """Return whether neighbours agree in the bits kept, and the sum of i x place of i.

    Both over the first `n` sorted keys of row `t` of `keys` [C, S]; a slice of it would cost more than the work.
    """
    clash = ZERO
    if n <= NARROW:
        short = ZERO
        for i in range(1, n):
            clash |= ONE if ((keys[t, i] ^ keys[t, i - 1]) & ~mask) == ZERO else ZERO
            short = np.int32(short + np.int32(i) * (keys[t, i] & mask))
        return bool(clash != ZERO), int(short)
    total = np.int64(0)
    for i in range(1, n):
        clash |= ONE if ((keys[t, i] ^ keys[t, i - 1]) & ~mask) == ZERO else ZERO
        total += np.int64(i) * np.int64(keys[t, i] & mask)
    return bool(clash != ZERO), int(total)


@compiled
def settle(keys: Keys, values: Floats, names: Columns, n: int, mask: np.int32) -> bool:
    """Put the first `n` sorted keys into the order of their true values; return whether there are ties.

    `names` [n] says which column of `values` [S] a place stands for.
    """
    ties = False
    left = MOVES_PER_VALUE * n
    for i in range(1, n):
        if ((keys[i] ^ keys[i - 1]) & ~mask) == ZERO:
            j = i
            mine = values[names[keys[i] & mask]]
            while j > 0 and ((keys[j] ^ keys[j - 1]) & ~mask) == ZERO and values[names[keys[j - 1] & mask]] > mine:
                keys[j], keys[j - 1] = keys[j - 1], keys[j]
                j -= 1
            ties |= j > 0 and values[names[keys[j - 1] & mask]] == mine
            left -= i - j
            if left < 0:
                return _sort_anew(keys, values, names, n, mask)
    return ties


@compiled
def _sort_anew(keys: Keys, values: Floats, names: Columns, n: int, mask: np.int32) -> bool:
    held = np.empty(n)
    was = keys[:n].copy()
    for i in range(n):
        held[i] = values[names[was[i] & mask]]
    order = np.argsort(held)
    ties = False
    for i in range(n):
        keys[i] = was[order[i]]
        ties |= i > 0 and held[order[i]] == held[order[i - 1]]
    return ties
