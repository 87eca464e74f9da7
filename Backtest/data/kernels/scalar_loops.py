"""Compiled loops of the elementwise family: one loop per number of operands, the function chosen by a code.

What a processor does for eight values at once has a loop of its own (`_plain_one`, `_plain_two`, `_three`): these
operations are exact or correctly rounded (IEEE 754), so bits do not depend on how many are done together. The others
are those of `scalar_functions`, value by value.

Operands are flat and go through in pieces that stay in the first cache, where a number is a piece filled with it.
"""

from __future__ import annotations

import math

import numpy as np

from ...machine_code import compiled
from . import scalar_functions as codes
from .context import Floats
from .scalar_functions import one, two

PIECE = 1024


@compiled(_nrt=False)
def _plain_one(code: int, x: Floats, out: Floats) -> int:
    """The functions that a processor has for eight values at once, each its own loop; -1 for all others.

    Returns how many results are not finite: counted on the way that costs nothing, and almost always there are none.
    """
    strange = 0
    if code == codes.ABS:
        for i in range(x.size):
            u = x[i]
            r = abs(u)
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.NEG:
        for i in range(x.size):
            u = x[i]
            r = -u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.SIGN:
        # 0 + 0 v: 0 for both zeros, missing for missing
        for i in range(x.size):
            u = x[i]
            r = 1.0 if u > 0.0 else (-1.0 if u < 0.0 else 0.0 + u * 0.0)
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.SQUARE:
        for i in range(x.size):
            u = x[i]
            r = u * u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.SQRT:
        for i in range(x.size):
            u = x[i]
            r = math.sqrt(u)
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.INVERSE:
        for i in range(x.size):
            u = x[i]
            r = 1.0 / u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.NOT:
        for i in range(x.size):
            u = x[i]
            r = 1.0 - u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.IS_NAN:
        for i in range(x.size):
            u = x[i]
            r = 0.0 if u == u else 1.0
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    else:
        return -1
    return strange


@compiled(_nrt=False)
def _settle(x: Floats, y: Floats, z: Floats, out: Floats, own: int) -> int:
    """Make what is not finite the one NaN; return how many from `own` on are undefined though x, y and z are there."""
    undefined = 0
    for i in range(out.size):
        finite = out[i] - out[i] == 0.0
        there = (x[i] == x[i]) & (y[i] == y[i]) & (z[i] == z[i])
        undefined += 1 if (not finite) & there & (i >= own) else 0
        out[i] = out[i] if finite else np.nan
    return undefined


@compiled(_nrt=False)
def one_piece(code: int, x: Floats, out: Floats, own: int) -> int:
    """`unary` of one piece."""
    strange = _plain_one(code, x, out)
    if strange < 0:
        for i in range(x.size):
            out[i] = one(code, x[i]) if x[i] == x[i] else np.nan
    return 0 if strange == 0 else _settle(x, x, x, out, own)


@compiled(_nrt=False)
def unary(code: int, x: Floats, out: Floats, own: int) -> int:
    """out = f(x), flat arrays; return the values from `own` on that are undefined though x is there."""
    undefined = 0
    for begin in range(0, out.size, PIECE):
        undefined += one_piece(code, x[begin : begin + PIECE], out[begin : begin + PIECE], own - begin)
    return undefined


@compiled(_nrt=False)
def _arithmetic(code: int, x: Floats, y: Floats, out: Floats) -> int:
    strange = 0
    if code == codes.ADD:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = u + v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.SUB:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = u - v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.MUL:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = u * v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    else:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = u / v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    return strange


@compiled(_nrt=False)
def _choice(code: int, x: Floats, y: Floats, out: Floats) -> int:
    """Comparisons and the larger or smaller of two; missing where either is."""
    strange = 0
    if code == codes.LT:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u < v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.LE:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u <= v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.EQ:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u == v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.NE:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u != v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.MAX2:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (u if u >= v else v) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    else:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (u if u <= v else v) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    return strange


