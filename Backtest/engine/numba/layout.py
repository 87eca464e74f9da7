"""The arrays that the compiled engine works on. S columns, E listing episodes, n rows of one chunk of the clock.

Rows are counted from the first of the run; a chunk holds rows ``first .. first + n - 1``. All that a later chunk needs
of an earlier one stands in `State`: a run in chunks is the run in one piece, bit for bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data.panel import Bools, Floats

Ints = NDArray[np.int64]
Places = NDArray[np.int32]
Columns = NDArray[np.uint32]
"""Columns and episodes: without a sign, so that Numba need not look for places counted from the end."""
Codes = NDArray[np.int8]

CASH, EQUITY = range(2)
"""Places in `State.money`."""
ROW, ANSWERED, PENDING, HELD, TOUCHED, RUINED, LOGGED, OVER, UNCHECKED = range(9)
"""Places in `State.counts`: the next row; whether its weights were asked for and are given now; orders that wait for
the next open; columns held; episodes that ever had an order; whether equity reached zero; entries in the log; whether
a listing is held that is over; whether a waiting order skips check 1."""
DONE, ASK, FULL = range(3)
"""What `kernel.advance` returns: the chunk is done; weights of this row are wanted; the log must grow."""
ASKED, WEIGHTS, LEGS, SIGNAL = range(4)
"""How a `Plan` states target weights."""
REASONS = (
    "rebalance", "flip", "close", "delisting", "ruin", "stop_loss", "take_profit", "trailing_stop", "drawdown_stop",
    "funding", "liquidation",
)  # fmt: skip
REBALANCE, FLIPPED, CLOSE, DELISTING, RUIN = range(5)
FUNDING, LIQUIDATION = REASONS.index("funding"), REASONS.index("liquidation")
OUTCOMES = ("", "margin", "untradable", "margin")
FILLED, MARGIN, UNTRADABLE, CAPPED = range(4)
"""CAPPED: the tier of the position's notional allows less leverage, however much margin is free."""


class Market(NamedTuple):
    """Prices of one chunk.

    Attributes
    ----------
    first
        Row of the run that the chunk's row 0 is.
    open, high, low, close
        float64 [n, S], finite and positive: the bar; where there is none the last close. High and low are read only
        where slippage is capped.
    tradable
        bool [n, S].
    alive
        int8 [n, S] (int16 where a column has more than 127 episodes): which of its column's episodes can be traded,
        counted from 1; 0 where none can.
    feed
        uint32 [S]: the column's first episode; the others follow it.
    number
        int8 or int16 [E]: an episode's number in its column, from 1.
    proven
        int64 [E]: first row at whose close an episode is known to be over; the number of rows for one that is not.
    last
        float64 [E]: last close of an episode that is over; read from row `proven` on.
    """

    first: int
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    tradable: Bools
    alive: Codes
    feed: Columns
    number: Codes
    proven: Ints
    last: Floats


class Terms(NamedTuple):
    """Costs and limits, as in `costs.Costs`; `rows` is the number of rows of the whole run."""

    rows: int
    commission: float
    slippage: float
    capped: bool
    haircut: float
    band: float
    scale: bool
    lot_step: Floats
    min_notional: Floats


class Plan(NamedTuple):
    """Target weights of R rebalance rows, stated in one of four ways.

    ``ASKED``: `advance` returns at each and takes the answer. ``WEIGHTS``: `weights`. ``SIGNAL``: `wanted` and `size`,
    see strategies/signal.py. ``LEGS``: columns and their shares of a leg, best first; what locked positions leave of
    the budget is poured over the shares under the cap, see strategies/portfolio.py.

    Attributes
    ----------
    mode
        One of the four.
    place
        int32 [n]: index of the chunk's row among the rebalance rows, -1 where the row decides nothing.
    weights
        float64 [R, S], or [0, S].
    wanted
        int8 [R, S] of 1, 0, -1, or [0, S].
    starts
        int64 [R, 3]: `columns` and `shares` from starts[r, 0] to starts[r, 1] are the long leg, to starts[r, 2] the
        short one.
    columns, shares
        uint32 and float64 [N].
    poured
        float64 [N]: the signed weights of `columns` while no position is locked.
    budgets
        float64 [2]: of the long and the short leg, over equity.
    max_weight, size
        Cap of a leg's weights; weight of a signal.
    """

    mode: int
    place: Places
    weights: Floats
    wanted: Codes
    starts: Ints
    columns: Columns
    shares: Floats
    poured: Floats
    budgets: Floats
    max_weight: float
    size: float


