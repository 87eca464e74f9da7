"""The engine beside the plain application of one operator after the other to whole columns: same bits, same counts."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Literal
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Backtest.data.dsl import chains, program
from Backtest.data.dsl.bind import bind
from Backtest.data.dsl.blocks import Blocks
from Backtest.data.dsl.engine import Stream, counted, evaluate
from Backtest.data.dsl.operators import OPERATORS, Context, Operator, apply
from Backtest.data.dsl.parser import parse
from Backtest.data.dsl.plan import Plan, PlannedFactor
from Backtest.data.dsl.scope import Scope
from Backtest.data.dsl.segments import SUMS
from Backtest.data.dsl.signature import kernel_of
from Backtest.data.dsl.steps import StepTable
from Backtest.data.kernels.chain import JOINT, PUBLISH
from Backtest.data.kernels.elementwise import Loop
from Backtest.data.kernels.rolling import Sums
from Backtest.data.panel import Panel
from Backtest.tests.data.kernels.series import literal_cases
from Backtest.tests.data.small_panel import FIELDS, small_panel

ROWS, SYMBOLS, GAP_TOLERANCE = 120, 7, 0.1
USABLE = [operator for operator in OPERATORS.values() if operator.expand is None]
MORE_FIELDS = sorted({name for operator in USABLE for name in operator.implicit} - set(FIELDS))


@cache
def cases(name: str) -> tuple[tuple[tuple[str, object], ...], ...]:
    symbol = {argument.name: "S03USDT" for argument in OPERATORS[name].literal_arguments if argument.kind == "symbol"}
    if symbol:
        return (tuple(symbol.items()),)
    return tuple(tuple(case.items()) for case in literal_cases(OPERATORS[name]))


def random_plan(seed: int, first: int, count: int, usable: Sequence[Operator] = USABLE) -> Plan:
    """Return a plan of `count` of the operators from number `first` on, on random earlier steps; all factors."""
    draw = np.random.default_rng(seed)
    table = StepTable()
    series, masks = [table.field(name) for name in FIELDS], []
    masks.append(table.operator(OPERATORS["gt"], (series[3], series[0]), ()))
    found: list[int] = [masks[0]]
    for k in range(count):
        operator = usable[(first + k) % len(usable)]
        literals = cases(operator.name)[draw.integers(len(cases(operator.name)))]
        operands = tuple(operand(argument.kind, draw, series, masks) for argument in operator.array_arguments)
        number = table.operator(operator, operands, literals)
        (masks if operator.result == "mask" else series).append(number)
        found.append(number)
    factors = [PlannedFactor(f"f{number}", number, table.steps[number].kind, None, (), ()) for number in found]
    return Plan(tuple(table.steps), tuple(factors))


def operand(kind: str, draw: np.random.Generator, series: list[int], masks: list[int]) -> int | float:
    if kind == "operand" and draw.random() < 0.1:
        return float(draw.integers(-1, 3))
    return int(draw.choice(masks if kind == "mask" else series))


def whole_columns(
    plan: Plan, panel: Panel, tolerance: float = GAP_TOLERANCE
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return what the engine must give: every operator applied once, to all rows and symbols."""
    context = Context(panel.age, panel.first_bar, panel.member & panel.tradable, tolerance, panel.warmup, panel.symbols)
    values: dict[int, np.ndarray] = {}
    counts = np.zeros(len(plan.steps), dtype=np.int64)
    for step in plan.steps:
        if isinstance(step.source, Operator):
            operands = [values[one] if isinstance(one, int) else one for one in step.operands]
            values[step.number], counts[step.number] = apply(step.source, operands, dict(step.literals), context)
        else:
            values[step.number] = panel.fields[str(step.source)]
    there = panel.exists[panel.warmup :]
    own = {factor.name: values[factor.step][panel.warmup :] for factor in plan.factors}
    return {name: np.where(there & np.isfinite(one), one, np.nan) for name, one in own.items()}, counts


