"""Money of a futures account, compiled: closing a position, and keeping the wallet out of debt."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba

from .layout import CASH, HELD


@numba.njit(inline="always", error_model="numpy")
def realise(money, counts, size, average, margin, held, column, closed, price, fee):
    """Close a part of a position: `closed` has the sign of the order. Its margin goes back to the wallet in proportion.

    A closed column leaves `held`, the others keep their sequence.
    """
    before = size[column]
    new = before + closed
    money[CASH] += -closed * (price - average[column]) - fee
    size[column] = new
    if new != 0:
        margin[column] *= new / before
    else:
        margin[column] = average[column] = 0.0
        place, last = 0, counts[HELD] - 1
        while held[place] != column:
            place += 1
        for later in range(place, last):
            held[later] = held[later + 1]
        counts[HELD] = last


@numba.njit(inline="always", error_model="numpy")
def add_to(counts, size, average, held, column, opened, price):
    """Begin a position or add to it, at the weighted price."""
    before = size[column]
    new = before + opened
    size[column] = new
    if before != 0:
        average[column] = (average[column] * before + opened * price) / new
    else:
        average[column] = price
        held[counts[HELD]] = column
        counts[HELD] += 1


@numba.njit(inline="always", error_model="numpy")
def take_in_profits(state, futures):
    """In cross margin, cover a wallet below zero with unrealised profits: their entry prices move to `Futures.now`."""
    if futures.isolated or state.money[CASH] >= 0:
        return
    for i in range(state.counts[HELD]):
        column = state.held[i]
        gained = state.size[column] * (futures.now[column] - state.average[column])
        if gained > 0:
            state.money[CASH] += gained
            state.average[column] = futures.now[column]
