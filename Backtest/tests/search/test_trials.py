"""A sweep's trials against runs of the same strategies, and its measures against metrics.py."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from Backtest.comparison import buy_and_hold, equal_weight
from Backtest.engine.numba import plans, run
from Backtest.errors import RunError
from Backtest.metrics import SPOT_METRICS, compute_metrics
from Backtest.portfolio import parse_overlays
from Backtest.search import measures, sweep, trials
from Backtest.strategies import CrossSection, build_strategy
from Backtest.tests.engine.market import costs, panel_of, random_walk
from Backtest.tests.engine.test_replay import CASH, case, overlays_of

RISK_FREE = 0.03
GRID = [
    ("topk", {"k": k, "weighting": weighting, "rebalance": every, "ascending": turned, "max_weight": cap})
    for k, weighting, every, turned, cap in (
        (1, "equal", "1", False, 1.0), (3, "score", "1d", True, 0.4), (2, "rank", "3", False, 0.3),
        (9, "inverse_vol", "1d", False, 1.0), (2, "equal", "1w", True, 1.0), (1, "equal", "1M", False, 0.5),
    )
] + [
    ("longshort", {"k": 1, "rebalance": "2"}), ("longshort", {"quantile": 0.5, "weighting": "score"}),
    ("longshort", {"k": 2, "weighting": "inverse_vol", "ascending": True, "gross_leverage": 1.8}),
    ("signal", {"upper": 0.3, "lower": -0.3, "rebalance": "1"}), ("signal", {"upper": 0.0, "lower": -np.inf}),
]  # fmt: skip


@dataclass(frozen=True)
class Momentum:
    """A user's strategy, with weights that depend on what is held."""

    factor: str = "x"
    rebalance: str = "2"
    volatility_days: float = 0.0
    wanted: int = 0

    def target_weights(self, section: CrossSection):
        """Half of what is held, and a little of what scores."""
        scored = np.where(np.isfinite(section.scores) & section.tradable, 0.05, np.nan)
        return np.where(section.tradable, section.weights / 2 + scored, np.nan)


def strategies_of(every: float):
    """The grid, with volatility windows that a random market of some weeks can fill."""
    built = [build_strategy(kind, {}, {"factor": "x", **values}) for kind, values in GRID]
    return [*built, Momentum()]


def expected(panel, scores, strategy, terms, curves, overlays=()):
    """What a run and metrics.py say."""
    record = run(panel, scores, strategy, costs=terms, initial_cash=CASH, overlays=overlays)
    found = compute_metrics(record, benchmark=curves[0], equal_weight=curves[1], timeframe=panel.timeframe,
                            initial_cash=CASH, risk_free=RISK_FREE)  # fmt: skip
    return found, record.ruined


def check(found, number, wanted, ruined):
    """Every metric of spot but the times, to 1e-12."""
    assert set(measures.MEASURED) == set(SPOT_METRICS) - {"start", "end"}
    for place, name in enumerate(measures.MEASURED):
        value, right = found.measures[number, place], wanted[name]
        if right is None:
            assert np.isnan(value), name
        else:
            assert value == pytest.approx(right, rel=1e-12, abs=1e-12), (name, number)
    assert found.ruined[number] == ruined


@pytest.mark.parametrize("seed", range(8))
def test_every_trial_is_the_run_of_the_same_strategy(seed):
    panel, scores, _, _, terms = case(seed)
    terms = costs(**terms)
    strategies = strategies_of(panel.timeframe.bars_per_day)
    window = panel.rows(panel.warmup, len(panel.age))
    curves = (buy_and_hold(window, panel.symbols[0], CASH), equal_weight(window, CASH))
    found = sweep(panel, {"x": scores}, strategies, costs=terms, initial_cash=CASH, benchmark=curves[0],
                  equal_weight=curves[1], risk_free=RISK_FREE)  # fmt: skip
    for number, strategy in enumerate(strategies):
        check(found, number, *expected(panel, scores, strategy, terms, curves))


