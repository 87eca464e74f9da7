"""Whether a Qlib store is what was written, and whether Qlib reads what is in it.

1. `check_inputs`, `check_factor`: every file against the manifests: presence, length, start row, then every byte.
2. `differences_of_qlib`: calendar, instruments and every column, read through ``qlib.data.D``, against the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from Backtest.data.clock import time_words
from Backtest.data.timeframe import Timeframe

from .progress import counted
from .qlib_bins import WORD, bin_path, decode_bin
from .qlib_manifest import BinFacts, FactorManifest, FileFacts, StoreManifest
from .qlib_reader import Provider
from .store import Difference


def check_text(path: Path, facts: FileFacts, what: str) -> list[Difference]:
    """Return how a calendar or instruments file differs from what was written."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [Difference(str(path), "the file is missing", f"{facts.lines} lines")]
    lines = content.count(b"\n") + (not content.endswith(b"\n") and bool(content))
    if lines != facts.lines:
        return [Difference(str(path), f"{lines} lines", f"{facts.lines} lines, one for each {what}")]
    if hashlib.sha256(content).hexdigest() != facts.sha256:
        return [Difference(str(path), "other bytes than were written", f"SHA-256 {facts.sha256}")]
    return []


def check_bin(path: Path, facts: BinFacts) -> list[Difference]:
    """Return how a bin differs from what was written: presence, length, start row, then every byte."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [Difference(str(path), "the file is missing", f"{facts.rows} values")]
    size = (facts.rows + 1) * WORD.itemsize
    start, values = decode_bin(content)
    if len(content) != size:
        found = f"{len(values)} values ({len(content)} bytes)"
        return [Difference(str(path), found, f"{facts.rows} values ({size} bytes)")]
    if start != facts.start:
        found = "a header that is no calendar row" if start < 0 else f"begins at calendar row {start}"
        return [Difference(str(path), found, f"calendar row {facts.start}")]
    if hashlib.sha256(content).hexdigest() != facts.sha256:
        return [Difference(str(path), "other values than were written", f"SHA-256 {facts.sha256}")]
    return []


def check_texts(folder: Path, manifest: StoreManifest) -> list[Difference]:
    """Return how the calendar and the instruments differ from what was written."""
    found = check_text(folder / "calendars" / f"{manifest.frequency}.txt", manifest.calendar, "bar")
    return found + check_text(folder / "instruments" / "all.txt", manifest.instruments, "listing episode")


def check_inputs(folder: Path, manifest: StoreManifest) -> list[Difference]:
    """Return how the calendar, the instruments and the inputs' bins differ from what was written."""
    frequency = manifest.frequency
    found = check_texts(folder, manifest)
    for symbol, columns in manifest.bins.items():
        for field, facts in columns.items():
            found += check_bin(bin_path(folder, symbol, field, frequency), facts)
    return found


def check_factor(folder: Path, manifest: FactorManifest, frequency: str) -> list[Difference]:
    """Return how a factor's bins differ from what was written."""
    name = manifest.factor
    return [
        difference
        for symbol, facts in manifest.bins.items()
        for difference in check_bin(bin_path(folder, symbol, name, frequency), facts)
    ]


def clock_of(manifest: StoreManifest, timeframe: Timeframe) -> NDArray[np.datetime64]:
    """Return the open times of a store's calendar, datetime64[ns] [T]."""
    step = np.arange(manifest.rows, dtype=np.int64) * timeframe.ns
    return (timeframe.open_ns(manifest.first_bar) + step).view("datetime64[ns]")


def differences_of_qlib(
    folder: Path, bins: Mapping[str, Mapping[str, BinFacts]], provider: Provider, clock: NDArray[np.datetime64]
) -> Iterator[Difference]:
    """Yield where ``qlib.data.D`` says other than the files, which have passed their own check.

    Parameters
    ----------
    folder
        The provider's.
    bins
        Symbol -> column -> bin: which columns.
    provider
        The same, opened.
    clock
        datetime64[ns] [T], what the calendar should be.
    """
    if not np.array_equal(provider.calendar(), clock):
        yield Difference("qlib.data.D.calendar", "another clock", f"the {len(clock)} bars of the calendar file")
        return
    if provider.instruments() != _spans(folder / "instruments" / "all.txt"):
        yield Difference("qlib.data.D.instruments", "other listing episodes", "those of the instruments file")
    for symbol, columns in counted(bins.items()):
        yield from _differences_of_symbol(folder, symbol, columns, provider, clock)


def _differences_of_symbol(
    folder: Path, symbol: str, bins: Mapping[str, BinFacts], provider: Provider, clock: NDArray[np.datetime64]
) -> Iterator[Difference]:
    read = provider.columns(symbol, tuple(bins))
    rows = np.searchsorted(clock, read.timestamp)
    for place, field in enumerate(bins):
        path = bin_path(folder, symbol, field, provider.frequency)
        got, want = (np.full(len(clock), np.nan, dtype=np.float32) for _ in range(2))
        got[rows] = read.values[:, place]
        start, kept = decode_bin(path.read_bytes())
        want[start : start + len(kept)] = kept
        # by their bits, so that missing equals missing
        off = np.flatnonzero(got.view(np.int32) != want.view(np.int32))
        if off.size:
            stamp = time_words(int(clock[off[0]].astype(np.int64)))
            where = f"qlib.data.D.features {symbol} {field} at {stamp}"
            yield Difference(where, f"{got[off[0]]} ({off.size} cells differ)", f"{want[off[0]]} of {path}")


def _spans(path: Path) -> dict[str, list[tuple[np.datetime64, np.datetime64]]]:
    spans: dict[str, list[tuple[np.datetime64, np.datetime64]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        symbol, first, last = line.split("\t")
        spans.setdefault(symbol, []).append((np.datetime64(first, "ns"), np.datetime64(last, "ns")))
    return spans
