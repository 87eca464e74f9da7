"""How Stage A cuts symbols into tasks, by cores and memory. No byte of the result depends on it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from ..data.dsl.blocks import BASELINE
from ..data.dsl.plan import Plan
from ..data.file_size import FileSize, file_size
from ..data.root import KlineRoot
from ..errors import FactorError, SettingsError
from .tasks import Job

TASK_SYMBOLS = 8
"""Symbols of a task at most: what an interrupt loses. A task costs some milliseconds more than its symbols."""

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


def largest_block(job: Job, symbols: Sequence[str]) -> int:
    """Return how many symbols a task may have: few to lose, and inside the memory limit."""
    size = largest_file(job.root, symbols)
    if size is None:
        return TASK_SYMBOLS  # loading the symbols will say what is wrong
    rows = panel_rows(size, job.root, job.plan, start_ns=job.start_ns, end_ns=job.end_ns)
    count = TASK_SYMBOLS
    while count > 1 and not _fits(job, rows, count + len(job.plan.extra_symbols), size.reading):
        count //= 2
    return count


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
    limit = job.core.memory_limit_gb * 1e9
    try:
        needed = job.plan.estimate_memory(rows, symbols, memory_limit=limit, reading=reading)
    except SettingsError:
        return False
    return needed <= limit + BASELINE
