"""Run a strategy over a clock that does not fit in memory: piece by piece, the account carried over.

1. `load`         the caller's: prices and scores of some rows; asked for once, in their sequence
2. `read_rows`    the piece's market; listings that begin and end are found as they come
3. `plan_of_piece` the piece's rebalance rows, ranked
4. `run_rows`     fills, values and decides; `State` goes on to the next piece
5. `Piece`        equity, positions and orders of the rows, given out and forgotten

The result is that of `engine.run`, bit for bit, whatever the length of the pieces. In memory are one piece and the
account: some `bytes_of_row` bytes a row beside what `load` itself keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...data.panel import Bools, Floats, Panel
from ...errors import RunError
from ...machine_code import compiled
from ...portfolio import Overlay
from ...strategies.base import CrossSection, Strategy
from ..costs import Costs
from ..decisions import answered
from ..episodes import refuse_unsound
from ..ledger import OrderTable
from ..schedule import rebalance_rows
from ..volatility import close_returns, trailing_volatility
from .engine import FIRST_ORDERS, orders_of, run_rows
from .layout import EQUITY, LOGGED, RUINED, Ints, Market, Plan, State, new_log, new_state
from .market import terms_of
from .overlays import new_watch
from .plans import Choice, choice_at, plan_for

LISTINGS = int(np.iinfo(np.int8).max)
"""Places for the listings of a column: what a code of one byte can tell apart."""

Load = Callable[[int, int], tuple[Panel, Floats]]
"""(begin, end) -> the panel of these rows of the clock, without warm-up, its `age` counted on the whole clock, and the
scores [end - begin, S]."""


@dataclass(frozen=True)
class Piece:
    """What happened on some rows; bars in `orders` are rows of the clock.

    Attributes
    ----------
    first
        Row of the clock that row 0 of the arrays is.
    equity, cash
        Quote currency at each bar's close, [n].
    sizes, marks
        [n, S], or [0, S] where positions were not asked for; see `ledger.RunRecord`.
    orders
        Their ids go on from piece to piece.
    ruined
        Equity has reached zero.
    """

    first: int
    equity: Floats
    cash: Floats
    sizes: Floats
    marks: Floats
    orders: OrderTable
    ruined: bool


class Listings(NamedTuple):
    """What is known of the listings so far: of a column its last age and close, and how many; of a listing its end."""

    before: Ints
    carried: Floats
    found: Ints
    proven: Ints
    last: Floats


def bytes_of_row(columns: int) -> int:
    """Return about what a row takes while it is run: prices twice, masks, codes, scores and their working copies."""
    return 120 * columns


def run_chunks(
    load: Load,
    strategy: Strategy,
    *,
    rows: int,
    chunk_rows: int,
    costs: Costs,
    initial_cash: float,
    positions: bool = False,
    warmup: int = 0,
    overlays: tuple[Overlay, ...] = (),
) -> Iterator[Piece]:
    """Run `strategy` over `rows` rows of a clock, at most `chunk_rows` at a time.

    `warmup` rows before the first feed trailing volatility only; `load` counts from the first of them. Overlays and
    errors as for `engine.run`.
    """
    if chunk_rows < 1:
        raise RunError(f"chunk_rows is {chunk_rows}; 1 or more is allowed")
    if not (np.isfinite(initial_cash) and initial_cash > 0):
        raise RunError(f"initial_cash is {initial_cash!r}; a positive number is allowed")
    book: _Book | None = None
    for begin in range(0, rows, chunk_rows):
        end = min(begin + chunk_rows, rows)
        back = 0 if book is None else book.lookback
        if book is None:
            probe, _ = load(warmup, warmup + 1)
            book = _Book(probe, strategy, rows=rows, costs=costs, initial_cash=initial_cash, overlays=overlays)
            back = book.lookback
        start = max(0, begin + warmup - back)
        panel, scores = load(start, end + warmup)
        yield book.piece(panel, scores, begin, begin + warmup - start, positions)


class _Book:
    """The account and the listings between two pieces."""

    def __init__(
        self,
        probe: Panel,
        strategy: Strategy,
        *,
        rows: int,
        costs: Costs,
        initial_cash: float,
        overlays: tuple[Overlay, ...],
    ) -> None:
        width, timeframe = len(probe.symbols), probe.timeframe
        self.symbols, self.strategy, self.costs, self.rows = probe.symbols, strategy, costs, rows
        self.due = rebalance_rows(strategy.rebalance, timeframe, first_bar=probe.first_bar, rows=rows)
        self.window = (
            max(2, round(strategy.volatility_days * timeframe.bars_per_day)) if strategy.volatility_days else 0
        )
        self.watch = new_watch(overlays, timeframe, columns=width, initial_cash=initial_cash)
        longest = max(self.window, 0 if self.watch is None else self.watch.window)
        self.lookback = longest + 1 if longest else 0
        self.terms = terms_of(costs, probe.symbols, rows=rows)
        places = width * LISTINGS
        self.state = new_state(width, places, initial_cash=initial_cash)
        self.log, self.logged = new_log(FIRST_ORDERS), 0
        self.listings = Listings(
            np.zeros(width, dtype=np.int64),
            np.ones(width),
            np.zeros(width, dtype=np.int64),
            np.full(places, rows, dtype=np.int64),
            np.ones(places),
        )
        self.feed = (np.arange(width) * LISTINGS).astype(np.uint32)
        self.number = np.tile(np.arange(1, LISTINGS + 1, dtype=np.int8), width)

    def piece(self, panel: Panel, scores: Floats, first: int, skipped: int, positions: bool) -> Piece:
        """Run the rows of a panel, of which the first `skipped` were run before and are there for volatility."""
        returns = close_returns(panel) if self.lookback else np.empty((0, 0))
        watch = self.watch
        if watch is not None and watch.window:
            watch = watch._replace(returns=returns, lead=skipped)
        rows = panel.rows(skipped, len(panel.age))
        scores = np.where(rows.member & np.isfinite(scores[skipped:]), scores[skipped:], np.nan)
        market = self.market(rows, first)

        def volatility(t: int) -> Floats | None:
            return trailing_volatility(returns, t + skipped, window=self.window) if self.window else None

        def ask(row: int, account: State) -> Floats:
            return answered(self.strategy, self.section(market, account, scores[row - first], volatility(row - first)))

        plan = self.plan(scores, market.tradable, first, volatility)
        result = run_rows(
            market, self.terms, plan, state=self.state, log=self.log, ask=ask, positions=positions, watch=watch
        )
        orders = orders_of(result, self.symbols, first=self.logged + 1)
        self.log, self.logged = result.log, self.logged + len(orders)
        self.state.counts[LOGGED] = 0
        curves = result.curves
        ruined = bool(self.state.counts[RUINED])
        return Piece(first, curves.equity, curves.cash, curves.sizes, curves.marks, orders, ruined)

    def market(self, panel: Panel, first: int) -> Market:
        """Return the market of a piece; the listings are carried on."""
        shape, fields, capped = panel.shape, panel.fields, self.costs.slippage_capped
        opened, close = np.empty(shape), np.empty(shape)
        high, low = (np.empty(shape), np.empty(shape)) if capped else (opened, opened)
        alive = np.empty(shape, dtype=np.int8)
        wrong = read_rows(
            first, fields["open"], fields["high"], fields["low"], fields["close"], panel.exists, panel.tradable,
            panel.age, self.listings, (opened, high, low, close), alive, capped,
        )  # fmt: skip
        if wrong >= 0:
            row, column = divmod(wrong, shape[1])
            if self.listings.found[column] > LISTINGS:
                raise RunError(f"{panel.symbols[column]}: more than {LISTINGS} listings; raise episode_gap")
            refuse_unsound(panel, column, np.arange(shape[0]) == row)
        tradable = alive > 0
        proven, last = self.listings.proven, self.listings.last
        return Market(first, opened, high, low, close, tradable, alive, self.feed, self.number, proven, last)

    def plan(self, scores: Floats, tradable: Bools, first: int, volatility: Callable[[int], Floats | None]) -> Plan:
        """Return the plan of a piece; the clock's last row decides nothing."""
        length = len(scores)
        due = np.flatnonzero(self.due[first : min(first + length, self.rows - 1)])
        risks = [volatility(row) for row in due.tolist()] if self.window else None
        choice: Choice = choice_at(due, length, scores, tradable, risks)
        return plan_for(self.strategy, choice)

    def section(self, market: Market, account: State, scores: Floats, volatility: Floats | None) -> CrossSection:
        """Return what a strategy sees at the row that the kernel asks about."""
        row = int(account.counts[0])
        t = row - market.first
        codes, holder, sizes = market.alive[t].astype(np.int64), account.holder.astype(np.int64), account.size.copy()
        held = sizes != 0
        over = held & (row >= market.proven[holder])
        prices = np.where(over, market.last[holder], market.close[t])
        tradable = (codes > 0) & (~held | (market.feed + codes - 1 == holder))
        equity = float(account.money[EQUITY])
        return CrossSection(self.symbols, scores, tradable, sizes * prices / equity, volatility)


