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
def parts(size, held):
    """Return the (closing, opening) parts of an order, both with its sign."""
    if size * held >= 0:
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, size + held


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
    counts, outcome, touch, dones = state.counts, state.outcome, state.touch, state.done
    columns, feeds, prices, sizes = state.order_column, state.order_feed, state.order_price, state.order_size
    unchecked, held = state.order_unchecked, state.size
    running, commission = state.money[CASH], terms.commission
    for i in range(counts[PENDING]):
        outcome[i] = FILLED
        dones[i] = 0.0
        if unchecked[i]:
            continue
        feed, price, size = feeds[i], prices[i], sizes[i]
        if touch[feed] == 0:
            counts[TOUCHED] += 1
            touch[feed] = counts[TOUCHED]
        opened, closed = split(size, held[columns[i]])
        if closed != 0:
            running += -closed * price
            running -= abs(closed) * commission * price
        if opened != 0:
            running -= opened * price
            running -= abs(opened) * commission * price
        if running < 0:
            outcome[i] = MARGIN


@numba.njit(nogil=True, cache=True, error_model="numpy")
def execute(market, terms, state, t, turn):
    """Fill the orders that skipped check 1, or those that passed it, in their sequence (check 2).

    The closing part always fills, the opening part where the cash covers it. `done`, `paid` and `fee` tell the outcome.
    """
    money, counts, outcome, touch = state.money, state.counts, state.outcome, state.touch
    sizes, averages, holder, held_list = state.size, state.average, state.holder, state.held
    opens, highs, lows, tradable, alive = market.open, market.high, market.low, market.tradable, market.alive
    last, columns, feeds, order_size = market.last, state.order_column, state.order_feed, state.order_size
    reasons, unchecked, dones, paid, fees = state.order_reason, state.order_unchecked, state.done, state.paid, state.fee
    commission, slippage = terms.commission, terms.slippage
    for i in range(counts[PENDING]):
        if unchecked[i] != turn or outcome[i] != FILLED:
            continue
        column, feed, size = columns[i], feeds[i], order_size[i]
        if touch[feed] == 0:
            counts[TOUCHED] += 1
            touch[feed] = counts[TOUCHED]
        if reasons[i] == DELISTING:
            high = last[feed]
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
        dones[i], paid[i], fees[i] = done, (0.0 + done * price) / done, fee
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
    counts, sizes, holder, last = state.counts, state.size, state.holder, market.last
    columns, feeds, order_size, reasons = state.order_column, state.order_feed, state.order_size, state.order_reason
    dones, paid, fees, outcomes, refused = state.done, state.paid, state.fee, state.outcome, state.refused
    opens, highs, lows, tradable, alive = market.open, market.high, market.low, market.tradable, market.alive
    created, filled, of_column, of_size, of_price = log.created, log.filled, log.column, log.size, log.price
    commission, slippage, of_reason, ends = log.commission, log.slippage, log.reason, log.outcome
    n, row = counts[LOGGED], market.first + t
    for i in range(counts[PENDING]):
        column, feed, size, done = columns[i], feeds[i], order_size[i], dones[i]
        if sizes[column] == 0:
            holder[column] = feed
        opened = high = low = np.nan
        if reasons[i] == DELISTING:
            refused[column] = done == 0
            high = last[feed]
            opened = low = high * (1.0 - terms.haircut)
        elif tradable[t, column] and alive[t, column] == feed:
            opened, high, low = opens[t, column], highs[t, column], lows[t, column]
        if done != 0:
            created[n], filled[n], of_column[n], of_reason[n] = row - 1, row, column, reasons[i]
            of_size[n], of_price[n], commission[n], ends[n] = done, paid[i], fees[i], FILLED
            slippage[n] = abs(done) * abs(paid[i] - opened)
            n += 1
        rest = abs(size) - abs(done)
        if rest > DUST * abs(size):
            created[n], filled[n], of_column[n], of_reason[n] = row - 1, row, column, reasons[i]
            of_size[n], commission[n], slippage[n], ends[n] = (rest if size > 0 else -rest), 0.0, 0.0, outcomes[i]
            of_price[n] = slipped(opened, high, low, size > 0, terms.slippage, terms.capped)
            n += 1
    counts[LOGGED] = n
    counts[PENDING] = 0
