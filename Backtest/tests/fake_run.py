"""Records and panels made by hand or from a seed, for the tests of what comes after a run."""

from __future__ import annotations

import numpy as np

from Backtest.comparison import equal_weight
from Backtest.data.panel import Panel
from Backtest.data.timeframe import Timeframe, parse_timeframe
from Backtest.engine.ledger import Order, RunRecord
from Backtest.metrics import compute_metrics
from Backtest.runs.outcome import Outcome

FOUR_HOURS = parse_timeframe("4h")


def clock(rows: int, timeframe: Timeframe = FOUR_HOURS, start: str = "2024-01-01") -> np.ndarray:
    first = np.datetime64(start, "ns").astype(np.int64)
    return (first + timeframe.ns * np.arange(rows, dtype=np.int64)).view("datetime64[ns]")


def record_of(
    equity, *, timeframe=FOUR_HOURS, start="2024-01-01", orders=(), sizes=None, marks=None, symbols=("AUSDT",)
):
    equity = np.asarray(equity, dtype=np.float64)
    shape = (len(equity), len(symbols))
    sizes = np.zeros(shape) if sizes is None else np.asarray(sizes, dtype=np.float64)
    marks = np.where(sizes != 0, 1.0, np.nan) if marks is None else np.asarray(marks, dtype=np.float64)
    cash = equity - np.where(sizes != 0, sizes * marks, 0).sum(axis=1)
    return RunRecord(clock(len(equity), timeframe, start), tuple(symbols), equity, cash, sizes, marks, tuple(orders))


def panel_of(closes, *, timeframe=FOUR_HOURS, start="2024-01-01", symbols=None, tradable=None, age=None) -> Panel:
    """A panel whose bars are missing where the close is NaN, in one episode unless `age` says otherwise."""
    closes = np.asarray(closes, dtype=np.float64)
    columns = closes.shape[1]
    exists = np.isfinite(closes)
    if age is None:
        begun = np.maximum.accumulate(exists, axis=0)
        age = np.cumsum(begun, axis=0).astype(np.int32)
    names = tuple(symbols or (f"S{column:02d}USDT" for column in range(columns)))
    first = timeframe.index(int(np.datetime64(start, "ns").astype(np.int64)))
    tradable = exists if tradable is None else np.asarray(tradable)
    fields = dict.fromkeys(("open", "high", "low", "close", "volume"), closes)
    return Panel(timeframe, first, names, fields, exists, tradable, age, np.ones_like(exists), 0)


def simulated(rows=3000, columns=8, *, seed=1, timeframe=FOUR_HOURS, fee=0.001) -> tuple[Panel, RunRecord]:
    """A long-short run with exact books: random targets every 6 bars, filled at the next row's close times 1 +- fee."""
    random = np.random.default_rng(seed)
    closes = 100 * np.exp(
        np.cumsum(random.normal(0.0002, 0.015, (rows, columns)) * np.linspace(0.6, 1.6, columns), axis=0)
    )
    panel = panel_of(closes, timeframe=timeframe)
    cash, size = 100_000.0, np.zeros(columns)
    orders: list[Order] = []
    equity, cashes, sizes = np.empty(rows), np.empty(rows), np.zeros((rows, columns))
    wanted = None
    for row in range(rows):
        if wanted is not None:
            for column in np.flatnonzero(np.abs(wanted - size) > 1e-9):
                change = wanted[column] - size[column]
                sign = np.sign(change)
                price = closes[row, column] * (1 + sign * fee)
                commission = abs(change) * price * fee
                cash -= change * price + commission
                orders.append(Order(len(orders) + 1, row - 1, row, panel.symbols[column], "buy" if sign > 0 else "sell",
                                    abs(change), price, abs(change) * price, commission,
                                    abs(change) * closes[row, column] * fee, "rebalance", "filled"))  # fmt: skip
                size[column] = wanted[column]
        sizes[row], cashes[row] = size, cash
        equity[row] = cash + (size * closes[row]).sum()
        wanted = equity[row] * random.normal(0.08, 0.12, columns).round(2) / closes[row] if row % 6 == 5 else None
    marks = np.where(sizes != 0, closes, np.nan)
    return panel, RunRecord(panel.timestamp, panel.symbols, equity, cashes, sizes, marks, tuple(orders))


def outcome_of(panel: Panel, record: RunRecord, *, benchmark=True, initial_cash=100_000.0) -> Outcome:
    even = equal_weight(panel, initial_cash)
    held = initial_cash * panel.fields["close"][:, 0] / panel.fields["close"][0, 0] if benchmark else None
    metrics = compute_metrics(
        record, benchmark=held, equal_weight=even, timeframe=panel.timeframe, initial_cash=initial_cash, risk_free=0.0
    )
    return Outcome(record, panel.timeframe, initial_cash, held, even, metrics)
