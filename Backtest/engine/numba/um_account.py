"""A futures account, compiled: one bar of a run on USDT-M futures, in this sequence:

1. `settle_funding`  what is stamped at the bar's open, for what is held then
2. `liquidate`       what the opens liquidate, before any order fills
3. `close_parts`     of the waiting orders, then `open_parts` in their sequence, each where the margin covers it
4. `settle_funding`  what is stamped later inside the bar, for what is held now
5. `value_margin`    at the close; would the adverse extremes (lows of longs, highs of shorts, all at once) liquidate?
6. `suffer`          where they would

Cash is the wallet: what was paid in, realised profits, funding, less fees. Equity adds the unrealised profits. In cross
margin a loss, fee or funding beyond the wallet first takes in the unrealised profits of the other positions (their
entry prices move to the market, equity stays), so that the wallet is not below zero while the account is worth
something.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled
from .account import look_up, write_ends
from .ahead import ask_for
from .layout import CAPPED, CASH, EQUITY, FILLED, FUNDING, HELD, LOGGED, MARGIN, OVER, PENDING, RUINED, UNTRADABLE
from .um_liquidation import liquidate
from .um_margin import in_danger, tier_of
from .um_wallet import add_to, realise, take_in_profits

AHEAD = 4
"""Rows between asking for a price and reading it, as on spot."""

TIGHT = 1e-12
"""Relative to the account: an opening of exactly what the margin covers is not refused for a last bit."""


@compiled(_nrt=False, forceinline=True)
def live_through(market, terms, state, log, curves, futures, t):
    """Take the account from the open to the close of a row; False, with nothing done, where the log is too short."""
    counts, starts = state.counts, futures.starts
    pending, stamped = counts[PENDING], starts[t + 1] - starts[t]
    if len(log.size) - counts[LOGGED] < stamped + 3 * pending + 2 * counts[HELD]:
        return False
    if pending > 0 or (stamped > 0 and counts[HELD] > 0):
        trade(market, terms, state, log, futures, t)
    if value_margin(market, state, futures, t):
        suffer(market, terms, state, log, futures, t)
        value_margin(market, state, futures, t)
    curves.cash[t], curves.equity[t] = state.money[CASH], state.money[EQUITY]
    if state.money[EQUITY] <= 0:
        counts[RUINED] = 1
    if len(curves.sizes) > 0:
        keep_positions(market, state, curves, t)
    return True


@compiled(_nrt=False, forceinline=True)
def value_margin(market, state, futures, t):
    """Value the account at the close of the row; return whether the bar's adverse extremes liquidate anything.

    Most rows are far from it: where even the widest move of any symbol, under the heaviest rate of a notional as large
    as all positions together, would liquidate nothing, the extremes are not looked at.
    """
    size, average, held, holder = state.size, state.average, state.held, state.holder
    closes, proven, last, shares, margin = market.close, market.proven, market.last, futures.shares, futures.margin
    isolated, row, n, wallet = futures.isolated, market.first + t, state.counts[HELD], state.money[CASH]
    over, gained, used, gross, least = 0, 0.0, 0.0, 0.0, np.inf
    for i in range(n):
        column = held[i]
        amount, feed = size[column], holder[column]
        price = closes[t, column]
        ask_for(closes, t + AHEAD, column)
        if row >= proven[feed]:
            price, over = last[feed], 1
        gain, notional = amount * (price - average[column]), abs(amount) * price
        gained += gain
        gross += notional
        if isolated:
            least = min(least, (margin[column] + gain) / notional)
            used += margin[column]
        else:
            used += notional * shares[column]
    equity = wallet + gained
    state.money[EQUITY], state.counts[OVER], futures.used[t] = equity, over, used
    move, tier = futures.move[t], 0
    while tier + 1 < len(futures.steps) and gross * (1.0 + move) >= futures.steps[tier + 1]:
        tier += 1
    kept = move + (1.0 + move) * futures.heaviest[tier]
    if n == 0 or (least > kept if isolated else equity > gross * kept):
        return False
    return in_danger(market, state, futures, t)


@compiled(_nrt=False)
def keep_positions(market, state, curves, t):
    """Keep what is held at the close of the row, and the price that it is valued at."""
    held, holder, row = state.held, state.holder, market.first + t
    for i in range(state.counts[HELD]):
        column = held[i]
        feed = holder[column]
        curves.sizes[t, column] = state.size[column]
        curves.marks[t, column] = market.last[feed] if row >= market.proven[feed] else market.close[t, column]


@compiled(_nrt=False)
def trade(market, terms, state, log, futures, t):
    """Settle funding and fill the waiting orders."""
    counts, first, inner, end = state.counts, futures.starts[t], futures.inner[t], futures.starts[t + 1]
    if first < inner:
        settle_funding(market, state, log, futures, t, first, inner)
    if counts[PENDING] > 0:
        for i in range(counts[PENDING]):
            futures.struck[state.order_column[i]] = False
        danger = look_at_opens(market, terms, state, futures, t)
        take_in_profits(state, futures)
        if danger:
            liquidate(market, terms, state, log, futures, t)
        look_up(market, terms, state, t)
        close_parts(state, futures, t)
        open_parts(market, state, futures, t)
        write_ends(market, terms, state, log, t)
    if inner < end:
        settle_funding(market, state, log, futures, t, inner, end)
    if state.money[CASH] < 0:
        look_at_opens(market, terms, state, futures, t)
        take_in_profits(state, futures)


@compiled(_nrt=False)
def suffer(market, terms, state, log, futures, t):
    """Liquidate what the bar's adverse extremes do, on the way there from the opens."""
    look_at_opens(market, terms, state, futures, t)
    take_in_profits(state, futures)
    held, holder, size, worst, row = state.held, state.holder, state.size, futures.worst, market.first + t
    for i in range(state.counts[HELD]):
        column = held[i]
        if row < market.proven[holder[column]]:
            worst[column] = market.low[t, column] if size[column] > 0 else market.high[t, column]
    liquidate(market, terms, state, log, futures, t)


