"""How Stage A cuts symbols into tasks, by cores and memory. No byte of the result depends on it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from ..data.dsl.blocks import (
    BAR_CELL,
    BASELINE,
    LEAST_ROWS,
    Blocks,
    estimate_memory,
    held_bytes,
    working_bytes,
)
from ..data.dsl.plan import Plan
from ..data.dsl.segments import overlap_rows
from ..data.file_size import FileSize, file_size
from ..data.hub_writer import ROW_GROUP
from ..data.kernels.context import FLOAT
from ..data.root import KlineRoot
from ..errors import FactorError, SettingsError
from .spill import BARS_SHARE
from .tasks import Job

TASK_SYMBOLS, WIDE_TASK, LOST_SHARE = 8, 32, 12
"""Symbols of a task, which are what an interrupt loses: 8, or a twelfth of a large run where that is more, and 32 at
most. Side by side 32 symbols take three quarters of the time that they take 8 at a time (158 factors)."""

LEAST_CHUNK = 1024
"""Rows of a chunk of time at least: the engine's blocks have as many."""

LEAST_TASKS = 4
"""Tasks of a run with as many symbols, so that an interrupted small run keeps something too."""


def worker_count(setting: int, symbols: int) -> int:
    """Return the number of processes: the setting, or one per core this process may use, and at most one a symbol."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(setting or cores, symbols))


def cut_blocks(symbols: Sequence[str], *, workers: int, largest: int) -> list[tuple[str, ...]]:
    """Return near-equal blocks of at most `largest` symbols, a whole number for each worker where possible."""
    least = max(math.ceil(len(symbols) / largest), LEAST_TASKS)
    count = min(len(symbols), math.ceil(least / workers) * workers)
    edges = [round(place * len(symbols) / count) for place in range(count + 1)] if count else [0]
    return [tuple(symbols[begin:end]) for begin, end in pairwise(edges)]


def cut_tasks(symbols: Sequence[str], *, plan: Plan, workers: int, largest: int) -> list[tuple[str, ...]]:
    """Return `cut_blocks`, symbols that the plan names by themselves.

    These stay alive after their last bar where others read them, and what is undefined there would be counted as far as
    others in their task reach.
    """
    named = [symbol for symbol in symbols if symbol in plan.extra_symbols]
    others = [symbol for symbol in symbols if symbol not in plan.extra_symbols]
    return [*cut_blocks(others, workers=workers, largest=largest), *((symbol,) for symbol in named)]


def largest_block(job: Job, symbols: Sequence[str]) -> int:
    """Return how many symbols a task may have: few to lose, and inside the memory limit."""
    size = largest_file(job.root, symbols)
    count = min(WIDE_TASK, max(TASK_SYMBOLS, len(symbols) // LOST_SHARE))
    if size is None:
        return count  # loading the symbols will say what is wrong
    rows = panel_rows(size, job.root, job.plan, start_ns=job.start_ns, end_ns=job.end_ns)
    while count > 1 and not _fits(job, rows, count + len(job.plan.extra_symbols), size.reading):
        count //= 2
    return count


def chunk_rows(job: Job, rows: int, symbols: int) -> int:
    """Return how many rows are computed at a time, of `rows` in all: whole row groups of the files, inside the limit.

    A chunk's panel repeats the last rows of the one before (`overlap_rows`), so where memory allows it is not shorter.
    Library functions go in one piece: which bits they give may depend on the rows they see.
    """
    plan, limit = job.plan, job.core.memory_limit_gb * 1e9
    if plan.library_calls:
        return rows
    size = ROW_GROUP * max(1, math.ceil(overlap_rows(plan) / ROW_GROUP))
    while size > LEAST_CHUNK and _working_bytes(job, rows, size, symbols) > limit:
        size = max(LEAST_CHUNK, size // 2)
    return min(size, rows)


def spill_budget(job: Job) -> float | None:
    """Return the bytes of bars that a task keeps in memory while it computes chunks; None: all."""
    return None if job.plan.library_calls else job.core.memory_limit_gb * 1e9 / BARS_SHARE


def chunks(begin: int, end: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield consecutive ranges that cover begin..end-1 and end at multiples of `size`, where files end row groups."""
    while begin < end:
        after = end if size >= end - begin else min(end, (begin // size + 1) * size)
        yield begin, after
        begin = after


def chunk_held_bytes(job: Job, rows: int, size: int, symbols: int) -> int:
    """Return the bytes that a task holds while it computes a chunk, besides the chunk's own panel and values."""
    return 0 if size >= rows else _bars_bytes(job, rows, symbols) + _waiting_bytes(job.plan, size, symbols)


def _bars_bytes(job: Job, rows: int, symbols: int) -> int:
    """Return the bytes of the symbols' bars: `spill` puts the fields into files when they are too many."""
    fields = rows * symbols * FLOAT * len(job.plan.fields)
    budget = spill_budget(job)
    return rows * symbols * BAR_CELL + int(fields if budget is None else min(fields, budget))


def _waiting_bytes(plan: Plan, size: int, symbols: int) -> int:
    """Return the bytes of the chunk that is being written, and of what waits for the end of its row group."""
    unfinished = 0 if size % ROW_GROUP == 0 else ROW_GROUP
    return (size + unfinished) * symbols * FLOAT * len(plan.factors)


def _working_bytes(job: Job, rows: int, size: int, symbols: int) -> int:
    """Return the bytes of a task that computes `size` rows at a time."""
    plan = job.plan
    deep = size + overlap_rows(plan)
    least = working_bytes(plan, Blocks(LEAST_ROWS, 1), deep, symbols)
    held = _bars_bytes(job, rows, symbols) + _waiting_bytes(plan, size, symbols)
    return held + held_bytes(plan, deep, symbols, output_rows=size) + least


def largest_file(root: KlineRoot, symbols: Iterable[str]) -> FileSize | None:
    """Return the size of the file with most bars: of the largest of each kind, as kinds are packed differently."""
    largest: dict[str, tuple[int, Path]] = {}
    for symbol in symbols:
        try:
            path = root.path(symbol)
            size = path.stat().st_size
        except (FactorError, OSError):
            continue
        kind = path.suffix.lower()
        largest[kind] = max(largest.get(kind, (0, path)), (size, path))
    sizes = [found for _, path in largest.values() if (found := file_size(path))]
    return max(sizes, key=lambda size: (size.bars, size.reading), default=None)


def panel_rows(size: FileSize, root: KlineRoot, plan: Plan, *, start_ns: int | None, end_ns: int | None) -> int:
    """Return the rows of the panel, look-back included, that a file of this size fills inside the window."""
    clock = root.wanted
    rows = max(1, size.bars * root.timeframe.seconds // clock.seconds)
    first = None if size.first_ns is None else clock.first_at_or_after(size.first_ns)
    begin = None if start_ns is None else clock.first_at_or_after(start_ns)
    end = None if end_ns is None else clock.first_at_or_after(end_ns)
    if first is None and begin is not None and end is not None and plan.lookback is not None:
        return max(1, min(rows, end - begin + plan.lookback))
    if first is None:
        return rows
    top = first if begin is None or plan.lookback is None else max(first, begin - plan.lookback)
    return max(1, (first + rows if end is None else min(first + rows, end)) - top)


def _fits(job: Job, rows: int, symbols: int, reading: int) -> bool:
    try:
        needed = task_memory(job, rows, symbols, reading)
    except SettingsError:
        return False
    return needed <= job.core.memory_limit_gb * 1e9 + BASELINE


def task_memory(job: Job, rows: int, symbols: int, reading: int) -> int:
    """Return the peak memory in bytes of a process whose task is `rows` (look-back included) x `symbols`.

    `reading` bytes are for parsing one file: the peak is a first run's, later ones find parsed klines in the cache.
    """
    plan, limit = job.plan, job.core.memory_limit_gb * 1e9
    size = chunk_rows(job, rows, symbols)
    if size >= rows:
        return estimate_memory(plan, rows, symbols, memory_limit=limit, reading=reading)
    bars = _bars_bytes(job, rows, symbols)
    beside = bars + _waiting_bytes(plan, size, symbols)
    deep = min(rows, size + overlap_rows(plan))
    computing = estimate_memory(plan, deep, symbols, memory_limit=limit - beside, output_rows=size)
    return max(BASELINE + bars + reading, beside + computing)
