"""Elementwise operators: the operands of one place, no memory. Thin names over the compiled loops of `scalar_loops`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import scalar_loops as loops
from .context import Context, Floats, Kernel, Operand

Literals = Mapping[str, Any]


def _flat(value: Operand) -> Floats:
    """Return the operand as a flat array: of one value for a number."""
    return value.reshape(-1) if isinstance(value, np.ndarray) else np.array([value])


def _first_own(context: Context) -> int:
    return context.own_row * context.age.shape[1]


def _unary(code: int) -> Kernel:
    def kernel(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
        x = np.broadcast_to(operands[0], out.shape) if isinstance(operands[0], float) else operands[0]
        return int(loops.unary(code, np.ascontiguousarray(x).reshape(-1), out.reshape(-1), _first_own(context)))

    return kernel


def _binary(code: int, *, swapped: bool = False) -> Kernel:
    def kernel(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
        x, y = reversed(operands) if swapped else operands
        return int(loops.binary(code, _flat(x), _flat(y), out.reshape(-1), _first_own(context)))

    return kernel


def _ternary(code: int) -> Kernel:
    def kernel(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
        x, y, z = operands
        return int(loops.ternary(code, _flat(x), _flat(y), _flat(z), out.reshape(-1), _first_own(context)))

    return kernel


def _fold(code: int) -> Kernel:
    def kernel(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
        flat = out.reshape(-1)
        loops.binary(code, _flat(operands[0]), _flat(operands[1]), flat, 0)
        for other in operands[2:]:
            loops.binary(code, flat, _flat(other), flat, 0)
        return 0

    return kernel


add, sub, mul, div = (_binary(c) for c in (loops.ADD, loops.SUB, loops.MUL, loops.DIV))
mod, pow, atan2, signed_power = (_binary(c) for c in (loops.MOD, loops.POW, loops.ATAN2, loops.SIGNED_POWER))
lt, le, eq, ne = (_binary(c) for c in (loops.LT, loops.LE, loops.EQ, loops.NE))
gt, ge = _binary(loops.LT, swapped=True), _binary(loops.LE, swapped=True)
max2, min2 = _fold(loops.MAX2), _fold(loops.MIN2)
abs, sign, neg, inverse = (_unary(c) for c in (loops.ABS, loops.SIGN, loops.NEG, loops.INVERSE))
sqrt, cbrt, square = (_unary(c) for c in (loops.SQRT, loops.CBRT, loops.SQUARE))
exp, expm1, log, log10 = (_unary(c) for c in (loops.EXP, loops.EXPM1, loops.LOG, loops.LOG10))
log2, log1p, s_log_1p, logit = (_unary(c) for c in (loops.LOG2, loops.LOG1P, loops.S_LOG_1P, loops.LOGIT))
sin, cos, tan, asin = (_unary(c) for c in (loops.SIN, loops.COS, loops.TAN, loops.ASIN))
acos, atan, sinh, cosh = (_unary(c) for c in (loops.ACOS, loops.ATAN, loops.SINH, loops.COSH))
tanh, sigmoid, softsign = (_unary(c) for c in (loops.TANH, loops.SIGMOID, loops.SOFTSIGN))
floor, ceil, fraction = (_unary(c) for c in (loops.FLOOR, loops.CEIL, loops.FRACTION))
clip, between, nan_out, where = (_ternary(c) for c in (loops.CLIP, loops.BETWEEN, loops.NAN_OUT, loops.WHERE))


def round(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """Round to decimals; a half goes to the even neighbour. Beyond the range of float64 the value is kept."""
    scale = float(10 ** int(literals["decimals"]))
    return _binary(loops.ROUND)([operands[0], scale], literals, context, out)


def div_safe(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """x / y where abs(y) > eps, else missing."""
    return _ternary(loops.DIV_SAFE)([*operands, float(literals["eps"])], literals, context, out)


def bucket(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """Number of edges strictly below x."""
    x = np.broadcast_to(operands[0], out.shape)
    edges = np.array(literals["edges"], dtype=np.float64)
    out[...] = np.where(np.isnan(x), np.nan, np.searchsorted(edges, x, side="left"))
    return 0


def fill(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """Put x, or v where x is missing."""
    x, v = operands
    out[...] = np.where(np.isnan(x), v, x)
    return 0


def is_nan(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """1 where x is missing, else 0."""
    out[...] = np.isnan(operands[0])
    return 0


def _masks(operands: Sequence[Operand]) -> list[NDArray[np.float64]]:
    return [np.asarray(mask, dtype=np.float64) for mask in operands]


def logical_and(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """False where one is false (Kleene); the product is NaN where either is missing."""
    c, e = _masks(operands)
    out[...] = np.where((c == 0.0) | (e == 0.0), 0.0, c * e)
    return 0


def logical_or(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """True where one is true (Kleene); the sum is 0 or NaN elsewhere."""
    c, e = _masks(operands)
    out[...] = np.where((c == 1.0) | (e == 1.0), 1.0, c + e)
    return 0


def logical_not(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """1 - c."""
    (c,) = _masks(operands)
    np.subtract(1.0, c, out=out)
    return 0


def logical_xor(operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
    """1 where the masks differ, missing where either is."""
    c, e = _masks(operands)
    np.abs(c - e, out=out)
    return 0
