"""Fills and the account's value, compiled: the arithmetic of Backtrader's BackBroker, operation by operation.

Sums and products stand in the sequence in which BackBroker makes them (its `_execute`, `_get_value` and
`Position.update`), so that cash, equity and fill prices have the very same bits.

A function that is called for every row takes the arrays out of the tuples once, and what is called for every order
takes numbers only: numba counts references for each array that a call hands on, which costs more than the arithmetic.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

from .layout import CASH, DELISTING, FILLED, HELD, LOGGED, MARGIN, PENDING, TOUCHED, UNTRADABLE

DUST = 1e-9


@numba.njit(nogil=True, cache=True, error_model="numpy")
def split(size, held):
    """Return (opened, closed) of an order on a holding, as `Position.update` does."""
    new = held + size
    if new == 0:
        return 0.0, size
    if held == 0 or (held > 0) == (size > 0):
        return size, 0.0
    if (new > 0) == (held > 0):
        return 0.0, size
    return new, -held


@numba.njit(nogil=True, cache=True, error_model="numpy")
def slipped(opened, high, low, buys, slippage, capped):
    """Return the price that an order would have: slippage against it, where capped not beyond the bar."""
    if buys:
        price = opened * (1 + slippage)
        return high if capped and price > high else price
    price = opened * (1 - slippage)
    return low if capped and price < low else price


@numba.njit(nogil=True, cache=True, error_model="numpy")
def check_cash(terms, state):
    """Check 1: on a running cash at the created price; the debit of what is refused stays. Marks what is refused."""
    counts, outcome, touch = state.counts, state.outcome, state.touch
    running, commission = state.money[CASH], terms.commission
    for i in range(counts[PENDING]):
        outcome[i] = FILLED
        state.done[i] = 0.0
        if state.order_unchecked[i]:
            continue
        feed, price, size = state.order_feed[i], state.order_price[i], state.order_size[i]
        if touch[feed] == 0:
            counts[TOUCHED] += 1
            touch[feed] = counts[TOUCHED]
        opened, closed = split(size, state.size[state.order_column[i]])
        if closed != 0:
            running += -closed * price
            running -= abs(closed) * commission * price
        if opened != 0:
            running -= opened * price
            running -= abs(opened) * commission * price
        if running < 0:
            outcome[i] = MARGIN


@numba.njit(nogil=True, cache=True, error_model="numpy")
def execute(market, terms, state, t, unchecked):
    """Fill the orders that skipped check 1, or those that passed it, in their sequence (check 2).

    The closing part always fills, the opening part where the cash covers it. `done`, `paid` and `fee` tell the outcome.
    """
    money, counts, outcome, touch = state.money, state.counts, state.outcome, state.touch
    sizes, averages, holder, held_list = state.size, state.average, state.holder, state.held
    opens, highs, lows, tradable, alive = market.open, market.high, market.low, market.tradable, market.alive
    commission, slippage = terms.commission, terms.slippage
    for i in range(counts[PENDING]):
        if state.order_unchecked[i] != unchecked or outcome[i] != FILLED:
            continue
        column, feed, size = state.order_column[i], state.order_feed[i], state.order_size[i]
        if touch[feed] == 0:
            counts[TOUCHED] += 1
            touch[feed] = counts[TOUCHED]
        if state.order_reason[i] == DELISTING:
            high = market.last[feed]
            price = low = high * (1.0 - terms.haircut)
        elif tradable[t, column] and alive[t, column] == feed:
            price, high, low = opens[t, column], highs[t, column], lows[t, column]
        else:
            outcome[i] = UNTRADABLE
            continue
        if slippage != 0:
            price = slipped(price, high, low, size > 0, slippage, terms.capped)
        held, average = sizes[column], averages[column]
        opened, closed = split(size, held)
        cash, fee = money[CASH], 0.0
        if closed != 0:
            cash += -closed * average + -closed * (price - average)
            fee = abs(closed) * commission * price
            cash -= fee
            money[CASH] = cash
        if opened != 0:
            cash -= opened * price
            opening_fee = abs(opened) * commission * price
            cash -= opening_fee
            if cash < 0:
                opened = 0.0
                outcome[i] = MARGIN
            else:
                fee += opening_fee
                money[CASH] = cash
        done = closed + opened
        if done == 0:
            continue
        state.done[i], state.paid[i], state.fee[i] = done, (0.0 + done * price) / done, fee
        new = held + done
        if new == 0:
            average = 0.0
        elif held == 0:
            average = price
        elif (held > 0) == (done > 0):
            average = (average * held + done * price) / new
        elif (new > 0) != (held > 0):
            average = price
        sizes[column], averages[column], holder[column] = new, average, feed
        n = counts[HELD]
        if held == 0 and new != 0:  # the account is summed in the sequence of `touch`
            place = n
            while place > 0 and touch[holder[held_list[place - 1]]] > touch[feed]:
                held_list[place] = held_list[place - 1]
                place -= 1
            held_list[place] = column
            counts[HELD] = n + 1
        elif held != 0 and new == 0:
            place = 0
            while held_list[place] != column:
                place += 1
            for later in range(place, n - 1):
                held_list[later] = held_list[later + 1]
            counts[HELD] = n - 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def write_ends(market, terms, state, log, t):
    """Log the end of each order: its filled part, and the refused part where there is one."""
    counts, sizes, holder = state.counts, state.size, state.holder
    n = counts[LOGGED]
    for i in range(counts[PENDING]):
        column, feed, size, done = state.order_column[i], state.order_feed[i], state.order_size[i], state.done[i]
        if sizes[column] == 0:
            holder[column] = feed
        opened = high = low = np.nan
        if state.order_reason[i] == DELISTING:
            state.refused[column] = done == 0
            high = market.last[feed]
            opened = low = high * (1.0 - terms.haircut)
        elif market.tradable[t, column] and market.alive[t, column] == feed:
            opened, high, low = market.open[t, column], market.high[t, column], market.low[t, column]
        rest = abs(size) - abs(done)
        for part in range(2):
            if done != 0 if part == 0 else rest > DUST * abs(size):
                log.created[n], log.filled[n], log.column[n] = market.first + t - 1, market.first + t, column
                log.reason[n] = state.order_reason[i]
                if part == 0:
                    log.size[n], log.price[n], log.commission[n] = done, state.paid[i], state.fee[i]
                    log.slippage[n], log.outcome[n] = abs(done) * abs(state.paid[i] - opened), FILLED
                else:
                    log.size[n], log.commission[n], log.slippage[n] = (rest if size > 0 else -rest), 0.0, 0.0
                    log.price[n] = slipped(opened, high, low, size > 0, terms.slippage, terms.capped)
                    log.outcome[n] = state.outcome[i]
                n += 1
    counts[LOGGED] = n
    counts[PENDING] = 0
