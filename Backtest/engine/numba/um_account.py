"""A futures account, compiled: one bar of a run on USDT-M futures. `kernel.advance` calls, in this sequence:

1. `trade`     where orders wait or funding is stamped:
               `settle` funding stamped at the bar's open, for what is held then;
               `liquidate` what the opens liquidate, before any order fills;
               `fill` closing parts, then openings in their sequence, each where the margin covers it;
               `settle` funding stamped later inside the bar, for what is held now
2. `look`      would the bar's adverse extremes liquidate: lows for longs, highs for shorts, all at once?
3. `suffer`    where they would

Cash is the wallet: what was paid in, realised profits, funding, less fees. Equity adds the unrealised profits. In cross
margin a loss, fee or funding beyond the wallet first takes in the unrealised profits of the other positions (their
entry prices move to the market, equity stays), so that the wallet is not below zero while the account is worth
something.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba

from .account import slipped, split, write_ends
from .layout import CASH, DELISTING, FILLED, FUNDING, HELD, LOGGED, MARGIN, PENDING, UNTRADABLE
from .um_liquidation import liquidate
from .um_margin import tier_of
from .um_wallet import add_to, realise, take_in_profits

TIGHT = 1e-12
"""Relative to the account: an opening of exactly what the margin covers is not refused for a last bit."""


@numba.njit(nogil=True, cache=True, error_model="numpy")
def trade(market, terms, state, log, futures, t):
    """Settle funding and fill the waiting orders."""
    settled = futures.starts[t + 1] > futures.starts[t]
    if settled:
        settle(market, state, log, futures, t, True)
    if state.counts[PENDING] > 0:
        futures.struck[:] = False
        danger = look_at_opens(market, terms, state, futures, t)
        take_in_profits(state, futures)
        if danger:
            liquidate(market, terms, state, log, futures, t)
        fill(market, terms, state, futures, t)
        write_ends(market, terms, state, log, t)
    if settled:
        settle(market, state, log, futures, t, False)
    if state.money[CASH] < 0:
        look_at_opens(market, terms, state, futures, t)
        take_in_profits(state, futures)


@numba.njit(nogil=True, cache=True, error_model="numpy")
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def open_of(market, state, t, column):
    """Return the open of what is held; the last close of what is over."""
    feed = state.holder[column]
    return market.last[feed] if market.first + t >= market.proven[feed] else market.open[t, column]


@numba.njit(inline="always", error_model="numpy")
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


@numba.njit(inline="always", error_model="numpy")
def settle(market, state, log, futures, t, at_open):
    """Pay and get funding: mark * quantity * rate, which longs pay where it is positive.

    Nobody pays more than he has: see `payable`.
    """
    size, holder, counts, money, margin = state.size, state.holder, state.counts, state.money, futures.margin
    alive, columns, rates, marks, opens = market.alive, futures.column, futures.rate, futures.mark, futures.at_open
    created, filled, of_column, of_reason, of_size = log.created, log.filled, log.column, log.reason, log.size
    of_price, of_flow, of_slippage, outcome = log.price, log.commission, log.slippage, log.outcome
    row, n, isolated = market.first + t, counts[LOGGED], futures.isolated
    for event in range(futures.starts[t], futures.starts[t + 1]):
        column = columns[event]
        amount = size[column]
        if opens[event] != at_open or amount == 0 or alive[t, column] != holder[column]:
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def payable(market, state, futures, t, column):
    """Return the most funding a position can pay: wallet, or its own margin, and the unrealised profits behind it."""
    most = futures.margin[column] if futures.isolated else state.money[CASH]
    for i in range(state.counts[HELD]):
        other = state.held[i]
        if other == column or not futures.isolated:
            most += max(0.0, state.size[other] * (open_of(market, state, t, other) - state.average[other]))
    return max(0.0, most)


@numba.njit(inline="always", error_model="numpy")
def fill(market, terms, state, futures, t):
    """Fill the waiting orders: every closing part, then each opening part that the margin covers."""
    counts, money, size, average, held = state.counts, state.money, state.size, state.average, state.held
    columns, feeds, sizes, reasons = state.order_column, state.order_feed, state.order_size, state.order_reason
    outcome, dones, paid, fees, taker = state.outcome, state.done, state.paid, state.fee, futures.taker[t]
    opens, highs, lows, tradable, alive = market.open, market.high, market.low, market.tradable, market.alive
    margin, struck, now, slippage, is_capped = futures.margin, futures.struck, futures.now, terms.slippage, terms.capped
    for i in range(counts[PENDING]):
        column, feed, order = columns[i], feeds[i], sizes[i]
        outcome[i], dones[i], fees[i] = FILLED, 0.0, 0.0
        if struck[column]:
            outcome[i] = MARGIN
            continue
        if reasons[i] == DELISTING:
            high = market.last[feed]
            price = low = high * (1.0 - terms.haircut)
        elif tradable[t, column] and alive[t, column] == feed:
            price, high, low = opens[t, column], highs[t, column], lows[t, column]
        else:
            outcome[i] = UNTRADABLE
            continue
        now[column], paid[i] = price, slipped(price, high, low, order > 0, slippage, is_capped)
        _opened, closed = split(order, size[column])
        if closed != 0:
            dones[i], fees[i] = closed, abs(closed) * taker * paid[i]
            realise(money, counts, size, average, margin, held, column, closed, paid[i], fees[i])
    take_in_profits(state, futures)
    open_positions(market, state, futures, t, taker)
    take_in_profits(state, futures)


@numba.njit(inline="always", error_model="numpy")
def open_positions(market, state, futures, t, taker):
    """Fill the opening parts of the waiting orders whose closing parts are done, as far as the margin covers them."""
    counts, money, size, average, held = state.counts, state.money, state.size, state.average, state.held
    columns, feeds, sizes, holder, outcome = (
        state.order_column, state.order_feed, state.order_size, state.holder, state.outcome,
    )  # fmt: skip
    dones, paid, fees, leverage, margin, now = (
        state.done, state.paid, state.fee, futures.leverage, futures.margin, futures.now,
    )  # fmt: skip
    tables, since, spans, floors = futures.tables, futures.since, futures.spans, futures.floors
    isolated, row, free = futures.isolated, market.first + t, free_margin(state, futures)
    for i in range(counts[PENDING]):
        column, opened = columns[i], sizes[i] - dones[i]
        if outcome[i] != FILLED or opened == 0:
            continue
        fee, price, most = abs(opened) * taker * paid[i], now[column], leverage[column]
        notional = abs(size[column] + opened) * price
        tier = tier_of(tables, since, spans, floors, column, row, notional)
        taken = abs(opened) * (paid[i] if isolated else price) / most + fee
        if not isolated:
            taken += opened * (paid[i] - price)
        if most > futures.caps[tier] or free - taken < -TIGHT * (abs(free) + taken):
            outcome[i] = MARGIN
            continue
        free -= taken
        add_to(counts, size, average, held, column, opened, paid[i])
        holder[column] = feeds[i]
        if isolated:
            margin[column] += abs(opened) * paid[i] / most
        money[CASH] -= fee
        dones[i], fees[i] = dones[i] + opened, fees[i] + fee


@numba.njit(inline="always", error_model="numpy")
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
