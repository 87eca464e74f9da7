"""How often a run had fewer symbols to choose from than its strategy asks for. Knows no engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..data.panel import Bools, Floats
from ..strategies.base import CrossSection


class Shortage:
    """Counts the rebalances that could choose fewer symbols than `wanted`, from the first bar with a score on."""

    def __init__(self, wanted: int, due: Bools, scores: Floats, *, timestamp: NDArray[np.datetime64]) -> None:
        self.wanted, self.timestamp = wanted, timestamp
        self.decides = bool(due[:-1].any())
        scored = np.isfinite(scores)
        self.first = int(scored.argmax()) // scores.shape[1] if scored.any() else len(scores)
        self.rebalances = 0
        self.short: list[tuple[int, int]] = []

    def count(self, row: int, cross_section: CrossSection) -> None:
        """Take one rebalance into account."""
        self.count_found(np.array([row]), np.array([cross_section.choosable.sum()]))

    def count_found(self, rows: NDArray[np.int64], found: NDArray[np.int64]) -> None:
        """Take rebalances into account that could choose among `found` symbols each."""
        counted = rows >= self.first
        self.rebalances += int(counted.sum())
        short = counted & (found < self.wanted)
        self.short += zip(found[short].tolist(), rows[short].tolist(), strict=True)

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
            f"{len(self.short):,} of {self.rebalances:,} rebalances could choose fewer than {self.wanted} symbols "
            f"(tradable, with a score); the fewest were {found}, on {when}Z",
        )
