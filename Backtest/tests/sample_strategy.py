"""A Backtrader strategy as a user writes it, for the tests of ``--strategy module:Class``."""

from __future__ import annotations

import backtrader as bt


class BuyRising(bt.Strategy):
    """Buys once each symbol whose factor is positive."""

    params = (("factor", "mom"), ("size", 1.0))

    def next(self):
        for data in self.datas:
            score = getattr(data, self.p.factor)[0]
            if score > 0 and data.tradable[0] and not self.getposition(data).size:
                self.buy(data, size=self.p.size)
