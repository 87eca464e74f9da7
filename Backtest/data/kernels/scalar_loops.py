"""Compiled loops of the elementwise family: one loop per number of operands, the function chosen by a code.

Transcendental functions run here and not in NumPy: NumPy picks vector or scalar code by alignment and position, and the
two differ in the last bit. One loop with a switch compiles in a second, where one kernel per function takes a minute.
Operands are flat; a number is an array of one with step 0. Bits depend on the operands alone.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from .context import Floats

ABS, SIGN, SQRT, CBRT, SQUARE, EXP, EXPM1, LOG, LOG10, LOG2, LOG1P = range(11)
SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH, SIGMOID = range(11, 21)
LOGIT, SOFTSIGN, FLOOR, CEIL, FRACTION, INVERSE, S_LOG_1P, NEG = range(21, 29)

MOD, POW, LT, LE, GT, GE, EQ, NE, ATAN2, SIGNED_POWER, MAX2, MIN2, ROUND = range(13)

CLIP, BETWEEN, NAN_OUT, DIV_SAFE, WHERE = range(5)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _sigmoid(v: float) -> float:
    # Each side only ever exponentiates a negative number: no overflow.
    if v >= 0.0:
        return 1.0 / (1.0 + math.exp(-v))
    e = math.exp(v)
    return e / (1.0 + e)


@numba.njit(nogil=True, cache=True, error_model="numpy")
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
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
    if code == INVERSE:
        return 1.0 / v
    if code == S_LOG_1P:
        return math.copysign(math.log1p(abs(v)), v)
    return -v


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _one(code: int, v: float) -> float:
    if code == ABS:
        return abs(v)
    if code == SIGN:
        return 1.0 if v > 0.0 else (-1.0 if v < 0.0 else 0.0)
    if code == SQRT:
        return math.sqrt(v) if v >= 0.0 else np.nan
    if code == CBRT:
        return np.cbrt(v)
    if code == SQUARE:
        return v * v
    if code == EXP:
        return math.exp(v)
    if code == EXPM1:
        return math.expm1(v)
    if code <= LOG1P:
        return _logarithm(code, v)
    if code <= SIGMOID:
        return _trigonometry(code, v)
    return _algebra(code, v)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def unary(code: int, x: Floats, out: Floats, own: int) -> int:
    """out = f(x), flat arrays; return the values from `own` on that are undefined though x is there."""
    undefined = 0
    for i in range(x.size):
        v = x[i]
        r = np.nan
        if v == v:
            r = _one(code, v)
            if not (r - r == 0.0):
                r = np.nan
                undefined += i >= own
        out[i] = r
    return undefined


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _compare(code: int, a: float, b: float) -> float:
    if code == LT:
        return 1.0 if a < b else 0.0
    if code == LE:
        return 1.0 if a <= b else 0.0
    if code == GT:
        return 1.0 if a > b else 0.0
    if code == GE:
        return 1.0 if a >= b else 0.0
    if code == EQ:
        return 1.0 if a == b else 0.0
    return 1.0 if a != b else 0.0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _modulo(a: float, b: float) -> float:
    # fmod is exact; a - b * floor(a / b) is not. The remainder takes the sign of b, as in Python.
    if b == 0.0:
        return np.nan
    m = np.fmod(a, b)
    if m == 0.0:
        return 0.0
    return m + b if (m < 0.0) != (b < 0.0) else m


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _two(code: int, a: float, b: float) -> float:
    if LT <= code <= NE:
        return _compare(code, a, b)
    if code == MAX2:
        return a if a >= b else b
    if code == MIN2:
        return a if a <= b else b
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def binary(code: int, x: Floats, step_x: int, y: Floats, step_y: int, out: Floats, own: int) -> int:
    """out = f(x, y), missing where either is; return the values from `own` on that are undefined."""
    undefined = 0
    for i in range(out.size):
        a, b = x[i * step_x], y[i * step_y]
        r = np.nan
        if a == a and b == b:
            r = _two(code, a, b)
            if not (r - r == 0.0):
                r = np.nan
                undefined += i >= own
        out[i] = r
    return undefined


@numba.njit(nogil=True, cache=True, error_model="numpy")
def settle(x: Floats, y: Floats, out: Floats, own: int) -> int:
    """Make infinite values of out = f(x, y) missing; return the undefined ones from `own` on."""
    for i in range(own):
        r = out[i]
        out[i] = r if r - r == 0.0 else np.nan
    undefined = 0
    for i in range(own, out.size):
        r = out[i]
        finite = r - r == 0.0
        # x and y are both there exactly where their difference from themselves is 0: one test, no branch.
        there = (x[i] - x[i]) + (y[i] - y[i]) == 0.0
        undefined += 0 if finite else (1 if there else 0)
        out[i] = r if finite else np.nan
    return undefined


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _three(code: int, a: float, b: float, c: float) -> float:
    if code == CLIP:
        if b > c:
            return np.nan
        return b if a < b else (c if a > c else a)
    if code == BETWEEN:
        return 1.0 if b <= a <= c else 0.0
    if code == NAN_OUT:
        return a if b <= a <= c else np.nan
    return a / b if abs(b) > c else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def ternary(
    code: int, x: Floats, step_x: int, y: Floats, step_y: int, z: Floats, step_z: int, out: Floats, own: int
) -> int:
    """out = f(x, y, z); blanks that ``nan_out`` and ``div_safe`` were asked for are not undefined."""
    undefined = 0
    for i in range(out.size):
        a, b, c = x[i * step_x], y[i * step_y], z[i * step_z]
        r = np.nan
        if code == WHERE:
            r = b if a == 1.0 else (c if a == 0.0 else np.nan)
        elif a == a and b == b and c == c:
            r = _three(code, a, b, c)
            if not (r - r == 0.0):
                undefined += i >= own and code == CLIP
                r = np.nan
        out[i] = r
    return undefined
