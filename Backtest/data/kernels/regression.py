"""Least squares of y on x over a window with an intercept: `rolling`'s blocks over rows where both are valid."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite

RESIDUAL, ALPHA, BETA, FITTED, R2, SE_BETA = range(6)
OUTPUTS = {"resid": RESIDUAL, "alpha": ALPHA, "beta": BETA, "fitted": FITTED, "r2": R2, "se_beta": SE_BETA}
FLAT = 1e-12
"""A std below this fraction of the window's largest |x| is rounding of the input, not movement."""
CLOSE_FIT = 1e-6
"""Where less than this share of y's squares is left over, the difference of the sums has lost too many digits for a
root: the residuals are squared one by one."""
NO_LIMIT = 2**31 - 1
N, Y, X, YY, XX, YX, MAX_Y, MAX_X = range(8)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add(p, b, v, w, u, z):
    """Add a row (v, w) whose distances from the shifts are (u, z)."""
    p[N, b] += 1.0
    p[Y, b] += u
    p[X, b] += z
    p[YY, b] += u * u
    p[XX, b] += z * z
    p[YX, b] += u * z
    p[MAX_Y, b] = max(p[MAX_Y, b], abs(v))
    p[MAX_X, b] = max(p[MAX_X, b], abs(w))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _suffixes(y, x, age, first, last, s, shift, alive):
    """Leave in s[i] the sums of rows first+i..last-1 about the last valid pair of the block."""
    rows, columns = last - first, x.shape[1]
    s[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            v, w, a = y[first + i, b], x[first + i, b], age[first + i, b]
            if alive[b] > 0.0 and a > 0 and v == v and w == w:
                if s[i, N, b] == 0.0:
                    shift[0, b], shift[1, b] = v, w
                _add(s[i], b, v, w, v - shift[0, b], w - shift[1, b])
            if a <= 1:
                alive[b] = 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sides(na, nb):
    """Return 1 / na, 1 / nb and na nb / (na + nb) of a suffix (a) and a prefix (b), 0 where a side is empty."""
    inverse_a, inverse_b = 1.0 / max(na, 1.0), 1.0 / max(nb, 1.0)
    return inverse_a, inverse_b, na * nb / (na + nb)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def product(ia, a1, a2, a12, ib, b1, b2, b12, both, d1, d2):
    """Merge two sums of products about the means; ia, ib, both are `sides`, d1, d2 are shift(a) - shift(b)."""
    a, b = a12 - a1 * (a2 * ia), b12 - b1 * (b2 * ib)
    return a + b + (d1 + (a1 * ia - b1 * ib)) * (d2 + (a2 * ia - b2 * ib)) * both


@numba.njit(nogil=True, cache=True, error_model="numpy")
def centre(na, ia, a1, shift_a, nb, ib, b1, shift_b):
    """Return a reference inside the window and how far the mean of both sides lies from it."""
    if nb == 0.0:
        return shift_a, a1 * ia
    delta = (shift_a - shift_b) + (a1 * ia - b1 * ib)
    return shift_b, b1 * ib + delta * (na / (na + nb))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _left_over(y, x, age, t, b, d, ref_y, rel_y, ref_x, rel_x, beta):
    """Return the sum of squared residuals, row by row."""
    total = 0.0
    for row in range(max(t - min(d, age[t, b]) + 1, 0), t + 1):
        v, w = y[row, b], x[row, b]
        if v == v and w == w:
            u = ((v - ref_y) - rel_y) - beta * ((w - ref_x) - rel_x)
            total += u * u
    return total


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _value(mode, y, x, age, t, b, d, s, na, p, shift_a, shift_b):
    """Return one output of the regression on the suffix s (na rows of it) and the prefix p of column b."""
    nb = p[N, b]
    n = na + nb
    if n < 2.0:
        return np.nan
    ia, ib, both = sides(na, nb)
    # A suffix that belongs to another episode (na = 0) must not be read.
    linked = na > 0.0
    ay, ax, axx, ayx = (s[Y, b], s[X, b], s[XX, b], s[YX, b]) if linked else (0.0, 0.0, 0.0, 0.0)
    dy, dx = shift_a[0, b] - shift_b[0, b], shift_a[1, b] - shift_b[1, b]
    xx = max(product(ia, ax, ax, axx, ib, p[X, b], p[X, b], p[XX, b], both, dx, dx), 0.0)
    max_x = max(p[MAX_X, b], s[MAX_X, b]) if linked else p[MAX_X, b]
    if xx <= (FLAT * max_x) * (FLAT * max_x) * (n - 1.0):
        return np.nan
    yx = product(ia, ay, ax, ayx, ib, p[Y, b], p[X, b], p[YX, b], both, dy, dx)
    beta = yx / xx
    if mode == BETA:
        return beta
    if mode == R2 or mode == SE_BETA:
        ayy = s[YY, b] if linked else 0.0
        yy = max(product(ia, ay, ay, ayy, ib, p[Y, b], p[Y, b], p[YY, b], both, dy, dy), 0.0)
        if mode == R2:
            max_y = max(p[MAX_Y, b], s[MAX_Y, b]) if linked else p[MAX_Y, b]
            if yy <= (FLAT * max_y) * (FLAT * max_y) * (n - 1.0):
                return np.nan
            return min(beta * (yx / yy), 1.0)
        if n < 3.0:
            return np.nan
    ref_y, rel_y = centre(na, ia, ay, shift_a[0, b], nb, ib, p[Y, b], shift_b[0, b])
    ref_x, rel_x = centre(na, ia, ax, shift_a[1, b], nb, ib, p[X, b], shift_b[1, b])
    if mode == SE_BETA:
        rest = yy - beta * yx
        if rest < CLOSE_FIT * yy:
            rest = _left_over(y, x, age, t, b, d, ref_y, rel_y, ref_x, rel_x, beta)
        return math.sqrt(rest / (n - 2.0)) / math.sqrt(xx)
    if mode == ALPHA:
        return (ref_y + rel_y) - beta * (ref_x + rel_x)
    v, w = y[t, b], x[t, b]
    if not (v == v and w == w):
        return np.nan
    rise = beta * ((w - ref_x) - rel_x)
    return ((v - ref_y) - rel_y) - rise if mode == RESIDUAL else ref_y + (rel_y + rise)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def lines(y, x, age, out, d, min_valid, min_age, phase, mode):
    """One output of the regression of y on x of each window."""
    rows, columns = x.shape
    s, p = np.zeros((min(d, rows) + 1, 8, columns)), np.zeros((8, columns))
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
                    p[:, b] = 0.0
                if a > 0 and v == v and w == w:
                    if p[N, b] == 0.0:
                        shift[0, b], shift[1, b] = v, w
                    _add(p, b, v, w, v - shift[0, b], w - shift[1, b])
                na = s[i, N, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[N, b] >= min_valid:
                    r = _value(mode, y, x, age, t, b, d, s[i], na, p, suffix_shift, shift)
                out[t, b] = r
        have = last - first
        _suffixes(y, x, age, first, last, s, suffix_shift, alive)


def _lines(mode: int, y: Operand, x: Operand, literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    lines(y, x, context.age, out, w.bars, w.min_valid, w.min_age, w.phase, mode)
    return blank_infinite(out, context)


def ts_regression(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """One output of the regression of y on x."""
    return _lines(OUTPUTS[literals["out"]], operands[0], operands[1], literals, context, out)


def ts_beta(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Slope of y on x."""
    return _lines(BETA, operands[0], operands[1], literals, context, out)
