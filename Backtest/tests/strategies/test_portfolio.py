"""Weightings, the cap, the budget: numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from Backtest.strategies.base import CrossSection
from Backtest.strategies.portfolio import WEIGHTINGS, best_first, capped, locked


def section(scores, *, tradable=None, weights=None, volatility=None, symbols=None):
    count = len(scores)
    return CrossSection(
        symbols=symbols or tuple(f"S{number}" for number in range(count)),
        scores=np.array(scores, dtype=float),
        tradable=np.ones(count, dtype=bool) if tradable is None else np.array(tradable, dtype=bool),
        weights=np.zeros(count) if weights is None else np.array(weights, dtype=float),
        volatility=None if volatility is None else np.array(volatility, dtype=float),
    )


@pytest.mark.parametrize(
    "name, strengths, following, volatility, expected",
    [
        ("equal", [5, 4, 3], 1.0, None, [1 / 3, 1 / 3, 1 / 3]),
        ("rank", [5, 4, 3], 1.0, None, [3 / 6, 2 / 6, 1 / 6]),
        ("score", [5, 4, 3], 1.0, None, [4 / 9, 3 / 9, 2 / 9]),
        ("score", [5, 4, 1], 1.0, None, [4 / 7, 3 / 7, 0]),  # the last equals the one left out
        ("score", [-1, -2], -4.0, None, [3 / 5, 2 / 5]),  # negative scores: only distances count
        ("score", [2, 2, 2], 2.0, None, [1 / 3, 1 / 3, 1 / 3]),  # all equal
        ("score", [5, 4, 3], None, None, [3 / 6, 2 / 6, 1 / 6]),  # nobody left out: rank weights
        ("score", [1.5e308, 1.0e308], -1.5e308, None, [6 / 11, 5 / 11]),  # no overflow
        ("score", [1.5e308] * 3, -1.5e308, None, [1 / 3] * 3),
        ("score", [1e9 + 3, 1e9 + 2, 1e9 + 1], 1e9, None, [3 / 6, 2 / 6, 1 / 6]),  # no cancellation
        ("score", [3e-300, 2e-300, 1e-300], 0.0, None, [3 / 6, 2 / 6, 1 / 6]),
        ("inverse_vol", [5, 4, 3], 1.0, [0.1, 0.2, 0.4], [4 / 7, 2 / 7, 1 / 7]),
        ("inverse_vol", [1], None, [1e-300], [1.0]),
    ],
)
def test_weightings(name, strengths, following, volatility, expected):
    given_volatility = None if volatility is None else np.array(volatility)
    found = WEIGHTINGS[name](np.array(strengths, dtype=float), following, given_volatility)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_inverse_vol_without_volatility_is_a_defect():
    with pytest.raises(ValueError, match="needs the volatility"):
        WEIGHTINGS["inverse_vol"](np.ones(2), None, None)


@pytest.mark.parametrize(
    "shares, budget, limit, expected",
    [
        ([0.5, 0.3, 0.2], 1.0, 1.0, [0.5, 0.3, 0.2]),
        ([0.5, 0.3, 0.2], 0.98, 0.4, [0.4, 0.348, 0.232]),  # 0.58 over 3 : 2
        ([0.6, 0.3, 0.1], 1.0, 0.4, [0.4, 0.4, 0.2]),  # 0.6 over 3 : 1 is 0.45 : 0.15, then 0.2 is left
        ([0.5, 0.5], 0.98, 0.3, [0.3, 0.3]),  # 2 x 0.3 < 0.98: the rest stays cash
        ([1.0, 0.0], 0.98, 0.5, [0.5, 0.0]),  # a share of nothing stays nothing
        ([0.7, 0.3], 0.0, 0.5, [0.0, 0.0]),
    ],
)
def test_cap(shares, budget, limit, expected):
    np.testing.assert_allclose(capped(np.array(shares), budget, max_weight=limit), expected, atol=1e-15)


@given(
    some.lists(some.floats(0.001, 1.0), min_size=1, max_size=12), some.floats(0.01, 1.0), some.floats(0.01, 1.0)
)  # fmt: skip
def test_cap_laws(raw, budget, limit):
    shares = np.array(raw) / sum(raw)
    weights = capped(shares, budget, max_weight=limit)
    assert (weights <= limit).all()
    assert weights.sum() == pytest.approx(min(budget, limit * len(shares)))
    free = weights < limit
    if free.any():  # the uncapped keep their proportions
        ratio = weights[free] / shares[free]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)
        assert (shares[~free] >= shares[free].max() * (1 - 1e-12)).all()


def test_ties_go_to_the_earlier_name_and_missing_scores_are_left_out():
    assert best_first(np.array([1.0, 3.0, math.nan, 3.0, 2.0, math.inf])).tolist() == [1, 3, 4, 0]


def test_locked_counts_one_side_of_what_cannot_be_traded():
    cross_section = section([1, 1, 1], tradable=[False, False, True], weights=[0.2, -0.3, 0.5])
    assert locked(cross_section, 1) == 0.2
    assert locked(cross_section, -1) == 0.3
