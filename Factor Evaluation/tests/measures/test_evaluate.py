"""A whole evaluation: a planted factor, degenerate inputs, the JSON document, and the refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from factor_evaluation.measures import MEASURES, evaluate_factor, to_json
from factor_evaluation.measures.aligned import CONSTANT, FEW, MISSING, NO_RETURN, UNTRADABLE, align

from Backtest.errors import DataError, SettingsError

from .cases import clock, names

HORIZONS = {"1": 1, "3": 3, "1d": 6}


def returns_of(close, bars):
    label = np.full(close.shape, np.nan)
    label[:-bars] = close[bars:] / close[:-bars] - 1
    return label


def planted(symbols=20, bars=1500, share=0.1, seed=1):
    """A factor that knows a share of the next bar's return, and prices."""
    draw = np.random.default_rng(seed)
    steps = draw.standard_normal((bars, symbols))
    close = 100 * np.cumprod(1 + 0.01 * steps, axis=0)
    factor = math.sqrt(1 - share**2) * draw.standard_normal(steps.shape)
    factor[:-1] += share * steps[1:]
    return factor, close


def evaluation_of(factor, close, **changes):
    labels = {key: returns_of(close, bars) for key, bars in HORIZONS.items()}
    bars, symbols = factor.shape
    settings = {"labels": labels, "horizons": HORIZONS, "cost": 1e-4, "name": "planted", "bar_freq": "4h", **changes}
    return evaluate_factor(factor, clock(bars), names(symbols), **settings)


@pytest.fixture(scope="module")
def whole():
    factor, close = planted()
    groups = {symbol: "even" if place % 2 == 0 else "odd" for place, symbol in enumerate(names(20))}
    splits = ("month", "quarter", "year", "regime")
    return evaluation_of(factor, close, splits=splits, market=close[:, 0], groups=groups)


def test_the_planted_ic_is_in_its_interval(whole):
    summary = whole.horizons["1"].ic_summary
    assert summary.interval[0] < 0.1 < summary.interval[1]
    assert summary.p_value < 1e-8
    assert whole.kind == "cross_section"
    assert whole.notes == ()


def test_the_information_decays(whole):
    """Only the next bar is known: over h bars its share of the variance is 1 / h, so the IC falls as 1 / sqrt(h)."""
    rank_ic = whole.decay.rank_ic
    assert rank_ic[0] > rank_ic[1] > rank_ic[2] > 0
    assert rank_ic[1] / rank_ic[0] == pytest.approx(1 / math.sqrt(3), abs=0.12)
    assert 2 < whole.decay.half_life <= 5
    assert whole.decay.best_horizon == "1"


def test_spread_costs_and_curves_belong_together(whole):
    result = whole.horizons["1"]
    np.testing.assert_allclose(result.spread, result.quantile_return[:, -1] - result.quantile_return[:, 0])
    traded = 2 * (result.turnover[0] + result.turnover[-1])
    assert result.net_spread == pytest.approx(result.spread_summary.mean - 1e-4 * traded)
    assert result.break_even_cost == pytest.approx(result.spread_summary.mean / traded)
    assert result.spread_cumulative[-2] > result.net_cumulative[-2] > 0
    held = pd.Series(result.spread).fillna(0)
    np.testing.assert_allclose(result.spread_cumulative, (1 + held).cumprod() - 1, rtol=1e-12)
    assert result.monotonicity == 1.0
    assert result.monotonicity_p < 1e-6
    assert whole.turnover.tolist() == result.turnover.tolist()


def test_parts_add_up_to_the_whole(whole):
    for name in ("month", "quarter", "year"):
        split = whole.splits[name]
        assert sum(part.bars for part in split.parts) == 1500
        counts = [part.rank_ic["1"].count for part in split.parts]
        means = [part.rank_ic["1"].mean for part in split.parts]
        assert np.average(means, weights=counts) == pytest.approx(whole.horizons["1"].rank_ic_summary.mean, rel=1e-12)
        assert split.stability["1"] == np.mean([mean > 0 for mean in means])
    assert [part.label for part in whole.splits["quarter"].parts] == ["2023-Q1", "2023-Q2", "2023-Q3"]
    assert [part.label for part in whole.splits["volatility"].parts] == ["low", "middle", "high"]
    assert [part.label for part in whole.splits["trend"].parts] == ["down", "up"]
    thirds = [part.bars for part in whole.splits["volatility"].parts]
    assert max(thirds) - min(thirds) <= 1


def test_groups_are_evaluations_of_their_own_symbols(whole):
    factor, close = planted()
    labels = {key: returns_of(close, bars)[:, ::2] for key, bars in HORIZONS.items()}
    even = evaluate_factor(factor[:, ::2], clock(1500), names(10), labels=labels, horizons=HORIZONS)
    assert [part.label for part in whole.groups.parts] == ["even", "odd"]
    assert whole.groups.parts[0].rank_ic["3"].mean == even.horizons["3"].rank_ic_summary.mean


