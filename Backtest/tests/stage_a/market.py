"""A small market on disk for the tests of Stage A, and Stage A without processes for those that need none."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Backtest.prepare import PrepareSettings
from Backtest.settings import PROJECT_ROOT, CoreSettings, build, with_flags
from Backtest.stage_a.pool import Outcome
from Backtest.stage_a.workers import work

COMMAND = PROJECT_ROOT / "Backtest" / "run_prepare.py"
FIRST_MS, HOUR_MS, BARS = 1_672_531_200_000, 3_600_000, 1500
SYMBOLS = ("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT", "EEEUSDT", "FFFUSDT")
LEVELS = dict(zip(SYMBOLS, (100.0, 20.0, 7777.0, 0.5, 3.0, 45.0), strict=True))
"""Starting prices; CCCUSDT alone is above 1000, by which the library functions of the tests know it."""

LISTED = {"EEEUSDT": 900}
GAP = {"BBBUSDT": (700, 712)}
HEADER = ("open_time", "open", "high", "low", "close", "volume")

RECIPE = """factors:
  - name: mom
    type: expression
    expression: close / shift(close, 24) - 1
  - name: smooth
    type: expression
    expression: ema(close, 12) / ts_mean(close, 48)
  - name: money
    type: library_function
    source: Backtest.data.indicators:money_flow_index
"""
CROSS_RECIPE = RECIPE + "  - {name: order, type: expression, expression: cs_rank(mom)}\n"


def write_market(root: Path, symbols: tuple[str, ...] = SYMBOLS, bars: int = BARS) -> Path:
    """Write klines of 1h below `root`, a user's data root, and return it."""
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    for symbol in symbols:
        write_klines(folder / f"{symbol}.csv", klines(symbol, bars))
    return root


def klines(symbol: str, bars: int = BARS) -> list[list[str]]:
    """Return the rows of a symbol: a random walk with a gap, a late listing and bars without volume."""
    seed = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:4], "big")
    rng = np.random.default_rng(seed)
    close = LEVELS.get(symbol, 10.0) * np.exp(np.cumsum(rng.normal(0, 0.01, bars)))
    opened = np.concatenate(([close[0]], close[:-1]))
    high = np.maximum(opened, close) * (1 + rng.uniform(0, 0.004, bars))
    low = np.minimum(opened, close) * (1 - rng.uniform(0, 0.004, bars))
    volume = np.where(rng.uniform(size=bars) < 0.01, 0.0, rng.lognormal(3, 1, bars))
    begin, after = GAP.get(symbol, (0, 0))
    rows = [row for row in range(LISTED.get(symbol, 0), bars) if not begin <= row < after]
    return [
        [str(FIRST_MS + HOUR_MS * row), *(f"{values[row]:.10g}" for values in (opened, high, low, close, volume))]
        for row in rows
    ]


def write_klines(path: Path, rows: list[list[str]]) -> None:
    """Write a kline file."""
    with open(path, "w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([HEADER, *rows])


def settings(market: Path, hub: Path, factor_set: str = "one", *, recipe: str = RECIPE, **more: Any) -> PrepareSettings:
    """Return the settings of a run; keywords are settings of either kind."""
    hub.mkdir(parents=True, exist_ok=True)
    dsl = hub / f"{hashlib.sha256(recipe.encode()).hexdigest()[:8]}.yaml"
    dsl.write_text(recipe, encoding="utf-8")
    roots = {"data_root": str(market), "datahub_root": str(hub), "log_root": str(hub / "logs"), "workers": 2}
    known = CoreSettings.__dataclass_fields__
    core = build(CoreSettings, {**roots, **{name: value for name, value in more.items() if name in known}}, "test")
    own = {name: value for name, value in more.items() if name not in known}
    return with_flags(PrepareSettings(core, "1h", factor_set, dsl), **own)


def arguments(market: Path, hub: Path, factor_set: str = "one", *more: str, recipe: str = RECIPE) -> list[str]:
    """Return the command line of the same run."""
    made = settings(market, hub, factor_set, recipe=recipe)
    config = hub / "core.yaml"
    config.write_text(f"log_root: {hub / 'logs'}\n", encoding="utf-8")
    return [
        sys.executable, str(COMMAND), "--timeframe", "1h", "--factor-set", factor_set, "--dsl-path", str(made.dsl_path),
        "--data-root", str(market), "--datahub-root", str(hub), "--config", str(config), "--workers", "2", *more,
    ]  # fmt: skip


def run(line: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    """Run a command line."""
    return subprocess.run(line, capture_output=True, text=True, encoding="utf-8", check=False, timeout=120, **more)


def digests(hub: Path, factor_set: str = "one") -> dict[str, str]:
    """Return the hash of every file of a factor set."""
    folder = hub / "factors" / "1h" / factor_set
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def frame_of(hub: Path, symbol: str, factor_set: str = "one") -> pd.DataFrame:
    """Return a symbol's file as others read it."""
    return pd.read_parquet(hub / "factors" / "1h" / factor_set / f"{symbol}.parquet").set_index("timestamp")


def metadata_of(hub: Path, factor_set: str = "one") -> dict:
    """Return the metadata as others read them."""
    return json.loads((hub / "metadata" / "1h" / f"{factor_set}.json").read_text(encoding="utf-8"))


def timeless(metadata: dict) -> dict:
    """Return the metadata without the time of writing and the seal over it."""
    return {key: value for key, value in metadata.items() if key not in ("created_at", "metadata_sha256")}


class InlinePool:
    """Takes the pool's place and works in this process, where a test can make calls fail."""

    def __init__(self, function: str) -> None:
        self.size = 1

    def __enter__(self) -> InlinePool:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def grow(self, size: int) -> None:
        self.size = size

    def wait_ready(self) -> None:
        return None

    def stop(self) -> list[int]:
        return []

    def run(self, tasks: deque[Any]) -> Iterator[Outcome]:
        while tasks:
            task = tasks.popleft()
            try:
                yield Outcome(task, value=work(task, lambda doing, seconds: None))
            except Exception as error:
                yield Outcome(task, error=error)
