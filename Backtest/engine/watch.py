"""What overlays remember from bar to bar, and what they make of a rebalance. The rules are in portfolio/overlays.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..data.panel import Bools, Floats
from ..portfolio.exits import AccountRule, PositionRule, Positions
from ..portfolio.limits import Targets, WeightRule
from ..portfolio.overlays import Overlay, name_of
from ..strategies.base import FLIP
from .orders import Book, refuse_unfit

Volatility = Callable[[int, float, Floats], float]
"""(row, days, weights [S]) -> yearly volatility of a portfolio of these weights, NaN where it is not known."""


class Watch:
    """The overlays of one run.

    `leaving` holds the columns that an exit has fired for and that are still held, each with the overlay's name.
    """

    def __init__(
        self, overlays: tuple[Overlay, ...], *, columns: int, initial_cash: float, volatility: Volatility
    ) -> None:
        self.exits = [overlay for overlay in overlays if isinstance(overlay, PositionRule)]
        self.account = [overlay for overlay in overlays if isinstance(overlay, AccountRule)]
        self.limits = [overlay for overlay in overlays if isinstance(overlay, WeightRule)]
        self.looks = bool(self.exits or self.account)
        self.volatility = volatility
        self.side: NDArray[np.int8] = np.zeros(columns, dtype=np.int8)
        self.best: Floats = np.zeros(columns)
        self.out_until = np.zeros(columns, dtype=np.int64)
        self.leaving: dict[int, str] = {}
        self.peak, self.halted, self.halted_until = initial_cash, False, 0.0
        self.measured, self.unknown = 0, 0

    def look(self, row: int, book: Book, averages: Floats) -> None:
        """Take the close of a row into account; `averages` [S] are the average prices paid."""
        side = np.sign(book.sizes).astype(np.int8)
        self.leaving = {column: name for column, name in self.leaving.items() if side[column]}
        self.best = np.where(side != self.side, averages, self.best)
        self.side = side
        seen = np.flatnonzero((side != 0) & book.tradable)
        best, prices = self.best[seen], book.prices[seen]
        self.best[seen] = np.where(side[seen] > 0, np.maximum(best, prices), np.minimum(best, prices))
        positions = Positions(side[seen], prices, averages[seen], self.best[seen])
        for rule in self.exits:
            for column in seen[rule.closes(positions)].tolist():
                if column not in self.leaving:
                    self.leaving[column] = name_of(rule)
                    self.out_until[column] = row + 1 + rule.cooldown
        for guard in self.account:
            self.look_at_equity(row, guard, book.equity)

    def look_at_equity(self, row: int, rule: AccountRule, equity: float) -> None:
        """Halt or go on; while halted, everything that is held leaves."""
        if self.halted and row >= self.halted_until:
            self.halted, self.peak = False, equity
        self.peak = max(self.peak, equity)
        if not self.halted and rule.halts(equity, self.peak):
            self.halted = True
            self.halted_until = np.inf if rule.cooldown is None else row + 1 + rule.cooldown
        if self.halted:
            for column in np.flatnonzero(self.side).tolist():
                self.leaving.setdefault(column, name_of(rule))

    def limited(self, row: int, book: Book, weights: Floats | None) -> Floats:
        """Return the weights [S] that orders are made from; `weights` is None where the row is no rebalance."""
        columns = len(book.sizes)
        asked = np.full(columns, np.nan) if weights is None else weights
        refuse_unfit(asked, columns)
        out = self.barred(row)
        if weights is not None and self.limits:
            asked = self.within_limits(row, book, np.where(out, 0.0, asked), out)
        asked = np.where(out & ~np.isnan(asked), 0.0, asked)
        asked[list(self.leaving)] = 0.0
        return asked

    def barred(self, row: int) -> Bools:
        """Return bool [S]: columns that nothing may be opened in at the close of a row."""
        if self.halted:
            return np.ones(len(self.side), dtype=np.bool_)
        barred = row < self.out_until
        barred[list(self.leaving)] = True
        return np.asarray(barred)

    def within_limits(self, row: int, book: Book, weights: Floats, out: Bools) -> Floats:
        """Return the weights after the rules; what they leave as it was stays NaN or FLIP."""
        now = book.sizes * book.prices / book.equity
        planned = np.where(np.isnan(weights) | ~book.tradable, now, np.where(weights == FLIP, -now, weights))
        movable = book.tradable & ~np.isnan(weights) & ~out
        targets = Targets(planned, now, movable, partial(self.measure, row))
        for rule in self.limits:
            targets = rule.limited(targets)
        return np.where(targets.weights == planned, weights, targets.weights)

    def measure(self, row: int, days: float, weights: Floats) -> float:
        """Return the yearly volatility of these weights, and count whether it was known."""
        found = self.volatility(row, days, weights)
        self.measured += 1
        self.unknown += bool(np.isnan(found))
        return found

    def lines(self) -> tuple[str, ...]:
        """Return what the log must say at the end of the run."""
        return unknown_words(self.unknown, self.measured)


def unknown_words(unknown: int, measured: int) -> tuple[str, ...]:
    """Return what the log must say of rebalances whose volatility was not known."""
    if not unknown:
        return ()
    return (f"vol_target: the volatility was not known at {unknown} of {measured} rebalances: weights of 0 there",)
