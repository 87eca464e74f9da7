"""The same orders and the same equity as stock Backtrader: PandasData feeds, order_target_size, gap-free data."""

from __future__ import annotations

import math

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from Backtest.benchmarks import backtrader_feeds
from Backtest.engine.backtrader import run
from Backtest.strategies import build_strategy
from Backtest.tests.engine.market import costs, panel_of, random_walk

STEP = 0.001
CASH = 50_000.0


class Stock(bt.Strategy):
    """Sells before buys, closing before opening, by name; whole lots toward zero."""

    params = (("weights", None),)

    def __init__(self):
        self.equity, self.cash = [], []

    def next(self):
        row = len(self) - 1
        self.equity.append(self.broker.getvalue())
        self.cash.append(self.broker.getcash())
        if row + 1 == len(self.p.weights):
            return
        wanted = []
        for place, data in enumerate(self.datas):
            weight = self.p.weights[row][place]
            if math.isnan(weight):
                continue
            held = self.getposition(data).size
            target = math.floor(abs(weight) * self.broker.getvalue() / data.close[0] / STEP + 1e-9) * STEP
            target = math.copysign(target, weight)
            change = target - held
            if abs(change) > STEP / 2:
                wanted.append((change > 0, held * change >= 0, place, target))
        for _buys, _opens, place, target in sorted(wanted):
            self.order_target_size(self.datas[place], target)


class Recorded:
    """Asks the strategy inside, and keeps what it answered."""

    def __init__(self, inner):
        self.inner, self.rows = inner, []
        self.factor, self.rebalance, self.volatility_days = inner.factor, inner.rebalance, inner.volatility_days
        self.wanted = inner.wanted

    def target_weights(self, cross_section):
        self.rows.append(self.inner.target_weights(cross_section))
        return self.rows[-1]


@pytest.mark.parametrize(
    "name, params",
    [
        ("topk", {"k": "3", "weighting": "score", "rebalance": "1"}),
        ("topk", {"k": "2", "invest": "1.0", "rebalance": "1"}),  # every buy is at the edge of the cash
        ("longshort", {"k": "2", "weighting": "rank", "rebalance": "1"}),
        ("longshort", {"quantile": "0.5", "gross_leverage": "3", "rebalance": "1"}),
    ],
)
@pytest.mark.parametrize("capped", [False, True])
def test_orders_cash_and_equity_equal_stock_backtrader(name, params, capped):
    rows, columns = 150, 6
    opens, highs, lows, closes = random_walk(21, rows, columns, volatility=0.03)
    symbols = [f"S{column}" for column in range(columns)]
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols=symbols)
    scores = np.cumsum(np.random.default_rng(22).standard_normal((rows, columns)), axis=0)
    terms = costs(commission=0.001, slippage=0.002, slippage_capped=capped, lot_step=STEP)
    strategy = Recorded(build_strategy(name, {"factor": "x", **params}, {}))
    record = run(panel, scores, strategy, costs=terms, initial_cash=CASH)

    cerebro = bt.Cerebro()
    index = pd.DatetimeIndex(panel.timestamp)
    for column, symbol in enumerate(symbols):
        frame = {key: panel.fields[key][:, column] for key in ("open", "high", "low", "close", "volume")}
        cerebro.adddata(bt.feeds.PandasData(dataname=pd.DataFrame(frame, index=index)), name=symbol)
    cerebro.broker.set_cash(CASH)
    cerebro.broker.setcommission(commission=0.001)
    cerebro.broker.set_slippage_perc(0.002, slip_open=True, slip_out=not capped)
    cerebro.addstrategy(Stock, weights=[*strategy.rows, np.full(columns, np.nan)])
    (stock,) = cerebro.run()

    np.testing.assert_allclose(record.equity, stock.equity, rtol=1e-12)
    np.testing.assert_allclose(record.cash, stock.cash, rtol=1e-9, atol=1e-9 * CASH)
    expected = [
        (order.data._name, order.created.size, order.executed.price, order.status == bt.Order.Completed)
        for order in stock.broker.orders
    ]
    assert len(expected) > 200
    for order, (symbol, size, price, filled) in zip(record.orders, expected, strict=True):
        assert order.symbol == symbol
        assert order.size * (1 if order.side == "buy" else -1) == pytest.approx(size, rel=1e-9, abs=1e-9)
        assert (order.status == "filled") == filled
        assert not filled or order.price == pytest.approx(price, rel=1e-12)


def test_the_benchmark_trades_the_same_orders_and_is_faster(capsys):
    backtrader_feeds.main(["--bars", "200", "--symbols", "8", "--k", "3", "--repeats", "1"])
    printed = capsys.readouterr().out
    assert "8 symbols x 200 bars, top 3 every 6 bars" in printed
    assert "same orders: yes" in printed
