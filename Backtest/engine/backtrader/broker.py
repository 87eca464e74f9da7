"""Backtrader's own BackBroker, set up as ENGINE.md says. Nothing of it is overridden."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import backtrader as bt

from ..costs import Costs

Filler = Callable[[Any, float, int], float]


class Fees(bt.CommInfoBase):
    """A fraction of the traded value; no interest on shorts (borrowing costs are not modelled)."""

    params = (("percabs", True), ("stocklike", True), ("commtype", bt.CommInfoBase.COMM_PERC))

    def get_credit_interest(self, data: Any, pos: Any, dt: datetime) -> float:
        """Return 0."""
        return 0.0


def broker_of(costs: Costs, *, initial_cash: float, forced: set[int]) -> Any:
    """Return a BackBroker whose market orders slip and fill only on tradable bars, but for the order refs in `forced`.

    The caller adds to `forced` while the run goes on: settlements fill where nothing is traded any more.
    """
    broker = bt.brokers.BackBroker(cash=initial_cash, filler=filler_of(forced))
    # A BackBroker built with slip_perc= does not slip market orders; this call also sets slip_open.
    broker.set_slippage_perc(costs.slippage, slip_open=True, slip_match=True, slip_out=not costs.slippage_capped)
    broker.addcommissioninfo(Fees(commission=costs.commission))
    return broker


def filler_of(forced: set[int]) -> Filler:
    """Return the rule of what fills: all of an order where its bar is tradable or it is forced, else nothing.

    The rest is signed: rounding can leave a reversal overfilled by a last bit, and taken as a size to fill it would
    double at every bar.
    """

    def fill(order: Any, price: float, ago: int) -> float:
        if order.data.tradable[ago] or order.ref in forced:
            return float(order.executed.remsize if order.isbuy() else -order.executed.remsize)
        return 0.0

    return fill
