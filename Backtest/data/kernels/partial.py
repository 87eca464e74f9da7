"""Partial correlation of a window: `rolling`'s blocks for three operands, over rows where all are valid."""

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
from .rows import FLAT, NO_LIMIT

EXPLAINED = 1e-6
"""With less than this share of its std left, what z does not explain of an operand is rounding."""
CLOSE_FIT = 1e-4
"""Where z leaves less than this share of the squares, the residuals are multiplied one by one (see `pair`)."""
N, SUM, MOST, PRODUCT = 0, 1, 4, 7
"""Rows of the sums: number; three sums; three largest |value|; products 00, 11, 22, 01, 02, 12."""
LEFT, RIGHT = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)


@compiled
def _sides(na, nb):
    """Return 1 / na, 1 / nb and na nb / (na + nb) of a suffix (a) and a prefix (b), 0 where a side is empty."""
    inverse_a, inverse_b = 1.0 / max(na, 1.0), 1.0 / max(nb, 1.0)
    return inverse_a, inverse_b, na * nb / (na + nb)


@compiled
def _product(ia, a1, a2, a12, ib, b1, b2, b12, both, d1, d2):
    """Merge two sums of products about the means; ia, ib, both are `sides`, d1, d2 are shift(a) - shift(b)."""
    a, b = a12 - a1 * (a2 * ia), b12 - b1 * (b2 * ib)
    return a + b + (d1 + (a1 * ia - b1 * ib)) * (d2 + (a2 * ia - b2 * ib)) * both


@compiled
def _centre(na, ia, a1, shift_a, nb, ib, b1, shift_b):
    """Return a reference inside the window and how far the mean of both sides lies from it."""
    if nb == 0.0:
        return shift_a, a1 * ia
    delta = (shift_a - shift_b) + (a1 * ia - b1 * ib)
    return shift_b, b1 * ib + delta * (na / (na + nb))


@compiled
def _add(p, shift, data, t, b):
    """Add row t of the three operands to p[:, b]; the first row of a set is its shift."""
    if p[N, b] == 0.0:
        shift[:, b] = data[:, t, b]
    p[N, b] += 1.0
    for k in range(3):
        p[SUM + k, b] += data[k, t, b] - shift[k, b]
        p[MOST + k, b] = max(p[MOST + k, b], abs(data[k, t, b]))
    for k in range(6):
        i, j = LEFT[k], RIGHT[k]
        p[PRODUCT + k, b] += (data[i, t, b] - shift[i, b]) * (data[j, t, b] - shift[j, b])


@compiled
def _valid(data, t, b):
    return data[0, t, b] == data[0, t, b] and data[1, t, b] == data[1, t, b] and data[2, t, b] == data[2, t, b]


@compiled
def _suffixes(data, age, first, last, s, shift, alive):
    """Leave in s[i] the sums of rows first+i..last-1 about the last valid row of the block."""
    rows, columns = last - first, age.shape[1]
    s[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            if alive[b] > 0.0 and age[first + i, b] > 0 and _valid(data, first + i, b):
                _add(s[i], shift, data, first + i, b)
            if age[first + i, b] <= 1:
                alive[b] = 0.0


@compiled
def _residual_products(data, age, t, b, d, ref, rel, m):
    """Return the sums of squares and of products of what z leaves of x and y, row by row."""
    xx, yy, xy = 0.0, 0.0, 0.0
    slope_x, slope_y = m[4] / m[2], m[5] / m[2]
    for row in range(max(t - min(d, age[t, b]) + 1, 0), t + 1):
        if _valid(data, row, b):
            z = (data[2, row, b] - ref[2]) - rel[2]
            u = ((data[0, row, b] - ref[0]) - rel[0]) - slope_x * z
            v = ((data[1, row, b] - ref[1]) - rel[1]) - slope_y * z
            xx += u * u
            yy += v * v
            xy += u * v
    return xx, yy, xy


@compiled
def _value(data, age, t, b, d, s, na, p, shift_a, shift_b, m, ref, rel):
    """Return the partial correlation of the suffix s (na rows of it) and the prefix p of column b."""
    nb = p[N, b]
    n = na + nb
    if n < 3.0:
        return np.nan
    ia, ib, both = _sides(na, nb)
    # A suffix that belongs to another episode (na = 0) must not be read, nor the shift of an empty side, which lies
    # outside the window: 0 times an overflow is not 0.
    linked, joined = na > 0.0, na > 0.0 and nb > 0.0
    for k in range(6):
        i, j, row = LEFT[k], RIGHT[k], PRODUCT + k
        ai, aj, aij = (s[SUM + i, b], s[SUM + j, b], s[row, b]) if linked else (0.0, 0.0, 0.0)
        di, dj = (shift_a[i, b] - shift_b[i, b], shift_a[j, b] - shift_b[j, b]) if joined else (0.0, 0.0)
        m[k] = _product(ia, ai, aj, aij, ib, p[SUM + i, b], p[SUM + j, b], p[row, b], both, di, dj)
    for k in range(3):
        if not m[k] < np.inf:
            return np.inf  # counted as undefined
        most = max(p[MOST + k, b], s[MOST + k, b]) if na > 0.0 else p[MOST + k, b]
        if math.sqrt(max(m[k], 0.0) / (n - 1.0)) <= FLAT * most:
            return np.nan
    xx, yy, xy = m[0] - m[4] * (m[4] / m[2]), m[1] - m[5] * (m[5] / m[2]), m[3] - m[4] * (m[5] / m[2])
    if xx < CLOSE_FIT * m[0] or yy < CLOSE_FIT * m[1]:
        for k in range(3):
            total = s[SUM + k, b] if linked else 0.0
            ref[k], rel[k] = _centre(na, ia, total, shift_a[k, b], nb, ib, p[SUM + k, b], shift_b[k, b])
        xx, yy, xy = _residual_products(data, age, t, b, d, ref, rel, m)
    if math.sqrt(xx) <= EXPLAINED * math.sqrt(m[0]) or math.sqrt(yy) <= EXPLAINED * math.sqrt(m[1]):
        return np.nan
    return min(max(xy / (math.sqrt(xx) * math.sqrt(yy)), -1.0), 1.0)


@compiled
def triples(data, age, out, d, min_valid, min_age, phase):
    """Correlation of data[0] and data[1] of each window, both less their regressions on data[2]."""
    rows, columns = age.shape
    s, p = np.zeros((min(d, rows) + 1, 13, columns)), np.zeros((13, columns))
    shift, suffix_shift, alive = np.zeros((3, columns)), np.zeros((3, columns)), np.empty(columns)
    m, ref, rel = np.empty(6), np.empty(3), np.empty(3)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        p[:] = 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                a = age[t, b]
                if a == 1:
                    p[:, b] = 0.0
                if a > 0 and _valid(data, t, b):
                    _add(p, shift, data, t, b)
                na = s[i, N, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[N, b] >= min_valid:
                    r = _value(data, age, t, b, d, s[i], na, p, suffix_shift, shift, m, ref, rel)
                out[t, b] = r
        have = last - first
        _suffixes(data, age, first, last, s, suffix_shift, alive)


def ts_partial_corr(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Correlation of x and y given z."""
    w = window_of(literals, context)
    triples(np.stack(operands), context.age, out, w.bars, w.min_valid, w.min_age, w.phase)
    return blank_infinite(out, context)
