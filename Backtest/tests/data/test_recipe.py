"""The recipe's schema: every refusal with file, line and column (FAULTS 36, 38, 40)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from Backtest.data.factors import compile_recipe
from Backtest.data.recipe import load_recipe
from Backtest.data.recipe_spec import Recipe
from Backtest.errors import ExpressionError, RecipeError

USERS = """factors:
  - name: mfi14
    type: expression
    expression: "where(volume > 0, ts_sum((high+low+close)/3 * volume, 14) / ts_sum(volume, 14), 0)"
    na_threshold: 0.2
  - name: money_flow_index
    type: library_function
    source: Backtest.data.indicators:money_flow_index
    params:
      window: 14
"""


def loaded(folder: Path, text: str, name: str = "recipe.yaml") -> Recipe:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return load_recipe(path)


def test_the_users_recipe(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, USERS)
    mfi, library = recipe.factors
    assert (mfi.name, mfi.type, mfi.na_threshold, mfi.source) == ("mfi14", "expression", 0.2, None)
    assert (library.source, dict(library.params), library.expression) == (
        "Backtest.data.indicators:money_flow_index", {"window": 14}, None,
    )  # fmt: skip
    assert recipe.sha1 == hashlib.sha1(USERS.encode()).hexdigest()
    assert loaded(tmp_path, USERS.replace("\n", "\r\n")) == recipe, "CRLF is the same recipe"
    plan = compile_recipe(recipe, allow_modules=("Backtest.data.indicators",), max_window=10_000)
    assert plan.fields == {"high", "low", "close", "volume"}
    assert plan.lookback == 14


def test_json_is_the_same_recipe(tmp_path: Path) -> None:
    text = '{"factors": [{"name": "a", "type": "expression", "expression": "close / {n}"}], "params": {"n": 2}}'
    recipe = loaded(tmp_path, text, "recipe.json")
    assert recipe.factors[0].expression == "close / {n}"
    assert recipe.params == {"n": 2}
    with pytest.raises(RecipeError, match="line 1, column 28: 'tpye' is no key of a factor; did you mean 'type'"):
        loaded(tmp_path, text.replace('"type"', '"tpye"'), "recipe.json")


FACTOR = "factors:\n  - name: a\n    type: expression\n    expression: close\n"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "line 1, column 1: the recipe is empty"),
        ("- a\n", "the recipe is a list"),
        ("factor: []\n", "line 1, column 1: 'factor' is no key of the recipe; did you mean 'factors'?"),
        ("params: {}\n", "there are no 'factors'"),
        ("factors:\n", "'factors' is empty"),
        ("factors: []\n", "'factors' is an empty list"),
        ("factors:\n  - close\n", "line 2, column 5: a factor is 'close'"),
        ("factors:\n  - {type: expression, expression: close}\n", "line 2, column 5: this factor has no 'name'"),
        ("factors:\n  - {name: a, expression: close}\n", "this factor has no 'type'"),
        (FACTOR.replace("expression\n", "expresion\n"), "line 3, column 5: factor 'a': type is 'expresion'; did"),
        (FACTOR.replace("expression: close", "source: a:b"), "needs 'expression'"),
        (FACTOR + "    source: a:b\n", "line 5, column 5: factor 'a': a factor of type expression has no 'source'"),
        (FACTOR.replace("close", "1"), "line 4, column 5: 'expression' is 1; text is allowed"),
        (FACTOR + "    na_threshold: 1.5\n", "line 5, column 5: na_threshold is 1.5"),
        (FACTOR + "    na_threshold: true\n", "na_threshold is True"),
        (FACTOR + "    na_threshold: '0.2'\n", "na_threshold is '0.2'"),
        (FACTOR + "    needs: supply\n", "line 5, column 5: 'needs' is 'supply'; a list of field names is allowed"),
        (FACTOR + "    needs: []\n", "'needs' is an empty list; a list of field names is allowed"),
        (FACTOR + "    needs: [1]\n", "'needs' is a list"),
        (FACTOR + "    threshold: 0.2\n", "line 5, column 5: 'threshold' is no key of a factor; did you mean"),
        (FACTOR + "    description: [a]\n", "'description' is a list"),
        (FACTOR + "    params: [1]\n", "'params' is a list"),
        (FACTOR + "    params: {x: {y: 1}}\n", "line 5, column 14: param 'x' holds a mapping"),
        (FACTOR + "    params: {a b: 1}\n", "param 'a b' is not allowed"),
        (FACTOR + FACTOR[9:], "line 5, column 5: factor 'a' stands twice"),
        (FACTOR + FACTOR[9:].replace("name: a", "name: A"), "differ in case only"),
        (FACTOR.replace("name: a", "name: 1"), "'name' is 1; text"),
        (FACTOR.replace("name: a", "name: a-b"), "name 'a-b' is not allowed: a letter or '_'"),
        (FACTOR.replace("name: a", "name: ../x"), "not allowed"),
        (FACTOR.replace("name: a", 'name: "a\\nb"'), "not allowed"),
        (FACTOR.replace("name: a", 'name: ""'), "not allowed"),
        (FACTOR.replace("name: a", "name: " + "a" * 65), "not allowed"),
        (FACTOR.replace("name: a", "name: m\u043em"), "plain ASCII"),
        (FACTOR.replace("name: a", "name: Close"), "'close' is a kline column"),
        (FACTOR.replace("name: a", "name: ts_mean"), "is an operator"),
        (FACTOR.replace("name: a", "name: ts_delay"), "is an operator"),
        (FACTOR.replace("name: a", "name: and"), "is an operator"),
        (FACTOR.replace("name: a", "name: timestamp"), "a column of every factor file"),
        (FACTOR.replace("name: a", "name: tradable_flag"), "a column of every factor file"),
        (FACTOR.replace("name: a", "name: nul"), "a device name on Windows"),
        (FACTOR.replace("name: a", "name: 'true'"), "a word of the language"),
        (FACTOR + "    name: b\n", "line 5, column 5: key 'name' stands twice"),
        (FACTOR.replace("close", "*x"), "alias"),
        (FACTOR.replace("close", "!!python/name:os.system x"), "tag"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        loaded(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'recipe.yaml'}, line ")
    assert "\n" not in str(caught.value)


def compiled(folder: Path, text: str) -> None:
    compile_recipe(loaded(folder, text), allow_modules=(), max_window=1000)


def test_expression_errors_name_file_factor_and_column(tmp_path: Path) -> None:
    with pytest.raises(ExpressionError) as caught:
        compiled(tmp_path, FACTOR.replace("close", "ts_maen(close, 3)"))
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'recipe.yaml'}, line 4, column 5, factor 'a', column 1: there is no operator 'ts_maen'; "
        "did you mean 'ts_mean' or 'ts_min' or 'ts_max'?",
        "    ts_maen(close, 3)",
        "    ^",
    ]


@pytest.mark.parametrize(
    "first, second, message",
    [
        ("b + 1", "a + 1", "'b' is defined further down"),
        ("a + 1", "close", "'a' refers to itself"),
        ("close", "c + 1", "'c' is neither a field nor an earlier factor"),
        ("1 + 2", "close", "the expression is the number 3.0"),
        ("open_time", "close", "'open_time' is neither a field"),
        ("ts_mean(close, {slow})", "close", "param {slow} is not defined"),
    ],
)
def test_refused_references(tmp_path: Path, first: str, second: str, message: str) -> None:
    other = FACTOR[9:].replace("name: a", "name: b")
    text = FACTOR.replace("close", f'"{first}"') + other.replace("close", f'"{second}"')
    with pytest.raises(RecipeError, match=message.replace("{", r"\{")):
        compiled(tmp_path, text)


def test_params_of_the_factor_go_first(tmp_path: Path) -> None:
    text = "params: {n: 3}\n" + FACTOR.replace("close", '"ts_mean(close, {n})"') + "    params: {n: 7}\n"
    plan = compile_recipe(loaded(tmp_path, text), allow_modules=(), max_window=1000)
    assert plan.factors[0].lookback == 6


def test_the_dialect_is_one_that_exists(tmp_path: Path) -> None:
    assert loaded(tmp_path, FACTOR).dialect == "default"
    assert loaded(tmp_path, "dialect: default\n" + FACTOR).dialect == "default"
    with pytest.raises(RecipeError, match="line 1, column 1: there is no dialect 'defualt'; did you mean 'default'"):
        loaded(tmp_path, "dialect: defualt\n" + FACTOR)
    with pytest.raises(RecipeError, match="there is no dialect 'klingon'; allowed are default"):
        loaded(tmp_path, "dialect: klingon\n" + FACTOR)
    with pytest.raises(RecipeError, match="'dialect' is 3; text is allowed"):
        loaded(tmp_path, "dialect: 3\n" + FACTOR)
