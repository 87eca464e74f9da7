"""The record of a run: the one shape that every engine returns and everything after it reads."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        rebalance, flip, close, delisting, ruin; of futures also liquidation, whose commission is the liquidation fee,
        and funding: size 0, side that of the holding, the mark as price, value what was received, negative when paid.
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
    orders: tuple[Order, ...]
    ruined: bool = False
    used_margin: NDArray[np.float64] | None = None
    warnings: tuple[str, ...] = field(default=())
