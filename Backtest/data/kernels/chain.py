"""Elementwise operators on top of each other, piece by piece: what one leaves in the first cache the next finds there.

A chain is a table of numbers, made when a plan is prepared: nothing is compiled for a recipe. Its instructions run the
loops of `scalar_loops` on a piece of some hundred values, all of them, then on the next piece. Each operand and result
is a place: an address and how far it moves per value (8 bytes along an array; 0 for a number, a piece filled with it,
and for what only the chain itself reads, a piece that is written again and again).
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from . import scalar_loops as loops

PIECE = 512
"""Values of a piece: 4 kB, so that the operands and the result of an instruction stay in a core's first cache."""

FLOAT, LINE = 8, 64
"""Bytes of a value, and of what a cache fetches at once."""

ONE, TWO, THREE, PUBLISH = range(4)
"""Kinds of instruction: a function of so many operands; or a factor's way to its output, given which bars are there."""


@intrinsic
def _pointer(typing_context, address, like):
    """Return the address as a pointer to what `like` is one of."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), generate


@intrinsic
def _prefetch(typing_context, address):
    """Ask for the cache line at an address, for the second cache; addresses where nothing is are allowed."""

    def generate(context, builder, signature, arguments):
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(ask, [builder.inttoptr(arguments[0], pointer), number(0), number(2), number(1)])
        return context.get_dummy_value()

    return types.void(address), generate


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _ask(address, step):
    """Fetch a piece ahead of its turn: every instruction goes on where another left off in another array, and the
    processor, which follows an array that one instruction reads on and on, starts anew for each piece."""
    if step == FLOAT:
        for line in range(0, FLOAT * PIECE, LINE):
            _prefetch(address + line)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _floats(address, size):
    return numba.carray(_pointer(address, 0.0), (size,))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _publish(x, there, out):
    """Finite where there is a bar, else the one NaN."""
    for i in range(x.size):
        out[i] = x[i] if (x[i] - x[i] == 0.0) & (there[i] != 0) else np.nan


@numba.njit(nogil=True, cache=True, error_model="numpy")
def run(code, addresses, steps, size, counts):
    """Run a chain over `size` values; return how many results are undefined, by instruction in `counts`.

    code: int64 [n, 6], kind, function, places of three operands, place of the result. addresses, steps: int64 by place,
    the first byte and the bytes per value; whoever calls keeps the arrays alive and of at least `size` values.
    """
    total = 0
    for begin in range(0, size, PIECE):
        m = min(PIECE, size - begin)
        for k in range(code.shape[0]):
            kind, function, a, b, c, r = code[k, 0], code[k, 1], code[k, 2], code[k, 3], code[k, 4], code[k, 5]
            x, out = _floats(addresses[a] + steps[a] * begin, m), _floats(addresses[r] + steps[r] * begin, m)
            found = 0
            ahead = begin + PIECE
            if ahead < size:
                _ask(addresses[a] + steps[a] * ahead, steps[a])
                _ask(addresses[r] + steps[r] * ahead, steps[r])
                if kind == TWO or kind == THREE:
                    _ask(addresses[b] + steps[b] * ahead, steps[b])
                if kind == THREE:
                    _ask(addresses[c] + steps[c] * ahead, steps[c])
            if kind == ONE:
                found = loops.one_piece(function, x, out, 0)
            elif kind == TWO:
                found = loops.two_piece(function, x, _floats(addresses[b] + steps[b] * begin, m), out, 0)
            elif kind == THREE:
                y, z = _floats(addresses[b] + steps[b] * begin, m), _floats(addresses[c] + steps[c] * begin, m)
                found = loops.three_piece(function, x, y, z, out, 0)
            else:
                _publish(x, numba.carray(_pointer(addresses[b] + begin, np.uint8(0)), (m,)), out)
            counts[k] += found
            total += found
    return total
