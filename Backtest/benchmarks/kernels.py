"""Nanoseconds per value of every kernel of the operator table, as one table.

    python -m Backtest.benchmarks.kernels                        every operator, windows 5 14 60 96 672
    python -m Backtest.benchmarks.kernels --only ts_r cs_rank    operators whose name begins so
    python -m Backtest.benchmarks.kernels --symbols 200 --gaps 0.02
    python -m Backtest.benchmarks.kernels --chain                mfi14 in the engine, and its steps one by one

One call of a kernel on a block of 1024 rows that stays in the cache: gap-free, or with a share of the values missing
(`--gaps`), which takes every loop off its plain form. The least CPU time of several calls. The first line says how long
the first calls took: with an empty NUMBA_CACHE_DIR that is compiling the kernel package.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from Backtest.benchmarks import factors
from Backtest.benchmarks.factor_sets import ours
from Backtest.data.dsl.operators import OPERATORS, Context, Operator, apply
from Backtest.data.dsl.plan import Plan
from Backtest.data.panel import Panel

WINDOWS = (5, 14, 60, 96, 672)
ROWS = 1024
BUDGET = 0.15
"""CPU seconds for the repeats of one number."""

LITERALS: dict[str, Any] = {
    "q": 0.8, "k": 3, "f": 0.9, "edges": (-1.0, 0.0, 1.0), "limit": 3, "h": 8.0, "a": 1.0, "fast": 2, "slow": 30,
    "buckets": 10, "decimals": 2, "eps": 1e-9, "out": "beta",
}  # fmt: skip
LENGTHS = ("d", "span")
FEWER = {"cs_winsorize": {"q": 0.1}}


def market(operator: Operator, rows: int, symbols: int, gaps: float) -> tuple[list[Any], Context]:
    """Return the operands of an operator on a random market in the middle of its life."""
    draw = np.random.default_rng(7)
    operands: list[Any] = []
    for argument in operator.operands:
        if argument.kind == "mask":
            values = (draw.random((rows, symbols)) < 0.5).astype(np.float64)
        else:
            values = 100.0 * np.exp(np.cumsum(0.005 * draw.standard_normal((rows, symbols)), axis=0))
        values[draw.random((rows, symbols)) < gaps] = np.nan
        operands.append(values)
    age = np.repeat(np.arange(10_000, 10_000 + rows, dtype=np.int32)[:, None], symbols, axis=1)
    return operands, Context(age=age, first_bar=420_000, population=np.ones((rows, symbols), dtype=np.bool_))


def literals_of(operator: Operator, d: int) -> dict[str, Any] | None:
    """Return literals for window d; None where the operator refuses them or knows arguments that `LITERALS` lacks."""
    literals: dict[str, Any] = {}
    for argument in operator.literal_arguments:
        if argument.name in LENGTHS:
            literals[argument.name] = d
        elif argument.required or argument.name in LITERALS:
            if argument.name not in LITERALS:
                return None
            literals[argument.name] = FEWER.get(operator.name, LITERALS)[argument.name]
    return None if operator.check(operator.complete(literals)) else literals


def least(call: Callable[[], Any], values: int) -> float:
    """Return the least nanoseconds of CPU time per value within the budget."""
    call()  # compiles what another number of symbols has not
    best, spent = float("inf"), 0.0
    while spent < BUDGET:
        begin = time.process_time()
        call()
        taken = time.process_time() - begin
        best, spent = min(best, taken), spent + taken
    return best / values * 1e9


def cost(operator: Operator, d: int, symbols: int, gaps: float) -> float | None:
    """Return nanoseconds per value; None where the operator has no such window."""
    literals = literals_of(operator, d)
    if literals is None:
        return None
    operands, context = market(operator, max(ROWS, 4 * d), symbols, gaps)
    out = np.zeros_like(context.age, dtype=np.float64)
    return least(lambda: apply(operator, operands, literals, context, out=out), out.size)


def one_by_one(plan: Plan, panel: Panel, rows: int) -> Callable[[], None]:
    """Return a call that applies a plan's steps one after the other, tile by tile: what a chain saves."""
    depth, symbols = plan.lookback or 0, panel.shape[1]
    arrays = {number: np.zeros((depth + rows, symbols)) for number in plan.order}

    def call() -> None:
        for begin in range(depth, panel.shape[0] - rows + 1, rows):
            tile = slice(begin - depth, begin + rows)
            context = Context(age=panel.age[tile], first_bar=panel.first_bar + tile.start, own_row=depth)
            values = {n: panel.fields[str(s.source)][tile] for n, s in enumerate(plan.steps) if s.is_field} | arrays
            for number in plan.order:
                step = plan.steps[number]
                operands = [values[one] if isinstance(one, int) else one for one in step.operands]
                apply(cast(Operator, step.source), operands, dict(step.literals), context, out=arrays[number])

    return call


def print_chain(symbols: int) -> None:
    """Print what a value of mfi14 takes in the engine, and where its steps are applied one by one."""
    panel, plan = factors.market(17_520, symbols), factors.plan_of(factors.MFI)
    size = panel.shape[0] * panel.shape[1]
    for rows in (170, 682, 2728):
        print(f"mfi14, one by one, tiles of {rows:5} rows {least(one_by_one(plan, panel, rows), size):9.2f}")
    print(f"mfi14, engine {least(ours(plan, panel), size):31.2f}")


def first_calls(operators: Sequence[Operator]) -> float:
    """Return the CPU seconds of one call of every operator: compiling, or reading compiled code."""
    begin = time.process_time()
    for operator in operators:
        literals = literals_of(operator, 5)
        if literals is not None:
            operands, context = market(operator, 16, 16, 0.0)
            apply(operator, operands, literals, context)
    return time.process_time() - begin


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of operator names")
    parser.add_argument("--symbols", type=int, default=48)
    parser.add_argument("--gaps", type=float, default=0.0, help="share of the values that are missing")
    parser.add_argument("--chain", action="store_true", help="only mfi14 in the engine and step by step")
    options = parser.parse_args(arguments)
    if options.chain:
        print_chain(options.symbols)
        return
    operators = [operator for operator in OPERATORS.values() if operator.name.startswith(tuple(options.only))]
    print(f"first calls {first_calls(operators):.1f} s; ns per value, {options.symbols} symbols, gaps {options.gaps}")
    print(f"{'':18}" + "".join(f"{d:>9}" for d in WINDOWS))
    for operator in operators:
        has_window = any(argument.name in LENGTHS for argument in operator.literal_arguments)
        costs = [cost(operator, d, options.symbols, options.gaps) for d in (WINDOWS if has_window else (0,))]
        print(f"{operator.name:18}" + "".join("        -" if ns is None else f"{ns:9.2f}" for ns in costs), flush=True)


if __name__ == "__main__":
    main()
