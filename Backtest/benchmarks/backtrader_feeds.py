"""Our feeds and adapter against stock Backtrader on the same work: CPU time, with the same orders.

    python -m Backtest.benchmarks.backtrader_feeds            a reduced market, about half a minute
    python -m Backtest.benchmarks.backtrader_feeds --full     W2: 50 symbols x 17,520 bars, five alternating runs

Both trade the top k of a random score every N bars at equal weights, long only, with commission and slippage. Timed are
the making of the feeds and `cerebro.run`; the ranking is made beforehand for both. Stock means PandasData feeds,
default observers, order_target_size; its data frames are made beforehand. Needs pandas (requirements-dev.txt).
"""

from __future__ import annotations

import argparse
import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from Backtest.data.panel import Floats, Panel
from Backtest.data.timeframe import parse_timeframe
from Backtest.engine.backtrader import run
from Backtest.engine.costs import Costs
from Backtest.strategies.base import CrossSection

COSTS = Costs(
    commission=0.001,
    slippage=0.001,
    slippage_capped=False,
    lot_step=1e-8,
    min_notional=5.0,
    no_trade_band=0.0,
    on_rejected="count",
    delisting_haircut=0.0,
)
CASH = 100_000.0
INVEST = 0.98
Fill = tuple[int, str, float, float]
"""(row, symbol, signed size, price)."""


@dataclass(frozen=True)
class Work:
    """One market, and the weights of every rebalance row."""

    panel: Panel
    weights: Floats
    every: int


@dataclass(frozen=True)
class Stated:
    """A strategy whose weights were made beforehand: they are its scores."""

    rebalance: str
    factor: str = "score"
    volatility_days: float = 0.0
    wanted: int = 0

    def target_weights(self, cross_section: CrossSection) -> Floats:
        """Return the scores."""
        return cross_section.scores


def market(bars: int, symbols: int, *, k: int, every: int, seed: int = 7) -> Work:
    """Return a gap-free random market and the equal weights of its top k."""
    draw = np.random.default_rng(seed)
    closes = 100.0 * np.exp(np.cumsum(0.005 * draw.standard_normal((bars, symbols)), axis=0))
    opens = np.vstack([closes[:1], closes[:-1]]) * np.exp(0.0005 * draw.standard_normal((bars, symbols)))
    highs = np.maximum(opens, closes) * (1 + 0.001 * draw.random((bars, symbols)))
    lows = np.minimum(opens, closes) * (1 - 0.001 * draw.random((bars, symbols)))
    there = np.ones((bars, symbols), dtype=np.bool_)
    age = np.repeat(np.arange(1, bars + 1, dtype=np.int32)[:, None], symbols, axis=1)
    names = tuple(f"S{number:03d}USDT" for number in range(symbols))
    fields = {"open": opens, "high": highs, "low": lows, "close": closes, "volume": np.ones((bars, symbols))}
    panel = Panel(parse_timeframe("1h"), 420_000, names, fields, there, there, age, there, 0)
    scores = np.cumsum(draw.standard_normal((bars, symbols)), axis=0)
    weights = np.zeros((bars, symbols))
    np.put_along_axis(weights, np.argsort(-scores, axis=1, kind="stable")[:, :k], INVEST / k, axis=1)
    return Work(panel, weights, every)


def ours(work: Work) -> tuple[float, list[Fill]]:
    """Return (CPU seconds, fills) of the reference engine."""
    begin = time.process_time()
    record = run(work.panel, work.weights, Stated(str(work.every)), costs=COSTS, initial_cash=CASH)
    seconds = time.process_time() - begin
    fills = [
        (order.filled_bar, order.symbol, order.size if order.side == "buy" else -order.size, order.price)
        for order in record.orders
        if order.status == "filled"
    ]
    return seconds, fills


