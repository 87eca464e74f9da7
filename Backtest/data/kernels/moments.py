"""Third and fourth moments of a window, in `rolling`'s blocks.

Sums of third and fourth powers about a fixed value lose n^2 times more digits than sums of squares do, so the higher
moments are central from the start: they grow by one value at a time and merge by the formulas of Pebay (2008).
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from . import direct
from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite
from .rows import FLAT, NO_LIMIT

SKEW, KURTOSIS, MOMENT = range(3)
HIGHEST = 4
SMALLEST = 1e-280
"""Powers of a std below this are near the end of float64's range, where digits are lost."""


@compiled
def _grow(m, b, u):
    """Add u to the number, mean and central moments m[:, b]."""
    n = m[0, b]
    delta = u - m[1, b]
    part = delta / (n + 1.0)
    square = part * part
    term = delta * part * n
    m[4, b] += term * square * (n * n - n + 1.0) + 6.0 * square * m[2, b] - 4.0 * part * m[3, b]
    m[3, b] += term * part * (n - 1.0) - 3.0 * part * m[2, b]
    m[2, b] += term
    m[1, b] += part
    m[0, b] = n + 1.0


@compiled
def _suffixes_of_four(x, age, first, last, s, shift, alive):
    """Leave in s[i] the number, mean (about the last valid value) and central moments of rows first+i..last-1."""
    rows, columns = last - first, x.shape[1]
    s[rows] = 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            v, a = x[first + i, b], age[first + i, b]
            if alive[b] > 0.0 and a > 0 and v == v:
                if s[i, 0, b] == 0.0:
                    shift[b] = v
                _grow(s[i], b, v - shift[b])
            if a <= 1:
                alive[b] = 0.0


@compiled
def _counted(value):
    """Return what overflowed on the way, too, as infinity, which is counted as undefined."""
    return value if value == value else np.inf


@compiled
def _shape(mode, k, n, m2, m3, m4, base):
    """Return the statistic of n values, `base` among them, with central moments (sums) m2, m3, m4."""
    if mode == MOMENT:
        return _counted((m2 if k == 2 else (m3 if k == 3 else m4)) / n)
    if n <= (2.0 if mode == SKEW else 3.0) or math.sqrt(m2 / (n - 1.0)) <= FLAT * abs(base):
        return np.nan
    deviation = math.sqrt(m2 / n)
    if deviation ** (3 if mode == SKEW else 4) < SMALLEST:
        return np.inf  # counted as undefined
    if mode == SKEW:
        return _counted(math.sqrt(n * (n - 1.0)) / (n - 2.0) * (m3 / n / deviation / deviation / deviation))
    return _counted((n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * (n * m4 / m2 / m2) - 3.0 * (n - 1.0)))


@compiled
def four(x, age, out, d, min_valid, min_age, phase, mode, k):
    """Skewness, kurtosis or k-th central moment of each window."""
    rows, columns = x.shape
    s, p = np.zeros((min(d, rows) + 1, 5, columns)), np.empty((5, columns))
    shift, suffix_shift, alive = np.zeros(columns), np.zeros(columns), np.empty(columns)
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
                    if p[0, b] == 0.0:
                        shift[b] = v
                    _grow(p, b, v - shift[b])
                na, nb = s[i, 0, b] if a > t - first + 1 else 0.0, p[0, b]
                n = na + nb
                r = np.nan
                if a >= min_age and a <= oldest and n >= min_valid:
                    m2, m3, m4 = p[2, b], p[3, b], p[4, b]
                    if na > 0.0:
                        a2, a3, a4 = s[i, 2, b], s[i, 3, b], s[i, 4, b]
                        # How far each side's mean lies from the mean of both.
                        delta = (suffix_shift[b] - shift[b]) + (s[i, 1, b] - p[1, b]) if nb > 0.0 else 0.0
                        e, f = delta * (nb / n), -delta * (na / n)
                        m4 += a4 + 4.0 * (e * a3 + f * m3) + 6.0 * (e * e * a2 + f * f * m2) + na * e**4 + nb * f**4
                        m3 += a3 + 3.0 * (e * a2 + f * m2) + na * e**3 + nb * f**3
                        m2 += a2 + na * e * e + nb * f * f
                    r = _shape(mode, k, n, m2, m3, m4, shift[b] if nb > 0.0 else suffix_shift[b])
                out[t, b] = r
        have = last - first
        _suffixes_of_four(x, age, first, last, s, suffix_shift, alive)


def _four(mode: int, k: int, x: Operand, literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    four(x, context.age, out, w.bars, w.min_valid, w.min_age, w.phase, mode, k)
    return blank_infinite(out, context)


def ts_skew(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Bias-corrected skewness."""
    return _four(SKEW, 0, operands[0], literals, context, out)


def ts_kurt(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Bias-corrected excess kurtosis."""
    return _four(KURTOSIS, 0, operands[0], literals, context, out)


def ts_moment(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """k-th central moment; beyond the fourth by a second pass over the window."""
    k = int(literals["k"])
    if k <= HIGHEST:
        return _four(MOMENT, k, operands[0], literals, context, out)
    return direct.central(k, operands[0], literals, context, out)
