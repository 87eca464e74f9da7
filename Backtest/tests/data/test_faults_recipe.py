"""Thousands of damaged recipes: each is refused in words or compiles, at once and within its memory (FAULTS 36-41)."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import pytest

from Backtest.data.dsl.bind import bind
from Backtest.data.dsl.blocks import choose_blocks
from Backtest.data.dsl.parser import parse
from Backtest.data.dsl.scope import Scope
from Backtest.data.dsl.segments import segments
from Backtest.data.dsl.steps import StepTable
from Backtest.data.factors import compile_recipe
from Backtest.data.recipe import load_recipe
from Backtest.data.schema import FIELDS
from Backtest.errors import ExpressionError, FactorError

RECIPE = """description: "mutate me"
params: {n: 14, share: 0.5}
let: {ret: "logret(close, 1)", slow: {expression: "ts_mean(ret, {n})", description: "x"}}
factors:
  - name: mfi14
    type: expression
    expression: "where(volume > 0, ts_sum((high+low+close)/3 * volume, {n}) / ts_sum(volume, 14), 0)"
    na_threshold: 0.2
  - name: mean
    type: library_function
    source: Backtest.tests.data.sample_modules.functions:mean
    params:
      window: 14
  - {name: both, type: expression, expression: "cs_rank(mfi14) - ts_rank(mean, 5, norm='n-1') ** -{share}"}
  - {name: "vol_{bars}", type: expression, expression: "ts_std(ret, {bars}) - slow", grid: {bars: [7, 14]}}
"""
PIECES = [
    "(", ")", "[", "]", "{", "}", '"', "'", ":", "-", "- ", "\n", "\n  ", "  ", "\t", ",", "*", "**", "&a ", "*a",
    "!!", "!x ", "|", ">", "#", "%", "@", "`", "\\", "\x00", "\ufeff", "\u202e", "é", "\U0001f600", "0", "-1", "1e999",
    "9" * 400, ".5", "no", "null", "~", "<<: ", "? ", "---\n", "...\n", "shift(close, -1)", "ts_mean(", "and ", "not ",
    "close", "{n}", "<", "factors:", "name: a\n", "(" * 200, "[" * 60, "a+" * 300, "1000000000000", "0x1F", "__class__",
    "os:system", "\r\n", "=",
]  # fmt: skip
SECONDS, BYTES = 2.0, 2**30


def mutated(draw: random.Random, text: str) -> str:
    """Return `text` after one to five cuts, insertions, swaps, repeats or changed characters."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        place, width = draw.randrange(len(text) + 1), draw.choice([1, 1, 2, 5, 20])
        end = min(len(text), place + width)
        roll = draw.randrange(5)
        if roll == 0:
            text = text[:place] + text[end:]
        elif roll == 1:
            text = text[:place] + draw.choice(PIECES) + text[place:]
        elif roll == 2:
            text = text[:place] + text[place:end] * draw.choice([2, 3, 50]) + text[end:]
        elif roll == 3:
            text = (
                text[:place]
                + chr(draw.choice([draw.randrange(1, 128), draw.randrange(0x110000 - 1) or 1]))
                + text[end:]
            )
        else:
            other = draw.randrange(len(text) + 1)
            text = text[:place] + text[other : other + width] + text[end:]
    return text or "x"


def test_damaged_recipes(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    rounds = 10_000 if pytestconfig.getoption("--long", default=False) else 800
    draw = random.Random(36)
    path = tmp_path / "recipe.yaml"
    allowed = ("Backtest.tests.data.sample_modules.functions",)
    outcomes = {"refused": 0, "compiled": 0}
    tracemalloc.start()
    for _ in range(rounds):
        content = mutated(draw, RECIPE).encode("utf-8", "surrogatepass")
        if draw.random() < 0.1:
            place = draw.randrange(len(content))
            content = content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
        path.write_bytes(content)
        begin = time.process_time()
        try:
            compile_recipe(load_recipe(path), allow_modules=allowed, max_window=100_000)
            outcomes["compiled"] += 1
        except FactorError as error:
            outcomes["refused"] += 1
            assert str(error).startswith(str(path)), error
            assert len(str(error).splitlines()) == (3 if isinstance(error, ExpressionError) else 1), error
        assert time.process_time() - begin < SECONDS, content
    assert tracemalloc.get_traced_memory()[1] < BYTES
    tracemalloc.stop()
    assert min(outcomes.values()) > rounds // 100, outcomes


def test_damaged_expressions(pytestconfig: pytest.Config) -> None:
    draw = random.Random(37)
    texts = [line.split('"')[1] for line in RECIPE.splitlines() if "expression: " in line]
    scope = Scope(FIELDS, params={"n": 14, "share": 0.5}, max_window=100_000)
    for _ in range(20_000 if pytestconfig.getoption("--long", default=False) else 3_000):
        text = mutated(draw, draw.choice(texts))
        begin = time.process_time()
        try:
            bind(parse(text), text, scope=scope, table=StepTable(), where="factor 'x'")
        except ExpressionError as error:
            assert 0 <= error.offset <= len(text), text
            assert len(error.message.splitlines()) == 1, text
        assert time.process_time() - begin < SECONDS, text


def test_a_recipe_at_every_limit_is_answered_at_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    longest = " + ".join(["ts_mean(close, 3) * 2"] * 1_650)
    many = "".join(
        f'  - {{name: f{number}, type: expression, expression: "close * {number}"}}\n' for number in range(5_000)
    )
    chain = "".join(
        f'  - {{name: f{number}, type: expression, expression: "{f"f{number - 1}" if number else "close"} + 1"}}\n'
        for number in range(5_000)
    )
    for body in (chain, f'  - {{name: a, type: expression, expression: "{longest}"}}\n', many):
        path.write_text("factors:\n" + body, encoding="utf-8")
        begin = time.process_time()
        compile_recipe(load_recipe(path), allow_modules=(), max_window=1000)
        assert time.process_time() - begin < 4


def test_a_thousand_segments_are_planned_at_once(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    lines = ["  - {name: f0, type: expression, expression: close}"]
    lines += [f'  - {{name: f{k}, type: expression, expression: "cs_rank(f{k - 1}) + 1"}}' for k in range(1, 500)]
    path.write_text("factors:\n" + "\n".join(lines) + "\n", encoding="utf-8")
    plan = compile_recipe(load_recipe(path), allow_modules=(), max_window=1000)
    begin = time.process_time()
    assert len(segments(plan)) == 998
    choose_blocks(plan, 1000, 10, budget=1e9)
    assert time.process_time() - begin < 1