@compiled
def read_rows(  # type: ignore[no-untyped-def]
    first, opens, highs, lows, closes, exists, tradable, age, listings, out, alive, capped
):
    """Write prices [n, S] (where there is no bar the last close) and codes [n, S] of what trades; note listings.

    Returns -1, or row * S + column of a bar that trades at a price that is none, or of one listing too many.
    """
    before, carried, found, proven, last = listings
    opened, high, low, close = out
    rows, width = closes.shape
    for t in range(rows):
        for c in range(width):
            now, then = age[t, c], before[c]
            if then > 0 and now != then + 1:
                over = c * LISTINGS + found[c] - 1
                proven[over], last[over] = first + t, carried[c]
            if now > 0 and (then == 0 or now != then + 1):
                found[c] += 1
                if found[c] > LISTINGS:
                    return t * width + c
            before[c] = now
            o, h, low_, x = opens[t, c], highs[t, c], lows[t, c], closes[t, c]
            sound = min(o, h, low_, x) > 0 and max(o, h, low_, x) < np.inf
            sound = sound and o == o and h == h and low_ == low_ and x == x
            trades = now > 0 and tradable[t, c]
            if trades and not sound:
                return t * width + c
            if not (now > 0 and exists[t, c] and sound):
                o = h = low_ = x = carried[c]
            opened[t, c], close[t, c], carried[c] = o, x, x
            if capped:
                high[t, c], low[t, c] = h, low_
            alive[t, c] = found[c] if trades else 0
    return -1
