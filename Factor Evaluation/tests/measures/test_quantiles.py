"""Money measures against values that alphalens publishes, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from factor_evaluation.measures.decay import half_life
from factor_evaluation.measures.quantiles import (
    alpha_beta,
    break_even_cost,
    compounded,
    contrast,
    cumulative_growth,
    factor_weighted_return,
    monotonicity,
    net_spread,
    top_minus_bottom,
    trend_weights,
)
from factor_evaluation.measures.shape import coverage_of, distribution_of
from factor_evaluation.measures.splits import regimes

from .cases import clock

NAN = math.nan


def test_alphalens_cumulative_returns():
    assert cumulative_growth(np.array([1.0, 0.5, 1.0, 0.5, 0.5])).tolist() == [2.0, 3.0, 6.0, 9.0, 13.5]


def test_alphalens_factor_alpha_beta():
    factor, label = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]]), np.array([[1.0, 2, 3, 4], [1, 1, 1, 1]])
    returns, universe = factor_weighted_return(factor, label)
    assert returns.tolist() == [1.25, 0.0]
    assert universe.tolist() == [2.5, 1.0]
    alpha, beta = alpha_beta(returns, universe, 365)
    assert alpha == pytest.approx(-1.0, abs=1e-15)
    assert beta == pytest.approx(5 / 6, abs=1e-15)


def test_alphalens_factor_returns():
    factor, label = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1], [1, 1, 1, 1]]), np.array([[4.0, 3, 2, 1], [1, 2, 3, 4], UP])
    returns, _ = factor_weighted_return(factor, label)
    assert returns[:2].tolist() == [-1.25, -1.25]
    assert math.isnan(returns[2])  # constant: no portfolio; alphalens says so too


UP = [1.0, 2.0, 3.0, 4.0]


def test_overlapping_returns_are_compounded_one_in_h():
    returns = np.array([0.1, 9.0, 0.2, 9.0, NAN, 9.0, 0.5])
    np.testing.assert_allclose(compounded(returns, 2), [0.1, 0.1, 0.32, 0.32, 0.32, 0.32, 0.98], rtol=1e-12)


def test_costs_by_hand():
    """A third of the bottom and half of the top are replaced: sold and bought, both legs, 5/3 of a leg is traded."""
    turnover = np.array([1 / 3, 0.9, 0.5])
    assert break_even_cost(-0.01, turnover) == pytest.approx(0.01 / (5 / 3))
    assert net_spread(-0.01, turnover, 0.001) == pytest.approx(0.01 - 0.001 * 5 / 3)
    assert math.isnan(net_spread(0.01, turnover, None))
    assert math.isnan(break_even_cost(0.01, np.zeros(3)))


def test_spread_is_not_halved():
    returns = np.array([[1.0, 2.0, 4.0], [NAN, 2.0, 4.0]])
    np.testing.assert_array_equal(contrast(returns, top_minus_bottom(3)), [3.0, NAN])


def test_monotonicity():
    draw = np.random.default_rng(0)
    rising = np.arange(5) * 0.5 + draw.standard_normal((400, 5))
    means = rising.mean(axis=0)
    degree, p = monotonicity(means, contrast(rising, trend_weights(means)), 1)
    assert degree == 1.0
    assert p < 1e-10
    flat = draw.standard_normal((400, 5))
    assert monotonicity(flat.mean(axis=0), contrast(flat, trend_weights(flat.mean(axis=0))), 1)[1] > 0.001
    assert trend_weights(np.array([1.0, NAN, 2.0, NAN, 0.0])).tolist() == [-2.0, 0.0, 0.0, 0.0, 2.0]
    assert all(map(math.isnan, monotonicity(np.array([NAN, 1.0, NAN]), np.zeros(3), 1)))


@pytest.mark.parametrize("bars, rank_ic, expected", [
    ((1, 2, 4, 8), (0.08, 0.06, 0.04, 0.01), 3.0),
    ((1, 2, 4, 8), (-0.08, -0.06, -0.02, 0.0), 2.0),
    ((1, 5, 9), (0.02, 0.1, 0.0), 2.0),  # measured from the largest
    ((1, 2), (0.05, 0.04), NAN),
    ((1, 2), (NAN, NAN), NAN),
    ((1, 2), (0.0, 0.0), NAN),
])  # fmt: skip
def test_half_life(bars, rank_ic, expected):
    assert half_life(bars, rank_ic) == pytest.approx(expected, nan_ok=True)


def test_regimes_never_look_ahead():
    draw = np.random.default_rng(3)
    market = 100 * np.exp(np.cumsum(0.01 * draw.standard_normal(800)))
    trend = regimes(market, 6.0)["trend"]
    changed = market.copy()
    changed[500:] *= 3
    assert (regimes(changed, 6.0)["trend"][:500] == trend[:500]).all()
    assert (trend[:90] == "").all()  # 180 bars look back, half of them must be there
    up = np.log(market[700]) - np.log(market[520]) > 0
    assert trend[700] == ("up" if up else "down")


def test_coverage_by_hand():
    factor = np.array([[1.0, NAN], [NAN, NAN], [1.0, 2.0], [np.inf, 2.0]])
    alive = np.array([[True, False], [True, False], [True, True], [True, True]])
    made = coverage_of(factor, alive, clock(4, 24 * 20), ("A", "B"))  # 1 and 21 January, 10 February, 2 March
    assert made.by_bar.tolist() == [1.0, 0.0, 1.0, 0.5]
    assert made.by_symbol == {"A": 0.5, "B": 1.0}
    assert made.months == ("2023-01", "2023-02", "2023-03")
    assert made.missing_by_month == (1, 0, 1)
    np.testing.assert_array_equal(made.by_month, [[0.5, NAN], [1.0, 1.0], [0.0, 1.0]])


def test_distribution():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(2).standard_normal((200, 5)) ** 3
    values[0, 0], values[1] = 1e6, NAN
    made = distribution_of(values)
    held = values[np.isfinite(values)]
    assert made.count == 995
    assert made.std == pytest.approx(held.std(ddof=1))
    assert made.skewness == pytest.approx(stats.skew(held))
    assert made.kurtosis_excess == pytest.approx(stats.kurtosis(held))
    assert made.quantiles["0.5"] == np.median(held)
    spread = stats.median_abs_deviation(held) * 1.4826
    assert made.outliers == int((np.abs(held - np.median(held)) > 10 * spread).sum()) >= 1
    assert made.counts.sum() == 995
    nothing = distribution_of(np.full((3, 3), NAN))
    assert nothing.count == 0
    assert math.isnan(nothing.mean)
    same = distribution_of(np.full((3, 3), 0.1))
    assert (same.std, same.distinct, same.counts.sum()) == (0.0, 1, 9)


def test_what_was_never_held_has_no_growth():
    """Column 0 earns 10 % then nothing is known; column 1 has a value only on a bar that is no rebalance."""
    returns = np.array([[0.1, NAN], [0.5, 0.5], [NAN, NAN], [0.5, 0.5]])
    np.testing.assert_allclose(compounded(returns, 2), [[0.1, NAN]] * 4, rtol=1e-12)
    np.testing.assert_array_equal(compounded(np.full(3, NAN), 1), [NAN] * 3)


def test_the_histogram_of_a_sparse_factor_shows_the_few_other_values():
    values = np.zeros((500, 2))
    values[7, 0], values[9, 1] = -1.0, 3.0
    made = distribution_of(values)
    assert (made.edges[0], made.edges[-1]) == (-1.0, 3.0)
    assert (made.counts[0], made.counts[-1], made.counts.max(), made.counts.sum()) == (1, 1, 998, 1000)


def test_who_has_lost_all_earns_nothing_more():
    """A spread loses more than it holds when the names sold short rise threefold: there is no way back from that."""
    np.testing.assert_allclose(compounded(np.array([0.5, -2.0, -3.0, 0.5]), 1), [0.5, -1.0, -1.0, -1.0])