@compiled(_nrt=False, forceinline=True)
def look_at_opens(market, terms, state, futures, t):
    """Write the opens of what is held into `Futures.now` and `worst`; return whether they liquidate anything.

    What is over has its settlement price.
    """
    size, average, held, holder, opens = state.size, state.average, state.held, state.holder, market.open
    proven, last, now, worst, margin = market.proven, market.last, futures.now, futures.worst, futures.margin
    tables, since, spans, floors = futures.tables, futures.since, futures.spans, futures.floors
    rates, cums, isolated, row = futures.rates, futures.cums, futures.isolated, market.first + t
    danger, balance, needed, n = False, state.money[CASH], 0.0, state.counts[HELD]
    for i in range(n):
        column = held[i]
        feed, amount = holder[column], size[column]
        price = opens[t, column]
        if row >= proven[feed]:
            price = last[feed] * (1.0 - terms.haircut) if row > proven[feed] else last[feed]
        now[column] = worst[column] = price
        notional, gained = abs(amount) * price, amount * (price - average[column])
        tier = tier_of(tables, since, spans, floors, column, row, notional)
        kept = notional * rates[tier] - cums[tier]
        if isolated:
            danger = danger or margin[column] + gained <= kept
        else:
            balance += gained
            needed += kept
    return danger or (not isolated and n > 0 and balance <= needed)


@compiled(_nrt=False, forceinline=True)
def settle_funding(market, state, log, futures, t, begin, end):
    """Pay and get funding: mark * quantity * rate, which longs pay where it is positive.

    Nobody pays more than he has: see `payable`.
    """
    size, holder, counts, money, margin = state.size, state.holder, state.counts, state.money, futures.margin
    proven, columns, rates, marks = market.proven, futures.column, futures.rate, futures.mark
    created, filled, of_column, of_reason, of_size = log.created, log.filled, log.column, log.reason, log.size
    of_price, of_flow, of_slippage, outcome = log.price, log.commission, log.slippage, log.outcome
    row, n, isolated = market.first + t, counts[LOGGED], futures.isolated
    for event in range(begin, end):
        column = columns[event]
        amount = size[column]
        if amount == 0 or row >= proven[holder[column]]:
            continue
        flow = -amount * marks[event] * rates[event]
        if -flow > (margin[column] if isolated else money[CASH]):
            flow = max(flow, -payable(market, state, futures, t, column))
        money[CASH] += flow
        if isolated:
            margin[column] += flow
        created[n], filled[n], of_column[n], of_reason[n], of_size[n] = row, row, column, FUNDING, amount
        of_price[n], of_flow[n], of_slippage[n], outcome[n] = marks[event], flow, 0.0, FILLED
        n += 1
    counts[LOGGED] = n


