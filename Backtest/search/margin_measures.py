"""The measures of futures alone, compiled, behind those of `measures`: waterfall, funding, liquidations, margin."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from ..engine.numba.layout import FILLED, FUNDING, HELD, LIQUIDATION, LOGGED
from ..machine_code import compiled
from .measures import COMMISSION, FINAL, INITIAL, MARGIN_MEASURED, MEASURED, SLIPPAGE, TRADES, added

(GROSS, FEES, SLIPS, FUNDED, STRUCK, NET, PAID, RECEIVED, LIQUIDATIONS, MOST_USED, MEAN_USED) = range(
    len(MEASURED), len(MEASURED) + len(MARGIN_MEASURED)
)

NONE = 1e-9
"""Relative to a fill: a holding below it is what the rounding of earlier fills has left of none."""


@compiled
def measure_margin(market, state, log, equity, used, scratch, out):
    """Write every measure of MARGIN_MEASURED into `out`; `measure` has written the others."""
    flows(state, log, out)
    held_value(market, state, out)
    out[FEES], out[SLIPS] = 0.0 - out[COMMISSION], 0.0 - out[SLIPPAGE]
    out[FUNDED], out[NET] = out[RECEIVED] - out[PAID], out[FINAL] - out[INITIAL]
    most, total, rest = 0.0, 0.0, 0.0
    for t in range(len(equity)):
        share = used[t] / equity[t] if equity[t] > 0 else 0.0
        most = max(most, share)
        total, rest = added(total, rest, share)
    out[MOST_USED], out[MEAN_USED] = most, (total + rest) / len(equity)
    out[TRADES] -= unseen_changes(state, log, scratch)


@compiled
def flows(state, log, out):
    """Sum what was sold less what was bought, at prices before slippage; funding; and the fees of liquidations."""
    sold, sold_rest, fees, fees_rest = 0.0, 0.0, 0.0, 0.0
    paid, paid_rest, received, received_rest, struck = 0.0, 0.0, 0.0, 0.0, 0
    for i in range(state.counts[LOGGED]):
        if log.outcome[i] != FILLED:
            continue
        if log.reason[i] == FUNDING:
            if log.commission[i] > 0:
                received, received_rest = added(received, received_rest, log.commission[i])
            else:
                paid, paid_rest = added(paid, paid_rest, -log.commission[i])
            continue
        sold, sold_rest = added(sold, sold_rest, log.slippage[i] - log.size[i] * log.price[i])
        if log.reason[i] == LIQUIDATION:
            struck += 1
            fees, fees_rest = added(fees, fees_rest, log.commission[i])
    out[GROSS], out[STRUCK], out[LIQUIDATIONS] = sold + sold_rest, 0.0 - (fees + fees_rest), struck
    out[PAID], out[RECEIVED] = paid + paid_rest, received + received_rest


@compiled
def held_value(market, state, out):
    """Add to the gross profit what is held at the close of the last row."""
    t = len(market.close) - 1
    for i in range(state.counts[HELD]):
        column = state.held[i]
        feed = state.holder[column]
        over = market.first + t >= market.proven[feed]
        out[GROSS] += state.size[column] * (market.last[feed] if over else market.close[t, column])


@compiled
def unseen_changes(state, log, scratch):
    """Return how many position changes no close has seen: a position was liquidated on the bar of its last fill."""
    held, before, rows, unseen = scratch.held, scratch.before, scratch.row, 0
    for column in range(len(held)):
        held[column], before[column], rows[column] = 0.0, 0.0, -1
    for i in range(state.counts[LOGGED]):
        if log.outcome[i] != FILLED or log.reason[i] == FUNDING:
            continue
        column, row, size = log.column[i], log.filled[i], log.size[i]
        struck = log.reason[i] == LIQUIDATION
        if rows[column] != row:
            rows[column], before[column] = row, held[column]
        elif struck:
            unseen += 2 if abs(before[column]) <= NONE * abs(size) else 1
        held[column] = 0.0 if struck else held[column] + size
    return unseen
