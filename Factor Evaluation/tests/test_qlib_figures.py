"""The portfolio behind Qlib's figures by hand, its risk by plain formulas, and what happens where there is nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from factor_evaluation.qlib_figures import MOST_BARS, Portfolio, figures_of, portfolio_of, risk_of, stride
from factor_evaluation.qlib_report import FIGURE_CAPTIONS, _framed, _notes

from Backtest.data.timeframe import parse_timeframe

from .report.made_evaluation import made

pytestmark = pytest.mark.xdist_group("qlib")
if sys.version_info >= (3, 13):
    pytest.skip("Qlib has no release for this Python", allow_module_level=True)

NAN = float("nan")
VALUES = np.array([[4.0, 3, 2, 1], [9, 9, 9, 9], [1, 2, NAN, 4], [9, 9, 9, 9], [NAN, 2, NAN, NAN]])
LABEL = np.array([[0.04, 0.02, 0.0, -0.02], [9, 9, 9, 9], [0.01, 0.02, 0.5, 0.03], [9, 9, 9, 9], [0.1, 0.1, 0.1, 0.1]])


def test_the_portfolio_by_hand():
    portfolio = portfolio_of(VALUES, LABEL, bars=2, groups=2)
    # rows 0 and 2 are rebalances; row 4 has one name, too few for two groups; row 2 has three: groups of one
    assert portfolio.row.tolist() == [0, 2]
    np.testing.assert_allclose(portfolio.top, [0.03, 0.03])
    np.testing.assert_allclose(portfolio.spread, [0.03 - -0.01, 0.03 - 0.01])
    np.testing.assert_allclose(portfolio.mean, [0.01, 0.02])
    # bought two halves; then both sold (1) and one name bought whole (1)
    np.testing.assert_allclose(portfolio.turnover, [1.0, 2.0])


def test_risk_is_compounded_over_a_year_of_365_days():
    top = np.array([0.02, -0.01, 0.03, -0.05, 0.01])
    flat = np.zeros(5)
    portfolio = Portfolio(6 * np.arange(5), top, flat, flat, np.full(5, 0.5))
    risk = risk_of(portfolio, 6, parse_timeframe("4h"), 0.002)
    curve = np.cumprod(1 + top)
    assert risk["top"]["annualized_return"] == pytest.approx(curve[-1] ** (365 / 5) - 1)  # six bars of 4h are a day
    assert risk["top"]["max_drawdown"] == pytest.approx(-0.05)
    assert risk["top"]["std"] == pytest.approx(np.log1p(top).std(ddof=1))
    assert risk["top_net"]["mean"] == pytest.approx(np.prod(1 + top - 0.001) ** (1 / 5) - 1)
    assert risk["spread"]["information_ratio"] is None  # nothing moved
    assert "top_net" not in risk_of(portfolio, 6, parse_timeframe("4h"), None)


@pytest.mark.parametrize("rows, bars, expected", [(MOST_BARS, 1, 1), (MOST_BARS + 1, 1, 2), (10 * MOST_BARS, 3, 12)])
def test_long_histories_are_thinned_by_whole_horizons(rows, bars, expected):
    assert stride(rows, bars) == expected
    assert -(-rows // expected) <= MOST_BARS


def drawn(values: np.ndarray, label: np.ndarray, groups: int = 2):
    clock = np.datetime64("2024-01-01", "ns") + np.arange(len(values)) * np.timedelta64(4, "h")
    symbols = tuple(f"C{place}USDT" for place in range(values.shape[1]))
    portfolio = portfolio_of(values, label, 1, groups)
    return figures_of(values, label, clock, symbols, portfolio=portfolio, bars=1, groups=groups, cost=None)


def test_qlib_draws_what_pandas_computes():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(30, 4))
    label = 0.01 * rng.normal(size=(30, 4))
    figures, refused = drawn(values, label)
    assert refused == []
    by_name = {figure.name: figure.content for figure in figures}
    json.dumps(by_name, allow_nan=False)
    ours = [np.corrcoef(values[row], label[row])[0, 1] for row in range(30)]
    np.testing.assert_allclose(by_name["pred_ic-0"]["data"][0]["y"], ours, rtol=1e-9)
    top = portfolio_of(values, label, 1, 2).top
    np.testing.assert_allclose(by_name["group_return-0"]["data"][0]["y"], np.cumsum(top), rtol=1e-9)


def test_group_returns_of_a_long_history_hold_every_rebalance():
    """Three bars a rebalance, 1,201 rebalances in sums of three: by pandas, of the names as Qlib groups them."""
    rng = np.random.default_rng(5)
    values, label = rng.normal(size=(3602, 7)), 0.01 * rng.normal(size=(3602, 7))
    values[6, 2:] = NAN  # two names are too few for three groups: no rebalance
    clock = np.datetime64("2024-01-01", "ns") + np.arange(len(values)) * np.timedelta64(4, "h")
    symbols = tuple(f"C{place}USDT" for place in range(7))
    portfolio = portfolio_of(values, label, 3, 3)
    figures, refused = figures_of(values, label, clock, symbols, portfolio=portfolio, bars=3, groups=3, cost=None)
    assert refused == []
    drawn = {figure.name: figure for figure in figures}
    curves = {one["name"]: one["y"] for one in drawn["group_return-0"].content["data"]}
    sums = dict.fromkeys(curves, 0.0)
    for t in range(0, 3602, 3):
        if t != 6:
            ordered = label[t][np.argsort(-values[t])]
            means = {f"Group{n + 1}": ordered[2 * n : 2 * n + 2].mean() for n in range(3)}
            means |= {"long-short": means["Group1"] - means["Group3"], "long-average": means["Group1"] - ordered.mean()}
            sums = {name: sums[name] + means[name] for name in sums}
    assert len(curves["Group1"]) == 400 <= MOST_BARS
    assert {name: curve[-1] for name, curve in curves.items()} == pytest.approx(sums, rel=0, abs=1e-12)
    assert sums["Group1"] == pytest.approx(portfolio.top.sum(), rel=0, abs=1e-12)
    assert [drawn[name].title for name in ("pred_autocorr-0", "pred_turnover-0")] == [
        "Autocorrelation, 9 bars apart", "Turnover, 9 bars apart",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["constant factor", "constant price", "no value", "one symbol"])
def test_where_qlib_has_nothing_to_draw_that_is_said_in_one_line(kind):
    rng = np.random.default_rng(3)
    values, label = rng.normal(size=(20, 4)), 0.01 * rng.normal(size=(20, 4))
    if kind == "constant factor":
        values = np.ones_like(values)
    elif kind == "constant price":
        label = np.zeros_like(label)
    elif kind == "no value":
        values = np.full_like(values, np.nan)
    else:
        values, label = values[:, :1], label[:, :1]
    figures, refused = drawn(values, label)
    assert refused
    assert all("Qlib draws none of these values" in line and "\n" not in line for line in refused)
    json.dumps([figure.content for figure in figures], allow_nan=False)


def test_qlibs_figures_are_framed_so_that_no_words_overlap():
    rng = np.random.default_rng(3)
    figures, _ = drawn(rng.normal(size=(30, 4)), 0.01 * rng.normal(size=(30, 4)))
    framed = {figure.name: _framed(figure)["layout"] for figure in figures}
    assert set(framed) == set(FIGURE_CAPTIONS)
    assert framed["report-0"]["xaxis7"]["nticks"] == 8
    left, right = framed["pred_ic-2"]["xaxis"]["domain"], framed["pred_ic-2"]["xaxis2"]["domain"]
    assert right[0] - left[1] >= 0.15  # the right plot's words lie between
    assert [title["x"] for title in framed["pred_ic-2"]["annotations"]] == [sum(left) / 2, sum(right) / 2]


def test_a_spread_that_lost_all_has_lost_all():
    """One spread of -200 % among others: nothing is left, and no drawdown is deeper than that."""
    spread = np.array([0.5, -2.0, 0.5, 0.1])
    flat = np.zeros(4)
    risk = risk_of(Portfolio(np.arange(4), flat, spread, flat, flat), 1, parse_timeframe("1d"), None)["spread"]
    assert (risk["max_drawdown"], risk["annualized_return"], risk["mean"]) == (-1.0, -1.0, -1.0)


def test_rebalances_without_a_name_for_each_group_are_counted():
    evaluation = made(rows=30, horizons=(("1", 1),))
    flat = np.zeros(30)
    whole = Portfolio(np.arange(30), flat, flat, flat, flat)
    assert "hold every rebalance, the top" in _notes(evaluation, "1", 1, 5, whole)[0]
    some = replace(whole, row=np.arange(21))
    assert "5 names or more that are not all equal (21 of 30)" in _notes(evaluation, "1", 1, 5, some)[0]


def test_equal_values_make_no_portfolio_and_ties_at_an_edge_are_counted():
    """Groups of two of four names. Row 0: all equal; 1: the second and third tie; 2: the first two, inside a group."""
    values = np.array([[1.0, 1, 1, 1], [3, 2, 2, 1], [2, 2, 1, 0]])
    portfolio = portfolio_of(values, np.full((3, 4), 0.01), bars=1, groups=2)
    assert portfolio.row.tolist() == [1, 2]
    assert portfolio.tied == 1
    evaluation = made(rows=3, horizons=(("1", 1),))
    assert "At 1 of 2 rebalances" in _notes(evaluation, "1", 1, 2, portfolio)[1]
    assert "tie at" not in " ".join(_notes(evaluation, "1", 1, 2, replace(portfolio, tied=0)))


def test_a_year_counts_the_rebalances_that_were_left_out():
    """Two rebalances in five days, at the first and the last: 1.02 x 1.01 in five days, two fifths of 365 a year."""
    top, flat = np.array([0.02, 0.01]), np.zeros(2)
    risk = risk_of(Portfolio(np.array([0, 4]), top, flat, flat, flat), 1, parse_timeframe("1d"), None)["top"]
    assert risk["annualized_return"] == pytest.approx((1.02 * 1.01) ** (365 / 5) - 1)
    mean, std = (1.02 * 1.01) ** 0.5 - 1, np.log1p(top).std(ddof=1)
    assert risk["information_ratio"] == pytest.approx(mean / std * (365 * 2 / 5) ** 0.5)
