"""Plots: every case draws, titles say synthetic, the numbers behind them are right. Their looks are checked by eye."""

from __future__ import annotations

import struct
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from Backtest.data.timeframe import parse_timeframe
from Backtest.report import plots, style
from Backtest.report.waterfall import waterfall
from Backtest.tests.fake_run import outcome_of, panel_of, record_of, simulated

SUBJECT = plots.Subject("topk", "demo_v1", "20240101T000000Z-abcdef12", "BTCUSDT", synthetic=False)
SYNTHETIC = plots.Subject("topk", "demo_v1", "20240101T000000Z-abcdef12", "BTCUSDT", synthetic=True)


@pytest.fixture(scope="module")
def outcome():
    return outcome_of(*simulated(1500, 14))


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


@pytest.mark.parametrize("name", plots.PLOTS)
def test_every_title_says_synthetic_when_it_is(outcome, name):
    _, draw = plots.PLOTS[name]
    assert "synthetic" in texts_of(draw(outcome, SYNTHETIC))[0]
    assert "synthetic" not in " ".join(texts_of(draw(outcome, SUBJECT)))


def test_pictures_are_png_and_the_same_bytes_each_time(outcome):
    first = plots.draw_all(outcome, SUBJECT)
    assert list(first) == list(plots.PLOTS)
    assert first == plots.draw_all(outcome, SUBJECT)
    for content in first.values():
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", content[16:24])
        assert width == round(style.WIDTH * style.DPI)
        assert 200 < height < 1500


def flat(rows=60):
    panel = panel_of(np.ones((rows, 1)))
    return outcome_of(panel, record_of(np.full(rows, 1e5), symbols=panel.symbols))


def one_bar():
    panel = panel_of([[1.0]])
    return outcome_of(panel, record_of([1e5], symbols=panel.symbols))


def ruined():
    panel = panel_of(np.ones((90, 1)))
    equity = np.r_[1e5, 5e4, 10.0, np.full(87, -20.0)]
    sizes = np.zeros((90, 1))
    sizes[1:3] = 1.0
    return outcome_of(panel, record_of(equity, symbols=panel.symbols, sizes=sizes))


def huge_growth():
    panel = panel_of(np.exp(np.linspace(0, 20, 900))[:, None])
    return outcome_of(panel, record_of(1e5 * np.exp(np.linspace(0, 20, 900)), symbols=panel.symbols))


def without_benchmark():
    return outcome_of(*simulated(300, 3), benchmark=False)


def weekly():
    return outcome_of(*simulated(300, 3, timeframe=parse_timeframe("1w")))


def minutes():
    return outcome_of(*simulated(500, 2, timeframe=parse_timeframe("1m")))


