"""Two of +, -, * and / one after the other in one loop: what the first gives never leaves a register.

A loop over values in the caches takes as long as reading and writing them, so that two in one take little more than
one. It tells apart only whether all results are finite, which they are where nothing is missing; where one is not, the
two go through one by one (`scalar_loops`), as what is undefined is counted for each. The bits are the same: a register
holds what would have been stored.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from ...machine_code import compiled
from .scalar_functions import ADD, DIV, MUL, SUB

FROM = 100
"""Code of z - r, r being what the first function gives."""

ARITHMETIC = (ADD, SUB, MUL, DIV)


def code_after(first: int, second: int, *, reverse: bool) -> int | None:
    """Return what `two_at_once` calls the function `second` of what `first` gives and z (`reverse`: of z and that).

    None where it has none: it has no z / r, as 1 over an infinite r would look finite.
    """
    if first not in ARITHMETIC or second not in ARITHMETIC or (reverse and second == DIV):
        return None
    return FROM if reverse and second == SUB else second


@compiled(_nrt=False, forceinline=True)
def _loop(first, second, x, y, z, out):
    """out = second(first(x, y), z) with constant codes; return how many are not finite.

    If what the first gives is not finite, neither is the result.
    """
    strange = 0
    for i in range(out.size):
        u, v, w = x[i], y[i], z[i]
        if first == ADD:
            r = u + v
        elif first == SUB:
            r = u - v
        elif first == MUL:
            r = u * v
        else:
            r = u / v
        if second == ADD:
            r = r + w
        elif second == SUB:
            r = r - w
        elif second == FROM:
            r = w - r
        elif second == MUL:
            r = r * w
        else:
            r = r / w
        out[i] = r
        strange += 0 if r - r == 0.0 else 1
    return strange


@compiled(_nrt=False, forceinline=True)
def _after(first, second, x, y, z, out):
    if second == ADD:
        return _loop(first, ADD, x, y, z, out)
    if second == SUB:
        return _loop(first, SUB, x, y, z, out)
    if second == FROM:
        return _loop(first, FROM, x, y, z, out)
    if second == MUL:
        return _loop(first, MUL, x, y, z, out)
    return _loop(first, DIV, x, y, z, out)


@compiled(_nrt=False)
def two_at_once(first, second, x, y, z, out):
    """out = second(first(x, y), z), where `out` is none of them; return how many are not finite."""
    if first == ADD:
        return _after(ADD, second, x, y, z, out)
    if first == SUB:
        return _after(SUB, second, x, y, z, out)
    if first == MUL:
        return _after(MUL, second, x, y, z, out)
    return _after(DIV, second, x, y, z, out)
