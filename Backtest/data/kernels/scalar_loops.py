"""Compiled loops of the elementwise family: one loop per number of operands, the function chosen by a code.

Transcendental functions run here and not in NumPy: NumPy picks vector or scalar code by alignment and position, and the
two differ in the last bit. One loop with a switch compiles in a second, where one kernel per function takes a minute.
What a processor does for eight values at once has a loop of its own (`_plain_one`, `_plain_two`, `_three`): these
operations are exact or correctly rounded (IEEE 754), so bits do not depend on how many are done together.

Operands are flat and go through in pieces that stay in the first cache, where a number is a piece filled with it.
"""

from __future__ import annotations

import math

import numpy as np

from ...machine_code import compiled
from .context import Floats

ABS, SIGN, SQRT, CBRT, SQUARE, EXP, EXPM1, LOG, LOG10, LOG2, LOG1P = range(11)
SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH, SIGMOID = range(11, 21)
LOGIT, SOFTSIGN, FLOOR, CEIL, FRACTION, INVERSE, S_LOG_1P, NEG, NOT, IS_NAN = range(21, 31)

MOD, POW, LT, LE, EQ, NE, ATAN2, SIGNED_POWER, MAX2, MIN2, ROUND, ADD, SUB, MUL, DIV = range(15)
AND, OR, XOR, FILL = range(15, 19)

CLIP, BETWEEN, NAN_OUT, DIV_SAFE, WHERE = range(5)

PIECE = 1024


@compiled(_nrt=False)
def _sigmoid(v: float) -> float:
    # Each side only ever exponentiates a negative number: no overflow.
    if v >= 0.0:
        return 1.0 / (1.0 + math.exp(-v))
    e = math.exp(v)
    return e / (1.0 + e)


@compiled(_nrt=False)
def _trigonometry(code: int, v: float) -> float:
    if code == SIN:
        return math.sin(v)
    if code == COS:
        return math.cos(v)
    if code == TAN:
        return math.tan(v)
    if code == ASIN:
        return math.asin(v) if -1.0 <= v <= 1.0 else np.nan
    if code == ACOS:
        return math.acos(v) if -1.0 <= v <= 1.0 else np.nan
    if code == ATAN:
        return math.atan(v)
    if code == SINH:
        return math.sinh(v)
    if code == COSH:
        return math.cosh(v)
    if code == TANH:
        return math.tanh(v)
    return _sigmoid(v)


@compiled(_nrt=False)
def _logarithm(code: int, v: float) -> float:
    if code == LOG1P:
        return math.log1p(v) if v > -1.0 else np.nan
    if v <= 0.0:
        return np.nan
    if code == LOG:
        return math.log(v)
    if code == LOG10:
        return math.log10(v)
    return math.log2(v)


@compiled(_nrt=False)
def _algebra(code: int, v: float) -> float:
    if code == LOGIT:
        return math.log(v / (1.0 - v)) if 0.0 < v < 1.0 else np.nan
    if code == SOFTSIGN:
        return v / (1.0 + abs(v))
    if code == FLOOR:
        return np.floor(v)
    if code == CEIL:
        return np.ceil(v)
    if code == FRACTION:
        return v - np.trunc(v)
    return math.copysign(math.log1p(abs(v)), v)


@compiled(_nrt=False)
def _one(code: int, v: float) -> float:
    if code == CBRT:
        return np.cbrt(v)
    if code == EXP:
        return math.exp(v)
    if code == EXPM1:
        return math.expm1(v)
    if code <= LOG1P:
        return _logarithm(code, v)
    if code <= SIGMOID:
        return _trigonometry(code, v)
    return _algebra(code, v)


