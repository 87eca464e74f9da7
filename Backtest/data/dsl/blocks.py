"""How the engine cuts a panel into tiles, and the memory that follows from it. Bits never depend on either.

Rows go through in tiles, from the first to the last: a tile's arrays stay in a core's cache, and what it leaves for the
next one is the rows that steps look back to and the state of recursive operators. Steps that look at one symbol only
(`segments`) go through a tile in blocks of symbols.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import SettingsError
from ..kernels.context import FLOAT
from .plan import Plan
from .segments import deepest, is_chain, live_arrays, reaches

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
