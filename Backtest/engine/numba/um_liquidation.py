"""Liquidation of futures positions, compiled.

Prices move from `Futures.now` to `Futures.worst` together. Where balance meets maintenance margin, the position goes,
in cross margin the one with the largest unrealised loss; what it leaves decides how far the others get. It is closed at
that price less slippage, and pays the liquidation fee instead of the taker's: both at most out of what is left of
its money. Where a gap, or funding, has taken more than there was, the loss ends at the bankruptcy price (the exchange's
insurance fund bears the rest), in cross margin shared by the losing positions in proportion to their losses.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from ...machine_code import compiled
from .account import slipped
from .layout import CASH, FILLED, HELD, LIQUIDATION, LOGGED
from .um_margin import move_to_liquidation, stand
from .um_wallet import realise, take_in_profits

SPENT = 1e-9
"""A liquidation that leaves less of the wallet has left last bits: the account is empty."""


@compiled(_nrt=False)
def liquidate(market, terms, state, log, futures, t):
    """Liquidate what the way from `now` to `worst` leaves without its maintenance margin."""
    wallet = state.money[CASH]
    if futures.isolated:
        liquidate_isolated(market, terms, state, log, futures, t)
    else:
        liquidate_cross(market, terms, state, log, futures, t)
    if state.counts[HELD] == 0 and abs(state.money[CASH]) <= SPENT * wallet:
        state.money[CASH] = 0.0


@compiled(_nrt=False)
def liquidate_isolated(market, terms, state, log, futures, t):
    """Liquidate each position whose own margin does not keep it."""
    row, place = market.first + t, 0
    while place < state.counts[HELD]:
        column = state.held[place]
        balance, needed, _slope = stand(state, futures, row, place, place + 1, 1.0)
        if balance > needed:
            place += 1
            continue
        balance, needed, _slope = stand(state, futures, row, place, place + 1, 0.0)
        if balance > needed:
            move_to_liquidation(state, futures, row, place, place + 1)
            balance, needed, _slope = stand(state, futures, row, place, place + 1, 0.0)
        if balance > 0:
            strike(market, terms, state, log, futures, t, column, balance)
        else:
            bankrupt = futures.now[column] - balance / state.size[column]
            close_out(state, log, futures, row, column, bankrupt, 0.0, 0.0)


@compiled(_nrt=False)
def liquidate_cross(market, terms, state, log, futures, t):
    """Liquidate one position after the other until the account keeps the rest."""
    row = market.first + t
    while state.counts[HELD] > 0:
        n = state.counts[HELD]
        balance, needed, _slope = stand(state, futures, row, 0, n, 0.0)
        if balance > needed:
            at_worst, needed, _slope = stand(state, futures, row, 0, n, 1.0)
            if at_worst > needed:
                return
            move_to_liquidation(state, futures, row, 0, n)
            balance, needed, _slope = stand(state, futures, row, 0, n, 0.0)
        if balance <= 0:
            wipe_out(state, log, futures, row, -balance)
            return
        column, lost = state.held[0], 0.0
        for i in range(n):
            gained = state.size[state.held[i]] * (futures.now[state.held[i]] - state.average[state.held[i]])
            if gained < lost:
                column, lost = state.held[i], gained
        strike(market, terms, state, log, futures, t, column, balance)
        take_in_profits(state, futures)


@compiled(_nrt=False)
def strike(market, terms, state, log, futures, t, column, balance):
    """Close a position at `now` less slippage, for the liquidation fee; `balance` is the most that both may cost."""
    size, now, feed, row = state.size[column], futures.now[column], state.holder[column], market.first + t
    over = row >= market.proven[feed]
    high, low = (now, now) if over else (market.high[t, column], market.low[t, column])
    price = slipped(now, high, low, size < 0, terms.slippage, terms.capped)
    slippage = abs(size) * abs(price - now)
    if slippage > balance:
        slippage, price = balance, now - balance / size
    fee = min(abs(size) * price * futures.liquidation[t], balance - slippage)
    close_out(state, log, futures, row, column, price, fee, slippage)


@compiled(_nrt=False)
def wipe_out(state, log, futures, row, missing):
    """Close everything of an account that is `missing` money: it ends with nothing, and no debt."""
    lost = 0.0
    for i in range(state.counts[HELD]):
        column = state.held[i]
        lost -= min(0.0, state.size[column] * (futures.now[column] - state.average[column]))
    borne = min(1.0, missing / lost) if lost > 0 else 0.0
    while state.counts[HELD] > 0:
        column = state.held[0]
        now, average = futures.now[column], state.average[column]
        loses = state.size[column] * (now - average) < 0
        price = now + (average - now) * borne if loses else now
        close_out(state, log, futures, row, column, price, 0.0, 0.0)


@compiled(_nrt=False)
def close_out(state, log, futures, row, column, price, fee, slippage):
    """Close a whole position at a price, log it, and have the waiting orders of its column cancelled."""
    n, size = state.counts[LOGGED], state.size[column]
    realise(state, futures, column, -size, price, fee)
    futures.struck[column] = True
    log.created[n], log.filled[n], log.column[n], log.reason[n] = row, row, column, LIQUIDATION
    log.size[n], log.price[n], log.commission[n], log.slippage[n], log.outcome[n] = -size, price, fee, slippage, FILLED
    state.counts[LOGGED] = n + 1
