"""Elementwise operators: the operands of one place, no memory. Names over the compiled loops of `scalar_loops`.

Everything that a row of the operator table can name in here is a `Loop`, so that the engine may chain it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from . import scalar_functions as codes
from . import scalar_loops as loops
from .context import Context, Floats, Operand

Literals = Mapping[str, Any]
_T = TypeVar("_T")


def _flat(value: Operand) -> Floats:
    """Return the operand as a flat array: of one value for a number."""
    return value.reshape(-1) if isinstance(value, np.ndarray) else np.array([value])


@dataclass(frozen=True)
class Loop:
    """A kernel that is a loop of `scalar_loops`; `chain` runs several of them on top of each other.

    Attributes
    ----------
    operands
        Number of operands of the loop, 1 to 3; one of two goes over more than that two at a time.
    code
        The function.
    swapped
        The first two the other way round.
    literal
        Literals -> the loop's last operand, where it is no operand of the operator.
    """

    operands: int
    code: int
    swapped: bool = False
    literal: Callable[[Literals], float] | None = None

    def all_operands(self, operands: Sequence[_T], literals: Literals) -> list[_T | float]:
        """Return the operands in the loop's order."""
        found: list[_T | float] = [*operands] if self.literal is None else [*operands, self.literal(literals)]
        return [found[1], found[0], *found[2:]] if self.swapped else found

    def __call__(self, operands: Sequence[Operand], literals: Literals, context: Context, out: Floats) -> int:
        """See `context.Kernel`."""
        if out.size == 0:
            return 0
        first, flat = context.own_row * context.age.shape[1], out.reshape(-1)
        inputs = self.all_operands(operands, literals)
        if self.operands == 1:
            x = np.broadcast_to(inputs[0], out.shape) if isinstance(inputs[0], float) else inputs[0]
            return int(loops.unary(self.code, np.ascontiguousarray(x).reshape(-1), flat, first))
        if self.operands == 3:
            return int(loops.ternary(self.code, *map(_flat, inputs), flat, first))
        undefined = int(loops.binary(self.code, _flat(inputs[0]), _flat(inputs[1]), flat, first))
        for other in inputs[2:]:
            loops.binary(self.code, flat, _flat(other), flat, 0)
        return undefined


add, sub, mul, div = (Loop(2, c) for c in (codes.ADD, codes.SUB, codes.MUL, codes.DIV))
mod, pow, atan2, signed_power = (Loop(2, c) for c in (codes.MOD, codes.POW, codes.ATAN2, codes.SIGNED_POWER))
lt, le, eq, ne = (Loop(2, c) for c in (codes.LT, codes.LE, codes.EQ, codes.NE))
gt, ge = Loop(2, codes.LT, swapped=True), Loop(2, codes.LE, swapped=True)
max2, min2 = Loop(2, codes.MAX2), Loop(2, codes.MIN2)
abs, sign, neg, inverse = (Loop(1, c) for c in (codes.ABS, codes.SIGN, codes.NEG, codes.INVERSE))
sqrt, cbrt, square = (Loop(1, c) for c in (codes.SQRT, codes.CBRT, codes.SQUARE))
exp, expm1, log, log10 = (Loop(1, c) for c in (codes.EXP, codes.EXPM1, codes.LOG, codes.LOG10))
log2, log1p, s_log_1p, logit = (Loop(1, c) for c in (codes.LOG2, codes.LOG1P, codes.S_LOG_1P, codes.LOGIT))
sin, cos, tan, asin = (Loop(1, c) for c in (codes.SIN, codes.COS, codes.TAN, codes.ASIN))
acos, atan, sinh, cosh = (Loop(1, c) for c in (codes.ACOS, codes.ATAN, codes.SINH, codes.COSH))
tanh, sigmoid, softsign = (Loop(1, c) for c in (codes.TANH, codes.SIGMOID, codes.SOFTSIGN))
floor, ceil, fraction = (Loop(1, c) for c in (codes.FLOOR, codes.CEIL, codes.FRACTION))
is_nan, logical_not = Loop(1, codes.IS_NAN), Loop(1, codes.NOT)
logical_and, logical_or, logical_xor, fill = (Loop(2, c) for c in (codes.AND, codes.OR, codes.XOR, codes.FILL))
clip, between, nan_out, where = (Loop(3, c) for c in (codes.CLIP, codes.BETWEEN, codes.NAN_OUT, codes.WHERE))
only = Loop(3, codes.WHERE, swapped=True, literal=lambda literals: math.nan)
definite = Loop(2, codes.FILL, literal=lambda literals: 0.0)


# A half goes to the even neighbour. Beyond the range of float64 the value is kept.
round = Loop(2, codes.ROUND, literal=lambda literals: float(10 ** int(literals["decimals"])))
div_safe = Loop(3, codes.DIV_SAFE, literal=lambda literals: float(literals["eps"]))