@compiled(_nrt=False)
def payable(market, state, futures, t, column):
    """Return the most funding a position can pay: wallet, or its own margin, and the unrealised profits behind it."""
    most = futures.margin[column] if futures.isolated else state.money[CASH]
    for i in range(state.counts[HELD]):
        other = state.held[i]
        feed, price = state.holder[other], market.open[t, other]
        if market.first + t >= market.proven[feed]:
            price = market.last[feed]
        if other == column or not futures.isolated:
            most += max(0.0, state.size[other] * (price - state.average[other]))
    return max(0.0, most)


@compiled(_nrt=False, forceinline=True)
def close_parts(state, futures, t):
    """Fill the closing part of every waiting order; cancel those of what the open has liquidated."""
    columns, outcome, dones, paid, fees = state.order_column, state.outcome, state.done, state.paid, state.fee
    quoted, priced, closing, taker, struck = state.quoted, state.priced, state.closing, futures.taker[t], futures.struck
    for i in range(state.counts[PENDING]):
        column, price = columns[i], priced[i]
        outcome[i], dones[i], paid[i], fees[i] = FILLED, 0.0, price, 0.0
        if struck[column]:
            outcome[i] = MARGIN
        elif price != price:
            outcome[i] = UNTRADABLE
        else:
            futures.now[column] = quoted[i]
            closed = closing[i]
            if closed != 0:
                dones[i], fees[i] = closed, abs(closed) * taker * price
                realise(state, futures, column, closed, price, fees[i])
    take_in_profits(state, futures)


@compiled(_nrt=False, forceinline=True)
def open_parts(market, state, futures, t):
    """Fill the opening part of each waiting order in their sequence, as far as the margin covers it."""
    size, columns, opening, outcome = state.size, state.order_column, state.opening, state.outcome
    dones, paid, fees, leverage, now = state.done, state.paid, state.fee, futures.leverage, futures.now
    tables, since, spans, floors = futures.tables, futures.since, futures.spans, futures.floors
    taker, isolated, row, free = futures.taker[t], futures.isolated, market.first + t, free_margin(state, futures)
    for i in range(state.counts[PENDING]):
        column, opened = columns[i], opening[i]
        if outcome[i] != FILLED or opened == 0:
            continue
        fee, price, most = abs(opened) * taker * paid[i], now[column], leverage[column]
        tier = tier_of(tables, since, spans, floors, column, row, abs(size[column] + opened) * price)
        margin = abs(opened) * (paid[i] if isolated else price) / most
        taken = margin + fee
        if not isolated:
            taken += opened * (paid[i] - price)
        counted = taken < np.inf  # False for inf and nan
        if most > futures.caps[tier] or not counted or free - taken < -TIGHT * (abs(free) + taken):
            outcome[i] = CAPPED if most > futures.caps[tier] else MARGIN
            continue
        free -= taken
        add_to(state, futures, column, opened, paid[i], state.order_feed[i])
        if isolated:
            futures.margin[column] += margin
        state.money[CASH] -= fee
        dones[i], fees[i] = dones[i] + opened, fees[i] + fee
    take_in_profits(state, futures)


@compiled(_nrt=False, forceinline=True)
def free_margin(state, futures):
    """Return what is left for new positions at `Futures.now`: the wallet, in cross margin the equity, less margins."""
    size, average, held, now = state.size, state.average, state.held, futures.now
    leverage, margin, isolated, free = futures.leverage, futures.margin, futures.isolated, state.money[CASH]
    for i in range(state.counts[HELD]):
        column = held[i]
        if isolated:
            free -= margin[column]
        else:
            amount, price = size[column], now[column]
            free += amount * (price - average[column]) - abs(amount) * price / leverage[column]
    return free
