"""What ``--explain`` and ``--list-operators`` print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from Backtest.data.dsl.explain import PanelSize, explain, operator_page
from Backtest.data.dsl.operators import ALIASES, LISTED
from Backtest.data.factors import compile_recipe
from Backtest.data.timeframe import parse_timeframe
from Backtest.settings import PROJECT_ROOT
from Backtest.tests.data.small_panel import recipe_of


def test_explain_by_hand(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, mom="close / shift(close, 30) - 1", ranked="cs_rank(mom) * ts_mean(volume, 5)")
    plan = compile_recipe(recipe, allow_modules=(), max_window=1000)
    assert explain(plan, timeframe=parse_timeframe("4h")) == (
        "2 factors, 8 distinct steps, compares symbols\n"
        "dialect    default\n"
        "fields     close, volume\n"
        "look-back  30 bars (5.0 days of 4h)\n"
        "\n"
        "mom\n"
        "  expression close / shift(close, 30) - 1\n"
        "  fields     close\n"
        "  look-back  30 bars (5.0 days of 4h)\n"
        "  operators  div, shift, sub\n"
        "  shared     (close / shift(close, d=30)) - 1.0  (used 2 times)\n"
        "\n"
        "ranked\n"
        "  expression cs_rank(mom) * ts_mean(volume, 5)\n"
        "  fields     close, volume\n"
        "  look-back  30 bars (5.0 days of 4h)\n"
        "  operators  cs_rank, div, mul, shift, sub, ts_mean\n"
        "  shared     (close / shift(close, d=30)) - 1.0  (used 2 times)\n"
    )


def test_what_is_shared_on_coarser_bars(tmp_path: Path) -> None:
    mean, last = 'bars("1d", ts_mean(returns(close, 1), 7))', 'bars("1d", returns(close, 1))'
    plan = compile_recipe(
        recipe_of(tmp_path, mean=mean, last=last, own="close"),
        allow_modules=(),
        max_window=1000,
        timeframe=parse_timeframe("4h"),
    )
    parts = {text.partition("\n")[0]: text for text in explain(plan).split("\n\n")[1:]}
    for name in ("mean", "last"):
        assert "\n  shared     returns(close, d=1) on 1d bars  (used 2 times)" in parts[name], parts[name]
    assert "shared     none" in parts["own"]


@pytest.mark.parametrize(
    "text",
    ["(-close) ** 2.0", "(-2.0) ** close", "-(close ** 2.0)", "(close - open) - (high - low)", "close ** (-open)"],
)
def test_a_shared_text_means_what_it_stands_for(tmp_path: Path, text: str) -> None:
    """Unary minus binds looser than a power: without brackets the text would be another expression."""
    plan = compile_recipe(recipe_of(tmp_path, a=f"sign({text})", b=f"abs({text})"), allow_modules=(), max_window=1000)
    assert f" {text}  (used 2 times)" in explain(plan)


def test_explain_memory(tmp_path: Path) -> None:
    plan = compile_recipe(recipe_of(tmp_path, a="close", b="ema(close, 3)"), allow_modules=(), max_window=1000)
    text = explain(plan, panel=PanelSize(1000, 10, 0, "the size of BTCUSDT.csv"))
    assert text.count(" MB") == 3
    assert "for 1,000 bars x 10 symbols" in text
    assert "bars by the size of BTCUSDT.csv" in text
    more = explain(plan, panel=PanelSize(1000, 10, 900_000_000, "the size of BTCUSDT.csv"))
    assert "memory     1,175 MB at the peak of a first run" in more  # parsing the file takes most
    assert "from the listing episode's first bar" in text


def test_shared_texts_stay_short(tmp_path: Path) -> None:
    doubling = {f"f{number}": f"f{number - 1} + f{number - 1}" for number in range(1, 60)}
    plan = compile_recipe(recipe_of(tmp_path, f0="close + 1", **doubling), allow_modules=(), max_window=1000)
    assert len(plan.needed) == 61
    assert max(map(len, explain(plan).splitlines())) < 200


def test_operator_page_has_every_row() -> None:
    page = operator_page()
    for operator in LISTED.values():
        assert operator.doc in page
        assert operator.formula in page
        assert operator.missing in page
        assert (operator.example if operator.symbol else operator.signature()) in page
    for alias in ALIASES:
        assert alias in page
    assert "look-back  d bars" in page
    assert "look-back  d - 1 bars" in page
    assert "look-back  limit bars; without limit, from the listing episode's first bar" in page


def test_operator_page_needs_no_kernel() -> None:
    code = (
        "import sys; from Backtest.data.dsl.explain import operator_page; operator_page();"
        "sys.exit(bool({'numba', 'pandas', 'pyarrow', 'lark'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 0
