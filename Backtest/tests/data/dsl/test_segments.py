"""Which steps are computed together, by hand."""

from __future__ import annotations

from pathlib import Path

from Backtest.data.dsl.blocks import Blocks, working_bytes
from Backtest.data.dsl.plan import Plan
from Backtest.data.dsl.segments import live_arrays, reaches, runs, segments
from Backtest.data.factors import compile_recipe
from Backtest.data.kernels.context import FLOAT
from Backtest.tests.data.small_panel import recipe_of


def plan_of(folder: Path, **expressions: str) -> Plan:
    return compile_recipe(recipe_of(folder, **expressions), allow_modules=(), max_window=1000)


def chains(plan: Plan) -> list[tuple[bool, list[str]]]:
    """Return for each run of the first segment whether it is a chain, and its operators."""
    found = runs(plan, segments(plan)[0])
    return [(chained, [plan.steps[number].operator.name for number in numbers]) for chained, numbers in found]


def test_what_needs_fields_alone_waits_for_its_reader(tmp_path: Path) -> None:
    """`high - low` comes first in the expression, and stays inside the chain that divides it."""
    assert chains(plan_of(tmp_path, x="(high - low) / ts_std(close, 40)")) == [
        (False, ["ts_std"]), (True, ["sub", "div"]),
    ]  # fmt: skip
    assert chains(plan_of(tmp_path, x="abs(high - low) + ts_mean(close, 5)")) == [
        (True, ["ts_mean", "sub", "abs", "add"])
    ]


def test_memory_counts_the_rows_that_are_kept_from_tile_to_tile(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, x="ts_std(close, 50)")
    assert live_arrays(plan) == (2, 0)
    assert sum(reaches(plan).values()) == 49
    # Two arrays of a step and its operand, one of scratch, each 10 rows behind 49; and 49 rows of close: 2 symbols.
    assert working_bytes(plan, Blocks(10, 2), 1000, 2) == FLOAT * (59 * 3 * 2 + 49 * 2)
