"""The record of a run: the one shape that every engine returns and everything after it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Order:
    """One order, filled or rejected. Bars are row indices of the run's clock.

    Where the cash covers only the closing part of an order, that is one filled row and the rest a second, rejected one.

    Attributes
    ----------
    order_id
        1, 2, 3 ... in the order of creation.
    created_bar, filled_bar
        The bar whose close decided, and the bar whose open filled (or refused) it.
    symbol
        What was traded.
    side
        ``buy`` or ``sell``.
    size
        Base units, positive.
    price
        Fill price after slippage; for a rejected order the price it would have had, NaN where there was none.
    value
        size * price, positive; NaN where the price is.
    commission, slippage
        Costs in quote currency; 0 when rejected.
    reason
        rebalance, flip, close, delisting, ruin, or the name of the overlay that closed; of futures also liquidation,
        whose commission is the liquidation fee, and funding: size 0, side that of the holding, the mark as price, value
        what was received, negative when paid.
    status
        filled or rejected.
    detail
        margin, untradable or empty.
    """

    order_id: int
    created_bar: int
    filled_bar: int
    symbol: str
    side: str
    size: float
    price: float
    value: float
    commission: float
    slippage: float
    reason: str
    status: str
    detail: str = ""


class OrderTable(Sequence[Order]):
    """Orders as columns, one for each field of `Order`, of equal length; an `Order` is made where one is asked for.

    `pandas.DataFrame(table.columns)` is the table as a frame.
    """

    def __init__(self, columns: Mapping[str, NDArray[Any]]) -> None:
        self.columns = {name.name: columns[name.name] for name in fields(Order)}

    def __len__(self) -> int:
        return len(self.columns["order_id"])

    def __iter__(self) -> Iterator[Order]:
        return (Order(*facts) for facts in zip(*(column.tolist() for column in self.columns.values()), strict=True))

    @overload
    def __getitem__(self, place: int) -> Order: ...
    @overload
    def __getitem__(self, place: slice) -> OrderTable: ...
    def __getitem__(self, place: int | slice) -> Order | OrderTable:
        if isinstance(place, slice):
            return self.where(place)
        return Order(*(column[place].item() for column in self.columns.values()))

    def where(self, rows: NDArray[Any] | slice) -> OrderTable:
        """Return some of the orders: by a slice, a mask or their places."""
        return OrderTable({name: column[rows] for name, column in self.columns.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Order.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class RunRecord:
    """What happened, bar by bar.

    Attributes
    ----------
    timestamp
        Bar open times, datetime64[ns] [T].
    symbols
        Columns, sorted.
    equity, cash
        Quote currency at each bar's close, [T]; the cash of futures is the wallet: equity less unrealised profits.
    sizes, marks
        Held base units and the price each holding is valued at, [T, S]; marks are NaN where nothing is held.
    orders
        In order of creation.
    ruined
        Equity reached zero and the run ended there.
    used_margin
        Of futures: initial margin in use at each bar's close, [T]; None on spot.
    warnings
        What the log must say (a clipped k, rejected orders).
    """

    timestamp: NDArray[np.datetime64]
    symbols: tuple[str, ...]
    equity: NDArray[np.float64]
    cash: NDArray[np.float64]
    sizes: NDArray[np.float64]
    marks: NDArray[np.float64]
    orders: Sequence[Order]
    ruined: bool = False
    warnings: tuple[str, ...] = field(default=())
    used_margin: NDArray[np.float64] | None = None
