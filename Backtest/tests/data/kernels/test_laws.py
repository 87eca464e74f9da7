"""The laws every operator of the table keeps, bit for bit (DESIGN section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context, Operator, apply

from .series import FIRST_BAR, ROWS, cut, literal_cases, names_of, operands_of, run, same_bits, sample

GARBAGE = 9e300


def every_case(keep: Callable[[Operator], bool] = lambda operator: True) -> pytest.MarkDecorator:
    """Parametrise over the kept operators and all literals each is tried with."""
    cases = [
        pytest.param(operator, literals, id=f"{operator.name}-{k}")
        for operator in OPERATORS.values()
        if keep(operator)
        for k, literals in enumerate(literal_cases(operator))
    ]
    return pytest.mark.parametrize("operator, literals", cases)


def every_operator(keep: Callable[[Operator], bool] = lambda operator: True) -> pytest.MarkDecorator:
    """Parametrise over the kept operators."""
    kept = [operator for operator in OPERATORS.values() if keep(operator)]
    return pytest.mark.parametrize("operator", kept, ids=lambda operator: operator.name)


def missing_follows_the_operands(operator: Operator) -> bool:
    """False for operators whose row gives a missing present value another meaning."""
    held = {"shift", "ffill", "value_when", "trade_when", "cum_count", "adv_rank", "qlib_ewm"}
    if operator.name in {"and", "or", "where", "is_nan", "fill", "qlib_definite", *held} or operator.family == "named":
        return False
    return operator.family != "time" or "where x is" in operator.missing.replace("where x is flat", "")


def takes_a_number_beside_a_series(operator: Operator) -> bool:
    return "operand" in [argument.kind for argument in operator.array_arguments][1:]


def market(operator: Operator, seed: int = 3) -> tuple[list[np.ndarray], Context]:
    x, context = sample(seed)
    return operands_of(operator, x, context, seed), context


def spoil(arrays: list[np.ndarray], where: np.ndarray) -> list[np.ndarray]:
    """Return the operands with nonsense at some places (a mask gets its opposite, which is nonsense enough)."""
    return [np.where(where, np.where((a == 0) | (a == 1), 1 - a, GARBAGE), a) for a in arrays]


def starts(operator: Operator, literals: dict[str, Any], context: Context) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a first loaded row and the cells [T, B] whose look-back lies at or after it."""
    lookback = operator.lookback(literals)
    row = np.arange(ROWS)[:, None]
    for begin in (1, 4, 7, 29, 40):
        # A symbol's look-back does not reach across the beginning of its episode; that of a cross-section may.
        reach = ROWS if lookback is None else lookback
        needed = row - (np.minimum(context.age - 1, reach) if operator.family != "cross" else reach)
        yield begin, (needed >= begin) & (context.age > 0) & (row >= begin)


@every_case()
def test_never_sees_the_future(operator: Operator, literals: dict[str, Any]) -> None:
    operands, context = market(operator)
    whole = run(operator, operands, literals, context)
    for t in (0, 6, 17, 30, 49):
        arrays, part = cut(operands, context, slice(0, t + 1))
        assert same_bits(run(operator, arrays, literals, part), whole[: t + 1]), f"truncated after row {t}"
        later = np.broadcast_to(np.arange(ROWS)[:, None] > t, context.age.shape)
        assert same_bits(run(operator, spoil(operands, later), literals, context)[: t + 1], whole[: t + 1])
        # A symbol that will be delisted looks like any other until then.
        ended = replace(context, age=np.where(later, 0, context.age).astype(np.int32))
        assert same_bits(run(operator, operands, literals, ended)[: t + 1], whole[: t + 1])


@every_case()
def test_needs_no_more_than_its_lookback(operator: Operator, literals: dict[str, Any]) -> None:
    operands, context = market(operator)
    whole = run(operator, operands, literals, context)
    for begin, settled in starts(operator, literals, context):
        before = np.broadcast_to(np.arange(ROWS)[:, None] < begin, context.age.shape)
        spoiled = run(operator, spoil(operands, before), literals, context)
        assert same_bits(spoiled[settled], whole[settled]), f"garbage before row {begin}"
        arrays, part = cut(operands, context, slice(begin, ROWS))
        got = run(operator, arrays, literals, part)
        assert same_bits(got[settled[begin:]], whole[begin:][settled[begin:]]), f"loaded from row {begin}"


