"""How the engine cuts a panel into blocks, and the memory that follows from it. Bits never depend on either.

The plan's steps fall into segments: even ones are computed symbol by symbol, so they go through blocks of symbols; odd
ones look at other symbols and take whole rows. With a finite look-back rows are cut as well, each block with its
look-back in front. Values that one segment leaves for a later one are held for all symbols; all others live inside a
block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import SettingsError
from .plan import Plan

FLOAT = 8
BLOCK_SYMBOLS, LEAST_SYMBOLS = 64, 16
"""Columns side by side in a kernel's inner loop, at most and at least: vector code is at full speed from 32 on, and
below 16 its gain is gone."""

BLOCK_ROWS = 1024
"""Rows of a block: 48 columns of them are 0.4 MB, so the few live arrays of a step stay in a core's L2 and L3 cache."""

BLOCK_VALUES = 1 << 17
"""Values of an array of a block; a long look-back takes its rows out of the number of symbols."""

LOOKBACK_SHARE = 8
"""A block is at least this many times its look-back: computing the look-back anew then costs 1/8 at most."""

LEAST_ROWS = 64
PANEL_CELL = 8
"""Bytes a row and symbol besides the fields: age 4, exists 1, tradable 1, member 1, population 1."""

BAR_CELL = 9
"""Bytes of a symbol's bar besides its fields, before it goes into the panel: index 8, tradable 1."""

BASELINE = 275_000_000
"""Resident bytes without data: Python, NumPy, PyArrow, Numba and the loaded kernels, measured in a worker."""


@dataclass(frozen=True)
class Blocks:
    """Rows (look-back not counted) and symbols of one block."""

    rows: int
    symbols: int


@dataclass(frozen=True)
class Segment:
    """Steps that are computed together.

    Attributes
    ----------
    number
        Odd: on whole rows.
    steps
        Numbers, in order.
    exports
        Those whose values a later segment reads.
    frees
        For each of `steps`, what this segment reads for the last time there (nothing that is exported).
    last
        Steps of earlier segments that no later segment reads: their full-width values can go afterwards.
    """

    number: int
    steps: tuple[int, ...]
    exports: frozenset[int]
    frees: tuple[tuple[int, ...], ...]
    last: tuple[int, ...]


def segments(plan: Plan) -> tuple[Segment, ...]:
    """Return the plan's segments in order."""
    groups: dict[int, list[int]] = {}
    for number in plan.order:
        groups.setdefault(plan.steps[number].segment, []).append(number)
    readers: dict[int, set[int]] = {}
    for number in plan.order:
        for used in plan.steps[number].inputs:
            readers.setdefault(used, set()).add(plan.steps[number].segment)
    return tuple(_segment(plan, group, tuple(steps), readers) for group, steps in sorted(groups.items()))


def _segment(plan: Plan, group: int, steps: tuple[int, ...], readers: dict[int, set[int]]) -> Segment:
    last_reader = {used: number for number in steps for used in plan.steps[number].inputs}
    for number in steps:
        last_reader.setdefault(number, number)  # read by a factor or a later segment only
    exports = frozenset(number for number in steps if max(readers.get(number, {0})) > group)
    done_with: dict[int, list[int]] = {number: [] for number in steps}
    for used, reader in last_reader.items():
        done_with[reader].append(used)
    frees = tuple(tuple(done_with[number]) for number in steps)
    last = tuple(used for used in last_reader if plan.steps[used].segment < group and max(readers[used]) == group)
    return Segment(group, steps, exports, frees, last)


def live_arrays(plan: Plan) -> tuple[int, int]:
    """Return how many arrays are alive at once: inside a block, and for all symbols."""
    in_block = whole = 0
    held: set[int] = set()
    for segment in segments(plan):
        local: set[int] = set()
        across = segment.number % 2 == 1
        for number, frees in zip(segment.steps, segment.frees, strict=True):
            local.update((*plan.steps[number].inputs, number))
            if across:
                own = {used for used in local if plan.steps[used].is_computed}
                whole = max(whole, len(held | own))
            else:
                in_block = max(in_block, len(local))
                whole = max(whole, len(held | segment.exports))
            local.difference_update(set(frees) - (segment.exports if across else set()))
        held |= segment.exports
        held.difference_update(segment.last)
    return in_block, whole