@pytest.mark.parametrize("make", [flat, one_bar, ruined, huge_growth, without_benchmark, weekly, minutes])
def test_odd_runs_draw_without_a_warning(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(plots.draw_all(make(), SUBJECT)) == 6


@pytest.mark.parametrize("name", ["策略 é ñ", "$x^2$", "a_{b}$", "%s {0} \\frac", "<b>", "x" * 64])
@pytest.mark.filterwarnings("ignore:Glyph")  # the font that comes with Matplotlib has no Chinese: boxes, no crash
def test_odd_names_draw(outcome, name):
    subject = plots.Subject(name, name, name, name, synthetic=True)
    for _, draw in plots.PLOTS.values():
        style.png(draw(outcome, subject))


def test_no_global_state_of_matplotlib_is_touched():
    import matplotlib

    before = dict(matplotlib.rcParams)
    plots.draw_all(flat(), SUBJECT)
    assert dict(matplotlib.rcParams) == before


def test_the_equity_axis_is_logarithmic_when_the_range_is_wide(outcome):
    assert plots.equity(huge_growth(), SUBJECT).axes[0].get_yscale() == "log"
    assert plots.equity(flat(), SUBJECT).axes[0].get_yscale() == "linear"
    assert plots.equity(ruined(), SUBJECT).axes[0].get_yscale() == "linear"


def test_liquidations_are_marked_where_they_happened(outcome):
    first, second = outcome.record.orders[5], outcome.record.orders[40]
    orders = tuple(
        replace(order, reason="liquidation") if order in (first, second) else order for order in outcome.record.orders
    )
    struck = replace(outcome, record=replace(outcome.record, orders=orders))
    (marks,) = [line for line in plots.equity(struck, SUBJECT).axes[0].lines if line.get_label() == "liquidation"]
    rows = sorted({first.filled_bar, second.filled_bar})
    assert np.asarray(marks.get_xdata()).tolist() == outcome.record.timestamp[rows].tolist()
    assert np.asarray(marks.get_ydata()).tolist() == outcome.record.equity[rows].tolist()
    assert all(line.get_label() != "liquidation" for line in plots.equity(outcome, SUBJECT).axes[0].lines)


def test_many_liquidations_leave_the_curve_to_be_seen(outcome):
    orders = tuple(replace(order, reason="liquidation") for order in outcome.record.orders)
    struck = replace(outcome, record=replace(outcome.record, orders=orders))
    axes = plots.equity(struck, SUBJECT).axes[0]
    (marks,) = [line for line in axes.lines if line.get_label() == "liquidation"]
    rows = sorted({order.filled_bar for order in orders})
    assert len(rows) > plots.MOST_MARKS
    assert np.asarray(marks.get_xdata()).tolist() == outcome.record.timestamp[rows].tolist()
    assert set(np.asarray(marks.get_ydata()).tolist()) == {0.025}  # of the height, not of the money
    assert axes.get_ylim() == plots.equity(outcome, SUBJECT).axes[0].get_ylim()


def test_the_waterfall_of_futures_hangs_each_step_where_the_one_before_it_ended(outcome):
    steps = {"gross": 500.0, "fees": -120.0, "slippage": -80.0, "funding": 30.0, "liquidation": -400.0, "net": -70.0}
    record = replace(outcome.record, used_margin=np.zeros(len(outcome.record.equity)))
    metrics = outcome.metrics | {f"waterfall_{name}": value for name, value in steps.items()}
    drawn = replace(outcome, record=record, metrics=metrics)
    axes = waterfall(drawn, SUBJECT).axes[0]
    bars: Any = axes.patches
    spans = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in bars]
    ends = np.cumsum(list(steps.values())[:-1])
    np.testing.assert_allclose(spans, [*zip([0, *ends[:-1]], ends, strict=True), (0, -70)])
    assert spans[-1][1] == pytest.approx(ends[-1])
    assert "−400" in [text.get_text() for text in axes.texts]
    assert list(plots.draw_all(drawn, SUBJECT)) == [*plots.PLOTS, "waterfall.png"]


@pytest.mark.parametrize("gross, liquidation", [(-500.0, 0.0), (-500.0, -100.0), (500.0, 0.0)])
def test_the_waterfall_leaves_room_above_its_labels_and_below_a_loss(outcome, gross, liquidation):
    steps = {"gross": gross, "fees": -80.0, "slippage": -80.0, "funding": -1.0, "liquidation": liquidation}
    metrics = outcome.metrics | {f"waterfall_{name}": value for name, value in steps.items()}
    net = sum(steps.values())
    axes = waterfall(replace(outcome, metrics=metrics | {"waterfall_net": net}), SUBJECT).axes[0]
    low, high = axes.get_ylim()
    lowest, highest = min(0.0, net), max(0.0, gross)
    assert high > highest + 0.1 * (highest - lowest)
    assert low == 0 if lowest == 0 else low < lowest - 0.1 * (highest - lowest)


def test_the_label_of_a_whole_loss_stays_inside_the_axes():
    figure = plots.drawdowns(ruined(), SUBJECT)
    axes = figure.axes[0]
    figure.draw_without_rendering()
    label = min(text.get_window_extent().y0 for text in axes.texts)
    assert label > axes.get_window_extent().y0


def test_rolling_sharpe_equals_pandas(outcome):
    days, found, window = plots.rolling_ratios(outcome)
    equity = pd.Series(outcome.record.equity, index=pd.DatetimeIndex(outcome.record.timestamp))
    daily = equity.groupby(equity.index.floor("D")).last()
    returns = daily / daily.shift(1).fillna(1e5) - 1
    rolling = returns.rolling(window)
    expected = rolling.mean() / rolling.std() * np.sqrt(365)
    assert window == 83  # a third of 250 days
    assert [str(day) for day in days] == [str(day.date()) for day in expected.index]
    np.testing.assert_allclose(found, expected.to_numpy(), rtol=1e-9)


