"""What Stage A's worker processes do: read klines, compute factors, write one temporary file per symbol.

1. `read`: parse klines into the cache and report what came of it (a first pass, where all symbols must be known).
2. `build`: a block of symbols -> bars -> `building.build_chunks`, which computes and writes.

A symbol whose data are at fault is refused here, by name; anything else that goes wrong is raised, and the parent
finds out which symbol it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace

import numba  # noqa: F401  (with pyarrow below: loaded before the first task, so that no symbol pays for them)
import numpy as np
import pyarrow.parquet

from ..data.bars import LastBar, SymbolBars
from ..data.bars_digest import DIGEST_FIELDS, bars_sha256, history_sha256
from ..data.clock import build_panel, episodes, time_words
from ..data.fields import klines_of
from ..data.hub_journal import Source
from ..data.panel import Floats
from ..data.source import load_symbol, require_fields
from ..data.stamped import Stamped
from ..data.timeframe import parse_duration
from ..errors import SymbolRefused
from ..logs import LOGGER
from .blocks import spill_budget
from .building import build_chunks
from .output import Facts
from .pool import Note
from .spill import open_store
from .tasks import BuildTask, Job, ReadTask, Report, Standing

Series = dict[str, dict[str, Stamped]]
"""Symbol -> column -> series: what lies beside the klines."""


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
    job = task.job
    series: Series = {}
    for bars in _load(job, task.symbols, {}, report, series):
        report.sources[bars.symbol] = source_of(bars)
        report.sources.update(stamped_sources(series[bars.symbol]))
        first, after = _window(job, bars)
        last = int(bars.index[after - 1 if first < after else -1])
        kept = task.kept.get(bars.symbol)
        same = kept is None or _history(job, bars, kept.last + 1, series) == kept.history_sha256
        report.standings[bars.symbol] = Standing(int(bars.index[0]), last, same)
        if first >= after:
            report.outside.add(bars.symbol)
            report.refused[bars.symbol] = _outside_words(job, bars)


def _build(task: BuildTask, report: Report, note: Note) -> None:
    job, plan = task.job, task.job.plan
    columns = klines_of(plan.fields)
    facts: list[Facts] = []
    series: Series = {}
    with open_store(job.partial, spill_budget(job)) as store:
        for one in _load(job, task.symbols, task.last_bars, report, series):
            first, after = _window(job, one)
            if first >= after:
                report.refused[one.symbol] = _outside_words(job, one)
                continue
            facts.append(_facts_of(job, one, series))
            store.add(_only(one, columns))
            del one  # its other fields were for the digest: they need not wait for the next symbol
        if not facts:
            return
        for symbol in sorted({*plan.extra_symbols, *task.company}.difference(task.symbols)):
            with report.timed("read"):
                one = _load_one(job, symbol, task.last_bars, series)
            for one_facts in facts if symbol in plan.extra_symbols else ():
                one_facts.sources.update({symbol: source_of(one), **stamped_sources(series[symbol])})
            store.add(_only(one, columns))
            del one
        pyarrow.default_memory_pool().release_unused()
        task = replace(task, job=replace(job, fields=job.fields.with_series(series)))
        report.block = build_chunks(task, store, facts, report, note)


def _facts_of(job: Job, bars: SymbolBars, series: Series) -> Facts:
    first, after = _window(job, bars)
    begin, last = int(bars.index[first]), int(bars.index[after - 1])
    beside = series[bars.symbol]
    return Facts(
        symbol=bars.symbol,
        begin=_first_alive(job, bars, begin),
        first=begin,
        last=last,
        bars=after - first,
        sources={bars.symbol: source_of(bars), **stamped_sources(beside)},
        bars_sha256=bars_sha256(bars, begin, last + 1),
        history_sha256=_history(job, bars, last + 1, series),
        findings=tuple(
            asdict(one) for one in (*bars.findings, *(one for part in beside.values() for one in part.findings))
        ),
    )


def _first_alive(job: Job, bars: SymbolBars, first: int) -> int:
    """Return the window's first row where the symbol is alive there, though its first bar may come later."""
    if job.start_ns is None:
        return first
    row = job.timeframe.first_at_or_after(job.start_ns)
    listings = episodes(bars.index, timeframe=job.timeframe, episode_gap_ns=parse_duration(job.core.episode_gap))
    return first if listings.alive_at(row) is None else row


def _history(job: Job, bars: SymbolBars, after_bar: int, series: Series) -> str:
    """Return the digest of all that a factor may rest on before `after_bar`, fields that are no klines included.

    Not the symbols table: its cells are compared one by one (`append`), as a group's code says nothing by itself.
    """
    others = job.plan.fields - klines_of(job.plan.fields) - job.fields.constant_names
    more: dict[str, Floats] = {}
    if others:
        panel = build_panel(
            [bars],
            timeframe=job.timeframe,
            start_ns=job.timeframe.open_ns(int(bars.index[0])),
            end_ns=job.timeframe.open_ns(after_bar),
            lookback=0,
            fields=klines_of(job.plan.fields),
            members={bars.symbol},
            episode_gap_ns=parse_duration(job.core.episode_gap),
        )
        filled = job.fields.with_series(series).filled(panel, others)
        # also on rows without a bar: what is settled there belongs to windows that reach over them
        more = {name: filled.fields[name][:, 0] for name in others}
    return history_sha256(bars, after_bar, more)


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
    series: Series,
) -> Iterator[SymbolBars]:
    """Yield the bars of the symbols that can be used; the others are refused.

    What lies beside a symbol's klines goes into `series`.
    """
    for symbol in symbols:
        try:
            with report.timed("read"):
                bars = _load_one(job, symbol, last_bars, series)
        except SymbolRefused as refused:
            report.refused[symbol] = refused.reason
        else:
            yield bars
            del bars


def _load_one(job: Job, symbol: str, last_bars: Mapping[str, LastBar], series: Series) -> SymbolBars:
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


def _outside_words(job: Job, bars: SymbolBars) -> str:
    have = " to ".join(time_words(job.timeframe.open_ns(int(bars.index[row]))) for row in (0, -1))
    return f"{bars.source.path}: no bar inside the window; it has bars from {have}"


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
