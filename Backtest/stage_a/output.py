"""The files of one task: rows in as they are computed, written by a thread beside the computation, records out.

1. `Output.put` takes the values of one chunk of time; at most one chunk is being written while the next is computed.
2. The thread turns them into one array a symbol, counts what is missing, and hands each symbol's to its `SymbolWriter`.
3. A second thread completes the files, which is waiting for the disk mostly, and blanks factors that are to be dropped.
4. `Output.finish` waits for both and returns the records.

NumPy and Arrow let other threads run while they copy and encode. What fails in a thread is raised by a later call
of `put` or `finish`; leaving the `with` block in any other way removes the temporary files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import files
from ..data.dsl.plan import Plan
from ..data.factors import FactorValues
from ..data.hub_file import BEYOND, FileFacts, SymbolValues, read_symbol_file
from ..data.hub_journal import Block, Record, Source
from ..data.hub_writer import SymbolWriter, write_symbol_file
from ..data.kernels.columns import separate
from ..data.panel import Bools, Floats, Panel
from ..errors import HubError
from .tasks import Job, Kept, Report

CLOSING = 16
"""Finished files that wait for the disk at most: each is open, and a process may have no more than 1024."""


@dataclass(frozen=True)
class Facts:
    """What the record keeps of a symbol's bars once they are gone.

    Attributes
    ----------
    begin
        Absolute index of the first row inside the window on which the symbol is alive. What becomes missing counts
        from here, whatever other symbols share the task.
    first, last
        Absolute index of its first and last bar inside the window.
    bars
        How many there are.
    sources, bars_sha256, history_sha256, findings
        As in `Record`.
    """

    symbol: str
    begin: int
    first: int
    last: int
    bars: int
    sources: dict[str, Source]
    bars_sha256: str
    history_sha256: str
    findings: tuple[dict[str, Any], ...]


@dataclass
class _File:
    facts: Facts
    path: Path
    kept: Kept | None
    writer: SymbolWriter
    next_bar: int
    missing: dict[str, int]
    written: FileFacts | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Chunk:
    """Rows from `first_bar` on: what the thread needs of a panel and its values."""

    first_bar: int
    symbols: tuple[str, ...]
    exists: Bools
    tradable: Bools
    values: dict[str, Floats]


@dataclass
class Output:
    """The files of a task's symbols; use it in a ``with`` block.

    Attributes
    ----------
    job, report
        The run's settings; where the time is noted.
    counts
        Factor -> what was made missing although its inputs were there.
    """

    job: Job
    report: Report
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files: dict[str, _File] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="closer")  # who waits for the disk writes nothing else
        self._pending: Future[None] | None = None
        self._closing: list[Future[float]] = []

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        for thread in (self._thread, self._closer):
            thread.shutdown(cancel_futures=True)
        for file in self._files.values():
            if file.facts.symbol not in self.report.temporary:
                with suppress(OSError):  # what led here is told; what cannot be removed is swept later
                    file.writer.abort()

    def open(self, facts: Facts, kept: Kept | None = None) -> None:
        """Begin a symbol's file, with the rows of the published one in front if there is one to extend."""
        job = self.job
        path = job.partial / f"{facts.symbol}.parquet.{os.getpid()}{files.TEMPORARY}"
        columns = dict.fromkeys((factor.name for factor in job.plan.factors), job.core.dtype)
        writer = SymbolWriter(path, timeframe=job.timeframe, factors=columns)
        missing = dict.fromkeys(columns, 0) if kept is None else dict(kept.missing)
        next_bar = facts.first if kept is None else kept.last + 1
        self._files[facts.symbol] = _File(facts, path, kept, writer, next_bar, missing)

    def put(self, panel: Panel, values: FactorValues) -> None:
        """Take the values of a chunk, which are used up, and its panel, which must not be changed afterwards."""
        for name, counted in values.counts.items():
            for kind, count in counted.items():
                self._count(name, kind, count)
        own = slice(panel.warmup, None)
        chunk = _Chunk(
            panel.first_bar + panel.warmup, panel.symbols, panel.exists[own], panel.tradable[own], dict(values.values)
        )
        self._wait()
        self._pending = self._thread.submit(self._put, chunk)

    def _count(self, name: str, kind: str, count: int) -> None:
        table = self.counts.setdefault(name, {})
        table[kind] = table.get(kind, 0) + count

    def _wait(self) -> None:
        """Wait for the thread, and raise what it ran into."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._guarded(pending.result)

    def _guarded(self, call: Any) -> Any:
        """Call; a disk that does not take it stops the run, whichever symbol it was."""
        try:
            return call()
        except OSError as error:
            where = error.filename or self.job.partial
            raise HubError(f"{where}: cannot be written: {error.strerror or error}") from None

    def _put(self, chunk: _Chunk) -> None:
        with self.report.timed("write"):
            spans = {}
            for column, symbol in enumerate(chunk.symbols):
                file = self._files.get(symbol)
                if file is not None:  # else a benchmark that the recipe names
                    top = max(file.next_bar, chunk.first_bar)
                    spans[column] = (file, top - chunk.first_bar, file.facts.last + 1 - chunk.first_bar)
            columns = self._separated(chunk, spans)
            for column, (file, top, end) in spans.items():
                rows = slice(top, min(end, len(chunk.exists)))
                if rows.start < rows.stop:
                    self._put_symbol(
                        file, chunk, column, rows, {name: all_of[column] for name, all_of in columns.items()}
                    )

    def _separated(self, chunk: _Chunk, spans: Mapping[int, tuple[_File, int, int]]) -> dict[str, NDArray[Any]]:
        """Return factor -> its values, one row a symbol, which take the chunk's memory; count what is missing."""
        dtype = self.job.core.dtype
        rows, symbols = chunk.exists.shape
        tops, ends = np.zeros(symbols, np.int64), np.zeros(symbols, np.int64)
        for column, (_, top, end) in spans.items():
            tops[column], ends[column] = top, min(end, rows)
        exists = np.ascontiguousarray(chunk.exists)
        spare = np.empty((symbols, rows), dtype)
        found: dict[str, NDArray[Any]] = {}
        for name, values in chunk.values.items():
            missing, beyond = np.zeros(symbols, np.int64), np.zeros(symbols, np.int64)
            separate(values, exists, tops, ends, BEYOND[dtype], spare, missing, beyond)
            found[name] = spare
            # the next factor goes where this one came from: fresh memory for each costs more than separating
            spare = values.reshape(-1).view(dtype)[: spare.size].reshape(spare.shape)
            for column, (file, _, _) in spans.items():
                file.missing[name] += int(missing[column])
            if beyond.any():
                self._count(name, "overflow", int(beyond.sum()))
        return found

    def _put_symbol(
        self, file: _File, chunk: _Chunk, column: int, rows: slice, factors: Mapping[str, NDArray[Any]]
    ) -> None:
        _take_over(file)
        first, tradable = chunk.first_bar + rows.start, chunk.tradable[rows, column]
        kept = {name: values[rows] for name, values in factors.items()}
        file.next_bar = first + len(tradable)
        last = file.next_bar > file.facts.last
        file.writer.write_stored(first, kept, tradable, last=last)
        if last:
            if len(self._closing) >= CLOSING:
                self._closing[-CLOSING].result()
            self._closing.append(self._closer.submit(self._complete, file))

    def _complete(self, file: _File) -> float:
        """Close a file, and return the seconds that took, as `Report.timed` counts for one thread only."""
        begin = time.perf_counter()
        _take_over(file)
        written = file.writer.finish()
        if self.job.on_missing == "drop":
            limits = thresholds(self.job.plan)
            bars = file.facts.bars
            file.dropped = tuple(name for name, limit in limits.items() if file.missing[name] > limit * bars)
        file.written = _blanked(file, written) if file.dropped else written
        return time.perf_counter() - begin

    def finish(self) -> Block:
        """Complete the files and return their records."""
        self._wait()
        seconds = [self._guarded(closing.result) for closing in self._closing]
        for file in self._files.values():
            if file.written is None:  # nothing was computed: the published rows are all there are
                seconds.append(self._guarded(partial(self._complete, file)))
        self.report.seconds["write"] = self.report.seconds.get("write", 0.0) + sum(seconds)
        for symbol, file in self._files.items():
            self.report.temporary[symbol] = file.path
        return Block(tuple(_record(file) for _, file in sorted(self._files.items())), self.counts)


