"""What the block kernels share: the layout of their scratch rows and the test for a block without surprises.

Arrays are [rows, symbols], C-ordered. Every kernel is a loop over rows around a loop over the symbols of one row, on
row views (``v = x[t]``): only then does LLVM see unit steps from 0 and use vector instructions. Five measured rules,
for whoever writes the next kernel:

* The inner loop has no branch; what depends on the values is chosen (``a if c else b``), which becomes a mask.
* A choice is between values, not places: after ``x = p[i] if c else q[i]`` LLVM may choose the address and read once,
  which no vector code can. Read both into names first.
* Scratch of one row lies in one array, quantity q of symbol b at ``q * WIDTH + b``. LLVM gives up vector code when more
  than eight pairs of arrays would have to be checked for overlap.
* Rows are walked backwards through a table (`descending`). Under a counter that falls LLVM tests for overlap once for
  all rows, takes the negative step for an overlap, and runs the scalar loop: half the speed.
* A function that allocates nothing is compiled without reference counts (``_nrt=False``): otherwise Numba counts the
  array behind every row view up and down, with atomic instructions, some 30 ns a row. One that does allocate, or that
  copies an array into another, does not compile so; none of these may return an array.

A block without missing values and without a listing episode that begins in it has known counts: its loops are a few
additions (see `is_plain`). The general loops give the same bits, operation by operation; they only find the counts too.

`moments`, `comoments`, `partial`, `products`, `ranges` and `weighted` walk the same blocks by index and with branches:
easier to read, and 5 to 230 ns a value (std: 1.5). Few recipes use them.

The walk over the blocks stands in every kernel. One walk that takes the passes over a block as arguments is compiled
anew in each process, as numba keeps no code of functions given as arguments (0.6 s each), and a sum of 0.55 ns per
value takes 0.70. A generator that yields the blocks is as fast, but numba loads it from the disk cache only for callers
that are cached too, and fails to compile any other (KeyError in its table of generators).
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ...machine_code import compiled
from .context import FLOAT, Context, Floats, Operand

SPAN = 64
"""Rows that `next_state` looks ahead."""

PIECE = 256
"""Rows of a piece for `is_whole`."""

WIDTH = 64
"""Symbols side by side, at most. Loops are full speed from about 32 on; 64 keep a window of 200 rows in a core's L2."""

LINE = 8
"""Values of a line of the cache."""

NOTHING = np.zeros(0, np.int64)
"""No address to `fetch` from."""

MIXED, FULL, JOINED = range(3)
"""A block of rows: something is missing in it or an episode begins inside; neither; nor at its first row either."""

NO_LIMIT = 2**31 - 1
"""An age that no row reaches: where a rule about the age does not apply."""

FLAT = 1e-12
"""A std below this fraction of the largest |x| beside it is rounding of the input, not movement. Relative, because
coins trade at 1e-8 (Qlib's absolute 2e-5 calls those flat). In such a window all values are the same to that fraction,
so that any of them will do for the largest."""


