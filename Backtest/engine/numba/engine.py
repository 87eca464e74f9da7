"""Run a strategy on the compiled engine.

1. `checked_episodes`, `Decisions`   as for the reference engine: listings, rebalance rows, scores
2. `market_of`, `terms_of`, `plan_of` -> the kernel's arrays
3. `kernel.advance`                   fills, values and decides row by row; asks where only the strategy knows
4. `record_of`                        -> RunRecord
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.panel import Floats, Panel
from ...portfolio.overlays import Overlay
from ...strategies.base import Strategy
from ..costs import Costs
from ..decisions import Decisions
from ..episodes import checked_episodes
from ..futures.terms import FuturesTerms
from ..journal import closing_words
from ..ledger import OrderTable, RunRecord
from ..orders import refuse_unfit
from .kernel import advance
from .layout import (
    ASK,
    CAPPED,
    CASH,
    DONE,
    EQUITY,
    FILLED,
    FUNDING,
    LOGGED,
    OUTCOMES,
    REASONS,
    ROW,
    RUINED,
    Curves,
    Ints,
    Log,
    Market,
    Plan,
    State,
    Terms,
    grown,
    new_curves,
    new_log,
    new_state,
)
from .market import market_of, terms_of
from .overlays import Watch, watch_of, words_of
from .plans import plan_of
from .um_layout import Futures
from .um_run import margin_record, open_account

FIRST_ORDERS = 1024
"""Entries of the log to begin with; it doubles."""

ORDERS_TO_MARGIN = "orders to the free margin"
"""What ``on_rejected: scale`` would shrink on futures."""


@dataclass(frozen=True)
class Result:
    """What the kernel left: the account, the log and what was kept of each row."""

    state: State
    log: Log
    curves: Curves


def run(
    panel: Panel,
    scores: Floats,
    strategy: Strategy,
    *,
    costs: Costs,
    initial_cash: float,
    overlays: tuple[Overlay, ...] = (),
    futures: FuturesTerms | None = None,
) -> RunRecord:
    """Return the record of `strategy` over the panel's window; parameters and errors as for the reference engine.

    `futures` None is spot; else the account is one of USDT-M futures, whose fees replace the commission.
    """
    episodes = checked_episodes(panel, scores, haircut=costs.delisting_haircut, initial_cash=initial_cash)
    decisions = Decisions(
        panel, scores, strategy, episodes=episodes, costs=costs, initial_cash=initial_cash, overlays=overlays
    )
    rows, width = decisions.tradable.shape
    capped = costs.slippage_capped or futures is not None
    market = market_of(episodes, decisions.alive, decisions.tradable, panel=panel, capped=capped)
    terms = terms_of(costs, decisions.symbols, rows=rows)
    plan, found = plan_of(decisions)
    state = new_state(width, len(episodes), initial_cash=initial_cash)
    watch = watch_of(overlays, decisions, initial_cash=initial_cash)
    asked: set[int] = set()

    def ask(row: int, account: State) -> Floats:
        cash, equity = float(account.money[CASH]), float(account.money[EQUITY])
        book, _ = decisions.book(row, cash=cash, equity=equity, sizes=account.size, holder=account.holder)
        asked.add(row)
        return decisions.weights(row, book)

    window = panel.rows(panel.warmup, len(panel.age))
    account = None if futures is None else open_account(futures, decisions.symbols, window, market)
    log = new_log(FIRST_ORDERS)
    result = run_rows(market, terms, plan, state=state, log=log, ask=ask, positions=True, watch=watch, futures=account)
    count_shortage(decisions, plan, found, asked=asked, last=last_asked(result, rows))
    words = (*decisions.shortage.lines(strategy.rebalance), *words_of(watch))
    hints = {"scalable": costs.on_rejected == "count"} | ({} if futures is None else {"shrunk": ORDERS_TO_MARGIN})
    record = record_of(result, window.timestamp, decisions.symbols, words=words, hints=hints)
    return record if futures is None or account is None else margin_record(record, futures, account.used, window)


def run_rows(
    market: Market,
    terms: Terms,
    plan: Plan,
    *,
    state: State,
    log: Log,
    ask: Callable[[int, State], Floats] | None = None,
    positions: bool = False,
    watch: Watch | None = None,
    futures: Futures | None = None,
) -> Result:
    """Run all rows of a chunk and return what is left; `state` and `watch` go on to the next chunk.

    `ask` gives the weights [S] of a row where the plan cannot; a plan that needs it without it is a TypeError.
    """
    width = len(state.size)
    curves = new_curves(len(market.close), width, positions=positions)
    answer = np.empty(width)
    status = advance(market, terms, plan, state, log, curves, answer, watch, futures)
    while status != DONE:
        if status == ASK:
            if ask is None:
                raise TypeError("the plan asks for weights and nobody answers")
            weights = np.asarray(ask(int(state.counts[ROW]), state), dtype=np.float64)
            refuse_unfit(weights, width)
            answer[:] = weights
        else:
            log = grown(log, 2 * len(log.size) + 2 * width)
        status = advance(market, terms, plan, state, log, curves, answer, watch, futures)
    return Result(state, log, curves)


def last_asked(result: Result, rows: int) -> int:
    """Return the row from which on no strategy was asked: that of the ruin, or the last, which decides nothing."""
    low = np.flatnonzero(result.curves.equity <= 0)
    return int(low[0]) if len(low) else rows - 1


def count_shortage(decisions: Decisions, plan: Plan, found: Ints, *, asked: set[int], last: int) -> None:
    """Count the rebalances that could choose too few; those that were asked for have counted themselves."""
    rows = np.flatnonzero(plan.place[:last] >= 0)
    if asked:
        rows = np.setdiff1d(rows, list(asked))
    decisions.shortage.count_found(rows, found[plan.place[rows]])


def record_of(
    result: Result,
    timestamp: NDArray[np.datetime64],
    symbols: tuple[str, ...],
    *,
    words: tuple[str, ...],
    hints: Mapping[str, Any],
) -> RunRecord:
    """Return the record of a whole run; `words` is what the log must say beside ruin and rejections.

    `hints`: the keywords of `closing_words`.
    """
    orders = orders_of(result, symbols)
    refused = orders.where(orders.columns["status"] == "rejected")
    ruined = bool(result.state.counts[RUINED])
    capped = int((result.log.outcome[: len(orders)] == CAPPED).sum())
    return RunRecord(
        timestamp=timestamp,
        symbols=symbols,
        equity=result.curves.equity,
        cash=result.curves.cash,
        sizes=result.curves.sizes,
        marks=result.curves.marks,
        orders=orders,
        ruined=ruined,
        warnings=(*words, *closing_words(refused, ruined=ruined, capped=capped, **hints)),
    )


def orders_of(result: Result, symbols: tuple[str, ...], first: int = 1) -> OrderTable:
    """Return the log as orders, numbered from `first` on."""
    n = int(result.state.counts[LOGGED])
    log = Log(*(values[:n].copy() for values in result.log))  # type: ignore[arg-type]
    size, paid = np.abs(log.size), log.reason == FUNDING
    return OrderTable(
        {
            "order_id": np.arange(first, first + n),
            "created_bar": log.created,
            "filled_bar": log.filled,
            "symbol": np.array(symbols)[log.column],
            "side": np.where(log.size > 0, "buy", "sell"),
            "size": np.where(paid, 0.0, size),
            "price": log.price,
            "value": np.where(paid, log.commission, size * log.price),
            "commission": np.where(paid, 0.0, log.commission),
            "slippage": log.slippage,
            "reason": np.array(REASONS)[log.reason],
            "status": np.where(log.outcome == FILLED, "filled", "rejected"),
            "detail": np.array(OUTCOMES)[log.outcome],
        }
    )
