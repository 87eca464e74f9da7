"""Long the best scores, short the worst, the same value on both sides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import portfolio
from .base import MOST, CrossSection, Floats, check_choice, check_range, check_rebalance


@dataclass(frozen=True)
class LongShort:
    """Dollar-neutral: long one end of the ranking, short the other, everything else closed.

    Attributes
    ----------
    factor
        Factor whose values are the scores.
    quantile
        Fraction of the ranked symbols in each leg, rounded down, at least one symbol.
    k
        Symbols in each leg; given, it replaces `quantile`. Where fewer than two legs can be chosen, each leg takes half
        of those (the log says how often, and the worst case).
    ascending
        False: long the highest scores and short the lowest; True: the other way round.
    weighting
        equal, score, rank or inverse_vol, applied inside each leg (strongest first: the short leg starts from the
        worst score, and its `score` weights are distances from the best-placed symbol that was left out).
    gross_leverage
        Value of both legs over equity; each leg is half of it. Symbols that are held but cannot be traded use up
        their part of their own leg.
    max_weight
        Cap on each absolute weight, as a fraction of equity.
    vol_window
        Days of close-to-close returns behind `inverse_vol`; a symbol whose volatility is not known is not chosen.
    rebalance
        Every N-th bar, or 1d, 1w, 1M: as in topk.
    """

    factor: str
    quantile: float = 0.2
    k: int | None = None
    ascending: bool = False
    weighting: str = "equal"
    gross_leverage: float = 1.0
    max_weight: float = 1.0
    vol_window: float = 30.0
    rebalance: str = "1d"

    def __post_init__(self) -> None:
        check_range("quantile", self.quantile, low=1e-6, high=0.5)
        if self.k is not None:
            check_range("k", self.k, low=1, high=100_000)
        check_choice("weighting", self.weighting, tuple(portfolio.WEIGHTINGS))
        check_range("gross_leverage", self.gross_leverage, low=0.0, high=MOST)
        check_range("max_weight", self.max_weight, low=1e-6, high=MOST)
        check_range("vol_window", self.vol_window, low=1e-3, high=36_500)
        check_rebalance(self.rebalance)

    @property
    def volatility_days(self) -> float:
        """Days of returns that `inverse_vol` needs, else 0."""
        return self.vol_window if self.weighting == portfolio.NEEDS_VOLATILITY else 0.0

    @property
    def wanted(self) -> int:
        """Two legs of k, or of one at least."""
        return 2 * (self.k or 1)

    def target_weights(self, cross_section: CrossSection) -> Floats:
        """Return the weights [S]: positive long, negative short, 0 closed, NaN where nothing can be traded."""
        weights = portfolio.resting(cross_section)
        strengths = portfolio.strengths(cross_section, ascending=self.ascending)
        count = self.leg_size(int(np.isfinite(strengths).sum()))
        for side in (1, -1):
            columns, shares = portfolio.leg(cross_section, strengths, count, weighting=self.weighting, side=side)
            budget = max(0.0, self.gross_leverage / 2 - portfolio.locked(cross_section, side))
            weights[columns] = side * portfolio.capped(shares, budget, max_weight=self.max_weight)
        return weights

    def leg_size(self, count: int) -> int:
        """Return the symbols in each leg where `count` can be chosen."""
        wanted = self.k if self.k is not None else max(1, int(self.quantile * count + 1e-9))
        return min(wanted, count // 2)
