"""The two curves drawn beside every run: buy-and-hold of one symbol, and the equal-weight universe."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .data.panel import Bools, Floats, Panel
from .data.timeframe import DAY_SECONDS
from .returns import closing_day


def held_closes(panel: Panel) -> Floats:
    """Return what a holding is valued at, float64 [T, S]: the last close of the listing episode, NaN outside one."""
    close = np.where(panel.exists, panel.fields["close"], np.nan)
    row = np.where(np.isfinite(close), np.arange(len(close))[:, None], -1)
    last = np.maximum.accumulate(row, axis=0)
    carried: Floats = np.take_along_axis(close, np.maximum(last, 0), axis=0)
    begun = np.arange(len(close))[:, None] - np.maximum(panel.age, 1) + 1
    return np.where((panel.age > 0) & (last >= np.maximum(begun, 0)), carried, np.nan)


def buy_and_hold(panel: Panel, symbol: str, initial_cash: float) -> Floats | None:
    """Return `initial_cash` put into `symbol` at its first close, valued at every close: float64 [T].

    NaN before its first bar and outside its listing episodes; None when the window holds no bar of it.
    """
    closes = held_closes(panel.columns((symbol,)))[:, 0]
    known = np.flatnonzero(np.isfinite(closes))
    if not len(known):
        return None
    curve: Floats = initial_cash * (closes / closes[known[0]])
    return curve


def equal_weight(panel: Panel, initial_cash: float) -> Floats:
    """Return `initial_cash` spread evenly over the tradable members, without costs: float64 [T], never NaN.

    Rebalanced at the first close and at the last close of every UTC day (at every close of longer bars) among the
    members tradable there. A holding that cannot be traded at that close keeps its size and the others share the
    rest; one whose listing episode is over is paid out at its last close. While nothing is tradable it is cash.
    """
    closes = held_closes(panel)
    rows, columns = closes.shape
    curve: Floats = np.empty(rows)
    units: Floats = np.zeros(columns)
    paid: Floats = np.zeros(columns)
    cash = float(initial_cash)
    begin = 0
    for end in np.flatnonzero(_rebalance(panel)):
        curve[begin : end + 1], paid = _valued(closes[begin : end + 1], units, cash, paid)
        cash, units, paid = _spread_evenly(curve[end], closes[end], panel, int(end), units, paid)
        begin = end + 1
    if begin < rows:
        curve[begin:], _ = _valued(closes[begin:], units, cash, paid)
    return curve


def _rebalance(panel: Panel) -> NDArray[np.bool_]:
    if panel.timeframe.seconds >= DAY_SECONDS:
        return np.ones(panel.shape[0], dtype=np.bool_)
    day = closing_day(panel.timestamp.astype(np.int64), panel.timeframe)
    last: NDArray[np.bool_] = np.append(day[1:] != day[:-1], False)
    last[0] = True
    return last


def _valued(closes: Floats, units: Floats, cash: float, before: Floats) -> tuple[Floats, Floats]:
    """Return the curve over these rows, and each symbol's price at their end (its last close once it is delisted)."""
    held = units != 0
    prices = np.vstack([before[None, :], closes])[:, held]
    row = np.where(np.isfinite(prices), np.arange(len(prices))[:, None], 0)
    prices = np.take_along_axis(prices, np.maximum.accumulate(row, axis=0), axis=0)
    last = before.copy()
    last[held] = prices[-1]
    # A sum along rows, not a BLAS product: its order, hence its bits, does not depend on the number of threads.
    return cash + (prices[1:] * units[held]).sum(axis=1), last


def _spread_evenly(
    equity: float, closes: Floats, panel: Panel, row: int, units: Floats, paid: Floats
) -> tuple[float, Floats, Floats]:
    tradable: Bools = panel.tradable[row] & panel.member[row] & np.isfinite(closes)
    stuck = (units != 0) & ~tradable & (panel.age[row] > 0)
    count = int(np.count_nonzero(tradable))
    target = np.where(stuck, units, 0.0)
    free = equity - float((target[stuck] * paid[stuck]).sum())
    if count:
        target[tradable] = free / count / closes[tradable]
        free = 0.0
    return free, target, np.where(tradable, closes, paid)
