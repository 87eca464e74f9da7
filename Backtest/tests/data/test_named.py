"""``of`` and ``beta_to``: another symbol's series, whoever else is in the run and however the work is cut."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Backtest.data.causality import Verdict, check_causality
from Backtest.data.dsl.explain import explain
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import FactorValues, compile_recipe, compute
from Backtest.data.panel import Panel
from Backtest.errors import DataError, ExpressionError

from .small_panel import recipe_of, small_panel

NAMED = "S02USDT"  # has two listing episodes and holes
EXPRESSIONS = {
    "other": f'of("{NAMED}", close)',
    "beta": f'beta_to("{NAMED}", returns(close, 1), 30)',
    "late": f'ts_mean(of("{NAMED}", ts_max(high, 5)) / close, 7)',
    "twice": f'of("{NAMED}", close) - of("S01USDT", ts_mean(of("{NAMED}", volume), 3))',
    "undefined": "log(close - close)",
}


def plan_of(folder: Path, **expressions: str) -> Plan:
    return compile_recipe(recipe_of(folder, **expressions), allow_modules=(), max_window=1000)


def computed(plan: Plan, panel: Panel, **more: int) -> FactorValues:
    return compute(plan, panel, gap_tolerance=0.1, **more)


def alone(panel: Panel, symbol: str, plan: Plan) -> Panel:
    """Return the panel of a task with one symbol: the symbols that the plan names are loaded, not asked for."""
    part = panel.columns(tuple(sorted({symbol, *plan.extra_symbols})))
    member = np.repeat(np.array([[name == symbol for name in part.symbols]]), panel.shape[0], axis=0)
    return dataclasses.replace(part, member=member)


def test_values_against_pandas(tmp_path: Path) -> None:
    panel = small_panel()
    values = computed(plan_of(tmp_path, **EXPRESSIONS), panel).values
    close = pd.DataFrame(panel.fields["close"], columns=panel.symbols)
    exists = panel.exists
    np.testing.assert_array_equal(values["other"], np.where(exists, close[[NAMED]].to_numpy(), np.nan))
    whole = small_panel(quirks=False)
    close = pd.DataFrame(whole.fields["close"], columns=whole.symbols)
    change = close.pct_change(fill_method=None)
    want = change.apply(lambda one: one.rolling(30).cov(change[NAMED]) / change[NAMED].rolling(30).var())
    got = computed(plan_of(tmp_path, beta=EXPRESSIONS["beta"]), whole).values["beta"]
    np.testing.assert_allclose(got[30:], want.to_numpy()[30:], rtol=1e-9)
    np.testing.assert_allclose(got[30:, 2], 1.0, rtol=1e-12)


def test_beta_to_is_what_it_stands_for(tmp_path: Path) -> None:
    ret = "returns(close, 1)"
    short, long = f'beta_to("{NAMED}", {ret}, 30)', f'ts_beta({ret}, of("{NAMED}", {ret}), 30)'
    plan = plan_of(tmp_path, short=short, long=long)
    first, second = plan.factors
    assert first.step == second.step, "one computation"
    assert (plan.lookback, plan.extra_symbols, plan.cross_symbol) == (30, (NAMED,), False)


def test_the_rest_of_the_run_changes_no_bit(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, **EXPRESSIONS), small_panel()
    assert plan.extra_symbols == ("S01USDT", NAMED)
    whole = computed(plan, panel)
    counts = dict.fromkeys(EXPRESSIONS, 0)
    for symbol in panel.symbols:
        one = alone(panel, symbol, plan)
        column = one.symbols.index(symbol)
        values = computed(plan, one)
        for name in EXPRESSIONS:
            expected = np.ascontiguousarray(whole.values[name][:, panel.symbols.index(symbol)])
            assert np.ascontiguousarray(values.values[name][:, column]).tobytes() == expected.tobytes(), (name, symbol)
            counts[name] += values.counts.get(name, {}).get("undefined", 0)
    assert counts["undefined"] > 0
    assert {name: {"undefined": count} for name, count in counts.items() if count} == whole.counts


def test_blocks_starts_and_the_future_change_no_bit(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, **EXPRESSIONS), small_panel()
    whole = computed(plan, panel)
    for rows, symbols in [(1, 3), (37, 1), (64, 2), (399, 5)]:
        cut = computed(plan, panel, block_rows=rows, block_symbols=symbols)
        assert cut.counts == whole.counts
        assert all(cut.values[name].tobytes() == whole.values[name].tobytes() for name in whole.names)
    assert check_causality(plan, panel, count=8, gap_tolerance=0.1) == Verdict((), {})


def test_what_is_said_before_data_are_read(tmp_path: Path) -> None:
    text = explain(plan_of(tmp_path, **EXPRESSIONS))
    assert "each symbol on its own" in text
    assert "symbols    S01USDT, S02USDT besides the run's own" in text
    assert f'of("{NAMED}", close)  (used 2 times)' in text
    for expression, words in {
        "of(close, close)": "'symbol' of of must be a symbol's name in quotes; found a series",
        'of("BTC/USDT", close)': "symbol 'BTC/USDT' is not allowed",
        'of("BTCUSDT", 3)': "'x' of of must be a series; found the number 3",
        'beta_to("BTCUSDT", close)': "beta_to needs 'd': beta_to(symbol, x, d, *, min_periods=None)",
        'beta_to("BTCUSDT", close, 5, min_periods=6)': "min_periods=6 can never be met in a window of 5 bars",
    }.items():
        with pytest.raises(ExpressionError) as found:
            plan_of(tmp_path, x=expression)
        assert words in str(found.value)
    with pytest.raises(DataError, match="the panel has no BTCUSDT; the recipe names it"):
        computed(plan_of(tmp_path, x='of("BTCUSDT", close)'), small_panel())
