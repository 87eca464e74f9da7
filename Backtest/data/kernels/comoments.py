"""Co-skewness and co-kurtosis of a window: `moments`' central blocks for two operands, over rows where both are valid.

A set of rows is held as its number, its two means and its central sums; a single row is a set of one. Moving a set's
centre by (ay, ax) turns sum y'x' into sum y'x' + n ay ax and so on (Pebay 2008); merging moves both to one centre.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite
from .moments import SMALLEST
from .rows import FLAT, NO_LIMIT

SKEW, KURTOSIS = range(2)
N, Y, X, YY, XX, XXX, YX, YXX, YXXX, MAX_Y, MAX_X = range(11)


@compiled
def _merge(p, q, b, n, y, x):
    """Add to p[:, b] the set q[:, b] of n rows, whose means lie y and x away from the means of p."""
    if n == 0.0:
        return
    total = p[N, b] + n
    share, rest = n / total, p[N, b] / total
    for side in range(2):
        s = p if side == 0 else q
        count = p[N, b] if side == 0 else n
        # How far this side's means lie from the common ones.
        e, f = (-y * share, -x * share) if side == 0 else (y * rest, x * rest)
        s_xx, s_xxx, s_yx, s_yxx = s[XX, b], s[XXX, b], s[YX, b], s[YXX, b]
        yy = s[YY, b] + count * e * e
        xx = s_xx + count * f * f
        xxx = s_xxx + 3.0 * f * s_xx + count * f**3
        yx = s_yx + count * e * f
        yxx = s_yxx + 2.0 * f * s_yx + e * s_xx + count * e * f * f
        yxxx = s[YXXX, b] + 3.0 * f * s_yxx + 3.0 * f * f * s_yx + e * s_xxx + 3.0 * e * f * s_xx + count * e * f**3
        if side == 0:
            p[YY, b], p[XX, b], p[XXX, b], p[YX, b], p[YXX, b], p[YXXX, b] = yy, xx, xxx, yx, yxx, yxxx
        else:
            p[YY, b] += yy
            p[XX, b] += xx
            p[XXX, b] += xxx
            p[YX, b] += yx
            p[YXX, b] += yxx
            p[YXXX, b] += yxxx
    p[Y, b] += y * share
    p[X, b] += x * share
    p[N, b] = total
    p[MAX_Y, b] = max(p[MAX_Y, b], q[MAX_Y, b])
    p[MAX_X, b] = max(p[MAX_X, b], q[MAX_X, b])


@compiled
def _add(p, one, shift, b, v, w):
    """Add the row (v, w) to p[:, b]; the first row of a set is its shift."""
    if p[N, b] == 0.0:
        shift[0, b], shift[1, b] = v, w
        p[:, b] = 0.0
    one[MAX_Y, b], one[MAX_X, b] = abs(v), abs(w)
    _merge(p, one, b, 1.0, (v - shift[0, b]) - p[Y, b], (w - shift[1, b]) - p[X, b])


@compiled
def _suffixes(y, x, age, first, last, s, one, shift, alive):
    """Leave in s[i] the set of rows first+i..last-1 about the last valid row of the block."""
    rows, columns = last - first, x.shape[1]
    s[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            v, w, a = y[first + i, b], x[first + i, b], age[first + i, b]
            if alive[b] > 0.0 and a > 0 and v == v and w == w:
                _add(s[i], one, shift, b, v, w)
            if a <= 1:
                alive[b] = 0.0


@compiled
def _value(mode, p, b):
    n = p[N, b]
    if n < 2.0:
        return np.nan
    if math.sqrt(p[YY, b] / (n - 1.0)) <= FLAT * p[MAX_Y, b] or math.sqrt(p[XX, b] / (n - 1.0)) <= FLAT * p[MAX_X, b]:
        return np.nan
    std_y, std_x = math.sqrt(p[YY, b] / n), math.sqrt(p[XX, b] / n)
    product = p[YXX, b] if mode == SKEW else p[YXXX, b]
    overflowed = not (std_y < np.inf and std_x < np.inf and product - product == 0.0)
    if overflowed or min(std_y, 1.0) * std_x ** (2 if mode == SKEW else 3) < SMALLEST:
        return np.inf  # counted as undefined
    value = product / n / std_y / std_x / std_x
    return value if mode == SKEW else value / std_x


@compiled
def joint(y, x, age, out, d, min_valid, min_age, phase, mode):
    """Co-skewness or co-kurtosis of each window."""
    rows, columns = x.shape
    s = np.zeros((min(d, rows) + 1, 11, columns))
    p, one, whole = np.zeros((11, columns)), np.zeros((11, columns)), np.zeros((11, columns))
    shift, suffix_shift, alive = np.zeros((2, columns)), np.zeros((2, columns)), np.empty(columns)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        p[:] = 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                v, w, a = y[t, b], x[t, b], age[t, b]
                if a == 1:
                    p[N, b] = 0.0
                if a > 0 and v == v and w == w:
                    _add(p, one, shift, b, v, w)
                na = s[i, N, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[N, b] >= min_valid:
                    if p[N, b] == 0.0:
                        r = _value(mode, s[i], b)
                    else:
                        whole[:, b] = p[:, b]
                        dy = (suffix_shift[0, b] - shift[0, b]) + (s[i, Y, b] - p[Y, b])
                        dx = (suffix_shift[1, b] - shift[1, b]) + (s[i, X, b] - p[X, b])
                        _merge(whole, s[i], b, na, dy, dx)
                        r = _value(mode, whole, b)
                out[t, b] = r
        have = last - first
        _suffixes(y, x, age, first, last, s, one, suffix_shift, alive)


def _joint(mode: int, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    joint(operands[0], operands[1], context.age, out, w.bars, w.min_valid, w.min_age, w.phase, mode)
    return blank_infinite(out, context)


def ts_co_skew(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean of y' x'^2 over std y std x^2."""
    return _joint(SKEW, operands, literals, context, out)


def ts_co_kurt(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean of y' x'^3 over std y std x^3."""
    return _joint(KURTOSIS, operands, literals, context, out)
