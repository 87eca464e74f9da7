"""A block of values, one row a bar, turned into one array a symbol, as files keep them: in one pass over memory.

Column after column would read the block once for each symbol, and once more for every rule.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled

TILE = 64
"""Rows read for all symbols before the next: their values stay in L1."""


@compiled
def separate(values, exists, tops, ends, limit, out, missing, beyond):
    """Put a block's values into one row a symbol, every missing one as the same bytes.

    Parameters
    ----------
    values, exists
        float64 and bool [T, S].
    tops, ends
        int64 [S]: the rows of each symbol that are kept, from `tops` to before `ends`.
    limit
        What is as large as this, or larger, becomes missing.
    out
        float64 or float32 [S, T], rounded to nearest; other rows than those kept are left alone.
    missing, beyond
        int64 [S], counted up: rows with a bar and without a value, and values that the limit made missing.
    """
    rows, symbols = values.shape
    for begin in range(0, rows, TILE):
        end = min(begin + TILE, rows)
        for t in range(begin, end):  # along the rows, symbols side by side in a register: from eight on it is faster
            v, there = values[t], exists[t]
            for s in range(symbols):
                kept = (tops[s] <= t) & (t < ends[s])
                large = abs(v[s]) >= limit
                missing[s] += kept & there[s] & ((v[s] != v[s]) | large)
                beyond[s] += kept & large
        for s in range(symbols):
            r = out[s]
            for t in range(max(begin, tops[s]), min(end, ends[s])):
                w = values[t, s]
                r[t] = w if abs(w) < limit else np.nan
