"""Trailing volatility against the standard library, and what it may not know."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pandas as pd
import pytest

from Backtest.engine.volatility import close_returns, portfolio_volatility, trailing_volatility
from Backtest.tests.engine.market import panel_of, random_walk

GONE = math.nan


def test_it_is_the_standard_deviation_of_the_last_returns():
    closes = random_walk(1, 60, 3)[3]
    returns = close_returns(panel_of(closes=closes, symbols="ABC"))
    found = trailing_volatility(returns, 50, window=20)
    for column in range(3):
        window = [closes[t, column] / closes[t - 1, column] - 1 for t in range(31, 51)]
        assert found[column] == pytest.approx(statistics.stdev(window), rel=1e-12)


def test_it_never_sees_the_future():
    closes = random_walk(2, 60, 3)[3]
    changed = closes.copy()
    changed[41:] *= 7
    before, after = (close_returns(panel_of(closes=values, symbols="ABC")) for values in (closes, changed))
    assert trailing_volatility(before, 40, window=20).tobytes() == trailing_volatility(after, 40, window=20).tobytes()


def test_nine_tenths_of_the_window_must_be_known():
    closes = random_walk(3, 40, 1)[3]
    returns = close_returns(panel_of(closes=closes, symbols="A"))
    assert math.isnan(trailing_volatility(returns, 17, window=20)[0])  # 17 returns
    assert trailing_volatility(returns, 18, window=20)[0] > 0  # 18 = 0.9 * 20
    closes[25] = GONE  # two returns gone
    assert trailing_volatility(close_returns(panel_of(closes=closes, symbols="A")), 35, window=20)[0] > 0
    closes[28] = GONE
    assert math.isnan(trailing_volatility(close_returns(panel_of(closes=closes, symbols="A")), 35, window=20)[0])


def test_no_return_reaches_across_a_relisting():
    panel = panel_of({"A": [100.0, 101, GONE, GONE, GONE, 5, 5.05]}, gap=1)
    returns = close_returns(panel)[:, 0]
    assert np.isfinite(returns).tolist() == [False, True, False, False, False, False, True]
    assert returns[6] == pytest.approx(0.01)


def test_warmup_rows_before_the_window_count():
    from Backtest.engine.backtrader import run
    from Backtest.strategies import build_strategy
    from Backtest.tests.engine.market import costs

    closes = random_walk(4, 40, 2)[3]
    strategy = build_strategy(
        "topk", {"factor": "x", "weighting": "inverse_vol", "vol_window": "1", "rebalance": "1"}, {}
    )
    scores = np.ones((10, 2))
    warm = run(panel_of(closes=closes, symbols="AB", warmup=30), scores, strategy, costs=costs(), initial_cash=1e4)
    cold = panel_of(closes=closes, symbols="AB").rows(30, 40)
    assert warm.orders[0].created_bar == 0
    assert run(cold, scores, strategy, costs=costs(), initial_cash=1e4).orders == ()


def test_a_portfolio_s_volatility_is_the_root_of_its_covariances():
    """pandas' covariance matrix, as bt's TargetVol takes it."""
    returns = close_returns(panel_of(closes=random_walk(4, 80, 4)[3], symbols="ABCD"))
    weights = np.array([0.5, -0.3, 0.0, 0.2])
    covariance = pd.DataFrame(returns[31:71]).cov().to_numpy()
    found = portfolio_volatility(returns, 70, weights, window=40)
    assert found == pytest.approx(math.sqrt(weights @ covariance @ weights), rel=1e-12)


def test_what_has_no_return_moves_with_the_others_up_to_half_of_the_weight():
    returns = close_returns(panel_of(closes=random_walk(5, 60, 3)[3], symbols="ABC"))
    whole = portfolio_volatility(returns, 50, np.array([0.6, -0.2, 0.0]), window=20)
    returns[:, 2] = GONE
    assert portfolio_volatility(returns, 50, np.array([0.6, -0.2, 0.0]), window=20) == whole  # C is not held
    spread = portfolio_volatility(returns, 50, np.array([0.6, -0.2, 0.4]), window=20)
    assert spread == pytest.approx(whole * 1.2 / 0.8, rel=1e-12)
    assert math.isnan(portfolio_volatility(returns, 50, np.array([0.6, -0.2, 0.81]), window=20))
    assert math.isnan(portfolio_volatility(returns, 17, np.array([0.6, -0.2, 0.0]), window=20))  # 17 returns
    assert portfolio_volatility(returns, 18, np.array([0.6, -0.2, 0.0]), window=20) > 0