@every_operator(lambda operator: bool(operator.lookback(literal_cases(operator)[-1])))
def test_lookback_is_not_overstated(operator: Operator) -> None:
    """The oldest row of the stated look-back does matter (else data would be loaded for nothing)."""
    literals = literal_cases(operator)[-1]
    lookback = operator.lookback(literals)
    assert lookback is not None
    rng = np.random.default_rng(0)
    t = 40
    changed = False
    for _ in range(20):
        operands = [np.exp(rng.standard_normal((t + 1, 4))) for _ in operator.operands]
        if operator.operands[0].kind == "mask":
            operands[0] = (operands[0] > 1).astype(np.float64)
        if operator.name == "ffill":
            operands[0][t - lookback + 1 :] = np.nan
        age = np.ascontiguousarray(np.broadcast_to(np.arange(100, 101 + t, dtype=np.int32)[:, None], (t + 1, 4)))
        context = Context(age=age, first_bar=0, symbols=names_of(age))
        oldest = np.zeros((t + 1, 4), bool)
        oldest[t - lookback] = True
        touched = [np.where(oldest, np.nan, a) for a in operands]
        changed |= not same_bits(
            run(operator, touched, literals, context)[t], run(operator, operands, literals, context)[t]
        )
    assert changed


@every_case(lambda operator: operator.family not in ("cross", "named"))
def test_same_bits_for_any_block_of_symbols(operator: Operator, literals: dict[str, Any]) -> None:
    operands, context = market(operator)
    whole = run(operator, operands, literals, context)
    symbols = whole.shape[1]
    for block in (slice(0, 1), slice(3, 4), slice(2, 7), slice(5, symbols), slice(None, None, -1)):
        arrays, part = cut(operands, context, slice(None), block)
        assert same_bits(run(operator, arrays, literals, part), whole[:, block])


@every_case(lambda operator: operator.family == "named")
def test_symbols_touch_only_through_the_one_that_is_named(operator: Operator, literals: dict[str, Any]) -> None:
    operands, context = market(operator)
    whole = run(operator, operands, literals, context)
    named = context.symbols.index(literals["symbol"])
    for block in ([named, 3], [4, named, 2], [named, 9, 10]):
        arrays, part = cut(operands, context, slice(None), block)
        part = replace(part, symbols=tuple(context.symbols[column] for column in block))
        assert same_bits(run(operator, arrays, literals, part), whole[:, block])


@every_case()
def test_value_is_finite_or_the_one_nan(operator: Operator, literals: dict[str, Any]) -> None:
    operands, context = market(operator)
    with np.errstate(over="ignore"):
        huge = [np.where(np.isin(a, (0, 1)), a, a * 1e300) for a in operands]
    for arrays in (operands, [np.where(np.isfinite(a), a, np.nan) for a in huge]):
        values = run(operator, arrays, literals, context)
        assert not np.isinf(values).any()
        assert same_bits(values[np.isnan(values)], np.full(np.isnan(values).sum(), np.nan))


@every_case(lambda operator: operator.result == "mask")
def test_a_mask_is_true_false_or_missing(operator: Operator, literals: dict[str, Any]) -> None:
    operands, context = market(operator)
    values = run(operator, operands, literals, context)
    assert np.isin(values[~np.isnan(values)], (0.0, 1.0)).all()


@every_case(lambda operator: operator.sign != "any")
def test_sign_of_the_row_holds(operator: Operator, literals: dict[str, Any]) -> None:
    operands, context = market(operator)
    values = run(operator, operands, literals, context)
    values = values[~np.isnan(values)]
    assert operator.sign != "non-negative" or (values >= 0).all()
    assert operator.sign != "positive" or (values > 0).all()


@every_case(missing_follows_the_operands)
def test_missing_in_missing_out(operator: Operator, literals: dict[str, Any]) -> None:
    """Where the present value is missing, so is the result, unless the row says otherwise."""
    operands, context = market(operator)
    gone = np.logical_or.reduce([np.isnan(operand) for operand in operands])
    assert np.isnan(run(operator, operands, literals, context)[gone]).all()


@every_operator(lambda operator: operator.family in ("time", "recursive", "named"))
def test_outside_every_episode_windows_are_missing(operator: Operator) -> None:
    operands, context = market(operator)
    filled = [np.where(np.isnan(a), 1.0, a) for a in operands]
    for literals in literal_cases(operator):
        assert np.isnan(run(operator, filled, literals, context)[context.age == 0]).all()


@every_operator()
@pytest.mark.parametrize("rows, symbols", [(slice(0, 5), slice(0, 0)), (slice(0, 0), slice(0, 4))])
def test_of_nothing_comes_nothing(operator: Operator, rows: slice, symbols: slice) -> None:
    operands, context = market(operator)
    arrays, part = cut(operands, context, rows, symbols)
    values, undefined = apply(operator, arrays, literal_cases(operator)[0], part)
    assert values.shape == part.age.shape
    assert undefined == 0


@every_operator(lambda operator: operator.family == "cross")
def test_cross_sections_do_not_notice_outsiders(operator: Operator) -> None:
    operands, context = market(operator)
    assert context.population is not None
    for literals in literal_cases(operator):
        out = ~context.population
        if operator.lookback(literals):  # a window reaches back to bars on which a member was none yet
            out = np.broadcast_to(np.arange(out.shape[1]) % 3 == 0, out.shape)
            context = replace(context, population=np.ascontiguousarray(context.population & ~out))
        values = run(operator, operands, literals, context)
        assert np.isnan(values[out]).all()
        spoiled = spoil(operands, out)
        assert same_bits(run(operator, spoiled, literals, context), values)


