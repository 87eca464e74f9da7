"""What Stage A's worker processes do: read klines, compute factors, write one temporary file per symbol.

1. `read`: parse klines into the cache and report what came of it (first pass of a recipe with cross-sections).
2. `build`: a block of symbols -> bars -> panel -> factor values -> files and their records.

A symbol whose data are at fault is refused here, by name; anything else that goes wrong is raised, and the parent
finds out which symbol it was.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numba  # noqa: F401  (with pyarrow below: loaded before the first task, so that no symbol pays for them)
import numpy as np
import pyarrow.parquet

from .. import files
from ..data.bars import LastBar, SymbolBars
from ..data.bars_digest import DIGEST_FIELDS, bars_sha256
from ..data.clock import build_panel, time_words
from ..data.dsl.plan import Plan
from ..data.factors import FactorValues, compute
from ..data.fields import klines_of
from ..data.hub_file import FileFacts, SymbolValues, clear_overflow
from ..data.hub_journal import Block, Record, Source
from ..data.hub_writer import write_symbol_file
from ..data.panel import Panel
from ..data.source import load_symbol, require_fields
from ..data.stamped import Stamped
from ..data.timeframe import parse_duration
from ..errors import HubError, SymbolRefused
from ..logs import LOGGER
from .pool import Note
from .tasks import BuildTask, Job, ReadTask, Report

LEAST_SILENCE = 2.0
"""Seconds without a sign of life that a busy machine may cause by itself."""


def work(task: ReadTask | BuildTask, note: Note) -> Report:
    """Do one task; what `pool.Pool` calls."""
    report = Report()
    with _log_into(report):
        if isinstance(task, ReadTask):
            _read(task, report)
        else:
            _build(task, report, note)
    return report


def _read(task: ReadTask, report: Report) -> None:
    series: dict[str, dict[str, Stamped]] = {}
    for bars in _load(task.job, task.symbols, {}, report, series):
        report.sources[bars.symbol] = source_of(bars)
        report.sources.update(stamped_sources(series[bars.symbol]))


def _build(task: BuildTask, report: Report, note: Note) -> None:
    job, plan = task.job, task.job.plan
    columns = klines_of(plan.fields)
    facts: dict[str, _Facts] = {}
    bars: list[SymbolBars] = []
    series: dict[str, dict[str, Stamped]] = {}
    for one in _load(job, task.symbols, task.last_bars, report, series):
        facts[one.symbol] = _facts_of(job, one, series[one.symbol])
        bars.append(_only(one, columns))
        del one  # its other fields were for the digest: they need not wait for the next symbol
    if not bars:
        return
    benchmarks = {}
    for symbol in set(plan.extra_symbols).difference(task.symbols):
        with report.timed("read"):
            one = _load_one(job, symbol, task.last_bars, series)
        benchmarks.update({symbol: source_of(one), **stamped_sources(series[symbol])})
        bars.append(_only(one, columns))
        del one
    with report.timed("read"):
        panel = build_panel(
            bars,
            timeframe=job.timeframe,
            start_ns=job.start_ns,
            end_ns=job.end_ns,
            lookback=plan.lookback,
            fields=columns,
            members=set(task.symbols),
            episode_gap_ns=parse_duration(job.core.episode_gap),
        )
        panel = job.fields.with_series(series).filled(panel, plan.fields)
    bars.clear()  # the panel holds copies: the bars' memory is the computation's
    pyarrow.default_memory_pool().release_unused()
    values = _compute(job, panel, report, note)
    records = []
    counts = {name: dict(count) for name, count in values.counts.items()}
    for symbol, own in sorted(facts.items()):
        own.sources.update(benchmarks)
        with report.timed("write"):
            record, report.temporary[symbol] = _write(job, panel, values, own, counts)
            records.append(record)
    report.block = Block(tuple(records), counts)


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
        )


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


@dataclass(frozen=True)
class _Facts:
    """What the record keeps of a symbol's bars once they are gone."""

    symbol: str
    sources: dict[str, Source]
    bars_sha256: str
    findings: tuple[dict[str, Any], ...]


def _facts_of(job: Job, bars: SymbolBars, series: Mapping[str, Stamped]) -> _Facts:
    first, after = _window(job, bars)
    digest = bars_sha256(bars, int(bars.index[first]), int(bars.index[after - 1]) + 1)
    sources = {bars.symbol: source_of(bars), **stamped_sources(series)}
    found = (*bars.findings, *(one for stamped in series.values() for one in stamped.findings))
    return _Facts(bars.symbol, sources, digest, tuple(asdict(one) for one in found))


def thresholds(plan: Plan) -> dict[str, float]:
    """Return the factors that have an `na_threshold`."""
    return {factor.name: factor.na_threshold for factor in plan.factors if factor.na_threshold is not None}


def source_of(bars: SymbolBars) -> Source:
    """Return what the metadata tells about a symbol's klines."""
    return Source(bars.source.path, bars.source.size, bars.source.mtime_ns, bars.source.sha256, bars.last_bar)


