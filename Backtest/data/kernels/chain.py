"""Steps on top of each other, strip by strip: what one leaves in a core's cache the next finds there.

A chain is a table of numbers, made when a plan is prepared: nothing is compiled for a recipe. Its instructions go over
a strip of rows, all of them, then over the next strip: the loops of `scalar_loops` piece by piece, and the sums of
`rolling`, which go through the rows that they look back to anew. Each operand and result is a place: an address and how
far it moves per value inside a strip and from strip to strip (8 and 8 bytes along an array; 8 and 0 for what only the
chain itself reads, a strip that is written again and again; 0 and 0 for a number, a piece filled with it).

Addresses, because Numba makes another function for every other number of arrays, and what it offers as a list of arrays
compiles its own code in every process. `Backtest.benchmarks.kernels` sets a chain beside its steps one by one.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from ...machine_code import compiled
from . import scalar_loops as loops
from .context import FLOAT
from .joint_loops import two_at_once
from .rolling import sums
from .rows import WIDTH

AGE = 4
"""Bytes of an age."""

PIECE = 2048
"""Values of a piece: 16 kB, so that operands and result of an instruction stay in a core's caches; for less, calls
begin to cost."""

STRIP = 8192
"""Values of a strip at most: 64 kB, so that a dozen of them stay in a core's second cache."""

RETRY = 16
"""Pieces after which two steps are tried in one loop again, where a value was missing: once in so many costs next to
nothing, and one missing value does not slow down all that follow it."""

ONE, TWO, THREE, JOINT, PUBLISH, WINDOW = range(6)
"""Kinds of instruction: a function of so many operands; one of two whose result only the next one reads, so that both
may go in one loop (`joint_loops`); a factor's way to its output, given which bars are there, or what is left to do
where its function has written there; the sum of a window, given the ages."""

ADDRESS, INSIDE, BETWEEN = range(3)
"""Rows of the table of places."""