@every_operator()
def test_operands_are_left_alone_and_read_only_ones_are_taken(operator: Operator) -> None:
    operands, context = market(operator)
    literals = literal_cases(operator)[0]
    want = run(operator, operands, literals, context)
    for operand in operands:
        operand.flags.writeable = False
    assert same_bits(run(operator, operands, literals, context), want)
    strided = [np.asfortranarray(operand) for operand in operands]
    assert same_bits(run(operator, strided, literals, context), want)


@every_operator(takes_a_number_beside_a_series)
def test_numbers_stand_for_constant_series(operator: Operator) -> None:
    operands, context = market(operator)
    literals = literal_cases(operator)[0]
    for k, argument in enumerate(operator.array_arguments):
        if argument.kind != "operand":
            continue
        mixed: list[Any] = [*operands]
        mixed[k] = 2.0
        spread = [*operands]
        spread[k] = np.full(context.age.shape, 2.0)
        assert same_bits(apply(operator, mixed, literals, context)[0], run(operator, spread, literals, context))


def test_block_phase_follows_the_absolute_clock() -> None:
    """Another absolute first bar may change bits, never the value; the same clock gives the same bits."""
    operator = OPERATORS["ts_std"]
    (x,), context = market(operator)
    moved = replace(context, first_bar=FIRST_BAR + 3)
    literals = {"d": 8}
    np.testing.assert_allclose(
        run(operator, [x], literals, context), run(operator, [x], literals, moved), rtol=1e-9, atol=1e-20
    )


@pytest.mark.parametrize(
    "name, values, undefined",
    [
        ("div", [1.0, 0.0, np.nan, 2.0], 1),
        ("log", [-1.0, 1.0, 0.0, np.nan], 2),
        ("exp", [1e3, 1.0, 2.0, 3.0], 1),
        ("inverse", [0.0, 1.0, np.nan, 4.0], 1),
        ("returns", [1.0, 0.0, 5.0, 6.0], 1),
        ("logret", [1.0, -1.0, 5.0, np.nan], 2),
        ("ts_sum", [1e308, 1e308, 1.0, 2.0], 1),
        ("ts_var", [1.0, 2.0, 1e200, 1e200], 1),
        ("ts_cov", [1e200, 1e200, 1.0, 2.0], 1),
        ("ts_slope", [1.0, -1e308, 1e308, 1e308], 1),
    ],
)
def test_undefined_values_are_counted(name: str, values: list[float], undefined: int) -> None:
    operator = OPERATORS[name]
    column = np.array(values)[:, None]
    age = np.arange(1, 5, dtype=np.int32)[:, None].copy()
    literals = {"d": 1} if name in ("returns", "logret") else {"d": 2}
    operands = [np.ones((4, 1)), column] if name == "div" else [column] * len(operator.array_arguments)
    assert apply(operator, operands, literals, Context(age=age, first_bar=0))[1] == undefined
    # Look-back rows are counted where they are owned, so that chunks add up.
    parts = [apply(operator, operands, literals, Context(age=age, first_bar=0, own_row=row))[1] for row in range(5)]
    assert parts[0] == undefined
    assert parts[4] == 0
    assert parts == sorted(parts, reverse=True)


@pytest.mark.parametrize(
    "name, operands, literals",
    [("nan_out", [9.0, 1.0, 2.0], {}), ("div_safe", [1.0, 0.25], {"eps": 0.5}), ("where", [1.0, np.nan, 2.0], {})],
)
def test_blanks_that_were_asked_for_are_not_counted(name: str, operands: list[float], literals: dict[str, Any]) -> None:
    age = np.arange(1, 5, dtype=np.int32)[:, None].copy()
    arrays = [np.full((4, 1), value) for value in operands]
    values, undefined = apply(OPERATORS[name], arrays, literals, Context(age=age, first_bar=0))
    assert np.isnan(values).all()
    assert undefined == 0


@pytest.mark.parametrize(
    "name, operands, literals",
    [
        ("log", [0.0], {}), ("inverse", [0.0], {}), ("div", [1.0, 0.0], {}), ("mod", [1.0, 0.0], {}),
        ("clip", [1.0, 3.0, 2.0], {}), ("ts_sum", [1.7e308], {"d": 2}), ("ts_std", [1e300], {"d": 2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_look_back_rows_are_not_counted(name: str, operands: list[float], literals: dict[str, Any]) -> None:
    """However many pieces the values are gone through in."""
    rows, own = 3000, 1300
    signs = np.where(np.arange(rows) % 2, 1.0, -1.0)[:, None] if name == "ts_std" else 1.0
    arrays = [np.full((rows, 3), value) * signs for value in operands]
    age = np.repeat(np.arange(10, rows + 10, dtype=np.int32)[:, None], 3, axis=1)
    _, undefined = apply(OPERATORS[name], arrays, literals, Context(age=age, first_bar=0, own_row=own))
    assert undefined == (rows - own) * 3
