"""Money of a futures account, compiled: closing a position, and keeping the wallet out of debt."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from ...machine_code import compiled
from .layout import CASH, HELD


@compiled(_nrt=False, forceinline=True)
def realise(state, futures, column, closed, price, fee):
    """Close a part of a position: `closed` has the sign of the order. Its margin goes back to the wallet in proportion.

    A closed column leaves `held`, the others keep their sequence.
    """
    size, average, margin, held = state.size, state.average, futures.margin, state.held
    before = size[column]
    new = before + closed
    state.money[CASH] += -closed * (price - average[column]) - fee
    size[column] = new
    if new != 0:
        margin[column] *= new / before
        return
    margin[column] = average[column] = futures.bought[column] = 0.0
    place, last = 0, state.counts[HELD] - 1
    while held[place] != column:
        place += 1
    for later in range(place, last):
        held[later] = held[later + 1]
    state.counts[HELD] = last


@compiled(_nrt=False, forceinline=True)
def add_to(state, futures, column, opened, price, feed):
    """Begin a position or add to it, at the weighted price."""
    size, average, bought, before = state.size, state.average, futures.bought, state.size[column]
    new = before + opened
    size[column], state.holder[column] = new, feed
    if before != 0:
        average[column] = (average[column] * before + opened * price) / new
        bought[column] = (bought[column] * before + opened * price) / new
        return
    average[column] = bought[column] = price
    state.held[state.counts[HELD]] = column
    state.counts[HELD] += 1


@compiled(_nrt=False, forceinline=True)
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