@compiled(_nrt=False)
def _plain_one(code: int, x: Floats, out: Floats) -> int:
    """The functions that a processor has for eight values at once, each its own loop; -1 for all others.

    Returns how many results are not finite: counted on the way that costs nothing, and almost always there are none.
    """
    strange = 0
    if code == ABS:
        for i in range(x.size):
            u = x[i]
            r = abs(u)
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == NEG:
        for i in range(x.size):
            u = x[i]
            r = -u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == SIGN:
        # 0 + 0 v: 0 for both zeros, missing for missing
        for i in range(x.size):
            u = x[i]
            r = 1.0 if u > 0.0 else (-1.0 if u < 0.0 else 0.0 + u * 0.0)
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == SQUARE:
        for i in range(x.size):
            u = x[i]
            r = u * u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == SQRT:
        for i in range(x.size):
            u = x[i]
            r = math.sqrt(u)
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == INVERSE:
        for i in range(x.size):
            u = x[i]
            r = 1.0 / u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == NOT:
        for i in range(x.size):
            u = x[i]
            r = 1.0 - u
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == IS_NAN:
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
            out[i] = _one(code, x[i]) if x[i] == x[i] else np.nan
    return 0 if strange == 0 else _settle(x, x, x, out, own)


@compiled(_nrt=False)
def unary(code: int, x: Floats, out: Floats, own: int) -> int:
    """out = f(x), flat arrays; return the values from `own` on that are undefined though x is there."""
    undefined = 0
    for begin in range(0, out.size, PIECE):
        undefined += one_piece(code, x[begin : begin + PIECE], out[begin : begin + PIECE], own - begin)
    return undefined


@compiled(_nrt=False)
def _modulo(a: float, b: float) -> float:
    # fmod is exact; a - b * floor(a / b) is not. The remainder takes the sign of b, as in Python.
    if b == 0.0:
        return np.nan
    m = np.fmod(a, b)
    if m == 0.0:
        return 0.0
    return m + b if (m < 0.0) != (b < 0.0) else m


@compiled(_nrt=False)
def _two(code: int, a: float, b: float) -> float:
    if code == MOD:
        return _modulo(a, b)
    if code == POW:
        return a**b
    if code == ATAN2:
        return math.atan2(a, b)
    if code == SIGNED_POWER:
        if a == 0.0:
            return 0.0 if b >= 0.0 else np.nan
        return math.copysign(abs(a) ** b, a)
    scaled = a * b
    return np.rint(scaled) / b if scaled - scaled == 0.0 else a


@compiled(_nrt=False)
def _arithmetic(code: int, x: Floats, y: Floats, out: Floats) -> int:
    strange = 0
    if code == ADD:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = u + v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == SUB:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = u - v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == MUL:
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
    if code == LT:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u < v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == LE:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u <= v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == EQ:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u == v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == NE:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = (1.0 if u != v else 0.0) if (u == u) & (v == v) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == MAX2:
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
    if code == AND:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = 0.0 if (u == 0.0) | (v == 0.0) else u * v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == OR:
        for i in range(x.size):
            u, v = x[i], y[i]
            r = 1.0 if (u == 1.0) | (v == 1.0) else u + v
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == XOR:
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
    if code >= AND:
        return _missing_or_not(code, x, y, out)
    if code >= ADD:
        return _arithmetic(code, x, y, out)
    if LT <= code <= NE or MAX2 <= code <= MIN2:
        return _choice(code, x, y, out)
    return -1


@compiled(_nrt=False)
def two_piece(code: int, x: Floats, y: Floats, out: Floats, own: int) -> int:
    """`binary` of one piece."""
    strange = _plain_two(code, x, y, out)
    if strange < 0:
        for i in range(out.size):
            out[i] = _two(code, x[i], y[i]) if x[i] == x[i] and y[i] == y[i] else np.nan
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
    if code == WHERE:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            r = w if u == 0.0 else np.nan
            r = v if u == 1.0 else r
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == CLIP:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            inside = v if u < v else (w if u > w else u)
            r = inside if (v <= w) & (u == u) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == BETWEEN:
        for i in range(x.size):
            u, v, w = x[i], y[i], z[i]
            r = (1.0 if (v <= u) & (u <= w) else 0.0) if (u == u) & (v == v) & (w == w) else np.nan
            out[i] = r
            strange += 0 if r - r == 0.0 else 1
    elif code == NAN_OUT:
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
    return found if code == CLIP else 0


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
