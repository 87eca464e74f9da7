"""One run, compiled: fill, value, decide, row by row. The twin of engine/decisions.py and engine/orders.py.

The functions that run for every row or decision are compiled without counting references (`_nrt=False`: they allocate
nothing) and into the one that calls them (`forceinline`): Numba hands every array on as seven numbers, and a call with
some fifty arrays took longer than the work. Together they made W2 of the benchmark two times as fast.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled
from .account import settle
from .ahead import ask_for
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
    OVER,
    PENDING,
    REBALANCE,
    ROW,
    RUIN,
    RUINED,
    SIGNAL,
    UNCHECKED,
    WEIGHTS,
)
from .overlays import LEAVING, check_exits, limit_targets, name_exits
from .scaling import TIE, scale_to_cash
from .um_account import live_through
from .um_scale import scale_to_margin
from .weights import capped, pairwise_sum

LOT_TOLERANCE = 1e-9
NOTHING = -1
AHEAD = 4
"""Rows between asking for a close and reading it: 2 and 8 are slower (W3 of the benchmark)."""
NO_ORDER = 4
"""The kind behind the four kinds of orders."""
ULP = 2.0**-53 * (1.0 + 2.0**-52)
"""x + x * ULP is the float after x (Rump, Zimmermann, Boldo and Melquiond 2009): cheaper than a call of nextafter."""


@compiled(_nrt=False)
def advance(market, terms, plan, state, log, curves, answer, watch=None, futures=None):
    """Run the rows of a chunk from `State.counts[ROW]` on; return DONE, ASK or FULL.

    After ASK the caller writes the weights of row `State.counts[ROW]` into `answer` [S], after FULL it gives a larger
    log; both call again with all else as it was. A chunk that is DONE is followed by the next one's arrays. `watch` is
    None without overlays, `futures` on spot: numba then compiles nothing of what asks for it.
    """
    counts, place = state.counts, plan.place
    for row in range(counts[ROW], market.first + len(market.close)):
        t = row - market.first
        if counts[ANSWERED] == 0:
            if futures is not None:
                if not live_through(market, terms, state, log, curves, futures, t):
                    return FULL
            else:
                if counts[PENDING] > 0:
                    if len(log.size) - counts[LOGGED] < 2 * counts[PENDING]:
                        return FULL
                    settle(market, terms, state, log, t)
                value_account(market, state, curves, t)
        if row + 1 < terms.rows:  # the last bar has no next open
            ruined, over = counts[RUINED] != 0, counts[OVER] != 0
            asked, leaves = NOTHING if ruined else place[t], False
            if watch is not None:
                if watch.looks and counts[ANSWERED] == 0 and not ruined:
                    if futures is not None:
                        check_exits(market, state, watch, futures.bought, t)
                    else:
                        check_exits(market, state, watch, state.average, t)
                leaves = watch.counts[LEAVING] > 0 and not ruined
            if asked != NOTHING and counts[ANSWERED] == 0:
                if plan.mode == ASKED or (over and plan.mode == LEGS and hides_a_listing(market, state, t)):
                    counts[ANSWERED] = 1
                    return ASK
            if asked != NOTHING or over or leaves or (ruined and counts[HELD] > 0):
                n = set_targets(market, plan, state, t, asked, answer)
                if watch is not None and (asked != NOTHING or leaves):
                    n = limit_targets(market, state, watch, t, n, asked != NOTHING)
                if n > 0:
                    aim(market, terms, state, t, n, asked != NOTHING or leaves)
                    if watch is not None and leaves:
                        name_exits(state, watch, n)
                    put_in_sequence(market, state, t, n)
                    if terms.scale:
                        if futures is not None:
                            scale_to_margin(market, terms, state, futures, t)
                        else:
                            scale_to_cash(terms, state)
        counts[ANSWERED] = 0
        counts[ROW] = row + 1
    return DONE


@compiled(_nrt=False, forceinline=True)
def value_account(market, state, curves, t):
    """Value cash and holdings at the close of the row; note ruin, and whether a listing that is over is held."""
    money, counts, size, average, holder = state.money, state.counts, state.size, state.average, state.holder
    held, close, proven, last, row = state.held, market.close, market.proven, market.last, market.first + t
    sizes, marks, positions = curves.sizes, curves.marks, len(curves.sizes) > 0
    value, over = 0.0, 0
    for i in range(counts[HELD]):
        column = held[i]
        feed, amount = holder[column], size[column]
        price = close[t, column]
        ask_for(close, t + AHEAD, column)
        if row >= proven[feed]:
            price, over = last[feed], 1
        worth = amount * price
        if worth > 0:
            gained = amount * (price - average[column])
            value += worth - gained
            value += gained
        else:
            value += worth
        if positions:
            sizes[t, column], marks[t, column] = amount, price
    cash = money[CASH]
    equity = cash + value
    money[EQUITY], counts[OVER] = equity, over
    curves.cash[t], curves.equity[t] = cash, equity
    if equity <= 0:
        counts[RUINED] = 1


@compiled(_nrt=False)
def hides_a_listing(market, state, t):
    """Say whether a column trades again while its old listing is held: a ranking is then without it."""
    for i in range(state.counts[HELD]):
        column = state.held[i]
        if market.alive[t, column] and market.first + t >= market.proven[state.holder[column]]:
            return True
    return False


@compiled(_nrt=False, forceinline=True)
def set_targets(market, plan, state, t, place, answer):
    """List the columns that may trade, ascending, in `State.listed`, and their `State.target`; return how many.

    Without a rebalance (place NOTHING) these are the held columns, and their targets mean nothing.
    """
    target, size, listed, held = state.target, state.size, state.listed, state.held
    width = len(size)
    if place == NOTHING or (plan.mode == LEGS and state.counts[ANSWERED] == 0):
        mark, n = state.mark, 0
        for i in range(state.counts[HELD]):
            target[held[i]], mark[held[i]] = 0.0, 1
        if place != NOTHING:
            set_legs(market, plan, state, t, place)
        for column in range(width):  # without a branch: who trades follows no pattern
            listed[n] = column
            n += mark[column]
            mark[column] = 0
        return n
    over, n = state.counts[OVER] != 0, 0
    for column in range(width):
        listed[n] = column
        if plan.mode == SIGNAL and state.counts[ANSWERED] == 0:
            wanted, side = plan.wanted[place, column], np.sign(size[column])
            if side == 0:
                target[column] = wanted * plan.size
            else:
                target[column] = np.inf if wanted == -side else 0.0
            n += over or wanted != side  # what is held as wanted is left alone
            if wanted == side:
                target[column] = np.nan
        else:
            weight = plan.weights[place, column] if plan.mode == WEIGHTS else answer[column]
            target[column] = weight
            n += over or not (weight != weight or (weight == 0 and size[column] == 0))
    return n


@compiled(_nrt=False, forceinline=True)
def set_legs(market, plan, state, t, place):
    """Write the targets of the legs' columns, and mark these."""
    target, mark, poured = state.target, state.mark, state.poured
    columns, starts = plan.columns, plan.starts
    stuck = any_stuck(market, state, t)
    for leg in range(2):
        begin, end, side = starts[place, leg], starts[place, leg + 1], 1 - 2 * leg
        if stuck and end > begin:
            budget = max(0.0, plan.budgets[leg] - locked(market, state, t, side))
            capped(plan.shares, begin, end - begin, budget, plan.max_weight, poured, state.free, state.space)
        for i in range(begin, end):
            column = columns[i]
            mark[column] = 1
            target[column] = side * poured[i - begin] if stuck else plan.poured[i]


