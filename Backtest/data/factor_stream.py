"""A plan computed chunk of time after chunk: nothing is computed twice, and no chunk shows in a value or a count.

1. A chunk is a panel of its own rows with the last rows of the chunk before in front (`segments.overlap_rows`).
2. `FactorStream.feed` first computes what comes from coarser bars: those that close in the chunk (`_CoarseStream`).
3. `engine.Stream` computes the chunk's rows; what recursive operators remember stays there.

Library functions may give other bits where they see other rows: a plan with any is computed in one piece
(`factors.compute`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .coarse import coarsen, join
from .dsl.blocks import choose_blocks, held_bytes
from .dsl.engine import Stream, Undefined
from .dsl.plan import Plan
from .dsl.segments import overlap_rows
from .factors import FactorValues, check_panel, empty_values, made_missing
from .panel import Bools, Floats, Panel
from .timeframe import Timeframe


class FactorStream:
    """What a plan without library functions remembers from chunk to chunk."""

    def __init__(
        self,
        plan: Plan,
        columns: Bools,
        *,
        rows: int,
        gap_tolerance: float,
        memory_limit: float | None = None,
        threads: int = 1,
    ) -> None:
        """Make the arrays.

        Parameters
        ----------
        plan
            From `compile_recipe`.
        columns
            The panels' symbols, False for those that count nowhere (`engine.counted`).
        rows
            Of a chunk at most.
        gap_tolerance
            Fraction of a window that may be missing.
        memory_limit
            Bytes for a chunk's panel, its result and the working arrays; None: no limit.
        threads
            Blocks of symbols computed side by side.

        Raises
        ------
        SettingsError
            The memory limit is too small.
        """
        deep, symbols = rows + overlap_rows(plan), len(columns)
        held = held_bytes(plan, deep, symbols, output_rows=rows)
        budget = None if memory_limit is None else memory_limit - held
        blocks = choose_blocks(plan, rows, symbols, budget=budget, threads=threads)
        self._plan = plan
        self._stream = Stream(plan, columns, blocks=blocks, gap_tolerance=gap_tolerance, threads=threads)
        self._coarse = {
            timeframe: _CoarseStream(part, columns, rows=rows, gap_tolerance=gap_tolerance, budget=budget)
            for timeframe, part in plan.coarse_plans.items()
        }
        self._joined: dict[int, Floats] = {}

    def feed(self, panel: Panel, *, begin: int) -> FactorValues:
        """Compute the rows from `begin` on; those before are the overlap.

        `panel.warmup` is `begin`, or the number of rows where the chunk is look-back only; then the values have no row.
        """
        plan, rows = self._plan, panel.shape[0]
        assert panel.warmup in (begin, rows)
        check_panel(plan, panel)
        library: dict[int, Floats] = {}
        undefined: dict[Timeframe, Undefined] = {}
        for timeframe, part in self._coarse.items():
            values, undefined[timeframe] = part.feed(panel, timeframe, begin)
            library.update(values)
        self._join_overlap(library, begin)
        out = empty_values(plan, rows - panel.warmup, panel.shape[1])
        found = self._stream.feed(panel, library=library, out=out, begin=begin)
        if panel.warmup > begin:
            return FactorValues(tuple(out), out, {})
        counts = {factor.name: made_missing(plan, factor, found, {}, undefined) for factor in plan.factors}
        return FactorValues(tuple(out), out, {name: count for name, count in counts.items() if count})

    def _join_overlap(self, library: dict[int, Floats], begin: int) -> None:
        """Put the last chunk's values in front of this one's, and keep this one's for the next."""
        for number, values in library.items():
            before = self._joined.get(number)
            if before is not None:
                count = min(len(before), begin)
                values[begin - count : begin] = before[len(before) - count :]
            self._joined[number] = values[max(0, len(values) - self._stream.overlap) :].copy()


class _CoarseStream:
    """The part of a plan on the bars of one coarser timeframe."""

    def __init__(self, plan: Plan, columns: Bools, *, rows: int, gap_tolerance: float, budget: float | None) -> None:
        blocks = choose_blocks(plan, rows, len(columns), budget=budget)
        self._plan = plan
        self._stream = Stream(plan, columns, blocks=blocks, gap_tolerance=gap_tolerance)
        self._fed = 0
        self._last: dict[int, Floats] = {}

    def feed(self, panel: Panel, timeframe: Timeframe, begin: int) -> tuple[dict[int, Floats], Undefined]:
        """Return step -> values on the rows of `panel`, right from `begin` on, and what was undefined."""
        fields = {name: panel.fields[name] for name in self._plan.fields}
        bars = coarsen(replace(panel, fields=fields), timeframe)
        count, old = len(bars.closes), int(np.searchsorted(bars.closes, begin))
        overlap = min(self._stream.overlap, self._fed)
        out = {factor.name: np.full(bars.panel.shape, np.nan) for factor in self._plan.factors}
        found = self._stream.feed(
            bars.panel.rows(old - overlap, count, warmup=overlap),
            library={},
            out={name: values[old:] for name, values in out.items()},
            begin=overlap,
        )
        self._fed += count - old
        joined: dict[int, Floats] = {}
        for name, values in out.items():
            number = int(name)
            if old and number in self._last:
                values[old - 1] = self._last[number]
            if count:
                self._last[number] = values[-1].copy()
            joined[number] = join(values, bars, panel)
        return joined, found
