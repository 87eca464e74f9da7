"""Rank of the present value in its window, by counting the values below it.

Counting compares eight values at once and has no branch, so it beats a sorted window up to thousands of bars: measured
0.09 ns per bar of the window. Short windows run over the symbols of a row, long ones over the bars of a symbol. Counts
are whole numbers: the bits cannot depend on the order.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from .context import Context, Floats, Operand, window_of
from .rows import NO_LIMIT

RANK, RANK_OVER_N, RANK_UNIT = range(3)
SHORT = 64
"""Longest window that is counted row by row."""


@numba.njit(nogil=True, cache=True, error_model="numpy")
def valid_counts(x, age, out, d):
    """Leave in `out` the number of valid values of each window: a running count, exact."""
    for t in range(x.shape[0]):
        v, a, r = x[t], age[t], out[t]
        before, gone = out[max(t - 1, 0)], x[max(t - d, 0)]
        for b in range(v.size):
            n = before[b] if (a[b] > 1) & (t > 0) else 0.0
            n += 1.0 if (a[b] > 0) & (v[b] == v[b]) else 0.0
            r[b] = n - (1.0 if (t >= d) & (a[b] > d) & (gone[b] == gone[b]) else 0.0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _places_by_row(x, age, place, d):
    """Leave in `place` half the number of window values below x plus half of those up to x: the average rank - 1/2."""
    for t in range(x.shape[0]):
        v, a, r = x[t], age[t], place[t]
        r[:] = 0.0
        reach = min(d, t + 1)
        if a.min() >= reach:
            for k in range(reach):
                w = x[t - k]
                for b in range(v.size):
                    r[b] += (0.5 if w[b] < v[b] else 0.0) + (0.5 if w[b] <= v[b] else 0.0)
        else:
            for k in range(reach):
                w = x[t - k]
                for b in range(v.size):
                    half = 0.5 if a[b] > k else 0.0
                    r[b] += (half if w[b] < v[b] else 0.0) + (half if w[b] <= v[b] else 0.0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _places_by_column(x, age, place, d):
    """The same, symbol by symbol."""
    rows, columns = x.shape
    column = np.empty(rows)
    for b in range(columns):
        column[:] = x[:, b]
        for t in range(rows):
            v = column[t]
            below, equal = 0, 0
            window = column[max(t - min(d, age[t, b]) + 1, 0) : t + 1]
            for k in range(window.size):
                below += window[k] < v
                equal += window[k] == v
            place[t, b] = below + 0.5 * equal


@numba.njit(nogil=True, cache=True, error_model="numpy")
def ranks(x, age, out, d, min_valid, min_age, mode):
    """Average rank of each window's last value."""
    rows, columns = x.shape
    count = np.empty((rows, columns))
    valid_counts(x, age, count, d)
    if d <= SHORT:
        _places_by_row(x, age, out, d)
    else:
        _places_by_column(x, age, out, d)
    for t in range(rows):
        v, a, n, r = x[t], age[t], count[t], out[t]
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        for b in range(v.size):
            rank = r[b] + 0.5
            rank = rank / n[b] if mode == RANK_OVER_N else rank
            rank = (rank - 1.0) / (n[b] - 1.0) if mode == RANK_UNIT else rank
            enough = (a[b] >= min_age) & (a[b] <= oldest) & (n[b] >= min_valid) & (v[b] == v[b])
            r[b] = rank if enough & ((mode != RANK_UNIT) | (n[b] > 1.0)) else np.nan


def ts_rank(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Average rank of the present value, scaled as ``norm`` says."""
    w = window_of(literals, context)
    mode = {"n": RANK_OVER_N, "n-1": RANK_UNIT, "abs": RANK}[literals["norm"]]
    ranks(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, mode)
    return 0
