"""Order statistics: a sorted array of the window's (or the cross-section's) valid values.

A value enters and leaves by binary search and one move of memory, which beats cleverer structures up to windows of
thousands. The sorted multiset does not depend on how it came about, so the bits do not either; -0.0 is stored as 0.0
because the two sort equal and only their history would decide which one is read.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from .context import Context, Floats, Operand, window_of

CS_RANK, CS_WINSORIZE, CS_TOP_BOTTOM = range(3)
NO_LIMIT = 2**31 - 1
COUNTED = 32
"""So many sorted values are compared one and all: that has no branch to guess wrong, as a binary search does at every
second step."""


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _below(held, n, v):
    """Return how many of the first n values are < v: by halves down to a few cache lines, which are counted."""
    low = 0
    while n > COUNTED:
        half = n >> 1
        low += half if held[low + half - 1] < v else 0
        n -= half
    part = held[low : low + n]
    count = 0
    for i in range(part.size):
        count += part[i] < v
    return low + count


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _through(held, n, v):
    """Return how many of the first n values are <= v."""
    low = 0
    while n > COUNTED:
        half = n >> 1
        low += half if held[low + half - 1] <= v else 0
        n -= half
    part = held[low : low + n]
    count = 0
    for i in range(part.size):
        count += part[i] <= v
    return low + count


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _insert(held, n, v):
    """Put v into the first n sorted values; return n + 1."""
    at = _below(held, n, v)
    for i in range(n, at, -1):
        held[i] = held[i - 1]
    held[at] = v
    return n + 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _remove(held, n, v):
    """Take one v out of the first n sorted values; return n - 1."""
    for i in range(_below(held, n, v), n - 1):
        held[i] = held[i + 1]
    return n - 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _replace(held, n, old, new):
    """Put `new` in the place of one `old` among the first n sorted values: only what lies between them moves."""
    at, to = _below(held, n, old), _below(held, n, new)
    if new > old:
        to -= 1
        into, out = held[at:to], held[at + 1 : to + 1]
        for i in range(into.size):
            into[i] = out[i]
    else:
        into, out = held[to + 1 : at + 1], held[to:at]
        for i in range(into.size - 1, -1, -1):
            into[i] = out[i]
    held[to] = new


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _quantile(held, n, q):
    """Return the value at position q (n - 1), linear between neighbours."""
    position = q * (n - 1)
    i = min(int(position), n - 1)
    part = position - i
    return held[i] if part == 0.0 else held[i] + part * (held[i + 1] - held[i])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def windows(x, age, out, d, min_valid, min_age, q):
    """Quantile q of each window."""
    rows, columns = x.shape
    held, column = np.empty(min(d, rows) + 1), np.empty(rows)
    for b in range(columns):
        n = 0
        column[:] = x[:, b]
        for t in range(rows):
            v, a, gone = column[t] + 0.0, age[t, b], np.nan
            if a <= 1:
                n = 0
            elif t >= d and a > d:
                gone = column[t - d] + 0.0
            comes = a > 0 and v == v
            if comes and gone == gone:
                _replace(held, n, gone, v)
            elif gone == gone:
                n = _remove(held, n, gone)
            elif comes:
                n = _insert(held, n, v)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            enough = a >= min_age and a <= oldest and n >= min_valid
            out[t, b] = _quantile(held, n, q) if enough else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _mark(x, population, t, s, below, through, n, k):
    """Return 1 for one of the k largest, -1 for one of the k smallest, else 0; the earlier column counts as larger."""
    v = x[t, s]
    earlier = 0
    if through - below > 1:
        for other in range(s):
            earlier += population[t, other] and x[t, other] == v
    from_top = n - through + earlier
    if from_top < k:
        return 1.0
    return -1.0 if from_top >= n - k else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cross_sections(x, population, out, mode, parameter):
    """Rank, quantile clip or end marks of each row among its population."""
    rows, columns = x.shape
    held = np.empty(columns + 1)
    for t in range(rows):
        n = 0
        for s in range(columns):
            if population[t, s] and x[t, s] == x[t, s]:
                n = _insert(held, n, x[t, s] + 0.0)
        low, high, k = np.nan, np.nan, 0
        if mode == CS_WINSORIZE and n > 0:
            low, high = _quantile(held, n, parameter), _quantile(held, n, 1.0 - parameter)
        if mode == CS_TOP_BOTTOM:
            k = min(int(parameter), n // 2)
        for s in range(columns):
            v = x[t, s]
            r = np.nan
            if population[t, s] and v == v:
                if mode == CS_WINSORIZE:
                    r = low if v < low else (high if v > high else v)
                else:
                    below, through = _below(held, n, v), _through(held, n, v)
                    r = (below + 1 + through) / 2.0 / n
                    if mode == CS_TOP_BOTTOM:
                        r = _mark(x, population, t, s, below, through, n, k)
            out[t, s] = r


def _windows(q: float, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    windows(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, q)
    return 0


def ts_median(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Median of the valid values."""
    return _windows(0.5, operands, literals, context, out)


def ts_quantile(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Quantile q of the valid values, linear interpolation."""
    return _windows(float(literals["q"]), operands, literals, context, out)
