"""Weighted means of a window: weights given, decaying exponentially, and Hull's mean of linear means."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, needed_values, window_of
from .finish import blank_infinite
from .rows import FLAT, NO_LIMIT

N, W, SIZE, WU = range(4)


@compiled(_nrt=False)
def _add(p, shift, b, v, w):
    """Add v with weight w; the first value that weighs anything is the shift, so that it lies inside the window."""
    if p[SIZE, b] == 0.0 and w != 0.0:
        shift[b] = v
    p[N, b] += 1.0
    p[W, b] += w
    p[SIZE, b] += abs(w)
    p[WU, b] += w * (v - shift[b]) if w != 0.0 else 0.0


@compiled
def _suffixes(x, weight, age, first, last, s, shift, alive):
    """Leave in s[i] the sums of rows first+i..last-1; see `rolling`."""
    rows, columns = last - first, x.shape[1]
    s[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            v, w, a = x[first + i, b], weight[first + i, b], age[first + i, b]
            if alive[b] > 0.0 and a > 0 and v == v and w == w:
                _add(s[i], shift, b, v, w)
            if a <= 1:
                alive[b] = 0.0


@compiled(_nrt=False)
def _mean(wa, size_a, ta, ca, wb, size_b, tb, cb):
    """Return the mean of a suffix (a) and a prefix (b) with sums of weights w and weighted distances t from c.

    NaN where the weights cancel: their sum is rounding of the sum of their sizes. Infinity, which is counted as
    undefined, where a sum overflowed.
    """
    if size_a == 0.0:
        ca = cb
    if size_b == 0.0:
        cb = ca
    size = size_a + size_b
    if not abs(wa + wb) > FLAT * size:  # also for infinite sizes
        return np.nan if size < np.inf else np.inf
    mean = cb + (tb + ta + wa * (ca - cb)) / (wa + wb)
    return mean if mean == mean else np.inf


@compiled
def given(x, weight, age, out, d, min_valid, min_age, phase):
    """Mean of x with the weights `weight` of each window, over rows where both are valid."""
    rows, columns = x.shape
    s, p = np.zeros((min(d, rows) + 1, 4, columns)), np.zeros((4, columns))
    shift, suffix_shift, alive = np.zeros(columns), np.zeros(columns), np.empty(columns)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        p[:] = 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                v, w, a = x[t, b], weight[t, b], age[t, b]
                if a == 1:
                    p[:, b] = 0.0
                if a > 0 and v == v and w == w:
                    _add(p, shift, b, v, w)
                na = s[i, N, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[N, b] >= min_valid:
                    wa, size_a, ta = (s[i, W, b], s[i, SIZE, b], s[i, WU, b]) if na > 0.0 else (0.0, 0.0, 0.0)
                    r = _mean(wa, size_a, ta, suffix_shift[b], p[W, b], p[SIZE, b], p[WU, b], shift[b])
                out[t, b] = r
        have = last - first
        _suffixes(x, weight, age, first, last, s, suffix_shift, alive)


@compiled
def _decay_suffixes(x, age, first, last, powers, s, shift, newest, alive):
    """Leave in s[i] number, weights and weighted distances, where the block's last valid row weighs 1."""
    rows, columns = last - first, x.shape[1]
    s[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            v, a = x[first + i, b], age[first + i, b]
            if alive[b] > 0.0 and a > 0 and v == v:
                if s[i, 0, b] == 0.0:
                    shift[b], newest[b] = v, first + i
                weight = powers[newest[b] - first - i]
                s[i, 0, b] += 1.0
                s[i, 1, b] += weight
                s[i, 2, b] += weight * (v - shift[b])
            if a <= 1:
                alive[b] = 0.0


@compiled
def decaying(x, age, out, d, min_valid, min_age, phase, factor):
    """Mean of each window with weights factor ** bars back."""
    rows, columns = x.shape
    size = min(d, rows)
    powers = np.empty(size + 1)
    for k in range(size + 1):
        powers[k] = factor**k
    s, p = np.zeros((size + 1, 3, columns)), np.zeros((3, columns))
    shift, suffix_shift, alive = np.zeros(columns), np.zeros(columns), np.empty(columns)
    newest, suffix_newest = np.zeros(columns, np.int64), np.zeros(columns, np.int64)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        p[:] = 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                v, a = x[t, b], age[t, b]
                if a == 1:
                    p[:, b] = 0.0
                if a > 0 and v == v:
                    if p[0, b] > 0.0:
                        # Weights are relative to the newest valid row, so that a long gap does not make all of them
                        # vanish, and so are distances: from a spike they would keep its rounding when it has faded.
                        faded = powers[t - newest[b]]
                        p[2, b] = (p[2, b] + p[1, b] * (shift[b] - v)) * faded
                        p[1, b] *= faded
                    shift[b], newest[b] = v, t
                    p[0, b] += 1.0
                    p[1, b] += 1.0
                na = s[i, 0, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[0, b] >= min_valid:
                    wa, ta = (s[i, 1, b], s[i, 2, b]) if na > 0.0 else (0.0, 0.0)
                    if na > 0.0 and p[0, b] > 0.0:
                        faded = powers[newest[b] - suffix_newest[b]]
                        wa, ta = wa * faded, ta * faded
                    r = _mean(wa, wa, ta, suffix_shift[b], p[1, b], p[1, b], p[2, b], shift[b])
                out[t, b] = r
        have = last - first
        _decay_suffixes(x, age, first, last, powers, s, suffix_shift, suffix_newest, alive)


@compiled
def linear(x, age, out, d, min_valid, min_age):
    """Mean of each window with weights 1 (oldest row) to d (present row), row by row: for short windows."""
    rows, columns = x.shape
    n, weight, total, ref = np.empty(columns), np.empty(columns), np.empty(columns), np.empty(columns)
    for t in range(rows):
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        n[:] = 0.0
        weight[:] = 0.0
        total[:] = 0.0
        for row in range(max(t - d + 1, 0), t + 1):
            w = float(d - (t - row))
            for b in range(columns):
                v = x[row, b]
                ok = (v == v) & (age[t, b] > t - row)
                ref[b] = v if ok & (n[b] == 0.0) else ref[b]
                n[b] += 1.0 if ok else 0.0
                weight[b] += w if ok else 0.0
                total[b] += w * (v - ref[b]) if ok else 0.0
        for b in range(columns):
            a = age[t, b]
            enough = (a >= min_age) & (a <= oldest) & (n[b] >= min_valid)
            out[t, b] = ref[b] + total[b] / weight[b] if enough else np.nan


def ts_weighted_mean(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean of x weighted by w."""
    window = window_of(literals, context)
    given(*operands, context.age, out, window.bars, window.min_valid, window.min_age, window.phase)
    return blank_infinite(out, context)


def decay_exp(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean with weights f ** bars back."""
    w = window_of(literals, context)
    decaying(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, w.phase, float(literals["f"]))
    return blank_infinite(out, context)


def hull_windows(d: int) -> tuple[int, int]:
    """Return the lengths of the fast and of the outer mean: d / 2 and sqrt d, rounded down."""
    return max(1, d // 2), math.isqrt(d)


def hull(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Linear mean over sqrt(d) bars of twice the linear mean over d / 2 less that over d."""
    d = int(literals["d"])
    fast, outer = hull_windows(d)
    inner, slow = np.empty_like(out), np.empty_like(out)

    def mean(x: Floats, bars: int, target: Floats) -> None:
        linear(x, context.age, target, bars, needed_values(bars, context.gap_tolerance), bars)

    mean(operands[0], fast, inner)  # type: ignore[arg-type]
    mean(operands[0], d, slow)  # type: ignore[arg-type]
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is blanked at the end
        np.add(inner, inner - slow, out=inner)
    mean(inner, outer, out)
    return blank_infinite(out, context)
