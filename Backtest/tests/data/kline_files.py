"""Kline files for tests: a clean one, and the ways to put it on disk. Independent of the reader under test."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from Backtest.data.bars import SymbolBars
from Backtest.data.source import load_symbol, open_root
from Backtest.data.timeframe import parse_timeframe
from Backtest.settings import CoreSettings

KLINES = "6.Binance Data Resampled"
REAL_DATA = Path(os.environ.get("FACTOR_REAL_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
HEADER = "open_time,open,high,low,close,volume"
HOUR_MS = 3_600_000
START_MS = 1_609_459_200_000  # 2021-01-01T00:00Z
Rows = list[list[str]]


def rows(count: int = 1200, *, step_ms: int = HOUR_MS, start_ms: int = START_MS, seed: int = 1) -> Rows:
    """Return clean klines as text cells: a random walk with eight decimals."""
    chance = random.Random(seed)
    close, made = 100.0, []
    for bar in range(count):
        opened, close = close, close * (1 + chance.uniform(-0.01, 0.01))
        high, low = max(opened, close) * 1.001, min(opened, close) * 0.999
        volume = chance.uniform(10, 1000)
        made.append([str(start_ms + bar * step_ms), *(f"{value:.8f}" for value in (opened, high, low, close, volume))])
    return made


def text(body: Rows, header: str = HEADER) -> str:
    return "\n".join([header, *(",".join(row) for row in body)]) + "\n"


def iso(ms: int, style: str = "%Y-%m-%d %H:%M:%S") -> str:
    return datetime.fromtimestamp(ms / 1000, timezone.utc).strftime(style)


def write_root(folder: Path, content: str | bytes, *, name: str = "BTCUSDT.csv", timeframe: str = "1h") -> Path:
    """Write one kline file and return the data root; text goes into a .gz file compressed."""
    place = folder / KLINES / timeframe
    place.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    (place / name).write_bytes(
        gzip.compress(data, mtime=0) if name.endswith(".gz") and isinstance(content, str) else data
    )
    return folder


def load(
    data_root: Path,
    *,
    symbol: str = "BTCUSDT",
    timeframe: str = "1h",
    cache_root: Path | None = None,
    fields: Sequence[str] | None = None,
    **flags: Any,
) -> SymbolBars:
    settings = CoreSettings(**flags)
    root = open_root(data_root, parse_timeframe(timeframe), settings)
    return load_symbol(root, symbol, settings=settings, cache_root=cache_root, fields=fields)


def load_text(folder: Path, content: str | bytes, *, name: str = "BTCUSDT.csv", **given: Any) -> SymbolBars:
    """Write one file of 1h bars and load it."""
    return load(write_root(folder, content, name=name), **given)


def kinds(bars: SymbolBars) -> dict[str, int]:
    return {finding.kind: finding.count for finding in bars.findings}


def same_bars(one: SymbolBars, other: SymbolBars) -> bool:
    """Whether two loads gave bit-equal bars."""
    return (
        one.index.tobytes() == other.index.tobytes()
        and list(one.fields) == list(other.fields)
        and all(one.fields[name].tobytes() == other.fields[name].tobytes() for name in one.fields)
        and one.tradable.tobytes() == other.tradable.tobytes()
    )
