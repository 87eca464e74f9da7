"""``grid``: one entry, many factors; their names, params and limits."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from Backtest.data.factors import compile_recipe, compute
from Backtest.data.recipe import load_recipe
from Backtest.data.recipe_grid import expand, value_word
from Backtest.data.recipe_spec import Recipe
from Backtest.errors import RecipeError
from Backtest.tests.data.small_panel import small_panel

MODULE = "Backtest.tests.data.sample_modules.functions"


def loaded(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def entry(name: str, grid: str, expression: str = "returns(close, {window})", more: str = "") -> str:
    return (
        f"factors:\n  - name: '{name}'\n    type: expression\n    expression: '{expression}'\n    grid: {grid}\n{more}"
    )


@pytest.mark.parametrize(
    "name, grid, names",
    [
        ("mom", {"window": (7, 14)}, ["mom_window7", "mom_window14"]),
        ("mom_{window}", {"window": (7, 14)}, ["mom_7", "mom_14"]),
        ("m_{ window }_x", {"window": (7,)}, ["m_7_x"]),
        ("m{a}_{b}", {"a": (1, 2), "b": (3, 4)}, ["m1_3", "m1_4", "m2_3", "m2_4"]),
        ("m{b}", {"a": (1, 2), "b": (3, 4)}, ["m3_a1", "m4_a1", "m3_a2", "m4_a2"]),
        ("m", {"b": (0.5,), "a": (-1,)}, ["m_b0p5_am1"]),
        ("m", {"on": (True, False), "by": ("rank",)}, ["m_ontrue_byrank", "m_onfalse_byrank"]),
    ],
)
def test_names(name: str, grid: dict[str, tuple[Any, ...]], names: list[str]) -> None:
    assert [expanded for expanded, _, _ in expand(name, "", grid)] == names


def test_words_of_values() -> None:
    numbers = {7: "7", -3: "m3", 0.25: "0p25", 1e-6: "1em06", 1e20: "1e20", 1.0: "1p0"}
    assert [value_word(value) for value in numbers] == list(numbers.values())
    refused: list[Any] = ["a b", "", "é", None, [1], {}, "{n}"]
    assert [value_word(value) for value in refused] == [None] * len(refused)


def test_expressions_and_later_factors(tmp_path: Path) -> None:
    more = "    params: {skip: 2}\n    na_threshold: 0.5\n    description: 'over {window} bars, {other}'\n"
    more += "  - {name: both, type: expression, expression: 'mom_7 - mom_14'}\n"
    recipe = loaded(
        tmp_path, entry("mom_{window}", "{window: [7, 14]}", "shift(returns(close, {window}), {skip})", more)
    )
    plan = compile_recipe(recipe, allow_modules=(), max_window=1000)
    assert [factor.name for factor in plan.factors] == ["mom_7", "mom_14", "both"]
    first, second, _ = plan.factors
    assert (dict(first.params), dict(second.params)) == ({"skip": 2, "window": 7}, {"skip": 2, "window": 14})
    assert (first.lookback, second.lookback) == (9, 16)
    assert (first.description, second.na_threshold) == ("over 7 bars, {other}", 0.5)
    written = "".join(
        f"  - {{name: mom_{bars}, type: expression, expression: 'shift(returns(close, {bars}), 2)'}}\n"
        for bars in (7, 14)
    )
    other = compile_recipe(loaded(tmp_path, "factors:\n" + written), allow_modules=(), max_window=1000)
    panel = small_panel(100, 3)
    values = compute(plan, panel, gap_tolerance=0.1).values
    for name, expected in compute(other, panel, gap_tolerance=0.1).values.items():
        assert values[name].tobytes() == expected.tobytes()


def test_library_functions(tmp_path: Path) -> None:
    text = f"factors:\n  - name: mean\n    type: library_function\n    source: {MODULE}:mean\n"
    recipe = loaded(tmp_path, text + "    grid: {window: [3, 5], scale: [1.0, 2.0]}\n")
    plan = compile_recipe(recipe, allow_modules=(MODULE,), max_window=1000)
    assert {factor.name: dict(factor.params) for factor in plan.factors} == {
        "mean_window3_scale1p0": {"window": 3, "scale": 1.0},
        "mean_window3_scale2p0": {"window": 3, "scale": 2.0},
        "mean_window5_scale1p0": {"window": 5, "scale": 1.0},
        "mean_window5_scale2p0": {"window": 5, "scale": 2.0},
    }
    assert [factor.lookback for factor in plan.factors] == [2, 2, 4, 4]
    wrong = loaded(tmp_path, text + "    grid: {windw: [3, 5]}\n")
    with pytest.raises(RecipeError, match=r"factor 'mean_windw3': .*there is no param 'windw'; did you mean 'window'"):
        compile_recipe(wrong, allow_modules=(MODULE,), max_window=1000)


def test_a_grid_at_its_limit(tmp_path: Path) -> None:
    windows = ", ".join(str(window) for window in range(1, 1001))
    assert len(loaded(tmp_path, entry("mom", f"{{window: [{windows}]}}")).factors) == 1000


def test_many_grids_at_their_limit(tmp_path: Path) -> None:
    windows = ", ".join(str(window) for window in range(1, 1001))
    line = "  - {{name: m{number}, type: expression, expression: 'close * {{w}}', grid: {{w: [{windows}]}}}}\n"
    text = "factors:\n" + "".join(line.format(number=number, windows=windows) for number in range(11))
    begin = time.process_time()
    with pytest.raises(RecipeError, match="line 12, column 5: the recipe makes more than 10,000 factors; split it"):
        loaded(tmp_path, text)
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    "text, message",
    [
        (entry("m", "[7]"), "line 5, column 5: 'grid' is a list; a mapping of param: list of values is allowed"),
        (entry("m", "{}"), "'grid' is a mapping; a mapping of param: list"),
        (entry("m", "{window: 7}"), "line 5, column 12: 'window' of the grid is 7; a list of values is allowed"),
        (entry("m", "{window: []}"), "'window' of the grid is an empty list"),
        (entry("m", "{window: [7, [1]]}"), "'window' of the grid holds a list; a number, a truth value or a word"),
        (entry("m", "{window: [7, 'a b']}"), "line 5, column 24: 'window' of the grid holds 'a b'; a number"),
        (entry("m", "{window: [7, 8, 7]}"), "line 5, column 27: 'window' of the grid holds 7 twice"),
        (entry("m", "{a b: [7]}"), "'a b' is no name of a param"),
        (entry("m", "{windw: [7]}"), "the expression does not use 'windw' of the grid; did you mean 'window'?"),
        (entry("m", "{window: [7], slow: [1]}"), "the expression does not use 'slow' of the grid; write {slow} in it"),
        (entry("m_{windw}", "{window: [7]}"), "line 2, column 5: name 'm_{windw}': {windw} is not in the grid; did"),
        (entry("m_{}", "{window: [7]}"), "{} is not in the grid; the grid has window"),
        (entry("m", "{window: [7]}", more="    params: {window: 3}\n"), "'window' stands in 'params' and in 'grid'"),
        (entry("m", f"{{window: {list(range(1, 1002))}}}"), "the grid makes 1,001 factors; 1,000 are allowed"),
        (
            entry("m", f"{{window: {list(range(1, 101))}, x: {list(range(101))}}}", "shift(close, {window}) * {x}"),
            "the grid makes 10,100 factors; 1,000 are allowed",
        ),
        (entry("{window}_m", "{window: [7]}"), "name '7_m' is not allowed"),
        (entry("m" * 60, "{window: [7]}"), "64 at most"),
        (entry("ts_{window}", "{window: [mean]}"), "name 'ts_mean' is not allowed: 'ts_mean' is an operator"),
        (
            entry("m", "{window: [7]}", more="  - {name: m_window7, type: expression, expression: close}\n"),
            "line 6, column 6: factor 'm_window7' stands twice; rename one",
        ),
        (
            entry("m{a}{b}", "{a: [1, 11], b: [11, 1]}", "close * {a} * {b}"),
            "line 2, column 5: factor 'm111' stands twice; rename one",
        ),
        (entry("m", "{window: [a, A]}", "close"), "does not use 'window'"),
        ("factors:\n  - {name: 1, type: expression, expression: '{n}', grid: {n: [1]}}\n", "'name' is 1; text"),
        ("factors:\n  - {name: 'm_{n}', type: expression, expression: close}\n", "name 'm_{n}' is not allowed"),
    ],
)
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}, line ")
    assert "\n" not in str(caught.value)


def test_a_mistake_in_one_of_the_factors_names_it(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, entry("mom", "{window: [7, 0]}"))
    with pytest.raises(RecipeError, match="factor 'mom_window0', column 16"):
        compile_recipe(recipe, allow_modules=(), max_window=1000)
