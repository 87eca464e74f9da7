"""A small market and a factor set on disk, written without Stage A, for the tests of Stage B and what follows it."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Backtest.data.bars_digest import bars_sha256
from Backtest.data.clock import time_words
from Backtest.data.hub import Hub, sealed
from Backtest.data.hub_file import SymbolValues
from Backtest.data.hub_writer import write_symbol_file
from Backtest.data.root import open_root
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import parse_timeframe
from Backtest.settings import CoreSettings

TIMEFRAME = parse_timeframe("4h")
FIRST = TIMEFRAME.index(int(np.datetime64("2023-01-01", "ns").astype(np.int64)))
BARS = 260
SYMBOLS = ("ADAUSDT", "BTCUSDT", "DOGEUSDT", "ETHUSDT", "LUNAUSDT", "SOLUSDT")
LISTED, DELISTED = {"SOLUSDT": 60}, {"LUNAUSDT": 150}
RECIPE = "factors:\n  - name: mom\n    type: expression\n    expression: close / shift(close, 6) - 1\n"


@dataclass(frozen=True)
class Market:
    """Where everything of one test lies."""

    root: Path

    @property
    def data_root(self) -> Path:
        return self.root / "market data"

    @property
    def datahub(self) -> Path:
        return self.root / "hub"

    @property
    def results(self) -> Path:
        return self.root / "results"

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.yaml"

    @property
    def config(self) -> Path:
        return self.root / "core.yaml"

    @property
    def metadata_path(self) -> Path:
        return Hub(self.datahub).metadata_path(TIMEFRAME, "mom_v1")

    def klines(self, symbol: str) -> Path:
        return self.data_root / "6.Binance Data Resampled" / "4h" / f"{symbol}.csv"

    def arguments(self, *more: str, strategy: str = "topk") -> list[str]:
        """The command line of Stage B on this market."""
        return [
            "--timeframe", "4h", "--factor-set", "mom_v1", "--strategy", strategy, "--datahub-root", str(self.datahub),
            "--results-root", str(self.results), "--config", str(self.config), "--param", "factor=mom", *more,
        ]  # fmt: skip


def write_klines(path: Path, bars: range, *, seed: int) -> None:
    """A random walk with trends, so that momentum is worth trading, as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    drift = 0.004 * np.sin(np.arange(len(bars)) / 17 + seed)
    close = 20 * (seed + 1) * np.exp(np.cumsum(drift + random.normal(0, 0.01, len(bars))))
    opened = np.r_[close[0], close[:-1]] * (1 + random.normal(0, 0.001, len(bars)))
    high, low = np.maximum(opened, close) * 1.004, np.minimum(opened, close) * 0.996
    with open(path, "w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["open_time", "open", "high", "low", "close", "volume"])
        for number, bar in enumerate(bars):
            prices = (repr(float(values[number])) for values in (opened, high, low, close))
            rows.writerow([TIMEFRAME.open_ns(bar) // 1_000_000, *prices, repr(float(random.uniform(10, 100)))])


def make_market(root: Path) -> Market:
    """Klines of six symbols, one listed late, one that dies, and the factor set ``mom_v1``: six-bar momentum."""
    market = Market(root)
    for seed, symbol in enumerate(SYMBOLS):
        bars = range(FIRST + LISTED.get(symbol, 0), FIRST + DELISTED.get(symbol, BARS))
        write_klines(market.klines(symbol), bars, seed=seed)
    market.recipe.write_text(RECIPE, encoding="utf-8")
    market.config.write_text(
        f"log_root: {json.dumps(str(root / 'logs'))}\nlast_bar: keep\ncommission: 0.0005\n", encoding="utf-8"
    )
    make_factor_set(market)
    return market


def make_factor_set(market: Market, *, changes: dict | None = None) -> None:
    """Write ``mom_v1`` for every symbol, as Stage A lays it out."""
    core = CoreSettings(last_bar="keep")
    klines = open_root(market.data_root, TIMEFRAME, core)
    hub = Hub(market.datahub)
    folder = hub.set_folder(TIMEFRAME, "mom_v1")
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, Any]] = {}
    for symbol in SYMBOLS:
        bars = load_symbol(klines, symbol, settings=core, cache_root=None)
        close = bars.fields["close"]
        mom = np.full(len(close), np.nan)
        mom[6:] = close[6:] / close[:-6] - 1
        values = SymbolValues(int(bars.index[0]), {"mom": mom}, bars.tradable)
        facts = write_symbol_file(folder / f"{symbol}.parquet", values, timeframe=TIMEFRAME)
        files[symbol] = {
            "path": f"factors/4h/mom_v1/{symbol}.parquet", "sha256": facts.sha256, "rows": facts.rows,
            "start": facts.start, "end": facts.end, "source_sha256": bars.source.sha256, "last_bar": bars.last_bar,
            "bars_sha256": bars_sha256(bars, FIRST, FIRST + BARS),
        }  # fmt: skip
    metadata = {
        "factor_set": "mom_v1", "timeframe": "4h", "data_root": str(market.data_root),
        "start": time_words(TIMEFRAME.open_ns(FIRST)), "end": time_words(TIMEFRAME.open_ns(FIRST + BARS)),
        "symbols": list(SYMBOLS), "rows": sum(int(facts["rows"]) for facts in files.values()),
        "asked": {"start": None, "end": None}, "settings": {"last_bar": "keep", "episode_gap": "3d"},
        "factors": {"mom": {"expression": "close / shift(close, 6) - 1", "lookback_bars": 6}},
        "dsl_sha1": hashlib.sha1(RECIPE.encode()).hexdigest(), "files": files, "qc": {}, "refused": {},
        "synthetic": True, "software": {}, "created_at": "2024-01-01T00:00:00Z",
    }  # fmt: skip
    path = market.metadata_path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(sealed(metadata | (changes or {}))), encoding="utf-8")
