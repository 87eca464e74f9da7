"""Strategies as users write them, for test_user.py."""

from __future__ import annotations

import math
from typing import Any

import backtrader as bt
from backtrader import Strategy  # noqa: F401 - imported on purpose: it is not defined here

SEEN: dict[str, Any] = {}


class Cross(bt.Strategy):
    """Buys when the close is above its average, sells when below; prints nothing."""

    params = (("period", 3), ("share", 0.5), ("shout", False), ("symbol", "A"))

    def __init__(self):
        self.data_used = self.getdatabyname(self.p.symbol)
        self.average = bt.indicators.SMA(self.data_used.close, period=self.p.period)
        SEEN.update(names=[data._name for data in self.datas], params=dict(self.p._getkwargs()), notified=[])

    def notify_order(self, order):
        SEEN["notified"].append(order.getstatusname())

    def next(self):
        held = self.getposition(self.data_used).size
        if self.data_used.close[0] > self.average[0] and not held:
            self.buy(data=self.data_used, size=self.p.share * self.broker.getvalue() / self.data_used.close[0])
        elif self.data_used.close[0] < self.average[0] and held:
            self.close(data=self.data_used)


class CrossBarByBar(Cross):
    """The same with indicators computed bar by bar, as some of Backtrader's own force it."""

    def __init__(self):
        super().__init__()
        self.env._disable_runonce()


class FollowFactor(bt.Strategy):
    """Holds one unit of each symbol whose factor is above zero."""

    def __init__(self):
        SEEN["rows"] = []

    def next(self):
        SEEN["rows"].append([(data.close[0], data.tradable[0], data.edge[0]) for data in self.datas])
        for data in self.datas:
            self.order_target_size(data, 1 if data.edge[0] > 0 else 0)


class Holder(bt.Strategy):
    """Buys `size` of the first symbol on the first bar and forgets it."""

    params = (("size", 5.0),)

    def next(self):
        if len(self) == 1:
            (self.buy if self.p.size > 0 else self.sell)(data=self.datas[0], size=abs(self.p.size))


class Reverses(bt.Strategy):
    """Reverses its position at every bar by a size of its own; the rounding of a reversal leaves a rest to fill."""

    def next(self):
        size = 0.3 + 2.7 * math.modf(len(self) * 0.6180339887498949)[0]
        (self.sell if self.position.size > 0 else self.buy)(size=size)


class Counts(bt.Strategy):
    """A parameter that no text can be."""

    params = (("periods", (3, 5)), ("name", None))


class Insists(Holder):
    """Sends one more order on bar `late`, and keeps what it is told."""

    params = (("late", 3),)

    def __init__(self):
        SEEN["notified"] = []

    def notify_order(self, order):
        SEEN["notified"].append((len(self) - 1, order.getstatusname()))

    def next(self):
        super().next()
        if len(self) == self.p.late:
            self.sell(data=self.datas[0], size=1)


class Leaves(bt.Strategy):
    """Stops the run before its first bar."""

    def start(self):
        self.env.runstop()


class Quits(Holder):
    """Stops the run by itself."""

    def next(self):
        super().next()
        if len(self) == 3:
            self.env.runstop()


class Peeks(bt.Strategy):
    """Reads the next bar."""

    def next(self):
        SEEN["peeked"] = self.data.close[1]


class Limits(bt.Strategy):
    """One limit order below the market, one stop, one cancelled order."""

    def next(self):
        if len(self) == 1:
            self.buy(size=1, exectype=bt.Order.Limit, price=95.0)
            self.order = self.buy(size=1, exectype=bt.Order.Limit, price=1.0)
        if len(self) == 2:
            self.cancel(self.order)


class LimitFirst(bt.Strategy):
    """A limit order that waits while a later market order fills."""

    def next(self):
        if len(self) == 1:
            self.buy(size=1, exectype=bt.Order.Limit, price=95.0)
        if len(self) == 2:
            self.buy(size=2)


class Misspells(bt.Strategy):
    """Reads a factor that there is not."""

    def next(self):
        SEEN["misread"] = self.datas[0].edgy[0]


class MisspellsItself(bt.Strategy):
    """Reads an attribute of its own that there is not."""

    def next(self):
        SEEN["misread"] = self.stake_size


NOT_A_STRATEGY = 7
