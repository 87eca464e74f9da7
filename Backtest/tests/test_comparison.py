"""Buy-and-hold and the equal-weight universe, against a plain loop and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from Backtest.comparison import buy_and_hold, equal_weight
from Backtest.data.timeframe import parse_timeframe
from Backtest.tests.fake_run import FOUR_HOURS, panel_of

NAN = np.nan
DAILY = parse_timeframe("1d")


def test_buy_and_hold_starts_at_the_initial_cash_on_its_first_bar_and_carries_gaps():
    panel = panel_of([[NAN], [50.0], [NAN], [100.0]], symbols=["BTCUSDT"])
    found = buy_and_hold(panel, "BTCUSDT", 1000.0)
    assert found is not None
    assert found.tolist() == pytest.approx([NAN, 1000, 1000, 2000], nan_ok=True)


def test_buy_and_hold_is_missing_between_two_listings():
    age = np.array([[1], [2], [0], [1], [2]], dtype=np.int32)
    panel = panel_of([[10.0], [20.0], [NAN], [30.0], [NAN]], symbols=["BTCUSDT"], age=age)
    found = buy_and_hold(panel, "BTCUSDT", 10.0)
    assert found is not None
    assert found.tolist() == pytest.approx([10, 20, NAN, 30, 30], nan_ok=True)


def test_buy_and_hold_without_a_bar_is_none():
    assert buy_and_hold(panel_of([[NAN], [NAN]], symbols=["BTCUSDT"]), "BTCUSDT", 1.0) is None


def test_equal_weight_by_hand():
    # Day 1: A and B 50:50 of 100. A doubles, B stays: 150. Rebalanced to 75:75; B doubles: 225. C never trades.
    panel = panel_of([[1, 10, NAN], [2, 10, NAN], [2, 20, NAN]], timeframe=DAILY)
    assert equal_weight(panel, 100.0).tolist() == pytest.approx([100, 150, 225])


def test_equal_weight_rebalances_once_a_day_within_smaller_bars():
    # Six 4h bars a day. Within day 1 the weights drift: A doubles twice, 50 -> 200; B stays. Rebalanced at row 5.
    a = [1, 1, 2, 2, 4, 4, 8, 8]
    b = [1, 1, 1, 1, 1, 1, 1, 1]
    panel = panel_of(np.array([a, b]).T)
    assert equal_weight(panel, 100.0).tolist() == pytest.approx([100, 100, 150, 150, 250, 250, 375, 375])


def test_a_delisted_symbol_is_paid_out_at_its_last_close():
    age = np.array([[1, 1], [2, 2], [3, 3], [4, 0], [5, 0]], dtype=np.int32)
    panel = panel_of([[1, 1], [1, 0.5], [1, NAN], [1, NAN], [2, NAN]], timeframe=DAILY, age=age)
    # 50:50; B halves: 75, to 37.5:37.5. Rows 2, 3: B has no bar and keeps its value; at row 3 it is gone: all in A.
    assert equal_weight(panel, 100.0).tolist() == pytest.approx([100, 75, 75, 75, 150])


def test_before_anything_trades_it_is_cash():
    panel = panel_of([[NAN, NAN], [NAN, 4], [NAN, 8]], timeframe=DAILY)
    assert equal_weight(panel, 10.0).tolist() == [10.0, 10.0, 20.0]


def test_a_column_that_is_no_member_is_not_in_it():
    panel = panel_of([[1, 10], [2, 10], [2, 20]], timeframe=DAILY)
    member = np.array([[True, False]] * 3)
    assert equal_weight(replace(panel, member=member), 100.0).tolist() == [100, 200, 200]


def plain_loop(panel, cash):
    """The docstring of equal_weight as a loop over symbols and bars."""
    rows, columns = panel.shape
    units, last, curve = [0.0] * columns, [NAN] * columns, []
    hours = panel.timestamp.astype("datetime64[h]").astype(int) % 24
    step = panel.timeframe.seconds // 3600
    for row in range(rows):
        for column in range(columns):
            if panel.exists[row, column]:
                last[column] = panel.fields["close"][row, column]
        equity = cash + sum(units[c] * last[c] for c in range(columns) if units[c])
        curve.append(equity)
        if row == 0 or hours[row] + step >= 24:
            free = [c for c in range(columns) if panel.tradable[row, c] and panel.member[row, c]]
            stuck = [c for c in range(columns) if units[c] and c not in free and panel.age[row, c] > 0]
            rest = equity - sum(units[c] * last[c] for c in stuck)
            units = [
                units[c] if c in stuck else rest / len(free) / last[c] if c in free else 0.0 for c in range(columns)
            ]
            cash = 0.0 if free else rest
    return curve


@pytest.mark.parametrize("seed", range(8))
def test_equal_weight_equals_a_plain_loop(seed):
    random = np.random.default_rng(seed)
    closes = np.exp(np.cumsum(random.normal(0, 0.05, (120, 5)), axis=0))
    closes[random.random((120, 5)) < 0.2] = NAN
    closes[:40, 0] = NAN
    closes[60:, 1] = NAN
    exists = np.isfinite(closes)
    age = np.cumsum(np.maximum.accumulate(exists, axis=0), axis=0).astype(np.int32)
    age[75:, 1] = 0
    panel = panel_of(closes, timeframe=FOUR_HOURS, age=age, tradable=exists & (random.random((120, 5)) > 0.1))
    found = equal_weight(panel, 1000.0)
    assert np.isfinite(found).all()
    assert found == pytest.approx(np.array(plain_loop(panel, 1000.0)), rel=1e-12)


def test_one_symbol_equals_buy_and_hold():
    closes = np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.02, (200, 1)), axis=0))
    panel = panel_of(closes, symbols=["BTCUSDT"])
    assert equal_weight(panel, 5.0) == pytest.approx(buy_and_hold(panel, "BTCUSDT", 5.0), rel=1e-12)