def stock(work: Work) -> tuple[float, list[Fill]]:
    """Return (CPU seconds, fills) of Backtrader as it comes."""
    import backtrader as bt
    import pandas as pd

    index = pd.DatetimeIndex(work.panel.timestamp)
    names = ("open", "high", "low", "close", "volume")
    frames = [
        pd.DataFrame({name: work.panel.fields[name][:, column] for name in names}, index=index)
        for column in range(len(work.panel.symbols))
    ]
    begin = time.process_time()
    cerebro = bt.Cerebro()
    for symbol, frame in zip(work.panel.symbols, frames, strict=True):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=symbol)
    cerebro.broker.set_cash(CASH)
    cerebro.broker.setcommission(commission=COSTS.commission)
    cerebro.broker.set_slippage_perc(COSTS.slippage, slip_open=True, slip_out=True)
    cerebro.addstrategy(stock_strategy(), weights=work.weights, every=work.every)
    cerebro.run()
    seconds = time.process_time() - begin
    rows = {bt.date2num(stamp.to_pydatetime()): row for row, stamp in enumerate(index)}
    fills = [
        (rows[order.executed.dt], order.data._name, order.executed.size, order.executed.price)
        for order in cerebro.broker.orders
        if order.status == bt.Order.Completed
    ]
    return seconds, fills


def stock_strategy() -> Any:
    """Return the strategy as one would write it for stock Backtrader."""
    import backtrader as bt

    class TopK(bt.Strategy):
        params = (("weights", None), ("every", 1))

        def next(self) -> None:
            row = len(self) - 1
            if row % self.p.every or row + 1 == len(self.p.weights):
                return
            value = self.broker.getvalue()
            sells: list[tuple[Any, float]] = []
            buys: list[tuple[Any, float]] = []
            for data, weight in zip(self.datas, self.p.weights[row].tolist(), strict=True):
                held, close = self.getposition(data).size, data.close[0]
                target = math.floor(weight * value / close / COSTS.lot_step + 1e-9) * COSTS.lot_step
                change = target - held
                if change and abs(change) * close >= COSTS.min_notional:
                    (buys if change > 0 else sells).append((data, target))
            for data, target in sells + buys:
                self.order_target_size(data, target)

    return TopK


def same_fills(first: Sequence[Fill], second: Sequence[Fill]) -> bool:
    """Say whether two runs filled the same sizes at the same prices, to 1e-9."""
    if len(first) != len(second):
        return False
    pairs = zip(first, second, strict=True)
    return all(a[:2] == b[:2] and np.allclose(a[2:], b[2:], rtol=1e-9, atol=1e-9) for a, b in pairs)


def timed(work: Work, repeats: int) -> tuple[list[float], list[float], int, bool]:
    """Return the CPU seconds of stock and of ours, in turn, the number of fills, and whether they were the same."""
    seconds: dict[str, list[float]] = {"stock": [], "ours": []}
    fills: dict[str, list[Fill]] = {}
    kinds: dict[str, Callable[[Work], tuple[float, list[Fill]]]] = {"stock": stock, "ours": ours}
    for _ in range(repeats):
        for name, measure in kinds.items():
            gc.collect()
            taken, fills[name] = measure(work)
            seconds[name].append(taken)
    return seconds["stock"], seconds["ours"], len(fills["ours"]), same_fills(fills["stock"], fills["ours"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="W2 in full, five alternating runs (some five minutes)")
    parser.add_argument("--bars", type=int, default=2_190, help="bars of the reduced market (default %(default)s)")
    parser.add_argument("--symbols", type=int, default=50, help="symbols (default %(default)s)")
    parser.add_argument("--k", type=int, default=10, help="symbols held (default %(default)s)")
    parser.add_argument("--every", type=int, default=6, help="bars between rebalances (default %(default)s)")
    parser.add_argument("--repeats", type=int, help="alternating runs (default 5 with --full, else 3)")
    asked = parser.parse_args(arguments)
    bars = 17_520 if asked.full else asked.bars
    work = market(bars, asked.symbols, k=asked.k, every=asked.every)
    before, after, fills, same = timed(work, asked.repeats or (5 if asked.full else 3))
    ratios = [one / other for one, other in zip(before, after, strict=True)]
    print(f"{asked.symbols} symbols x {bars} bars, top {asked.k} every {asked.every} bars, {fills} fills")
    print(f"{'run':>4} {'stock s':>9} {'ours s':>9} {'ratio':>7}")
    for turn, (one, other, ratio) in enumerate(zip(before, after, ratios, strict=True), 1):
        print(f"{turn:>4} {one:>9.2f} {other:>9.2f} {ratio:>7.2f}")
    middle = [statistics.median(values) for values in (before, after, ratios)]
    print(f"{'mid':>4} {middle[0]:>9.2f} {middle[1]:>9.2f} {middle[2]:>7.2f}")
    print(f"same orders: {'yes' if same else 'NO'}")


if __name__ == "__main__":
    main()
