"""The engine: a plan and a panel in, factor values out.

1. `spans` cuts the asked rows into blocks; each is computed from its look-back in front (`_RowBlock`).
2. Segment after segment (`blocks.segments`): symbol by symbol ones go through blocks of symbols (`_along_time`), the
   others take whole rows (`_across_symbols`).
3. A step's operands are fields, library values, what an earlier segment left (`_RowBlock.source`) or arrays of the
   block; `operators.apply` fills an array of the pool, which takes back every array after its last use (`Pool`).
4. A factor's values go to its output, missing wherever the symbol has no bar (`_publish`).

No value depends on the blocks: kernels cut windows at absolute bar indices, and no library function runs in here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel
from .blocks import Blocks, Segment, segments, spans
from .operators import Context, Operand, Operator, apply
from .plan import Plan

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Pool:
    """Arrays for reuse: a fresh one costs a page fault every 4 kB, more than most operators."""

    def __init__(self) -> None:
        self._free: list[Floats] = []

    def take(self, shape: tuple[int, int]) -> Floats:
        """Return a C-ordered array of `shape` with any content."""
        size = shape[0] * shape[1]
        for place, flat in enumerate(self._free):
            if flat.size >= size:
                del self._free[place]
                return flat[:size].reshape(shape)
        self._free.clear()  # all too small: the first block is the largest, so this is rare
        return np.empty(size).reshape(shape)

    def give(self, values: Floats) -> None:
        """Take back an array that `take` returned."""
        flat = values.base
        assert isinstance(flat, np.ndarray)
        self._free.append(flat)


@dataclass
class _RowBlock:
    """Rows begin..end-1 of the panel, of which those from `own` on are output; the rest is look-back.

    `full` holds what a segment left for later ones: step -> [rows, S], arrays of the pool `wide`.
    """

    plan: Plan
    panel: Panel
    library: Mapping[int, Floats]
    population: Bools
    begin: int
    end: int
    own: int
    gap_tolerance: float
    wide: Pool
    full: dict[int, Floats] = field(default_factory=dict)

    def source(self, number: int) -> Floats | None:
        """Return the rows of a field, a library value or an earlier segment's value; None: not there."""
        what = self.plan.steps[number].source
        if isinstance(what, str):
            return self.panel.fields[what][self.begin : self.end]
        if not isinstance(what, Operator):
            return self.library[number][self.begin : self.end]
        return self.full.get(number)

    def context(self, columns: slice, *, across: bool = False) -> Context:
        """Return what kernels need to know of these rows and columns; population and names only `across` symbols."""
        rows = slice(self.begin, self.end)
        return Context(
            # writable also where the panel is read-only: to numba those are two types, and it would compile anew
            age=np.require(self.panel.age[rows, columns], requirements=["C", "W"]),
            first_bar=self.panel.first_bar + self.begin,
            population=np.ascontiguousarray(self.population[rows, columns]) if across else None,
            gap_tolerance=self.gap_tolerance,
            own_row=self.own,
            symbols=self.panel.symbols if across else (),
        )


def evaluate(
    plan: Plan,
    panel: Panel,
    *,
    library: Mapping[int, Floats],
    out: Mapping[str, Floats],
    blocks: Blocks,
    gap_tolerance: float,
) -> NDArray[np.int64]:
    """Fill `out` and return how many values each step left undefined (x/0, log of 0, overflow).

    Parameters
    ----------
    plan, panel
        The panel holds the plan's fields and ``panel.warmup`` rows of look-back.
    library
        Step of every library call -> its values, float64 [T, S], finite or NaN.
    out
        Factor name -> float64 [T - warmup, S] to be filled: finite or NaN, NaN where the symbol has no bar.
    blocks
        Rows and symbols of a block.
    gap_tolerance
        Fraction of a window that may be missing.

    Returns
    -------
    int64 [number of steps]
        Undefined values at output rows, the same for every block size.
    """
    rows, symbols = panel.shape
    undefined = np.zeros(len(plan.steps), dtype=np.int64)
    if not symbols:
        return undefined
    parts = segments(plan)
    columnwise = _column_blocks(panel, blocks.symbols, undefined)
    narrow, wide = Pool(), Pool()
    population = panel.member & panel.tradable
    lookback = plan.expression_lookback
    size = blocks.rows if lookback is not None else max(1, rows)
    for begin, end in spans(panel.warmup, rows, size):
        start = 0 if lookback is None else max(0, begin - lookback)
        block = _RowBlock(plan, panel, library, population, start, end, begin - start, gap_tolerance, wide)
        _publish_plain(block, out)
        for segment in parts:
            if segment.number % 2:
                _across_symbols(block, segment, out, undefined)
            else:
                for columns, counts in columnwise:
                    _along_time(block, segment, columns, out, counts, narrow)
            for number in segment.last:
                if number in block.full:
                    wide.give(block.full.pop(number))
        for values in block.full.values():
            wide.give(values)
    return undefined


