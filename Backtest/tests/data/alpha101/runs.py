"""The shipped recipe computed on the market of these tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.fields import Fields
from Backtest.data.panel import Floats, Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.recipe_spec import Recipe
from Backtest.data.schema import FieldSource

RECIPE = Path(__file__).parents[4] / "config" / "recipes" / "alpha101.yaml"
TABLE = (FieldSource("sector", "group", "the test"), FieldSource("subindustry", "group", "the test"))
SUPPLY = FieldSource("supply", "series", "the test")


@dataclass(frozen=True)
class MarketTable:
    """What a symbols table would fill, taken from the market itself."""

    sources: tuple[FieldSource, ...] = (*TABLE, SUPPLY)
    hint: str = ""

    def fill(self, name: str, panel: Panel) -> Floats:
        """The panel has it already."""
        return panel.fields[name]

    def fingerprint(self, names: Collection[str]) -> Mapping[str, str]:
        """Nothing to tell."""
        return {}


def shipped() -> Recipe:
    """Return the shipped recipe."""
    return load_recipe(RECIPE)


def planned(recipe: Recipe, *, table: MarketTable | None = None) -> Plan:
    """Return the plan of a recipe over the market's fields."""
    fields = Fields((table or MarketTable(),))
    return compile_recipe(recipe, allow_modules=(), max_window=10_000, fields=fields)


def computed(recipe: Recipe, panel: Panel) -> Mapping[str, Floats]:
    """Return factor -> float64 [T, S]."""
    return compute(planned(recipe), panel, gap_tolerance=0.1).values


def reworded(recipe: Recipe, expressions: Mapping[str, str]) -> Recipe:
    """Return the recipe with these factors only, with these expressions."""
    factors = (spec for spec in recipe.factors if spec.name in expressions)
    return replace(recipe, factors=tuple(replace(spec, expression=expressions[spec.name]) for spec in factors))