def choose_blocks(plan: Plan, rows: int, symbols: int, *, budget: float | None = None) -> Blocks:
    """Return the block size for a panel; with a `budget` in bytes for working arrays, one that keeps to it.

    Raises
    ------
    SettingsError
        Not even the smallest block fits.
    """
    lookback = plan.expression_lookback
    longest = rows if lookback is None else min(rows, max(BLOCK_ROWS, LOOKBACK_SHARE * lookback))
    wide = min(max(BLOCK_VALUES // max(1, longest), LEAST_SYMBOLS), BLOCK_SYMBOLS)
    blocks = Blocks(max(1, longest), min(wide, max(1, symbols)))
    while budget is not None and working_bytes(plan, blocks, rows, symbols) > budget:
        if lookback is not None and blocks.rows > LEAST_ROWS:
            blocks = Blocks(blocks.rows // 2, blocks.symbols)
        elif blocks.symbols > 1:
            blocks = Blocks(blocks.rows, blocks.symbols // 2)
        else:
            need = working_bytes(plan, blocks, rows, symbols) - budget
            raise SettingsError(
                f"the plan needs {need / 1e9:.1f} GB more than memory_limit_gb allows for {rows:,} bars of {symbols} "
                "symbols; raise it, or ask for fewer symbols or a shorter window"
            )
    return blocks


def working_bytes(plan: Plan, blocks: Blocks, rows: int, symbols: int) -> int:
    """Return the bytes of the engine's own arrays at their peak."""
    in_block, whole = live_arrays(plan)
    lookback = plan.expression_lookback
    deep = rows if lookback is None else min(rows, blocks.rows + lookback)
    return deep * FLOAT * ((in_block + 1) * min(blocks.symbols, symbols) + whole * symbols)


def held_bytes(plan: Plan, rows: int, symbols: int) -> int:
    """Return the bytes of what outlives every block: the panel's fields and flags, and the factors."""
    arrays = len(plan.fields) + len(plan.factors) + len(plan.library_calls) + len(plan.bars_calls)
    return rows * symbols * (FLOAT * arrays + PANEL_CELL)


def coarse_bytes(plan: Plan, rows: int, symbols: int, *, budget: float | None = None) -> int:
    """Return the bytes that computing on coarser bars takes at its peak: their panel, values and working arrays."""
    peak = 0
    for timeframe, part in plan.coarse_plans.items():
        ratio = next(call.ratio for call in plan.bars_calls.values() if call.timeframe == timeframe)
        bars = rows // ratio + 1
        blocks = choose_blocks(part, bars, symbols, budget=budget)
        peak = max(peak, held_bytes(part, bars, symbols) + working_bytes(part, blocks, bars, symbols))
    return peak


def writing_bytes(plan: Plan, rows: int) -> int:
    """Return the bytes that writing one symbol takes: its factors cut out, and encoded; its times twice."""
    return rows * (2 * FLOAT * (len(plan.factors) + 1) + 2)


def estimate_memory(plan: Plan, rows: int, symbols: int, *, memory_limit: float | None = None, reading: int = 0) -> int:
    """Return the peak memory in bytes of a process that reads klines, computes the plan and writes the factors.

    The stages follow each other, so the largest counts: parsing the last symbol's file (`reading` bytes) beside the
    bars of the others, filling the panel from the bars, computing, writing. It is the first run's: later ones find
    parsed klines in the cache and do not parse.
    """
    held = held_bytes(plan, rows, symbols)
    budget = None if memory_limit is None else memory_limit - held
    blocks = choose_blocks(plan, rows, symbols, budget=budget)
    bars = rows * (FLOAT * len(plan.fields) + BAR_CELL)
    filling = rows * symbols * (FLOAT * len(plan.fields) + PANEL_CELL) + bars * symbols
    working = max(
        working_bytes(plan, blocks, rows, symbols),
        coarse_bytes(plan, rows, symbols, budget=budget),
        writing_bytes(plan, rows),
    )
    return BASELINE + max(bars * (symbols - 1) + reading, filling, held + working)


def spans(begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield consecutive ranges of at most `size` that cover begin..end-1."""
    for start in range(begin, end, size):
        yield start, min(end, start + size)
