"""The operator table: every row is documented, well-formed, and its example runs."""

from __future__ import annotations

import ast
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Backtest.data.dsl.bind import FOLDS
from Backtest.data.dsl.operators import ALIASES, OPERATORS, Argument, Context, Operator, apply, constant
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.kernels.context import needed_values
from Backtest.data.schema import FIELDS
from Backtest.data.stamped_fields import FIELDS as STAMPED

from ..kernels.series import literal_cases, operands_of, sample
from ..small_panel import recipe_of, small_panel

every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.name)
INFIX: dict[type, str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Mod: "mod", ast.Pow: "pow", ast.Lt: "lt",
    ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne", ast.And: "and", ast.Or: "or",
    ast.Not: "not", ast.USub: "neg",
}  # fmt: skip


def evaluate(node: ast.expr, fields: dict[str, np.ndarray], context: Context) -> Any:
    """Evaluate an example with Python's own grammar, which the expression language is a part of."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        bare = OPERATORS.get(node.id)
        return _call(bare, [], fields, context) if bare else fields[node.id]
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        operator, parts = OPERATORS[node.func.id], node.args
    elif isinstance(node, ast.BinOp):
        operator, parts = OPERATORS[INFIX[type(node.op)]], [node.left, node.right]
    elif isinstance(node, ast.BoolOp):
        operator, parts = OPERATORS[INFIX[type(node.op)]], node.values
    elif isinstance(node, ast.Compare):
        operator, parts = OPERATORS[INFIX[type(node.ops[0])]], [node.left, *node.comparators]
    else:
        assert isinstance(node, ast.UnaryOp)
        operator, parts = OPERATORS[INFIX[type(node.op)]], [node.operand]
    return _call(operator, [evaluate(part, fields, context) for part in parts], fields, context)


def _call(operator: Operator, values: list[Any], fields: dict[str, np.ndarray], context: Context) -> np.ndarray:
    positional = [argument for argument in operator.arguments if not argument.keyword_only]
    while len(positional) < len(values):
        assert positional[-1].variadic
        positional.append(positional[-1])
    operands = [value for argument, value in zip(positional, values, strict=False) if argument.is_array]
    literals: dict[str, Any] = {}
    for argument, value in zip(positional, values, strict=False):
        if not argument.is_array:
            literals[argument.name] = (*literals.get(argument.name, ()), value) if argument.variadic else value
    operands += [fields[name] for name in operator.implicit]
    return apply(operator, operands, literals, context)[0]


@every_operator
def test_row_is_documented(operator: Operator) -> None:
    assert operator.doc[0].isupper()
    assert operator.doc.endswith(".")
    assert operator.formula
    assert operator.missing
    if "rank" in operator.name or "arg" in operator.name:
        assert operator.ties
    if any(argument.name == "ddof" for argument in operator.arguments):
        assert operator.ddof
    if operator.arguments:
        first = operator.arguments[0].name
        assert operator.signature().startswith(f"{operator.name}({first}")
        assert first in ("x", "y", "c", "trigger", "symbol", "perp", "d", "n")
    else:
        assert operator.signature() == operator.name


@every_operator
def test_example_runs_and_uses_the_operator(operator: Operator, tmp_path: Path) -> None:
    if operator.dialect:
        plan = compile_recipe(
            recipe_of(tmp_path, dialect=operator.dialect, value=operator.example), allow_modules=(), max_window=100
        )
        assert operator.name in plan.factors[0].operators
        values = compute(plan, small_panel(80, 3, quirks=False), gap_tolerance=0.1).values["value"]
        assert np.isfinite(values[-1]).all()
        return
    rng = np.random.default_rng(1)
    shape = (60, 6)
    close = 10 * np.exp(0.02 * rng.standard_normal(shape).cumsum(axis=0))
    fields = {
        "close": close, "open": 0.99 * close, "high": 1.02 * close, "low": 0.97 * close, "volume": rng.random(shape),
        "premium_close": 0.01 * rng.random(shape),
    }  # fmt: skip
    fields["sector"] = np.repeat([[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]], 60, axis=0)
    fields["quote_asset_volume"] = close * fields["volume"]
    fields.update({"open_interest": close, "funding_sum": rng.random(shape), "funding_count": np.ones(shape)})
    fields["usdt_supply"] = close
    fields["taker_buy_base_volume"] = rng.random(shape) * fields["volume"]
    age = np.ascontiguousarray(np.broadcast_to(np.arange(1, 61, dtype=np.int32)[:, None], shape))
    columns = ("BTCUSDT", "A", "B", "C", "D", "E")
    context = Context(age=age, first_bar=17, population=np.ones(shape, bool), symbols=columns)
    tree = ast.parse(operator.example, mode="eval").body
    names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    infix = {INFIX[type(node)] for node in ast.walk(tree) if type(node) in INFIX}
    bare = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert operator.name in (names | infix | (bare if operator.bare else set()))
    values = evaluate(tree, fields, context)
    assert values.shape == shape
    assert np.isfinite(values[-1]).all()


@every_operator
def test_arguments_are_well_formed(operator: Operator) -> None:
    positional = [argument for argument in operator.arguments if not argument.keyword_only]
    names = [argument.name for argument in operator.arguments]
    assert len(set(names)) == len(names)
    assert [a.required for a in positional] == sorted((a.required for a in positional), reverse=True)
    arrays = [a.is_array for a in operator.arguments if a.kind != "symbol"]
    assert arrays == sorted(arrays, reverse=True)
    assert all(a is operator.arguments[0] for a in operator.arguments if a.kind == "symbol")
    assert not any(argument.variadic for argument in positional[:-1])
    assert not (operator.implicit and any(argument.variadic for argument in operator.array_arguments))
    assert set(operator.implicit) <= {*FIELDS, *STAMPED}
    for argument in operator.arguments:
        assert argument.required or not argument.is_array
        assert not argument.required or not argument.keyword_only
        assert bool(argument.choices) == (argument.kind == "choice")
        if argument.default is not None and argument.low is not None:
            assert isinstance(argument.default, int | float)
            assert argument.default >= argument.low


def test_names_aliases_and_symbols_are_unique() -> None:
    taken = [*OPERATORS, *ALIASES]
    assert len(set(taken)) == len(taken)
    assert sum(len(operator.aliases) for operator in OPERATORS.values()) == len(ALIASES)
    symbols = [(o.symbol, len(o.array_arguments)) for o in OPERATORS.values() if o.symbol]
    assert len(set(symbols)) == len(symbols)
    assert all(name == name.lower() and name.isascii() for name in taken)


def test_lookback_of_each_kind() -> None:
    def lookback(name: str, **literals: Any) -> int | None:
        operator = OPERATORS[name]
        return operator.lookback(operator.complete(literals))

    assert lookback("add") == 0
    assert lookback("cs_rank") == 0
    assert lookback("ts_mean", d=14) == 13
    assert lookback("shift", d=14) == 14
    assert lookback("ffill", limit=3) == 3
    assert lookback("ffill") is None
    assert lookback("ema", span=5) is None


def test_literals_that_make_no_sense_are_named() -> None:
    assert OPERATORS["ts_sum"].check({"d": 5, "min_periods": 5}) is None
    complaint = OPERATORS["ts_sum"].check({"d": 5, "min_periods": 6})
    assert complaint == "min_periods=6 can never be met in a window of 5 bars"
    assert OPERATORS["bucket"].check({"edges": (1.0, 2.0)}) is None
    assert OPERATORS["bucket"].check({"edges": (1.0, 1.0)}) is not None


@pytest.mark.parametrize("bars, needed", [(1, 1), (2, 2), (5, 5), (10, 9), (14, 13), (20, 18), (70, 63), (672, 605)])
def test_gap_rule_counts_in_decimals(bars: int, needed: int) -> None:
    """ceil(0.9 d); 0.9 * 70 is 63 and must not become 64 by binary rounding."""
    assert needed_values(bars, 0.1) == needed
    assert needed_values(bars, 0.0) == bars


def test_gap_tolerance_and_min_periods() -> None:
    """Ten bars, two missing: too many for a tenth, enough for a fifth; min_periods overrides age and gaps."""
    x = np.arange(10, dtype=np.float64)[:, None].copy()
    x[[3, 6]] = np.nan
    context = Context(age=np.arange(1, 11, dtype=np.int32)[:, None].copy(), first_bar=0)
    mean = OPERATORS["ts_mean"]
    assert np.isnan(apply(mean, [x], {"d": 10}, context)[0]).all()
    tolerant = apply(mean, [x], {"d": 10}, replace(context, gap_tolerance=0.2))[0]
    np.testing.assert_array_equal(tolerant[:, 0], [*[np.nan] * 9, 36 / 8])
    early = apply(mean, [x], {"d": 10, "min_periods": 2}, context)[0]
    np.testing.assert_allclose(early[:5, 0], [np.nan, 0.5, 1.0, 1.0, 7 / 4])


def test_constants_fold() -> None:
    assert constant(OPERATORS["add"], [2.0, 3.0], {}) == 5.0
    assert constant(OPERATORS["pow"], [2.0, 10.0], {}) == 1024.0
    assert constant(OPERATORS["max2"], [1.0, 7.0, 3.0], {}) == 7.0
    assert np.isnan(constant(OPERATORS["div"], [1.0, 0.0], {}))
    assert OPERATORS["add"].folds
    assert not OPERATORS["lt"].folds
    assert not OPERATORS["ts_sum"].folds
    assert not OPERATORS["where"].folds


@pytest.mark.parametrize("name", FOLDS)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2))
def test_what_is_folded_without_a_kernel_has_its_bits(name: str, pair: list[float]) -> None:
    numbers = pair[: len(OPERATORS[name].arguments)]
    kernel, folded = constant(OPERATORS[name], numbers, {}), FOLDS[name](*numbers)
    if np.isfinite(folded):
        assert np.float64(folded).tobytes() == np.float64(kernel).tobytes()
    else:
        assert np.isnan(kernel)


@pytest.mark.parametrize(
    "name, table",
    [
        ("and", [[0, 0, 0], [0, 1, None], [0, None, None]]),
        ("or", [[0, 1, None], [1, 1, 1], [None, 1, None]]),
        ("xor", [[0, 1, None], [1, 0, None], [None, None, None]]),
    ],
)
def test_kleene_tables(name: str, table: list[list[float | None]]) -> None:
    states = np.array([0.0, 1.0, np.nan])
    left, right = np.repeat(states, 3)[:, None], np.tile(states, 3)[:, None]
    context = Context(age=np.ones((9, 1), np.int32), first_bar=0)
    got = apply(OPERATORS[name], [left.copy(), right.copy()], {}, context)[0]
    np.testing.assert_array_equal(got.reshape(3, 3), np.array(table, dtype=np.float64))


@pytest.mark.parametrize(
    "name, operands, want",
    [
        ("div", (1.0, 0.0), np.nan),
        ("div", (0.0, 0.0), np.nan),
        ("mod", (5.0, 0.0), np.nan),
        ("mod", (-1.0, 3.0), 2.0),
        ("mod", (1.0, -3.0), -2.0),
        ("pow", (0.0, -1.0), np.nan),
        ("pow", (0.0, 0.0), 1.0),
        ("pow", (-8.0, 1 / 3), np.nan),
        ("pow", (1e200, 2.0), np.nan),
        ("add", (1.7e308, 1.7e308), np.nan),
        ("log", (0.0,), np.nan),
        ("sqrt", (-1.0,), np.nan),
        ("cbrt", (-27.0,), -3.0),
        ("round", (2.5,), 2.0),
        ("round", (-3.5,), -4.0),
        ("fraction", (-1.25,), -0.25),
        ("signed_power", (-4.0, 0.5), -2.0),
        ("signed_power", (0.0, 0.0), 0.0),
        ("clip", (5.0, 3.0, 1.0), np.nan),
        ("sigmoid", (-800.0,), 0.0),
        ("sigmoid", (800.0,), 1.0),
        ("atan2", (1.0, -1.0), 3 * np.pi / 4),
    ],
)
def test_elementwise_edges(name: str, operands: tuple[float, ...], want: float) -> None:
    assert constant(OPERATORS[name], operands, {"decimals": 0}) == pytest.approx(want, nan_ok=True, rel=1e-15)


def test_rows_travel_between_processes_by_name() -> None:
    for operator in OPERATORS.values():
        assert pickle.loads(pickle.dumps(operator)) is operator


@every_operator
def test_out_may_be_given(operator: Operator) -> None:
    x, context = sample()
    operands, literals = operands_of(operator, x, context), literal_cases(operator)[0]
    out = np.empty_like(x)
    got, _ = apply(operator, operands, literals, context, out=out)
    assert got is out
    np.testing.assert_array_equal(got, apply(operator, operands, literals, context)[0])


def test_reading_the_table_compiles_nothing() -> None:
    code = "import sys; import Backtest.data.dsl.operators; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_signature_reads_like_a_call() -> None:
    assert OPERATORS["ts_std"].signature() == "ts_std(x, d, *, ddof=1, min_periods=None)"
    assert OPERATORS["max2"].signature() == "max2(x, y, ...)"
    assert Argument("k", "count").is_array is False
