"""``let``: definitions are computed once, named like factors, typed, explained and not stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from Backtest.data.dsl.explain import explain
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.recipe import load_recipe
from Backtest.errors import RecipeError
from Backtest.tests.data.small_panel import small_panel

MODULE = "Backtest.tests.data.sample_modules.functions"
RECIPE = f"""params: {{slow: 12}}
let:
  ret: "logret(close, 1)"
  wild: "ts_std(ret, {{slow}}) > 0.02"
  level:
    source: {MODULE}:mean
    params: {{window: "{{slow}}"}}
    description: the mean of the last bars
  lone: {{expression: "open * 2"}}
factors:
  - {{name: calm, type: expression, expression: "where(wild, 0, ts_mean(ret, 5))"}}
  - {{name: away, type: expression, expression: "close / level - 1"}}
"""
INLINE = f"""factors:
  - {{name: level, type: library_function, source: "{MODULE}:mean", params: {{window: 12}}}}
  - name: calm
    type: expression
    expression: "where(ts_std(logret(close, 1), 12) > 0.02, 0, ts_mean(logret(close, 1), 5))"
  - {{name: away, type: expression, expression: "close / level - 1"}}
"""


def plan_of(folder: Path, text: str) -> Plan:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return compile_recipe(load_recipe(path), allow_modules=(MODULE,), max_window=1000)


def test_the_values_are_those_of_the_text_written_out(tmp_path: Path) -> None:
    panel = small_panel()
    ours = compute(plan_of(tmp_path, RECIPE), panel, gap_tolerance=0.1)
    written = compute(plan_of(tmp_path, INLINE), panel, gap_tolerance=0.1)
    assert ours.names == ("calm", "away")
    for name in ours.names:
        assert np.isfinite(ours.values[name]).any()
        assert ours.values[name].tobytes() == written.values[name].tobytes()
        assert ours.counts.get(name) == written.counts.get(name)


def test_definitions_are_planned_but_are_no_factors(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, RECIPE)
    assert [factor.name for factor in plan.factors] == ["calm", "away"]
    facts = {one.name: (one.kind, one.lookback, one.fields) for one in plan.definitions}
    assert facts == {
        "ret": ("series", 1, ("close",)),
        "wild": ("mask", 12, ("close",)),
        "level": ("series", 11, ("close",)),
        "lone": ("series", 0, ("open",)),
    }
    assert plan.fields == {"close"}, "what no factor uses is neither loaded nor computed"
    assert plan.lookback == 12
    ret = plan.definitions[0].step
    assert plan.users[ret] == 2, "one step, read by wild and by calm"
    assert plan.titles[ret] == ("ret",)
    assert plan.names.get(ret) is None


def test_explain_shows_definitions(tmp_path: Path) -> None:
    text = explain(plan_of(tmp_path, RECIPE))
    assert text.startswith("2 factors, 9 distinct steps, 4 definitions, each symbol on its own\n")
    blocks = dict(block.split("\n", 1) for block in text.split("\n\n")[1:])
    assert list(blocks) == [
        "ret  (definition, not stored)",
        "wild  (definition, not stored)",
        "level  (definition, not stored)",
        "lone  (definition, not stored, and no factor uses it)",
        "calm",
        "away",
    ]
    assert "shared     logret(close, d=1)  (used 2 times)" in blocks["wild  (definition, not stored)"]
    assert f"function   {MODULE}:mean(window=12, scale=1.0)" in blocks["level  (definition, not stored)"]
    assert "look-back  12 bars" in blocks["calm"]


def test_explain_shows_shared_functions_and_the_params_of_a_grid(tmp_path: Path) -> None:
    body = f"let: {{level: {{source: '{MODULE}:mean'}}}}\nfactors:\n"
    body += "  - {name: 'm_{n}', type: expression, expression: 'shift(level, {n})', grid: {n: [1, 2]}}\n"
    blocks = dict(block.split("\n", 1) for block in explain(plan_of(tmp_path, body)).split("\n\n")[1:])
    assert blocks["m_2"].splitlines()[:2] == ["  expression shift(level, {n})", "  params     n=2"]
    assert "shared     level  (used 2 times)" in blocks["m_2"]


def test_a_failing_function_is_named_by_its_definition(tmp_path: Path) -> None:
    text = f"let: {{bad: {{source: '{MODULE}:raises'}}}}\n" + FACTOR.replace("'close'", "bad + 1")
    with pytest.raises(RecipeError, match=f"^definition 'bad': {MODULE}:raises raised KeyError"):
        compute(plan_of(tmp_path, text), small_panel(), gap_tolerance=0.1)


FACTOR = "factors:\n  - {name: a, type: expression, expression: 'close'}\n"


@pytest.mark.parametrize(
    "let, message",
    [
        ("let: [ret]", "line 1, column 1: 'let' is a list; a mapping of name: expression is allowed"),
        ("let: {ret: 3}", "a definition is 3; a mapping with expression, source, params, description"),
        ("let: {ret: }", "a definition is empty"),
        ("let: {ret: {params: {x: 1}}}", "line 1, column 7: definition 'ret' needs 'expression' or 'source'"),
        ("let: {ret: {expression: close, source: 'a:b'}}", "needs 'expression' or 'source', one of them"),
        ("let: {ret: {expression: close, na_threshold: 0.1}}", "'na_threshold' is no key of a definition"),
        ("let: {ret: {expresion: close}}", "'expresion' is no key of a definition; did you mean 'expression'"),
        ("let: {ret: {expression: close, grid: {n: [1]}}}", "'grid' is no key of a definition"),
        ("let: {close: open}", "name 'close' is not allowed: 'close' is a kline column"),
        ("let: {a-b: open}", "name 'a-b' is not allowed"),
        ("let: {a: open}", "line 3, column 6: factor 'a' stands twice, first as a definition; rename one"),
        ("let: {A: open}", "definition and factor 'A' and 'a' differ in case only; rename one"),
        ("let: {x: open, X: open}", "definitions 'x' and 'X' differ in case only; rename one"),
        ("let: {x: open, x: open}", "key 'x' stands twice"),
        ("let: {x: x + 1}", "definition 'x', column 1: definition 'x' refers to itself"),
        ("let: {x: y + 1, y: open}", "'y' is defined further down; a definition can use earlier ones only"),
        ("let: {x: a + 1}", "'a' is defined further down; a definition can use earlier ones only"),
        ("let: {x: opne + 1}", "'opne' is neither a field nor an earlier factor or definition; did you mean 'open'"),
        ("let: {x: 1 / 2}", "definition 'x': the expression is the number 0.5, the same on every bar; 'params' is"),
        ("let: {x: 'shift(close, -1)'}", "look-ahead"),
        ("let: {x: 'close > 1', y: 'ts_mean(x, 3)'}", "definition 'y', column 9: 'x' of ts_mean must be a series"),
        ("let: {x: {source: 'os:system'}}", "definition 'x': module 'os' is not on the allow-list"),
    ],
)
def test_refused(tmp_path: Path, let: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, f"{let}\n{FACTOR}")
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}, line ")