@intrinsic
def _pointer(typing_context, address, like):
    """Return the address as a pointer to what `like` is one of."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like)(address, like), generate


@compiled
def _floats(address, size):
    return numba.carray(_pointer(address, 0.0), (size,))


@compiled(_nrt=False)
def _publish(x, there, out):
    """Finite where there is a bar, else the one NaN."""
    for i in range(x.size):
        out[i] = x[i] if (x[i] - x[i] == 0.0) & (there[i] != 0) else np.nan


@compiled(_nrt=False)
def _blank(there, out):
    """NaN where there is no bar; almost always there are all."""
    absent = 0
    for i in range(there.size):
        absent += 0 if there[i] != 0 else 1
    if absent > 0:
        for i in range(out.size):
            out[i] = out[i] if there[i] != 0 else np.nan


@compiled
def _pieces(code, addresses, steps, size, counts):
    """Run elementwise instructions over a strip of `size` values whose places begin at `addresses`."""
    whole = True
    for begin in range(0, size, PIECE):
        whole |= begin % (RETRY * PIECE) == 0
        m = min(PIECE, size - begin)
        k = -1
        while k < code.shape[0] - 1:
            k += 1
            kind, function, a, b, c, r = code[k, 0], code[k, 1], code[k, 2], code[k, 3], code[k, 4], code[k, 5]
            x, out = _floats(addresses[a] + steps[a] * begin, m), _floats(addresses[r] + steps[r] * begin, m)
            if kind == JOINT and whole:
                # of the operands of the next one, one is r and the other d
                d, e = code[k + 1, 2] + code[k + 1, 3] - r, code[k + 1, 5]
                y, z = _floats(addresses[b] + steps[b] * begin, m), _floats(addresses[d] + steps[d] * begin, m)
                both = _floats(addresses[e] + steps[e] * begin, m)
                if two_at_once(function, c, x, y, z, both) == 0:
                    k += 1
                    continue
                whole = False  # what is missing here mostly is in the next pieces, too
            if kind == ONE:
                counts[k] += loops.one_piece(function, x, out, 0)
            elif kind == TWO or kind == JOINT:
                counts[k] += loops.two_piece(function, x, _floats(addresses[b] + steps[b] * begin, m), out, 0)
            elif kind == THREE:
                y, z = _floats(addresses[b] + steps[b] * begin, m), _floats(addresses[c] + steps[c] * begin, m)
                counts[k] += loops.three_piece(function, x, y, z, out, 0)
            else:
                there = numba.carray(_pointer(addresses[b] + steps[b] * begin, np.uint8(0)), (m,))
                if a == r:
                    _blank(there, out)
                else:
                    _publish(x, there, out)


@compiled
def _window(mode, window, x, age, out, back, rows, columns, first_bar, ahead):
    """Sums of the windows that end in a strip of `rows` rows, `first_bar` its first, of which `back` lie in front."""
    bars, min_valid, min_age = window
    shape, cells = (back + rows, columns), back * columns
    values = numba.carray(_pointer(x - FLOAT * cells, 0.0), shape)
    ages = numba.carray(_pointer(age - AGE * cells, np.int32(0)), shape)
    result = numba.carray(_pointer(out - FLOAT * cells, 0.0), shape)
    ahead -= FLOAT * cells
    return sums(values, ages, result, bars, min_valid, min_age, (first_bar - back) % bars, mode, back, ahead)


@compiled
def _carry(strip, cells, size):
    """Put the last `cells` values of a strip of `size` in front of it, for the windows of the next."""
    front, last = _floats(strip - FLOAT * cells, cells), _floats(strip + FLOAT * (size - cells), cells)
    for i in range(cells):
        front[i] = last[i]


@compiled
def run(code, places, windows, carried, moving, sources, addresses, height, rows, columns, seen, first_bar, counts):
    """Run a chain over rows of a tile; return how many results are undefined, by instruction in `counts`.

    Parameters
    ----------
    code
        int64 [n, 6]: kind, function, places of three operands, place of the result; of a `WINDOW` the second operand is
        a row of `windows` and the third the place of the ages, of a `JOINT` the third is what `joint_loops` calls the
        function of the next one, whose result lies at another place than the operands.
    places
        int64 [3, p]: the first byte, bytes per value inside a strip and from strip to strip. Whoever calls keeps the
        arrays alive and large enough.
    windows
        int64 [w, 3]: bars, valid values and age needed.
    carried
        int64 [c, 2]: strips whose last rows the next one looks back to, and how many.
    moving, addresses
        int64 [m, 2]: places that begin elsewhere for every tile, and at which of the addresses.
    sources
        int64 [s]: places whose next strip is fetched while windows are summed up, as memory would be idle then; each
        window fetches its share of them.
    height, rows, columns
        Rows of a strip and of the tile; columns, at most `rows.WIDTH` where there are windows.
    seen
        Rows before these that lie in front of all that windows look at.
    first_bar
        Absolute bar index of the first row.
    """
    if windows.shape[0] > 0 and columns > WIDTH:
        raise ValueError("too many columns for the scratch of a window")
    for i in range(moving.shape[0]):
        places[ADDRESS, moving[i, 0]] = addresses[moving[i, 1]]
    total = 0
    for top in range(0, rows, height):
        m = min(height, rows - top)
        begins = places[ADDRESS] + places[BETWEEN] * (top * columns)
        k = 0
        while k < code.shape[0]:
            end = k
            while end < code.shape[0] and code[end, 0] != WINDOW:
                end += 1
            if end > k:
                _pieces(code[k:end], begins, places[INSIDE], m * columns, counts[k:end])
            if end < code.shape[0]:
                function, x, w, age, r = code[end, 1], code[end, 2], code[end, 3], code[end, 4], code[end, 5]
                back = min(seen + top, windows[w, 0] - 1)
                window = (windows[w, 0], windows[w, 1], windows[w, 2])
                share = sources[w * sources.size // len(windows) : (w + 1) * sources.size // len(windows)]
                ahead = begins[share] + FLOAT * m * columns
                counts[end] += _window(
                    function, window, begins[x], begins[age], begins[r], back, m, columns, first_bar + top, ahead
                )
            k = end + 1
        for i in range(carried.shape[0]):
            _carry(begins[carried[i, 0]], carried[i, 1] * columns, m * columns)
    for k in range(counts.size):
        total += counts[k]
    return total
