"""What a futures position must keep, and where it is liquidated, compiled.

Maintenance margin = notional * rate - cum of the tier of the notional (ENGINE.md section 9), a convex function of the
price. On the straight way of all prices from where they are to the bar's adverse extremes, balance less maintenance
is therefore concave and falls all the way: Newton's steps from the far end reach its one zero exactly.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from ...machine_code import compiled
from .layout import CASH, HELD

STEPS = 100
"""Newton's steps cross a tier each; no file has as many."""


@compiled(_nrt=False, forceinline=True)
def tier_of(tables, since, spans, floors, column, row, notional):
    """Return the place of the tier of a notional at a row of the run; a floor belongs to the tier that begins there."""
    table = tables[column + 1] - 1
    while table > tables[column] and since[table] > row:
        table -= 1
    tier, top = spans[table], spans[table + 1] - 1
    while tier < top and notional >= floors[tier + 1]:
        tier += 1
    return tier


@compiled(_nrt=False)
def stand(state, futures, row, begin, end, way):
    """Return (balance, maintenance, slope of their difference) of the held places begin .. end - 1.

    At the share `way` of the way from `now` to `worst`.
    """
    size, average, held, now, worst = state.size, state.average, state.held, futures.now, futures.worst
    tables, since, spans, floors = futures.tables, futures.since, futures.spans, futures.floors
    balance, needed, slope = state.money[CASH], 0.0, 0.0
    if futures.isolated:
        balance = futures.margin[held[begin]]
    for i in range(begin, end):
        column = held[i]
        amount, distance = size[column], worst[column] - now[column]
        price = now[column] + way * distance
        notional = abs(amount) * price
        tier = tier_of(tables, since, spans, floors, column, row, notional)
        balance += amount * (price - average[column])
        needed += notional * futures.rates[tier] - futures.cums[tier]
        slope += distance * (amount - abs(amount) * futures.rates[tier])
    return balance, needed, slope


@compiled(_nrt=False)
def move_to_liquidation(state, futures, row, begin, end):
    """Move `now` of these places to where their balance is their maintenance margin: they have more now, less there."""
    way = 1.0
    for _step in range(STEPS):
        balance, needed, slope = stand(state, futures, row, begin, end, way)
        nearer = way - (balance - needed) / slope
        if not 0 <= nearer < way:
            break
        way = nearer
    for i in range(begin, end):
        column = state.held[i]
        futures.now[column] += way * (futures.worst[column] - futures.now[column])


@compiled(_nrt=False)
def in_danger(market, state, futures, t):
    """Say whether the bar's adverse extremes liquidate a position, or the account."""
    size, average, held, holder = state.size, state.average, state.held, state.holder
    highs, lows, proven, last = market.high, market.low, market.proven, market.last
    tables, since, spans, floors = futures.tables, futures.since, futures.spans, futures.floors
    rates, cums, isolated, row = futures.rates, futures.cums, futures.isolated, market.first + t
    danger, balance, needed = False, state.money[CASH], 0.0
    for i in range(state.counts[HELD]):
        column = held[i]
        amount, feed = size[column], holder[column]
        worst = lows[t, column] if amount > 0 else highs[t, column]
        if row >= proven[feed]:
            worst = last[feed]
        notional, gained = abs(amount) * worst, amount * (worst - average[column])
        tier = tier_of(tables, since, spans, floors, column, row, notional)
        kept = notional * rates[tier] - cums[tier]
        if isolated:
            danger = danger or futures.margin[column] + gained <= kept
        else:
            balance += gained
            needed += kept
    return danger or (not isolated and balance <= needed)
