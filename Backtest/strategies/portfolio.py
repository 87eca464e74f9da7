"""From ranked symbols to weights: the WEIGHTINGS table, the weight cap, and the budget that locked positions leave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .base import CrossSection, Floats

Columns = NDArray[np.intp]
Weighting = Callable[[Floats, float | None, Floats | None], Floats]
"""(strengths [n] best first, the next symbol's strength or None, volatilities [n] or None) -> weights [n], sum 1."""


def equal(strengths: Floats, following: float | None, volatility: Floats | None) -> Floats:
    """1 / n each."""
    return np.full(len(strengths), 1.0 / len(strengths))


def rank(strengths: Floats, following: float | None, volatility: Floats | None) -> Floats:
    """n for the best, n - 1 for the second ... 1 for the last, over their sum."""
    places = np.arange(len(strengths), 0, -1, dtype=np.float64)
    return np.asarray(places / places.sum())


def score(strengths: Floats, following: float | None, volatility: Floats | None) -> Floats:
    """In proportion to the distance from the best symbol that was left out; all equal: equal; none left out: rank."""
    if following is None:
        return rank(strengths, following, volatility)
    distance = strengths / 2 - following / 2  # halving is exact, and a difference of huge scores cannot overflow
    widest = distance.max()
    if widest == 0:
        return equal(strengths, following, volatility)
    distance /= widest
    return np.asarray(distance / distance.sum())


def inverse_vol(strengths: Floats, following: float | None, volatility: Floats | None) -> Floats:
    """In proportion to 1 / trailing volatility."""
    if volatility is None:
        raise ValueError("inverse_vol needs the volatility of the cross-section")
    inverse = volatility.min() / volatility
    return np.asarray(inverse / inverse.sum(), dtype=np.float64)


WEIGHTINGS: dict[str, Weighting] = {"equal": equal, "score": score, "rank": rank, "inverse_vol": inverse_vol}
NEEDS_VOLATILITY = "inverse_vol"


def strengths(cross_section: CrossSection, *, ascending: bool) -> Floats:
    """Return the scores [S], turned around where the lowest is the best; NaN where a symbol cannot be chosen."""
    scores = np.where(cross_section.choosable, cross_section.scores, np.nan)
    return -scores if ascending else scores


def best_first(strengths: Floats) -> Columns:
    """Return the columns of the known strengths from the highest down; ties go to the earlier column (symbol name)."""
    columns = np.flatnonzero(np.isfinite(strengths))
    return columns[np.argsort(-strengths[columns], kind="stable")]


def leg(
    cross_section: CrossSection, strengths: Floats, count: int, *, weighting: str, side: int = 1
) -> tuple[Columns, Floats]:
    """Return (columns [n], weights [n] of sum 1) of the `count` best (side 1) or worst (-1); fewer if fewer are known.

    Both sides go through one ranking, from either end: of equal strengths no column is among the best and the worst.
    """
    order, values = best_first(strengths)[::side], side * strengths
    chosen = order[:count]
    if len(chosen) == 0:
        return chosen, np.empty(0)
    following = float(values[order[count]]) if len(order) > count else None
    volatility = None if cross_section.volatility is None else cross_section.volatility[chosen]
    return chosen, WEIGHTINGS[weighting](values[chosen], following, volatility)


def capped(shares: Floats, budget: float, *, max_weight: float) -> Floats:
    """Return weights of sum `budget` in proportion to `shares`, none above `max_weight`.

    What exceeds the cap goes to the uncapped in proportion to their shares, until none exceeds it. Where all of them
    reach the cap the rest stays cash.
    """
    weights = np.zeros(len(shares))
    free = shares > 0
    left = budget
    while free.any() and left > 0:
        offered = left * shares / shares[free].sum()
        over = free & (offered > max_weight)
        if not over.any():
            weights[free] = offered[free]
            break
        weights[over] = max_weight
        free &= ~over
        left = budget - max_weight * np.count_nonzero(weights)
    return weights


def locked(cross_section: CrossSection, side: int) -> float:
    """Return the weight (positive) of the held symbols of one side (1 long, -1 short) that cannot be traded now."""
    held = cross_section.weights * side
    return float(held[~cross_section.tradable & (held > 0)].sum())


def resting(cross_section: CrossSection) -> Floats:
    """Return the weights [S] that a strategy starts from: 0, NaN (left alone) where a symbol cannot be traded."""
    return np.where(cross_section.tradable, 0.0, np.nan)
