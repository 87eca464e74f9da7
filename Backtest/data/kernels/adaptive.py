"""Exponential means of exponential means, by half-life, and with a pace that follows the trend."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand
from .exponential import exponential_mean
from .finish import blank_infinite


@compiled
def stacked_means(x, age, out, alpha, span, depth, carried):
    """Combine the mean, the mean of the mean, ... (`depth` of them) so that their lags cancel.

    Each mean begins with the first published value of the one below, its span-th. carried: their numbers of values,
    their states.
    """
    rows, columns = x.shape
    seen, state = carried[:depth], carried[depth:]
    known = 0.0 if alpha < 1.0 else np.inf  # see `exponential_mean`
    for t in range(rows):
        for b in range(columns):
            v, a = x[t, b], age[t, b]
            if a <= 1:
                seen[:, b] = 0.0
            r = np.nan
            if a > 0 and v == v:
                for k in range(depth):
                    state[k, b] = state[k, b] + alpha * (v - state[k, b]) if seen[k, b] > known else v
                    seen[k, b] += 1.0
                    v = state[k, b]
                    if seen[k, b] < span:
                        break
                if seen[depth - 1, b] >= span:
                    first, second = state[0, b], state[1, b]
                    r = first + (first - second)
                    if depth == 3:
                        # 3 (e1 - e2) + e3 is exact where the three are equal.
                        r = 3.0 * (first - second) + state[2, b]
            out[t, b] = r


@compiled
def _pace(held, at, d, v, fast, slow):
    """Return the smoothing constant at v; held is a ring of the d values before it, the oldest at `at`."""
    path, before = 0.0, held[at]
    for k in range(1, d):
        value = held[(at + k) % d]
        path += abs(value - before)
        before = value
    path += abs(v - before)
    efficiency = min(abs(v - held[at]) / path, 1.0) if path > 0.0 else 1.0
    constant = efficiency * (fast - slow) + slow
    return constant * constant


@compiled
def adaptive_mean(x, age, out, d, fast, slow, carried):
    """y += c (x - y) over the valid values, c from the efficiency of the last d changes; y begins at the d-th value.

    carried: number of values, y, the last d values as a ring.
    """
    rows, columns = x.shape
    held = np.empty(d)
    for b in range(columns):
        n, state = int(carried[0, b]), carried[1, b]
        held[:] = carried[2:, b]
        for t in range(rows):
            v, a = x[t, b], age[t, b]
            n = 0 if a <= 1 else n
            r = np.nan
            if a > 0 and v == v:
                at = n % d
                if n >= d:
                    pace = _pace(held, at, d, v, fast, slow)
                    state = state + pace * (v - state) if pace < 1.0 else v
                    r = state
                else:
                    state = v
                held[at] = v
                n += 1
            out[t, b] = r
        carried[0, b], carried[1, b] = n, state
        carried[2:, b] = held


def _stacked(depth: int, x: Operand, literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    span = int(literals["span"])
    stacked_means(x, context.age, out, 2.0 / (span + 1.0), span, depth, context.state(2 * depth))
    return blank_infinite(out, context)


def dema(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Twice the exponential mean less its own exponential mean."""
    return _stacked(2, operands[0], literals, context, out)


def tema(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Exponential mean with the lags of the first three orders taken out."""
    return _stacked(3, operands[0], literals, context, out)


def kama(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Kaufman's adaptive mean."""
    fast, slow = (2.0 / (int(literals[name]) + 1.0) for name in ("fast", "slow"))
    d = int(literals["d"])
    adaptive_mean(operands[0], context.age, out, d, fast, slow, context.state(d + 2))
    return blank_infinite(out, context)


def ewm_halflife(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Exponential mean whose weights halve every h valid values."""
    halflife = float(literals["h"])
    # expm1 keeps the digits of a small 1 - 0.5 ** (1 / h).
    alpha = -math.expm1(-math.log(2.0) / halflife)
    exponential_mean(operands[0], context.age, out, alpha, math.ceil(halflife), context.state(2))
    return blank_infinite(out, context)