def market(seed: int = 1) -> Panel:
    """Return a small panel with every field that a row of the table takes by itself, random walks too."""
    panel = small_panel(ROWS, SYMBOLS, seed=seed)
    draw = np.random.default_rng(seed)
    more = {name: panel.fields["volume"] * draw.random((ROWS, SYMBOLS)) for name in MORE_FIELDS}
    return replace(panel, fields={**panel.fields, **more})


def empty(plan: Plan, panel: Panel) -> dict[str, np.ndarray]:
    return {factor.name: np.empty((len(panel.age) - panel.warmup, SYMBOLS)) for factor in plan.factors}


def laid(values: np.ndarray, how: int) -> np.ndarray:
    """Return the same values, lying as kernels want them or not."""
    copy = np.array(values, order="F" if how == 1 else "C")
    copy.flags.writeable = how != 2
    return copy


def same(got: dict[str, np.ndarray], wanted: dict[str, np.ndarray], plan: Plan) -> None:
    for factor in plan.factors:
        source = plan.steps[factor.step].source
        name = source.name if isinstance(source, Operator) else source
        assert got[factor.name].tobytes() == wanted[factor.name].tobytes(), name


@pytest.mark.parametrize("first", range(0, len(USABLE), 24), ids=lambda first: USABLE[first].name)
@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, ROWS), symbols=st.integers(1, 8), threads=st.integers(1, 3))
def test_tiles_change_nothing(first: int, seed: int, rows: int, symbols: int, threads: int) -> None:
    plan, panel = random_plan(seed, first, 24), market(seed % 1000)
    panel = replace(panel, warmup=seed % 50)
    wanted, counts = whole_columns(plan, panel)
    out = empty(plan, panel)
    found = evaluate(
        plan, panel, library={}, out=out, blocks=Blocks(rows, symbols), gap_tolerance=GAP_TOLERANCE, threads=threads
    )
    same(out, wanted, plan)
    np.testing.assert_array_equal(found, counts)


PARTS: list[tuple[int, int, int, Literal["C", "F"]]] = [
    (0, 5, 0, "C"), (5, 31, 0, "C"), (31, 44, 0, "C"), (44, 57, 1, "C"), (57, 70, 1, "F"), (70, 71, 2, "F"),
    (71, 84, 0, "F"), (84, 97, 0, "C"), (97, ROWS, 2, "C"),
]  # fmt: skip
"""First row, row behind the last, layout of the fields, order of the outputs: both change between parts as long."""


@pytest.mark.parametrize("symbols", [4, SYMBOLS])
@pytest.mark.parametrize("first", [0, 60, 120])
def test_a_panel_may_come_in_parts(first: int, symbols: int) -> None:
    """Each part brings the rows that fields are looked back to; all else is carried. It may lie in any order."""
    plan, panel = random_plan(first, first, 60), market()
    wanted, counts = whole_columns(plan, replace(panel, warmup=10))
    stream = Stream(plan, counted(panel), blocks=Blocks(13, symbols), gap_tolerance=GAP_TOLERANCE)
    out, found = empty(plan, replace(panel, warmup=10)), np.zeros_like(counts)
    for begin, end, how, order in PARTS:
        top = max(0, begin - stream.overlap)
        own = max(begin, min(10, end))
        rows = panel.rows(top, end, warmup=own - top)
        rows = replace(rows, fields={name: laid(one, how) for name, one in rows.fields.items()})
        part = {name: np.empty((end - own, SYMBOLS), order=order) for name in out}
        found += stream.feed(rows, library={}, out=part, begin=begin - top)
        for name, values in part.items():
            out[name][own - 10 : end - 10] = values
    same(out, wanted, plan)
    np.testing.assert_array_equal(found, counts)


@pytest.mark.parametrize("name", [name for name, operator in OPERATORS.items() if operator.chains])
def test_what_the_engine_chains_is_a_loop(name: str) -> None:
    assert isinstance(kernel_of(OPERATORS[name]), Loop)


