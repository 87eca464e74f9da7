"""The qlib dialect's words: what calls, names and symbols bind to, and every refusal. Values: `test_qlib_values`."""

from __future__ import annotations

from typing import Any

import pytest

from Backtest.data.dsl.bind import bind
from Backtest.data.dsl.bound import Bound
from Backtest.data.dsl.dialects.qlib import QLIB
from Backtest.data.dsl.operators import Operator
from Backtest.data.dsl.parser import parse
from Backtest.data.dsl.scope import Scope
from Backtest.data.dsl.steps import StepTable
from Backtest.errors import ExpressionError

FIELDS = ("open", "high", "low", "close", "volume", "quote_asset_volume")


def bound(text: str, **more: Any) -> tuple[Bound, StepTable]:
    table = StepTable()
    tree = parse(text, dialect=QLIB)
    return bind(tree, text, scope=Scope(FIELDS, dialect=QLIB, **more), table=table, where="factor 'x'"), table


def rows(text: str) -> list[str]:
    """Return the steps in order as ``row(operands; literals)``."""
    return [
        f"{step.source.name}({', '.join(map(str, step.operands))}; {dict(step.literals)})"
        for step in bound(text)[1].steps
        if isinstance(step.source, Operator)
    ]


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("Mean($close, 5)", ["ts_mean(0; {'d': 5, 'min_periods': 1})"]),
        ("$close-$open", ["sub(0, 1; {})"]),
        ("2*$close", ["mul(2.0, 0; {})"]),
        ("-$close", ["neg(0; {})"]),
        ("Ref($close, 3)", ["shift(0; {'d': 3})"]),
        ("$vwap", ["div(0, 1; {})"]),
        ("$close/$factor", ["div(0, 1.0; {})"]),
        ("$close > $open", ["gt(0, 1; {})", "qlib_definite(2; {})"]),
        ("$close != 0", ["eq(0, 0.0; {})", "qlib_definite(1; {})", "not(2; {})"]),
        ("Mean($close, 0.25)", ["qlib_ewm(0; {'alpha': 0.25})"]),
        ("Max($close, 0.25)", ["qlib_ewm(0; {'alpha': 0.25})"]),
        ("EMA($close, 9)", ["qlib_ewm(0; {'alpha': 0.2})"]),
        ("EMA($close, 0.5)", ["qlib_ewm(0; {'alpha': 0.5})"]),
        ("Quantile($close, 5, 0.8)", ["ts_quantile(0; {'d': 5, 'q': 0.8, 'min_periods': 1})"]),
        ("ChangeInstrument('BTCUSDT', $close)", ["of(0; {'symbol': 'BTCUSDT'})"]),
        ("Mask($close, 'BTCUSDT')", ["of(0; {'symbol': 'BTCUSDT'})"]),
        ("Greater(1, 2) * $close", ["mul(2.0, 0; {})"]),
    ],
)
def test_calls_bind_to_rows(text: str, wanted: list[str]) -> None:
    assert rows(text) == wanted


def test_python_precedence_of_masks() -> None:
    either = rows("($close>$open) | ($close<$low) & ($high>$low)")
    assert [row.partition("(")[0] for row in either[-2:]] == ["and", "or"]


def test_earlier_factors_and_params_are_known() -> None:
    table = StepTable()
    text = "Mean(mom, {n})"
    scope = Scope(FIELDS, factors={"mom": table.field("close")}, params={"n": 5}, dialect=QLIB)
    bound = bind(parse(text, dialect=QLIB), text, scope=scope, table=table, where="factor 'x'")
    assert table.steps[int(bound.value)].literals == (("d", 5), ("min_periods", 1))


@pytest.mark.parametrize(
    "text, offset, message",
    [
        ("Ref($close, 0)", 12, "N=0 is Qlib's first value of the series, which depends on where the data begin"),
        ("Ref($close, -1)", 12, "look-ahead"),
        ("Delta($close, -2)", 14, "look-ahead"),
        ("Delta($close, 0)", 14, "N=0 is Qlib's change since the first value"),
        ("Mean($close, 0)", 13, "N=0 is Qlib's expanding window"),
        ("Corr($close, $open, 0)", 20, "N=0 is Qlib's expanding window"),
        ("Mean($close, 5.0)", 13, "'N' of Mean must be a whole number of bars"),
        ("Rank($close, 0.5)", 13, "'N' of Rank must be a whole number of bars"),
        ("EMA($close, 0)", 0, "'N' of EMA is a span of 1 or more, or an alpha between 0 and 1; found 0"),
        ("Skew($close, 2)", 13, "is 2; allowed is 3 or more"),
        ("Std($close, 1)", 12, "is 1; allowed is 2 or more"),
        ("Mena($close, 5)", 0, "dialect qlib has no operator 'Mena'; did you mean 'Mean'"),
        ("ts_mean($close, 5)", 0, "dialect qlib has no operator 'ts_mean'"),
        ("PRef($close, 5)", 0, "no point-in-time statements"),
        ("TResample($close, 5, 'sum')", 0, "prepare the factor set at that timeframe"),
        ("Rolling($close, 5)", 0, "a class of Qlib's, not an operator"),
        ("P($revenue_q)", 0, "no point-in-time statements"),
        ("Mean(Rolling($x, 5), 5)", 5, "a class of Qlib's, not an operator"),
        ("Mean($close)", 0, "needs 'N': Mean(x, N)"),
        ("Mean($close, 5, 6)", 16, "takes 2 arguments: Mean(x, N)"),
        ("Mean(5, 5)", 5, "'x' of Mean must be a series or a mask; found the number 5"),
        ("And($close, $open > 1)", 4, "'x' of And must be a mask; found a series"),
        ("$close & $open", 0, "the left operand of '&' must be a mask; found a series"),
        ("close + 1", 0, "a field is written $close in dialect qlib"),
        ("$clsoe + 1", 0, "did you mean '$close'"),
        ("Mean + 1", 0, "'Mean' is an operator; write Mean"),
        ("$close $open", 7, "follows a complete value"),
        ("$a < $b < $c", 8, "comparisons do not chain; write '(a < b) & (b < c)'"),
        ("$close and $open", 7, "follows a complete value"),
        ("$close % 2", 7, "Qlib has no remainder"),
        ("~$close", 0, "write Not(x)"),
        ("$ close", 0, "a field is $ and its name"),
    ],
)  # fmt: skip
def test_errors_name_the_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        bound(text)
    assert message in caught.value.message, caught.value.message
    assert caught.value.offset == offset
    assert len(caught.value.message.splitlines()) == 1


def test_other_dialects_do_not_know_qlibs_rows() -> None:
    for text in ("qlib_ewm(close, 0.5)", "Mean(close, 5)"):
        with pytest.raises(ExpressionError, match="there is no operator"):
            bind(parse(text), text, scope=Scope(FIELDS), table=StepTable(), where="x")
    with pytest.raises(ExpressionError, match=r"fields are plain names"):
        parse("$close")
