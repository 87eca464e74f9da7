"""The engine: a plan and a panel in, factor values out.

1. `Stream` makes ready what does not change from tile to tile: the plan's segments (`segments.segments`) as programs,
   one for each block of symbols (`program.Program`), and the arrays that they work in.
2. `Stream.feed` takes the panel's rows in tiles, from the first to the last (`_tiles`). Rows before the asked window
   are computed like all others, but go nowhere.
3. Segment after segment, `Program.run` computes a tile and copies factors to their output (`tile.publish`).
4. A panel that does not fit into memory is fed in parts: each brings `Stream.overlap` rows of the part before.

No value depends on the tiles: kernels cut windows at absolute bar indices, recursive ones carry their state from tile
to tile, and no library function runs in here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.context import Floats
from ..kernels.rows import WIDTH
from ..panel import Bools, Panel
from .blocks import LOOKBACK_SHARE, Blocks, spans
from .plan import Plan
from .program import Program, Setup
from .segments import deepest, full_places, segments
from .tile import Arrays, Tile, given, lendable, publish

Undefined = NDArray[np.int64]


def evaluate(
    plan: Plan,
    panel: Panel,
    *,
    library: Mapping[int, Floats],
    out: Mapping[str, Floats],
    blocks: Blocks,
    gap_tolerance: float,
    threads: int = 1,
) -> Undefined:
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
        Rows of a tile and symbols of a block.
    gap_tolerance
        Fraction of a window that may be missing.
    threads
        Parts of time, or blocks of symbols, computed side by side (`cut_time`).

    Returns
    -------
    int64 [number of steps]
        Undefined values at output rows, the same for every block size.
    """
    fitting = Blocks(max(1, min(blocks.rows, len(panel.age))), blocks.symbols)
    columns = counted(panel)
    cuts = cut_time(plan, panel.warmup, len(panel.age), rows=fitting.rows, threads=threads)

    def part(begin: int, end: int) -> Undefined:
        first = 0 if plan.expression_lookback is None else max(0, begin - plan.expression_lookback)
        stream = Stream(
            plan, columns, blocks=fitting, gap_tolerance=gap_tolerance, threads=threads if len(cuts) == 1 else 1
        )
        return stream.feed(
            panel.rows(first, end, warmup=begin - first),
            library={number: values[first:end] for number, values in library.items()},
            out={name: values[begin - panel.warmup : end - panel.warmup] for name, values in out.items()},
        )

    if len(cuts) == 1:
        return part(*cuts[0])
    with ThreadPoolExecutor(len(cuts)) as pool:
        return np.asarray(sum(pool.map(part, *zip(*cuts, strict=True))))