def test_the_sums_that_the_engine_chains_are_sums() -> None:
    found = [operator for operator in USABLE if operator.kernel in SUMS]
    assert len(found) >= len(SUMS)
    assert all(isinstance(kernel_of(operator), Sums) for operator in found)


SHORT_SUMS = ("ts_sum", "ts_mean", "ts_count", "add", "div", "where", "gt", "abs", "max2", "shift", "ema", "cs_rank")


def strained(panel: Panel, seed: int) -> Panel:
    """Return the panel with volumes of 0 and near the largest number: quotients are undefined, sums overflow."""
    strange = np.random.default_rng(seed).random(panel.shape)
    volume = np.where(strange < 0.1, np.where(strange < 0.05, 0.0, 1.7e308), panel.fields["volume"])
    return replace(panel, fields={**panel.fields, "volume": volume})


@pytest.mark.parametrize("values", [1, 30, 70, 8192])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, ROWS), symbols=st.sampled_from([3, SYMBOLS]))
def test_strips_change_nothing(values: int, seed: int, rows: int, symbols: int) -> None:
    """A strip may be shorter than a window, and than what the next one looks back to."""
    usable = [OPERATORS[name] for name in SHORT_SUMS]
    plan, panel = random_plan(seed, 0, 24, usable), replace(strained(market(seed % 1000), seed), warmup=seed % 50)
    named = plan.factors[seed % 3 :: 3]  # what no factor names never leaves its chain
    plan = replace(plan, factors=named)
    wanted, counts = whole_columns(plan, panel)
    out = empty(plan, panel)
    with mock.patch.object(chains, "STRIP", values):
        found = evaluate(
            plan, panel, library={}, out=out, blocks=Blocks(rows, symbols), gap_tolerance=GAP_TOLERANCE, threads=1
        )
    same(out, wanted, plan)
    used = list(plan.needed)
    np.testing.assert_array_equal(found[used], counts[used])


ARITHMETIC = ("add", "sub", "mul", "div", "add", "sub", "mul", "div", "neg", "ts_sum")


def whole_panel(seed: int, rows: int, symbols: int) -> Panel:
    """Return a panel without gaps, where steps go in one loop."""
    panel = small_panel(rows, symbols, seed=seed)
    there = np.ones(panel.shape, dtype=np.bool_)
    age = np.repeat(np.arange(1, rows + 1, dtype=np.int32)[:, None], symbols, axis=1)
    draw = np.random.default_rng(seed)
    fields = {name: np.exp(draw.normal(0.0, 1.0, panel.shape)) for name in panel.fields}
    return replace(panel, fields=fields, exists=there, tradable=there, member=there, age=age)


@pytest.mark.parametrize("strange", ["nothing", "late", "rare", "absent"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), named=st.integers(1, 5))
def test_steps_in_one_loop_change_nothing(strange: str, seed: int, named: int) -> None:
    """Nothing is missing; or from some row on; or a division by 0, or an overflow, here and there; or no bar is."""
    plan, panel = random_plan(seed, 0, 30, [OPERATORS[name] for name in ARITHMETIC]), whole_panel(seed % 99, 300, 40)
    plan = replace(plan, factors=plan.factors[1 + seed % named :: named])
    draw = np.random.default_rng(seed)
    if strange == "late":
        panel.fields["close"][150:, 3] = np.nan
    elif strange == "rare":
        places = draw.integers(panel.fields["low"].size, size=4)
        panel.fields["low"].reshape(-1)[places] = [0.0, 1.7e308, -1.7e308, 1e-320]
    elif strange == "absent":
        panel = replace(panel, exists=draw.random(panel.shape) < 0.9)
    wanted, counts = whole_columns(plan, panel)
    out = {name: np.empty_like(one) for name, one in wanted.items()}
    found = evaluate(plan, panel, library={}, out=out, blocks=Blocks(300, 64), gap_tolerance=GAP_TOLERANCE)
    same(out, wanted, plan)
    used = list(plan.needed)
    np.testing.assert_array_equal(found[used], counts[used])


