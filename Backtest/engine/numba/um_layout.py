"""The arrays of a futures account, beside those of `layout`. S columns, n rows of one chunk, N settlements in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...data import joins
from ...data.panel import Bools, Floats
from ..futures.dated import first_rows
from ..futures.terms import FuturesTerms
from .layout import Columns, Ints, Market


class Futures(NamedTuple):
    """Terms of one chunk, and the account's margins.

    Attributes
    ----------
    isolated
        Whether each position has a margin of its own.
    leverage, shares
        float64 [S]: notional per initial margin, and the other way round.
    taker, liquidation
        float64 [n]: fees of orders and of liquidations.
    tables, since, spans
        int64: column c has the dated tables tables[c] .. tables[c + 1] - 1; table d holds from row since[d] of the
        run and has the tiers spans[d] .. spans[d + 1] - 1.
    floors, rates, caps, cums
        float64, one entry per tier: see `futures.tiers.TierTable`.
    steps, heaviest
        float64: from a notional of steps[j] to below the next one no table of any column has a rate above heaviest[j].
    move
        float64 [n]: the widest way of any column from its close to its bar's high or low, over the close.
    starts
        int64 [n + 1]: the chunk's row t has the settlements starts[t] .. starts[t + 1] - 1, by time, then column.
    inner
        int64 [n]: the first of them that comes after the bar's open, hence after its fills.
    column, rate, mark
        [N]: whose settlement, its rate, and the price it is valued at.
    margin
        float64 [S], kept from chunk to chunk: the margin of each isolated position.
    bought
        float64 [S], kept from chunk to chunk: the average price paid, which overlays look at. `State.average`, the
        entry price, is the same until profits are taken in.
    struck
        bool [S], working space: liquidated on this bar before the orders filled.
    now, worst
        float64 [S], working space: prices of the held columns on the way to the bar's adverse extreme, and there.
    used
        float64 [n]: initial margin in use at each close.
    """

    isolated: bool
    leverage: Floats
    shares: Floats
    taker: Floats
    liquidation: Floats
    tables: Ints
    since: Ints
    spans: Ints
    floors: Floats
    rates: Floats
    caps: Floats
    cums: Floats
    steps: Floats
    heaviest: Floats
    move: Floats
    starts: Ints
    inner: Ints
    column: Columns
    rate: Floats
    mark: Floats
    margin: Floats
    bought: Floats
    struck: Bools
    now: Floats
    worst: Floats
    used: Floats


def futures_of(terms: FuturesTerms, symbols: tuple[str, ...], bars: joins.Bars, market: Market) -> Futures:
    """Return the futures account of a whole run before its first row."""
    width, rows = len(symbols), len(bars.opens)
    leverage = np.array([terms.leverage[symbol] for symbol in symbols], dtype=np.float64)
    tables = [terms.tiers.of(symbol) for symbol in symbols]
    dated = [table for own in tables for table in own]
    which = np.searchsorted(first_rows(terms.fees.rows, bars.opens), np.arange(rows), side="right") - 1
    steps = sorted({floor for table in dated for floor in table.floors})
    starts, inner, column, rate, mark = settlements(terms, symbols, bars, market)
    return Futures(
        isolated=terms.margin_mode == "isolated",
        leverage=leverage,
        shares=1.0 / leverage,
        taker=np.array([row.taker for row in terms.fees.rows])[which],
        liquidation=np.array([row.liquidation for row in terms.fees.rows])[which],
        tables=np.cumsum([0, *map(len, tables)]),
        since=np.concatenate([first_rows(own, bars.opens) for own in tables]),
        spans=np.cumsum([0, *(len(table.floors) for table in dated)]),
        floors=np.concatenate([table.floors for table in dated]),
        rates=np.concatenate([table.rates for table in dated]),
        caps=np.concatenate([table.caps for table in dated]),
        cums=np.concatenate([table.cums for table in dated]),
        steps=np.array(steps),
        heaviest=np.array([max(table.rates[table.tier(step)] for table in dated) for step in steps]),
        move=widest_moves(market),
        starts=starts,
        inner=inner,
        column=column,
        rate=rate,
        mark=mark,
        margin=np.zeros(width),
        bought=np.zeros(width),
        struck=np.zeros(width, dtype=np.bool_),
        now=np.zeros(width),
        worst=np.zeros(width),
        used=np.zeros(rows),
    )


def own_account(futures: Futures) -> Futures:
    """Return a futures account with arrays of its own for what a run changes, before its first row."""
    changed = ("margin", "bought", "struck", "now", "worst", "used")
    return futures._replace(**{name: np.zeros_like(getattr(futures, name)) for name in changed})


def settlements(
    terms: FuturesTerms, symbols: tuple[str, ...], bars: joins.Bars, market: Market
) -> tuple[Ints, Ints, Columns, Floats, Floats]:
    """Return `Futures.starts`, inner, column, rate and mark of a whole run.

    A settlement is valued at the mark price of its file, else at the open of the bar that it falls into.
    """
    begin, end = int(bars.opens[0]), int(bars.closes[-1])
    series = [terms.funding.get(symbol) for symbol in symbols]
    nothing = (np.empty(0, dtype=np.int64), np.empty(0), np.empty(0))
    found = [nothing if one is None else one.settlements(begin, end) for one in series]
    stamp, rate, mark = (np.concatenate(parts) for parts in zip(*found, strict=True))
    column = np.repeat(np.arange(len(symbols), dtype=np.uint32), [len(part[0]) for part in found])
    order = np.lexsort((column, stamp))
    stamp, column, rate, mark = stamp[order], column[order], rate[order], mark[order]
    row = np.searchsorted(bars.opens, stamp, side="right") - 1
    mark = np.where(np.isfinite(mark), mark, market.open[row, column])
    starts = np.searchsorted(row, np.arange(len(bars.opens) + 1), side="left").astype(np.int64)
    inner = np.searchsorted(stamp, bars.opens, side="right").astype(np.int64)
    return starts, inner, column, rate, mark


def widest_moves(market: Market) -> Floats:
    """Return `Futures.move`, a little wider than it is: no rounding may hide a liquidation."""
    beyond = np.maximum(market.high - market.close, market.close - market.low)
    beyond /= market.close
    moves: Floats = beyond.max(axis=1) * (1.0 + 1e-9) + 1e-12
    return moves
