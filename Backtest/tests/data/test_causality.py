"""Planted leaks are caught, each by its kind and place; what is honest passes, every shipped recipe included."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from Backtest.data.causality import Verdict, check_causality
from Backtest.data.clock import parse_time
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import compile_recipe
from Backtest.data.fields import Fields
from Backtest.data.panel import Panel
from Backtest.data.reach import Reach
from Backtest.data.recipe import load_recipe
from Backtest.data.schema import FIELDS
from Backtest.data.stamped import Stamped
from Backtest.data.stamped_fields import FUNDING, INTEREST, StampedFields
from Backtest.data.symbols_table import load_symbols_table
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import DataError, RecipeError
from Backtest.settings import PROJECT_ROOT, CoreSettings
from Backtest.tests.data.small_panel import small_panel

MODULE = "Backtest.tests.data.sample_modules.leaks"
COUNT = 10
ALONE = "  - {{name: a, type: library_function, source: '{source}'}}\n"
LOOK_AHEAD = (
    "negative_index", "full_sample_zscore", "centred_window", "backfilled", "rolled", "future_max",
    "reversed_cumulative_sum", "interpolated_gaps", "whole_sample_percentile", "whole_sample_rank",
    "coarse_bar_at_its_start", "joined_one_bar_early", "mean_of_all_symbols_and_times", "central_difference",
    "detrended", "low_passed", "smoothed_both_ways", "share_of_the_sample", "best_window", "remembers_the_first_call",
    "knows_of_gaps", "marks_before_a_jump", "blank_before_a_jump",
)  # fmt: skip
LOOK_BACK = (
    "off_by_one", "too_short", "endless_average", "expanding", "change_from_the_last_price", "bars_of_rise",
)  # fmt: skip
HONEST = (
    "honest_mean", "honest_average", "honest_expanding", "honest_forward_fill", "honest_coarse_join", "honest_spread",
    "honest_cumulative_difference",
)  # fmt: skip


def plan_of(folder: Path, body: str) -> Plan:
    path = folder / "recipe.yaml"
    path.write_text(body, encoding="utf-8")
    return compile_recipe(load_recipe(path), allow_modules=(MODULE,), max_window=1000)


def alone(folder: Path, name: str) -> Plan:
    return plan_of(folder, "factors:\n" + ALONE.format(source=f"{MODULE}:{name}"))


def verdict_of(plan: Plan, panel: Panel | None = None, count: int = COUNT) -> Verdict:
    return check_causality(plan, panel or small_panel(), count=count, gap_tolerance=0.1)


@pytest.mark.parametrize("name", LOOK_AHEAD)
def test_what_peeks_is_caught(tmp_path: Path, name: str) -> None:
    panel = small_panel()
    violations = {one.kind: one for one in verdict_of(alone(tmp_path, name), panel).violations}
    found = violations["look-ahead"]
    assert (found.factor, found.what, found.affects) == ("a", "factor", ("a",))
    assert found.symbol in panel.symbols
    assert found.cut is not None
    assert found.timestamp is not None
    assert parse_time(found.timestamp) < parse_time(found.cut), "the value stood before the bars that were cut off"
    assert found.cells > 0
    assert found.value != found.other
    assert found.words.startswith("factor 'a' changes when later bars are cut off (cut at 19")
    assert f"{found.symbol} at {found.timestamp}, {found.value} becomes {found.other}" in found.words


@pytest.mark.parametrize("name", LOOK_BACK)
def test_a_look_back_that_is_too_short_is_caught(tmp_path: Path, name: str) -> None:
    verdict = verdict_of(alone(tmp_path, name))
    (found,) = verdict.violations
    assert found.kind == "look-back"
    assert found.symbol is not None
    assert found.cut is not None
    assert parse_time(str(found.timestamp)) >= parse_time(found.cut)
    assert "changes when bars before its stated look-back are cut off" in found.words


def test_one_bar_too_few_is_caught_where_it_shows_by_hand(tmp_path: Path) -> None:
    panel = small_panel(quirks=False)
    (found,) = verdict_of(alone(tmp_path, "off_by_one"), panel, count=1).violations
    assert found.timestamp == found.cut, "the first bar computed lacks the one bar that was not loaded"
    row = (parse_time(str(found.cut)) - panel.timeframe.open_ns(panel.first_bar)) // panel.timeframe.ns
    assert found.value == pytest.approx(panel.fields["close"][row - 9 : row + 1, 0].mean(), rel=1e-12)
    assert (found.symbol, found.other, found.cells) == ("S00USDT", None, 5)


def test_dependence_on_where_the_data_begin_is_caught(tmp_path: Path) -> None:
    panel = small_panel().columns(("S01USDT", "S02USDT"))
    (found,) = verdict_of(alone(tmp_path, "rows_since_the_array_began"), panel).violations
    assert found.kind == "start"
    assert "although it states no look-back" in found.words


@pytest.mark.parametrize("name", ["counts_its_calls", "grows_a_default", "rolls_dice"])
def test_other_values_on_every_call_are_caught(tmp_path: Path, name: str) -> None:
    (found,) = verdict_of(alone(tmp_path, name)).violations
    assert (found.kind, found.cut) == ("unrepeatable", None)
    assert "differs from call to call on the same bars" in found.words


def test_failing_on_fewer_bars_is_caught(tmp_path: Path) -> None:
    (found,) = verdict_of(alone(tmp_path, "fails_on_few_bars"), small_panel(quirks=False)).violations
    assert (found.kind, found.symbol) == ("error", None)
    assert "raised ValueError: need 130 bars" in found.words


@pytest.mark.parametrize("name", HONEST)
def test_what_is_honest_passes(tmp_path: Path, name: str) -> None:
    assert verdict_of(alone(tmp_path, name), count=20) == Verdict((), {})


def test_leaks_inside_definitions_and_expressions_are_named_with_what_rests_on_them(tmp_path: Path) -> None:
    body = f"let: {{soon: {{source: '{MODULE}:future_max'}}, fair: {{source: '{MODULE}:honest_mean'}}}}\nfactors:\n"
    body += "  - {name: x, type: expression, expression: 'cs_rank(ts_mean(soon, 5))'}\n"
    body += "  - {name: y, type: expression, expression: 'ema(fair, 5) / close'}\n"
    body += "  - {name: z, type: expression, expression: 'x - y'}\n"
    (found,) = verdict_of(plan_of(tmp_path, body)).violations
    assert (found.factor, found.what, found.kind, found.affects) == ("soon", "definition", "look-ahead", ("x", "z"))


def test_an_operator_that_peeks_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The language has none; a kernel that reads one bar ahead, and one that states one bar too few, stand in."""
    from Backtest.data.dsl import program
    from Backtest.data.dsl.signature import kernel_of

    def ahead(operator):
        def kernel(operands, literals, context, out):
            undefined = kernel_of(operator)(operands, literals, context, out)
            out[:-1] = out[1:].copy()
            return undefined

        return kernel if operator.name == "ts_max" else kernel_of(operator)

    body = "factors:\n  - {name: fair, type: expression, expression: 'ts_mean(close, 7)'}\n"
    plan = plan_of(tmp_path, body + "  - {name: x, type: expression, expression: 'ts_max(close, 2) + fair'}\n")
    assert verdict_of(plan).violations == ()
    monkeypatch.setattr(program, "kernel_of", ahead)
    found = {(one.factor, one.kind) for one in verdict_of(plan).violations}
    assert ("x", "look-ahead") in found
    assert {name for name, _ in found} == {"x"}


