"""Overlays that close positions: stop-loss, take-profit and trailing stop of each, drawdown stop of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..strategies.base import Floats, check_range

TIE = 1e-9
"""A loss or a gain of exactly the threshold counts as reached, whatever the last bit says."""

LONGEST = 1_000_000_000
"""Bars; a cooldown beyond every run."""


@dataclass(frozen=True)
class Positions:
    """Positions that can be traded at this close, [N] each.

    Attributes
    ----------
    side
        1 long, -1 short.
    price
        The close.
    average
        Average price paid, slippage included and commission not.
    best
        The highest (short: lowest) of the opening fill's price and the tradable closes since.
    """

    side: NDArray[np.int8]
    price: Floats
    average: Floats
    best: Floats

    def gain(self, since: Floats) -> Floats:
        """Return the gain [N] of each position since a price, as a fraction of that price."""
        return np.asarray(self.side * (self.price / since - 1.0))


@runtime_checkable
class PositionRule(Protocol):
    """Closes single positions."""

    @property
    def cooldown(self) -> int:
        """Bars after the close that decided at whose closes the symbol is not opened again either."""

    def closes(self, positions: Positions) -> NDArray[np.bool_]:
        """Return bool [N]: which positions are to be closed."""


@runtime_checkable
class AccountRule(Protocol):
    """Closes everything."""

    @property
    def cooldown(self) -> int | None:
        """Bars after the close that decided at whose closes nothing is opened either; None: never again."""

    def halts(self, equity: float, peak: float) -> bool:
        """Say whether equity has fallen too far from its peak."""


@dataclass(frozen=True)
class StopLoss:
    """Close a position that has lost `pct` of its average price.

    Attributes
    ----------
    pct
        Loss as a fraction of the average price.
    cooldown
        Bars after the stop at whose closes the symbol is not opened again; 0: the next rebalance may.
    """

    pct: float
    cooldown: int = 0

    def __post_init__(self) -> None:
        check_range("pct", self.pct, low=1e-6, high=100.0)
        check_range("cooldown", self.cooldown, low=0, high=LONGEST)

    def closes(self, positions: Positions) -> NDArray[np.bool_]:
        """Return bool [N]: lost `pct` of the average price, or more."""
        return np.asarray(positions.gain(positions.average) <= -self.pct + TIE)


@dataclass(frozen=True)
class TakeProfit:
    """Close a position that has gained `pct` of its average price.

    Attributes
    ----------
    pct
        Gain as a fraction of the average price.
    cooldown
        As for `StopLoss`.
    """

    pct: float
    cooldown: int = 0

    def __post_init__(self) -> None:
        check_range("pct", self.pct, low=1e-6, high=1e6)
        check_range("cooldown", self.cooldown, low=0, high=LONGEST)

    def closes(self, positions: Positions) -> NDArray[np.bool_]:
        """Return bool [N]: gained `pct` of the average price, or more."""
        return np.asarray(positions.gain(positions.average) >= self.pct - TIE)


@dataclass(frozen=True)
class TrailingStop:
    """Close a position whose price came back by `pct` from its best.

    Attributes
    ----------
    pct
        Way back from the best price, as a fraction of it.
    after
        The stop trails once the best price is this gain, a fraction of the average price; 0: from the opening on.
    cooldown
        As for `StopLoss`.
    """

    pct: float
    after: float = 0.0
    cooldown: int = 0

    def __post_init__(self) -> None:
        check_range("pct", self.pct, low=1e-6, high=100.0)
        check_range("after", self.after, low=0.0, high=1e6)
        check_range("cooldown", self.cooldown, low=0, high=LONGEST)

    def closes(self, positions: Positions) -> NDArray[np.bool_]:
        """Return bool [N]: came back by `pct` from the best price, once that was good enough."""
        reached = positions.side * (positions.best / positions.average - 1.0)
        trails = (reached >= self.after - TIE) if self.after > 0 else True
        return np.asarray((positions.gain(positions.best) <= -self.pct + TIE) & trails)


@dataclass(frozen=True)
class DrawdownStop:
    """Close everything when equity has fallen `pct` from its peak, and wait.

    Attributes
    ----------
    pct
        Fall from the highest equity at a close (at first the initial cash), as a fraction of it.
    cooldown
        Bars after the stop at whose closes nothing is opened; the first rebalance after them opens again, and the peak
        starts anew from the equity at their end. None: never again.
    """

    pct: float
    cooldown: int | None = None

    def __post_init__(self) -> None:
        check_range("pct", self.pct, low=1e-6, high=1.0)
        if self.cooldown is not None:
            check_range("cooldown", self.cooldown, low=0, high=LONGEST)

    def halts(self, equity: float, peak: float) -> bool:
        """Say whether equity has fallen `pct` from the peak, or more."""
        return equity / peak - 1.0 <= -self.pct + TIE