def test_the_document_has_the_fixed_names_and_no_nan(whole):
    document = to_json(whole, {"ic": {"x": [1]}})
    text = json.dumps(document, allow_nan=False)
    assert json.loads(text) == document
    assert list(document)[:13] == [
        "factor", "bar_freq", "start", "end", "symbols", "rows", "dropped", "horizons", "turnover",
        "rank_autocorrelation", "decay", "splits", "figures",
    ]  # fmt: skip
    assert list(document["horizons"]["1d"])[:18] == [
        "bars", "ic_mean", "ic_std", "icir", "ic_t_newey_west", "ic_p_value", "ic_hit_rate", "rank_ic_mean",
        "rank_ic_std", "rank_icir", "rank_ic_t_newey_west", "rank_ic_p_value", "rank_ic_hit_rate",
        "quantile_mean_return", "quantile_std_error", "spread_mean", "spread_t", "monotonicity_p",
    ]  # fmt: skip
    assert document["horizons"]["1d"]["bars"] == 6
    assert document["start"] == "2023-01-01T00:00:00Z"
    assert set(document["decay"]) >= {"horizon", "rank_ic", "half_life"}
    numbers = [
        key for key in document["horizons"]["1"] if key not in ("bars", "rows", "dropped", "newey_west_lag", "ic_bars")
    ]
    assert [key for key in numbers if key.removeprefix("rank_").removesuffix("_value") not in _explained()] == []


def _explained():
    """Names that MEASURES explains, with the shortenings that a horizon's keys have."""
    held = {name.removeprefix("rank_").removesuffix("_value") for name in MEASURES}
    return held | {"ic_interval", "spread_p"}


def test_every_measure_names_a_function_that_exists():
    from factor_evaluation.measures import decay, fused, permutation, quantiles, significance, splits

    for row in MEASURES.values():
        assert any(
            hasattr(module, row.function) for module in (decay, fused, permutation, quantiles, significance, splits)
        )
        assert row.formula


@pytest.mark.parametrize("symbols", [1, 3])
def test_few_symbols_are_measured_over_time_and_say_so(symbols):
    factor, close = planted(symbols, 2000, 0.2)
    factor[::17, 0] = np.nan
    made = evaluation_of(factor, close)
    assert made.kind == "time_series"
    assert f"{symbols} symbol" in made.notes[0]
    result, label = made.horizons["3"], returns_of(close, 3)
    pearson = [pd.Series(factor[:, s]).corr(pd.Series(label[:, s])) for s in range(symbols)]
    spearman = [pd.Series(factor[:, s]).where(np.isfinite(label[:, s])).corr(pd.Series(label[:, s]), method="spearman")
                for s in range(symbols)]  # fmt: skip
    assert result.ic_summary.mean == pytest.approx(np.mean(pearson), abs=1e-12)
    assert result.rank_ic_summary.mean == pytest.approx(np.mean(spearman), abs=1e-12)
    assert made.horizons["1"].ic_summary.p_value < 1e-6
    low, high = made.horizons["1"].ic_summary.interval
    assert low < 0.2 < high
    if symbols == 1:
        bucket = pd.qcut(pd.Series(factor[:, 0]), 5, labels=False)
        own = pd.Series(label[:, 0]).groupby(bucket).mean()
        np.testing.assert_allclose(result.quantile_mean, own, atol=2e-4)
        assert result.spread_summary.mean == pytest.approx(result.quantile_mean[-1] - result.quantile_mean[0], rel=1e-9)
        assert made.rank_autocorrelation == pytest.approx(
            pd.concat([pd.Series(factor[1:, 0]), pd.Series(factor[:-1, 0])], axis=1)
            .dropna()
            .corr("spearman")
            .iloc[0, 1]
        )
    json.dumps(to_json(made), allow_nan=False)


def test_over_time_nobody_could_have_traded_and_so_nothing_is_said_of_cost():
    """Where a quantile begins is known only at the end; with a cross-section the same factor has all these numbers."""
    factor, close = planted(5, 400, 0.2)
    costs = {}
    for symbols in (4, 5):
        made = evaluation_of(factor[:, :symbols], close[:, :symbols], cost=0.001)
        found = to_json(made)
        costs[symbols] = [
            value for one in found["horizons"].values() for value in (one["break_even_cost"], one["net_spread"])
        ] + [*found["decay"]["net_spread_per_bar"], made.horizons["1"].net_cumulative[0]]
        assert ("break-even cost and net spread are missing" in " ".join(made.notes)) is (symbols == 4)
        assert all(one["spread_mean"] is not None and None not in one["turnover"] for one in found["horizons"].values())
    assert all(value is None or np.isnan(value) for value in costs[4])
    assert all(np.isfinite(value) for value in costs[5])
    assert to_json(evaluation_of(factor[:, :4], close[:, :4], cost=0.001))["decay"]["best_horizon"] is None


