"""Every metric against pandas' own statistics or a case worked by hand."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from Backtest.data.timeframe import parse_timeframe
from Backtest.engine.ledger import Order
from Backtest.files import json_text
from Backtest.metrics import METRICS, SPOT_METRICS, compute_metrics
from Backtest.returns import annualized_return, daily_equity, drawdown, longest_drawdown_bars, monthly_returns
from Backtest.tests.fake_run import FOUR_HOURS, clock, record_of, simulated

DESIGN_KEYS = (
    "initial_cash final_equity total_return annualized_return volatility sharpe_ratio sortino_ratio calmar_ratio "
    "max_drawdown max_drawdown_duration_days var_95 cvar_95 skewness kurtosis_excess hit_rate best_month worst_month "
    "num_trades num_orders num_rejected turnover total_commission total_slippage alpha_benchmark beta_benchmark "
    "alpha_equal_weight beta_equal_weight bars start end"
).split()


def metrics_of(
    record, *, timeframe=FOUR_HOURS, initial_cash=100_000.0, risk_free=0.0, benchmark=None, equal_weight=None
):
    return compute_metrics(
        record, benchmark=benchmark, equal_weight=equal_weight, timeframe=timeframe, initial_cash=initial_cash,
        risk_free=risk_free,
    )  # fmt: skip


def frame(record, initial_cash=100_000.0):
    """Daily returns as a notebook computes them from equity_curve.csv."""
    equity = pd.Series(record.equity, index=pd.DatetimeIndex(record.timestamp))
    daily = equity.groupby(equity.index.floor("D")).last()
    before = daily.shift(1)
    before.iloc[0] = initial_cash
    return daily / before - 1


def test_keys_are_the_design_s_and_each_is_documented():
    _, record = simulated(200)
    found = metrics_of(record)
    assert list(found) == DESIGN_KEYS == list(SPOT_METRICS)
    assert all(row.formula and row.unit for row in METRICS.values())
    assert json.loads(json_text(found)) == found


@pytest.mark.parametrize("risk_free", [0.0, 0.05])
def test_daily_statistics_equal_pandas(risk_free):
    _, record = simulated(3001)
    found = metrics_of(record, risk_free=risk_free)
    returns = frame(record)
    excess = returns - risk_free / 365
    expected = {
        "volatility": returns.std() * math.sqrt(365),
        "sharpe_ratio": excess.mean() / excess.std() * math.sqrt(365),
        "sortino_ratio": excess.mean() / math.sqrt((excess.clip(upper=0) ** 2).mean()) * math.sqrt(365),
        "var_95": returns.quantile(0.05),
        "cvar_95": returns[returns <= returns.quantile(0.05)].mean(),
        "skewness": returns.skew(),
        "kurtosis_excess": returns.kurt(),
        "hit_rate": (returns > 0).sum() / (returns != 0).sum(),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_return_and_drawdown_equal_pandas():
    _, record = simulated(3000)
    found = metrics_of(record)
    equity = pd.Series(record.equity)
    years = 3000 * 4 / 24 / 365.25
    assert found["final_equity"] == record.equity[-1]
    assert found["total_return"] == pytest.approx(record.equity[-1] / 1e5 - 1, rel=1e-14)
    assert found["annualized_return"] == pytest.approx((record.equity[-1] / 1e5) ** (1 / years) - 1, rel=1e-12)
    below = equity / equity.cummax().clip(lower=1e5) - 1
    assert found["max_drawdown"] == pytest.approx(below.min(), rel=1e-14)
    assert found["calmar_ratio"] == pytest.approx(found["annualized_return"] / -below.min(), rel=1e-12)
    assert (found["start"], found["end"]) == ("2024-01-01T00:00:00Z", "2025-05-15T00:00:00Z")
    assert found["bars"] == 3000


def test_months_equal_pandas():
    _, record = simulated(3000)
    found = metrics_of(record)
    equity = pd.Series(record.equity, index=pd.DatetimeIndex(record.timestamp))
    last = equity.groupby([equity.index.year, equity.index.month]).last()
    returns = last / last.shift(1).fillna(1e5) - 1
    assert found["best_month"] == pytest.approx(returns.max(), rel=1e-12)
    assert found["worst_month"] == pytest.approx(returns.min(), rel=1e-12)
    months, mine = monthly_returns(record.timestamp.astype(np.int64), record.equity, FOUR_HOURS, 1e5)
    assert [str(month) for month in months] == [f"{year}-{month:02d}" for year, month in last.index]
    assert mine == pytest.approx(returns.to_numpy(), rel=1e-12)


def test_alpha_and_beta_equal_least_squares():
    _, record = simulated(3000)
    _, other = simulated(3000, seed=9)
    found = metrics_of(record, benchmark=other.equity, risk_free=0.03)
    mine, theirs = frame(record).to_numpy() - 0.03 / 365, frame(other).to_numpy() - 0.03 / 365
    (intercept, slope), *_ = np.linalg.lstsq(np.column_stack([np.ones(len(mine)), theirs]), mine, rcond=None)
    assert found["alpha_benchmark"] == pytest.approx(intercept * 365, rel=1e-9)
    assert found["beta_benchmark"] == pytest.approx(slope, rel=1e-9)
    assert found["alpha_equal_weight"] is None


def test_a_run_is_its_own_benchmark():
    _, record = simulated(600)
    found = metrics_of(record, equal_weight=record.equity)
    assert found["beta_equal_weight"] == pytest.approx(1, rel=1e-12)
    assert found["alpha_equal_weight"] == pytest.approx(0, abs=1e-12)


def test_a_benchmark_that_begins_late_counts_from_there():
    _, record = simulated(600)
    late = record.equity * 2
    late[:100] = np.nan
    found = metrics_of(record, benchmark=late)
    assert found["beta_benchmark"] == pytest.approx(1, rel=1e-12)


def test_worked_by_hand():
    # Daily closes 110, 99, 99, 120 on 100: returns 10 %, -10 %, 0, 21.21 %.
    daily = parse_timeframe("1d")
    record = record_of([110.0, 99.0, 99.0, 120.0], timeframe=daily, start="2024-01-30")
    found = metrics_of(record, timeframe=daily, initial_cash=100.0)
    returns = [0.1, -0.1, 0.0, 120 / 99 - 1]
    mean = sum(returns) / 4
    deviation = math.sqrt(sum((r - mean) ** 2 for r in returns) / 3)
    assert found["volatility"] == pytest.approx(deviation * math.sqrt(365), rel=1e-12)
    assert found["sharpe_ratio"] == pytest.approx(mean / deviation * math.sqrt(365), rel=1e-12)
    assert found["sortino_ratio"] == pytest.approx(mean / (0.1 / 2) * math.sqrt(365), rel=1e-12)
    assert found["max_drawdown"] == pytest.approx(-0.1)
    assert found["max_drawdown_duration_days"] == 3  # from the close of day 1 to the close of day 4
    assert found["hit_rate"] == pytest.approx(2 / 3)
    assert found["var_95"] == pytest.approx(-0.1 + 0.15 * 0.1)  # 0.15 of the way from the lowest to the next
    assert found["cvar_95"] == pytest.approx(-0.1)
    assert (found["best_month"], found["worst_month"]) == pytest.approx((120 / 99 - 1, -0.01))
    assert found["annualized_return"] == pytest.approx(1.2 ** (365.25 / 4) - 1, rel=1e-12)


def test_activity_by_hand():
    def order(number, bar, side, size, price, status="filled"):
        filled = status == "filled"
        value = size * price
        return Order(number, bar - 1, bar, "AUSDT", side, size, price, value, 0.1 * filled, 0.2 * filled,
                     "rebalance", status, "" if filled else "margin")  # fmt: skip

    orders = [order(1, 1, "buy", 2, 10), order(2, 2, "buy", 99, 10, "rejected"), order(3, 3, "sell", 2, 11)]
    sizes = [[0], [2], [2], [0], [0], [0]]
    record = record_of([100, 100, 102, 102, 102, 102], sizes=sizes, orders=orders)
    found = metrics_of(record, initial_cash=100.0)
    assert (found["num_trades"], found["num_orders"], found["num_rejected"]) == (2, 3, 1)
    assert found["total_commission"] == pytest.approx(0.2)
    assert found["total_slippage"] == pytest.approx(0.4)
    assert found["turnover"] == pytest.approx((20 + 22) / (608 / 6) / (1 / 365.25))


def test_a_run_that_never_trades_has_no_ratios_but_no_nan_either():
    found = metrics_of(record_of(np.full(60, 1e5)))
    missing = {name for name, value in found.items() if value is None}
    assert missing == {
        "sharpe_ratio", "sortino_ratio", "calmar_ratio", "skewness", "kurtosis_excess", "hit_rate",
        "alpha_benchmark", "beta_benchmark", "alpha_equal_weight", "beta_equal_weight",
    }  # fmt: skip
    assert found["total_return"] == found["volatility"] == found["max_drawdown"] == found["turnover"] == 0
    json_text(found)


def test_one_bar():
    found = metrics_of(record_of([1e5]))
    assert found["volatility"] is None
    assert found["annualized_return"] == 0
    json_text(found)


def test_a_ruined_run_returns_minus_one_a_year_and_stays_finite():
    found = metrics_of(record_of([1e5, 4e4, *[-500.0] * 40]))
    assert found["annualized_return"] == -1
    assert found["total_return"] == pytest.approx(-1.005)
    assert all(value is None or isinstance(value, str) or math.isfinite(value) for value in found.values())
    assert annualized_return(0.0, 1.0) == -1


def test_a_growth_beyond_float_is_null():
    assert metrics_of(record_of([1e5, 1e9]))["annualized_return"] is None


@pytest.mark.parametrize("label, step", [("1h", 1), ("4h", 4), ("1d", 24), ("5h", 5), ("1w", 168)])
def test_daily_equity_has_one_value_a_utc_day(label, step):
    timeframe = parse_timeframe(label)
    start = "2024-01-01"  # a Monday
    opens = clock(40, timeframe, start)
    curve = np.arange(1, 41).astype(np.float64)
    found = daily_equity(opens.astype(np.int64), curve, timeframe, 0.5)
    closes = pd.Series(curve, index=pd.DatetimeIndex(opens) + pd.Timedelta(hours=step) - pd.Timedelta(1, "ns"))
    days = pd.date_range(start, closes.index[-1].floor("D"), freq="D")
    expected = closes.groupby(closes.index.floor("D")).last().reindex(days).ffill().fillna(0.5)
    assert found.tolist() == [0.5, *expected]


def test_weekly_bars_are_annualised_like_the_same_path_in_days():
    weekly = parse_timeframe("1w")
    random = np.random.default_rng(3)
    record = record_of(1e5 * np.exp(np.cumsum(random.normal(0, 0.05, 300))), timeframe=weekly, start="2018-01-01")
    found = metrics_of(record, timeframe=weekly)
    assert found["volatility"] == pytest.approx(0.05 * math.sqrt(365 / 7), rel=0.1)


def brute_duration(path):
    """The longest span by trying every pair of a peak and the first later value that reaches it."""
    best = 0
    for begin, peak in enumerate(path):
        later = path[begin + 1 :]
        if peak < max(path[: begin + 1]) or not later or later[0] >= peak:
            continue
        ends = [end for end, value in enumerate(later, begin + 1) if value >= peak]
        best = max(best, (ends[0] if ends else len(path) - 1) - begin)
    return best


@pytest.mark.parametrize("seed", range(30))
def test_longest_drawdown_equals_brute_force(seed):
    random = np.random.default_rng(seed)
    path = (100 + np.cumsum(random.integers(-2, 3, 60))).astype(np.float64)
    assert longest_drawdown_bars(path, 100.0) == brute_duration([100.0, *path.tolist()])


def test_drawdown_counts_the_initial_cash_as_a_peak():
    assert drawdown(np.array([90.0, 99.0, 110.0, 55.0]), 100.0).tolist() == pytest.approx([-0.1, -0.01, 0, -0.5])


def test_turnover_counts_both_sides_once():
    _, record = simulated(500)
    found = metrics_of(record)
    traded = sum(order.size * order.price for order in record.orders)
    years = 500 * 4 / 24 / 365.25
    assert found["turnover"] == pytest.approx(traded / record.equity.mean() / years, rel=1e-12)
    changes = sum(int((a != b).sum()) for a, b in pairwise([np.zeros(8), *record.sizes]))
    assert found["num_trades"] == changes == len(record.orders)
