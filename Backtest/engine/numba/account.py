"""Fills and the account's value, compiled: the arithmetic of Backtrader's BackBroker, operation by operation.

Sums and products stand in the sequence in which BackBroker makes them (its `_execute`, `_get_value` and
`Position.update`), so that cash, equity and fill prices have the very same bits.

How the functions are compiled is explained in kernel.py.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled
from .layout import CASH, DELISTING, FILLED, HELD, LOGGED, MARGIN, PENDING, TOUCHED, UNCHECKED, UNTRADABLE

DUST = 1e-9


@compiled(_nrt=False, forceinline=True)
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


@compiled(_nrt=False, forceinline=True)
def slipped(opened, high, low, buys, slippage, capped):
    """Return the price that an order would have: slippage against it, where capped not beyond the bar."""
    if buys:
        price = opened * (1 + slippage)
        return high if capped and price > high else price
    price = opened * (1 - slippage)
    return low if capped and price < low else price


@compiled(_nrt=False, forceinline=True)
def settle(market, terms, state, log, t):
    """Check, fill and log the waiting orders at the open of the row."""
    look_up(market, terms, state, t)
    check_cash(terms, state)
    if state.counts[UNCHECKED] != 0:  # these are with the broker before those that passed the check
        execute(terms, state, True)
    execute(terms, state, False)
    write_ends(market, terms, state, log, t)


@compiled(_nrt=False, forceinline=True)
def look_up(market, terms, state, t):
    """Write the parts of each waiting order, the open it meets (NaN: no bar) and the price after slippage.

    In a pass of its own, because the opens are seldom in the cache: the processor then waits for many of them at once.
    """
    columns, feeds, sizes, reasons = state.order_column, state.order_feed, state.order_size, state.order_reason
    held, opening, closing, quoted, priced = state.size, state.opening, state.closing, state.quoted, state.priced
    opens, highs, lows, alive = market.open, market.high, market.low, market.alive
    number, last, slippage = market.number, market.last, terms.slippage
    for i in range(state.counts[PENDING]):
        column, feed, size = columns[i], feeds[i], sizes[i]
        opening[i], closing[i] = split(size, held[column])
        if reasons[i] == DELISTING:
            high = last[feed]
            price = low = high * (1.0 - terms.haircut)
        elif alive[t, column] == number[feed]:
            price, high, low = opens[t, column], highs[t, column], lows[t, column]
        else:
            price = high = low = np.nan
        quoted[i] = price
        priced[i] = slipped(price, high, low, size > 0, slippage, terms.capped) if slippage != 0 else price


@compiled(_nrt=False, forceinline=True)
def check_cash(terms, state):
    """Check 1: on a running cash at the created price; the debit of what is refused stays. Marks what is refused."""
    counts, outcome, touch, dones = state.counts, state.outcome, state.touch, state.done
    feeds, prices, unchecked = state.order_feed, state.order_price, state.order_unchecked
    opening, closing = state.opening, state.closing
    running, commission = state.money[CASH], terms.commission
    for i in range(counts[PENDING]):
        outcome[i] = FILLED
        dones[i] = 0.0
        if unchecked[i]:
            continue
        feed, price, opened, closed = feeds[i], prices[i], opening[i], closing[i]
        if touch[feed] == 0:
            counts[TOUCHED] += 1
            touch[feed] = counts[TOUCHED]
        if closed != 0:
            running += -closed * price
            running -= abs(closed) * commission * price
        if opened != 0:
            running -= opened * price
            running -= abs(opened) * commission * price
        if running < 0:
            outcome[i] = MARGIN


@compiled(_nrt=False, forceinline=True)
def execute(terms, state, turn):
    """Fill the orders that skipped check 1, or those that passed it, in their sequence (check 2).

    The closing part always fills, the opening part where the cash covers it. `done`, `paid` and `fee` tell the outcome.
    """
    money, counts, outcome, touch = state.money, state.counts, state.outcome, state.touch
    sizes, averages, holder = state.size, state.average, state.holder
    columns, feeds, unchecked = state.order_column, state.order_feed, state.order_unchecked
    opening, closing, priced = state.opening, state.closing, state.priced
    dones, paid, fees, commission, cash = state.done, state.paid, state.fee, terms.commission, money[CASH]
    for i in range(counts[PENDING]):
        if unchecked[i] != turn or outcome[i] != FILLED:
            continue
        column, feed, price = columns[i], feeds[i], priced[i]
        opened, closed = opening[i], closing[i]
        if touch[feed] == 0:
            counts[TOUCHED] += 1
            touch[feed] = counts[TOUCHED]
        if price != price:
            outcome[i] = UNTRADABLE
            continue
        held, average, fee = sizes[column], averages[column], 0.0
        if closed != 0:
            cash += -closed * average + -closed * (price - average)
            fee = abs(closed) * commission * price
            cash -= fee
        if opened != 0:
            opening_fee = abs(opened) * commission * price
            left = cash - opened * price - opening_fee
            if left < 0:
                opened = 0.0
                outcome[i] = MARGIN
            else:
                fee += opening_fee
                cash = left
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
        if (held == 0) != (new == 0):
            list_held(state, column, feed, new != 0)
    money[CASH] = cash


@compiled(_nrt=False)
def list_held(state, column, feed, begins):
    """Put a column that is now held into its place in `State.held`, or take out one that is no longer."""
    counts, held, touch, holder = state.counts, state.held, state.touch, state.holder
    n, place = counts[HELD], 0
    if begins:  # the account is summed in the sequence of `touch`
        place = n
        while place > 0 and touch[holder[held[place - 1]]] > touch[feed]:
            held[place] = held[place - 1]
            place -= 1
        held[place] = column
        counts[HELD] = n + 1
        return
    while held[place] != column:
        place += 1
    for later in range(place, n - 1):
        held[later] = held[later + 1]
    counts[HELD] = n - 1


@compiled(_nrt=False, forceinline=True)
def write_ends(market, terms, state, log, t):
    """Log the end of each order: its filled part, and the refused part where there is one."""
    counts, sizes, holder = state.counts, state.size, state.holder
    columns, feeds, order_size, reasons = state.order_column, state.order_feed, state.order_size, state.order_reason
    dones, paid, fees, outcomes, quoted = state.done, state.paid, state.fee, state.outcome, state.quoted
    created, filled, of_column, of_size, of_price = log.created, log.filled, log.column, log.size, log.price
    commission, slippage, of_reason, ends = log.commission, log.slippage, log.reason, log.outcome
    n, row = counts[LOGGED], market.first + t
    for i in range(counts[PENDING]):
        column, size, done = columns[i], order_size[i], dones[i]
        if sizes[column] == 0:
            holder[column] = feeds[i]
        if reasons[i] == DELISTING:
            state.refused[column] = done == 0
        if done != 0:
            created[n], filled[n], of_column[n], of_reason[n] = row - 1, row, column, reasons[i]
            of_size[n], of_price[n], commission[n], ends[n] = done, paid[i], fees[i], FILLED
            slippage[n] = abs(done) * abs(paid[i] - quoted[i])
            n += 1
        rest = abs(size) - abs(done)
        if rest > DUST * abs(size):
            created[n], filled[n], of_column[n], of_reason[n] = row - 1, row, column, reasons[i]
            of_size[n], commission[n], slippage[n], ends[n] = (rest if size > 0 else -rest), 0.0, 0.0, outcomes[i]
            of_price[n] = would_be(market, terms, state, t, i)
            n += 1
    counts[LOGGED] = n
    counts[PENDING] = 0


@compiled(_nrt=False)
def would_be(market, terms, state, t, i):
    """Return the price that a refused order would have had, NaN without a bar."""
    column, quoted = state.order_column[i], state.quoted[i]
    high, low = market.high[t, column], market.low[t, column]
    if state.order_reason[i] == DELISTING:
        high, low = market.last[state.order_feed[i]], quoted
    return slipped(quoted, high, low, state.order_size[i] > 0, terms.slippage, terms.capped)