def cut_time(plan: Plan, begin: int, end: int, *, rows: int, threads: int) -> list[tuple[int, int]]:
    """Return ranges of rows to compute side by side, each from its own look-back on: one where that costs too much.

    With the look-back, all are as long. All symbols then lie side by side in each thread, and what looks across symbols
    is shared out as well. Recursive operators go through time once: there, threads share out the symbols.
    """
    lookback = plan.expression_lookback
    if lookback is None or (end - begin) // threads < max(rows, LOOKBACK_SHARE * lookback):
        return [(begin, end)]
    front = min(lookback, begin)
    total = end - begin + front + lookback * (threads - 1)
    edges = [begin + total * k // threads - front - lookback * (k - 1) for k in range(1, threads)]
    return list(pairwise([begin, *edges, end]))


def counted(panel: Panel) -> Bools:
    """Return the columns [S] whose undefined values count.

    Not those that are here only because a factor names them: whether they are depends on the task.
    """
    latest = panel.member[-1:]
    return np.asarray((latest if latest.all() else panel.member).any(axis=0))


class Stream:
    """A plan that is computed from the first bar on, over rows that come in any number of parts.

    Attributes
    ----------
    overlap
        Rows of the part before that the next one must bring, or all there were: the longest look-back of one step.
    """

    def __init__(self, plan: Plan, columns: Bools, *, blocks: Blocks, gap_tolerance: float, threads: int = 1) -> None:
        """Make the arrays; `columns` are the panel's symbols, False for those that count nowhere (`counted`)."""
        self.plan, self.symbols, self._rows, self._counted = plan, len(columns), blocks.rows, columns
        self.overlap = deepest(plan)
        self._seen = self._part = 0
        self._threads = max(1, min(threads, self.symbols))
        self._programs = self._make(blocks, gap_tolerance)

    def _make(self, blocks: Blocks, gap_tolerance: float) -> tuple[tuple[tuple[Program, ...], ...], ...]:
        """Return for each segment and thread the programs."""
        depth = self.overlap
        size = (depth + blocks.rows) * self.symbols
        parts = segments(self.plan)
        where, _ = full_places(parts)
        wide, local = Arrays(size), Arrays(size)
        full = {n: wide.take(place, (depth + blocks.rows, self.symbols)) for n, place in where.items()}
        setup = Setup(self.plan, self.symbols, depth, blocks.rows, gap_tolerance, full)
        # Chains call their kernels themselves, which takes no more columns than these have scratch for.
        width = min(blocks.symbols, WIDTH, -(-self.symbols // self._threads)) if self.symbols else 1
        edges = [0, *(np.flatnonzero(np.diff(self._counted)) + 1).tolist(), self.symbols]
        columns = [slice(first, last) for begin, end in pairwise(edges) for first, last in spans(begin, end, width)]
        narrow = [Arrays((depth + blocks.rows) * width) for _ in range(self._threads)]
        return tuple(
            ((Program(setup, segment, slice(0, self.symbols), local),),)
            if segment.number % 2
            else tuple(
                tuple(Program(setup, segment, one, arrays) for one in columns[k :: self._threads])
                for k, arrays in enumerate(narrow)
            )
            for segment in parts
        )

    def feed(
        self, panel: Panel, *, library: Mapping[int, Floats], out: Mapping[str, Floats], begin: int = 0
    ) -> Undefined:
        """Compute the rows from `begin` on; see `evaluate`.

        Parameters
        ----------
        begin
            Rows in front that were part of the panel before: at least `overlap`, or all there have been. They are
            `warmup` of this panel.
        """
        assert begin >= min(self.overlap, self._seen), "too few rows of the part before"
        self._check(panel, library, out)
        undefined = np.zeros(len(self.plan.steps), dtype=np.int64)
        if not self.symbols:
            return undefined
        lent, is_flat = lendable(self.plan, panel, library), all(values.flags.c_contiguous for values in out.values())
        self._part += 1
        tiles = [
            Tile(panel, first, last, self._seen + first - begin, library, out, lent, is_flat, self._part)
            for first, last in _tiles(begin, panel.warmup, len(panel.age), self._rows)
        ]
        self._seen += len(panel.age) - begin
        for tile in tiles:
            self._publish_plain(tile)
        with ThreadPoolExecutor(self._threads) if self._threads > 1 else nullcontext() as pool:
            # Without cross-sections no tile waits for another block of symbols.
            for part in [tiles] if len(self._programs) == 1 else [[tile] for tile in tiles]:
                for programs in self._programs:
                    if pool is None or len(programs) == 1:
                        counts: Iterator[Undefined] = map(self._run, programs, [part] * len(programs))
                    else:
                        counts = pool.map(self._run, programs, [part] * len(programs))
                    for count in counts:
                        undefined += count
        return undefined

    def _check(self, panel: Panel, library: Mapping[int, Floats], out: Mapping[str, Floats]) -> None:
        """Refuse arrays of another size than they must have: chains are given their addresses alone."""
        rows = panel.shape[0]
        arrays: list[tuple[NDArray[Any], type, int]] = [(panel.age, np.int32, rows), (panel.exists, np.bool_, rows)]
        arrays += [(values, np.float64, rows) for values in (*panel.fields.values(), *library.values())]
        arrays += [(values, np.float64, rows - panel.warmup) for values in out.values()]
        for values, kind, length in arrays:
            if values.dtype != kind or values.shape != (length, self.symbols):
                wanted = f"{kind.__name__} {(length, self.symbols)} is wanted"
                raise ValueError(f"an array is {values.dtype} {values.shape}; {wanted}")

    def _run(self, programs: Sequence[Program], tiles: Sequence[Tile]) -> Undefined:
        undefined, nobody = (np.zeros(len(self.plan.steps), dtype=np.int64) for _ in range(2))
        for program in programs:
            for tile in tiles:
                program.run(tile, undefined if tile.is_output and self._counts(program) else nobody)
        return undefined

    def _counts(self, program: Program) -> bool:
        """True but for columns that are here only because a factor names them."""
        return program.across or bool(self._counted[program.columns.start])

    def _publish_plain(self, tile: Tile) -> None:
        """Copy factors that are a field or a library value."""
        if not tile.is_output:
            return
        for number, names in self.plan.names.items():
            if not self.plan.steps[number].is_computed:
                whole = given(self.plan, tile.panel, tile.library, number)
                rows = slice(tile.begin, tile.end)
                values = np.require(whole[rows], dtype=np.float64, requirements=["C", "W"])
                publish(values, names, tile, 0, np.require(tile.panel.exists[rows], requirements=["C", "W"]))


def _tiles(begin: int, own: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield tiles that cover begin..end-1; none has rows on both sides of `own`, the first that is output."""
    yield from spans(begin, min(own, end), size)
    yield from spans(max(own, begin), end, size)
