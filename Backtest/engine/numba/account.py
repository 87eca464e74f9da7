"""Fills and the account's value, compiled: the arithmetic of Backtrader's BackBroker, operation by operation.

Sums and products stand in the sequence in which BackBroker makes them (its `_execute`, `_get_value` and
`Position.update`), so that cash, equity and fill prices have the very same bits.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

from .layout import CASH, DELISTING, EQUITY, FILLED, HELD, LOGGED, MARGIN, PENDING, TOUCHED, UNTRADABLE

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
def touch(state, feed):
    """Note that an order names this episode; the account is summed in the sequence of the first ones."""
    if state.touch[feed] == 0:
        state.counts[TOUCHED] += 1
        state.touch[feed] = state.counts[TOUCHED]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def check_cash(terms, state):
    """Check 1: on a running cash at the created price; the debit of what is refused stays. Marks what is refused."""
    running = state.money[CASH]
    for i in range(state.counts[PENDING]):
        state.outcome[i] = FILLED
        state.done[i] = state.paid[i] = state.fee[i] = 0.0
        if state.order_unchecked[i]:
            continue
        touch(state, state.order_feed[i])
        price = state.order_price[i]
        opened, closed = split(state.order_size[i], state.size[state.order_column[i]])
        if closed != 0:
            running += -closed * price
            running -= abs(closed) * terms.commission * price
        if opened != 0:
            running -= opened * price
            running -= abs(opened) * terms.commission * price
        if running < 0:
            state.outcome[i] = MARGIN


@numba.njit(nogil=True, cache=True, error_model="numpy")
def bar_of(market, terms, state, t, i):
    """Return (whether order i can be filled on row t of the chunk, open, fill price, price it would have had)."""
    column, feed, size = state.order_column[i], state.order_feed[i], state.order_size[i]
    if state.order_reason[i] == DELISTING:
        high = market.last[feed]
        opened = low = high * (1.0 - terms.haircut)
    elif market.tradable[t, column] and market.alive[t, column] == feed:
        opened, high, low = market.open[t, column], market.high[t, column], market.low[t, column]
    else:
        return False, np.nan, np.nan, np.nan
    if size > 0:
        slipped = opened * (1 + terms.slippage)
        if terms.capped and slipped > high:
            slipped = high
    else:
        slipped = opened * (1 - terms.slippage)
        if terms.capped and slipped < low:
            slipped = low
    return True, opened, slipped if terms.slippage != 0 else opened, slipped


@numba.njit(nogil=True, cache=True, error_model="numpy")
def execute(terms, state, i, price):
    """Fill order i: the closing part always, the opening part where the cash covers it (check 2)."""
    column, feed = state.order_column[i], state.order_feed[i]
    held, average = state.size[column], state.average[column]
    opened, closed = split(state.order_size[i], held)
    cash, fee = state.money[CASH], 0.0
    if closed != 0:
        cash += -closed * average + -closed * (price - average)
        fee = abs(closed) * terms.commission * price
        cash -= fee
        state.money[CASH] = cash
    if opened != 0:
        cash -= opened * price
        opening_fee = abs(opened) * terms.commission * price
        cash -= opening_fee
        if cash < 0:
            opened = 0.0
            state.outcome[i] = MARGIN
        else:
            fee += opening_fee
            state.money[CASH] = cash
    done = closed + opened
    if done != 0:
        move(state, column, feed, done, price)
        state.done[i], state.paid[i], state.fee[i] = done, (0.0 + done * price) / done, fee


@numba.njit(nogil=True, cache=True, error_model="numpy")
def move(state, column, feed, done, price):
    """Change a holding and its average price; keep `held` in the sequence of `touch`."""
    held, average = state.size[column], state.average[column]
    new = held + done
    if new == 0:
        average = 0.0
    elif held == 0:
        average = price
    elif (held > 0) == (done > 0):
        average = (average * held + done * price) / new
    elif (new > 0) != (held > 0):
        average = price
    state.size[column], state.average[column], state.holder[column] = new, average, feed
    n = state.counts[HELD]
    if held == 0 and new != 0:
        place = n
        while place > 0 and state.touch[state.holder[state.held[place - 1]]] > state.touch[feed]:
            state.held[place] = state.held[place - 1]
            place -= 1
        state.held[place] = column
        state.counts[HELD] = n + 1
    elif held != 0 and new == 0:
        place = 0
        while state.held[place] != column:
            place += 1
        for later in range(place, n - 1):
            state.held[later] = state.held[later + 1]
        state.counts[HELD] = n - 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def fill_orders(market, terms, state, log, t):
    """Take the waiting orders to their end at the open of row t of the chunk. The log has room for two ends each."""
    check_cash(terms, state)
    n = state.counts[PENDING]
    for first in (True, False):  # what skips the check is with the broker before what passed it
        for i in range(n):
            if state.order_unchecked[i] == first and state.outcome[i] == FILLED:
                touch(state, state.order_feed[i])
                there, _, price, _ = bar_of(market, terms, state, t, i)
                if there:
                    execute(terms, state, i, price)
                else:
                    state.outcome[i] = UNTRADABLE
    for i in range(n):
        column = state.order_column[i]
        if state.size[column] == 0:
            state.holder[column] = state.order_feed[i]
        if state.order_reason[i] == DELISTING:
            state.refused[column] = state.done[i] == 0
        write_ends(market, terms, state, log, t, i)
    state.counts[PENDING] = 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def write_ends(market, terms, state, log, t, i):
    """Log the filled part of order i, and the refused part where there is one."""
    size, done = state.order_size[i], state.done[i]
    _, opened, _, would_be = bar_of(market, terms, state, t, i)
    if done != 0:
        slippage = abs(done) * abs(state.paid[i] - opened)
        write_end(market, state, log, t, i, done, state.paid[i], state.fee[i], slippage, FILLED)
    rest = abs(size) - abs(done)
    if rest > DUST * abs(size):
        signed = rest if size > 0 else -rest
        write_end(market, state, log, t, i, signed, would_be, 0.0, 0.0, state.outcome[i])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def write_end(market, state, log, t, i, size, price, commission, slippage, outcome):
    """Add one entry to the log."""
    n = state.counts[LOGGED]
    log.created[n] = market.first + t - 1
    log.filled[n] = market.first + t
    log.column[n] = state.order_column[i]
    log.size[n] = size
    log.price[n] = price
    log.commission[n] = commission
    log.slippage[n] = slippage
    log.reason[n] = state.order_reason[i]
    log.outcome[n] = outcome
    state.counts[LOGGED] = n + 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def price_of(market, state, t, column):
    """Return the price a column is valued at: its close, the last one where the episode held is over."""
    if state.size[column] != 0:
        feed = state.holder[column]
        if market.first + t >= market.proven[feed]:
            return market.last[feed]
    return market.close[t, column]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def mark_to_close(market, state, curves, t):
    """Value the account at the close of row t of the chunk and keep what is asked for."""
    value = 0.0
    positions = len(curves.sizes) > 0
    for i in range(state.counts[HELD]):
        column = state.held[i]
        size, price = state.size[column], price_of(market, state, t, column)
        worth = size * price
        if worth > 0:
            gained = size * (price - state.average[column])
            value += worth - gained
            value += gained
        else:
            value += worth
        if positions:
            curves.sizes[t, column], curves.marks[t, column] = size, price
    state.money[EQUITY] = state.money[CASH] + value
    curves.cash[t], curves.equity[t] = state.money[CASH], state.money[EQUITY]
