"""The shipped recipe as a plan: its fields and cost, no look-ahead, what it does without a symbols table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from Backtest.data.causality import check_causality
from Backtest.data.factors import compute
from Backtest.data.panel import Panel
from Backtest.errors import ExpressionError, RecipeError

from ..small_panel import small_panel
from .market import SECTORS
from .runs import SUPPLY, TABLE, MarketTable, planned, shipped


@pytest.fixture(scope="module")
def gapped() -> Panel:
    """Nine symbols with gaps, a late listing and a relisting, long enough for the longest look-back."""
    panel = small_panel(420, 9)
    rows, columns = panel.shape
    groups = np.tile(np.arange(columns) % SECTORS, (rows, 1)).astype(float)
    quote = panel.fields["volume"] * (panel.fields["high"] + panel.fields["low"]) / 2
    more = {"quote_asset_volume": quote, "sector": groups, "subindustry": groups, "supply": groups + 1e6}
    return replace(panel, fields={**panel.fields, **more})


def test_shape() -> None:
    plan = planned(shipped())
    assert plan.dialect == "alpha101"
    assert plan.fields == {
        "open", "high", "low", "close", "volume", "quote_asset_volume", "sector", "subindustry", "supply",
    }  # fmt: skip
    assert plan.cross_symbol
    assert plan.skipped == {}


def test_no_look_ahead(gapped: Panel) -> None:
    verdict = check_causality(planned(shipped()), gapped, count=2, gap_tolerance=0.1)
    assert verdict.violations == ()
    assert verdict.untested == {}


def test_gaps_leave_no_factor_empty(gapped: Panel) -> None:
    values = compute(planned(shipped()), gapped, gap_tolerance=0.1).values
    empty = {name for name, array in values.items() if np.isnan(array).all()}
    assert empty == set()
    assert {name for name, array in values.items() if np.unique(array[~np.isnan(array)]).size == 1} == {
        "alpha007",
        "alpha068",
        "alpha086",
    }, "prices near 100: the dollar volume of alpha007 is always above the volume; see the recipe on the others"


def test_without_supply_alpha056_is_left_out_by_name() -> None:
    plan = planned(shipped(), table=MarketTable(TABLE, hint="add a column"))
    assert plan.skipped == {"alpha056": "it needs supply, and nothing fills that; add a column"}
    assert len(plan.factors) == 100
    assert "alpha056" not in {factor.name for factor in plan.factors}


def test_without_sectors_it_says_what_is_needed() -> None:
    with pytest.raises(ExpressionError, match="needs the column 'subindustry' or 'industry' or 'sector' of a symbols"):
        planned(shipped(), table=MarketTable((SUPPLY,)))


def test_nothing_is_left() -> None:
    recipe = shipped()
    only = replace(recipe, factors=tuple(spec for spec in recipe.factors if spec.needs))
    with pytest.raises(RecipeError, match="every factor is left out; alpha056: it needs supply"):
        planned(only, table=MarketTable(TABLE))


def test_a_factor_that_names_one_that_is_left_out() -> None:
    recipe = shipped()
    last = replace(recipe.factors[-1], expression="alpha056 * 2")
    with pytest.raises(ExpressionError, match="'alpha056' is left out of this run: it needs supply"):
        planned(replace(recipe, factors=(*recipe.factors[:-1], last)), table=MarketTable(TABLE))
