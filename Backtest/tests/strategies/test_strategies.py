"""topk, longshort and signal on cross-sections whose weights are worked out by hand."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from Backtest.errors import RunError
from Backtest.strategies import FLIP
from Backtest.strategies.longshort import LongShort
from Backtest.strategies.signal import Signal
from Backtest.strategies.topk import TopK
from Backtest.tests.strategies.test_portfolio import section

GONE = math.nan


def check(strategy, cross_section, expected):
    before = [array.copy() for array in (cross_section.scores, cross_section.tradable, cross_section.weights)]
    np.testing.assert_allclose(strategy.target_weights(cross_section), expected, rtol=1e-12, atol=1e-15)
    after = (cross_section.scores, cross_section.tradable, cross_section.weights)
    for one, other in zip(before, after, strict=True):  # pure
        np.testing.assert_array_equal(one, other)


def test_topk_holds_the_best_and_closes_the_rest():
    check(TopK("x", k=2), section([1, 5, GONE, 3]), [0, 0.49, 0, 0.49])
    check(TopK("x", k=2, ascending=True), section([1, 5, GONE, 3]), [0.49, 0, 0, 0.49])


def test_topk_ties_go_to_the_earlier_name():
    check(TopK("x", k=2, invest=1.0), section([3, 3, 3, 3]), [0.5, 0.5, 0, 0])
    check(TopK("x", k=2, invest=1.0, ascending=True), section([3, 3, 3, 1]), [0.5, 0, 0, 0.5])


def test_topk_score_weights_are_distances_in_both_directions():
    check(TopK("x", k=2, invest=0.9, weighting="score"), section([1, 5, 2, 4]), [0, 0.9 * 3 / 5, 0, 0.9 * 2 / 5])
    ascending = TopK("x", k=2, invest=0.9, weighting="score", ascending=True)
    check(ascending, section([1, 5, 2, 4]), [0.9 * 3 / 5, 0, 0.9 * 2 / 5, 0])  # distances 4 - 1 and 4 - 2
    check(dataclasses.replace(ascending, k=4), section([1, 5, 2, 4]), [0.36, 0.09, 0.27, 0.18])  # 4 : 1 : 3 : 2


def test_topk_leaves_the_untradable_alone_and_shares_what_is_left():
    cross_section = section([1, 5, 4, 3], tradable=[True, True, False, False], weights=[0, 0, 0.3, 0])
    check(TopK("x", k=2, invest=0.9), cross_section, [0.3, 0.3, GONE, GONE])
    too_much = section([1, 5], tradable=[True, False], weights=[0.1, 0.95])
    check(TopK("x", k=2, invest=0.9), too_much, [0, GONE])


def test_topk_without_any_score_closes_everything():
    check(TopK("x"), section([GONE, GONE], weights=[0.4, 0.4]), [0, 0])


def test_topk_inverse_vol_skips_unknown_and_zero_volatility():
    cross_section = section([9, 8, 7, 6], volatility=[GONE, 0.0, 0.1, 0.3])
    check(TopK("x", k=2, invest=0.8, weighting="inverse_vol"), cross_section, [0, 0, 0.6, 0.2])
    assert TopK("x", weighting="inverse_vol").volatility_days == 30
    assert TopK("x").volatility_days == 0
    with pytest.raises(ValueError, match="needs the volatility"):
        TopK("x", weighting="inverse_vol").target_weights(section([1]))


def test_topk_holds_fewer_when_k_is_too_large():
    cross_section = section([1, 2, GONE, 4], tradable=[True, True, True, False])
    assert cross_section.choosable.tolist() == [True, True, False, False]
    check(TopK("x", k=3), cross_section, [0.49, 0.49, 0, GONE])
    check(TopK("x", k=100_000), section([1, 2]), [0.49, 0.49])


def test_only_a_known_volatility_above_zero_can_be_chosen():
    assert section([1, 2, 3, GONE], volatility=[GONE, 0.0, 0.1, 0.1]).choosable.tolist() == [False, False, True, False]


def test_how_many_symbols_a_strategy_asks_for():
    asked = (TopK("x", k=7), LongShort("x", k=3), LongShort("x", quantile=0.3), Signal("x"))
    assert [strategy.wanted for strategy in asked] == [7, 6, 2, 0]


def test_topk_max_weight():
    check(TopK("x", k=2, max_weight=0.4, weighting="rank", invest=0.75), section([1, 2, 3]), [0, 0.35, 0.4])


def test_longshort_is_dollar_neutral():
    scores = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    weights = [-0.25, -0.25, 0, 0, 0, 0, 0, 0, 0.25, 0.25]
    check(LongShort("x"), section(scores), weights)
    check(LongShort("x", ascending=True), section(scores), [-weight for weight in weights])
    check(LongShort("x", k=1, gross_leverage=3, max_weight=2), section([2, 1, 3]), [0, -1.5, 1.5])


def test_longshort_weights_each_leg_from_its_own_end():
    scores = [10, 7, 5, 4, 2, 1]
    # long: distances from 5: 5 and 2; short: distances from 4 downward: 1 is 3 below, 2 is 2 below
    strategy = LongShort("x", k=2, weighting="score", gross_leverage=2)
    check(strategy, section(scores), [5 / 7, 2 / 7, 0, 0, -2 / 5, -3 / 5])
    check(dataclasses.replace(strategy, weighting="rank"), section(scores), [2 / 3, 1 / 3, 0, 0, -1 / 3, -2 / 3])


def test_longshort_legs_share_what_their_untradable_symbols_leave():
    cross_section = section(
        [9, 8, 2, 1, 5], tradable=[True, True, True, True, False], weights=[0, 0, 0, 0, -0.2]
    )  # fmt: skip
    check(LongShort("x", k=2), cross_section, [0.25, 0.25, -0.15, -0.15, GONE])


def test_longshort_never_puts_a_symbol_in_both_legs():
    strategy = LongShort("x", k=2)
    check(strategy, section([3, 2, 1]), [0.5, 0, -0.5])
    check(strategy, section([3]), [0])
    check(LongShort("x", quantile=0.5), section([3, 1]), [0.5, -0.5])


@pytest.mark.parametrize("weighting", ["equal", "score", "rank"])
def test_longshort_is_dollar_neutral_with_ties(weighting):
    # one ranking for both legs: B before C, so B is the second best and C the second worst
    legs = {"equal": [0.25, 0.25, -0.25, -0.25], "score": [0.5, 0, 0, -0.5], "rank": [1 / 3, 1 / 6, -1 / 6, -1 / 3]}
    strategy = LongShort("x", k=2, weighting=weighting)
    check(strategy, section([4, 2, 2, 1]), legs[weighting])
    if weighting == "rank":
        check(strategy, section([2, 2, 2, 2]), legs[weighting])


def test_signal_table():
    strategy = Signal("x", upper=1, lower=-1, invest=0.9)
    # scores: above, between, below, missing, for a flat, a long and a short position
    scores = [2, 0, -2, GONE] * 3
    weights = [0] * 4 + [0.05] * 4 + [-0.05] * 4
    size = 0.9 / 12
    expected = [size, 0, -size, 0, GONE, 0, FLIP, 0, FLIP, 0, GONE, 0]
    check(strategy, section(scores, weights=weights), expected)
    check(dataclasses.replace(strategy, weight=0.2), section([2, -2]), [0.2, -0.2])


def test_signal_thresholds_are_strict_and_can_be_switched_off():
    check(Signal("x", upper=1, lower=-1, weight=0.5), section([1, -1]), [0, 0])
    check(Signal("x", upper=0, lower=-math.inf, weight=0.5), section([1, -1e300]), [0.5, 0])


def test_signal_leaves_the_untradable_alone():
    check(Signal("x", weight=0.5), section([1, -1], tradable=[False, False], weights=[0, 0.5]), [GONE, GONE])


@pytest.mark.parametrize(
    "kind, wrong, message",
    [
        (TopK, {"k": 0}, "k is 0; allowed is 1 to"),
        (TopK, {"weighting": "equals"}, "weighting is 'equals'; allowed: equal, score, rank, inverse_vol"),
        (TopK, {"max_weight": 0.0}, "max_weight is 0.0"),
        (TopK, {"invest": 125.1}, "invest is 125.1; allowed is 0 to 125"),
        (TopK, {"invest": GONE}, "invest is nan"),
        (TopK, {"vol_window": -1.0}, "vol_window is -1.0"),
        (TopK, {"rebalance": "2d"}, "rebalance is '2d'; a number of bars, 1d, 1w or 1M is allowed"),
        (TopK, {"rebalance": "0"}, "rebalance is '0'"),
        (LongShort, {"quantile": 0.6}, "quantile is 0.6; allowed is 1e-06 to 0.5"),
        (LongShort, {"k": 0}, "k is 0"),
        (LongShort, {"gross_leverage": 126.0}, "gross_leverage is 126.0"),
        (Signal, {"upper": -1.0, "lower": 0.0}, "lower is 0.0; allowed is -inf to -1"),
        (Signal, {"weight": -0.1}, "weight is -0.1"),
        (Signal, {"upper": GONE}, "upper is nan"),
    ],
)
def test_wrong_parameters_are_refused(kind, wrong, message):
    with pytest.raises(RunError) as caught:
        kind("x", **wrong)
    assert message in str(caught.value)