@compiled
def aligned(rows, columns):
    """Return an uninitialised float64 array [rows, columns] that begins with a line of the cache.

    A vector fills a line: what is written across two costs up to twice the time.
    """
    flat = np.empty(rows * columns + LINE)
    begin = -(flat.ctypes.data // FLOAT) % LINE
    return flat[begin : begin + rows * columns].reshape(rows, columns)


@intrinsic
def _prefetch(typing_context, address):
    """Ask for the cache line of an address, whatever lies there; hint 2: into the second cache."""

    def generate(context, builder, signature, arguments):
        pointer, number = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", (pointer,), kind)
        read, near, data = number(0), number(2), number(1)
        builder.call(function, [builder.inttoptr(arguments[0], pointer), read, near, data])
        return context.get_dummy_value()

    return types.none(address), generate


@compiled(_nrt=False, forceinline=True)
def fetch(addresses, row, columns):
    """Have a row of each float64 array [rows, columns] that begins at one of `addresses` brought into the cache."""
    for k in range(addresses.size):
        for b in range(row * columns, (row + 1) * columns, LINE):
            _prefetch(addresses[k] + FLOAT * b)


@compiled
def descending(n):
    """Return n-1 .. 0."""
    return np.arange(n - 1, -1, -1)


@compiled(_nrt=False)
def _missing(x):
    """Return how many of flat x are missing: almost always none, and this way that costs a third of counting them by
    symbol."""
    missing = 0
    for i in range(x.size):
        missing += 0 if x[i] == x[i] else 1
    return missing


@compiled(_nrt=False)
def block_state(x, age, gaps, idle):
    """Return MIXED, FULL or JOINED for the rows of one block.

    Symbols outside every episode in all rows do not count: they are marked in `idle` (1.0), and whatever a plain loop
    leaves for them is overwritten by `blank_idle`.
    """
    rows = x.shape[0]
    gaps[:] = 0.0
    missing = _missing(x.reshape(-1))
    if missing == 0 and _all_above(age[rows - 1], rows):
        idle[:] = 0.0
        return JOINED
    if missing > 0:
        for t in range(rows):
            v = x[t]
            for b in range(v.size):
                gaps[b] += 0.0 if v[b] == v[b] else 1.0
    state = JOINED
    for b in range(x.shape[1]):
        a = age[rows - 1, b]
        idle[b] = 1.0 if a == 0 and _never_alive(age, b) else 0.0
        if idle[b] == 0.0:
            whole = gaps[b] == 0.0 and a >= rows
            state = min(state, (JOINED if a > rows else FULL) if whole else MIXED)
    return state


@compiled(_nrt=False)
def _all_above(a, least):
    short = 0
    for b in range(a.size):
        short += 0 if a[b] > least else 1
    return short == 0


@compiled(_nrt=False)
def _never_alive(age, b):
    for t in range(age.shape[0]):
        if age[t, b] > 0:
            return False
    return True


@compiled(_nrt=False)
def next_state(x, age, first, last, d, gaps, idle):
    """Return the state of the block of rows first..last-1, and the row before which the next blocks share it.

    Short blocks without surprises are looked at many at a time: one by one that takes as long as their sums.
    """
    end = min(last + SPAN // d * d, x.shape[0])
    if end > last and block_state(x[first:end], age[first:end], gaps, idle) == JOINED:
        return JOINED, end
    return block_state(x[first:last], age[first:last], gaps, idle), last


@compiled(_nrt=False)
def is_plain(now, before, first, have, d):
    """Return whether every window that ends in this block holds d valid values or begins before row 0.

    now, before: states of this block and of the one before, which has `have` rows and ends at `first`.
    """
    if first == 0:
        return now == JOINED
    return now == JOINED and (before == JOINED or (before == FULL and have == d))


@compiled(_nrt=False)
def is_whole(x, age, begin, end, d, gaps, idle):
    """Return whether every window that ends in rows begin..end-1, and the row before it, holds valid values only or
    begins before row 0: `is_plain` for kernels without blocks."""
    first = max(begin - d, 0)
    state = block_state(x[first:end], age[first:end], gaps, idle)
    return state == JOINED or (state == FULL and first > 0)


@compiled(_nrt=False)
def blank_idle(out, idle):
    """Make the symbols of `idle` missing; most blocks have none, and finding that out takes one vector loop."""
    marked = 0
    for b in range(idle.size):
        marked += 1 if idle[b] > 0.0 else 0
    if marked == 0:
        return
    for b in range(out.shape[1]):
        if idle[b] > 0.0:
            out[:, b] = np.nan


@compiled(_nrt=False)
def full_counts(s, have, columns, plane):
    """Fill in the counts that the suffixes of a full block go without: row i holds have - i values."""
    for i in range(have + 1):
        s[i, plane * WIDTH : plane * WIDTH + columns] = have - i


def over_columns(
    kernel: Callable[..., Any], operands: Sequence[Operand], context: Context, out: Floats, *numbers: Any
) -> int:
    """Call ``kernel(*operands, age, out, *numbers)``, `WIDTH` columns at a time where there are more.

    Returns the sum of what the calls return, 0 where that is nothing.
    """
    columns = out.shape[1]
    if columns <= WIDTH:
        return kernel(*operands, context.age, out, *numbers) or 0
    found = 0
    for begin in range(0, columns, WIDTH):
        part = (slice(None), slice(begin, begin + WIDTH))
        arrays = [np.ascontiguousarray(x[part]) for x in (*operands, context.age) if isinstance(x, np.ndarray)]
        result = np.empty((len(out), arrays[0].shape[1]))
        found += kernel(*arrays, result, *numbers) or 0
        out[part] = result
    return found
