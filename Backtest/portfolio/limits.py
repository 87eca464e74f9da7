"""Overlays that change target weights: volatility targeting, caps on positions, gross, net and turnover. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..strategies.base import Floats, check_range


@dataclass(frozen=True)
class Targets:
    """What a rebalance is about to do; arrays are [S], fractions of equity, negative for shorts.

    Attributes
    ----------
    weights
        What will be held: the target, or the current weight of a position that is left alone or cannot be traded.
    now
        What is held.
    movable
        The strategy set this weight, the symbol can be traded, and no overlay closes it.
    volatility
        (days, weights [S]) -> yearly volatility of a portfolio of these weights over the last days; NaN: not known.
    """

    weights: Floats
    now: Floats
    movable: NDArray[np.bool_]
    volatility: Callable[[float, Floats], float]

    def sum_of(self, chosen: NDArray[np.bool_]) -> float:
        """Return the sum of the absolute weights of the chosen."""
        return float(np.where(chosen, np.abs(self.weights), 0.0).sum())

    def scaled(self, chosen: NDArray[np.bool_], factor: float) -> Targets:
        """Return the targets with the chosen weights times `factor`."""
        return replace(self, weights=np.where(chosen, self.weights * factor, self.weights))

    def less(self, chosen: NDArray[np.bool_], excess: float) -> Targets:
        """Return the targets with the chosen weights shrunk in proportion until `excess` is gone, or they are."""
        total = self.sum_of(chosen)
        return self.scaled(chosen, max(0.0, total - excess) / total) if total > 0 else self


@runtime_checkable
class WeightRule(Protocol):
    """Changes the weights of one rebalance."""

    def limited(self, targets: Targets) -> Targets:
        """Return the targets with other weights where they are movable."""


@dataclass(frozen=True)
class VolTarget:
    """Scale the weights so that the portfolio they make has had the volatility `annual`.

    The volatility is that of the returns which these very weights would have had, bar by bar, over the last `days`
    (the w' Sigma w of bt's TargetVol), and not that of the strategy's past equity, which knows the old weights only.

    Attributes
    ----------
    annual
        Target: standard deviation of the bars' returns times the root of the bars of a year of 365 days.
    days
        Days of returns.
    max_scale
        The factor is at most this; 1: weights are only ever reduced.
    """

    annual: float
    days: float = 30.0
    max_scale: float = 1.0

    def __post_init__(self) -> None:
        check_range("annual", self.annual, low=1e-6, high=100.0)
        check_range("days", self.days, low=1e-3, high=36_500)
        check_range("max_scale", self.max_scale, low=1e-6, high=125.0)

    def limited(self, targets: Targets) -> Targets:
        """Return scaled weights; 0 where the volatility is not known."""
        if not targets.weights.any():
            return targets
        volatility = targets.volatility(self.days, targets.weights)
        if np.isnan(volatility):
            return targets.scaled(targets.movable, 0.0)
        factor = self.max_scale if volatility == 0 else min(self.max_scale, self.annual / volatility)
        return targets.scaled(targets.movable, factor)


@dataclass(frozen=True)
class MaxPosition:
    """Cut each weight to at most `cap`, long or short; the excess stays cash.

    Attributes
    ----------
    cap
        Fraction of equity.
    """

    cap: float

    def __post_init__(self) -> None:
        check_range("cap", self.cap, low=0.0, high=125.0)

    def limited(self, targets: Targets) -> Targets:
        """Return the targets with no movable weight beyond the cap."""
        cut = np.where(targets.movable, np.clip(targets.weights, -self.cap, self.cap), targets.weights)
        return replace(targets, weights=cut)


@dataclass(frozen=True)
class MaxGross:
    """Shrink the weights in proportion until their absolute values add up to at most `cap`.

    Attributes
    ----------
    cap
        Fraction of equity.
    """

    cap: float

    def __post_init__(self) -> None:
        check_range("cap", self.cap, low=0.0, high=125.0)

    def limited(self, targets: Targets) -> Targets:
        """Return the targets with the excess taken from what is movable."""
        excess = float(np.abs(targets.weights).sum()) - self.cap
        return targets.less(targets.movable, excess) if excess > 0 else targets


@dataclass(frozen=True)
class MaxNet:
    """Shrink the weights of the heavier side in proportion until longs less shorts are at most `cap` either way.

    Attributes
    ----------
    cap
        Fraction of equity.
    """

    cap: float

    def __post_init__(self) -> None:
        check_range("cap", self.cap, low=0.0, high=125.0)

    def limited(self, targets: Targets) -> Targets:
        """Return the targets with the excess taken from what is movable on the heavier side."""
        net = float(targets.weights.sum())
        excess = abs(net) - self.cap
        heavier = targets.movable & (targets.weights * net > 0)
        return targets.less(heavier, excess) if excess > 0 else targets


@dataclass(frozen=True)
class MaxTurnover:
    """Go only part of the way from the current weights to the target, so that a rebalance trades at most `cap`.

    Attributes
    ----------
    cap
        Sum of the absolute changes of weight (buys and sells) of one rebalance; exits of other overlays do not count.
    """

    cap: float

    def __post_init__(self) -> None:
        check_range("cap", self.cap, low=1e-6, high=250.0)

    def limited(self, targets: Targets) -> Targets:
        """Return the targets with every change times one factor."""
        change = targets.weights - targets.now
        total = float(np.where(targets.movable, np.abs(change), 0.0).sum())
        if total <= self.cap:
            return targets
        part = targets.now + self.cap / total * change
        return replace(targets, weights=np.where(targets.movable, part, targets.weights))