@compiled(_nrt=False)
def _missing_or_not(code: int, x: Floats, y: Floats, out: Floats) -> int:
    """What may have a value where an operand is missing: Kleene's logic, and a stand-in for what is missing."""
    strange = 0
    if code == codes.AND:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = 0.0 if (u == 0.0) | (v == 0.0) else u * v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.OR:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = 1.0 if (u == 1.0) | (v == 1.0) else u + v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.XOR:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = abs(u - v)
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    else:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = u if u == u else v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    return strange


@compiled(_nrt=False)
def _plain_two(code: int, x: Floats, y: Floats, out: Floats) -> int:
    """See `_plain_one`."""
    if code >= codes.AND:
        return _missing_or_not(code, x, y, out)
    if code >= codes.ADD:
        return _arithmetic(code, x, y, out)
    if codes.LT <= code <= codes.NE or codes.MAX2 <= code <= codes.MIN2:
        return _choice(code, x, y, out)
    return -1


@compiled(_nrt=False)
def two_piece(code: int, x: Floats, y: Floats, out: Floats, own: int) -> int:
    """`binary` of one piece."""
    strange = _plain_two(code, x, y, out)
    if strange < 0:
        for i in range(out.size):
            out[i] = two(code, x[i], y[i]) if x[i] == x[i] and y[i] == y[i] else np.nan
    return 0 if strange == 0 else _settle(x, y, x, out, own)


@compiled
def binary(code: int, x: Floats, y: Floats, out: Floats, own: int) -> int:
    """out = f(x, y), missing where either is; return the values from `own` on that are undefined.

    An operand of one value is a number.
    """
    same_x, same_y = np.full(PIECE, x[0]), np.full(PIECE, y[0])
    undefined = 0
    for begin in range(0, out.size, PIECE):
        r = out[begin : begin + PIECE]
        v = x[begin : begin + PIECE] if x.size == out.size else same_x[: r.size]
        w = y[begin : begin + PIECE] if y.size == out.size else same_y[: r.size]
        undefined += two_piece(code, v, w, r, own - begin)
    return undefined


@compiled(_nrt=False)
def _three(code: int, x: Floats, y: Floats, z: Floats, out: Floats) -> int:
    strange = 0
    if code == codes.WHERE:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            r = w if u == 0.0 else np.nan
            r = v if u == 1.0 else r
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.CLIP:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            inside = v if u < v else (w if u > w else u)
            r = inside if (v <= w) & (u == u) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.BETWEEN:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            r = (1.0 if (v <= u) & (u <= w) else 0.0) if (u == u) & (v == v) & (w == w) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == codes.NAN_OUT:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            r = u if (v <= u) & (u <= w) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    else:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            r = u / v if abs(v) > w else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    return strange


@compiled(_nrt=False)
def three_piece(code: int, x: Floats, y: Floats, z: Floats, out: Floats, own: int) -> int:
    """`ternary` of one piece."""
    found = 0 if _three(code, x, y, z, out) == 0 else _settle(x, y, z, out, own)
    return found if code == codes.CLIP else 0


@compiled
def ternary(code: int, x: Floats, y: Floats, z: Floats, out: Floats, own: int) -> int:
    """out = f(x, y, z); blanks that ``nan_out`` and ``div_safe`` were asked for are not undefined."""
    same_x, same_y, same_z = np.full(PIECE, x[0]), np.full(PIECE, y[0]), np.full(PIECE, z[0])
    undefined = 0
    for begin in range(0, out.size, PIECE):
        r = out[begin : begin + PIECE]
        v = x[begin : begin + PIECE] if x.size == out.size else same_x[: r.size]
        w = y[begin : begin + PIECE] if y.size == out.size else same_y[: r.size]
        u = z[begin : begin + PIECE] if z.size == out.size else same_z[: r.size]
        undefined += three_piece(code, v, w, u, r, own - begin)
    return undefined
