"""Klines of a run's symbols, by the reader that Stage A uses; a symbol whose data are at fault is left out by name.

1. `open_klines`: the folder, the symbols, the window.
2. `load_bars`: each symbol's closed bars, several at a time.
3. `panel_of`: the bars on one clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Backtest.data.bars import SymbolBars, require_fields
from Backtest.data.clock import build_panel, parse_time, time_words
from Backtest.data.panel import Panel
from Backtest.data.root import KlineRoot, open_root
from Backtest.data.schema import FIELDS
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import Timeframe, parse_duration
from Backtest.data.universe import resolve_symbols
from Backtest.errors import DataError, SettingsError, SymbolRefused
from Backtest.logs import LOGGER
from Backtest.settings import CoreSettings, resolve

from .progress import progress

KLINES_CACHE = "klines"
"""Folder of the hub where parsed klines are kept; Stage A's is the same."""


@dataclass(frozen=True)
class Window:
    """A window of bar open times, half-open, ns; None: as far as the data reach."""

    start_ns: int | None
    end_ns: int | None


@dataclass(frozen=True)
class Klines:
    """Where the klines of a run come from, and which are asked for."""

    root: KlineRoot
    symbols: tuple[str, ...]
    window: Window
    core: CoreSettings

    @property
    def timeframe(self) -> Timeframe:
        """Bar length of the run."""
        return self.root.wanted

    @property
    def cache(self) -> Path:
        """Folder of the cache."""
        return resolve(self.core.datahub_root) / KLINES_CACHE


def open_klines(
    core: CoreSettings, timeframe: Timeframe, *, symbols: Sequence[str] | None, start: str | None, end: str | None
) -> Klines:
    """Find the folder and the symbols; every error of the command line's is found here."""
    window = Window(*(None if text is None else parse_time(text) for text in (start, end)))
    if window.start_ns is not None and window.end_ns is not None and window.start_ns >= window.end_ns:
        raise SettingsError(f"--start {start} is not before --end {end}")
    root = open_root(resolve(core.data_root), timeframe, core)
    return Klines(root, resolve_symbols(root, symbols), window, core)


def load_bars(
    klines: Klines,
    *,
    symbols: Iterable[str],
    fields: Iterable[str] | None,
    last_bars: Mapping[str, Any] | None = None,
    beside: Callable[[str], object] | None = None,
) -> tuple[list[SymbolBars], dict[str, str]]:
    """Return the bars of the symbols that have any in the window, sorted, and why the others are left out.

    Every one of `fields` must be in the symbol's file; None: all that there are. `beside` is called for each symbol
    to load what else is needed, and may refuse it.
    """
    wanted = sorted(set(symbols))
    kept = last_bars or {}

    def load(symbol: str) -> SymbolBars | str:
        try:
            bars = load_symbol(
                klines.root,
                symbol,
                settings=klines.core,
                cache_root=klines.cache,
                last_bar=kept.get(symbol),
                fields=fields,
            )
            first, after = rows_in(bars, klines.window)
            if first >= after:
                have = " to ".join(time_words(klines.timeframe.open_ns(int(bars.index[row]))) for row in (0, -1))
                return f"{bars.source.path}: no bar inside the window; it has bars from {have}"
            require_fields(bars, fields or ())
            if beside is not None:
                beside(symbol)
            return bars
        except SymbolRefused as refused:
            return refused.reason

    loaded: list[SymbolBars] = []
    refused: dict[str, str] = {}
    with progress(len(wanted), "symbol") as advance, threads(klines.core.workers, len(wanted)) as pool:
        for symbol, outcome in zip(wanted, pool.map(load, wanted), strict=True):
            advance(1)
            if isinstance(outcome, str):
                refused[symbol] = outcome
                LOGGER.warning("%s is refused: %s", symbol, outcome)
            else:
                loaded.append(outcome)
    return loaded, refused


def require_any(loaded: Sequence[SymbolBars], refused: Mapping[str, str]) -> None:
    """Raise DataError when no symbol is left."""
    if not loaded:
        symbol, reason = min(refused.items())
        more = f"; and {len(refused) - 1} more, each with its reason in the log" if len(refused) > 1 else ""
        raise DataError(f"no symbol can be used: {symbol}: {reason}{more}")


def rows_in(bars: SymbolBars, window: Window) -> tuple[int, int]:
    """Return the first row of a symbol's bars inside the window and the row after the last."""
    clock = bars.timeframe
    ends = [None if ns is None else clock.first_at_or_after(ns) for ns in (window.start_ns, window.end_ns)]
    first = 0 if ends[0] is None else int(np.searchsorted(bars.index, ends[0]))
    after = len(bars.index) if ends[1] is None else int(np.searchsorted(bars.index, ends[1]))
    return first, after


def panel_of(
    klines: Klines, bars: Sequence[SymbolBars], *, lookback: int | None, fields: Iterable[str], members: Iterable[str]
) -> Panel:
    """Return the bars on the regular clock of the window, with look-back rows in front."""
    return build_panel(
        bars,
        timeframe=klines.timeframe,
        start_ns=klines.window.start_ns,
        end_ns=klines.window.end_ns,
        lookback=lookback,
        fields=fields,
        members=members,
        episode_gap_ns=parse_duration(klines.core.episode_gap),
    )


def same_columns(bars: Sequence[SymbolBars]) -> tuple[list[SymbolBars], tuple[str, ...]]:
    """Return the symbols with all fields that any of them has; what a file lacks is missing, not invented."""
    present = {name for one in bars for name in one.columns}
    names = tuple(name for name in FIELDS if name in present)
    full = []
    for one in bars:
        absent = {name: np.full(len(one.index), np.nan) for name in names if name not in one.fields}
        full.append(replace(one, fields={**one.fields, **absent}, columns=names) if absent else one)
    return full, names


def threads(setting: int, tasks: int) -> ThreadPoolExecutor:
    """Return threads to read and write with: the setting, or one per core; Arrow and Numba run beside each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(max(1, min(setting or cores, tasks)), thread_name_prefix="klines")
