"""``--engine both`` on real klines: late listings, outages, coins that die, eight years of days."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from Backtest.data.clock import build_panel
from Backtest.data.panel import Panel
from Backtest.data.root import open_root
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import parse_duration, parse_timeframe
from Backtest.data.universe import resolve_symbols
from Backtest.portfolio import parse_overlays
from Backtest.settings import CoreSettings
from Backtest.simulate import run_on
from Backtest.strategies import build_strategy
from Backtest.tests.conftest import real_data_folder
from Backtest.tests.engine.market import costs

LOOKBACK = 48
CASH = 100_000.0
ROOTS = {"um_futures": ("4h", 40, 400), "spot_1h_delisted": ("1h", 13, 2000), "spot_daily": ("1d", 34, 900)}
"""Folder -> bar length, symbols in it, bars of the window that the short run takes, from where a third is over."""

TERMS = (
    {"commission": 0.001, "slippage": 0.001, "min_notional": 5.0},
    {"commission": 0.0005, "slippage": 0.002, "slippage_capped": True, "lot_step": 0.01, "on_rejected": "scale"},
)
OVERLAYS = (
    ("stop_loss:pct=0.08,cooldown=6", "trailing_stop:pct=0.15", "vol_target:annual=0.6,days=20,max_scale=1.5",
     "max_gross:cap=1.2"),
    ("take_profit:pct=0.2", "drawdown_stop:pct=0.1,cooldown=90", "max_position:cap=0.25", "max_net:cap=0.5",
     "max_turnover:cap=0.6"),
)  # fmt: skip
SETS: dict[str, tuple[dict[str, Any], ...]] = {
    "topk": (
        {"k": 5}, {"k": 12, "weighting": "score", "max_weight": 0.2, "rebalance": "6"},
        {"k": 3, "weighting": "inverse_vol", "rebalance": "1w"}, {"k": 60, "weighting": "rank", "rebalance": "1M"},
        {"k": 1, "ascending": True}, {"k": 8, "invest": 1.0, "rebalance": "3"}, {"k": 2, "invest": 0.5},
        {"k": 10, "weighting": "inverse_vol", "ascending": True}, {"k": 4, "max_weight": 0.1, "rebalance": "1"},
        {"k": 20, "weighting": "score", "rebalance": "1w"},
    ),
    "longshort": (
        {"quantile": 0.2}, {"k": 6, "weighting": "rank", "gross_leverage": 1.8, "rebalance": "6"},
        {"k": 2, "weighting": "inverse_vol", "rebalance": "1w"}, {"quantile": 0.5, "rebalance": "1M"},
        {"k": 1, "ascending": True}, {"quantile": 0.1, "weighting": "score", "rebalance": "3"}, {"k": 40},
        {"k": 3, "gross_leverage": 3.0}, {"k": 5, "max_weight": 0.05, "rebalance": "1"},
        {"quantile": 0.3, "weighting": "rank", "ascending": True, "rebalance": "1w"},
    ),
    "signal": (
        {}, {"upper": 0.02, "lower": -0.02, "rebalance": "6"}, {"upper": 0.05, "lower": -0.05, "weight": 0.1},
        {"lower": -np.inf, "rebalance": "1w"}, {"upper": np.inf, "weight": 0.02, "rebalance": "1d"},
        {"weight": 0.3, "rebalance": "1M"}, {"invest": 0.5, "rebalance": "3"}, {"upper": 0.1, "lower": 0.0},
        {"upper": 0.0, "lower": -0.1, "weight": 0.05}, {"upper": 0.2, "lower": -0.2, "invest": 1.0},
    ),
}  # fmt: skip


@cache
def panel_of(name: str, folder: str) -> Panel:
    """All klines of a folder on one clock."""
    label, count, _ = ROOTS[name]
    settings, timeframe = CoreSettings(data_root=folder), parse_timeframe(label)
    root = open_root(real_data_folder() / name, timeframe, settings)
    symbols = resolve_symbols(root, None)
    assert len(symbols) == count
    bars = [load_symbol(root, symbol, settings=settings, cache_root=None) for symbol in symbols]
    first = min(int(one.index[0]) for one in bars)
    last = max(int(one.index[-1]) for one in bars)
    return build_panel(
        bars,
        timeframe=timeframe,
        start_ns=timeframe.open_ns(first),
        end_ns=timeframe.open_ns(last + 1),
        lookback=0,
        fields=("open", "high", "low", "close", "volume"),
        members=symbols,
        episode_gap_ns=parse_duration(settings.episode_gap),
    )


@pytest.mark.parametrize("kind", sorted(SETS))
@pytest.mark.parametrize("name", sorted(ROOTS))
def test_both_engines_agree_on_real_klines(name, kind, real_data, long_run):
    whole = panel_of(name, str(real_data / name))
    close = whole.fields["close"]
    momentum = np.full(close.shape, np.nan)
    momentum[LOOKBACK:] = close[LOOKBACK:] / close[:-LOOKBACK] - 1
    rows, length = len(close), ROOTS[name][2]
    begin = LOOKBACK if long_run else rows // 3
    end = rows if long_run else min(rows, begin + length)
    panel = whole.rows(begin - LOOKBACK, end, warmup=LOOKBACK)
    orders = 0
    reasons = set()
    for number, values in enumerate(SETS[kind] if long_run else SETS[kind][:2]):
        window = {} if kind == "signal" else {"vol_window": 5.0}
        strategy = build_strategy(kind, {}, {"factor": "momentum", **window, **values})
        terms = costs(**TERMS[number % 2])
        record = run_on("both", panel, momentum[begin:end], strategy, costs=terms, initial_cash=CASH)
        orders += len(record.orders)
        rules = parse_overlays(OVERLAYS[number % 2])
        watched = run_on("both", panel, momentum[begin:end], strategy, costs=terms, initial_cash=CASH, overlays=rules)
        reasons |= {order.reason for order in watched.orders}
    assert orders > 100
    assert reasons >= {"stop_loss", "take_profit", "trailing_stop", "drawdown_stop"}