@pytest.mark.parametrize(
    "text, factors, joint",
    [
        ("(close - open) / low", 1, 1),
        ("low - (close - open)", 1, 1),
        ("low / (close - open)", 1, 0),  # 1 over an infinite difference would look finite
        ("(high + low + close) / 3 * volume", 1, 2),
        ("abs((high + low + close) / 3 * volume)", 1, 2),  # a loop must not write over what it reads
        ("(close - open) * (close - open)", 1, 0),
        ("abs(close - open) / low", 1, 0),
        ("(close - open) / low + (close - open)", 1, 1),  # the difference is read twice, the quotient once
        ("(close - open) / low", 2, 0),  # the difference is a factor too
    ],
)
def test_which_steps_go_in_one_loop(text: str, factors: int, joint: int) -> None:
    table, fields = StepTable(), ("close", "high", "low", "open", "volume")
    scope = Scope(fields)
    step = int(bind(parse(text, where="x"), text, scope=scope, table=table, where="x").value)
    named = [step, *(one.number for one in table.steps if factors == 2 and one.number != step and one.is_computed)]
    plan = Plan(tuple(table.steps), tuple(PlannedFactor(f"f{k}", k, "series", None, (), ()) for k in named))
    panel = whole_panel(1, 50, 5)
    out = {factor.name: np.empty(panel.shape) for factor in plan.factors}
    with mock.patch.object(program, "write_chain", wraps=chains.write_chain) as written:
        evaluate(plan, panel, library={}, out=out, blocks=Blocks(50, 64), gap_tolerance=GAP_TOLERANCE)
    assert written.call_count == 1
    (step_kernels,), more = written.call_args
    code = chains.write_chain(step_kernels, **more).code
    assert [int(kind) for kind in code[:, 0]].count(JOINT) == joint
    # What nobody else reads is written where it is published, and only that.
    ways = code[code[:, 0] == PUBLISH]
    assert (ways[:, 2] == ways[:, 5]).tolist() == [False] * (factors - 1) + [True]
    same(out, whole_columns(plan, panel)[0], plan)


def test_a_scrap_that_both_would_write_and_read_keeps_two_steps_apart() -> None:
    """What a sum of three is collected in is free at once, and the next step takes it."""
    table = StepTable()
    high, low, close = (table.field(name) for name in ("high", "low", "close"))
    total = table.operator(OPERATORS["max2"], (high, low, close), ())
    product = table.operator(OPERATORS["mul"], (total, low), ())
    steps, add, mul = table.steps, kernel_of(OPERATORS["add"]), kernel_of(OPERATORS["mul"])
    assert isinstance(add, Loop)
    assert isinstance(mul, Loop)
    chained = [(steps[total], add), (steps[product], mul)]
    code = chains.write_chain(chained, arrays=(), strips={}, names={}, gap_tolerance=GAP_TOLERANCE).code
    assert code[2, 5] == code[1, 2]  # the product lies where the sum of the first two was
    assert JOINT not in code[:, 0]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_plan_serves_any_number_of_panels(seed: int) -> None:
    """What is made once for a plan holds nothing of the panel, its width or layout, nor of where factors go to."""
    draw = np.random.default_rng(seed)
    plan = random_plan(seed, 0, 16, [OPERATORS[name] for name in SHORT_SUMS])
    plan = replace(plan, factors=plan.factors[seed % 2 :: 2])
    for _ in range(8):
        symbols, tolerance = int(draw.choice([3, 40, 70])), float(draw.choice([0.1, 0.6]))
        panel = replace(small_panel(ROWS, symbols, seed=seed % 1000), warmup=int(draw.integers(50)))
        panel = replace(panel, fields={name: laid(one, int(draw.integers(3))) for name, one in panel.fields.items()})
        wanted, counts = whole_columns(plan, panel, tolerance)
        out = {name: np.empty_like(laid(one, int(draw.integers(2)))) for name, one in wanted.items()}
        blocks, threads = Blocks(int(draw.integers(1, ROWS)), 64), int(draw.integers(1, 3))
        found = evaluate(plan, panel, library={}, out=out, blocks=blocks, gap_tolerance=tolerance, threads=threads)
        same(out, wanted, plan)
        np.testing.assert_array_equal(found[list(plan.needed)], counts[list(plan.needed)])
        plan = pickle.loads(pickle.dumps(plan)) if draw.random() < 0.2 else plan


