"""What a strategy is: a frozen dataclass that turns one cross-section into target weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError

Floats = NDArray[np.float64]

FLIP = np.inf
"""A weight of FLIP means: target size = minus the current size, exactly. NaN leaves the position alone."""

MOST = 125.0
"""Highest weight, over equity: the highest leverage of futures. What spot allows is decided where the market is."""

REBALANCE = re.compile(r"[1-9][0-9]{0,8}|1d|1w|1M", re.ASCII)


@dataclass(frozen=True)
class CrossSection:
    """What is known at the close of one bar. Every array is [S], columns sorted by symbol.

    Attributes
    ----------
    symbols
        Column names; ties are broken by them (the earlier name wins).
    scores
        The factor's value, missing is NaN.
    tradable
        The symbol can be traded at this bar's close.
    weights
        Current position value over equity, negative for shorts, 0 for flat.
    volatility
        Trailing standard deviation of close-to-close returns, NaN where unknown; None unless the strategy asks.
    """

    symbols: tuple[str, ...]
    scores: NDArray[np.float64]
    tradable: NDArray[np.bool_]
    weights: NDArray[np.float64]
    volatility: NDArray[np.float64] | None = None

    @property
    def choosable(self) -> NDArray[np.bool_]:
        """bool [S]: can be traded, has a score and, where volatility is asked for, a known one above zero."""
        known = self.tradable & np.isfinite(self.scores)
        return known if self.volatility is None else np.asarray(known & (self.volatility > 0))


class Strategy(Protocol):
    """A frozen dataclass with parameters as fields and these members."""

    @property
    def factor(self) -> str:
        """Name of the factor whose values are the scores."""

    @property
    def rebalance(self) -> str:
        """A number of bars, or 1d, 1w, 1M: when ``target_weights`` is asked."""

    @property
    def volatility_days(self) -> float:
        """Days of returns behind ``CrossSection.volatility``; 0 when it is not needed."""

    @property
    def wanted(self) -> int:
        """Symbols to choose at each rebalance: the log says how often fewer could be; 0 where each stands alone."""

    def target_weights(self, cross_section: CrossSection) -> Floats:
        """Return weights [S] as fractions of equity; NaN leaves a position alone, FLIP reverses it."""


def check_rebalance(text: str) -> None:
    """Refuse anything but a number of bars, ``1d``, ``1w`` or ``1M``."""
    if not REBALANCE.fullmatch(text):
        raise RunError(f"rebalance is {text!r}; a number of bars, 1d, 1w or 1M is allowed")


def check_range(name: str, value: float, *, low: float, high: float) -> None:
    """Refuse a parameter outside low..high (NaN is outside)."""
    if not low <= value <= high:
        raise RunError(f"{name} is {value!r}; allowed is {low:g} to {high:g}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a parameter that is not one of `allowed`."""
    if value not in allowed:
        raise RunError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
