"""Long above one threshold, short below another, flat between: each symbol on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .base import FLIP, MOST, CrossSection, Floats, check_range, check_rebalance


@dataclass(frozen=True)
class Signal:
    """Turn a factor into 1, -1 or 0 per symbol: above `upper` 1, below `lower` -1, else (and without a score) 0.

    ======== =========== ============ ============
    position 1           0            -1
    ======== =========== ============ ============
    flat     open long   stay flat    open short
    long     leave alone close        FLIP
    short    FLIP        close        leave alone
    ======== =========== ============ ============

    "Leave alone" trades nothing: no drift back to the weight. FLIP is one order of exactly twice the size.

    Attributes
    ----------
    factor
        Factor whose values are the scores.
    upper, lower
        Thresholds; `lower` is at most `upper`. ``lower=-inf`` never shorts, ``upper=inf`` never buys.
    weight
        Absolute weight of a new position, as a fraction of equity; None: invest / number of symbols.
    invest
        Fraction of equity that all symbols together may open, where `weight` is None.
    rebalance
        Every N-th bar, or 1d, 1w, 1M: as in topk.
    """

    factor: str
    upper: float = 0.0
    lower: float = 0.0
    weight: float | None = None
    invest: float = 0.98
    rebalance: str = "1"

    def __post_init__(self) -> None:
        check_range("upper", self.upper, low=-np.inf, high=np.inf)
        check_range("lower", self.lower, low=-np.inf, high=self.upper)
        if self.weight is not None:
            check_range("weight", self.weight, low=0.0, high=MOST)
        check_range("invest", self.invest, low=0.0, high=MOST)
        check_rebalance(self.rebalance)

    @property
    def volatility_days(self) -> float:
        """0: volatility is not needed."""
        return 0.0

    @property
    def wanted(self) -> int:
        """0: each symbol stands alone."""
        return 0

    def target_weights(self, cross_section: CrossSection) -> Floats:
        """Return the weights [S] of the table above; NaN where nothing can be traded."""
        wanted = self.wanted_side(cross_section.scores)
        held = np.sign(cross_section.weights)
        weights = np.where(held == 0, wanted * self.size_of(len(wanted)), 0.0)
        weights[(held != 0) & (wanted == held)] = np.nan
        weights[(held != 0) & (wanted == -held)] = FLIP
        weights[~cross_section.tradable] = np.nan
        return weights

    def wanted_side(self, scores: Floats) -> NDArray[np.int64]:
        """Return 1, -1 or 0 for scores of any shape; 0 where there is none."""
        with np.errstate(invalid="ignore"):
            wanted = np.where(scores > self.upper, 1, np.where(scores < self.lower, -1, 0))
        wanted[~np.isfinite(scores)] = 0
        return wanted

    def size_of(self, columns: int) -> float:
        """Return the weight of a new position among this many symbols."""
        return self.invest / columns if self.weight is None else self.weight
