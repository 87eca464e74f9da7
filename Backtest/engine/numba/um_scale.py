"""``on_rejected: scale`` on futures, compiled: openings shrunk to what the margin will cover."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled
from .layout import CASH, CLOSE, EQUITY, HELD, PENDING
from .scaling import BELOW, TIE, parts


@compiled(_nrt=False)
def free_at_close(market, state, futures, t):
    """Return the margin that is free at the close: the wallet, in cross margin the equity, less margins in use."""
    proven, last, row = market.proven, market.last, market.first + t
    free = state.money[CASH] if futures.isolated else state.money[EQUITY]
    for i in range(state.counts[HELD]):
        column = state.held[i]
        if futures.isolated:
            free -= futures.margin[column]
        else:
            feed = state.holder[column]
            price = last[feed] if row >= proven[feed] else market.close[t, column]
            free -= abs(state.size[column]) * price / futures.leverage[column]
    return free


@compiled(_nrt=False)
def scale_to_margin(market, terms, state, futures, t):
    """Shrink every opening part by the one factor at which the margin covers them all, costs included, at the close.

    Closing parts count in full: what they free, less what they lose and cost.
    """
    columns, sizes, prices, held = state.order_column, state.order_size, state.order_price, state.size
    taker, isolated = futures.taker[t], futures.isolated
    free, needed = free_at_close(market, state, futures, t), 0.0
    n = state.counts[PENDING]
    for i in range(n):
        column, price = columns[i], prices[i]
        closing, opening = parts(sizes[i], held[column])
        paid = price * (1.0 + terms.slippage) if sizes[i] > 0 else price * (1.0 - terms.slippage)
        leverage = futures.leverage[column]
        if closing != 0:
            free -= abs(closing) * paid * taker
            if isolated:
                free += futures.margin[column] * abs(closing / held[column])
                free += -closing * (paid - state.average[column])
            else:
                free += abs(closing) * (price / leverage - abs(paid - price))
        margin = paid / leverage if isolated else price / leverage + abs(paid - price)
        needed += abs(opening) * (margin + paid * taker)
    if needed > max(free, 0.0):
        shrink(terms, state, max(free, 0.0) / needed)


@compiled(_nrt=False)
def shrink(terms, state, factor):
    """Multiply the opening part of every waiting order by a factor below 1, in whole lots."""
    columns, sizes, prices, feeds = state.order_column, state.order_size, state.order_price, state.order_feed
    reasons, unchecked, kept = state.order_reason, state.order_unchecked, 0
    for i in range(state.counts[PENDING]):
        column, size, reason = columns[i], sizes[i], reasons[i]
        closing, opening = parts(size, state.size[column])
        if opening != 0:
            step = terms.lot_step[column]
            lots, closed = np.floor(np.rint(abs(opening) / step) * factor * BELOW), np.rint(abs(closing) / step)
            if lots + closed == 0:
                continue
            if lots == 0:  # only the closing part is left, of the exact size
                size, reason = closing, CLOSE
            else:
                size = (lots + closed) * step * np.sign(size)
                if abs(size) * prices[i] < terms.min_notional[column] * (1.0 - TIE):
                    continue
        columns[kept], sizes[kept], prices[kept], feeds[kept] = column, size, prices[i], feeds[i]
        reasons[kept], unchecked[kept] = reason, unchecked[i]
        kept += 1
    state.counts[PENDING] = kept
