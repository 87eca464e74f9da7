"""How the engine cuts a panel into tiles, and the memory that follows from it. Bits never depend on either.

The plan's steps fall into segments: even ones are computed symbol by symbol, so they go through blocks of symbols; odd
ones look at other symbols and take whole rows. Rows go through in tiles, from the first to the last: a tile's arrays
stay in a core's cache, and what it leaves for the next one is the rows that steps look back to and the state of
recursive operators. Values that one segment leaves for a later one are held for all symbols; all others live inside a
block.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ...errors import SettingsError
from ..kernels.context import FLOAT as FLOAT  # whoever sizes tasks takes it from here
from .plan import Plan

BLOCK_SYMBOLS, LEAST_SYMBOLS = 64, 32
"""Columns side by side in a kernel's inner loop, at most and at least: vector code is at full speed from 32 on."""

BLOCK_VALUES = 1 << 16
"""Values of a tile: 0.5 MB an array, so that two stay in a core's L2 cache. With half as many, calls cost a tenth, and
two threads wait for the interpreter's lock twice as often (158 factors: 1.53 times one thread, not 1.65)."""

CHAIN_VALUES = 1 << 20
"""Values of a tile at most where all steps are one chain, which goes through in strips that stay in a core's L2 cache.
Threads still get a tile each."""

NARROW = 2
"""Blocks of symbols become narrow only where a long look-back makes a tile this many times larger: whole rows need no
copies between segments, which saves a fifth of the 101 alphas' time on 64 symbols."""

LOOKBACK_SHARE = 4
"""A tile has at least this many times the rows of the longest look-back of one step, which that step goes through
anew."""

SUMS = frozenset(("rolling:ts_sum", "rolling:ts_mean", "rolling:ts_count"))
SHORT = 32
"""Sums over windows of fewer bars than these go into chains: for each strip of some 170 rows they go through what they
look back to anew."""

LEAST_ROWS = 64
PANEL_CELL = 7
"""Bytes a row and symbol besides the fields: age 4, exists 1, tradable 1, member 1."""

BAR_CELL = 9
"""Bytes of a symbol's bar besides its fields, before it goes into the panel: index 8, tradable 1."""

BASELINE = 275_000_000
"""Resident bytes without data: Python, NumPy, PyArrow, Numba and the loaded kernels, measured in a worker."""


@dataclass(frozen=True)
class Blocks:
    """Rows of a tile (look-back not counted) and symbols of one block."""

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
    sources
        What the steps read and the segment does not compute.
    exports
        Those whose values a later segment reads.
    frees
        For each of `steps`, what this segment reads for the last time there (nothing that is exported).
    last
        Steps of earlier segments that no later segment reads: their full-width values can go afterwards.
    """

    number: int
    steps: tuple[int, ...]
    sources: tuple[int, ...]
    exports: frozenset[int]
    frees: tuple[tuple[int, ...], ...]
    last: tuple[int, ...]


def segments(plan: Plan) -> tuple[Segment, ...]:
    """Return the plan's segments in order."""
    return plan.once("segments", lambda: _segments(plan))


def _segments(plan: Plan) -> tuple[Segment, ...]:
    groups: dict[int, list[int]] = {}
    for number in plan.order:
        groups.setdefault(plan.steps[number].segment, []).append(number)
    readers: dict[int, set[int]] = {}
    for number in plan.order:
        for used in plan.steps[number].inputs:
            readers.setdefault(used, set()).add(plan.steps[number].segment)
    return tuple(_segment(plan, group, _late(plan, steps), readers) for group, steps in sorted(groups.items()))


def _late(plan: Plan, steps: Sequence[int]) -> tuple[int, ...]:
    """Return the steps in order, elementwise ones on fields alone not before they are read.

    Fields are there all the time, so that nothing is held longer, and more of what is read once stays inside a chain.
    """
    late: set[int] = set()
    done: dict[int, None] = {}
    for number in steps:
        inputs = plan.steps[number].inputs
        if (
            plan.steps[number].operator.chains
            and number not in plan.names
            and all(used in late or not plan.steps[used].is_computed for used in inputs)
        ):
            late.add(number)
            continue
        wanted = {used for used in inputs if used in late and used not in done}
        todo = list(wanted)
        while todo:
            more = {used for used in plan.steps[todo.pop()].inputs if used in late and used not in done} - wanted
            wanted |= more
            todo += more
        done.update(dict.fromkeys((*sorted(wanted), number)))
    done.update(dict.fromkeys(sorted(late.difference(done))))
    return tuple(done)


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
    own = frozenset(steps)
    sources = tuple(dict.fromkeys(used for number in steps for used in plan.steps[number].inputs if used not in own))
    return Segment(group, steps, sources, exports, frees, last)


