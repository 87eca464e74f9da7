"""Round trips: what each stay in a symbol earned, from the first fill away from flat to the fill back to it.

Prices are averages as ENGINE.md section 4 has them: weighted on increase, unchanged on reduction, the fill price
on reversal. One order that reverses a position closes one round trip and opens the next; its costs are shared by
size. Funding belongs to the stay it was settled in. The net profits of all round trips add up to the final equity less
the initial cash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .engine.ledger import Order, RunRecord

DUST = 1e-12
"""A size left over below this share of the largest held one is rounding, not a position."""


@dataclass
class _Stay:
    """One round trip under construction."""

    symbol: str
    sign: float
    opened_bar: int
    entered: float = 0.0
    entered_value: float = 0.0
    exited: float = 0.0
    exited_value: float = 0.0
    size: float = 0.0
    largest: float = 0.0
    average: float = 0.0
    gross: float = 0.0
    commission: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0
    orders: list[int] = field(default_factory=list)

    def enter(self, size: float, order: Order, share: float) -> None:
        self.average = (self.average * self.size + order.price * size) / (self.size + size)
        self.size += size
        self.largest = max(self.largest, self.size)
        self.entered += size
        self.entered_value += order.price * size
        self._pay(order, share)

    def leave(self, size: float, order: Order, share: float) -> None:
        self.gross += self.sign * size * (order.price - self.average)
        self.size -= size
        self.exited += size
        self.exited_value += order.price * size
        self._pay(order, share)

    def _pay(self, order: Order, share: float) -> None:
        self.commission += order.commission * share
        self.slippage += order.slippage * share
        self.orders.append(order.order_id)


def round_trips(record: RunRecord) -> list[dict[str, Any]]:
    """Return the round trips of a run, in the order they began, as trades.json has them.

    Keys: ``trade_id symbol side status opened_at closed_at bars size entry_price exit_price gross_pnl commission
    slippage net_pnl return exit_reason orders``. A stay that lasts until the end is ``open``: its exit price is the
    last mark and its profit is unrealised. ``gross_pnl`` is at fill prices, so slippage is already inside it;
    ``return`` is net_pnl over the value entered. Of futures also ``funding``, what was received less what was paid,
    which net_pnl holds.
    """
    held: dict[str, _Stay] = {}
    trips: list[tuple[_Stay, Order | None]] = []
    filled = [order for order in record.orders if order.status == "filled"]
    for order in sorted(filled, key=lambda order: (order.filled_bar, order.order_id)):
        _apply(order, held, trips)
    marks = dict(zip(record.symbols, record.marks[-1].tolist(), strict=True)) if len(record.marks) else {}
    trips += [(stay, None) for stay in held.values()]
    trips.sort(key=lambda trip: trip[0].orders[0])
    return [_described(number, stay, last, record, marks) for number, (stay, last) in enumerate(trips, 1)]


def _apply(order: Order, held: dict[str, _Stay], trips: list[tuple[_Stay, Order | None]]) -> None:
    if order.reason == "funding":
        held[order.symbol].funding += order.value
        return
    if order.size == 0:
        return
    sign = 1.0 if order.side == "buy" else -1.0
    left = order.size
    stay = held.get(order.symbol)
    if stay is not None and stay.sign != sign:
        closing = min(left, stay.size)
        stay.leave(closing, order, closing / order.size)
        left -= closing
        if stay.size <= DUST * stay.largest:
            trips.append((held.pop(order.symbol), order))
            stay = None
        if left <= DUST * order.size:
            return
    if stay is None:
        stay = held[order.symbol] = _Stay(order.symbol, sign, order.filled_bar)
    stay.enter(left, order, left / order.size)


def _described(
    number: int, stay: _Stay, last: Order | None, record: RunRecord, marks: Mapping[str, float]
) -> dict[str, Any]:
    mark = marks.get(stay.symbol, np.nan)
    unrealised = stay.sign * stay.size * (mark - stay.average) if last is None else 0.0
    gross = stay.gross + unrealised
    net = gross - stay.commission + stay.funding
    exit_value = stay.exited_value + (stay.size * mark if last is None else 0.0)
    exit_size = stay.exited + (stay.size if last is None else 0.0)
    end_bar = len(record.timestamp) - 1 if last is None else last.filled_bar
    funding = {} if record.used_margin is None else {"funding": stay.funding}
    return {
        "trade_id": number,
        "symbol": stay.symbol,
        "side": "long" if stay.sign > 0 else "short",
        "status": "open" if last is None else "closed",
        "opened_at": iso(record.timestamp[stay.opened_bar]),
        "closed_at": None if last is None else iso(record.timestamp[last.filled_bar]),
        "bars": end_bar - stay.opened_bar,
        "size": stay.largest,
        "entry_price": stay.entered_value / stay.entered,
        "exit_price": exit_value / exit_size,
        "gross_pnl": gross,
        "commission": stay.commission,
        "slippage": stay.slippage,
        "net_pnl": net,
        "return": net / stay.entered_value,
        "exit_reason": None if last is None else last.reason,
        "orders": stay.orders,
        **funding,
    }


def iso(moment: np.datetime64) -> str:
    """Return a UTC moment as ISO 8601 with Z, to the second."""
    return str(moment.astype("datetime64[s]")) + "Z"
