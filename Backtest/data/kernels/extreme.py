"""Largest and smallest value of a window and the bars since: `rolling`'s blocks with a maximum for a sum."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from .context import Context, Floats, Operand, window_of

NO_LIMIT = 2**31 - 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _suffixes(x, age, first, last, sign, count, best, where, alive):
    """Leave in row i the largest sign * x of rows first+i..last-1 and its row; the later one wins a tie."""
    rows, columns = last - first, x.shape[1]
    count[rows] = 0.0
    best[rows] = -np.inf
    where[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        row = float(first + i)
        for b in range(columns):
            v, a = sign * x[first + i, b], age[first + i, b]
            ok = (v == v) & (a > 0) & (alive[b] > 0.0)
            better = ok & (v > best[i + 1, b])
            count[i, b] = count[i + 1, b] + (1.0 if ok else 0.0)
            best[i, b] = v if better else best[i + 1, b]
            where[i, b] = row if better else where[i + 1, b]
            alive[b] = alive[b] if a > 1 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def extremes(x, age, out, d, min_valid, min_age, phase, sign, bars):
    """Largest sign * x of each window, times sign, or the bars since it (`bars`)."""
    rows, columns = x.shape
    size = min(d, rows) + 1
    sn, s, sw = np.zeros((size, columns)), np.full((size, columns), -np.inf), np.zeros((size, columns))
    n, best, where, alive = np.empty(columns), np.empty(columns), np.zeros(columns), np.empty(columns)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        n[:] = 0.0
        best[:] = -np.inf
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            row = float(t)
            for b in range(columns):
                v, a = sign * x[t, b], age[t, b]
                ok, keep = (v == v) & (a > 0), a != 1
                n[b] = (n[b] if keep else 0.0) + (1.0 if ok else 0.0)
                old = best[b] if keep else -np.inf
                better = ok & (v >= old)
                best[b] = v if better else old
                where[b] = row if better else where[b]
                linked = a > t - first + 1
                count = n[b] + (sn[i, b] if linked else 0.0)
                other = s[i, b] if linked else -np.inf
                r = other if other > best[b] else best[b]
                since = row - (sw[i, b] if other > best[b] else where[b])
                enough = (a >= min_age) & (a <= oldest) & (count >= min_valid)
                out[t, b] = (since if bars else sign * r) if enough else np.nan
        have = last - first
        _suffixes(x, age, first, last, sign, sn, s, sw, alive)


def _extremes(
    sign: float, bars: bool, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats
) -> int:
    w = window_of(literals, context)
    extremes(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, w.phase, sign, bars)
    return 0


def ts_max(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Largest valid value."""
    return _extremes(1.0, False, operands, literals, context, out)


def ts_min(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Smallest valid value."""
    return _extremes(-1.0, False, operands, literals, context, out)


def ts_argmax(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Bars since the largest valid value; the most recent wins a tie."""
    return _extremes(1.0, True, operands, literals, context, out)


def ts_argmin(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Bars since the smallest valid value; the most recent wins a tie."""
    return _extremes(-1.0, True, operands, literals, context, out)
