"""Variance and what follows from it: `rolling`'s blocks with a second sum, merged as in Chan, Golub and LeVeque (1983).

Planes: sum of u, sum of u^2, count, with u = x - shift; how far the mean lies above the window's shift.
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
from .finish import blank
from .flat import over
from .rows import (
    MIXED,
    NO_LIMIT,
    WIDTH,
    blank_idle,
    descending,
    full_counts,
    is_plain,
    next_state,
    over_columns,
)

VARIANCE, DEVIATION, ZSCORE, DISTANCE, RATIO = range(5)
ABOUT = 3 * WIDTH


@compiled(_nrt=False)
def _finish(mode, v, base, r, p):
    """Turn a row of variances into what was asked for; the mean lies p[b + ABOUT] above `base`."""
    if mode == DISTANCE:
        for b in range(r.size):
            r[b] = (v[b] - base[b]) - p[b + ABOUT]
    elif mode != VARIANCE:
        for b in range(r.size):
            r[b] = math.sqrt(r[b])
        if mode == ZSCORE:
            for b in range(r.size):
                r[b] = over((v[b] - base[b]) - p[b + ABOUT], r[b], base[b])
        elif mode == RATIO:
            for b in range(r.size):
                r[b] = over(base[b] + p[b + ABOUT], r[b], base[b])


@compiled(_nrt=False)
def _prefixes(x, out, first, last, have, d, mode, ddof, p, s, shift, gap, no_gap):
    """Plain block: p becomes the running sums, `out` the statistic of their merge with the suffixes s."""
    for t in range(first, last):
        nb = float(t - first + 1)
        na = d - nb
        per_a, per_b, per_n, part = 1.0 / max(na, 1.0), 1.0 / nb, 1.0 / (d - ddof), na / d
        both = part * nb
        v, q, r, e = x[t], s[max(t - d + 1, 0) - (first - have)], out[t], gap if na > 0.0 else no_gap
        for b in range(v.size):
            u = v[b] - shift[b]
            b1, b2 = p[b] + u, p[b + WIDTH] + u * u
            p[b], p[b + WIDTH] = b1, b2
            mean_a, mean_b = q[b] * per_a, b1 * per_b
            square_a, square_b = q[b + WIDTH] - q[b] * mean_a, b2 - b1 * mean_b
            square_a = 0.0 if square_a < 0.0 else square_a
            square_b = 0.0 if square_b < 0.0 else square_b
            apart = e[b] + (mean_a - mean_b)
            p[b + ABOUT] = mean_b + apart * part
            value = (square_a + square_b + apart * apart * both) * per_n
            r[b] = value if value == value else np.inf  # inf - inf: a square overflowed
        _finish(mode, v, shift, r, p)
        if t < d - 1:
            r[:] = np.nan


@compiled(_nrt=False)
def _prefixes_mixed(x, age, out, first, last, have, d, mode, ddof, p, s, shift, far, base, min_valid, min_age):
    """The same for any block; `shift` and `far` are the shifts of prefix and suffix."""
    for t in range(first, last):
        v, a, q, r = x[t], age[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        for b in range(v.size):
            ok, keep = (v[b] == v[b]) & (a[b] > 0), a[b] != 1
            nb = p[b + 2 * WIDTH] if keep else 0.0
            near = v[b] if ok & (nb == 0.0) else shift[b]
            u = v[b] - near if ok else 0.0
            shift[b] = near
            nb += 1.0 if ok else 0.0
            b1, b2 = (p[b] if keep else 0.0) + u, (p[b + WIDTH] if keep else 0.0) + u * u
            p[b], p[b + WIDTH], p[b + 2 * WIDTH] = b1, b2, nb
            na = q[b + 2 * WIDTH] if a[b] > t - first + 1 else 0.0
            a1, a2 = q[b] if na > 0.0 else 0.0, q[b + WIDTH] if na > 0.0 else 0.0
            n = na + nb
            part = na / n
            mean_a, mean_b = a1 * (1.0 / max(na, 1.0)), b1 * (1.0 / max(nb, 1.0))
            square_a, square_b = a2 - a1 * mean_a, b2 - b1 * mean_b
            square_a = 0.0 if square_a < 0.0 else square_a
            square_b = 0.0 if square_b < 0.0 else square_b
            apart = (far[b] - near if (na > 0.0) & (nb > 0.0) else 0.0) + (mean_a - mean_b)
            p[b + ABOUT] = mean_b + apart * part
            value = (square_a + square_b + apart * apart * (part * nb)) * (1.0 / (n - ddof))
            enough = (a[b] >= min_age) & (a[b] <= oldest) & (n >= min_valid) & (n > ddof)
            value = value if value == value else np.inf
            r[b] = value if enough else np.nan
            inside = near if nb > 0.0 else far[b]
            base[b] = inside if enough else np.nan
        _finish(mode, v, base, r, p)


@compiled(_nrt=False)
def _suffixes(x, s, down, shift):
    """Plain block: leave in s[i] the sums over rows i.. of the block; the row past the end is 0."""
    for k in range(x.shape[0]):
        i = down[k]
        v, q, r = x[i], s[i + 1], s[i]
        for b in range(v.size):
            u = v[b] - shift[b]
            r[b] = q[b] + u
            r[b + WIDTH] = q[b + WIDTH] + u * u


@compiled(_nrt=False)
def _suffixes_mixed(x, age, s, down, shift, alive):
    """The same for any block, with the counts; sets `shift` to the last valid value."""
    alive[:] = 1.0
    for k in range(x.shape[0]):
        i = down[k]
        v, a, q, r = x[i], age[i], s[i + 1], s[i]
        for b in range(v.size):
            ok = (v[b] == v[b]) & (a[b] > 0) & (alive[b] > 0.0)
            shift[b] = v[b] if ok & (q[b + 2 * WIDTH] == 0.0) else shift[b]
            u = v[b] - shift[b] if ok else 0.0
            r[b] = q[b] + u
            r[b + WIDTH] = q[b + WIDTH] + u * u
            r[b + 2 * WIDTH] = q[b + 2 * WIDTH] + (1.0 if ok else 0.0)
            alive[b] = alive[b] if a[b] > 1 else 0.0


@compiled
def moments(x, age, out, d, min_valid, min_age, phase, mode, ddof, own_row):
    """Variance, standard deviation or z-score of each window; return how many overflow from `own_row` on."""
    rows, columns = x.shape
    down = descending(min(d, rows))
    s, p = np.zeros((min(d, rows) + 1, 3 * WIDTH)), np.empty(4 * WIDTH)
    shift, far, gap, none = np.zeros(columns), np.zeros(columns), np.zeros(columns), np.zeros(columns)
    gaps, idle, base = np.empty(columns), np.empty(columns), np.empty(columns)
    have, before, now, known = 0, MIXED, MIXED, 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        if last > known:
            now, known = next_state(x, age, first, last, d, gaps, idle)
        p[:] = 0.0
        if is_plain(now, before, first, have, d):
            shift[:] = x[first]
            gap[:] = far - shift
            _prefixes(x, out, first, last, have, d, mode, ddof, p, s, shift, gap, none)
            blank_idle(out[first:last], idle)
        else:
            if before != MIXED:
                full_counts(s, have, columns, 2)
            _prefixes_mixed(x, age, out, first, last, have, d, mode, ddof, p, s, shift, far, base, min_valid, min_age)
        have, before = last - first, now
        s[have] = 0.0
        if now == MIXED:
            _suffixes_mixed(x[first:last], age[first:last], s, down[-have:], far, idle)
        else:
            far[:] = x[last - 1]
            _suffixes(x[first:last], s, down[-have:], far)
    return blank(out.reshape(-1), own_row * columns)


def _moments(mode: int, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    ddof = 0 if mode == DISTANCE else int(literals.get("ddof", 1))
    numbers = (w.bars, w.min_valid, w.min_age, w.phase, mode, ddof, context.own_row)
    return over_columns(moments, operands, context, out, *numbers)


def ts_var(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Variance of the valid values."""
    return _moments(VARIANCE, operands, literals, context, out)


def ts_std(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Standard deviation of the valid values."""
    return _moments(DEVIATION, operands, literals, context, out)


def ts_zscore(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance of the present value from the mean in standard deviations (ddof 1)."""
    return _moments(ZSCORE, operands, literals, context, out)


def ts_av_diff(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance of the present value from the mean."""
    return _moments(DISTANCE, operands, literals, context, out)


def ts_ir(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean in standard deviations (ddof 1)."""
    return _moments(RATIO, operands, literals, context, out)
