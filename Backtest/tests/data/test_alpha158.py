"""Alpha158 as a shipped recipe: its shape, its cost in steps, no look-ahead. Its values: `test_qlib_values`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from Backtest.data.causality import check_causality
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.settings import PROJECT_ROOT

from .small_panel import small_panel


@pytest.fixture(scope="module")
def plan() -> Plan:
    recipe = load_recipe(PROJECT_ROOT / "config" / "recipes" / "alpha158.yaml")
    return compile_recipe(recipe, allow_modules=(), max_window=100)


@pytest.fixture(scope="module")
def panel() -> Panel:
    whole = small_panel(300, 4)
    quote = whole.fields["volume"] * whole.fields["close"]
    return replace(whole, fields={**whole.fields, "quote_asset_volume": quote})


def test_shape(plan: Plan) -> None:
    assert plan.dialect == "qlib"
    assert len(plan.factors) == 158
    assert plan.factors[0].name == "KMID"
    assert plan.factors[-1].name == "VSUMD60"
    assert plan.fields == {"open", "high", "low", "close", "volume", "quote_asset_volume"}
    assert plan.lookback == 60
    assert not plan.cross_symbol
    # Each Greater, Abs, Ref and window stands once, whichever of the 158 name it.
    assert len(plan.needed) < 3 * 158


def test_no_look_ahead(plan: Plan, panel: Panel) -> None:
    verdict = check_causality(plan, panel, count=3, gap_tolerance=0.1)
    assert verdict.violations == ()
    assert verdict.untested == {}


def test_values_where_there_is_history(plan: Plan, panel: Panel) -> None:
    """min_periods 1: on the fourth bar of a listing only the closes of 5 and more bars ago are missing."""
    values = compute(plan, panel, gap_tolerance=0.1).values
    missing = {factor.name for factor in plan.factors if np.isnan(values[factor.name][3, 0])}
    assert missing == {f"ROC{window}" for window in (5, 10, 20, 30, 60)}


def test_the_expression_stays_as_written(plan: Plan) -> None:
    assert next(one for one in plan.factors if one.name == "ROC20").expression == "Ref($close, {window})/$close"
