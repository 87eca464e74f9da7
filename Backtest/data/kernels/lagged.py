"""Values from earlier bars of the same episode: lags, changes and the last valid value."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numba
import numpy as np

from .context import Context, Floats, Operand

SHIFT, DELTA, RETURNS, LOGRET = range(4)
NO_LIMIT = 2**31 - 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _log_ratio(v, w):
    """ln v - ln w. Near 1 by log1p of the exact difference, which keeps the digits that ln v - ln w would lose."""
    if v <= 0.0 or w <= 0.0:
        return np.nan
    ratio = v / w
    if 0.5 < ratio < 2.0:
        return math.log1p((v - w) / w)
    return math.log(v) - math.log(w)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def lags(x, age, out, d, code, own):
    """x[t-d] or the change since; return the values from row `own` on that are undefined though both are there."""
    rows, columns = x.shape
    undefined = 0
    for t in range(rows):
        for b in range(columns):
            r = np.nan
            if t >= d and age[t, b] > d:
                v, w = x[t, b], x[t - d, b]
                if code == SHIFT:
                    r = w
                elif v == v and w == w:
                    if code == DELTA:
                        r = v - w
                    elif code == RETURNS:
                        r = (v - w) / w
                    else:
                        r = _log_ratio(v, w)
                    if not (r - r == 0.0):
                        r = np.nan
                        undefined += t >= own
            out[t, b] = r
    return undefined


@numba.njit(nogil=True, cache=True, error_model="numpy")
def last_valid(x, age, out, limit):
    """Last valid value of the episode, at most `limit` bars old."""
    rows, columns = x.shape
    for b in range(columns):
        held, since = np.nan, 0
        for t in range(rows):
            v, a = x[t, b], age[t, b]
            if a <= 1:
                held = np.nan
            if a > 0 and v == v:
                held, since = v, t
            out[t, b] = held if t - since <= limit else np.nan


def _lagged(code: int, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    return int(lags(operands[0], context.age, out, int(literals["d"]), code, context.own_row))


def shift(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """x at t-d."""
    return _lagged(SHIFT, operands, literals, context, out)


def delta(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Change over d bars."""
    return _lagged(DELTA, operands, literals, context, out)


def returns(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Fractional change over d bars, as (x - y) / y: one rounding less than x / y - 1."""
    return _lagged(RETURNS, operands, literals, context, out)


def logret(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Logarithmic change over d bars."""
    return _lagged(LOGRET, operands, literals, context, out)


def ffill(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Last valid value, at most ``limit`` bars old."""
    limit = NO_LIMIT if literals["limit"] is None else int(literals["limit"])
    last_valid(operands[0], context.age, out, limit)
    return 0