@compiled(_nrt=False, forceinline=True)
def any_stuck(market, state, t):
    """Say whether a held symbol cannot be traded now."""
    stuck = state.counts[OVER] != 0
    for i in range(state.counts[HELD]):
        stuck = stuck or market.alive[t, state.held[i]] == 0
    return stuck


@compiled(_nrt=False)
def locked(market, state, t, side):
    """Return the weight of the held symbols of one side that cannot be traded now."""
    size, holder, space = state.size, state.holder, state.space
    alive, proven, row = market.alive, market.proven, market.first + t
    n = 0
    for column in range(len(size)):
        if size[column] * side > 0:
            over = row >= proven[holder[column]]
            if over or alive[t, column] == 0:
                price = market.last[holder[column]] if over else market.close[t, column]
                space[n] = size[column] * price / state.money[EQUITY] * side
                n += 1
    return pairwise_sum(space, 0, n)


@compiled(_nrt=False, forceinline=True)
def whole_lots(size, step):
    """Return the number of whole steps in `size`, rounded toward zero; two last bits, or 1e-9 steps, are forgiven.

    A float: cheap coins in small steps are more lots than an int64 holds.
    """
    exact = abs(size) / step
    lots = np.floor(exact + max(LOT_TOLERANCE, 2.0 * ((exact + exact * ULP) - exact)))
    return lots if size > 0 else -lots