def _column_blocks(panel: Panel, size: int, undefined: NDArray[np.int64]) -> list[tuple[slice, NDArray[np.int64]]]:
    """Return blocks of columns, each with where to count its undefined values.

    Columns that are here only because a factor names them count nowhere: whether they are depends on the task.
    """
    ours: Bools = np.asarray(panel.member.any(axis=0))
    edges = [0, *(np.flatnonzero(np.diff(ours)) + 1).tolist(), len(ours)]
    nowhere = np.zeros_like(undefined)
    return [
        (slice(first, last), undefined if ours[first] else nowhere)
        for begin, end in pairwise(edges)
        for first, last in spans(begin, end, size)
    ]


def _along_time(
    block: _RowBlock,
    segment: Segment,
    columns: slice,
    out: Mapping[str, Floats],
    undefined: NDArray[np.int64],
    pool: Pool,
) -> None:
    """Compute a segment for some symbols."""
    context = block.context(columns)
    shape = (context.age.shape[0], context.age.shape[1])
    local: dict[int, Floats] = {}
    lent: set[int] = set()

    def load(number: int) -> Floats:
        if number not in local:
            values = block.source(number)
            assert values is not None, "a step is computed before its readers"
            part = values[:, columns]
            if part.flags.c_contiguous and part.flags.writeable:
                # as kernels want it already: a copy would cost as much as many an operator
                local[number] = part
                lent.add(number)
            else:
                local[number] = pool.take(shape)
                np.copyto(local[number], part)
        return local[number]

    for number, frees in zip(segment.steps, segment.frees, strict=True):
        values = pool.take(shape)
        inputs = {used: load(used) for used in _inputs(block, number)}
        undefined[number] += _compute(block, number, inputs, context, values)
        local[number] = values
        _publish(block, number, values, columns, out)
        if number in segment.exports:
            if number not in block.full:
                block.full[number] = block.wide.take((shape[0], block.panel.shape[1]))
            block.full[number][:, columns] = values
        for used in frees:
            values = local.pop(used)
            if used not in lent:
                pool.give(values)


def _across_symbols(
    block: _RowBlock, segment: Segment, out: Mapping[str, Floats], undefined: NDArray[np.int64]
) -> None:
    """Compute a segment for all symbols at once."""
    everyone = slice(None)
    context = block.context(everyone, across=True)
    shape = (context.age.shape[0], context.age.shape[1])
    for number, frees in zip(segment.steps, segment.frees, strict=True):
        inputs: dict[int, Floats] = {}
        for used in _inputs(block, number):
            values = block.source(used)
            assert values is not None, "a step is computed before its readers"
            inputs[used] = values
        block.full[number] = block.wide.take(shape)
        undefined[number] += _compute(block, number, inputs, context, block.full[number])
        _publish(block, number, block.full[number], everyone, out)
        for used in frees:
            if used in segment.steps and used not in segment.exports:
                block.wide.give(block.full.pop(used))


def _inputs(block: _RowBlock, number: int) -> tuple[int, ...]:
    return block.plan.steps[number].inputs


def _compute(block: _RowBlock, number: int, inputs: Mapping[int, Floats], context: Context, values: Floats) -> int:
    step = block.plan.steps[number]
    assert isinstance(step.source, Operator)
    operands: list[Operand] = [inputs[item] if isinstance(item, int) else item for item in step.operands]
    _, undefined = apply(step.source, operands, dict(step.literals), context, out=values)
    return undefined


def _publish(block: _RowBlock, number: int, values: Floats, columns: slice, out: Mapping[str, Floats]) -> None:
    """Copy a step's own rows to the factors that it is; NaN where there is no bar and for anything not finite."""
    if number not in block.plan.names:
        return
    from ..kernels.finish import publish  # compiled code: only where something is computed

    first = block.begin + block.own
    exists = np.require(block.panel.exists[first : block.end, columns], requirements=["C", "W"])
    own = np.require(values[block.own :], dtype=np.float64, requirements=["C", "W"])
    for name in block.plan.names[number]:
        publish(own, exists, out[name], first - block.panel.warmup, columns.start or 0)


def _publish_plain(block: _RowBlock, out: Mapping[str, Floats]) -> None:
    """Copy factors that are a field or a library value."""
    for number in block.plan.names:
        if not block.plan.steps[number].is_computed:
            values = block.source(number)
            assert values is not None
            _publish(block, number, values, slice(None), out)
