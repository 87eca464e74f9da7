"""Sums, moments and linear weights of a window, without ever subtracting a value that left it.

Time is cut into blocks of d bars aligned to the absolute bar index, so that the window at t is a suffix of one block
and a prefix of the next (van Herk 1992; Gil and Werman 1993). Each kernel walks block by block: forward with the
running prefix, merging it with the suffixes of the block before, then backward over the block to leave its own
suffixes. The same additions happen in the same order wherever the loaded rows begin and end: same bits, no drift, and
a spike leaves no trace once it has left the window. Moments are merged as in Chan, Golub and LeVeque (1983).

Deviations are taken from a value that always lies inside the window: the block's first valid value for the prefix, its
last valid value for the suffix. A price of 6e4 with a noise of 1e-3 keeps its digits; a flat window gives exactly 0.

A suffix belongs to the episode that is alive at the block's end; its pass ignores the rows before that episode, and a
prefix restarts at an episode's first row. Arrays are [rows, symbols]; symbols run in the inner loop.
"""

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

MEAN, VARIANCE, DEVIATION, ZSCORE = range(4)
NO_LIMIT = 2**31 - 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _sum_suffixes(x, age, first, last, count, total, alive):
    """Leave in row i of `count` and `total` the sums of rows first+i..last-1; row last-first is empty."""
    rows, columns = last - first, x.shape[1]
    count[rows] = 0.0
    total[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        for b in range(columns):
            v, a = x[first + i, b], age[first + i, b]
            ok = (v == v) & (a > 0) & (alive[b] > 0.0)
            count[i, b] = count[i + 1, b] + (1.0 if ok else 0.0)
            total[i, b] = total[i + 1, b] + (v if ok else 0.0)
            alive[b] = alive[b] if a > 1 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def sums(x, age, out, d, min_valid, min_age, phase, counting):
    """Sum of the valid values of each window, or their number."""
    rows, columns = x.shape
    suffix_n, suffix = np.empty((min(d, rows) + 1, columns)), np.empty((min(d, rows) + 1, columns))
    n, total, alive = np.empty(columns), np.empty(columns), np.empty(columns)
    have = 0
    suffix_n[0] = 0.0
    suffix[0] = 0.0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        n[:] = 0.0
        total[:] = 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                v, a = x[t, b], age[t, b]
                ok = (v == v) & (a > 0)
                n[b] = (n[b] if a != 1 else 0.0) + (1.0 if ok else 0.0)
                total[b] = (total[b] if a != 1 else 0.0) + (v if ok else 0.0)
                linked = a > t - first + 1
                count = n[b] + (suffix_n[i, b] if linked else 0.0)
                r = total[b] + (suffix[i, b] if linked else 0.0)
                enough = (a >= min_age) & (a <= oldest) & (count >= min_valid)
                out[t, b] = (count if counting else r) if enough else np.nan
        have = last - first
        _sum_suffixes(x, age, first, last, suffix_n, suffix, alive)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _moment_suffixes(x, age, first, last, count, s1, s2, shift, alive):
    """Like `_sum_suffixes`, with the sums of u and u^2, u = x - shift, shift = the last valid value."""
    rows, columns = last - first, x.shape[1]
    count[rows] = 0.0
    s1[rows] = 0.0
    s2[rows] = 0.0
    shift[:] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        for b in range(columns):
            v, a = x[first + i, b], age[first + i, b]
            ok = (v == v) & (a > 0) & (alive[b] > 0.0)
            shift[b] = v if ok & (count[i + 1, b] == 0.0) else shift[b]
            u = v - shift[b] if ok else 0.0
            count[i, b] = count[i + 1, b] + (1.0 if ok else 0.0)
            s1[i, b] = s1[i + 1, b] + u
            s2[i, b] = s2[i + 1, b] + u * u
            alive[b] = alive[b] if a > 1 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _moment(mode, n, ref, rel, m2, ddof, v):
    """Return the statistic of n values with mean ref + rel and squared deviations m2; v is the present value."""
    if mode == MEAN:
        return ref + rel
    if n <= ddof:
        return np.nan
    if mode == VARIANCE:
        return m2 / (n - ddof)
    deviation = math.sqrt(m2 / (n - ddof))
    if mode == DEVIATION:
        return deviation
    return (v - ref - rel) / deviation if deviation > 0.0 else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _merge(na, a1, a2, ca, nb, b1, b2, cb):
    """Merge the suffix (a) and the prefix (b): return a reference, mean - reference, sum of squared deviations."""
    ma, mb = a1 / max(na, 1.0), b1 / max(nb, 1.0)
    qa, qb = max(a2 - a1 * ma, 0.0), max(b2 - b1 * mb, 0.0)
    if nb == 0.0:
        return ca, ma, qa
    if na == 0.0:
        return cb, mb, qb
    n = na + nb
    delta = (ca - cb) + (ma - mb)
    return cb, mb + delta * (na / n), qa + qb + delta * delta * (na * nb / n)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def moments(x, age, out, d, min_valid, min_age, phase, mode, ddof):
    """Mean, variance, standard deviation or z-score of each window."""
    rows, columns = x.shape
    size = min(d, rows) + 1
    sn, s1, s2 = np.zeros((size, columns)), np.zeros((size, columns)), np.zeros((size, columns))
    n, p1, p2, alive = np.empty(columns), np.empty(columns), np.empty(columns), np.empty(columns)
    shift, suffix_shift = np.zeros(columns), np.zeros(columns)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        n[:] = 0.0
        p1[:] = 0.0
        p2[:] = 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                v, a = x[t, b], age[t, b]
                ok, keep = (v == v) & (a > 0), a != 1
                before = n[b] if keep else 0.0
                shift[b] = v if ok & (before == 0.0) else shift[b]
                u = v - shift[b] if ok else 0.0
                n[b] = before + (1.0 if ok else 0.0)
                p1[b] = (p1[b] if keep else 0.0) + u
                p2[b] = (p2[b] if keep else 0.0) + u * u
                na = sn[i, b] if a > t - first + 1 else 0.0
                count = na + n[b]
                r = np.nan
                if (a >= min_age) & (a <= oldest) & (count >= min_valid):
                    a1, a2 = (s1[i, b], s2[i, b]) if na > 0.0 else (0.0, 0.0)
                    ref, rel, m2 = _merge(na, a1, a2, suffix_shift[b], n[b], p1[b], p2[b], shift[b])
                    r = _moment(mode, count, ref, rel, m2, ddof, v)
                out[t, b] = r
        have = last - first
        _moment_suffixes(x, age, first, last, sn, s1, s2, suffix_shift, alive)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _weight_suffixes(x, age, first, last, s, shift, alive):
    """Leave in s[:, i] the sums of 1, w, u and w u over rows first+i..last-1, where w is 1 at row first+i."""
    rows, columns = last - first, x.shape[1]
    s[:, rows] = 0.0
    shift[:] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        for b in range(columns):
            v, a = x[first + i, b], age[first + i, b]
            ok = (v == v) & (a > 0) & (alive[b] > 0.0)
            shift[b] = v if ok & (s[0, i + 1, b] == 0.0) else shift[b]
            s[0, i, b] = s[0, i + 1, b] + (1.0 if ok else 0.0)
            s[2, i, b] = s[2, i + 1, b] + (v - shift[b] if ok else 0.0)
            # One row further back every weight grows by one, the new row included.
            s[1, i, b] = s[1, i + 1, b] + s[0, i, b]
            s[3, i, b] = s[3, i + 1, b] + s[2, i, b]
            alive[b] = alive[b] if a > 1 else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def linear_weights(x, age, out, d, min_valid, min_age, phase):
    """Mean of each window with weights 1 (oldest row) to d (present row) over the valid rows."""
    rows, columns = x.shape
    s = np.zeros((4, min(d, rows) + 1, columns))
    p, shift, suffix_shift = np.empty((4, columns)), np.zeros(columns), np.zeros(columns)
    alive = np.empty(columns)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        p[:] = 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            w = t - begin + 1.0
            # What the weights of the prefix (counted from its block) and of the suffix (from its first row) lack.
            lack, suffix_lack = float(d - w), float(max(d - 1 - t, 0))
            for b in range(columns):
                v, a = x[t, b], age[t, b]
                ok = (v == v) & (a > 0)
                if a == 1:
                    p[:, b] = 0.0
                shift[b] = v if ok and p[0, b] == 0.0 else shift[b]
                if ok:
                    u = v - shift[b]
                    p[0, b] += 1.0
                    p[1, b] += w
                    p[2, b] += u
                    p[3, b] += w * u
                na = s[0, i, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[0, b] >= min_valid:
                    wb, tb = p[1, b] + lack * p[0, b], p[3, b] + lack * p[2, b]
                    wa, ta = (s[1, i, b] + suffix_lack * na, s[3, i, b] + suffix_lack * s[2, i, b])
                    if na == 0.0:
                        r = shift[b] + tb / wb
                    elif p[0, b] == 0.0:
                        r = suffix_shift[b] + ta / wa
                    else:
                        r = shift[b] + (tb + ta + wa * (suffix_shift[b] - shift[b])) / (wa + wb)
                out[t, b] = r
        have = last - first
        _weight_suffixes(x, age, first, last, s, suffix_shift, alive)


def ts_sum(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Sum of the valid values."""
    w = window_of(literals, context)
    sums(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, w.phase, False)
    return blank_infinite(out, context)


def ts_count(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Number of valid values; without ``min_periods`` any number will do."""
    w = window_of(literals, context)
    min_valid = 0 if literals["min_periods"] is None else w.min_valid
    sums(operands[0], context.age, out, w.bars, min_valid, w.min_age, w.phase, True)
    return 0


def _moments(mode: int, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    ddof = int(literals.get("ddof", 1))
    moments(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, w.phase, mode, ddof)
    return blank_infinite(out, context)


def ts_mean(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean of the valid values."""
    return _moments(MEAN, operands, literals, context, out)


def ts_var(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Variance of the valid values."""
    return _moments(VARIANCE, operands, literals, context, out)


def ts_std(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Standard deviation of the valid values."""
    return _moments(DEVIATION, operands, literals, context, out)


def ts_zscore(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance of the present value from the mean in standard deviations (ddof 1)."""
    return _moments(ZSCORE, operands, literals, context, out)


def decay_linear(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Linearly weighted mean of the valid values."""
    w = window_of(literals, context)
    linear_weights(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, w.phase)
    return blank_infinite(out, context)
