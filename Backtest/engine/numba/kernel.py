"""One run, compiled: fill, value, decide, row by row. The twin of engine/decisions.py and engine/orders.py."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

from .account import check_cash, execute, parts, write_ends
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
from .um_account import suffer, trade
from .um_margin import look
from .um_scale import scale_to_margin
from .weights import capped, pairwise_sum

LOT_TOLERANCE = 1e-9
TIE = 1e-9
BELOW = 1.0 - 1e-12
NOTHING = -1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def advance(market, terms, plan, state, log, curves, answer, futures):
    """Run the rows of a chunk from `State.counts[ROW]` on; return DONE, ASK or FULL.

    After ASK the caller writes the weights of row `State.counts[ROW]` into `answer` [S], after FULL it gives a larger
    log; both call again with all else as it was. A chunk that is DONE is followed by the next one's arrays.
    `futures` is None for spot: each of the two is compiled without the other.
    """
    counts, money, size, average = state.counts, state.money, state.size, state.average
    held, holder, unchecked = state.held, state.holder, state.order_unchecked
    high, low, close, proven, last, place = (
        market.high, market.low, market.close, market.proven, market.last, plan.place,
    )  # fmt: skip
    equity, cash, sizes, marks = curves.equity, curves.cash, curves.sizes, curves.marks
    room, positions, end = len(log.size), len(sizes) > 0, market.first + len(close)
    if futures is not None:
        tables, since, spans, floors = futures.tables, futures.since, futures.spans, futures.floors
        rates, cums, shares, margin = futures.rates, futures.cums, futures.shares, futures.margin
        isolated, events, in_use = futures.isolated, futures.starts, futures.used
    for row in range(counts[ROW], end):
        t = row - market.first
        if counts[ANSWERED] == 0:
            if futures is not None:
                stamped = events[t + 1] - events[t]
                if room - counts[LOGGED] < stamped + 3 * counts[PENDING] + 2 * counts[HELD]:
                    return FULL
                if counts[PENDING] > 0 or (stamped > 0 and counts[HELD] > 0):
                    trade(market, terms, state, log, futures, t)
                danger, gained, used = look(
                    tables,
                    since,
                    spans,
                    floors,
                    rates,
                    cums,
                    shares,
                    margin,
                    isolated,
                    held,
                    counts[HELD],
                    size,
                    average,
                    holder,
                    high,
                    low,
                    close,
                    proven,
                    last,
                    money[CASH],
                    t,
                    row,
                )
                if danger:
                    suffer(market, terms, state, log, futures, t)
                    danger, gained, used = look(
                        tables,
                        since,
                        spans,
                        floors,
                        rates,
                        cums,
                        shares,
                        margin,
                        isolated,
                        held,
                        counts[HELD],
                        size,
                        average,
                        holder,
                        high,
                        low,
                        close,
                        proven,
                        last,
                        money[CASH],
                        t,
                        row,
                    )
                money[EQUITY], in_use[t] = money[CASH] + gained, used
                if positions:
                    note_positions(market, state, curves, t)
            else:
                if counts[PENDING] > 0:
                    if room - counts[LOGGED] < 2 * counts[PENDING]:
                        return FULL
                    check_cash(terms, state)
                    if unchecked[
                        : counts[PENDING]
                    ].any():  # these are with the broker before those that passed the check
                        execute(market, terms, state, t, True)
                    execute(market, terms, state, t, False)
                    write_ends(market, terms, state, log, t)
                value = 0.0
                for i in range(counts[HELD]):
                    column = held[i]
                    feed, amount = holder[column], size[column]
                    price = last[feed] if row >= proven[feed] else close[t, column]
                    worth = amount * price
                    if worth > 0:
                        gained = amount * (price - average[column])
                        value += worth - gained
                        value += gained
                    else:
                        value += worth
                    if positions:
                        sizes[t, column], marks[t, column] = amount, price
                money[EQUITY] = money[CASH] + value
            cash[t], equity[t] = money[CASH], money[EQUITY]
            if money[EQUITY] <= 0:
                counts[RUINED] = 1
        if row + 1 < terms.rows:  # the last bar has no next open
            asked = place[t] if counts[RUINED] == 0 else NOTHING
            over = False
            for i in range(counts[HELD]):
                over = over or row >= proven[holder[held[i]]]
            if asked != NOTHING and counts[ANSWERED] == 0:
                if plan.mode == ASKED or (over and plan.mode == LEGS and hides_a_listing(market, state, t)):
                    counts[ANSWERED] = 1
                    return ASK
            if asked != NOTHING or over or (counts[RUINED] != 0 and counts[HELD] > 0):
                force(market, state, t)
                if asked != NOTHING:
                    set_targets(market, plan, state, t, asked, answer)
                    aim(market, terms, state, t)
                put_in_sequence(market, state, t)
                if terms.scale:
                    if futures is not None:
                        scale_to_margin(market, terms, state, futures, t)
                    else:
                        scale_to_cash(terms, state)
        counts[ANSWERED] = 0
        counts[ROW] = row + 1
    return DONE


@numba.njit(nogil=True, cache=True, error_model="numpy")
def note_positions(market, state, curves, t):
    """Keep what is held at the close of a row, and the price it is valued at."""
    held, holder, row = state.held, state.holder, market.first + t
    for i in range(state.counts[HELD]):
        column = held[i]
        feed = holder[column]
        curves.sizes[t, column] = state.size[column]
        curves.marks[t, column] = market.last[feed] if row >= market.proven[feed] else market.close[t, column]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def hides_a_listing(market, state, t):
    """Say whether a column trades again while its old listing is held: a ranking is then without it."""
    for i in range(state.counts[HELD]):
        column = state.held[i]
        if market.tradable[t, column] and market.first + t >= market.proven[state.holder[column]]:
            return True
    return False


@numba.njit(nogil=True, cache=True, error_model="numpy")
def force(market, state, t):
    """Clear `State.why`, then write settlements of what is over and, on ruin, the closing of what can be traded."""
    change, why, size, held = state.change, state.why, state.size, state.held
    why[:] = NOTHING
    for i in range(state.counts[HELD]):
        column = held[i]
        if market.first + t >= market.proven[state.holder[column]]:
            change[column], why[column] = -size[column], DELISTING
        elif state.counts[RUINED] != 0 and market.tradable[t, column]:
            change[column], why[column] = -size[column], RUIN


@numba.njit(nogil=True, cache=True, error_model="numpy")
def set_targets(market, plan, state, t, place, answer):
    """Write the target weights of the row into `State.target`."""
    target, size = state.target, state.size
    if plan.mode == ASKED or state.counts[ANSWERED] != 0:
        target[:] = answer
    elif plan.mode == WEIGHTS:
        target[:] = plan.weights[place]
    elif plan.mode == SIGNAL:
        for column in range(len(size)):
            wanted, held = plan.wanted[place, column], np.sign(size[column])
            if held == 0:
                target[column] = wanted * plan.size
            else:
                target[column] = np.nan if wanted == held else np.inf if wanted == -held else 0.0
    else:
        columns, poured = plan.columns, state.poured
        target[:] = 0.0
        for leg in range(2):
            begin, n = plan.starts[place, leg], plan.starts[place, leg + 1] - plan.starts[place, leg]
            if n > 0:
                side = 1 - 2 * leg
                budget = max(0.0, plan.budgets[leg] - locked(market, state, t, side))
                capped(plan.shares, begin, n, budget, plan.max_weight, poured, state.free, state.space)
                for i in range(n):
                    target[columns[begin + i]] = side * poured[i]


@numba.njit(nogil=True, cache=True, error_model="numpy")
def locked(market, state, t, side):
    """Return the weight of the held symbols of one side that cannot be traded now."""
    size, holder, held, space = state.size, state.holder, state.held, state.space
    tradable, proven, row = market.tradable, market.proven, market.first + t
    stuck = False
    for i in range(state.counts[HELD]):
        column = held[i]
        stuck = stuck or not tradable[t, column] or row >= proven[holder[column]]
    if not stuck:
        return 0.0
    n = 0
    for column in range(len(size)):
        if size[column] * side > 0:
            over = row >= proven[holder[column]]
            if over or not tradable[t, column]:
                price = market.last[holder[column]] if over else market.close[t, column]
                space[n] = size[column] * price / state.money[EQUITY] * side
                n += 1
    return pairwise_sum(space, 0, n)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def whole_lots(size, step):
    """Return the number of whole steps in `size`, rounded toward zero; two last bits, or 1e-9 steps, are forgiven.

    A float: cheap coins in small steps are more lots than an int64 holds.
    """
    exact = abs(size) / step
    lots = np.floor(exact + max(LOT_TOLERANCE, 2.0 * (np.nextafter(exact, np.inf) - exact)))
    return lots if size > 0 else -lots


@numba.njit(nogil=True, cache=True, error_model="numpy")
def aim(market, terms, state, t):
    """Write the orders that take each holding to its target weight into `State.change` and `State.why`."""
    target, size, holder, changes, whys = state.target, state.size, state.holder, state.change, state.why
    close, tradable, proven, row = market.close, market.tradable, market.proven, market.first + t
    lot_step, min_notional, equity, band = terms.lot_step, terms.min_notional, state.money[EQUITY], terms.band
    for column in range(len(size)):
        weight, held = target[column], size[column]
        if weight != weight or (weight == 0 and held == 0) or not tradable[t, column]:
            continue
        if held != 0 and row >= proven[holder[column]]:
            continue
        price, step = close[t, column], lot_step[column]
        if weight == np.inf:
            change, why = -2.0 * held, FLIPPED
        else:
            if weight != 0 and abs(weight - held * price / equity) < band - TIE:
                continue
            lots = whole_lots(weight * equity / price, step)
            if lots == 0:  # the exact size: nothing is left behind
                change, why = -held, CLOSE
            else:
                change, why = (lots - np.rint(held / step)) * step, REBALANCE
        if change != 0 and abs(change) * price >= min_notional[column] * (1.0 - TIE):
            changes[column], whys[column] = change, why


@numba.njit(nogil=True, cache=True, error_model="numpy")
def put_in_sequence(market, state, t):
    """List the orders as they are sent: sells before buys, closing before opening, then by column."""
    why, change, size, holder = state.why, state.change, state.size, state.holder
    columns, sizes, prices, feeds = state.order_column, state.order_size, state.order_price, state.order_feed
    reasons, unchecked, ruined, row = state.order_reason, state.order_unchecked, state.counts[RUINED], market.first + t
    proven, last, close, alive = market.proven, market.last, market.close, market.alive
    refused, listed = state.refused, state.listed
    found = 0
    for column in range(len(size)):
        if why[column] != NOTHING:
            listed[found] = column
            found += 1
    n = 0
    for kind in range(4):
        for i in range(found):
            column = listed[i]
            held = size[column]
            if 2 * (change[column] > 0) + (change[column] * held >= 0) != kind:
                continue
            feed = holder[column] if held != 0 else alive[t, column]
            columns[n], sizes[n], feeds[n], reasons[n] = column, change[column], feed, why[column]
            prices[n] = last[feed] if held != 0 and row >= proven[feed] else close[t, column]
            unchecked[n] = ruined != 0 or (why[column] == DELISTING and refused[column])
            n += 1
    state.counts[PENDING] = n


@numba.njit(nogil=True, cache=True, error_model="numpy")
def cash_needed(size, price, slippage, commission):
    """Return the cash an order takes (negative: brings) at `price`, slippage and commission included."""
    slipped = price
    if size > 0:
        slipped = price * (1.0 + slippage)
    elif size < 0:
        slipped = price * (1.0 + -slippage)
    return size * slipped + abs(size) * slipped * commission


@numba.njit(nogil=True, cache=True, error_model="numpy")
def scale_to_cash(terms, state):
    """Shrink every opening buy by the one factor at which the running cash stays positive."""
    columns, sizes, prices, feeds = state.order_column, state.order_size, state.order_price, state.order_feed
    reasons, unchecked, held = state.order_reason, state.order_unchecked, state.size
    slippage, commission = terms.slippage, terms.commission
    cash, opening_cost = state.money[CASH], 0.0
    n = state.counts[PENDING]
    for i in range(n):
        closing, opening = parts(sizes[i], held[columns[i]])
        if sizes[i] < 0:
            cash -= cash_needed(sizes[i], prices[i], slippage, commission)
        else:
            cash -= cash_needed(closing, prices[i], slippage, commission)
            opening_cost += cash_needed(opening, prices[i], slippage, commission)
    if opening_cost <= max(cash, 0.0):
        return
    factor = max(cash, 0.0) / opening_cost
    kept = 0
    for i in range(n):
        column, size, reason = columns[i], sizes[i], reasons[i]
        closing, opening = parts(size, held[column])
        if size > 0 and opening != 0:
            step = terms.lot_step[column]
            lots, closed = np.floor(np.rint(opening / step) * factor * BELOW), np.rint(closing / step)
            if lots + closed == 0:
                continue
            if lots == 0:  # only the closing part is left, of the exact size
                size, reason = closing, CLOSE
            else:
                size = (lots + closed) * step
                if size * prices[i] < terms.min_notional[column] * (1.0 - TIE):
                    continue
        columns[kept], sizes[kept], prices[kept], feeds[kept] = column, size, prices[i], feeds[i]
        reasons[kept], unchecked[kept] = reason, unchecked[i]
        kept += 1
    state.counts[PENDING] = kept
