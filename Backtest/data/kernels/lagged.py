"""Values from earlier bars of the same episode: lags, changes and the last valid value."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand
from .rows import NO_LIMIT

SHIFT, DELTA, RETURNS, LOGRET = range(4)
PIECE = 1024
NEAR = 0.1
"""Up to this |(v - w) / (v + w)|, a change of some 22 %, the logarithm of v / w comes from its series (`_near_log`)."""


@compiled(_nrt=False)
def _near_log(s):
    """ln((1 + s) / (1 - s)) = 2 (s + s^3/3 + s^5/5 + ...); for |s| <= NEAR the terms left out are below 1e-17 of it.

    Plain arithmetic, which LLVM runs on eight values at once; a library's logarithm costs ten times as much.
    """
    z = s * s
    tail = 1.0 / 11.0 + z * (1.0 / 13.0 + z * (1.0 / 15.0 + z * (1.0 / 17.0)))
    return 2.0 * (s + s * z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * tail)))))


@compiled(_nrt=False)
def _log_ratio(v, w):
    """ln v - ln w of far apart values; log1p of the exact difference keeps digits that ln v - ln w would lose."""
    if v <= 0.0 or w <= 0.0:
        return np.nan
    ratio = v / w
    if 0.5 < ratio < 2.0:
        return math.log1p((v - w) / w)
    return math.log(v) - math.log(w)


@compiled(_nrt=False)
def _log_ratios(v, w, r):
    """r = ln(v / w). By (v - w) / (v + w), whose numerator is exact for near values: no digit is lost."""
    far = 0
    for b in range(v.size):
        s = (v[b] - w[b]) / (v[b] + w[b])
        near = (abs(s) <= NEAR) & (w[b] > 0.0) & (v[b] + w[b] < np.inf)
        r[b] = _near_log(s) if near else np.nan
        far += 0 if near else 1
    if far > 0:
        for b in range(v.size):
            if r[b] != r[b] and v[b] == v[b] and w[b] == w[b]:
                r[b] = _log_ratio(v[b], w[b])


@compiled(_nrt=False)
def _changes(v, w, r, code):
    if code == SHIFT:
        for b in range(v.size):
            r[b] = w[b]
    elif code == DELTA:
        for b in range(v.size):
            r[b] = v[b] - w[b]
    elif code == RETURNS:
        for b in range(v.size):
            r[b] = (v[b] - w[b]) / w[b]
    else:
        _log_ratios(v, w, r)


@compiled(_nrt=False)
def _settle(v, w, a, r, d, own):
    """Make what is undefined or out of the episode missing; return how many from `own` on are undefined though
    both values are there."""
    strange = 0
    for b in range(r.size):
        strange += 0 if (r[b] - r[b] == 0.0) & (a[b] > d) else 1
    if strange == 0:
        return 0
    undefined = 0
    for b in range(r.size):
        finite, inside = r[b] - r[b] == 0.0, a[b] > d
        undefined += 1 if inside & (not finite) & (v[b] == v[b]) & (w[b] == w[b]) & (b >= own) else 0
        r[b] = r[b] if finite & inside else np.nan
    return undefined


@compiled(_nrt=False)
def lags(x, age, out, d, code, own):
    """x[t-d] or the change since; return the values from row `own` on that are undefined though both are there."""
    columns = x.shape[1]
    skip = min(d, x.shape[0]) * columns
    out[:d] = np.nan
    now, old = x.reshape(-1)[skip:], x.reshape(-1)[: x.size - skip]
    ages, result = age.reshape(-1)[skip:], out.reshape(-1)[skip:]
    undefined = 0
    for begin in range(0, result.size, PIECE):
        piece = slice(begin, begin + PIECE)
        v, w, r = now[piece], old[piece], result[piece]
        _changes(v, w, r, code)
        undefined += _settle(v, w, ages[piece], r, d, own * columns - skip - begin)
    return undefined


@compiled(_nrt=False)
def last_valid(x, age, out, limit, carried):
    """Last valid value of the episode, at most `limit` bars old. carried: is there one, the value, bars since."""
    rows, columns = x.shape
    for b in range(columns):
        held = carried[1, b] if carried[0, b] > 0.0 else np.nan
        since = -int(carried[2, b])
        for t in range(rows):
            v, a = x[t, b], age[t, b]
            if a <= 1:
                held = np.nan
            if a > 0 and v == v:
                held, since = v, t
            out[t, b] = held if t - since <= limit else np.nan
        carried[0, b], carried[1, b], carried[2, b] = 1.0 if held == held else 0.0, held, rows - since


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
    last_valid(operands[0], context.age, out, limit, context.state(3))
    return 0