class State(NamedTuple):
    """The account between two rows. Arrays are changed in place.

    `money` and `counts` hold numbers at the places named above. Per column: `size`, `average` (price paid), `holder`
    (episode held), `refused` (its settlement was refused). `touch` [E] counts the episodes as orders first named them;
    `held` lists the held columns by it, for the account is summed in this sequence. `order_*` are the waiting orders;
    `done`, `paid`, `fee`, `outcome` what became of them; the rest is working space.
    """

    money: Floats
    counts: Ints
    size: Floats
    average: Floats
    holder: Columns
    refused: Bools
    touch: Ints
    held: Columns
    order_column: Columns
    order_size: Floats
    order_price: Floats
    order_feed: Columns
    order_reason: Codes
    order_unchecked: Bools
    done: Floats
    paid: Floats
    fee: Floats
    outcome: Codes
    target: Floats
    change: Floats
    why: Codes
    listed: Columns
    space: Floats
    poured: Floats
    free: Bools
    mark: Codes
    kind: Codes
    start: Ints
    opening: Floats
    closing: Floats
    quoted: Floats
    priced: Floats


class Log(NamedTuple):
    """Ends of orders, in the sequence of their creation: [capacity], of which `State.counts[LOGGED]` are written.

    Of funding: the holding as size, the mark as price, and what was received, negative when paid, as commission.
    """

    created: Ints
    filled: Ints
    column: Columns
    size: Floats
    price: Floats
    commission: Floats
    slippage: Floats
    reason: Codes
    outcome: Codes


class Curves(NamedTuple):
    """What is kept of each row of a chunk: `equity`, `cash` [n]; `sizes`, `marks` [n, S], or [0, S] to keep none."""

    equity: Floats
    cash: Floats
    sizes: Floats
    marks: Floats


def new_state(columns: int, episodes: int, *, initial_cash: float) -> State:
    """Return the account before row 0."""

    def floats() -> Floats:
        return np.zeros(columns)

    def places() -> Columns:
        return np.zeros(columns, dtype=np.uint32)

    def codes() -> Codes:
        return np.zeros(columns, dtype=np.int8)

    def flags() -> Bools:
        return np.zeros(columns, dtype=np.bool_)

    return State(
        money=np.array([initial_cash, initial_cash]),
        counts=np.zeros(9, dtype=np.int64),
        size=floats(),
        average=floats(),
        holder=places(),
        refused=flags(),
        touch=np.zeros(episodes, dtype=np.int64),
        held=places(),
        order_column=places(),
        order_size=floats(),
        order_price=floats(),
        order_feed=places(),
        order_reason=codes(),
        order_unchecked=flags(),
        done=floats(),
        paid=floats(),
        fee=floats(),
        outcome=codes(),
        target=floats(),
        change=floats(),
        why=codes(),
        listed=places(),
        space=floats(),
        poured=floats(),
        free=flags(),
        mark=codes(),
        kind=codes(),
        start=np.zeros(6, dtype=np.int64),
        opening=floats(),
        closing=floats(),
        quoted=floats(),
        priced=floats(),
    )


def new_log(capacity: int) -> Log:
    """Return an empty log."""
    return Log(
        created=np.empty(capacity, dtype=np.int64),
        filled=np.empty(capacity, dtype=np.int64),
        column=np.empty(capacity, dtype=np.uint32),
        size=np.empty(capacity),
        price=np.empty(capacity),
        commission=np.empty(capacity),
        slippage=np.empty(capacity),
        reason=np.empty(capacity, dtype=np.int8),
        outcome=np.empty(capacity, dtype=np.int8),
    )


def grown(log: Log, capacity: int) -> Log:
    """Return the log with room for `capacity` entries."""
    larger = new_log(capacity)
    for name, old in log._asdict().items():
        getattr(larger, name)[: len(old)] = old
    return larger


def new_curves(rows: int, columns: int, *, positions: bool) -> Curves:
    """Return curves for a chunk of `rows` rows; without `positions` sizes and marks are not kept."""
    kept = rows if positions else 0
    return Curves(np.empty(rows), np.empty(rows), np.zeros((kept, columns)), np.full((kept, columns), np.nan))
