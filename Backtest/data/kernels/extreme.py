"""Largest and smallest value of a window and the bars since: `rolling`'s blocks with a maximum for a sum.

Planes: count, best, row of the best; values are multiplied by `sign` (-1 turns the smallest into the largest).
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, Window, window_of
from .rows import MIXED, NO_LIMIT, WIDTH, blank_idle, descending, full_counts, is_plain, next_state, over_columns


@compiled(_nrt=False)
def _prefixes(x, out, first, last, have, d, sign, p, s):
    """Plain block: p becomes the running maximum, `out` its merge with the suffixes s."""
    for t in range(first, last):
        v, q, r = x[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        for b in range(v.size):
            u = sign * v[b]
            best = u if u >= p[b + WIDTH] else p[b + WIDTH]
            p[b + WIDTH] = best
            r[b] = sign * (q[b + WIDTH] if q[b + WIDTH] > best else best)
        if t < d - 1:
            r[:] = np.nan


@compiled(_nrt=False)
def _prefixes_since(x, out, first, last, have, d, sign, latest, p, s):
    """Plain block: the same, `out` becomes the bars since."""
    for t in range(first, last):
        row = float(t)
        v, q, r = x[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        for b in range(v.size):
            u = sign * v[b]
            better = (u > p[b + WIDTH]) | (latest & (u == p[b + WIDTH]))
            best, where = u if better else p[b + WIDTH], row if better else p[b + 2 * WIDTH]
            p[b + WIDTH], p[b + 2 * WIDTH] = best, where
            older = (q[b + WIDTH] > best) | ((not latest) & (q[b + WIDTH] == best))
            r[b] = row - (q[b + 2 * WIDTH] if older else where)
        if t < d - 1:
            r[:] = np.nan


@compiled(_nrt=False)
def _prefixes_mixed(x, age, out, first, last, have, d, sign, since, latest, p, s, min_valid, min_age):
    """The values or the bars since for any block."""
    for t in range(first, last):
        row = float(t)
        v, a, q, r = x[t], age[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        for b in range(v.size):
            u = sign * v[b]
            ok, keep = (u == u) & (a[b] > 0), a[b] != 1
            n = (p[b] if keep else 0.0) + (1.0 if ok else 0.0)
            old = p[b + WIDTH] if keep else -np.inf
            better = ok & ((u > old) | (latest & (u == old)))
            best, where = u if better else old, row if better else p[b + 2 * WIDTH]
            p[b], p[b + WIDTH], p[b + 2 * WIDTH] = n, best, where
            linked = a[b] > t - first + 1
            n += q[b] if linked else 0.0
            older = linked & ((q[b + WIDTH] > best) | ((not latest) & (q[b + WIDTH] == best)))
            value = sign * (q[b + WIDTH] if older else best)
            bars = row - (q[b + 2 * WIDTH] if older else where)
            enough = (a[b] >= min_age) & (a[b] <= oldest) & (n >= min_valid)
            r[b] = (bars if since else value) if enough else np.nan


@compiled(_nrt=False)
def _suffixes(x, s, down, sign):
    """Plain block: leave in s[i] the largest sign * x of rows i.. of the block."""
    for k in range(x.shape[0]):
        i = down[k]
        v, q, r = x[i], s[i + 1], s[i]
        for b in range(v.size):
            u = sign * v[b]
            r[b + WIDTH] = u if u > q[b + WIDTH] else q[b + WIDTH]


@compiled(_nrt=False)
def _suffixes_since(x, first, s, down, sign, latest):
    """Plain block: the same with its row; the later one wins a tie where `latest`."""
    for k in range(x.shape[0]):
        i = down[k]
        row = float(first + i)
        v, q, r = x[i], s[i + 1], s[i]
        for b in range(v.size):
            u = sign * v[b]
            better = (u > q[b + WIDTH]) | ((not latest) & (u == q[b + WIDTH]))
            r[b + WIDTH] = u if better else q[b + WIDTH]
            r[b + 2 * WIDTH] = row if better else q[b + 2 * WIDTH]


@compiled(_nrt=False)
def _suffixes_mixed(x, age, first, s, down, sign, latest, alive):
    """The same for any block, with the counts."""
    alive[:] = 1.0
    for k in range(x.shape[0]):
        i = down[k]
        row = float(first + i)
        v, a, q, r = x[i], age[i], s[i + 1], s[i]
        for b in range(v.size):
            u = sign * v[b]
            ok = (u == u) & (a[b] > 0) & (alive[b] > 0.0)
            better = ok & ((u > q[b + WIDTH]) | ((not latest) & (u == q[b + WIDTH])))
            r[b] = q[b] + (1.0 if ok else 0.0)
            r[b + WIDTH] = u if better else q[b + WIDTH]
            r[b + 2 * WIDTH] = row if better else q[b + 2 * WIDTH]
            alive[b] = alive[b] if a[b] > 1 else 0.0


@compiled
def extremes(x, age, out, d, min_valid, min_age, phase, sign, since, latest):
    """Largest sign * x of each window, times sign, or the bars since it (`since`; the latest of equals if `latest`)."""
    rows, columns = x.shape
    down = descending(min(d, rows))
    s, p = np.zeros((min(d, rows) + 1, 3 * WIDTH)), np.zeros(3 * WIDTH)
    gaps, idle = np.empty(columns), np.empty(columns)
    have, before, now, known = 0, MIXED, MIXED, 0
    s[0, WIDTH : 2 * WIDTH] = -np.inf
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        if last > known:
            now, known = next_state(x, age, first, last, d, gaps, idle)
        p[:WIDTH] = 0.0
        p[WIDTH : 2 * WIDTH] = -np.inf
        if is_plain(now, before, first, have, d):
            if since:
                _prefixes_since(x, out, first, last, have, d, sign, latest, p, s)
            else:
                _prefixes(x, out, first, last, have, d, sign, p, s)
            blank_idle(out[first:last], idle)
        else:
            if before != MIXED:
                full_counts(s, have, columns, 0)
            _prefixes_mixed(x, age, out, first, last, have, d, sign, since, latest, p, s, min_valid, min_age)
        have, before = last - first, now
        s[have] = 0.0
        s[have, WIDTH : 2 * WIDTH] = -np.inf
        if now == MIXED:
            _suffixes_mixed(x[first:last], age[first:last], first, s, down[-have:], sign, latest, idle)
        elif since:
            _suffixes_since(x[first:last], first, s, down[-have:], sign, latest)
        else:
            _suffixes(x[first:last], s, down[-have:], sign)


def _extremes(
    sign: float, since: bool, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats
) -> int:
    w = window_of(literals, context)
    over_columns(extremes, operands, context, out, w.bars, w.min_valid, w.min_age, w.phase, sign, since, True)
    return 0


def earliest(sign: float, operands: Sequence[Operand], context: Context, out: Floats, w: Window) -> None:
    """Bars since the largest sign * x; the earliest wins a tie."""
    over_columns(extremes, operands, context, out, w.bars, w.min_valid, w.min_age, w.phase, sign, True, False)


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
