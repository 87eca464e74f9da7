"""Product of a window, in `rolling`'s blocks: a fraction and a power of two, so that only the result can overflow."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite
from .rows import NO_LIMIT

UNIT = 512
"""Powers of two are counted in units of 2 ** 512; scaling by them is exact."""
UP, DOWN = 2.0**UNIT, 2.0**-UNIT
LARGE, SMALL = 2.0**256, 2.0**-256


@compiled
def _scaled(v, power):
    """Return v and its power with 2^-256 <= |v| < 2^256; 0 and infinity as they are."""
    while LARGE <= abs(v) < np.inf:
        v *= DOWN
        power += 1.0
    while 0.0 < abs(v) < SMALL:
        v *= UP
        power -= 1.0
    return v, power


@compiled
def _times(v, v_power, w, w_power):
    return _scaled(v * w, v_power + w_power)


@compiled
def _plain(v, power):
    """Return v times 2 ** (512 power); beyond the range of float64 it is infinite or 0."""
    for _ in range(int(min(abs(power), 4.0))):
        v *= UP if power > 0.0 else DOWN
    return v


@compiled
def _suffixes(x, age, first, last, s, alive):
    """Leave in s[i] the number, product and power of rows first+i..last-1."""
    rows, columns = last - first, x.shape[1]
    s[rows, 0], s[rows, 1], s[rows, 2] = 0.0, 1.0, 0.0
    alive[:] = 1.0
    for i in range(rows - 1, -1, -1):
        s[i] = s[i + 1]
        for b in range(columns):
            v, a = x[first + i, b], age[first + i, b]
            if alive[b] > 0.0 and a > 0 and v == v:
                s[i, 0, b] += 1.0
                u, power = _scaled(v, 0.0)
                s[i, 1, b], s[i, 2, b] = _times(s[i, 1, b], s[i, 2, b], u, power)
            if a <= 1:
                alive[b] = 0.0


@compiled
def products(x, age, out, d, min_valid, min_age, phase):
    """Product of the valid values of each window."""
    rows, columns = x.shape
    s, p = np.zeros((min(d, rows) + 1, 3, columns)), np.empty((3, columns))
    alive = np.empty(columns)
    have = 0
    for begin in range(-phase, rows, d):
        first, last = max(begin, 0), min(begin + d, rows)
        p[0], p[1], p[2] = 0.0, 1.0, 0.0
        for t in range(first, last):
            i = max(t - d + 1, 0) - (first - have)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            for b in range(columns):
                v, a = x[t, b], age[t, b]
                if a == 1:
                    p[0, b], p[1, b], p[2, b] = 0.0, 1.0, 0.0
                if a > 0 and v == v:
                    p[0, b] += 1.0
                    u, power = _scaled(v, 0.0)
                    p[1, b], p[2, b] = _times(p[1, b], p[2, b], u, power)
                na = s[i, 0, b] if a > t - first + 1 else 0.0
                r = np.nan
                if a >= min_age and a <= oldest and na + p[0, b] >= min_valid:
                    r, power = p[1, b], p[2, b]
                    if na > 0.0:
                        r, power = _times(r, power, s[i, 1, b], s[i, 2, b])
                    r = _plain(r, power)
                out[t, b] = r
        have = last - first
        _suffixes(x, age, first, last, s, alive)


def ts_product(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Product of the valid values."""
    w = window_of(literals, context)
    products(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, w.phase)
    return blank_infinite(out, context)
