"""Place of a value in its window's range, and the deepest fall inside a window: `rolling`'s blocks of extremes."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite
from .flat import place
from .rows import NO_LIMIT

SHARE, BELOW_HIGH, ABOVE_LOW, FALL = range(4)


@compiled(_nrt=False)
def _suffixes(x, age, first, last, s, alive):
    """Leave in s[:, i] the number, low, high and deepest fall of rows first+i..last-1."""
    rows, columns = last - first, x.shape[1]
    s[0, rows], s[1, rows], s[2, rows], s[3, rows] = 0.0, np.inf, -np.inf, 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        for b in range(columns):
            v, a = x[first + i, b], age[first + i, b]
            ok = (v == v) & (a > 0) & (alive[b] > 0.0)
            low, high = s[1, i + 1, b], s[2, i + 1, b]
            fall = (low - v) / v if ok else 0.0
            s[0, i, b] = s[0, i + 1, b] + (1.0 if ok else 0.0)
            s[1, i, b] = v if ok & (v < low) else low
            s[2, i, b] = v if ok & (v > high) else high
            s[3, i, b] = fall if fall < s[3, i + 1, b] else s[3, i + 1, b]
            alive[b] = alive[b] if a > 1 else 0.0


@compiled(_nrt=False)
def _value(mode, v, low, high, fall):
    if mode == SHARE:
        return place(v, low, high)
    if mode == BELOW_HIGH:
        return v - high
    if mode == ABOVE_LOW:
        return v - low
    # A fall is a share of the peak, which only a positive peak has.
    return fall if low > 0.0 else np.nan


@compiled
def ranges(x, age, out, d, min_valid, min_age, phase, mode):
    """Share of the range, distance from high or low, or deepest fall of each window."""
    rows, columns = x.shape
    s, p = np.zeros((4, min(d, rows) + 1, columns)), np.empty((4, columns))
    alive = np.empty(columns)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        p[0], p[1], p[2], p[3] = 0.0, np.inf, -np.inf, 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                v, a = x[t, b], age[t, b]
                if a == 1:
                    p[0, b], p[1, b], p[2, b], p[3, b] = 0.0, np.inf, -np.inf, 0.0
                if a > 0 and v == v:
                    p[0, b] += 1.0
                    p[1, b], p[2, b] = min(p[1, b], v), max(p[2, b], v)
                    p[3, b] = min(p[3, b], (v - p[2, b]) / p[2, b])
                na = s[0, i, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[0, b] >= min_valid:
                    low, high, fall = p[1, b], p[2, b], p[3, b]
                    if na > 0.0:
                        before = s[2, i, b]
                        fall = min(fall, s[3, i, b])
                        if p[0, b] > 0.0:
                            fall = min(fall, (low - before) / before)
                        low, high = min(low, s[1, i, b]), max(high, before)
                    r = _value(mode, v, low, high, fall)
                out[t, b] = r
        have = last - first
        _suffixes(x, age, first, last, s, alive)


def _ranges(mode: int, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    ranges(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, w.phase, mode)
    return blank_infinite(out, context)


def ts_scale(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Place of the present value between the smallest (0) and the largest (1)."""
    return _ranges(SHARE, operands, literals, context, out)


def ts_max_diff(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance of the present value from the largest."""
    return _ranges(BELOW_HIGH, operands, literals, context, out)


def ts_min_diff(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance of the present value from the smallest."""
    return _ranges(ABOVE_LOW, operands, literals, context, out)


def ts_max_drawdown(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Deepest fall from an earlier peak, as a fraction of the peak, 0 or less."""
    return _ranges(FALL, operands, literals, context, out)
