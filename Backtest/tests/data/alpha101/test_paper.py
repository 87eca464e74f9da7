"""All 101 factors of the shipped recipe against an independent version, written from the paper in NumPy and pandas."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from .comparison import FORMULAS, TIES, same, unexplained
from .market import market_panel, random_market
from .paper_words import Floats, Market, ties_seen
from .runs import computed, planned, shipped

WARMUP = 260
"""Rows that are not compared: the longest look-back is 252 bars, and before it our windows also ask for d bars of age,
which the independent version does not know."""


@cache
def market() -> Market:
    return Market(random_market())


@cache
def ours() -> dict[str, Floats]:
    return dict(computed(shipped(), market_panel(random_market())))


def test_there_are_101() -> None:
    names = [f"alpha{number:03d}" for number in range(1, 102)]
    assert [spec.name for spec in shipped().factors] == names
    assert sorted(FORMULAS) == names


def test_warm_up_covers_every_lookback() -> None:
    lookbacks = [factor.lookback for factor in planned(shipped()).factors]
    assert None not in lookbacks
    assert max(lookback or 0 for lookback in lookbacks) < WARMUP


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_equals_the_paper(name: str) -> None:
    mine, paper = ours()[name][WARMUP:], FORMULAS[name](market())[WARMUP:]
    assert not np.isnan(paper).any()
    differs = ~same(mine, paper)
    if not differs.any():
        return
    with ties_seen():
        differs &= ~same(mine, FORMULAS[name](market())[WARMUP:])
    assert differs.mean() <= TIES.get(name, 0.0)
    assert not unexplained(differs, FORMULAS[name], market()).any()
