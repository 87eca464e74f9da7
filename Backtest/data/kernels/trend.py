"""Statistics of a window against the number of its row: linearly weighted mean and the least-squares line.

`rolling`'s blocks with sums of k u, where k is a row's number counted from the first row of the suffix's block (so the
prefix's rows go on from d) and u = x - shift. Sums of k alone are whole numbers: exact, and known where nothing is
missing. A weight is k less some `centre`: the mean of the window's k for the line, the k before its first row for the
mean. Weights of the line add up to 0, so its shift does not matter.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, window_of
from .finish import blank
from .rows import FLAT, MIXED, NO_LIMIT, WIDTH, blank_idle, descending, is_plain, next_state, over_columns

MEAN, SLOPE, RESIDUAL, RSQUARE = range(4)

U, KU, UU, N, K, KK = (plane * WIDTH for plane in range(6))
"""Planes of sums: u, k u, u^2, and, where something is missing, 1, k, k^2."""
OUT = 6 * WIDTH
"""Plane of a window: weighted sum of u."""


@compiled(_nrt=False)
def inverse_spread(d):
    """Return 1 / sum (k - mean k)^2 of d rows one after the other."""
    return 12.0 / (d * (d * d - 1.0)) if d > 1 else np.nan


@compiled(_nrt=False)
def _squares(n, inverse, total, squares):
    """Return the sum of squares about the mean of n values from their sum and sum of squares."""
    about_mean = squares - total * (total * inverse)
    return 0.0 if about_mean < 0.0 else about_mean


@compiled(_nrt=False)
def _rsquare(slope, product, squares, base, n):
    flat = squares <= (FLAT * base) * (FLAT * base) * (n - 1.0)
    value = slope * (product / squares)
    value = 1.0 if value > 1.0 else value
    value = value if squares < np.inf else np.inf
    return np.nan if flat else value


@compiled(_nrt=False)
def _prefixes(x, out, begin, first, last, have, d, mode, p, s, shift, gap, no_gap):
    """Plain block: p becomes the running sums, `out` the statistic of their merge with the suffixes s."""
    steps = d * (d + 1.0) * 0.5
    for t in range(first, last):
        k, nb = float(t - begin), float(t - first + 1)
        na = d - nb
        centre = k if mode == MEAN else k + 1.0 + (d - 1) * 0.5
        share = 1.0 / steps if mode == MEAN else inverse_spread(d)
        lift = d - centre
        weight_a = na * (2.0 * d - na - 1.0) * 0.5 - centre * na
        v, q, r, e = x[t], s[max(t - d + 1, 0) - (first - have)], out[t], gap if na > 0.0 else no_gap
        for b in range(v.size):
            u = v[b] - shift[b]
            b1, b2 = p[b + U] + u, p[b + KU] + k * u
            p[b + U], p[b + KU] = b1, b2
            p[b + OUT] = (b2 + lift * b1) + ((q[b + KU] - centre * q[b + U]) + weight_a * e[b])
        if mode == MEAN:
            for b in range(v.size):
                r[b] = shift[b] + p[b + OUT] * share
        elif mode == SLOPE:
            for b in range(v.size):
                r[b] = p[b + OUT] * share
        elif mode == RESIDUAL:
            per_n, ahead = 1.0 / d, (d + k) - centre
            for b in range(v.size):
                mean = (p[b + U] + (q[b + U] + na * e[b])) * per_n
                r[b] = ((v[b] - shift[b]) - mean) - (p[b + OUT] * share) * ahead
        else:
            per_a, per_b, both = 1.0 / max(na, 1.0), 1.0 / nb, na / d * nb
            for b in range(v.size):
                u = v[b] - shift[b]
                p[b + UU] += u * u
                apart = e[b] + (q[b + U] * per_a - p[b + U] * per_b)
                squares = _squares(na, per_a, q[b + U], q[b + UU]) + _squares(nb, per_b, p[b + U], p[b + UU])
                squares += apart * apart * both
                r[b] = _rsquare(p[b + OUT] * share, p[b + OUT], squares, shift[b], float(d))
        if t < d - 1:
            r[:] = np.nan


@compiled(_nrt=False)
def _prefixes_mixed(x, age, out, begin, first, last, have, d, mode, p, s, shift, far, min_valid, min_age):
    """The same for any block; `shift` and `far` are the shifts of prefix and suffix."""
    least = min_valid if mode == MEAN else max(min_valid, 2)
    for t in range(first, last):
        v, a, q, r = x[t], age[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        k = float(t - begin)
        for b in range(v.size):
            ok, keep = (v[b] == v[b]) & (a[b] > 0), a[b] != 1
            nb = p[b + N] if keep else 0.0
            near = v[b] if ok & (nb == 0.0) else shift[b]
            u, one = v[b] - near if ok else 0.0, 1.0 if ok else 0.0
            shift[b] = near
            nb += one
            b1, b2 = (p[b + U] if keep else 0.0) + u, (p[b + KU] if keep else 0.0) + k * u
            b3 = (p[b + UU] if keep else 0.0) + u * u
            kb, kkb = (p[b + K] if keep else 0.0) + k * one, (p[b + KK] if keep else 0.0) + k * k * one
            p[b + U], p[b + KU], p[b + UU], p[b + N], p[b + K], p[b + KK] = b1, b2, b3, nb, kb, kkb
            some = (a[b] > t - first + 1) & (q[b + N] > 0.0)
            na, ka, kka = q[b + N] if some else 0.0, q[b + K] if some else 0.0, q[b + KK] if some else 0.0
            a1, a2, a3 = q[b + U] if some else 0.0, q[b + KU] if some else 0.0, q[b + UU] if some else 0.0
            n, ks = na + nb, ka + (kb + d * nb)
            centre = k if mode == MEAN else ks / n
            share = 1.0 / (ks - centre * n)
            spread = n / (n * (kka + (kkb + 2.0 * d * kb + (d * nb) * d)) - ks * ks)
            share = share if mode == MEAN else (inverse_spread(d) if n == d else spread)
            e = far[b] - near if some & (nb > 0.0) else 0.0
            product = (b2 + (d - centre) * b1) + ((a2 - centre * a1) + (ka - centre * na) * e)
            base = near if nb > 0.0 else far[b]
            mean = (b1 + (a1 + na * e)) * (1.0 / n)
            per_a, per_b, both = 1.0 / max(na, 1.0), 1.0 / max(nb, 1.0), na / n * nb
            apart = e + (a1 * per_a - b1 * per_b)
            squares = _squares(na, per_a, a1, a3) + _squares(nb, per_b, b1, b3)
            squares += apart * apart * both
            value = base + product * share
            value = product * share if mode == SLOPE else value
            value = ((v[b] - base) - mean) - (product * share) * ((d + k) - centre) if mode == RESIDUAL else value
            value = _rsquare(product * share, product, squares, base, n) if mode == RSQUARE else value
            r[b] = value if (a[b] >= min_age) & (a[b] <= oldest) & (n >= least) & (value == value) else np.nan


@compiled(_nrt=False)
def _suffixes(x, offset, s, down, mode, shift):
    """Plain block: leave in s[i] the sums over rows i.. of the block, whose row 0 has the number `offset`."""
    for step in range(x.shape[0]):
        i = down[step]
        k = float(offset + i)
        v, q, r = x[i], s[i + 1], s[i]
        for b in range(v.size):
            u = v[b] - shift[b]
            r[b + U], r[b + KU] = q[b + U] + u, q[b + KU] + k * u
        if mode == RSQUARE:
            for b in range(v.size):
                u = v[b] - shift[b]
                r[b + UU] = q[b + UU] + u * u


@compiled(_nrt=False)
def _suffixes_mixed(x, age, offset, s, down, shift, alive):
    """The same for any block, with the sums of k; sets `shift` to the last valid value."""
    alive[:] = 1.0
    for step in range(x.shape[0]):
        i = down[step]
        k = float(offset + i)
        v, a, q, r = x[i], age[i], s[i + 1], s[i]
        for b in range(v.size):
            ok = (v[b] == v[b]) & (a[b] > 0) & (alive[b] > 0.0)
            shift[b] = v[b] if ok & (q[b + N] == 0.0) else shift[b]
            u, one = v[b] - shift[b] if ok else 0.0, 1.0 if ok else 0.0
            r[b + U], r[b + KU], r[b + UU] = q[b + U] + u, q[b + KU] + k * u, q[b + UU] + u * u
            r[b + N], r[b + K], r[b + KK] = q[b + N] + one, q[b + K] + k * one, q[b + KK] + k * k * one
            alive[b] = alive[b] if a[b] > 1 else 0.0


@compiled(_nrt=False)
def _full_numbers(s, have, offset, columns):
    """Fill in the sums of 1, k and k^2 that the suffixes of a full block go without."""
    n, total, squares = 0.0, 0.0, 0.0
    for i in range(have, -1, -1):
        if i < have:
            k = float(offset + i)
            n, total, squares = n + 1.0, total + k, squares + k * k
        s[i, N : N + columns], s[i, K : K + columns], s[i, KK : KK + columns] = n, total, squares


@compiled
def trends(x, age, out, d, min_valid, min_age, phase, mode, own_row):
    """Linearly weighted mean, slope, residual of the last row or R^2 of each window; return as `deviation.moments`."""
    rows, columns = x.shape
    down = descending(min(d, rows))
    s, p = np.zeros((min(d, rows) + 1, 6 * WIDTH)), np.zeros(7 * WIDTH)
    shift, far, gap, none = np.zeros(columns), np.zeros(columns), np.zeros(columns), np.zeros(columns)
    gaps, idle = np.empty(columns), np.empty(columns)
    have, before, offset, now, known = 0, MIXED, 0, MIXED, 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        if last > known:
            now, known = next_state(x, age, first, last, d, gaps, idle)
        p[:] = 0.0
        if is_plain(now, before, first, have, d):
            shift[:] = x[first]
            gap[:] = far - shift
            _prefixes(x, out, begin, first, last, have, d, mode, p, s, shift, gap, none)
            blank_idle(out[first:last], idle)
        else:
            if before != MIXED:
                _full_numbers(s, have, offset, columns)
            _prefixes_mixed(x, age, out, begin, first, last, have, d, mode, p, s, shift, far, min_valid, min_age)
        have, before, offset = last - first, now, first - begin
        s[have] = 0.0
        if now == MIXED:
            _suffixes_mixed(x[first:last], age[first:last], offset, s, down[-have:], far, idle)
        else:
            far[:] = x[last - 1]
            _suffixes(x[first:last], offset, s, down[-have:], mode, far)
    return blank(out.reshape(-1), own_row * columns)


def _trends(mode: int, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    numbers = (w.bars, w.min_valid, w.min_age, w.phase, mode, context.own_row)
    return over_columns(trends, operands, context, out, *numbers)


def decay_linear(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean of the valid values with weights 1 (oldest row) to d (present row)."""
    return _trends(MEAN, operands, literals, context, out)


def ts_slope(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Slope per bar of the straight line through the window."""
    return _trends(SLOPE, operands, literals, context, out)


def ts_rsquare(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Share of the variance that a straight line through the window explains."""
    return _trends(RSQUARE, operands, literals, context, out)


def ts_resid(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance of the present value from the straight line through the window."""
    return _trends(RESIDUAL, operands, literals, context, out)
