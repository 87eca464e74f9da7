"""Covariance, correlation and slope: `rolling`'s blocks over rows where both operands are valid."""

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

COVARIANCE, CORRELATION, SLOPE = range(3)
FLAT = 1e-12
"""A std below this fraction of the window's largest |x| is rounding of the input, not movement. Relative, because coins
trade at 1e-8 (Qlib's absolute 2e-5 calls those flat)."""
NO_LIMIT = 2**31 - 1
N, X, Y, XX, YY, XY, MAX_X, MAX_Y = range(8)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _add(p, b, v, w, u, z):
    """Add a pair (v, w) whose distances from the shifts are (u, z)."""
    p[N, b] += 1.0
    p[X, b] += u
    p[Y, b] += z
    p[XX, b] += u * u
    p[YY, b] += z * z
    p[XY, b] += u * z
    p[MAX_X, b] = max(p[MAX_X, b], abs(v))
    p[MAX_Y, b] = max(p[MAX_Y, b], abs(w))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _suffixes(x, y, age, first, last, s, shift, alive):
    """Leave in s[i] the sums of rows first+i..last-1 about the last valid pair of the block; see `rolling`."""
    rows, columns = last - first, x.shape[1]
    s[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            v, w, a = x[first + i, b], y[first + i, b], age[first + i, b]
            if alive[b] > 0.0 and a > 0 and v == v and w == w:
                if s[i, N, b] == 0.0:
                    shift[0, b], shift[1, b] = v, w
                _add(s[i], b, v, w, v - shift[0, b], w - shift[1, b])
            if a <= 1:
                alive[b] = 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _product(na, a1, a2, a12, nb, b1, b2, b12, d1, d2):
    """Merge the sums of products about the means; d1, d2 are shift(a) - shift(b)."""
    r = 0.0
    if na > 0.0:
        r += a12 - a1 * (a2 / na)
    if nb > 0.0:
        r += b12 - b1 * (b2 / nb)
    if na > 0.0 and nb > 0.0:
        r += (d1 + (a1 / na - b1 / nb)) * (d2 + (a2 / na - b2 / nb)) * (na * nb / (na + nb))
    return r


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _value(mode, s, na, p, b, dx, dy, ddof):
    """Return the statistic of the suffix s (na pairs of it) and the prefix p of column b."""
    nb = p[N, b]
    n = na + nb
    if n < 2.0 or n <= ddof:
        return np.nan
    xy = _product(na, s[X, b], s[Y, b], s[XY, b], nb, p[X, b], p[Y, b], p[XY, b], dx, dy)
    yy = max(_product(na, s[Y, b], s[Y, b], s[YY, b], nb, p[Y, b], p[Y, b], p[YY, b], dy, dy), 0.0)
    if mode == SLOPE:
        return xy / yy
    xx = max(_product(na, s[X, b], s[X, b], s[XX, b], nb, p[X, b], p[X, b], p[XX, b], dx, dx), 0.0)
    max_x, max_y = p[MAX_X, b], p[MAX_Y, b]
    if na > 0.0:
        max_x, max_y = max(max_x, s[MAX_X, b]), max(max_y, s[MAX_Y, b])
    if math.sqrt(xx / (n - 1.0)) <= FLAT * max_x or math.sqrt(yy / (n - 1.0)) <= FLAT * max_y:
        return np.nan
    if mode == COVARIANCE:
        return xy / (n - ddof)
    # The product of two roots: xx * yy would leave the range of float64 where each alone does not.
    return min(max(xy / (math.sqrt(xx) * math.sqrt(yy)), -1.0), 1.0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def pairs(x, y, age, out, d, min_valid, min_age, phase, mode, ddof):
    """Covariance, correlation, or slope of x on y of each window, over rows where both are valid."""
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
                v, w, a = x[t, b], y[t, b], age[t, b]
                if a == 1:
                    p[:, b] = 0.0
                if a > 0 and v == v and w == w:
                    if p[N, b] == 0.0:
                        shift[0, b], shift[1, b] = v, w
                    _add(p, b, v, w, v - shift[0, b], w - shift[1, b])
                na = s[i, N, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[N, b] >= min_valid:
                    dx, dy = suffix_shift[0, b] - shift[0, b], suffix_shift[1, b] - shift[1, b]
                    r = _value(mode, s[i], na, p, b, dx, dy, ddof)
                out[t, b] = r
        have = last - first
        _suffixes(x, y, age, first, last, s, suffix_shift, alive)


def _pairs(mode: int, x: Operand, y: Operand, literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    ddof = int(literals.get("ddof", 1))
    pairs(x, y, context.age, out, w.bars, w.min_valid, w.min_age, w.phase, mode, ddof)
    return blank_infinite(out, context)


def ts_cov(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Covariance over pairwise-valid rows."""
    return _pairs(COVARIANCE, operands[0], operands[1], literals, context, out)


def ts_corr(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Pearson correlation over pairwise-valid rows."""
    return _pairs(CORRELATION, operands[0], operands[1], literals, context, out)


def ts_slope(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Least-squares slope of x on the row number: only differences of row numbers matter, and those are exact."""
    number = np.arange(len(out), dtype=np.float64)[:, None]
    return _pairs(SLOPE, operands[0], np.ascontiguousarray(np.broadcast_to(number, out.shape)), literals, context, out)