def test_an_expression_with_too_short_a_look_back_is_caught(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "factors:\n  - {name: x, type: expression, expression: 'ts_mean(close, 30)'}\n")

    class Short(Plan):
        expression_lookback = 28

    assert verdict_of(plan, count=3).violations == ()
    (found,) = verdict_of(Short(plan.steps, plan.factors), count=3).violations
    assert (found.factor, found.kind, found.timestamp) == ("x", "look-back", found.cut)


def test_an_expression_that_depends_on_the_start_is_caught(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "factors:\n  - {name: x, type: expression, expression: 'ema(close, 30)'}\n")

    class Forgetful(Plan):
        expression_reach = Reach((40,))

    assert verdict_of(plan, count=3).violations == ()
    (found,) = verdict_of(Forgetful(plan.steps, plan.factors), count=3).violations
    assert (found.factor, found.kind) == ("x", "start")


def test_every_shipped_recipe_passes(tmp_path: Path) -> None:
    recipes = sorted((PROJECT_ROOT / "config" / "recipes").glob("*.yaml"))
    assert recipes
    settings = CoreSettings()
    table = tmp_path / "symbols.csv"
    names = full_panel(600).symbols
    lines = [f"{name},{'ab'[place % 2]},{1_000_000 * (place + 1)}" for place, name in enumerate(names)]
    table.write_text("\n".join(["symbol,sector,supply", *lines]) + "\n", encoding="utf-8")
    fields = Fields((load_symbols_table(table, quote="USDT"), *beside(full_panel(600))))
    for path in recipes:
        plan = compile_recipe(
            load_recipe(path), allow_modules=settings.allow_modules, max_window=settings.max_window,
            timeframe=parse_timeframe("12h"), fields=fields,
        )  # fmt: skip
        assert not plan.skipped
        panel = fields.filled(full_panel(max(600, 2 * (plan.lookback or 0) + 100)), plan.fields)
        assert verdict_of(plan, panel, count=4) == Verdict((), {}), path


