"""What to do at the close of a bar: settle the dead, end a ruined run, ask the strategy. Knows no engine."""

from __future__ import annotations

import math
import traceback

import numpy as np
from numpy.typing import NDArray

from ..data.panel import Bools, Floats, Panel
from ..errors import FactorError, RunError
from ..portfolio.limits import VolTarget
from ..portfolio.overlays import Overlay
from ..strategies.base import CrossSection, Strategy
from .costs import Costs
from .episodes import Episode, all_intact
from .journal import Journal
from .orders import Book, Intent, limits_of, planned
from .schedule import rebalance_rows
from .shortage import Shortage
from .volatility import close_returns, portfolio_volatility, trailing_volatility, window_of
from .watch import Watch


class Decisions:
    """Orders for one bar after the other, from the arrays of the window and the journal's holdings."""

    def __init__(
        self,
        panel: Panel,
        scores: Floats,
        strategy: Strategy,
        *,
        episodes: tuple[Episode, ...],
        costs: Costs,
        initial_cash: float = 0.0,
        overlays: tuple[Overlay, ...] = (),
    ) -> None:
        window = panel.rows(panel.warmup, len(panel.age))
        self.symbols, self.strategy, self.costs = window.symbols, strategy, costs
        self.limits = limits_of(costs, self.symbols)
        self.scores = eligible(scores, window.member)
        self.scores.flags.writeable = False  # a strategy sees rows of it
        self.due = rebalance_rows(
            strategy.rebalance, window.timeframe, first_bar=window.first_bar, rows=len(window.age)
        )
        self.closes = [episode.close for episode in episodes]
        self.alive, self.tradable = owners(episodes, window)
        self.proven = np.array([episode.proven for episode in episodes])
        self.warmup, self.timeframe = panel.warmup, window.timeframe
        self.volatility_window = 0
        if strategy.volatility_days:
            self.volatility_window = window_of(strategy.volatility_days, self.timeframe.bars_per_day)
        needs_returns = self.volatility_window or any(isinstance(overlay, VolTarget) for overlay in overlays)
        self.returns = close_returns(panel) if needs_returns else np.empty((0, len(self.symbols)))
        self.ruined = False
        self.shortage = Shortage(strategy.wanted, self.due, self.scores, timestamp=window.timestamp)
        self.watch: Watch | None = None
        if overlays:
            columns = len(self.symbols)
            self.watch = Watch(overlays, columns=columns, initial_cash=initial_cash, volatility=self.yearly_volatility)

    def decide(self, row: int, *, cash: float, equity: float, journal: Journal) -> list[tuple[Intent, int]]:
        """Return (order, feed) pairs in the sequence they are sent at the close of `row`."""
        held = np.flatnonzero(journal.sizes)
        dead = held[self.proven[journal.holder[held]] <= row]
        self.ruined = self.ruined or equity <= 0
        asked = self.due[row] and not self.ruined
        if row + 1 == journal.rows:  # the last bar has no next open
            return []
        book = feeds = None
        if self.watch is not None and self.watch.looks and not self.ruined:
            book, feeds = self.book(row, cash=cash, equity=equity, sizes=journal.sizes, holder=journal.holder)
            self.watch.look(row, book, journal.averages)
        leaving = {} if self.watch is None or self.ruined else self.watch.leaving
        if not (asked or len(dead) or self.ruined or leaving):
            return []
        if book is None or feeds is None:
            book, feeds = self.book(row, cash=cash, equity=equity, sizes=journal.sizes, holder=journal.holder)
        forced = [Intent(column, -float(book.sizes[column]), "delisting") for column in dead.tolist()]
        if self.ruined:
            closable = [column for column in held.tolist() if book.tradable[column]]
            forced += [Intent(column, -float(book.sizes[column]), "ruin") for column in closable]
        weights = self.weights(row, book) if asked else None
        if self.watch is not None and (asked or leaving):
            weights = self.watch.limited(row, book, weights)
        intents = planned(forced, weights, book, costs=self.costs, limits=self.limits, exits=leaving)
        return [(intent, int(feeds[intent.column])) for intent in intents]

    def book(
        self, row: int, *, cash: float, equity: float, sizes: Floats, holder: NDArray[np.int32] | NDArray[np.uint32]
    ) -> tuple[Book, NDArray[np.int32]]:
        """Return the account at the close of `row`, and each column's feed: the one held, else the one alive."""
        held = np.flatnonzero(sizes)
        feeds = self.alive[row].copy()
        feeds[held] = holder[held]
        prices = np.array([self.closes[feed][row] for feed in feeds.tolist()])
        tradable = self.tradable[row] & (feeds == self.alive[row])
        return Book(cash, equity, sizes.copy(), prices, tradable), feeds

    def volatility(self, row: int) -> Floats | None:
        """Return the trailing volatility [S] at the close of `row`; None where the strategy does not ask for it."""
        if not self.volatility_window:
            return None
        return trailing_volatility(self.returns, row + self.warmup, window=self.volatility_window)

    def yearly_volatility(self, row: int, days: float, weights: Floats) -> float:
        """Return what the portfolio of these weights would have varied a year, over the days to the close of `row`."""
        window = window_of(days, self.timeframe.bars_per_day)
        per_bar = portfolio_volatility(self.returns, row + self.warmup, weights, window=window)
        return per_bar * math.sqrt(self.timeframe.bars_per_year)

    def words(self) -> tuple[str, ...]:
        """Return what the log must say of the decisions at the end of the run."""
        told = self.shortage.lines(self.strategy.rebalance)
        return told if self.watch is None else (*told, *self.watch.lines())

    def weights(self, row: int, book: Book) -> Floats:
        """Ask the strategy for its target weights [S] at the close of `row`."""
        section = CrossSection(
            symbols=self.symbols,
            scores=self.scores[row],
            tradable=book.tradable,
            weights=book.sizes * book.prices / book.equity,
            volatility=self.volatility(row),
        )
        self.shortage.count(row, section)
        return answered(self.strategy, section)


def answered(strategy: Strategy, section: CrossSection) -> Floats:
    """Return the strategy's weights as float64 [S]; what its code raises is told with the place in it.

    Raises
    ------
    RunError
        The strategy raised something, or gave no numbers.
    """
    try:
        return np.asarray(strategy.target_weights(section), dtype=np.float64)
    except FactorError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}:{frame.lineno}"
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"strategy {type(strategy).__name__}: target_weights raised {what} at {place}") from error


def eligible(scores: Floats, member: Bools) -> Floats:
    """Return scores [T, S] with NaN where they are not finite or not of the population; a view where there is none."""
    fit = np.isfinite(scores)
    fit &= member
    return np.asarray(scores, dtype=np.float64).view() if fit.all() else np.where(fit, scores, np.nan)


def owners(episodes: tuple[Episode, ...], window: Panel) -> tuple[NDArray[np.int32], Bools]:
    """Return (place of the episode alive at each row and column, -1 for none; tradable), both [T, S], read-only."""
    if all_intact(episodes, window):
        return np.broadcast_to(np.arange(len(episodes), dtype=np.int32), window.shape), window.tradable
    alive = np.full(window.shape, -1, dtype=np.int32)
    tradable = np.zeros(window.shape, dtype=np.bool_)
    for place, episode in enumerate(episodes):
        alive[episode.begin : episode.proven, episode.column] = place
        tradable[:, episode.column] |= episode.tradable
    return alive, tradable
