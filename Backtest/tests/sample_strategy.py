"""Strategies as a user writes them, one of each kind, for the tests of ``--strategy module:Class``."""

from __future__ import annotations

from dataclasses import dataclass

import backtrader as bt
import numpy as np


class BuyRising(bt.Strategy):
    """Buys once each symbol whose factor is positive."""

    params = (("factor", "mom"), ("size", 1.0))

    def next(self):
        for data in self.datas:
            score = getattr(data, self.p.factor)[0]
            if score > 0 and data.tradable[0] and not self.getposition(data).size:
                self.buy(data, size=self.p.size)


@dataclass(frozen=True)
class RisingShare:
    """Holds every symbol whose factor is positive, each with the same weight; what is held twice over is let run."""

    factor: str = "mom"
    weight: float = 0.2
    rebalance: str = "6"
    volatility_days: float = 0.0
    wanted: int = 0

    def target_weights(self, cross_section):
        rising = cross_section.choosable & (cross_section.scores > 0)
        weights = np.where(rising, self.weight, 0.0)
        weights[cross_section.weights > 1.5 * self.weight] = np.nan
        return np.where(cross_section.tradable, weights, np.nan)


@dataclass(frozen=True)
class Stumbles(RisingShare):
    """Raises at its first rebalance."""

    def target_weights(self, cross_section):
        return cross_section.score * self.weight


class Changeable:
    """Not a dataclass."""

    def target_weights(self, cross_section):
        return cross_section.scores * 0


@dataclass(frozen=True)
class Unfinished:
    """Lacks what the engine asks for."""

    factor: str = "mom"

    def target_weights(self, cross_section):
        return cross_section.scores * 0
