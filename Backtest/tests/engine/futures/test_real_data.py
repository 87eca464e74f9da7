"""Real funding and klines: five years of BTC, forty symbols of 2026, and twenty times leverage through the crashes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Backtest.data.clock import build_panel
from Backtest.data.funding import load_funding
from Backtest.data.panel import Panel
from Backtest.data.root import open_root
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import parse_duration, parse_timeframe
from Backtest.data.universe import resolve_symbols
from Backtest.engine.futures.fees import load_fees
from Backtest.engine.futures.terms import FuturesTerms
from Backtest.engine.futures.tiers import load_tiers
from Backtest.engine.numba import run
from Backtest.settings import CoreSettings, resolve
from Backtest.strategies import build_strategy
from Backtest.tests.conftest import real_data_folder
from Backtest.tests.engine.market import costs

CORE = CoreSettings()
CASH = 1_000_000.0
CHARGES = costs(slippage=0.001, lot_step=1e-6)
BTC = "BTCUSDT"


@cache
def panel_of(root_name: str, label: str, symbols: tuple[str, ...] | None) -> Panel:
    """Klines of a real data root on one clock."""
    timeframe = parse_timeframe(label)
    root = open_root(real_data_folder() / root_name, timeframe, CORE)
    names = resolve_symbols(root, symbols)
    bars = [load_symbol(root, symbol, settings=CORE, cache_root=None) for symbol in names]
    first, last = min(int(one.index[0]) for one in bars), max(int(one.index[-1]) for one in bars)
    return build_panel(
        bars, timeframe=timeframe, start_ns=timeframe.open_ns(first), end_ns=timeframe.open_ns(last + 1), lookback=0,
        fields=("open", "high", "low", "close", "volume"), members=names,
        episode_gap_ns=parse_duration(CORE.episode_gap),
    )  # fmt: skip


def terms_of(panel: Panel, places: list[Path], *, leverage: float = 1.0, mode: str = "cross") -> FuturesTerms:
    """The shipped tiers and fees, and the funding files of these places."""
    return FuturesTerms(
        margin_mode=mode,
        leverage=dict.fromkeys(panel.symbols, leverage),
        tiers=load_tiers(resolve(CORE.um_tiers)),
        fees=load_fees(resolve(CORE.um_fees)),
        funding={symbol: load_funding(symbol, places) for symbol in panel.symbols},
        funding_valid_ns=parse_duration("8h"),
    )


def joined_funding(record, panel: Panel, file: Path, symbol: str) -> pd.DataFrame:
    """What pandas says was settled: every stamp of the file against what was held at it.

    Held at a stamp on a bar's open: the close before; inside a bar: what was held after the bar's fills, which is what
    it closes with, there being no liquidation.
    """
    rows = pd.read_csv(file)
    time = rows.columns[0]
    unit = {} if rows[time].dtype == object else {"unit": "ms"}
    stamp = pd.to_datetime(rows[time], utc=True, format=None if unit else "ISO8601", **unit).dt.round("min")
    rows = pd.DataFrame({"stamp": stamp, "rate": rows["funding_rate"], "mark": rows.get("mark_price", np.nan)})
    column = panel.symbols.index(symbol)
    sizes = pd.Series(record.sizes[:, column])
    bars = pd.DataFrame({
        "open_time": pd.DatetimeIndex(panel.timestamp).tz_localize("UTC"),
        "open": panel.fields["open"][:, column], "before": sizes.shift(1, fill_value=0.0), "after": sizes,
    })  # fmt: skip
    end = bars["open_time"].iloc[-1] + pd.Timedelta(seconds=panel.timeframe.seconds)
    rows = rows[(rows["stamp"] >= bars["open_time"].iloc[0]) & (rows["stamp"] < end)]
    both = pd.merge_asof(rows.sort_values("stamp"), bars, left_on="stamp", right_on="open_time")
    both["held"] = both["before"].where(both["stamp"] == both["open_time"], both["after"])
    both["flow"] = -both["held"] * both["mark"].fillna(both["open"]) * both["rate"]
    return both[both["held"] != 0]


def funding_rows(record, symbol: str):
    return [order.value for order in record.orders if order.reason == "funding" and order.symbol == symbol]


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("root, label", [("spot_daily", "1d"), ("um_futures", "4h")])
def test_years_of_btc_funding_equal_a_pandas_join(real_data, root, label, side):
    """Daily klines of BTC cover the file's stamps from 2021-05 to 2026-01, those of 4h from 2024-02 to 2026-03."""
    file = real_data / "um_futures" / "funding_BTCUSDT_2021_2026.csv.gz"
    panel = panel_of(root, label, (BTC,))
    turns = np.arange(len(panel.timestamp)) // (35 if label == "1d" else 200) % 2
    scores = side * np.where(turns[:, None], 1.0, -1.0)
    strategy = build_strategy("signal", {}, {"factor": "x", "weight": 0.2, "rebalance": "1w"})
    record = run(panel, scores, strategy, costs=CHARGES, initial_cash=CASH, futures=terms_of(panel, [file]))
    assert not any(order.reason == "liquidation" for order in record.orders)
    expected = joined_funding(record, panel, file, BTC)
    found = funding_rows(record, BTC)
    assert len(found) == len(expected) > (2000 if label == "4h" else 5000)
    np.testing.assert_allclose(found, expected["flow"], rtol=1e-9)
    assert sum(found) == pytest.approx(expected["flow"].sum(), rel=1e-9)


