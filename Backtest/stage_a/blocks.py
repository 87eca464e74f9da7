"""How Stage A cuts symbols into tasks, by cores and memory. No byte of the result depends on it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from itertools import pairwise

from ..data.dsl.blocks import BASELINE, BLOCK_SYMBOLS
from ..data.root import KlineRoot
from ..errors import FactorError, SettingsError
from .tasks import Job

BYTES_PER_BAR = {".parquet": 8, ".gz": 12, ".csv": 40}
"""Least bytes of a bar in a file: six columns of text, or packed. Gives the most bars that a file can hold."""


def worker_count(setting: int, symbols: int) -> int:
    """Return the number of processes: the setting, or one per core this process may use, and at most one a symbol."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(setting or cores, symbols))


def cut_blocks(symbols: Sequence[str], *, workers: int, largest: int) -> list[tuple[str, ...]]:
    """Return near-equal blocks of at most `largest` symbols, a whole number for each worker where possible."""
    least = math.ceil(len(symbols) / largest)
    count = min(len(symbols), math.ceil(least / workers) * workers)
    edges = [round(place * len(symbols) / count) for place in range(count + 1)] if count else [0]
    return [tuple(symbols[begin:end]) for begin, end in pairwise(edges)]


def largest_block(job: Job, symbols: Sequence[str]) -> int:
    """Return how many symbols a task may have: side by side in a kernel, and inside the memory limit."""
    rows = max((most_bars(job.root, symbol) for symbol in symbols), default=1)
    if job.start_ns is not None and job.end_ns is not None and job.plan.lookback is not None:
        rows = min(rows, (job.end_ns - job.start_ns) // job.timeframe.ns + job.plan.lookback + 1)
    count = BLOCK_SYMBOLS
    while count > 1 and not _fits(job, rows, count):
        count //= 2
    return count


def most_bars(root: KlineRoot, symbol: str) -> int:
    """Return an upper bound of the bars of a symbol, from its file's size; 1 where the file cannot be asked."""
    try:
        path = root.path(symbol)
        size = path.stat().st_size
    except (FactorError, OSError):
        return 1  # loading the symbol will say what is wrong
    least = BYTES_PER_BAR.get(path.suffix.lower(), 8)
    return max(1, size // least * root.timeframe.seconds // root.wanted.seconds)


def _fits(job: Job, rows: int, symbols: int) -> bool:
    limit = job.core.memory_limit_gb * 1e9
    try:
        return job.plan.estimate_memory(rows, symbols, memory_limit=limit) <= limit + BASELINE
    except SettingsError:
        return False
