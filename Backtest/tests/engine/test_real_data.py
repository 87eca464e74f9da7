"""Real klines whose coins die while held: the engine equals the plain-Python replay, order by order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.data.clock import build_panel
from Backtest.data.root import open_root
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import parse_duration, parse_timeframe
from Backtest.data.universe import resolve_symbols
from Backtest.engine.backtrader import run
from Backtest.settings import CoreSettings
from Backtest.strategies import build_strategy
from Backtest.tests.engine.market import costs
from Backtest.tests.engine.replay import replay
from Backtest.tests.engine.test_replay import CASH, compare, identity_error, plain

TERMS = {"commission": 0.001, "slippage": 0.001, "min_notional": 5.0, "delisting_haircut": 0.2}
LOOKBACK = 72


@pytest.fixture(scope="module")
def dying(real_data, tmp_path_factory):
    """A window of spot_1h_delisted, with look-back bars before it."""
    settings = CoreSettings(data_root=str(real_data / "spot_1h_delisted"))
    timeframe = parse_timeframe("1h")
    root = open_root(real_data / "spot_1h_delisted", timeframe, settings)
    cache = tmp_path_factory.mktemp("klines")
    symbols = resolve_symbols(root, None)
    bars = [load_symbol(root, symbol, settings=settings, cache_root=cache, last_bar=None) for symbol in symbols]
    return build_panel(
        bars,
        timeframe=timeframe,
        start_ns=int(np.datetime64("2021-12-01", "ns").astype(np.int64)),
        end_ns=int(np.datetime64("2023-01-15", "ns").astype(np.int64)),
        lookback=LOOKBACK,
        fields=("open", "high", "low", "close", "volume"),
        members=symbols,
        episode_gap_ns=parse_duration(settings.episode_gap),
    )


@pytest.mark.parametrize(
    "name, params",
    [
        ("topk", {"k": 6, "ascending": True, "weighting": "score", "max_weight": 0.5, "invest": 0.98}),
        ("longshort", {"k": 3, "quantile": 0.2, "ascending": True, "weighting": "equal", "max_weight": 1.0,
                       "gross_leverage": 1.0}),
    ],
)  # fmt: skip
def test_coins_that_die_while_held_are_settled_as_in_the_replay(dying, name, params):
    close = dying.fields["close"]
    scores = np.full(close.shape, np.nan)
    scores[LOOKBACK:] = close[LOOKBACK:] / close[:-LOOKBACK] - 1
    scores = scores[dying.warmup :]
    strategy = build_strategy(name, {}, {"factor": "momentum", "rebalance": "1d", **params})
    record = run(dying, scores, strategy, costs=costs(**TERMS), initial_cash=CASH)

    window = dying.rows(dying.warmup, len(dying.age))
    due = [(t + 1) % 24 == 0 for t in range(len(window.age))]
    market, listed = plain(window, scores, due)
    terms = {"slippage_capped": False, "lot_step": 1e-8, "no_trade_band": 0.0, "on_rejected": "count", **TERMS}
    expected = replay(market | {"gap": 72}, listed, {"kind": name, **params}, terms, CASH)
    compare(record, expected, CASH)
    assert identity_error(record, window) < 1e-9
    assert np.isfinite(record.equity).all()
    settled = [order for order in record.orders if order.reason == "delisting"]
    assert len(settled) >= 2
    assert all(order.status == "filled" and math.isfinite(order.price) for order in settled)
