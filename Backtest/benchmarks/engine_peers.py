"""vectorbt (with and without Rust), bt and stock Backtrader on the orders of `Backtest.benchmarks.engines`.

Each takes a `Job`, runs it and returns (CPU seconds, fills). The sizes are given to all but Backtrader, which makes
them from the weights as one would write it there. Timed is what gives orders and the equity curve; frames and feeds
that are the peer's form of the input are made beforehand.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from Backtest.benchmarks.backtrader_feeds import CASH, COSTS, Work, stock
from Backtest.data.panel import Floats, Panel

Fills = dict[tuple[int, int], tuple[float, float]]
"""(row, column) -> (signed size, price)."""


@dataclass(frozen=True)
class Job:
    """Orders that were found once, and what they stand on.

    Attributes
    ----------
    panel
        Prices.
    sizes
        float64 [T, S]: signed size to trade at the row's open, NaN for nothing.
    weights
        float64 [T, S]: target weights of each rebalance row; None where weights do not tell the orders.
    every
        Bars between rebalances.
    tables
        Whether frames of orders and positions are part of the work.
    """

    panel: Panel
    sizes: Floats
    weights: Floats | None
    every: int
    tables: bool = False


def vectorbt_with(engine: str) -> Callable[[Job], tuple[float, Fills]]:
    """Return vectorbt on ``numba`` or ``rust``."""

    def measure(job: Job) -> tuple[float, Fills]:
        import pandas as pd
        import vectorbt as vbt

        index = pd.DatetimeIndex(job.panel.timestamp)
        close = pd.DataFrame(job.panel.fields["close"], index=index)
        begin = time.process_time()
        portfolio = vbt.Portfolio.from_orders(
            close, size=job.sizes, price=job.panel.fields["open"], fees=COSTS.commission, slippage=COSTS.slippage,
            init_cash=CASH, cash_sharing=True, group_by=True, call_seq="auto", freq="1h", engine=engine,
        )  # fmt: skip
        portfolio.value()
        if job.tables:
            _ = portfolio.orders.records_readable, portfolio.assets()
        seconds = time.process_time() - begin
        records = portfolio.orders.records_arr
        signed = np.where(records["side"] == 0, records["size"], -records["size"])
        places = zip(records["idx"].tolist(), records["col"].tolist(), strict=True)
        return seconds, dict(zip(places, zip(signed.tolist(), records["price"].tolist(), strict=True), strict=True))

    return measure


def bt_backtest(job: Job) -> tuple[float, Fills]:
    """Return pmorissette's bt. It knows no slippage: its commission takes it, at the open's price."""
    import bt
    import pandas as pd

    names = job.panel.symbols
    opens = pd.DataFrame(job.panel.fields["open"], index=pd.DatetimeIndex(job.panel.timestamp), columns=list(names))
    orders: dict[Any, list[tuple[str, float]]] = {}
    for row, column in sorted(
        np.argwhere(~np.isnan(job.sizes)).tolist(), key=lambda at: (at[0], job.sizes[at[0], at[1]] > 0)
    ):
        orders.setdefault(opens.index[row], []).append((names[column], float(job.sizes[row, column])))

    class Trade(bt.Algo):
        def __call__(self, target: Any) -> bool:
            for name, size in orders.get(target.now, ()):
                target.transact(size, name)
            return True

    def cost(size: float, price: float) -> float:
        slipped = price * (1 + (COSTS.slippage if size > 0 else -COSTS.slippage))
        return float(abs(size) * (abs(slipped - price) + slipped * COSTS.commission))

    strategy = bt.Strategy("orders", [Trade()], children=list(names))
    test = bt.Backtest(strategy, opens, initial_capital=CASH, commissions=cost, integer_positions=False,
                       progress_bar=False)  # fmt: skip
    begin = time.process_time()
    test.run()
    seconds = time.process_time() - begin
    done = test.strategy.get_transactions().reset_index()
    rows = opens.index.get_indexer(done["Date"])
    columns = [names.index(name) for name in done["Security"]]
    slipped = done["price"] * (1 + np.sign(done["quantity"]) * COSTS.slippage)
    facts = zip(rows.tolist(), columns, done["quantity"].tolist(), slipped.tolist(), strict=True)
    return seconds, {(row, column): (size, price) for row, column, size, price in facts}


def backtrader_stock(job: Job) -> tuple[float, Fills]:
    """Return Backtrader as it comes."""
    if job.weights is None:
        raise ValueError("stock Backtrader is measured on weights")
    seconds, fills = stock(Work(job.panel, job.weights, job.every))
    column = {name: place for place, name in enumerate(job.panel.symbols)}
    return seconds, {(row, column[name]): (size, price) for row, name, size, price in fills}


PEERS: dict[str, tuple[str, Callable[[Job], tuple[float, Fills]]]] = {
    "vectorbt-rust": ("vectorbt_rust", vectorbt_with("rust")),
    "vectorbt": ("vectorbt", vectorbt_with("numba")),
    "bt": ("bt", bt_backtest),
    "backtrader": ("backtrader", backtrader_stock),
}
"""Name -> (module that it needs, what measures it)."""


def installed(name: str) -> bool:
    """Say whether a peer can be measured here."""
    return importlib.util.find_spec(PEERS[name][0]) is not None
