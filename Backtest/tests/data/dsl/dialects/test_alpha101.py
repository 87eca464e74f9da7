"""The alpha101 dialect's words: what calls, names and symbols bind to, and every refusal. Values: ``data/alpha101``."""

from __future__ import annotations

from typing import Any

import pytest

from Backtest.data.dsl.bind import bind
from Backtest.data.dsl.bound import Bound
from Backtest.data.dsl.dialects.alpha101 import ALPHA101, FORMS
from Backtest.data.dsl.operators import Operator
from Backtest.data.dsl.parser import parse
from Backtest.data.dsl.scope import Scope
from Backtest.data.dsl.steps import StepTable
from Backtest.errors import ExpressionError

FIELDS = ("open", "high", "low", "close", "volume", "quote_asset_volume")


def bound(text: str, fields: tuple[str, ...] = FIELDS, **more: Any) -> tuple[Bound, StepTable]:
    table = StepTable()
    tree = parse(text, dialect=ALPHA101)
    return bind(tree, text, scope=Scope(fields, dialect=ALPHA101, **more), table=table, where="factor 'x'"), table


def rows(text: str, fields: tuple[str, ...] = FIELDS, **more: Any) -> list[str]:
    """Return the steps in order: fields by name, rows as ``row(operands; literals)``."""
    return [
        f"{step.source.name}({', '.join(map(str, step.operands))}; {dict(step.literals)})"
        if isinstance(step.source, Operator)
        else str(step.source)
        for step in bound(text, fields, **more)[1].steps
    ]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("returns", ["close", "returns(0; {'d': 1})"]),
        ("Returns", ["close", "returns(0; {'d': 1})"]),
        ("vwap", ["quote_asset_volume", "volume", "vwap(0, 1; {})"]),
        ("adv20", ["quote_asset_volume", "adv(0; {'d': 20})"]),
        ("CLOSE - Open", ["close", "open", "sub(0, 1; {})"]),
        ("delay(close, 2.9)", ["close", "shift(0; {'d': 2})"]),
        ("delta(close, 1.06157)", ["close", "delta(0; {'d': 1})"]),
        ("sum(close, 12.7054)", ["close", "ts_sum(0; {'d': 12})"]),
        ("Ts_Rank(close, 3.9)", ["close", "ts_rank(0; {'d': 3, 'norm': 'abs'})"]),
        ('ts_rank(close, 3, norm="n")', ["close", "ts_rank(0; {'d': 3, 'norm': 'n'})"]),
        ("ts_argmax(close, 5)", ["close", "ts_argmax(0; {'d': 5})", "sub(5.0, 1; {})"]),
        ("min(close, 5)", ["close", "ts_min(0; {'d': 5})"]),
        ("min(close, open)", ["close", "open", "min2(0, 1; {})"]),
        ("max(close, 4.5)", ["close", "ts_max(0; {'d': 4})"]),
        ("max(rank(close), rank(open))", ["close", "cs_rank(0; {})", "open", "cs_rank(2; {})", "max2(1, 3; {})"]),
        ("stddev(close, 5)", ["close", "ts_std(0; {'d': 5})"]),
        ("product(close, 1)", ["close", "ts_product(0; {'d': 1})"]),
        ("decay_linear(close, 7.89291)", ["close", "decay_linear(0; {'d': 7})"]),
        ("scale(close)", ["close", "cs_scale(0; {'a': 1.0})"]),
        ("scale(close, 2)", ["close", "cs_scale(0; {'a': 2.0})"]),
        ("SignedPower(close, 2.)", ["close", "signed_power(0, 2.0; {})"]),
        ("close^0.5", ["close", "pow(0, 0.5; {})"]),
        ("-close^2", ["close", "pow(0, 2.0; {})", "neg(1; {})"]),
        ("close^2^volume", ["close", "volume", "pow(2.0, 1; {})", "pow(0, 2; {})"]),
        ("(close < open) * -1", ["close", "open", "lt(0, 1; {})", "mul(2, -1.0; {})"]),
        ("sum(close < open, 3)", ["close", "open", "lt(0, 1; {})", "ts_sum(2; {'d': 3})"]),
        (
            "close < open || close == 1 && 2 < close",
            ["close", "open", "lt(0, 1; {})", "eq(0, 1.0; {})", "lt(2.0, 0; {})", "and(3, 4; {})", "or(2, 5; {})"],
        ),
        (
            "close < open ? 1 : -1 * close",
            ["close", "open", "lt(0, 1; {})", "mul(-1.0, 0; {})", "where(2, 1.0, 3; {})"],
        ),
        (
            "close < 1 ? 1 : close < 2 ? 2 : 3",
            ["close", "lt(0, 1.0; {})", "lt(0, 2.0; {})", "where(2, 2.0, 3.0; {})", "where(1, 1.0, 3; {})"],
        ),
    ],
)
def test_bind_to_rows(text: str, wanted: list[str]) -> None:
    assert rows(text) == wanted


