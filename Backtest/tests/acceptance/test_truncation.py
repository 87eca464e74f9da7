"""Real klines cut at random bars: no factor value and no order from before the cut may change."""

from __future__ import annotations

import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from Backtest.data.clock import build_panel, parse_time
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.recipe import load_recipe
from Backtest.data.source import load_symbol, open_root
from Backtest.data.timeframe import parse_duration, parse_timeframe
from Backtest.engine.backtrader import run
from Backtest.engine.costs import costs_from
from Backtest.engine.ledger import Order, RunRecord
from Backtest.settings import CoreSettings
from Backtest.strategies import build_strategy

from .commands import RECIPE

CUTS, LONG_CUTS = 20, 100
ROWS, WARMUP = 600, 120
BAR_MS = 4 * 3_600_000
LAST_MS = 1_773_936_000_000
"""Open of the last bar that every one of the files has: 2026-03-19 16:00."""
SYMBOLS = ("1000BONKUSDT", "BTCUSDT", "ETHUSDT", "KAITOUSDT", "SOLUSDT", "TRUUSDT")
STRATEGIES = (
    ("topk", {"factor": "mom30", "k": "2", "weighting": "score", "rebalance": "1d"}),
    ("longshort", {"factor": "drift", "k": "2", "rebalance": "3", "weighting": "inverse_vol", "vol_window": "10"}),
    ("signal", {"factor": "reversal", "upper": "1", "lower": "-1"}),
)


def write_first_bars(source: Path, target: Path, bars: int) -> None:
    """Write what there is at the first `bars` of the last WARMUP + ROWS bars of the clock, for each symbol."""
    begin = LAST_MS - (WARMUP + ROWS - 1) * BAR_MS
    for symbol in SYMBOLS:
        with gzip.open(source / f"{symbol}.csv.gz", "rt") as stream:
            header, *lines = stream.read().splitlines()
        kept = [line for line in lines if begin <= int(line.split(",")[0]) < begin + bars * BAR_MS]
        (target / f"{symbol}.csv").write_text("\n".join([header, *kept]) + "\n")


def results(data_root: Path) -> tuple[dict[str, np.ndarray], list[RunRecord]]:
    """Return (factor -> values [T, S], the record of each strategy) of everything in `data_root`."""
    timeframe, settings = parse_timeframe("4h"), CoreSettings(last_bar="keep")
    root = open_root(data_root, timeframe, settings)
    plan = compile_recipe(load_recipe(RECIPE), allow_modules=settings.allow_modules, max_window=10_000)
    panel = build_panel(
        [load_symbol(root, symbol, settings=settings, cache_root=None) for symbol in SYMBOLS],
        timeframe=timeframe,
        start_ns=parse_time("2025-06-01"),
        end_ns=None,
        lookback=plan.lookback,
        fields={"open", "high", "low", "close", "volume"},
        members=SYMBOLS,
        episode_gap_ns=parse_duration(settings.episode_gap),
    )
    values = compute(plan, panel, gap_tolerance=settings.gap_tolerance).values
    records = []
    for name, params in STRATEGIES:
        strategy = build_strategy(name, params, {})
        scores = values[strategy.factor]
        records.append(run(panel, scores, strategy, costs=costs_from(settings), initial_cash=50_000.0))
    return dict(values), records


def decided_before(orders: Sequence[Order], bar: int) -> list[Order]:
    return [order for order in orders if order.filled_bar < bar]


def test_a_cut_changes_nothing_before_it(real_data: Path, tmp_path: Path, long_run: bool) -> None:
    source = real_data / "um_futures" / "6.Binance Data Resampled" / "4h"
    folder = tmp_path / "6.Binance Data Resampled" / "4h"
    folder.mkdir(parents=True)
    write_first_bars(source, folder, WARMUP + ROWS)
    whole_values, whole_records = results(tmp_path)
    assert all(len(record.orders) > 50 for record in whole_records)
    cuts = random.Random(20).sample(range(WARMUP + 60, WARMUP + ROWS), LONG_CUTS if long_run else CUTS)
    for cut in cuts:
        write_first_bars(source, folder, cut)
        values, records = results(tmp_path)
        rows = len(records[0].equity)
        for name, before in whole_values.items():
            assert values[name].tobytes() == before[:rows].tobytes(), (cut, name)
        for record, whole in zip(records, whole_records, strict=True):
            assert list(record.orders) == decided_before(whole.orders, rows), cut
            assert record.equity.tobytes() == whole.equity[:rows].tobytes(), cut


@pytest.mark.parametrize("bars", [1, 7])
def test_scrambling_the_future_changes_nothing_before_it(real_data: Path, tmp_path: Path, bars: int) -> None:
    source = real_data / "um_futures" / "6.Binance Data Resampled" / "4h"
    folder = tmp_path / "6.Binance Data Resampled" / "4h"
    folder.mkdir(parents=True)
    write_first_bars(source, folder, WARMUP + ROWS)
    values, records = results(tmp_path)
    for path in folder.glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        future = [line.split(",") for line in lines[-bars:]]
        garbage = [[cells[0], "7", "9", "5", "6", "123", *cells[6:]] for cells in future]
        path.write_text("\n".join([header, *lines[:-bars], *(",".join(cells) for cells in garbage)]) + "\n")
    other_values, other_records = results(tmp_path)
    rows = len(records[0].equity) - bars
    for name, before in values.items():
        assert other_values[name][:rows].tobytes() == before[:rows].tobytes(), name
    for record, other in zip(records, other_records, strict=True):
        assert decided_before(other.orders, rows) == decided_before(record.orders, rows)
        assert other.equity[:rows].tobytes() == record.equity[:rows].tobytes()