def _take_over(file: _File) -> None:
    """Write the published rows in front of the first new ones."""
    kept, file.kept = file.kept, None
    if kept is not None:
        columns, clock = file.writer.factors, file.writer.timeframe
        file.writer.write(
            read_symbol_file(kept.path, kept.file, timeframe=clock, columns=columns, wanted=tuple(columns))
        )


def thresholds(plan: Plan) -> dict[str, float]:
    """Return the factors that have an `na_threshold`, in the recipe's order."""
    return {factor.name: factor.na_threshold for factor in plan.factors if factor.na_threshold is not None}


def _blanked(file: _File, written: FileFacts) -> FileFacts:
    """Write the file again with `dropped` missing: only at its end is it known that they are missing too often."""
    columns, clock = file.writer.factors, file.writer.timeframe
    part = read_symbol_file(file.path, written, timeframe=clock, columns=columns, wanted=tuple(columns))
    gone = dict.fromkeys(file.dropped, np.full(len(part.tradable), np.nan))
    file.path.unlink()
    blanked = SymbolValues(part.first_bar, {**part.factors, **gone}, part.tradable)
    return write_symbol_file(file.path, blanked, timeframe=clock, dtype=next(iter(columns.values())))


def _record(file: _File) -> Record:
    facts, written = file.facts, file.written
    assert written is not None
    return Record(
        symbol=facts.symbol,
        sha256=written.sha256,
        rows=written.rows,
        start=written.start,
        end=written.end,
        sources=facts.sources,
        bars=facts.bars,
        bars_sha256=facts.bars_sha256,
        history_sha256=facts.history_sha256,
        missing=file.missing,
        findings=facts.findings,
        dropped=file.dropped,
    )