@compiled(_nrt=False, forceinline=True)
def aim(market, terms, state, t, n, asked):
    """Write the order of each listed column into `State.change` and `State.why` (NOTHING: none), by its place there.

    What is over is settled, after ruin all is closed, else and where `asked` the holding is taken to its target weight.
    """
    target, size, holder, changes, whys = state.target, state.size, state.holder, state.change, state.why
    listed, opens, ruined = state.listed, market.open, state.counts[RUINED] != 0
    close, alive, proven, row = market.close, market.alive, market.proven, market.first + t
    lot_step, min_notional, equity, band = terms.lot_step, terms.min_notional, state.money[EQUITY], terms.band
    for i in range(n):
        column = listed[i]
        held, weight = size[column], target[column]
        ask_for(opens, t + 1, column)
        whys[i] = NOTHING
        if held != 0 and row >= proven[holder[column]]:
            changes[i], whys[i] = -held, DELISTING
            continue
        if alive[t, column] == 0:
            continue
        if ruined and held != 0:
            changes[i], whys[i] = -held, RUIN
        if not asked or weight != weight or (weight == 0 and held == 0):
            continue
        price, step = close[t, column], lot_step[column]
        if weight == np.inf:
            change, why = -2.0 * held, FLIPPED
        else:
            if weight != 0 and band > TIE and abs(weight - held * price / equity) < band - TIE:
                continue
            lots = 0.0 if weight == 0 else whole_lots(weight * equity / price, step)
            if lots == 0:  # the exact size: nothing is left behind
                change, why = -held, CLOSE
            else:
                change, why = (lots - np.rint(held / step)) * step, REBALANCE
        if change != 0 and abs(change) * price >= min_notional[column] * (1.0 - TIE):
            changes[i], whys[i] = change, why


@compiled(_nrt=False, forceinline=True)
def put_in_sequence(market, state, t, listed):
    """List the orders as they are sent: sells before buys, closing before opening, then by column."""
    why, change, size, holder, of = state.why, state.change, state.size, state.holder, state.listed
    columns, sizes, prices, feeds = state.order_column, state.order_size, state.order_price, state.order_feed
    reasons, unchecked, ruined, row = state.order_reason, state.order_unchecked, state.counts[RUINED], market.first + t
    proven, last, close, alive, refused = market.proven, market.last, market.close, market.alive, state.refused
    kinds, starts = state.kind, state.start
    for kind in range(len(starts)):
        starts[kind] = 0
    for i in range(listed):  # sorted by counting, without branches: which orders there are follows no pattern
        held = size[of[i]]
        kinds[i] = NO_ORDER if why[i] == NOTHING else 2 * (change[i] > 0) + (change[i] * held >= 0)
        starts[kinds[i] + 1] += 1
    for kind in range(1, NO_ORDER + 1):
        starts[kind] += starts[kind - 1]
    n, any_unchecked = starts[NO_ORDER], 0
    for i in range(listed):
        place, column = starts[kinds[i]], of[i]
        starts[kinds[i]] += 1
        held = size[column]
        feed = holder[column] if held != 0 else market.feed[column] + alive[t, column] - 1
        columns[place], sizes[place], feeds[place], reasons[place] = column, change[i], feed, why[i]
        prices[place] = last[feed] if held != 0 and row >= proven[feed] else close[t, column]
        unchecked[place] = ruined != 0 or (why[i] == DELISTING and refused[column])
        any_unchecked |= unchecked[place]
    state.counts[PENDING], state.counts[UNCHECKED] = n, any_unchecked
