"""Linearly weighted mean of a window: `rolling`'s blocks with two sums more, because weights grow with every row.

Planes: count, sum of w, sum of u, sum of w u, with u = x - shift and w = 1 at the block's (or the suffix's) first row.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite
from .rows import MIXED, NO_LIMIT, WIDTH, blank_idle, block_state, descending, is_plain, over_columns


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _prefixes(x, out, begin, first, last, have, d, p, s, shift, gap, no_gap):
    """Plain block: p becomes the running sums, `out` the mean of their merge with the suffixes s."""
    weights = 0.0
    for t in range(first, last):
        w, nb = t - begin + 1.0, float(t - first + 1)
        na = d - nb
        lack, suffix_lack = float(d - w), float(max(d - 1 - t, 0))
        weights += w
        wa = na * (na + 1.0) * 0.5 + suffix_lack * na
        share = 1.0 / (wa + (weights + lack * nb))
        v, q, r, e = x[t], s[max(t - d + 1, 0) - (first - have)], out[t], gap if na > 0.0 else no_gap
        for b in range(v.size):
            u = v[b] - shift[b]
            b2, b3 = p[b + 2 * WIDTH] + u, p[b + 3 * WIDTH] + w * u
            p[b + 2 * WIDTH], p[b + 3 * WIDTH] = b2, b3
            ta = q[b + 3 * WIDTH] + suffix_lack * q[b + 2 * WIDTH]
            r[b] = shift[b] + ((b3 + lack * b2) + (ta + wa * e[b])) * share
        if t < d - 1:
            r[:] = np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _prefixes_mixed(x, age, out, begin, first, last, have, d, p, s, shift, far, min_valid, min_age):
    """The same for any block; `shift` and `far` are the shifts of prefix and suffix."""
    for t in range(first, last):
        v, a, q, r = x[t], age[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        w = t - begin + 1.0
        # What the weights of the prefix (counted from its block) and of the suffix (from its first row) lack.
        lack, suffix_lack = float(d - w), float(max(d - 1 - t, 0))
        for b in range(v.size):
            ok, keep = (v[b] == v[b]) & (a[b] > 0), a[b] != 1
            nb = p[b] if keep else 0.0
            shift[b] = v[b] if ok & (nb == 0.0) else shift[b]
            u = v[b] - shift[b] if ok else 0.0
            nb += 1.0 if ok else 0.0
            b1 = (p[b + WIDTH] if keep else 0.0) + (w if ok else 0.0)
            b2, b3 = (p[b + 2 * WIDTH] if keep else 0.0) + u, (p[b + 3 * WIDTH] if keep else 0.0) + w * u
            p[b], p[b + WIDTH], p[b + 2 * WIDTH], p[b + 3 * WIDTH] = nb, b1, b2, b3
            na = q[b] if a[b] > t - first + 1 else 0.0
            some = na > 0.0
            wa = q[b + WIDTH] + suffix_lack * na if some else 0.0
            ta = q[b + 3 * WIDTH] + suffix_lack * q[b + 2 * WIDTH] if some else 0.0
            e = far[b] - shift[b] if some & (nb > 0.0) else 0.0
            base = shift[b] if nb > 0.0 else far[b]
            value = base + ((b3 + lack * b2) + (ta + wa * e)) * (1.0 / (wa + (b1 + lack * nb)))
            r[b] = value if (a[b] >= min_age) & (a[b] <= oldest) & (na + nb >= min_valid) else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _suffixes(x, age, s, down, shift, alive):
    """Leave in s[i] the sums over rows i.. of the block, w = 1 at row i; sets `shift` to the last valid value."""
    alive[:] = 1.0
    for k in range(x.shape[0]):
        i = down[k]
        v, a, q, r = x[i], age[i], s[i + 1], s[i]
        for b in range(v.size):
            ok = (v[b] == v[b]) & (a[b] > 0) & (alive[b] > 0.0)
            shift[b] = v[b] if ok & (q[b] == 0.0) else shift[b]
            n, total = q[b] + (1.0 if ok else 0.0), q[b + 2 * WIDTH] + (v[b] - shift[b] if ok else 0.0)
            # One row further back every weight grows by one, the new row included.
            r[b], r[b + WIDTH] = n, q[b + WIDTH] + n
            r[b + 2 * WIDTH], r[b + 3 * WIDTH] = total, q[b + 3 * WIDTH] + total
            alive[b] = alive[b] if a[b] > 1 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def linear_weights(x, age, out, d, min_valid, min_age, phase):
    """Mean of each window with weights 1 (oldest row) to d (present row) over the valid rows."""
    rows, columns = x.shape
    down = descending(min(d, rows))
    s, p = np.zeros((min(d, rows) + 1, 4 * WIDTH)), np.empty(4 * WIDTH)
    shift, far, gap, none = np.zeros(columns), np.zeros(columns), np.zeros(columns), np.zeros(columns)
    gaps, idle = np.empty(columns), np.empty(columns)
    have, before = 0, MIXED
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        now = block_state(x[first:last], age[first:last], gaps, idle)
        p[:] = 0.0
        if is_plain(now, before, first, have, d):
            shift[:] = x[first]
            gap[:] = far - shift
            _prefixes(x, out, begin, first, last, have, d, p, s, shift, gap, none)
            blank_idle(out[first:last], idle)
        else:
            _prefixes_mixed(x, age, out, begin, first, last, have, d, p, s, shift, far, min_valid, min_age)
        have, before = last - first, now
        s[have] = 0.0
        _suffixes(x[first:last], age[first:last], s, down[-have:], far, idle)


def decay_linear(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Linearly weighted mean of the valid values."""
    w = window_of(literals, context)
    over_columns(linear_weights, operands, context, out, w.bars, w.min_valid, w.min_age, w.phase)
    return blank_infinite(out, context)