def beside(panel: Panel) -> tuple[StampedFields, ...]:
    """Return funding every 8 hours and open interest every 12, over 3,000 of the panel's bars."""
    draw, hour = np.random.default_rng(9), 3_600_000_000_000
    first = panel.timeframe.open_ns(panel.first_bar)
    hours = {FUNDING: np.arange(0, 36_000, 8), INTEREST: np.arange(0, 36_000, 12)}
    made = {name: Stamped(first + hour * at, draw.normal(1, 0.1, len(at)), (), (), "") for name, at in hours.items()}
    paid, held = ({symbol: {name: made[name]} for symbol in panel.symbols} for name in (FUNDING, INTEREST))
    return (
        StampedFields("funding_folder", (), 8 * hour, paid),
        StampedFields("open_interest_folder", (), 24 * hour, held),
    )


def full_panel(rows: int) -> Panel:
    """Return a small panel of 12h bars with bitcoin and every field of the schema."""
    panel = small_panel(rows, 6)
    draw = np.random.default_rng(8)
    fields = {name: np.where(panel.exists, draw.lognormal(1, 0.1, panel.shape), np.nan) for name in FIELDS}
    names = ("BTCUSDT", *panel.symbols[1:])
    return dataclasses.replace(
        panel, timeframe=parse_timeframe("12h"), symbols=names, fields={**fields, **panel.fields}
    )


def test_warm_up_rows_are_not_judged_and_short_data_are_told(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "factors:\n  - {name: x, type: expression, expression: 'ts_mean(close, 390)'}\n")
    assert verdict_of(plan, dataclasses.replace(small_panel(), warmup=380)).violations == ()
    short = verdict_of(
        plan_of(tmp_path, "factors:\n  - {name: x, type: expression, expression: 'shift(close, 399)'}\n")
    )
    assert short.violations == ()
    assert short.untested == {"x": "its look-back of 399 bars leaves nothing to cut off from 400 bars"}
    peeks_early = alone(tmp_path, "peeks_on_the_sixth_bar")
    assert [one.kind for one in verdict_of(peeks_early).violations] == ["look-ahead"]
    assert verdict_of(peeks_early, dataclasses.replace(small_panel(), warmup=230)).violations == ()
    with pytest.raises(DataError, match="fewer than two bars"):
        verdict_of(plan, dataclasses.replace(small_panel(), warmup=399))


def test_a_function_that_fails_on_everything_stops_the_check(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"factor 'a': .*fails_on_few_bars raised ValueError"):
        verdict_of(alone(tmp_path, "fails_on_few_bars"), small_panel(100, 3))


def test_a_verdict_is_the_same_every_time(tmp_path: Path) -> None:
    verdicts = [verdict_of(alone(tmp_path, "rolled")) for _ in range(2)]
    assert verdicts[0] == verdicts[1]