def reaches(plan: Plan) -> Mapping[int, int]:
    """Return for each step how many rows back its readers look; recursive ones remember what they need."""
    return plan.once("reaches", lambda: _reaches(plan))


def _reaches(plan: Plan) -> Mapping[int, int]:
    found = dict.fromkeys(plan.needed, 0)
    for number in plan.order:
        own = plan.steps[number].own_lookback or 0
        for used in plan.steps[number].inputs:
            found[used] = max(found[used], own)
    return found


def runs(plan: Plan, segment: Segment) -> tuple[tuple[bool, tuple[int, ...]], ...]:
    """Return the segment's steps in order, those together that are one chain (True) or the others between (False)."""
    groups = groupby(segment.steps, lambda number: _chains(plan, number))
    return plan.once(("runs", segment.number), lambda: tuple((chained, tuple(numbers)) for chained, numbers in groups))


def is_chain(plan: Plan) -> bool:
    """True where all steps are one chain."""
    return [chained for segment in segments(plan) for chained, _ in runs(plan, segment)] == [True]


def _chains(plan: Plan, number: int) -> bool:
    operator = plan.steps[number].operator
    return operator.chains or (operator.kernel in SUMS and 0 < (plan.steps[number].own_lookback or 0) < SHORT)


def read_outside(plan: Plan, numbers: Collection[int]) -> frozenset[int]:
    """Return the steps of a chain that are read outside of it; the others need no array."""
    return frozenset(one for one in numbers if not plan.readers.get(one, frozenset()).issubset(numbers))


def places(plan: Plan, segment: Segment, held: Collection[int]) -> tuple[dict[int, int], int]:
    """Return the array of each step and source of a segment, and how many arrays there are.

    An array that was free last is taken first, as the cache still holds it. What is `held` for all symbols anyway has
    no place in a segment that looks across symbols, and what only a chain reads has none at all. A chain frees its
    operands at its end.
    """
    return plan.once(("places", segment.number, frozenset(held)), lambda: _places(plan, segment, held))


def _places(plan: Plan, segment: Segment, held: Collection[int]) -> tuple[dict[int, int], int]:
    skipped = frozenset(held) if segment.number % 2 else frozenset()
    frees = dict(zip(segment.steps, segment.frees, strict=True))
    found: dict[int, int] = {}
    free: list[int] = []
    count = 0
    for chained, numbers in runs(plan, segment):
        if chained:
            skipped = skipped.union(numbers).difference(plan.names, read_outside(plan, numbers))
        for part in [numbers] if chained else [(number,) for number in numbers]:
            for used in (one for number in part for one in (*plan.steps[number].inputs, number)):
                if used in found or used in skipped:
                    continue
                if not free:
                    free.append(count)
                    count += 1
                found[used] = free.pop()
            free += [found[used] for number in part for used in frees[number] if used in found]
    return found, count


def full_places(parts: Sequence[Segment]) -> tuple[dict[int, int], int]:
    """Return the array of each step held for all symbols, as a later segment reads it, and how many there are."""
    found: dict[int, int] = {}
    free: list[int] = []
    count = 0
    for segment in parts:
        for number in sorted(segment.exports):
            if not free:
                free.append(count)
                count += 1
            found[number] = free.pop()
        free += [found[number] for number in segment.last if number in found]
    return found, count


def live_arrays(plan: Plan) -> tuple[int, int]:
    """Return how many arrays are alive at once: inside a block, and for all symbols."""
    parts = segments(plan)
    held, whole = full_places(parts)
    counts = [(part.number % 2, places(plan, part, held)[1]) for part in parts]
    in_block, across = (max((count for odd, count in counts if odd == side), default=0) for side in (0, 1))
    return in_block, across + whole