@pytest.mark.parametrize("symbols", [1, 8])
@pytest.mark.parametrize("kind", ["all equal", "constant price", "tied in halves"])
def test_degenerate_inputs_give_missing_values_and_no_traceback(symbols, kind):
    factor, close = planted(symbols, 200)
    if kind == "all equal":
        factor = np.full(factor.shape, 2.5)
    elif kind == "constant price":
        close = np.full(close.shape, 100.0)
    else:
        factor = np.where(np.arange(symbols) < symbols / 2, 1.0, 2.0) * np.ones(factor.shape)
    made = evaluation_of(factor, close, splits=("month", "regime"), market=close[:, 0])
    document = to_json(made)
    json.dumps(document, allow_nan=False)
    ic = document["horizons"]["1"]["rank_ic_mean"]
    assert (ic is None) == (kind != "tied in halves" or symbols == 1)
    if kind == "all equal":
        assert "the factor has the same value everywhere: no correlation exists" in made.notes
        assert document["horizons"]["1"]["spread_mean"] is None


def test_the_contract_counts_what_it_drops():
    factor, close = planted(8, 100)
    labels = {"1": returns_of(close, 1), "3": returns_of(close, 3)}
    factor[:10] = np.nan
    factor[20, 2:] = np.nan
    factor[30] = 7.0
    tradable = np.ones(factor.shape, bool)
    tradable[40, :3] = False
    made = align(factor, labels, quantiles=4, tradable=tradable)
    assert made.dropped == {MISSING: 86, UNTRADABLE: 3, FEW: 2, CONSTANT: 8}
    assert made.no_return == {"1": 8, "3": 24}
    assert made.pairs == {"1": 800 - 86 - 3 - 2 - 8 - 8, "3": 800 - 86 - 3 - 2 - 8 - 24}
    assert made.dropped_at("3")[NO_RETURN] == 24


def test_a_large_loss_is_refused_with_its_reasons():
    factor, close = planted(8, 100)
    factor[:60] = np.nan
    with pytest.raises(
        DataError, match=r"x: 61\.0% of 800 .*factor missing 480, no forward return 8.*max_loss allows 0\.5"
    ):
        align(factor, {"1": returns_of(close, 1)}, quantiles=5, name="x")
    assert align(factor, {"1": returns_of(close, 1)}, quantiles=5, max_loss=0.7).pairs == {"1": 312}
    with pytest.raises(DataError, match="no symbol has"):
        align(np.full((4, 5), np.nan), {"1": np.full((4, 5), np.nan)}, quantiles=5)
    with pytest.raises(DataError, match="shape"):
        align(factor, {"1": np.ones((3, 3))}, quantiles=5)


@pytest.mark.parametrize("changes, words", [
    ({"splits": ("weekly",)}, "time split 'weekly' is unknown"),
    ({"quantiles": 1}, "1 quantiles"),
    ({"horizons": {"9": 9}}, "no forward return for horizon '9'"),
    ({"horizons": {}}, "no horizon"),
])  # fmt: skip
def test_refusals(changes, words):
    factor, close = planted(6, 50)
    with pytest.raises(SettingsError, match=words):
        evaluation_of(factor, close, **changes)


def test_regimes_without_a_market_are_left_out_and_say_so():
    factor, close = planted(6, 60)
    made = evaluation_of(factor, close, splits=("regime",))
    assert made.splits == {}
    assert "no close of the market was given: the split by regime is left out" in made.notes


def test_a_small_cross_section_has_an_exact_p_value():
    factor, close = planted(5, 120)
    made = evaluation_of(factor, close)
    assert 0 <= made.horizons["1"].rank_ic_summary.permutation_p <= 1
    assert math.isnan(replace(made.horizons["1"].ic_summary).permutation_p)


def test_a_factor_of_two_values_says_how_few_bars_have_both_ends():
    """Of 20 names 10 share each value: both sit in the middle quantiles of five, and at the ends of two."""
    factor, close = planted()
    split = np.where(factor > np.median(factor, axis=1, keepdims=True), 1.0, -1.0)
    five, two = evaluation_of(split, close), evaluation_of(split, close, quantiles=2)
    assert len(five.notes) == 1
    assert five.notes[0].startswith("0 of 1,500 bars have both a lowest and a highest of 5 quantiles, because values")
    assert to_json(five)["horizons"]["1"]["spread_bars"] == 0
    assert np.isnan(five.horizons["1"].spread_cumulative).all()
    assert two.notes == ()
    assert to_json(two)["horizons"]["1"]["spread_bars"] == 1499


def test_horizons_without_an_ic_are_named_in_one_line():
    factor, close = planted(bars=50)
    notes = evaluation_of(np.ones_like(factor), close).notes
    assert [note for note in notes if "horizon" in note] == ["no bar has an IC at horizon 1, 3, 1d"]
