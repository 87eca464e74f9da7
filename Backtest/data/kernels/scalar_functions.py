"""Functions of the elementwise family and their codes; those that a processor does one value at a time, compiled here.

Transcendental functions run here and not in NumPy: NumPy picks vector or scalar code by alignment and position, and the
two differ in the last bit. A function with a switch compiles in a second, where a kernel for each takes a minute.
"""

from __future__ import annotations

import math

import numpy as np

from ...machine_code import compiled

ABS, SIGN, SQRT, CBRT, SQUARE, EXP, EXPM1, LOG, LOG10, LOG2, LOG1P = range(11)
SIN, COS, TAN, ASIN, ACOS, ATAN, SINH, COSH, TANH, SIGMOID = range(11, 21)
LOGIT, SOFTSIGN, FLOOR, CEIL, FRACTION, INVERSE, S_LOG_1P, NEG, NOT, IS_NAN = range(21, 31)

MOD, POW, LT, LE, EQ, NE, ATAN2, SIGNED_POWER, MAX2, MIN2, ROUND, ADD, SUB, MUL, DIV = range(15)
AND, OR, XOR, FILL = range(15, 19)

CLIP, BETWEEN, NAN_OUT, DIV_SAFE, WHERE = range(5)


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
def one(code: int, v: float) -> float:
    """f(v) of a present value; what is undefined is missing or infinite."""
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
def _modulo(a: float, b: float) -> float:
    # fmod is exact; a - b * floor(a / b) is not. The remainder takes the sign of b, as in Python.
    if b == 0.0:
        return np.nan
    m = np.fmod(a, b)
    if m == 0.0:
        return 0.0
    return m + b if (m < 0.0) != (b < 0.0) else m


@compiled(_nrt=False)
def two(code: int, a: float, b: float) -> float:
    """f(a, b) of present values; what is undefined is missing or infinite."""
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
