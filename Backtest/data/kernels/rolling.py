"""Sums and means of a window, without ever subtracting a value that left it: the blocks that all kernels share.

Time is cut into blocks of d bars aligned to the absolute bar index, so that the window at t is a suffix of one block
and a prefix of the next (van Herk 1992; Gil and Werman 1993). Each kernel walks block by block: forward with the
running prefix, merging it with the suffixes of the block before, then backward over the block to leave its own
suffixes. The same additions happen in the same order wherever the loaded rows begin and end: same bits, no drift, and
a spike leaves no trace once it has left the window.

Deviations are taken from a value that always lies inside the window: the block's first valid value for the prefix, its
last valid value for the suffix. A price of 6e4 with a noise of 1e-3 keeps its digits; a flat window gives exactly 0.

A suffix belongs to the episode that is alive at the block's end; its pass ignores the rows before that episode, and a
prefix restarts at an episode's first row. `rows` tells how the loops are laid out and when the plain ones run. In all
of them na, nb are the numbers of values in suffix and prefix, n their sum, gap what the suffix's shift lies above the
prefix's (0 where one is empty), base the shift that the result is counted from.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, needs_of
from .finish import blank
from .lagged import LOGRET, lags
from .rows import (
    MIXED,
    NO_LIMIT,
    NOTHING,
    WIDTH,
    aligned,
    blank_idle,
    descending,
    fetch,
    full_counts,
    is_plain,
    next_state,
    over_columns,
)

SUM, MEAN, COUNT = range(3)


@compiled(_nrt=False, forceinline=True)
def _prefixes(x, out, first, last, have, d, mode, p, s, shift, gap, no_gap, ahead):
    """Plain block: p becomes the running sum of x - shift (0 for a sum), `out` the statistic of its merge with the
    suffixes s. Returns how many of them are not finite."""
    strange = 0
    for t in range(first, last):
        fetch(ahead, t, x.shape[1])
        na, share = d - float(t - first + 1), 1.0 / d
        v, q, r, e = x[t], s[max(t - d + 1, 0) - (first - have)], out[t], gap if na > 0.0 else no_gap
        if mode == MEAN:
            for b in range(v.size):
                total = p[b] + (v[b] - shift[b])
                p[b] = total
                mean = shift[b] + (total + (q[b] + na * e[b])) * share
                r[b] = mean
                strange += 0 if mean - mean == 0.0 else 1
        elif mode == SUM:
            for b in range(v.size):
                total = p[b] + v[b]
                p[b] = total
                both = total + q[b]
                r[b] = both
                strange += 0 if both - both == 0.0 else 1
        else:
            r[:] = d
        if t < d - 1:
            r[:] = np.nan
    return strange


@compiled(_nrt=False)
def _prefixes_mixed(x, age, out, first, last, have, d, mode, p, s, shift, far, min_valid, min_age):
    """The same for any block; `shift` and `far` are the shifts of prefix and suffix."""
    for t in range(first, last):
        v, a, q, r = x[t], age[t], s[max(t - d + 1, 0) - (first - have)], out[t]
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        for b in range(v.size):
            ok, keep = (v[b] == v[b]) & (a[b] > 0), a[b] != 1
            nb = p[b + WIDTH] if keep else 0.0
            shift[b] = v[b] if (mode == MEAN) & ok & (nb == 0.0) else shift[b]
            nb += 1.0 if ok else 0.0
            total = (p[b] if keep else 0.0) + (v[b] - shift[b] if ok else 0.0)
            p[b], p[b + WIDTH] = total, nb
            na = q[b + WIDTH] if a[b] > t - first + 1 else 0.0
            n = na + nb
            rest = q[b] if na > 0.0 else 0.0
            e = far[b] - shift[b] if (na > 0.0) & (nb > 0.0) else 0.0
            base = shift[b] if nb > 0.0 else far[b]
            mean = base + (total + (rest + na * e)) * (1.0 / n)
            value = mean if mode == MEAN else (total + rest if mode == SUM else n)
            r[b] = value if (a[b] >= min_age) & (a[b] <= oldest) & (n >= min_valid) else np.nan


@compiled(_nrt=False, forceinline=True)
def _suffixes(x, s, down, shift):
    """Plain block: leave in s[i] the sum of x - shift over rows i.. of the block; the row past the end is 0."""
    for k in range(x.shape[0]):
        i = down[k]
        v, q, r = x[i], s[i + 1], s[i]
        for b in range(v.size):
            r[b] = q[b] + (v[b] - shift[b])


@compiled(_nrt=False)
def _suffixes_mixed(x, age, s, down, mode, shift, alive):
    """The same for any block, with the counts; sets `shift` to the last valid value."""
    alive[:] = 1.0
    for k in range(x.shape[0]):
        i = down[k]
        v, a, q, r = x[i], age[i], s[i + 1], s[i]
        for b in range(v.size):
            ok = (v[b] == v[b]) & (a[b] > 0) & (alive[b] > 0.0)
            shift[b] = v[b] if (mode == MEAN) & ok & (q[b + WIDTH] == 0.0) else shift[b]
            r[b] = q[b] + (v[b] - shift[b] if ok else 0.0)
            r[b + WIDTH] = q[b + WIDTH] + (1.0 if ok else 0.0)
            alive[b] = alive[b] if a[b] > 1 else 0.0


@compiled
def sums(x, age, out, d, min_valid, min_age, phase, mode, own_row, ahead):
    """Sum, mean or number of the valid values of each window; return how many overflow from `own_row` on.

    `ahead`: int64 [n], addresses of arrays as wide as `x`, of which as many rows will be wanted next.
    """
    rows, columns = x.shape
    down = descending(min(d, rows))
    s, p = aligned(min(d, rows) + 1, 2 * WIDTH), aligned(1, 2 * WIDTH)[0]
    shift, far, gap, none = np.zeros(columns), np.zeros(columns), np.zeros(columns), np.zeros(columns)
    gaps, idle = np.empty(columns), np.empty(columns)
    have, before, now, known, strange = 0, MIXED, MIXED, 0, 0
    s[0] = 0.0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        if last > known:
            now, known = next_state(x, age, first, last, d, gaps, idle)
        p[:] = 0.0
        if is_plain(now, before, first, have, d):
            if mode == MEAN:
                shift[:] = x[first]
                gap[:] = far - shift
            strange += _prefixes(x, out, first, last, have, d, mode, p, s, shift, gap, none, ahead)
            blank_idle(out[first:last], idle)
        else:
            strange += 1
            if before != MIXED:
                full_counts(s, have, columns, 1)
            _prefixes_mixed(x, age, out, first, last, have, d, mode, p, s, shift, far, min_valid, min_age)
        have, before = last - first, now
        s[have] = 0.0
        if now == MIXED:
            _suffixes_mixed(x[first:last], age[first:last], s, down[-have:], mode, far, idle)
        else:
            if mode == MEAN:
                far[:] = x[last - 1]
            _suffixes(x[first:last], s, down[-have:], far)
    return 0 if mode == COUNT or strange == 0 else blank(out.reshape(-1), own_row * columns)


@dataclass(frozen=True)
class Sums:
    """A kernel that is `sums`; `chain` runs it between elementwise ones."""

    mode: int

    def needs(self, literals: Mapping[str, Any], gap_tolerance: float) -> tuple[int, int, int]:
        """Return bars, valid values and age that the window needs."""
        bars, min_valid, min_age = needs_of(literals, gap_tolerance)
        # The count of valid values is always known: without ``min_periods`` any number will do.
        return bars, 0 if self.mode == COUNT and literals["min_periods"] is None else min_valid, min_age

    def __call__(self, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
        """See `context.Kernel`."""
        bars, min_valid, min_age = self.needs(literals, context.gap_tolerance)
        numbers = (bars, min_valid, min_age, context.first_bar % bars, self.mode, context.own_row, NOTHING)
        return over_columns(sums, operands, context, out, *numbers)


ts_sum, ts_mean, ts_count = Sums(SUM), Sums(MEAN), Sums(COUNT)


def _norm(x: Floats, literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    with np.errstate(over="ignore"):  # an infinite square makes its sums infinite, which are counted
        squares = x * x
    undefined = ts_sum([squares], literals, context, out)
    np.sqrt(out, out=out)
    return undefined


def ts_l2_norm(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Root of the sum of squares."""
    return _norm(np.asarray(operands[0]), literals, context, out)


def ts_realized_vol(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Root of the sum of squared one-bar log returns."""
    change = np.empty_like(out)
    undefined = lags(operands[0], context.age, change, 1, LOGRET, context.own_row)
    return int(undefined) + _norm(change, literals, context, out)