def test_correlation_of_what_does_not_move_is_zero_where_the_window_has_values() -> None:
    wanted = [
        "close", "open", "add(0, 1; {})", "ts_mean(2; {'d': 5})", "ts_corr(0, 1; {'d': 5})", "mul(3, 0.0; {})",
        "fill(4, 5; {})",
    ]  # fmt: skip
    assert rows("correlation(close, open, 5.9)") == wanted


@pytest.mark.parametrize(
    "name, columns, taken",
    [
        ("IndClass.sector", ("sector", "industry", "subindustry"), "sector"),
        ("IndClass.industry", ("sector", "industry", "subindustry"), "industry"),
        ("indclass.Subindustry", ("sector", "industry", "subindustry"), "subindustry"),
        ("IndClass.subindustry", ("sector", "industry"), "industry"),
        ("IndClass.subindustry", ("sector", "chain"), "sector"),
        ("IndClass.industry", ("sector",), "sector"),
    ],
)
def test_classifications(name: str, columns: tuple[str, ...], taken: str) -> None:
    wanted = ["close", taken, "grp_demean(0, 1; {})"]
    assert rows(f"IndNeutralize(close, {name})", (*FIELDS, *columns), groups=columns) == wanted


def test_cap_is_supply_times_close() -> None:
    assert rows("cap", (*FIELDS, "supply")) == ["supply", "close", "mul(0, 1; {})"]


@pytest.mark.parametrize(
    "text, words, column",
    [
        ("correlatoin(close, open, 5)", "no operator 'correlatoin'; did you mean 'correlation'?", 1),
        ("ts_mean(close, 5)", "dialect alpha101 has no operator 'ts_mean'", 1),
        ("negative(close)", "dialect alpha101 has no operator 'negative'", 1),
        ("vwop * 2", "did you mean 'vwap'?", 1),
        ("close * adv", "did you mean 'adv20'?", 9),
        ("indneutralize(close, IndClass.foo)", "there is no classification 'IndClass.foo'", 22),
        ("indneutralize(close, IndClass.sectr)", "did you mean 'IndClass.sector'", 22),
        ("indneutralize(close, IndClass.sector)", "needs the column 'sector' of a symbols table", 22),
        ("indneutralize(close, 3)", "'g' of indneutralize must be a group", 22),
        ("close.open", "did you mean", 1),
        ("cap * 2", "no symbols table has a column 'supply'", 1),
        (
            "sum(close, volume)",
            "the window 'd' of sum must be a number of bars, written as a literal; found a series",
            12,
        ),
        ("sum(close, 2 + 3)", "written as a literal; found a computed number (5.0)", 14),
        ("sum(close, 0.9)", "the window 'd' of sum is 0.9; 1 or more is allowed", 12),
        ("stddev(close, 1.9)", "the window 'd' of stddev is 1.9; 2 or more is allowed", 15),
        ("correlation(close, open, 1)", "the window 'd' of correlation is 1; 2 or more is allowed", 26),
        ("delay(close, 0)", "the lag 'd' of delay is 0: look-ahead", 14),
        ("delay(close, 0.5)", "the lag 'd' of delay is 0.5: look-ahead", 14),
        ("delta(close, -1)", "the lag 'd' of delta is -1: look-ahead", 14),
        ("sum(close, 20000)", "max_window allows 10,000", 1),
        ("adv0", "'adv0' is the mean of no bar", 1),
        ("rank(3)", "'x' of rank must be a series; found the number 3", 6),
        ("rank", "'rank' is an operator; write rank(x)", 1),
        ("min(close)", "min needs 'y'", 1),
        ("close ? 1 : 2", "'c' of ?: must be a mask; found a series", 1),
        ("close && open", "the left operand of '&&' must be a mask", 1),
        ("close < open < high", "comparisons do not chain; write '(a < b) && (b < c)'", 14),
        ("close < open ? 1", "the expression ends too early", 17),
        ("close | open", "write '||'", 7),
        ("!(close < open)", "write '!=' for not equal", 1),
        ("close ** 2", "stands where", 8),
        ("close % 2", "the paper has no remainder", 7),
        ("not close", "", 5),
    ],
)
def test_refusals_show_the_place(text: str, words: str, column: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        bound(text, max_window=10_000)
    message = str(caught.value)
    assert words in message
    assert f"column {column}:" in message.splitlines()[0]
    assert message.splitlines()[-1].index("^") - message.splitlines()[-2].index(text) == column - 1


def test_a_chain_of_choices_has_a_limit() -> None:
    text = "close < 1 ? 1 : " * 120 + "2"
    with pytest.raises(ExpressionError, match="deeper than 100"):
        bound(text)


def test_every_word_of_the_paper_is_there() -> None:
    words = (
        "rank delay correlation covariance scale delta signedpower decay_linear indneutralize ts_min ts_max ts_argmax "
        "ts_argmin ts_rank min max sum product stddev log abs sign"
    )
    assert {name for name in FORMS if name.isidentifier()} == set(words.split())
