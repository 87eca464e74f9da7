"""``on_rejected: scale``, compiled: opening buys shrunk to the cash. The twin of `scaled` in engine/orders.py."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled
from .layout import CASH, CLOSE, PENDING

TIE = 1e-9
BELOW = 1.0 - 1e-12


@compiled(_nrt=False)
def parts(size, held):
    """Return the (closing, opening) parts of an order, both with its sign."""
    if size * held >= 0:
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, size + held


@compiled(_nrt=False)
def cash_needed(size, price, slippage, commission):
    """Return the cash an order takes (negative: brings) at `price`, slippage and commission included."""
    slipped = price
    if size > 0:
        slipped = price * (1.0 + slippage)
    elif size < 0:
        slipped = price * (1.0 + -slippage)
    return size * slipped + abs(size) * slipped * commission


@compiled(_nrt=False)
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
