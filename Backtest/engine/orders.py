"""From target weights to orders: sizes in whole lots, the no-trade band, the sequence, scaling to the cash. Pure.

Every engine takes its orders from here, in this order:

1. `targets`    weights -> signed order sizes per symbol (ENGINE.md section 2)
2. `sequence`   sells before buys, closing before opening, then symbol name
3. `scaled`     with ``on_rejected: scale``, opening buys shrunk to what check 1 will pass (section 3)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from ..data.panel import Bools, Floats
from ..errors import RunError
from ..strategies.base import FLIP, MOST
from .costs import Costs

LOT_TOLERANCE = 1e-9
"""Lots: 43 * 0.1 / 0.1 is 42.99999999999999 and means 43. From 1e7 lots on a last bit is more than this."""

TIE = 1e-9
"""A change of exactly the band, or an order of exactly the smallest notional, is traded whatever the last bit says."""

BELOW = 1.0 - 1e-12
"""Scaled sizes stay this much below what the cash covers: a rounding error must not cost the order."""

NO_EXITS: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class Intent:
    """An order to be sent.

    Attributes
    ----------
    column
        Whose.
    size
        Base units, positive buys, negative sells.
    reason
        rebalance, flip, close, delisting, ruin, or the name of the overlay that closes.
    """

    column: int
    size: float
    reason: str


@dataclass(frozen=True)
class Book:
    """The account at the close of the bar that decides. Arrays are [S].

    Attributes
    ----------
    cash, equity
        Quote currency.
    sizes
        Held base units.
    prices
        The close; where nothing can be traded the last close.
    tradable
        Whether the symbol may be traded.
    """

    cash: float
    equity: float
    sizes: Floats
    prices: Floats
    tradable: Bools


@dataclass(frozen=True)
class Limits:
    """Order limits per symbol, [S]."""

    lot_step: tuple[float, ...]
    min_notional: tuple[float, ...]


def limits_of(costs: Costs, symbols: tuple[str, ...]) -> Limits:
    """Return the limits of each column."""
    return Limits(
        tuple(costs.lot_step_of(symbol) for symbol in symbols),
        tuple(costs.min_notional_of(symbol) for symbol in symbols),
    )


def whole_lots(size: float, step: float) -> int:
    """Return the number of whole steps in `size`, rounded toward zero; two last bits, or 1e-9 steps, are forgiven."""
    exact = abs(size) / step
    lots = math.floor(exact + max(LOT_TOLERANCE, 2.0 * math.ulp(exact)))
    return lots if size > 0 else -lots


def planned(
    forced: list[Intent],
    weights: Floats | None,
    book: Book,
    *,
    costs: Costs,
    limits: Limits,
    exits: Mapping[int, str] = NO_EXITS,
) -> list[Intent]:
    """Return the orders of one bar, in sequence: the forced ones, and what brings the book to the target weights.

    `exits` names the overlay that closes a column, which is then the order's reason.
    """
    wanted = [] if weights is None else targets(weights, book, costs=costs, limits=limits)
    wanted = [replace(intent, reason=exits.get(intent.column, intent.reason)) for intent in wanted]
    intents = sequence(forced + wanted, book.sizes)
    return scaled(intents, book, costs=costs, limits=limits) if costs.on_rejected == "scale" else intents


def targets(weights: Floats, book: Book, *, costs: Costs, limits: Limits) -> list[Intent]:
    """Return one order per symbol whose target differs from what is held, by column."""
    refuse_unfit(weights, len(book.sizes))
    wanted = book.tradable & ~np.isnan(weights) & ((weights != 0) | (book.sizes != 0))
    intents = []
    for column in np.flatnonzero(wanted).tolist():
        weight, held, price = float(weights[column]), float(book.sizes[column]), float(book.prices[column])
        intent = target_order(column, weight, held, book=book, band=costs.no_trade_band, step=limits.lot_step[column])
        if intent is not None and abs(intent.size) * price >= limits.min_notional[column] * (1.0 - TIE):
            intents.append(intent)
    return intents


def refuse_unfit(weights: Floats, columns: int) -> None:
    """Refuse weights of another shape, -inf, which means nothing, and what is beyond any leverage."""
    if weights.shape != (columns,) or np.isneginf(weights).any():
        raise RunError(f"the strategy returned weights of shape {weights.shape} or -inf; [{columns}] is allowed")
    beyond = weights[(np.abs(weights) > MOST) & (weights != FLIP)]
    if len(beyond):
        raise RunError(f"the strategy returned a weight of {beyond[0]:g}; {-MOST:g} to {MOST:g} is allowed")


def target_order(column: int, weight: float, held: float, *, book: Book, band: float, step: float) -> Intent | None:
    """Return the order that takes one holding to its target weight, None where nothing is to be done."""
    if weight == FLIP:
        return Intent(column, -2.0 * held, "flip") if held else None
    price = float(book.prices[column])
    if weight != 0 and abs(weight - held * price / book.equity) < band - TIE:
        return None
    lots = whole_lots(weight * book.equity / price, step)
    if lots == 0:  # the exact size: nothing is left behind
        return Intent(column, -held, "close") if held else None
    change = lots - round(held / step)
    return Intent(column, change * step, "rebalance") if change else None


def sequence(intents: list[Intent], sizes: Floats) -> list[Intent]:
    """Return the orders as they are sent: a short sale brings the cash that a buy needs."""
    return sorted(intents, key=lambda intent: (intent.size > 0, intent.size * sizes[intent.column] >= 0, intent.column))


def scaled(intents: list[Intent], book: Book, *, costs: Costs, limits: Limits) -> list[Intent]:
    """Return the orders with every opening buy multiplied by the one factor at which the running cash stays positive.

    Sells and closing parts count in full, at the close, slippage and commission included. Sizes are rounded down.
    """
    cash, opening_cost = book.cash, 0.0
    for intent in intents:
        closing, opening = parts(intent.size, float(book.sizes[intent.column]))
        if intent.size < 0:
            cash -= cash_needed(intent.size, float(book.prices[intent.column]), costs=costs)
        else:
            cash -= cash_needed(closing, float(book.prices[intent.column]), costs=costs)
            opening_cost += cash_needed(opening, float(book.prices[intent.column]), costs=costs)
    if opening_cost <= max(cash, 0.0):
        return intents
    factor = max(cash, 0.0) / opening_cost
    shrunk = [shrink(intent, factor, book=book, limits=limits) for intent in intents]
    return [intent for intent in shrunk if intent is not None]


def parts(size: float, held: float) -> tuple[float, float]:
    """Return the (closing, opening) parts of an order, both with its sign."""
    if size * held >= 0:
        return 0.0, size
    if abs(size) <= abs(held):
        return size, 0.0
    return -held, size + held


def cash_needed(size: float, price: float, *, costs: Costs) -> float:
    """Return the cash an order takes (negative: brings) at `price`, slippage and commission included."""
    slipped = price * (1.0 + math.copysign(costs.slippage, size)) if size else price
    return size * slipped + abs(size) * slipped * costs.commission


def shrink(intent: Intent, factor: float, *, book: Book, limits: Limits) -> Intent | None:
    """Return the order with the opening part of a buy times `factor`, in whole lots; None when nothing is left."""
    closing, opening = parts(intent.size, float(book.sizes[intent.column]))
    if intent.size < 0 or opening == 0:
        return intent
    step = limits.lot_step[intent.column]
    lots = math.floor(round(opening / step) * factor * BELOW)
    closed = round(closing / step)
    if lots + closed == 0:
        return None
    if lots == 0:  # only the closing part is left, of the exact size
        return replace(intent, size=closing, reason="close")
    size = (lots + closed) * step
    small = size * float(book.prices[intent.column]) < limits.min_notional[intent.column] * (1.0 - TIE)
    return None if small else replace(intent, size=size)
