"""Where loading begins, by hand: two listings, one of rows 10..49, one of rows 40 on."""

from __future__ import annotations

import pytest

from Backtest.data.factors import compile_recipe
from Backtest.data.reach import LISTING, Reach, join_reaches
from Backtest.data.timeframe import parse_timeframe

from .small_panel import recipe_of

LISTINGS = ((10, 50), (40, 10_000))


def begin(reach: Reach, row: int) -> int:
    """Return where loading begins."""
    return reach.begin(row, first=10, oldest=lambda at: min((a for a, b in LISTINGS if a <= at < b), default=at))


def test_hops_by_hand():
    assert begin(Reach((5,)), 60) == 55
    assert begin(Reach((500,)), 60) == 10
    assert begin(Reach((5,)), 7) == 7
    assert begin(LISTING, 60) == 40
    assert begin(LISTING, 49) == 10
    assert begin(Reach((None, 5)), 60) == 40
    assert begin(Reach((None, 15)), 60) == 10
    assert begin(Reach((3, None, 5)), 60) == 37
    assert begin(Reach((None, None)), 60) == 10
    assert begin(Reach((0,), whole=True), 60) == 10


def test_joined_is_as_far_as_either_counted_from_the_values():
    joined = join_reaches([Reach((None,)), Reach((4, 0)), Reach((1, 7))])
    assert joined == Reach((4, None))
    assert join_reaches([]) == Reach((0,))


@pytest.mark.parametrize(
    "expression, hops",
    [
        ("ts_mean(close, 10)", (9,)),
        ("ema(close, 10) + ts_mean(close, 10)", (None,)),
        ("ts_mean(cs_rank(ema(close, 10)), 100)", (None, 99)),
        ("ema(cs_rank(ts_mean(close, 10)), 10) + close", (9, None)),
        ("ts_mean(cs_rank(close), 100) + ema(close, 10)", (0, None)),
        ('ts_mean(bars("4h", cs_rank(ema(close, 10))), 100)', (None, 6 + 99)),
        ('ema(close, 3) - of("BTCUSDT", ema(close, 5))', (None, None)),
    ],
)
def test_hops_of_expressions(tmp_path, expression, hops):
    recipe = recipe_of(tmp_path, one=expression)
    plan = compile_recipe(recipe, allow_modules=(), max_window=1000, timeframe=parse_timeframe("1h"))
    assert plan.reach == plan.expression_reach == Reach(hops)