def test_the_funding_of_forty_symbols_equals_a_pandas_join(real_data):
    """4 or 8 h apart, by contract; a long-short book that turns over twice a day."""
    folder = real_data / "um_futures" / "funding_2026"
    panel = panel_of("um_futures", "4h", None)
    panel = panel.rows(panel.shape[0] - 420, panel.shape[0])
    assert len(panel.symbols) == 40
    close = panel.fields["close"]
    scores = np.full(close.shape, np.nan)
    scores[6:] = close[6:] / close[:-6] - 1
    strategy = build_strategy("longshort", {}, {"factor": "x", "k": 15, "gross_leverage": 2.0, "rebalance": "3"})
    made = terms_of(panel, [folder], leverage=5)
    record = run(panel, scores, strategy, costs=CHARGES, initial_cash=CASH, futures=made)
    assert not any(order.reason == "liquidation" for order in record.orders)
    settled, spacings = 0, set()
    for symbol in panel.symbols:
        expected = joined_funding(record, panel, folder / f"{symbol}.csv.gz", symbol)
        found = funding_rows(record, symbol)
        assert len(found) == len(expected), symbol
        np.testing.assert_allclose(found, expected["flow"], rtol=1e-9, atol=1e-12)
        settled += len(found)
        series = made.funding[symbol]
        assert series is not None
        spacings |= set(np.diff(series.rates.stamps) // 3_600_000_000_000)
    assert settled > 3000
    assert spacings == {4, 8}


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_twenty_times_leverage_through_the_crashes(real_data, mode):
    """All in at 18 times equity in the best ten, weekly: liquidated, stated, and never in debt."""
    panel = panel_of("um_futures", "4h", None)
    close = panel.fields["close"]
    scores = np.full(close.shape, np.nan)
    scores[42:] = close[42:] / close[:-42] - 1
    values = {"factor": "x", "k": 10, "invest": 18.0, "max_weight": 2.0, "rebalance": "1w"}
    made = terms_of(panel, [real_data / "um_futures" / "funding_2026"], leverage=20, mode=mode)
    record = run(
        panel, scores, build_strategy("topk", {}, values), costs=CHARGES, initial_cash=5_000.0, futures=made
    )  # fmt: skip
    struck = [order for order in record.orders if order.reason == "liquidation"]
    assert len(struck) >= 10
    assert any("positions were liquidated" in line for line in record.warnings)
    assert record.cash.min() >= 0
    assert record.equity.min() >= 0
    for order in struck:
        assert order.commission <= 0.0125 * order.value * (1 + 1e-12)
        assert order.price > 0