@pytest.mark.parametrize("seed", range(8))
def test_every_trial_with_overlays_is_the_run_of_the_same_strategy(seed):
    """The trials of a thread follow each other: what the overlays remember begins anew for each."""
    panel, scores, _, _, terms = case(seed)
    terms, overlays = costs(**terms), parse_overlays(overlays_of(seed, panel.timeframe.bars_per_day, share=0.6))
    strategies = strategies_of(panel.timeframe.bars_per_day)
    found = [
        sweep(panel, {"x": scores}, strategies, costs=terms, initial_cash=CASH, risk_free=RISK_FREE, workers=workers,
              overlays=overlays)
        for workers in (1, 3)
    ]  # fmt: skip
    assert found[0].measures.tobytes() == found[1].measures.tobytes()
    for number, strategy in enumerate(strategies):
        check(found[0], number, *expected(panel, scores, strategy, terms, (None, None), overlays))


def long_market(rows: int = 3_000):
    """Hourly bars of four months, so that months, tails and shapes have values."""
    opens, highs, lows, closes = random_walk(5, rows, 6)
    return panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABCDEF")


def test_measures_of_months_and_any_number_of_workers():
    panel = long_market()
    scores = {name: np.random.default_rng(seed).standard_normal(panel.shape) for seed, name in enumerate("xy")}
    strategies = [
        build_strategy("topk", {}, {"factor": factor, "k": k, "rebalance": every})
        for factor in "xy" for k in (5, 1, 2) for every in ("7", "24", "1d") for _ in range(3)
    ]  # fmt: skip
    terms = costs(commission=0.0003, slippage=0.0002)
    found = [
        sweep(panel, scores, strategies, costs=terms, initial_cash=CASH, risk_free=RISK_FREE, workers=workers)
        for workers in (1, 4)
    ]
    assert found[0].measures.tobytes() == found[1].measures.tobytes()
    for number in range(0, len(strategies), 5):
        strategy = strategies[number]
        check(found[0], number, *expected(panel, scores[strategy.factor], strategy, terms, (None, None)))
    names = dict(zip(measures.MEASURED, found[0].measures[0].tolist(), strict=True))
    assert abs(names["skewness"]) > 1e-3
    assert names["best_month"] > names["worst_month"]


def test_a_ranking_is_made_once_for_each_direction(monkeypatch):
    panel, made = long_market(200), []
    ranking_of = plans.ranking_of
    monkeypatch.setattr(trials, "ranking_of", lambda *parts: made.append(parts[1:]) or ranking_of(*parts))
    strategies = [
        build_strategy("topk", {}, {"factor": "x", "k": k, "ascending": turned, "weighting": weighting})
        for k in (1, 4, 2) for turned in (False, True) for weighting in ("equal", "rank")
    ]  # fmt: skip
    sweep(panel, {"x": panel.fields["close"]}, strategies, costs=costs(), initial_cash=CASH)
    assert sorted(made) == [(False, False, 5), (False, True, 5)]


def test_progress_is_told_and_nothing_asked_is_nothing_done():
    panel = long_market(100)
    counts: list[int] = []
    strategies = [build_strategy("signal", {}, {"factor": "x"})] * 40
    sweep(panel, {"x": panel.fields["close"]}, strategies, costs=costs(), initial_cash=CASH, done=counts.append)
    assert sum(counts) == 40
    assert sweep(panel, {}, [], costs=costs(), initial_cash=CASH).measures.shape == (0, len(measures.MEASURED))


def test_an_equity_that_is_no_number_is_named():
    panel = panel_of({"A": [1.0, 1.0, 1e300, 1e300, 1e300], "B": [1e308, 1e308, 1e308, 1e308, 1e308]})
    strategies = [build_strategy("topk", {}, {"factor": "x", "k": 1, "rebalance": "1"})]
    scores = np.zeros((5, 2))
    terms = costs(lot_step=1e-300)
    with pytest.raises(RunError, match=r"equity of trial 1 .*k=1.* is not a number"):
        sweep(panel, {"x": scores}, strategies, costs=terms, initial_cash=1e200)
