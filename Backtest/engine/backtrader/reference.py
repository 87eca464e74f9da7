"""Run one of our strategies on Backtrader.

1. `find_episodes`      panel -> one set of price arrays per listing episode
2. `feeds_of`           -> one feed each, on one clock
3. `broker_of`          BackBroker with the run's costs
4. `Rebalancer.next`    per bar: book the fills, record the bar, decide, send (`orders.planned`)
5. `Journal.record`     -> RunRecord
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import backtrader as bt

from ...data.panel import Floats, Panel
from ...portfolio.overlays import Overlay
from ...strategies.base import Strategy
from ..costs import Costs
from ..decisions import Decisions
from ..episodes import Episode, checked_episodes
from ..journal import Journal
from ..ledger import RunRecord
from ..orders import Intent
from .broker import broker_of
from .feeds import Clock, feed_class


def run(
    panel: Panel,
    scores: Floats,
    strategy: Strategy,
    *,
    costs: Costs,
    initial_cash: float,
    overlays: tuple[Overlay, ...] = (),
) -> RunRecord:
    """Return the record of `strategy` over the panel's window.

    Parameters
    ----------
    panel
        Fields open, high, low, close. Its `warmup` rows feed trailing volatility only; nothing is traded there.
    scores
        float64 [T - warmup, S], the factor on the window's rows; NaN is missing. A value known at the close of a row
        is traded at the open of the next.
    strategy
        Asked for weights on its rebalance rows.
    costs, initial_cash
        As their names say.
    overlays
        In the order of their table (portfolio/overlays.py).

    Raises
    ------
    RunError
        Nothing to trade in the window, a price that is not finite and positive, or wrong shapes.
    """
    episodes = checked_episodes(panel, scores, haircut=costs.delisting_haircut, initial_cash=initial_cash)
    window = panel.rows(panel.warmup, len(panel.age))
    journal = Journal(window.timestamp, window.symbols, episodes, costs=costs)
    decisions = Decisions(
        panel, scores, strategy, episodes=episodes, costs=costs, initial_cash=initial_cash, overlays=overlays
    )
    cerebro = cerebro_of(episodes, Clock(window.timestamp), factors={})
    forced: set[int] = set()
    cerebro.broker = broker_of(costs, initial_cash=initial_cash, forced=forced)
    cerebro.addstrategy(Rebalancer, journal=journal, decisions=decisions, forced=forced)
    cerebro.run()
    return journal.record(decisions.ruined, decisions.words(), scalable=costs.on_rejected == "count")


def cerebro_of(episodes: tuple[Episode, ...], clock: Clock, *, factors: Mapping[str, Floats]) -> Any:
    """Return a Cerebro without observers, holding one feed per episode; the first feed moves the clock."""
    cerebro = bt.Cerebro(stdstats=False)
    kind = feed_class(tuple(factors))
    for place, episode in enumerate(episodes):
        lines = {name: values[:, episode.column] for name, values in factors.items()}
        feed = kind(clock=clock, episode=episode, factors=lines, leads=place == 0, name=episode.name)
        cerebro.adddata(feed)
    return cerebro


class Rebalancer(bt.Strategy):
    """Books fills, records the bar, asks `Decisions` and sends. Orders live one bar."""

    params = (("journal", None), ("decisions", None), ("forced", None))

    def __init__(self) -> None:
        self.journal: Journal = self.p.journal
        self.decisions: Decisions = self.p.decisions
        self.forced: set[int] = self.p.forced
        self.row = -1
        self.refused: set[int] = set()
        self.open_orders: list[tuple[Intent, int, Any]] = []

    def _oncepost(self, dt: float) -> None:
        # Backtrader's own version also moves indicators, trades and observers; there are none here.
        self.row += 1
        self.next()

    def _addnotification(self, order: Any, quicknotify: bool = False) -> None:
        # The order objects themselves are read in next(): Backtrader's trade bookkeeping is not needed.
        pass

    def next(self) -> None:
        """Steps of one bar, at its close."""
        if self.open_orders:
            self.book()
        cash, equity = self.broker.cash, self.broker.getvalue()
        self.journal.bar(self.row, cash=cash, equity=equity)
        for intent, feed in self.decisions.decide(self.row, cash=cash, equity=equity, journal=self.journal):
            self.send(intent, feed)

    def send(self, intent: Intent, feed: int) -> None:
        """Send one order. A settlement fills on a dead feed; ruin and a refused settlement skip the cash check."""
        trade = self.broker.buy if intent.size > 0 else self.broker.sell
        unchecked = self.decisions.ruined or (intent.reason == "delisting" and intent.column in self.refused)
        order = trade(self, self.datas[feed], abs(intent.size), _checksubmit=not unchecked)
        if intent.reason == "delisting":
            self.forced.add(order.ref)
        self.open_orders.append((intent, feed, order))

    def book(self) -> None:
        """Write what became of the last bar's orders, and cancel what is still alive."""
        for intent, feed, order in self.open_orders:
            if order.alive():
                self.broker.cancel(order)
            done, price, fees = order.executed.size, order.executed.price, order.executed.comm
            margin = order.status == bt.Order.Margin
            if intent.reason == "delisting":
                (self.refused.discard if done else self.refused.add)(intent.column)
            self.journal.outcome(self.row, intent, feed, filled=done, price=price, commission=fees, margin=margin)
            position = self.broker.positions[self.datas[feed]]
            self.journal.hold(feed, position.size, average=position.price)
        self.open_orders = []
        self.broker.orders.clear()  # Backtrader keeps every order it ever saw, 5 kB each, and never reads them
