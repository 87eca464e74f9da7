"""The journal an engine keeps while it runs; `record` makes the RunRecord of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .costs import Costs
from .episodes import Episode
from .ledger import Order, RunRecord
from .orders import Intent

DUST = 1e-9
"""Relative: an unfilled rest below it is rounding of the broker's, not a rejected part."""

SCALE_HINT = "; the setting on_rejected: scale shrinks opening {} instead"
"""Of spot, where cash is short; on futures it is margin."""

TIER_HINT = "their position's tier allows less than was asked"


class Journal:
    """Holdings, equity and orders, bar by bar. A column holds at most one of its episodes at a time."""

    def __init__(
        self,
        timestamp: NDArray[np.datetime64],
        symbols: tuple[str, ...],
        episodes: tuple[Episode, ...],
        *,
        costs: Costs,
    ) -> None:
        self.timestamp, self.symbols, self.episodes, self.costs = timestamp, symbols, episodes, costs
        self.rows = len(timestamp)
        self.sizes = np.zeros(len(symbols))
        self.averages = np.zeros(len(symbols))
        self.holder = np.zeros(len(symbols), dtype=np.int32)
        self.orders: list[Order] = []
        self._equity = np.empty(self.rows)
        self._cash = np.empty(self.rows)
        self._sizes = np.zeros((self.rows, len(symbols)))
        self._holders = np.zeros((self.rows, len(symbols)), dtype=np.int32)

    def hold(self, feed: int, size: float, *, average: float = math.nan) -> None:
        """Set the position of a feed, and the average price paid for it where that will be asked for."""
        column = self.episodes[feed].column
        self.sizes[column], self.averages[column] = size, average
        self.holder[column] = feed

    def bar(self, row: int, *, cash: float, equity: float) -> None:
        """Record the close of a row."""
        self._cash[row], self._equity[row] = cash, equity
        self._sizes[row] = self.sizes
        self._holders[row] = self.holder

    def rest(self, begin: int, *, cash: float) -> None:
        """Record the rows from `begin` on with what is held at the end."""
        self._cash[begin:] = self._equity[begin:] = cash
        self._sizes[begin:], self._holders[begin:] = self.sizes, self.holder
        for column in np.flatnonzero(self.sizes):
            self._equity[begin:] += self.sizes[column] * self.episodes[self.holder[column]].close[begin:]

    def outcome(
        self,
        row: int,
        intent: Intent,
        feed: int,
        *,
        filled: float,
        price: float,
        commission: float,
        margin: bool,
        created: int | None = None,
        market: bool = True,
    ) -> None:
        """Write an order's end at the open of `row`: the filled part, and the rejected part where there is one.

        `created` is the row before unless stated; slippage is stated for market orders.
        """
        decided = row - 1 if created is None else created
        if filled:
            opened = float(self.episodes[feed].open[row])
            cost = abs(filled) * abs(price - opened) if market else 0.0
            self._add(row, intent, abs(filled), created=decided, price=price, costs=(commission, cost), detail="")
        rest = abs(intent.size) - abs(filled)
        if rest > DUST * abs(intent.size):
            detail = "margin" if margin else "untradable"
            would_be = self._would_be(row, intent, feed)
            self._add(row, intent, rest, created=decided, price=would_be, costs=(0.0, 0.0), detail=detail)

    def _add(
        self,
        row: int,
        intent: Intent,
        size: float,
        *,
        created: int,
        price: float,
        costs: tuple[float, float],
        detail: str,
    ) -> None:
        self.orders.append(
            Order(
                order_id=len(self.orders) + 1,
                created_bar=created,
                filled_bar=row,
                symbol=self.symbols[intent.column],
                side="buy" if intent.size > 0 else "sell",
                size=size,
                price=price,
                value=size * price,
                commission=costs[0],
                slippage=costs[1],
                reason=intent.reason,
                status="rejected" if detail else "filled",
                detail=detail,
            )
        )

    def _would_be(self, row: int, intent: Intent, feed: int) -> float:
        """Return the price a rejected order would have had; NaN where the bar could not be traded."""
        episode = self.episodes[feed]
        if not episode.tradable[row] and intent.reason != "delisting":
            return float("nan")
        opened = float(episode.open[row])
        if intent.size > 0:
            slipped = opened * (1 + self.costs.slippage)
            return min(slipped, float(episode.high[row])) if self.costs.slippage_capped else slipped
        slipped = opened * (1 - self.costs.slippage)
        return max(slipped, float(episode.low[row])) if self.costs.slippage_capped else slipped

    def record(self, ruined: bool, warnings: tuple[str, ...], *, scalable: bool = False) -> RunRecord:
        """Return the record of the run; ruin and rejected orders are added to what the log must say.

        `scalable` says that ``on_rejected: scale`` would have had an effect: the log then points to it.
        """
        marks = np.full(self._sizes.shape, np.nan)
        for place, episode in enumerate(self.episodes):
            held = (self._holders[:, episode.column] == place) & (self._sizes[:, episode.column] != 0)
            marks[held, episode.column] = episode.close[held]
        return RunRecord(
            timestamp=self.timestamp,
            symbols=self.symbols,
            equity=self._equity,
            cash=self._cash,
            sizes=self._sizes,
            marks=marks,
            orders=tuple(self.orders),
            ruined=ruined,
            warnings=(*warnings, *closing_words(self.orders, ruined=ruined, scalable=scalable)),
        )


def closing_words(
    orders: Sequence[Order], *, ruined: bool, scalable: bool, shrunk: str = "buys to the cash", capped: int = 0
) -> tuple[str, ...]:
    """Return what the log must say of ruin and of rejected orders; `scalable` as in `Journal.record`.

    `shrunk` completes SCALE_HINT; `capped` of the orders were rejected for their leverage, which no free margin helps.
    """
    ruin = ("equity reached zero: the run was ended and what could be traded was closed",) if ruined else ()
    counts: dict[str, int] = {}
    for order in orders:
        if order.status == "rejected":
            counts[order.detail] = counts.get(order.detail, 0) + 1
    if not counts:
        return ruin
    hint = f"; {capped:,} of these for leverage: {TIER_HINT}" if capped else ""
    hint += SCALE_HINT.format(shrunk) if scalable and counts.get("margin", 0) > capped else ""
    words = ", ".join(f"{count:,} {detail}" for detail, count in sorted(counts.items()))
    return (*ruin, f"rejected orders: {words}{hint}")
