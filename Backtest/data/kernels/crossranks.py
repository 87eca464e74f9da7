"""Cross-sections by rank: each row is sorted as whole numbers that carry the symbol along.

A float64's bits, turned round where negative, sort as the values do. Their lowest bits make room for the column, so
that NumPy's vectorised sort of int64 moves both at once: 2 ns a value at 50 symbols, a fifth of sorting positions. What
the lost bits leave in disorder lies side by side and is put right with the values themselves. Keys live in the output.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand
from .finish import blank_infinite
from .ordered import quantile
from .population import pieces, population_of

RANK, WINSORIZE, TOP_BOTTOM = range(3)
ABSENT, NEGATIVE_ZERO = np.iinfo(np.int64).max, np.iinfo(np.int64).min
"""Key of a symbol that takes no part, larger than that of any number; the bits of -0.0, which sorts as 0.0."""


@compiled
def _encode(x, population, keys, low):
    """Fill in the keys; `low` are the bits that hold the column."""
    for t in range(x.shape[0]):
        v, bits, there, r = x[t], x[t].view(np.int64), population[t], keys[t]
        for s in range(v.size):
            i = bits[s] if bits[s] != NEGATIVE_ZERO else 0
            key = i ^ ((i >> 63) & ABSENT)
            r[s] = (key & ~low) | s if there[s] & (v[s] == v[s]) else ABSENT


@compiled
def _members(v, keys, low, member, held):
    """Fill in the columns and values of a row in order, equal values in the order of their columns."""
    for i in range(keys.size):
        s = keys[i] & low
        value = v[s] + 0.0
        at = i
        while at > 0 and held[at - 1] > value:
            held[at], member[at] = held[at - 1], member[at - 1]
            at -= 1
        held[at], member[at] = value, s


@compiled
def _place(r, member, held, n, mode, k):
    """Write average ranks, or 1 for the k largest and -1 for the k smallest; the earlier column counts as larger."""
    first = 0
    while first < n:
        last = first + 1
        while last < n and held[last] == held[first]:
            last += 1
        rank = (first + 1 + last) / 2.0 / n
        for i in range(first, last):
            if mode == TOP_BOTTOM:
                from_top = n - last + (i - first)
                rank = 1.0 if from_top < k else (-1.0 if from_top >= n - k else 0.0)
            r[member[i]] = rank
        first = last


@compiled
def _count(keys, low):
    """Return how many members a sorted row has, and whether some of them agree but for the bits of the column."""
    n, alike = 0, 0
    below, above = keys[:-1], keys[1:]
    for i in range(above.size):
        n += 1 if above[i] != ABSENT else 0
        alike += 1 if (below[i] | low == above[i] | low) & (above[i] != ABSENT) else 0
    return n + (1 if keys[0] != ABSENT else 0), alike > 0


@compiled
def _decode(x, keys, out, low, mode, parameter):
    """Replace sorted keys by ranks, clipped values or end marks, row by row; `keys` is the memory of `out`."""
    columns = x.shape[1]
    order, member, held = np.empty(columns, np.int64), np.empty(columns, np.int64), np.empty(columns)
    ranks, ranked = np.empty(columns), 0
    for t in range(x.shape[0]):
        v, r = x[t], out[t]
        order[:] = keys[t]
        n, alike = _count(order, low)
        if n < columns:
            r[:] = np.nan
        if mode == RANK and not alike:
            if n != ranked:
                ranked = n
                for i in range(n):
                    ranks[i] = (i + 1.0) / n
            for i in range(n):
                r[order[i] & low] = ranks[i]
            continue
        _members(v, order[:n], low, member, held)
        if mode == WINSORIZE and n > 0:
            least, most = quantile(held, n, parameter), quantile(held, n, 1.0 - parameter)
            for i in range(n):
                value = v[member[i]]
                r[member[i]] = least if value < least else (most if value > most else value)
        elif mode != WINSORIZE:
            _place(r, member, held, n, mode, min(int(parameter), n // 2))


def _by_order(mode: int, parameter: float, operands: Sequence[Operand], context: Context, out: Floats) -> int:
    x, population = operands[0], population_of(context)
    assert isinstance(x, np.ndarray)
    keys, columns = out.view(np.int64), out.shape[1]
    low = (1 << max(columns - 1, 1).bit_length()) - 1
    for rows in pieces(out):
        _encode(x[rows], population[rows], keys[rows], low)
        keys[rows].sort(axis=1)
        _decode(x[rows], keys[rows], out[rows], low, mode, parameter)
    # a quantile between neighbours further apart than the largest number is infinite; ranks and marks are not
    return blank_infinite(out, context) if mode == WINSORIZE else 0


def cs_rank(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Average rank over n."""
    return _by_order(RANK, 0.0, operands, context, out)


def cs_winsorize(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Clip to the population's quantiles q and 1 - q."""
    return _by_order(WINSORIZE, float(literals["q"]), operands, context, out)


def cs_top_bottom(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mark the k largest with 1 and the k smallest with -1."""
    return _by_order(TOP_BOTTOM, float(literals["k"]), operands, context, out)