def test_daily_turnover_by_hand(outcome):
    days, traded = plots.daily_turnover(outcome)
    orders = pd.DataFrame(
        [(outcome.record.timestamp[order.filled_bar], order.value) for order in outcome.record.orders],
        columns=["at", "value"],
    )
    value = orders.groupby(orders["at"].dt.floor("D"))["value"].sum()
    equity = pd.Series(outcome.record.equity, index=pd.DatetimeIndex(outcome.record.timestamp))
    before = equity.groupby(equity.index.floor("D")).last().shift(1, fill_value=outcome.initial_cash)
    expected = (value / before).reindex(pd.DatetimeIndex(days)).fillna(0)
    np.testing.assert_allclose(traded, expected.to_numpy(), rtol=1e-12)


def test_the_map_of_weights_by_hand():
    sizes = [[0.0, 0], [1, 0], [1, -3], [1, -3]]
    marks = [[np.nan, np.nan], [10, np.nan], [20, 10], [30, 10]]
    panel = panel_of(np.ones((4, 2)), symbols=["AUSDT", "BUSDT"])
    record = record_of([100, 100, 100, 100], sizes=sizes, marks=marks, symbols=panel.symbols)
    symbols, edges, shares = plots.weight_map(outcome_of(panel, record, initial_cash=100.0))
    assert symbols == ["AUSDT", "BUSDT"]  # equally large on average: by column
    np.testing.assert_allclose(shares, [[0, 0.1, 0.2, 0.3], [0, 0, -0.3, -0.3]])
    assert len(edges) == 5
    assert str(edges[-1]) == "2024-01-01T16:00:00.000000000"


def test_the_map_of_weights_averages_spans_and_keeps_the_largest():
    outcome = outcome_of(*simulated(1250, 40))
    symbols, edges, shares = plots.weight_map(outcome)
    values = outcome.record.sizes * np.nan_to_num(outcome.record.marks) / outcome.record.equity[:, None]
    mean = pd.Series(np.abs(values).mean(axis=0), outcome.record.symbols)
    assert symbols == list(mean.sort_values(ascending=False).index[: plots.MAP_ROWS])
    assert shares.shape == (plots.MAP_ROWS, plots.MAP_COLUMNS)
    column = outcome.record.symbols.index(symbols[0])
    np.testing.assert_allclose(shares[0, 1], values[2:5, column].mean(), rtol=1e-12)
    assert edges[2] == outcome.record.timestamp[5]


def test_falls_by_hand():
    below = np.array([0, -0.1, -0.3, 0, 0, -0.2, 0, -0.05, -0.4])
    assert plots.falls(below) == [(7, 8, 8), (1, 2, 3), (5, 5, 6)]
    assert plots.falls(np.zeros(4)) == []


def test_thinning_keeps_the_extremes_and_the_ends():
    values = np.random.default_rng(0).normal(size=100_000)
    stamps = np.arange(100_000).astype("datetime64[m]")
    days, shown = style.thin(stamps, values)
    assert len(shown) <= style.MOST_POINTS + 2
    assert (shown.min(), shown.max()) == (values.min(), values.max())
    assert (days[0], days[-1]) == (stamps[0], stamps[-1])
    assert (np.diff(days.astype(np.int64)) > 0).all()


@pytest.mark.parametrize(
    "value, words",
    [
        (100_000, "100,000"),
        (1_500_000, "1.5 M"),
        (2e9, "2 B"),
        (5e13, "50 T"),
        (0.5, "0.5"),
        (-2e6, "−2 M"),
        (-20_000, "−20,000"),
    ],
)
def test_words_of_money(value, words):
    assert style.money_words(value) == words


def test_words_of_percent():
    assert style.percent_words(-0.125) == "−12.5%"
    assert plots.cell_words(0.0123) == "+1.2"
    assert plots.cell_words(-2.5) == "−250"
