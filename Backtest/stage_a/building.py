"""A task's bars in, its files out: chunk of time after chunk is computed, and written beside that.

1. `build_chunks` finds where look-back begins, and cuts time from there to the end of the window.
2. `_streamed`: each chunk takes up where the one before stopped (`factor_stream`); what lies before the window is
   computed and goes nowhere. `_at_once`: one piece, where it fits into memory or has library functions.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from ..data.clock import build_panel, first_row
from ..data.dsl.engine import counted
from ..data.dsl.plan import Plan
from ..data.dsl.segments import overlap_rows
from ..data.factor_stream import FactorStream
from ..data.factors import FactorValues, compute
from ..data.fields import klines_of
from ..data.hub_journal import Block
from ..data.panel import Panel
from ..data.reach import Reach
from ..data.timeframe import parse_duration
from .blocks import chunk_held_bytes, chunk_rows, chunks, worker_count
from .output import Facts, Output
from .pool import Note
from .spill import BarStore
from .tasks import BuildTask, Job, Report

LEAST_SILENCE = 2.0
"""Seconds without a sign of life that a busy machine may cause by itself."""


def build_chunks(task: BuildTask, store: BarStore, facts: Sequence[Facts], report: Report, note: Note) -> Block:
    """Compute the rows from ``task.begin`` on and write them; `facts` are of the symbols that are output."""
    job = task.job
    begin = min(one.begin for one in facts) if task.begin is None else task.begin
    end = max(one.last for one in facts) + 1
    load = begin
    if begin < end:
        load = first_row(
            store.bars,
            timeframe=job.timeframe,
            begin=begin,
            reach=job.plan.reach,
            episode_gap_ns=parse_duration(job.core.episode_gap),
        )
    rows = chunk_rows(job, end - load, len(store.bars))
    with Output(job, report) as output:
        for one in facts:
            output.open(one, task.kept.get(one.symbol))
        if rows < end - load:
            _streamed(task, store, facts, output, (load, begin, end, rows))
        elif begin < end:
            _at_once(task, store, facts, output, note, (begin, end))
        return output.finish()


def _at_once(
    task: BuildTask, store: BarStore, facts: Sequence[Facts], output: Output, note: Note, window: tuple[int, int]
) -> None:
    job = task.job
    with output.report.timed("read"):
        panel = _panel(task, store, facts, *window, reach=job.plan.reach)
    store.clear()  # the panel holds copies: the bars' memory is the computation's
    output.put(panel, _compute(job, panel, output.report, note))


def _streamed(
    task: BuildTask, store: BarStore, facts: Sequence[Facts], output: Output, cut: tuple[int, int, int, int]
) -> None:
    """Compute from row `load` on in chunks of `rows`, and put out the rows begin..end-1."""
    job, plan, report = task.job, task.job.plan, output.report
    load, begin, end, rows = cut
    symbols, overlap = len(store.bars), overlap_rows(plan)
    held = chunk_held_bytes(job, end - load, rows, symbols)
    stream = None
    for first, after in (*chunks(load, begin, rows), *chunks(begin, end, rows)):
        with report.timed("read"):
            panel = _panel(task, store, facts, first, after, reach=Reach((min(overlap, first - load),)))
        own = panel.warmup
        if after <= begin:
            panel = replace(panel, warmup=panel.shape[0])
        if after == end:
            store.clear()
        with report.timed("compute"):
            stream = stream or FactorStream(
                plan,
                counted(panel),
                rows=min(rows, end - load),
                gap_tolerance=job.core.gap_tolerance,
                memory_limit=job.core.memory_limit_gb * 1e9 - held,
                threads=_threads(job, symbols),
            )
            values = stream.feed(panel, begin=own)
        if after > begin:
            output.put(panel, values)
        del panel, values


def _panel(task: BuildTask, store: BarStore, facts: Sequence[Facts], first: int, after: int, *, reach: Reach) -> Panel:
    """Return the panel of rows first..after-1 with look-back in front."""
    job = task.job
    panel = build_panel(
        store.bars,
        timeframe=job.timeframe,
        start_ns=job.timeframe.open_ns(first),
        end_ns=job.timeframe.open_ns(after),
        lookback=None,
        reach=reach,
        fields=klines_of(job.plan.fields),
        members=frozenset((*task.symbols, *task.company)),
        episode_gap_ns=parse_duration(job.core.episode_gap),
    )
    return _ended(job.plan, job.fields.filled(panel, job.plan.fields), facts)


def _ended(plan: Plan, panel: Panel, facts: Sequence[Facts]) -> Panel:
    """Return the panel with no symbol alive after its last bar inside the window, where only its own rows read it.

    Those rows are no output. What is undefined there would be counted, and so much of it as the other symbols of the
    task reach further: the counts would depend on who shares a task.
    """
    if plan.cross_symbol:
        return panel
    age = panel.age.copy()
    for one in facts:
        if one.symbol not in plan.extra_symbols:
            age[max(0, one.last + 1 - panel.first_bar) :, panel.symbols.index(one.symbol)] = 0
    return replace(panel, age=age)


def _compute(job: Job, panel: Panel, report: Report, note: Note) -> FactorValues:
    limit = job.core.function_timeout
    named = ", ".join(f"'{name}'" for number in job.plan.library_calls for name in job.plan.titles[number])
    alive = signs_of_life(note, f"calling {named}", max(limit, LEAST_SILENCE)) if named else nullcontext()
    with report.timed("compute"), alive:
        return compute(
            job.plan,
            panel,
            gap_tolerance=job.core.gap_tolerance,
            memory_limit=job.core.memory_limit_gb * 1e9,
            function_timeout=limit,
            threads=_threads(job, len(panel.symbols)),
        )


def _threads(job: Job, symbols: int) -> int:
    """Cross-sections make one task of all symbols: the cores that other tasks would have kept busy are free."""
    return worker_count(job.core.workers, symbols) if job.plan.cross_symbol else 1


@contextmanager
def signs_of_life(note: Note, doing: str, limit: float) -> Iterator[None]:
    """Tell the parent again and again what goes on; it kills this process when it hears nothing for `limit` seconds.

    `compute` stops waiting for a slow function by itself. One that never lets another thread run (a loop in C that
    keeps the interpreter's lock) stops everything here, this thread too, and only the parent can end it.
    """
    over = threading.Event()

    def tell() -> None:
        while True:
            note(doing, limit)
            if over.wait(min(5.0, limit / 4)):
                return

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        note("", None)