def deepest(plan: Plan) -> int:
    """Return the longest look-back of one step; recursive ones remember what they need."""
    return plan.once("deepest", lambda: max((plan.steps[number].own_lookback or 0 for number in plan.order), default=0))


def choose_blocks(plan: Plan, rows: int, symbols: int, *, budget: float | None = None, threads: int = 1) -> Blocks:
    """Return the block size for a panel; with a `budget` in bytes for working arrays, one that keeps to it.

    Raises
    ------
    SettingsError
        Not even the smallest block fits.
    """
    columns = min(BLOCK_SYMBOLS, max(1, symbols))
    least = LOOKBACK_SHARE * deepest(plan)
    if least * columns > NARROW * BLOCK_VALUES:
        columns = min(LEAST_SYMBOLS, columns)
    usual = min(CHAIN_VALUES // columns, rows // threads) if is_chain(plan) else BLOCK_VALUES // columns
    longest = min(rows, max(usual, least))
    blocks = Blocks(max(1, longest), columns)
    while budget is not None and working_bytes(plan, blocks, rows, symbols, threads=threads) > budget:
        if blocks.rows > LEAST_ROWS:
            blocks = Blocks(blocks.rows // 2, blocks.symbols)
        elif blocks.symbols > 1:
            blocks = Blocks(blocks.rows, blocks.symbols // 2)
        else:
            need = working_bytes(plan, blocks, rows, symbols, threads=threads) - budget
            raise SettingsError(
                f"the plan needs {need / 1e9:.1f} GB more than memory_limit_gb allows for {rows:,} bars of {symbols} "
                "symbols; raise it, or ask for fewer symbols or a shorter window"
            )
    return blocks


def working_bytes(plan: Plan, blocks: Blocks, rows: int, symbols: int, *, threads: int = 1) -> int:
    """Return the bytes of the engine's own arrays at their peak."""
    in_block, whole = live_arrays(plan)
    deep = min(rows, blocks.rows) + min(rows, deepest(plan))
    arrays = threads * deep * ((in_block + 1) * min(blocks.symbols, symbols) + whole * symbols)
    kept = symbols * sum(min(rows, reach) for reach in reaches(plan).values())
    return FLOAT * (arrays + kept)


def held_bytes(plan: Plan, rows: int, symbols: int, *, output_rows: int | None = None) -> int:
    """Return the bytes of what outlives every block: the panel's fields and flags, and the factors' `output_rows`."""
    arrays = len(plan.fields) + len(plan.library_calls) + len(plan.bars_calls)
    own = rows if output_rows is None else output_rows
    return symbols * (rows * (FLOAT * arrays + PANEL_CELL) + own * FLOAT * len(plan.factors))


def coarse_bytes(plan: Plan, rows: int, symbols: int, *, budget: float | None = None) -> int:
    """Return the bytes that computing on coarser bars takes at its peak: their panel, values and working arrays."""
    peak = 0
    for timeframe, part in plan.coarse_plans.items():
        ratio = next(call.ratio for call in plan.bars_calls.values() if call.timeframe == timeframe)
        bars = rows // ratio + 1
        blocks = choose_blocks(part, bars, symbols, budget=budget)
        held = held_bytes(part, bars, symbols) + bars * symbols * FLOAT  # and where each listing began
        peak = max(peak, held + working_bytes(part, blocks, bars, symbols))
    return peak


def writing_bytes(plan: Plan, rows: int) -> int:
    """Return the bytes that writing one symbol takes: its factors cut out, and encoded; its times twice."""
    return rows * (2 * FLOAT * (len(plan.factors) + 1) + 2)


def estimate_memory(
    plan: Plan,
    rows: int,
    symbols: int,
    *,
    memory_limit: float | None = None,
    reading: int = 0,
    output_rows: int | None = None,
) -> int:
    """Return the peak memory in bytes of a process that reads klines, computes the plan and writes the factors.

    The stages follow each other, so the largest counts: parsing the last symbol's file (`reading` bytes) beside the
    bars of the others, filling the panel from the bars, computing, writing. It is the first run's: later ones find
    parsed klines in the cache and do not parse. Of `rows`, look-back included, `output_rows` are output; None: all.
    """
    held = held_bytes(plan, rows, symbols, output_rows=output_rows)
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
