"""Trials on USDT-M futures against runs of the same strategies and metrics.py."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from Backtest.engine.numba import run
from Backtest.metrics import METRICS, compute_metrics
from Backtest.portfolio import parse_overlays
from Backtest.search import sweep
from Backtest.strategies import build_strategy
from Backtest.tests.engine.futures.made import funding, table, terms
from Backtest.tests.engine.futures.test_replay import case
from Backtest.tests.engine.market import costs, panel_of
from Backtest.tests.engine.test_replay import CASH, overlays_of

SEEDS = range(40)


def strategies_of(kind, values):
    """The strategy of a case, and others after it on the same thread: what the account holds begins anew for each."""
    wide = ("invest", "gross_leverage", "weight")
    steeper = {name: 2 * value for name, value in values.items() if name in wide and value is not None}
    each = {**values, "rebalance": "1"}
    return [build_strategy(kind, {}, {**values, **more}) for more in ({}, steeper, {**steeper, **each}, {})]


def same_as_the_run(panel, scores, strategies, found, *, made, charges, overlays=()):
    """Every metric of metrics.json but the times, to 1e-12; return the liquidations that were seen."""
    struck = 0
    for number, strategy in enumerate(strategies):
        record = run(panel, scores, strategy, costs=charges, initial_cash=CASH, futures=made, overlays=overlays)
        wanted = compute_metrics(
            record, benchmark=None, equal_weight=None, timeframe=panel.timeframe, initial_cash=CASH, risk_free=0.0
        )
        scale = 1.0 + sum(abs(order.value) for order in record.orders if order.status == "filled")
        assert set(found.names) == set(METRICS) - {"start", "end"}
        for name, value in zip(found.names, found.measures[number].tolist(), strict=True):
            right = wanted[name]
            if right is None:
                assert np.isnan(value), name
            else:
                slack = 1e-14 * scale if METRICS[name].unit == "quote" else 1e-12
                assert value == pytest.approx(right, rel=1e-11, abs=slack), (name, number)
        assert found.ruined[number] == record.ruined
        struck += sum(order.reason == "liquidation" for order in record.orders)
    return struck


@pytest.mark.parametrize("overlaid", [False, True])
def test_every_trial_on_futures_is_the_run_of_the_same_strategy(overlaid):
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        panel, scores, kind, values, charges, made, _ = case(seed)
        overlays = parse_overlays(overlays_of(seed, panel.timeframe.bars_per_day, share=0.3)) if overlaid else ()
        strategies, charges = strategies_of(kind, values), costs(**charges)
        found = [
            sweep(panel, {values["factor"]: scores}, strategies, costs=charges, initial_cash=CASH, futures=made,
                  overlays=overlays, workers=workers)
            for workers in (1, 2)
        ]  # fmt: skip
        assert found[0].measures.tobytes() == found[1].measures.tobytes()
        struck = same_as_the_run(panel, scores, strategies, found[0], made=made, charges=charges, overlays=overlays)
        seen.update({made.margin_mode: 1, "liquidated": struck > 0, "funded": bool(made.funding)})
    assert all(seen[name] >= 8 for name in ("cross", "isolated", "liquidated", "funded")), seen


def test_a_position_liquidated_on_the_bar_that_opened_it_is_no_change_of_position():
    """Bought at the open of the second bar, gone at its low: no close has seen it, and metrics.py counts closes."""
    closes = np.array([[100.0], [100.0], [100.0], [100.0]])
    lows = np.array([[100.0], [80.0], [100.0], [100.0]])
    panel = panel_of(opens=closes, highs=closes, lows=lows, closes=closes, symbols="A")
    made = terms("A", mode="isolated", leverage=10, tiers={"A": (table((0, 0.01, 20)),)}, taker=0.0005,
                 settled={"A": funding(panel.timestamp.astype(np.int64)[:2], [1e-4, 1e-4])})  # fmt: skip
    strategies = [build_strategy("topk", {}, {"factor": "x", "k": 1, "rebalance": "3", "invest": 2.0, "max_weight": 2})]
    found = sweep(panel, {"x": closes}, strategies, costs=costs(), initial_cash=CASH, futures=made)
    facts = dict(zip(found.names, found.measures[0].tolist(), strict=True))
    assert (facts["num_trades"], facts["num_orders"], facts["num_liquidations"]) == (0, 2, 1)
    assert same_as_the_run(panel, closes, strategies, found, made=made, charges=costs()) == 1