def test_scratch_is_as_large_as_the_widest_block_needs() -> None:
    """Blocks of 33, 1 and 35 symbols: strips of 248 and 234 rows, so that windows of 3 and 17 bars make both 250."""
    table = StepTable()
    mean = table.operator(OPERATORS["ts_mean"], (table.field("close"),), (("d", 3),))
    peak = table.operator(OPERATORS["ts_max"], (mean,), (("d", 5),))  # no chain holds it: it stands between two
    step = table.operator(OPERATORS["ts_mean"], (peak,), (("d", 17),))
    plan = Plan(tuple(table.steps), (PlannedFactor("mean", step, "series", None, (), ()),))
    rows, symbols, made = 300, 69, []
    panel = small_panel(rows, symbols)
    panel.member[:, 33] = False

    def fenced(height: int, columns: int) -> np.ndarray:
        made.append(np.full(height * columns + 4096, -1.0))
        return made[-1][: height * columns].reshape(height, columns)

    out = {"mean": np.empty((rows, symbols))}
    with mock.patch.object(program, "aligned", fenced):
        evaluate(plan, panel, library={}, out=out, blocks=Blocks(rows, 64), gap_tolerance=GAP_TOLERANCE)
    same(out, whole_columns(plan, panel)[0], plan)
    assert made
    assert all((flat[-4096:] == -1.0).all() for flat in made)


def test_blocks_of_any_number_of_symbols() -> None:
    """Kernels have scratch for some columns only, whoever calls them."""
    table = StepTable()
    step = table.operator(OPERATORS["ts_mean"], (table.field("close"),), (("d", 5),))
    plan = Plan(tuple(table.steps), (PlannedFactor("mean", step, "series", None, (), ()),))
    panel = small_panel(ROWS, 150)
    wanted, _ = whole_columns(plan, panel)
    out = {"mean": np.empty((ROWS, 150))}
    evaluate(plan, panel, library={}, out=out, blocks=Blocks(17, 150), gap_tolerance=GAP_TOLERANCE)
    same(out, wanted, plan)


@pytest.mark.parametrize("wrong", ["rows", "symbols", "kind", "age", "field"])
def test_arrays_of_another_size_are_refused(wrong: str) -> None:
    """A chain is given addresses: an array too small would be written beyond its end."""
    table = StepTable()
    step = table.operator(OPERATORS["add"], (table.field("close"), 1.0), ())
    plan = Plan(tuple(table.steps), (PlannedFactor("more", step, "series", None, (), ()),))
    panel = small_panel(ROWS, SYMBOLS)
    shape = (ROWS - (wrong == "rows"), SYMBOLS - (wrong == "symbols"))
    out = {"more": np.empty(shape, dtype=np.float32 if wrong == "kind" else np.float64)}
    if wrong == "age":
        panel = replace(panel, age=panel.age.astype(np.int64))
    if wrong == "field":
        panel = replace(panel, fields={"close": panel.fields["close"][1:]})
    with pytest.raises(ValueError, match="is wanted"):
        Stream(plan, counted(panel), blocks=Blocks(50, 7), gap_tolerance=0.1).feed(panel, library={}, out=out)
