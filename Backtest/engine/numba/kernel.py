"""One run, compiled: fill, value, decide, row by row. The twin of engine/decisions.py and engine/orders.py."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math

import numba
import numpy as np

from .account import fill_orders, mark_to_close, price_of
from .layout import (
    ANSWERED,
    ASK,
    ASKED,
    CASH,
    CLOSE,
    DELISTING,
    DONE,
    EQUITY,
    FLIPPED,
    FULL,
    HELD,
    LEGS,
    LOGGED,
    PENDING,
    REBALANCE,
    ROW,
    RUIN,
    RUINED,
    SIGNAL,
    WEIGHTS,
)
from .weights import capped, pairwise_sum

LOT_TOLERANCE = 1e-9
TIE = 1e-9
BELOW = 1.0 - 1e-12
NOTHING = -1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def advance(market, terms, plan, state, log, curves, answer):
    """Run the rows of a chunk from `State.counts[ROW]` on; return DONE, ASK or FULL.

    After ASK the caller writes the weights of row `State.counts[ROW]` into `answer` [S], after FULL it gives a larger
    log; both call again with all else as it was. A chunk that is DONE is followed by the next one's arrays.
    """
    counts = state.counts
    while counts[ROW] < market.first + len(market.close):
        row = counts[ROW]
        t = row - market.first
        if counts[ANSWERED] == 0:
            if counts[PENDING] > 0:
                if len(log.size) - counts[LOGGED] < 2 * counts[PENDING]:
                    return FULL
                fill_orders(market, terms, state, log, t)
            mark_to_close(market, state, curves, t)
            if state.money[EQUITY] <= 0:
                counts[RUINED] = 1
        if row + 1 < terms.rows:  # the last bar has no next open
            place = plan.place[t] if counts[RUINED] == 0 else NOTHING
            if place != NOTHING and counts[ANSWERED] == 0 and must_ask(market, plan, state, t):
                counts[ANSWERED] = 1
                return ASK
            decide(market, terms, plan, state, t, place, answer)
        counts[ANSWERED] = 0
        counts[ROW] = row + 1
    return DONE


@numba.njit(nogil=True, cache=True, error_model="numpy")
def must_ask(market, plan, state, t):
    """Say whether the plan cannot tell the weights: a ranking is without the columns whose old listing is held."""
    if plan.mode != LEGS:
        return plan.mode == ASKED
    for i in range(state.counts[HELD]):
        column = state.held[i]
        if market.tradable[t, column] and market.first + t >= market.proven[state.holder[column]]:
            return True
    return False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def can_trade(market, state, t, column):
    """Say whether a column can be traded: not while a listing that is over is held."""
    if not market.tradable[t, column]:
        return False
    return state.size[column] == 0 or market.first + t < market.proven[state.holder[column]]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def decide(market, terms, plan, state, t, place, answer):
    """Make the orders of one row's close: settlements, closing on ruin, and the way to the target weights."""
    forced = False
    for i in range(state.counts[HELD]):
        if market.first + t >= market.proven[state.holder[state.held[i]]]:
            forced = True
    if state.counts[RUINED] != 0 and state.counts[HELD] > 0:
        forced = True
    if place == NOTHING and not forced:
        return
    width = len(state.size)
    state.why[:] = NOTHING
    for i in range(state.counts[HELD]):
        column = state.held[i]
        if market.first + t >= market.proven[state.holder[column]]:
            state.change[column], state.why[column] = -state.size[column], DELISTING
        elif state.counts[RUINED] != 0 and market.tradable[t, column]:
            state.change[column], state.why[column] = -state.size[column], RUIN
    if place != NOTHING:
        set_targets(market, plan, state, t, place, answer)
        for column in range(width):
            aim_at(market, terms, state, t, column)
    put_in_sequence(market, state, t)
    if terms.scale:
        scale_to_cash(terms, state)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def set_targets(market, plan, state, t, place, answer):
    """Write the target weights of the row into `State.target`."""
    width = len(state.size)
    if plan.mode == ASKED or state.counts[ANSWERED] != 0:
        state.target[:] = answer
    elif plan.mode == WEIGHTS:
        state.target[:] = plan.weights[place]
    elif plan.mode == SIGNAL:
        for column in range(width):
            wanted, held = plan.wanted[place, column], np.sign(state.size[column])
            if held == 0:
                state.target[column] = wanted * plan.size
            else:
                state.target[column] = np.nan if wanted == held else np.inf if wanted == -held else 0.0
    else:
        state.target[:] = 0.0
        for leg in range(2):
            begin, n = plan.starts[place, leg], plan.starts[place, leg + 1] - plan.starts[place, leg]
            if n > 0:
                side = 1 - 2 * leg
                budget = max(0.0, plan.budgets[leg] - locked(market, state, t, side))
                capped(plan.shares, begin, n, budget, plan.max_weight, state.poured, state.free, state.space)
                for i in range(n):
                    state.target[plan.columns[begin + i]] = side * state.poured[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def locked(market, state, t, side):
    """Return the weight of the held symbols of one side that cannot be traded now."""
    stuck = False
    for i in range(state.counts[HELD]):
        stuck = stuck or not can_trade(market, state, t, state.held[i])
    if not stuck:
        return 0.0
    n = 0
    for column in range(len(state.size)):
        if state.size[column] * side > 0 and not can_trade(market, state, t, column):
            weight = state.size[column] * price_of(market, state, t, column) / state.money[EQUITY]
            state.space[n] = weight * side
            n += 1
    return pairwise_sum(state.space, 0, n)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def whole_lots(size, step):
    """Return the number of whole steps in `size`, rounded toward zero; two last bits, or 1e-9 steps, are forgiven."""
    exact = abs(size) / step
    lots = math.floor(exact + max(LOT_TOLERANCE, 2.0 * (np.nextafter(exact, np.inf) - exact)))
    return float(lots) if size > 0 else -float(lots)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def aim_at(market, terms, state, t, column):
    """Write the order that takes one holding to its target weight into `State.change` and `State.why`."""
    weight, held = state.target[column], state.size[column]
    if weight != weight or (weight == 0 and held == 0) or not can_trade(market, state, t, column):
        return
    price, step, equity = market.close[t, column], terms.lot_step[column], state.money[EQUITY]
    if weight == np.inf:
        if held == 0:
            return
        change, why = -2.0 * held, FLIPPED
    else:
        if weight != 0 and abs(weight - held * price / equity) < terms.band - TIE:
            return
        lots = whole_lots(weight * equity / price, step)
        if lots == 0:  # the exact size: nothing is left behind
            change, why = -held, CLOSE
        else:
            change, why = (lots - np.rint(held / step)) * step, REBALANCE
        if change == 0:
            return
    if abs(change) * price >= terms.min_notional[column] * (1.0 - TIE):
        state.change[column], state.why[column] = change, why


@numba.njit(nogil=True, cache=True, error_model="numpy")
def put_in_sequence(market, state, t):
    """List the orders as they are sent: sells before buys, closing before opening, then by column."""
    n = 0
    for kind in range(4):
        for column in range(len(state.size)):
            why = state.why[column]
            if why == NOTHING:
                continue
            change, held = state.change[column], state.size[column]
            if 2 * (change > 0) + (change * held >= 0) != kind:
                continue
            state.order_column[n] = column
            state.order_size[n] = change
            state.order_price[n] = price_of(market, state, t, column)
            state.order_feed[n] = state.holder[column] if held != 0 else market.alive[t, column]
            state.order_reason[n] = why
            state.order_unchecked[n] = state.counts[RUINED] != 0 or (why == DELISTING and state.refused[column])
            n += 1
    state.counts[PENDING] = n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def parts(size, held):
    """Return the (closing, opening) parts of an order, both with its sign."""
    if size * held >= 0:
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, size + held


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cash_needed(size, price, terms):
    """Return the cash an order takes (negative: brings) at `price`, slippage and commission included."""
    slipped = price
    if size > 0:
        slipped = price * (1.0 + terms.slippage)
    elif size < 0:
        slipped = price * (1.0 + -terms.slippage)
    return size * slipped + abs(size) * slipped * terms.commission


@numba.njit(nogil=True, cache=True, error_model="numpy")
def scale_to_cash(terms, state):
    """Shrink every opening buy by the one factor at which the running cash stays positive."""
    cash, opening_cost = state.money[CASH], 0.0
    n = state.counts[PENDING]
    for i in range(n):
        size, price = state.order_size[i], state.order_price[i]
        closing, opening = parts(size, state.size[state.order_column[i]])
        if size < 0:
            cash -= cash_needed(size, price, terms)
        else:
            cash -= cash_needed(closing, price, terms)
            opening_cost += cash_needed(opening, price, terms)
    if opening_cost <= max(cash, 0.0):
        return
    factor = max(cash, 0.0) / opening_cost
    kept = 0
    for i in range(n):
        if shrink(terms, state, i, factor):
            state.order_column[kept] = state.order_column[i]
            state.order_size[kept] = state.order_size[i]
            state.order_price[kept] = state.order_price[i]
            state.order_feed[kept] = state.order_feed[i]
            state.order_reason[kept] = state.order_reason[i]
            state.order_unchecked[kept] = state.order_unchecked[i]
            kept += 1
    state.counts[PENDING] = kept


@numba.njit(nogil=True, cache=True, error_model="numpy")
def shrink(terms, state, i, factor):
    """Multiply the opening part of a buy by `factor`, in whole lots; say whether anything is left of the order."""
    column, size = state.order_column[i], state.order_size[i]
    closing, opening = parts(size, state.size[column])
    if size < 0 or opening == 0:
        return True
    step = terms.lot_step[column]
    lots = float(math.floor(np.rint(opening / step) * factor * BELOW))
    closed = np.rint(closing / step)
    if lots + closed == 0:
        return False
    if lots == 0:  # only the closing part is left, of the exact size
        state.order_size[i], state.order_reason[i] = closing, CLOSE
        return True
    state.order_size[i] = (lots + closed) * step
    return state.order_size[i] * state.order_price[i] >= terms.min_notional[column] * (1.0 - TIE)
