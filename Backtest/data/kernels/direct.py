"""Statistics that need the whole window again for each bar: two passes over its rows, symbols in the inner loop.

Nothing is carried from bar to bar, so exactness and start independence come for free; the cost grows with d.
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
from .finish import blank_infinite
from .rows import FLAT, NO_LIMIT

ABSOLUTE = 0
"""Power code of the mean absolute deviation; k > 0 is the k-th central moment."""


@compiled
def _deviations(x, age, t, begin, ref, mean, total, n, k):
    """Leave in `total` the sum of |x - mean| or (x - mean)^k over rows begin..t of the episode alive at t."""
    columns = x.shape[1]
    n[:] = 0.0
    mean[:] = 0.0
    total[:] = 0.0
    for b in range(columns):
        ref[b] = x[t, b] if x[t, b] == x[t, b] else 0.0
    for row in range(begin, t + 1):
        for b in range(columns):
            v = x[row, b]
            ok = (v == v) & (age[t, b] > t - row)
            # With the present value missing, the first valid one of the window is the reference.
            ref[b] = v if ok & (n[b] == 0.0) & (x[t, b] != x[t, b]) else ref[b]
            n[b] += 1.0 if ok else 0.0
            mean[b] += v - ref[b] if ok else 0.0
    for b in range(columns):
        mean[b] /= max(n[b], 1.0)
    for row in range(begin, t + 1):
        for b in range(columns):
            v = x[row, b]
            u = (v - ref[b]) - mean[b] if (v == v) & (age[t, b] > t - row) else 0.0
            power = abs(u)
            if k > 0:
                power = u
                for _ in range(k - 1):
                    power *= u
            total[b] += power


@compiled
def deviations(x, age, out, d, min_valid, min_age, k):
    """Mean absolute deviation from the mean (k = 0) or k-th central moment of each window."""
    rows, columns = x.shape
    ref, mean, total, n = np.empty(columns), np.empty(columns), np.empty(columns), np.empty(columns)
    for t in range(rows):
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        _deviations(x, age, t, max(t - d + 1, 0), ref, mean, total, n, k)
        for b in range(columns):
            a = age[t, b]
            enough = (a >= min_age) & (a <= oldest) & (n[b] >= min_valid)
            value = total[b] / n[b]
            value = value if value == value else np.inf  # inf - inf: a power overflowed
            out[t, b] = value if enough else np.nan


@compiled
def _entropy(x, begin, t, b, low, width, counts):
    """Return -sum p ln p of column b's rows begin..t over equal buckets of the range low..low+width."""
    buckets = len(counts)
    counts[:] = 0.0
    n = 0.0
    for row in range(begin, t + 1):
        v = x[row, b]
        if v == v:
            counts[min(int((v - low) / width * buckets), buckets - 1)] += 1.0
            n += 1.0
    r = 0.0
    for count in counts:
        if count > 0.0:
            r -= count / n * math.log(count / n)
    return r


@compiled
def entropies(x, age, out, d, min_valid, min_age, buckets):
    """Shannon entropy of each window's histogram."""
    rows, columns = x.shape
    counts = np.empty(buckets)
    for t in range(rows):
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        for b in range(columns):
            a = age[t, b]
            begin = max(t - min(d, a) + 1, 0)
            low, high, n = np.inf, -np.inf, 0
            for row in range(begin, t + 1):
                v = x[row, b]
                if v == v:
                    low, high, n = min(low, v), max(high, v), n + 1
            r = np.nan
            if a >= min_age and a <= oldest and n >= min_valid:
                width = high - low
                floor = FLAT * max(abs(low), abs(high))
                r = 0.0 if width <= floor else np.inf
                if floor < width < np.inf:
                    r = _entropy(x, begin, t, b, low, width, counts)
            out[t, b] = r


@compiled
def gaps(x, age, out, d, min_valid, min_age):
    """Number of missing bars of each window: a running count of whole numbers, which is exact."""
    rows, columns = x.shape
    for b in range(columns):
        n = 0
        for t in range(rows):
            a = age[t, b]
            n = 0 if a <= 1 else n
            if a > d and t >= d and x[t - d, b] == x[t - d, b]:
                n -= 1
            if a > 0 and x[t, b] == x[t, b]:
                n += 1
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            enough = a >= min_age and a <= oldest and n >= min_valid
            out[t, b] = min(a, d) - n if enough else np.nan


def central(k: int, x: Operand, literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """k-th central moment, or mean absolute deviation for k = 0."""
    w = window_of(literals, context)
    deviations(x, context.age, out, w.bars, w.min_valid, w.min_age, k)
    return blank_infinite(out, context)


def ts_mad(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean absolute deviation from the mean."""
    return central(ABSOLUTE, operands[0], literals, context, out)


def ts_entropy(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Entropy of the histogram, in nats."""
    w = window_of(literals, context)
    entropies(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, int(literals["buckets"]))
    return blank_infinite(out, context)


def ts_count_nan(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Number of missing bars; without ``min_periods`` any number of valid ones will do."""
    w = window_of(literals, context)
    min_valid = 0 if literals["min_periods"] is None else w.min_valid
    gaps(operands[0], context.age, out, w.bars, min_valid, w.min_age)
    return 0
