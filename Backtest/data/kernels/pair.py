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
from .rows import MIXED, NO_LIMIT, WIDTH, blank_idle, block_state, descending, full_counts, is_plain, over_columns

COVARIANCE, CORRELATION, SLOPE = range(3)
FLAT = 1e-12
"""A std below this fraction of the window's largest |x| is rounding of the input, not movement. Relative, because coins
trade at 1e-8 (Qlib's absolute 2e-5 calls those flat)."""

X, Y, XX, YY, XY, MAX_X, MAX_Y, N = (plane * WIDTH for plane in range(8))
"""Planes of sums: of u, z, u^2, z^2, u z (distances from the shifts), largest |x| and |y|, count."""
OUT_XY, OUT_XX, OUT_YY, OUT_MAX_X, OUT_MAX_Y = (plane * WIDTH for plane in range(8, 13))
"""Planes of the merged window: sums of products about the means, largest values."""
SHIFTS, FAR, GAP = (plane * WIDTH for plane in (0, 2, 4))
"""Planes of shifts, x then y: of the prefix, of the suffix, and their difference (where both have values)."""


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _finish(mode, r, p, n, ddof):
    """Turn the merged sums of a row of windows of n values into the statistic."""
    for b in range(r.size):
        sx, sy = math.sqrt(p[b + OUT_XX]), math.sqrt(p[b + OUT_YY])
        # The product of two roots: xx * yy would leave the range of float64 where each alone does not.
        value = p[b + OUT_XY] / (sx * sy)
        value = -1.0 if value < -1.0 else (1.0 if value > 1.0 else value)
        value = value if mode == CORRELATION else p[b + OUT_XY] * (1.0 / (n[b] - ddof))
        scale = FLAT * math.sqrt(n[b] - 1.0)
        flat = (sx <= scale * p[b + OUT_MAX_X]) | (sy <= scale * p[b + OUT_MAX_Y])
        r[b] = np.nan if flat else value


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _correlations(r, p, n):
    """The same as `_finish` for correlations of windows that all hold n values."""
    scale = FLAT * math.sqrt(n - 1.0)
    for b in range(r.size):
        sx, sy = math.sqrt(p[b + OUT_XX]), math.sqrt(p[b + OUT_YY])
        value = p[b + OUT_XY] / (sx * sy)
        value = -1.0 if value < -1.0 else (1.0 if value > 1.0 else value)
        flat = (sx <= scale * p[b + OUT_MAX_X]) | (sy <= scale * p[b + OUT_MAX_Y])
        r[b] = np.nan if flat else value


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _slopes(r, p):
    for b in range(r.size):
        r[b] = p[b + OUT_XY] / p[b + OUT_YY]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _largest(old, v):
    return abs(v) if abs(v) > old else old


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _prefixes(x, y, out, first, last, have, d, mode, ddof, p, s, c, count):
    """Plain block: p becomes the running sums, `out` the statistic of their merge with the suffixes s."""
    count[:] = d
    for t in range(first, last):
        nb = float(t - first + 1)
        na = d - nb
        per_a, per_b, both = 1.0 / max(na, 1.0), 1.0 / nb, na / d * nb
        v, w, q, r = x[t], y[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        for b in range(v.size):
            u, z = v[b] - c[b + SHIFTS], w[b] - c[b + SHIFTS + WIDTH]
            b1, b2 = p[b + X] + u, p[b + Y] + z
            b11, b22, b12 = p[b + XX] + u * u, p[b + YY] + z * z, p[b + XY] + u * z
            p[b + X], p[b + Y], p[b + XX], p[b + YY], p[b + XY] = b1, b2, b11, b22, b12
            a1, a2 = q[b + X], q[b + Y]
            apart_x = (c[b + GAP] if na > 0.0 else 0.0) + (a1 * per_a - b1 * per_b)
            apart_y = (c[b + GAP + WIDTH] if na > 0.0 else 0.0) + (a2 * per_a - b2 * per_b)
            xx = (q[b + XX] - a1 * (a1 * per_a)) + (b11 - b1 * (b1 * per_b)) + apart_x * apart_x * both
            yy = (q[b + YY] - a2 * (a2 * per_a)) + (b22 - b2 * (b2 * per_b)) + apart_y * apart_y * both
            p[b + OUT_XY] = (q[b + XY] - a1 * (a2 * per_a)) + (b12 - b1 * (b2 * per_b)) + apart_x * apart_y * both
            p[b + OUT_XX], p[b + OUT_YY] = 0.0 if xx < 0.0 else xx, 0.0 if yy < 0.0 else yy
        for b in range(v.size):
            p[b + MAX_X], p[b + MAX_Y] = _largest(p[b + MAX_X], v[b]), _largest(p[b + MAX_Y], w[b])
            p[b + OUT_MAX_X] = _largest(p[b + MAX_X], q[b + MAX_X])
            p[b + OUT_MAX_Y] = _largest(p[b + MAX_Y], q[b + MAX_Y])
        if mode == CORRELATION:
            _correlations(r, p, float(d))
        elif mode == SLOPE:
            _slopes(r, p)
        else:
            _finish(mode, r, p, count, ddof)
        if t < d - 1:
            r[:] = np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _prefixes_mixed(x, y, age, out, first, last, have, d, mode, ddof, p, s, c, count, min_valid, min_age):
    """The same for any block."""
    for t in range(first, last):
        v, w, a, q, r = x[t], y[t], age[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        for b in range(v.size):
            ok = (v[b] == v[b]) & (w[b] == w[b]) & (a[b] > 0)
            keep = 1.0 if a[b] != 1 else 0.0
            nb = p[b + N] * keep
            c[b + SHIFTS] = v[b] if ok & (nb == 0.0) else c[b + SHIFTS]
            c[b + SHIFTS + WIDTH] = w[b] if ok & (nb == 0.0) else c[b + SHIFTS + WIDTH]
            u, z = v[b] - c[b + SHIFTS] if ok else 0.0, w[b] - c[b + SHIFTS + WIDTH] if ok else 0.0
            nb += 1.0 if ok else 0.0
            p[b + N] = nb
            b1, b2 = (p[b + X] if a[b] != 1 else 0.0) + u, (p[b + Y] if a[b] != 1 else 0.0) + z
            b11 = (p[b + XX] if a[b] != 1 else 0.0) + u * u
            b22 = (p[b + YY] if a[b] != 1 else 0.0) + z * z
            b12 = (p[b + XY] if a[b] != 1 else 0.0) + u * z
            p[b + X], p[b + Y], p[b + XX], p[b + YY], p[b + XY] = b1, b2, b11, b22, b12
            na = q[b + N] if a[b] > t - first + 1 else 0.0
            some = na > 0.0
            a1, a2 = q[b + X] if some else 0.0, q[b + Y] if some else 0.0
            a11, a22, a12 = q[b + XX] if some else 0.0, q[b + YY] if some else 0.0, q[b + XY] if some else 0.0
            n = na + nb
            per_a, per_b, both = 1.0 / max(na, 1.0), 1.0 / max(nb, 1.0), na / n * nb
            gap_x = c[b + FAR] - c[b + SHIFTS] if some & (nb > 0.0) else 0.0
            gap_y = c[b + FAR + WIDTH] - c[b + SHIFTS + WIDTH] if some & (nb > 0.0) else 0.0
            apart_x, apart_y = gap_x + (a1 * per_a - b1 * per_b), gap_y + (a2 * per_a - b2 * per_b)
            xx = (a11 - a1 * (a1 * per_a)) + (b11 - b1 * (b1 * per_b)) + apart_x * apart_x * both
            yy = (a22 - a2 * (a2 * per_a)) + (b22 - b2 * (b2 * per_b)) + apart_y * apart_y * both
            p[b + OUT_XY] = (a12 - a1 * (a2 * per_a)) + (b12 - b1 * (b2 * per_b)) + apart_x * apart_y * both
            p[b + OUT_XX], p[b + OUT_YY] = 0.0 if xx < 0.0 else xx, 0.0 if yy < 0.0 else yy
            top_x, top_y = p[b + MAX_X] * keep, p[b + MAX_Y] * keep
            top_x, top_y = _largest(top_x, v[b]) if ok else top_x, _largest(top_y, w[b]) if ok else top_y
            p[b + MAX_X], p[b + MAX_Y] = top_x, top_y
            p[b + OUT_MAX_X] = _largest(top_x, q[b + MAX_X]) if some else top_x
            p[b + OUT_MAX_Y] = _largest(top_y, q[b + MAX_Y]) if some else top_y
            enough = (a[b] >= min_age) & (a[b] <= oldest) & (n >= min_valid) & (n >= 2.0) & (n > ddof)
            count[b] = n if enough else np.nan
        if mode == SLOPE:
            _slopes(r, p)
        else:
            _finish(mode, r, p, count, ddof)
        for b in range(v.size):
            r[b] = r[b] if count[b] == count[b] else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _suffixes(x, y, s, down, c):
    """Plain block: leave in s[i] the sums over rows i.. of the block; the row past the end is 0."""
    for k in range(x.shape[0]):
        i = down[k]
        v, w, q, r = x[i], y[i], s[i + 1], s[i]
        for b in range(v.size):
            u, z = v[b] - c[b + FAR], w[b] - c[b + FAR + WIDTH]
            r[b + X], r[b + Y] = q[b + X] + u, q[b + Y] + z
            r[b + XX], r[b + YY], r[b + XY] = q[b + XX] + u * u, q[b + YY] + z * z, q[b + XY] + u * z
            r[b + MAX_X], r[b + MAX_Y] = _largest(q[b + MAX_X], v[b]), _largest(q[b + MAX_Y], w[b])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _suffixes_mixed(x, y, age, s, down, c, alive):
    """The same for any block, with the counts; sets the suffix's shifts to the last valid pair."""
    alive[:] = 1.0
    for k in range(x.shape[0]):
        i = down[k]
        v, w, a, q, r = x[i], y[i], age[i], s[i + 1], s[i]
        for b in range(v.size):
            ok = (v[b] == v[b]) & (w[b] == w[b]) & (a[b] > 0) & (alive[b] > 0.0)
            c[b + FAR] = v[b] if ok & (q[b + N] == 0.0) else c[b + FAR]
            c[b + FAR + WIDTH] = w[b] if ok & (q[b + N] == 0.0) else c[b + FAR + WIDTH]
            u, z = v[b] - c[b + FAR] if ok else 0.0, w[b] - c[b + FAR + WIDTH] if ok else 0.0
            r[b + N] = q[b + N] + (1.0 if ok else 0.0)
            r[b + X], r[b + Y] = q[b + X] + u, q[b + Y] + z
            r[b + XX], r[b + YY], r[b + XY] = q[b + XX] + u * u, q[b + YY] + z * z, q[b + XY] + u * z
            r[b + MAX_X] = _largest(q[b + MAX_X], v[b]) if ok else q[b + MAX_X]
            r[b + MAX_Y] = _largest(q[b + MAX_Y], w[b]) if ok else q[b + MAX_Y]
            alive[b] = alive[b] if a[b] > 1 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _set_shifts(c, plane, x, y, t):
    for b in range(x.shape[1]):
        c[plane + b], c[plane + WIDTH + b] = x[t, b], y[t, b]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def pairs(x, y, age, out, d, min_valid, min_age, phase, mode, ddof):
    """Covariance, correlation, or slope of x on y of each window, over rows where both are valid."""
    rows, columns = x.shape
    down = descending(min(d, rows))
    s, p, c = np.zeros((min(d, rows) + 1, 8 * WIDTH)), np.zeros(13 * WIDTH), np.zeros(6 * WIDTH)
    gaps, idle, count = np.empty(columns), np.empty(columns), np.empty(columns)
    have, before = 0, MIXED
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        now = block_state(x[first:last], age[first:last], gaps, idle)
        now = min(now, block_state(y[first:last], age[first:last], gaps, idle))
        p[:] = 0.0
        if is_plain(now, before, first, have, d):
            _set_shifts(c, SHIFTS, x, y, first)
            c[GAP:] = c[FAR:GAP] - c[SHIFTS:FAR]
            _prefixes(x, y, out, first, last, have, d, mode, ddof, p, s, c, count)
            blank_idle(out[first:last], idle)
        else:
            if before != MIXED:
                full_counts(s, have, columns, N // WIDTH)
            _prefixes_mixed(x, y, age, out, first, last, have, d, mode, ddof, p, s, c, count, min_valid, min_age)
        have, before = last - first, now
        s[have] = 0.0
        if now == MIXED:
            _suffixes_mixed(x[first:last], y[first:last], age[first:last], s, down[-have:], c, idle)
        else:
            _set_shifts(c, FAR, x, y, last - 1)
            _suffixes(x[first:last], y[first:last], s, down[-have:], c)


def _pairs(mode: int, x: Operand, y: Operand, literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    ddof = int(literals.get("ddof", 1))
    over_columns(pairs, (x, y), context, out, w.bars, w.min_valid, w.min_age, w.phase, mode, ddof)
    return blank_infinite(out, context)


def ts_cov(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Covariance over pairwise-valid rows."""
    return _pairs(COVARIANCE, operands[0], operands[1], literals, context, out)


def ts_corr(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Pearson correlation over pairwise-valid rows."""
    return _pairs(CORRELATION, operands[0], operands[1], literals, context, out)