def stamped_sources(series: Mapping[str, Stamped]) -> dict[str, Source]:
    """Return path -> file of what a symbol has beside its klines."""
    sources = (source for stamped in series.values() for source in stamped.sources)
    return {one.path: Source(one.path, one.size, one.mtime_ns, one.sha256, "keep") for one in sources}


def _only(bars: SymbolBars, fields: frozenset[str]) -> SymbolBars:
    """Return the bars without the fields that only their digest needed."""
    return replace(bars, fields={name: values for name, values in bars.fields.items() if name in fields})


def _load(
    job: Job,
    symbols: Iterable[str],
    last_bars: Mapping[str, LastBar],
    report: Report,
    series: dict[str, dict[str, Stamped]],
) -> Iterator[SymbolBars]:
    """Yield the bars of the symbols that have any inside the window; the others are refused.

    What lies beside a symbol's klines goes into `series`.
    """
    for symbol in symbols:
        try:
            with report.timed("read"):
                bars = _load_one(job, symbol, last_bars, series)
            _require_window(job, bars)
        except SymbolRefused as refused:
            report.refused[symbol] = refused.reason
        else:
            yield bars
            del bars


def _load_one(
    job: Job, symbol: str, last_bars: Mapping[str, LastBar], series: dict[str, dict[str, Stamped]]
) -> SymbolBars:
    bars = load_symbol(
        job.root,
        symbol,
        settings=job.core,
        cache_root=job.klines,
        last_bar=last_bars.get(symbol),
        fields=klines_of(job.plan.fields).union(DIGEST_FIELDS),
    )
    require_fields(bars, klines_of(job.plan.fields))
    series[symbol] = job.fields.load(symbol, job.plan.fields)
    return bars


def _window(job: Job, bars: SymbolBars) -> tuple[int, int]:
    """Return the first row inside the window and the row after the last."""
    clock = job.timeframe
    first = 0 if job.start_ns is None else int(np.searchsorted(bars.index, clock.first_at_or_after(job.start_ns)))
    after = np.searchsorted(bars.index, clock.first_at_or_after(job.end_ns)) if job.end_ns is not None else None
    return first, len(bars.index) if after is None else int(after)


def _require_window(job: Job, bars: SymbolBars) -> None:
    first, after = _window(job, bars)
    if first >= after:
        have = " to ".join(time_words(job.timeframe.open_ns(int(bars.index[row]))) for row in (0, -1))
        raise SymbolRefused(bars.symbol, f"{bars.source.path}: no bar inside the window; it has bars from {have}")


def _write(
    job: Job, panel: Panel, values: FactorValues, facts: _Facts, counts: dict[str, dict[str, int]]
) -> tuple[Record, Path]:
    column = panel.symbols.index(facts.symbol)
    own = np.flatnonzero(panel.exists[panel.warmup :, column])
    rows = slice(int(own[0]), int(own[-1]) + 1)
    limits = thresholds(job.plan)
    factors, missing, dropped = {}, {}, []
    for name in values.names:
        array = values.values[name][rows, column].copy()
        beyond = clear_overflow(array, job.core.dtype)
        if beyond:
            counted = counts.setdefault(name, {})
            counted["overflow"] = counted.get("overflow", 0) + beyond
        missing[name] = int(np.isnan(array[own - rows.start]).sum())
        if job.on_missing == "drop" and missing[name] > limits.get(name, np.inf) * len(own):
            array[:] = np.nan
            dropped.append(name)
        factors[name] = array
    tradable = panel.tradable[panel.warmup :, column][rows]
    part = SymbolValues(panel.first_bar + panel.warmup + rows.start, factors, tradable)
    temporary = job.partial / f"{facts.symbol}.parquet.{os.getpid()}{files.TEMPORARY}"
    file = _write_file(temporary, part, job)
    record = Record(
        symbol=facts.symbol,
        sha256=file.sha256,
        rows=file.rows,
        start=file.start,
        end=file.end,
        sources=facts.sources,
        bars=len(own),
        bars_sha256=facts.bars_sha256,
        missing=missing,
        findings=facts.findings,
        dropped=tuple(dropped),
    )
    return record, temporary


def _write_file(path: Path, part: SymbolValues, job: Job) -> FileFacts:
    """Write a file; a disk that does not take it stops the run, whichever symbol it was."""
    try:
        return write_symbol_file(path, part, timeframe=job.timeframe, dtype=job.core.dtype)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise HubError(f"{path}: cannot be written: {error.strerror or error}") from None


class _Collector(logging.Handler):
    def __init__(self, report: Report) -> None:
        super().__init__()
        self.report = report

    def emit(self, record: logging.LogRecord) -> None:
        self.report.log.append((record.levelno, record.getMessage()))


@contextmanager
def _log_into(report: Report) -> Iterator[None]:
    """Collect what is logged in this process: the log file has one writer, the parent."""
    handler = _Collector(report)
    before = (LOGGER.level, LOGGER.propagate)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    LOGGER.addHandler(handler)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.level, LOGGER.propagate = before
