"""How often a run had fewer symbols to choose from than its strategy asks for. Knows no engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..data.panel import Floats
from ..strategies.base import CrossSection


class Shortage:
    """Counts the rebalances that could choose fewer symbols than `wanted`, from the first bar with a score on."""

    def __init__(self, wanted: int, due: list[bool], scores: Floats, *, timestamp: NDArray[np.datetime64]) -> None:
        self.wanted, self.timestamp = wanted, timestamp
        self.decides = any(due[:-1])
        scored = np.flatnonzero(np.isfinite(scores).any(axis=1))
        self.first = int(scored[0]) if len(scored) else len(scores)
        self.rebalances = 0
        self.short: list[tuple[int, int]] = []

    def count(self, row: int, cross_section: CrossSection) -> None:
        """Take one rebalance into account."""
        self.count_found(row, int(cross_section.choosable.sum()))

    def count_found(self, row: int, found: int) -> None:
        """Take one rebalance that could choose among `found` symbols into account."""
        if row >= self.first:
            self.rebalances += 1
            if found < self.wanted:
                self.short.append((found, row))

    def lines(self, rebalance: str) -> tuple[str, ...]:
        """Return what the log must say at the end of the run."""
        if not self.decides:
            return (f"no rebalance ({rebalance}) falls before the window's last bar: nothing was decided",)
        if self.first == len(self.timestamp):
            return ("no symbol has a score on any bar of the window",)
        if not self.short:
            return ()
        found, row = min(self.short)
        when = np.datetime_as_string(self.timestamp[row], unit="s")
        return (
            f"{len(self.short)} of {self.rebalances} rebalances could choose fewer than {self.wanted} symbols "
            f"(tradable, with a score); the fewest were {found}, on {when}Z",
        )
