"""Stage B on real data: every order and the equity of a run against the plain-Python replay and the klines' CSV."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from Backtest.tests.engine.replay import replay

from .commands import backtest, command, factor_frames, kline_frames

BAR = pd.Timedelta(hours=4)
pytestmark = pytest.mark.xdist_group("acceptance")  # one Stage A on real data serves them all
COSTS = {
    "commission": 0.001, "slippage": 0.001, "slippage_capped": False, "lot_step": 1e-8, "min_notional": 5.0,
    "no_trade_band": 0.0, "on_rejected": "count", "delisting_haircut": 0.0,
}  # fmt: skip
TOPK = {
    "kind": "topk", "k": 5, "ascending": False, "weighting": "score", "max_weight": 1.0, "invest": 0.98,
    "window": 180,
}  # fmt: skip
START, END = "2025-10-01", "2025-12-15"


def replayed(
    place: Path, data: Path, strategy: dict[str, Any], factor: str
) -> tuple[list[dict[str, Any]], list[float]]:
    """Return (orders, equity) of the replay, from the klines' CSV and the stored factor."""
    bars = {name: frame.loc[START:END].iloc[:-6] for name, frame in kline_frames(data, BAR).items()}
    clock, symbols = bars["close"].index, sorted(bars["close"])
    prices = {name: {symbol: frame[symbol].tolist() for symbol in symbols} for name, frame in bars.items()}
    there = {symbol: [not math.isnan(close) for close in prices["close"][symbol]] for symbol in symbols}
    stored = factor_frames(place, "ten")
    scores = {
        symbol: [None if math.isnan(value) else value for value in stored[symbol][factor].reindex(clock).tolist()]
        for symbol in symbols
    }
    market = {
        "symbols": symbols,
        "bars": {
            symbol: [
                tuple(prices[name][symbol][t] for name in ("open", "high", "low", "close"))
                if there[symbol][t]
                else None
                for t in range(len(clock))
            ]
            for symbol in symbols
        },
        "tradable": {symbol: [volume > 0 for volume in prices["volume"][symbol]] for symbol in symbols},
        "gap": 18,  # bars in the three days of episode_gap
        "due": [(moment + BAR).hour == 0 for moment in clock],
    }
    orders, equity, _, _ = replay(market, scores, strategy, COSTS, 100_000.0)
    for order in orders:
        order["created_at"], order["filled_at"] = clock[order["created"]], clock[order["filled"]]
    return orders, equity


@pytest.fixture(scope="module")
def topk_run(futures: Path) -> Path:
    return backtest(
        futures, "ten", "topk", "--param", "factor=mom30", "--param", "k=5", "--param", "weighting=score",
        "--param", "rebalance=1d", "--start", START, "--end", END,
    )  # fmt: skip


def test_every_order_and_the_equity_equal_the_replay(topk_run: Path, futures: Path, real_data: Path) -> None:
    folder = real_data / "um_futures" / "6.Binance Data Resampled" / "4h"
    expected, equity = replayed(futures, folder, TOPK, "mom30")
    orders = pd.read_csv(topk_run / "orders.csv", parse_dates=["created_at", "filled_at"], keep_default_na=False)
    assert len(orders) == len(expected) > 300
    for ours, theirs in zip(orders.to_dict("records"), expected, strict=True):
        for key in ("created_at", "filled_at", "symbol", "side", "reason", "status", "detail"):
            assert ours[key] == theirs[key], (key, ours, theirs)
        for key in ("size", "price", "commission", "slippage"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-9, abs=1e-12), (key, ours, theirs)
    curve = pd.read_csv(topk_run / "equity_curve.csv")
    np.testing.assert_allclose(curve["equity"], equity, rtol=1e-9)


def test_change_in_equity_is_profit_less_costs_on_every_bar(topk_run: Path, real_data: Path) -> None:
    bars = kline_frames(real_data / "um_futures" / "6.Binance Data Resampled" / "4h", BAR)
    curve = pd.read_csv(topk_run / "equity_curve.csv", parse_dates=["timestamp"]).set_index("timestamp")
    sizes = pd.read_csv(topk_run / "positions.csv", parse_dates=["timestamp"]).pivot(
        index="timestamp", columns="symbol", values="size"
    )
    sizes = sizes.reindex(curve.index).fillna(0.0)
    close, opens = (bars[name].reindex(curve.index)[sizes.columns] for name in ("close", "open"))
    before = sizes.shift(1, fill_value=0.0)
    held = before * (opens - close.shift(1)).fillna(0.0) + sizes * (close - opens)
    orders = pd.read_csv(topk_run / "orders.csv", parse_dates=["filled_at"]).query("status == 'filled'")
    costs = orders.assign(cost=orders["commission"] + orders["slippage"]).groupby("filled_at")["cost"].sum()
    change = curve["equity"].diff().fillna(curve["equity"].iloc[0] - 100_000.0)
    explained = held.sum(axis=1) - costs.reindex(curve.index).fillna(0.0)
    np.testing.assert_allclose(change, explained, atol=1e-9 * curve["equity"].max(), rtol=0)


def test_verify_recomputes_the_run(topk_run: Path, futures: Path) -> None:
    text = command(
        "analyze_run.py", futures, "--verify", topk_run.name, "--results-root", "results",
    )  # fmt: skip
    assert "equal" in text


def test_coins_that_die_while_held_are_settled(delisted: Path, real_data: Path) -> None:
    run = backtest(
        delisted, "ten", "topk", "--param", "factor=mom30", "--param", "k=13", "--param", "rebalance=1d",
        timeframe="1h",
    )  # fmt: skip
    equity = pd.read_csv(run / "equity_curve.csv")["equity"]
    assert np.isfinite(equity).all()
    orders = pd.read_csv(run / "orders.csv", parse_dates=["created_at", "filled_at"])
    settled = orders[orders["reason"] == "delisting"]
    folder = real_data / "spot_1h_delisted" / "6.Binance Data Resampled" / "1h"
    close = kline_frames(folder, pd.Timedelta(hours=1))["close"]
    last = {symbol: close[symbol].last_valid_index() for symbol in close}
    ended = {symbol for symbol, moment in last.items() if close.index[-1] - moment > pd.Timedelta(days=10)}
    assert len(ended) == 9
    assert ended <= set(settled["symbol"])
    for order in settled.to_dict("records"):
        # proven at the close of the first bar after three missing days, settled at the next open of the clock
        assert order["created_at"] - last[order["symbol"]] == pd.Timedelta(hours=73)
        assert order["filled_at"] - order["created_at"] == pd.Timedelta(hours=1)
        assert order["price"] == pytest.approx(close[order["symbol"]][last[order["symbol"]]] * 0.999, rel=1e-12)
    verdict = command("analyze_run.py", delisted, "--verify", run.name, "--results-root", "results", "--json")
    assert json.loads(verdict)
