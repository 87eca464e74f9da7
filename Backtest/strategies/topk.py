"""Hold the k symbols with the highest (or lowest) scores."""

from __future__ import annotations

from dataclasses import dataclass

from . import portfolio
from .base import MOST, CrossSection, Floats, check_choice, check_range, check_rebalance


@dataclass(frozen=True)
class TopK:
    """Long the best `k` tradable symbols, everything else closed.

    Attributes
    ----------
    factor
        Factor whose values are the scores.
    k
        Symbols to hold; where fewer can be chosen, those (the log says how often, and the worst case).
    ascending
        False: the highest scores are the best; True: the lowest.
    weighting
        equal; score (distance from the (k+1)-th score); rank (k, k-1, ... 1); inverse_vol (1 / volatility).
    max_weight
        Cap on each weight, as a fraction of equity. The excess goes to the others in proportion; when all are capped
        the rest stays cash.
    invest
        Fraction of equity to hold. Below 1, so that fees and a gap at the open do not end in a rejected order; above 1
        on futures only.
        Symbols that are held but cannot be traded keep their size and use up their part of it.
    vol_window
        Days of close-to-close returns behind `inverse_vol`; a symbol whose volatility is not known is not chosen.
    rebalance
        Every N-th bar, counted from the first of the window, or 1d, 1w, 1M: at the last bar that opens before UTC
        midnight, Monday, the 1st. Orders fill at the next open.
    """

    factor: str
    k: int = 5
    ascending: bool = False
    weighting: str = "equal"
    max_weight: float = 1.0
    invest: float = 0.98
    vol_window: float = 30.0
    rebalance: str = "1d"

    def __post_init__(self) -> None:
        check_range("k", self.k, low=1, high=100_000)
        check_choice("weighting", self.weighting, tuple(portfolio.WEIGHTINGS))
        check_range("max_weight", self.max_weight, low=1e-6, high=MOST)
        check_range("invest", self.invest, low=0.0, high=MOST)
        check_range("vol_window", self.vol_window, low=1e-3, high=36_500)
        check_rebalance(self.rebalance)

    @property
    def volatility_days(self) -> float:
        """Days of returns that `inverse_vol` needs, else 0."""
        return self.vol_window if self.weighting == portfolio.NEEDS_VOLATILITY else 0.0

    @property
    def wanted(self) -> int:
        """The k."""
        return self.k

    def target_weights(self, cross_section: CrossSection) -> Floats:
        """Return the weights [S]: positive for the best k, 0 for the rest, NaN where nothing can be traded."""
        weights = portfolio.resting(cross_section)
        strengths = portfolio.strengths(cross_section, ascending=self.ascending)
        columns, shares = portfolio.leg(cross_section, strengths, self.k, weighting=self.weighting)
        budget = max(0.0, self.invest - portfolio.locked(cross_section, 1))
        weights[columns] = portfolio.capped(shares, budget, max_weight=self.max_weight)
        return weights
