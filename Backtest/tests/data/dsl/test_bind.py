"""Types, arguments, names and look-ahead: every error before any data is read (FAULTS 38, 39, 40)."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from Backtest.data.dsl.bind import bind
from Backtest.data.dsl.bound import Bound
from Backtest.data.dsl.dialects.interface import DEFAULT
from Backtest.data.dsl.dialects.table import DIALECTS
from Backtest.data.dsl.operators import OPERATORS, Operator
from Backtest.data.dsl.parser import parse
from Backtest.data.dsl.scope import Scope, length_words
from Backtest.data.dsl.steps import StepTable
from Backtest.data.schema import FIELDS as KLINES
from Backtest.data.stamped_fields import FIELDS as STAMPED
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import ExpressionError

FIELDS = (*KLINES, *STAMPED, "sector")
EXTERNAL = ("usdt_supply",)


def bound(text: str, table: StepTable | None = None, **more: Any) -> tuple[Bound, StepTable]:
    steps = table or StepTable()
    dialect = more.get("dialect", DEFAULT)
    scope = Scope(FIELDS, groups=("sector",), externals=EXTERNAL, **more)
    result = bind(parse(text, dialect=dialect), text, scope=scope, table=steps, where="factor 'x'")
    return result, steps


def lookback(text: str) -> int | None:
    result, steps = bound(text)
    return steps.steps[int(result.value)].lookback


@pytest.mark.parametrize(
    "text, offset, message",
    [
        ("close > open and volume", 17, "the right operand of 'and' must be a mask; found a series; compare it"),
        ("(close > open) + 1", 7, "left operand of '+' must be a series or a number; found a mask; where(mask, 1, 0)"),
        ("usdt_supply / close", 0, "found the external series 'usdt_supply'; write asof(name, \"1d\") with the delay"),
        ("ts_mean(usdt_supply, 3)", 8, "must be a series; found the external series 'usdt_supply'; write asof(name"),
        ('asof(close, "1d")', 5, "must be the name of an external series; found a series; the recipe has usdt_supply"),
        ("asof(usdt_supply)", 0, "asof needs 'lag': asof(x, lag)"),
        ("asof(usdt_supply, 1)", 18, "must be a duration in quotes, such as \"1d\"; found the number 1"),
        ('asof(usdt_supply, "1 day")', 18, "'lag' of asof '1 day' is not known; write a number and s, m|min, h,"),
        ('asof(usdt_supply, "-1d")', 18, "is look-ahead; it must be \"0h\" or longer"),
        ('funding(6, "median")', 11, "'how' of funding must be one of \"sum\", \"mean\"; found the word 'median'"),
        ("not close", 4, "the operand of 'not' must be a mask; found a series"),
        ("where(close, 1, 0)", 6, "'c' of where must be a mask; found a series"),
        ("ts_mean(3, 14)", 8, "'x' of ts_mean must be a series; found the number 3"),
        ("ts_mean(close, open)", 15, "'d' of ts_mean must be a whole number of bars, 1 or more, written as a literal"),
        ("ts_mean(close, 0)", 15, "found 0"),
        ("ts_mean(close, -5)", 15, "found -5"),
        ("ts_mean(close, 2.5)", 15, "found the number 2.5"),
        ("ts_mean(close, 14.0)", 15, "found the number 14.0"),
        ("ts_mean(close, 2 * 7)", 17, "found a computed number"),
        ("ts_mean(close, 1000001)", 15, "max_window allows 1,000,000"),
        ("ts_mean(close, 1000000000000000000)", 15, "max_window allows 1,000,000"),
        ("shift(close, 0)", 13, "look-ahead"),
        ("shift(close, -1)", 13, "look-ahead"),
        ("delta(close, -3)", 13, "look-ahead"),
        ("returns(close, -1.5)", 15, "look-ahead"),
        ("shift(ts_mean(close, 600000), 600000)", 0, "needs 1,199,999 bars of look-back in total"),
        ("ts_mean(close)", 0, "needs 'd': ts_mean(x, d, *, min_periods=None)"),
        ("ts_mean(close, 5, 6)", 18, "ts_mean takes 2 arguments without a name: ts_mean(x, d, *, min_periods=None)"),
        ("ts_rank(close, 5, 'n')", 18, 'without a name: ts_rank(x, d, *, norm="n", min_periods=None)'),
        ("adv_rank(3, 5)", 12, "adv_rank takes 1 argument without a name: adv_rank(n, *, d=20, min_periods=None)"),
        ("ts_mean(close, 5, d=6)", 18, "given twice"),
        ("ts_mean(close, window=6)", 15, "has no argument 'window'"),
        ("ts_mean(close, 5, min_period=6)", 18, "did you mean 'min_periods'?"),
        ("ts_mean(close, 5, min_periods=6)", 0, "min_periods=6 can never be met"),
        ("ts_mean(close, 5, min_periods=0)", 30, "is 0; allowed is 1 or more"),
        ("ts_quantile(close, 5, 1.5)", 22, "is 1.5; allowed is 0 to 1"),
        ("ts_std(close, 5, ddof=2)", 22, "is 2; allowed is 0 to 1"),
        ("ts_rank(close, 5, norm='x')", 23, "must be one of \"n\", \"n-1\", \"abs\"; found the word 'x'"),
        ("ts_rank(close, 5, norm=1)", 23, "must be one of"),
        ("ts_mean('close', 5)", 8, "found the word 'close'"),
        ("ts_maen(close, 5)", 0, "did you mean 'ts_mean'"),
        ("TS_MEAN(close, 5)", 0, "did you mean 'ts_mean'"),
        ("eval(close)", 0, "there is no operator 'eval'"),
        ("close(3)", 0, "'close' is a series, not an operator"),
        ("clsoe + 1", 0, "did you mean 'close'"),
        ("asof(usdt_suply, '1d')", 5, "did you mean 'usdt_supply'?"),
        ("of(BTCUSDT, close)", 3, "; a symbol stands in quotes: \"BTCUSDT\""),
        ("banana + 1", 0, "fields are open, high, low, close, volume"),
        ("ts_mean + 1", 0, "'ts_mean' is an operator; write ts_mean(x, d"),
        ("close + {n}", 8, "param {n} is not defined"),
        ("1 < 2", 2, "the same on every bar"),
        ("close + 1 / 0", 10, "no finite value"),
        ("close * 1e308 * 1e308 + 1e308 * 10", 30, "no finite value"),
        ("bucket(close, 2, 1)", 0, "ascend"),
        ("adv_rank(99999999999999999999)", 9, "'n' of adv_rank is 99,999,999,999,999,999,999; at most 1,000,000,000"),
        ("kama(close, 5, slow=1000000001)", 20, "'slow' of kama is 1,000,000,001; at most 1,000,000,000 is allowed"),
        ("ewm_halflife(close, 1e300)", 20, "'h' of ewm_halflife is 1e+300; allowed is 1e+09 or less"),
    ],
)  # fmt: skip
def test_errors(text: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        bound(text)
    assert message in caught.value.message, caught.value.message
    assert caught.value.offset == offset
    assert len(caught.value.message.splitlines()) == 1


def test_windows_are_told_in_time() -> None:
    with pytest.raises(ExpressionError, match=r"2,000,000 bars \(228.3 years of 1h\); max_window allows 1,000,000"):
        bound("ts_mean(close, 2000000)", timeframe=parse_timeframe("1h"))
    assert length_words(6, parse_timeframe("4h")) == "6 bars (1.0 days of 4h)"
    assert length_words(int(1e308), parse_timeframe("1w")) == "1e+308 bars", "a window of the 101 alphas is any number"


def test_factor_names() -> None:
    result, table = bound("close / open")
    again, _ = bound("first > 1", table, factors={"first": int(result.value)})
    assert again.kind == "mask"
    assert table.steps[int(again.value)].operands == (int(result.value), 1.0)
    with pytest.raises(ExpressionError, match="refers to itself"):
        bound("me + 1", own="me", later=("me", "next"))
    with pytest.raises(ExpressionError, match="'next' is defined further down"):
        bound("next + 1", own="me", later=("me", "next"))


def test_params_are_typed_numbers_never_text() -> None:
    params = {"n": 14, "share": 0.5, "norm": "abs", "evil": "close, 3) + (1"}
    result, table = bound("ts_rank(close, {n}, norm={norm}) * {share}", params=params)
    assert table.steps[1].literals == (("d", 14), ("norm", "abs"))
    assert table.steps[int(result.value)].operands == (1, 0.5)
    for text in ("ts_mean({evil}, 3)", "ts_mean(close, {evil})", "{evil} + close"):
        with pytest.raises(ExpressionError, match="found the word 'close, 3"):
            bound(text, params=params)
    with pytest.raises(ExpressionError, match="is True; a number or a word is allowed"):
        bound("close + {flag}", params={"flag": True})
    with pytest.raises(ExpressionError, match=r"'n' is a param; write \{n\}"):
        bound("ts_mean(close, n)", params=params)


def test_numbers_fold() -> None:
    for text, value in [("-3", -3), ("2 * 3 + 1", 7.0), ("1 / 4", 0.25), ("-(2 - 5)", 3.0), ("2 ** 10", 1024.0)]:
        assert bound(text)[0].value == value
    table = bound("close * (1 / 3)")[1]
    assert table.steps[-1].operands == (0, 1 / 3)


def test_same_computation_is_one_step() -> None:
    _, table = bound("ts_std(logret(close, 1), 12) / ts_std(log_diff(close, d=1), 12) * stddev(logret(close, 1), 12)")
    names = [getattr(step.source, "name", step.source) for step in table.steps]
    assert names == ["close", "logret", "ts_std", "div", "mul"]
    _, zeros = bound("(close * 0.0) / (close * -0.0)")
    assert len(zeros.steps) == 4, "0.0 and -0.0 give different bits"


@pytest.mark.parametrize(
    "text, bars",
    [
        ("close", 0), ("close + open", 0), ("shift(close, 3)", 3), ("ts_mean(close, 14)", 13),
        ("ts_mean(shift(close, 3), 14)", 16), ("ts_mean(close, 14) + shift(close, 20)", 20), ("ema(close, 5)", None),
        ("ts_mean(ema(close, 5), 3)", None), ("cs_rank(returns(close, 6))", 6), ("ffill(close, 4)", 4),
        ("ffill(close)", None), ("close + ema(open, 3)", None), ("ts_corr(delta(close, 2), volume, 10)", 11),
    ],
)  # fmt: skip
def test_lookback_adds_up(text: str, bars: int | None) -> None:
    assert lookback(text) == bars


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.name)
def test_every_row_binds_its_example(operator: Operator) -> None:
    result, table = bound(operator.example, dialect=DIALECTS[operator.dialect or "default"])
    assert result.kind == operator.result
    if operator.expand is None:
        assert any(step.source is operator for step in table.steps)
    else:
        last = table.steps[int(result.value)].source
        if operator.name == "asof":
            assert last == operator.example, "the field itself: it is joined when the panel is made"
            return
        assert isinstance(last, Operator)
        assert operator.formula.startswith(last.name), "a row that stands for others states them"


def test_a_row_without_required_arguments_needs_no_brackets() -> None:
    """`vwap` is `vwap()`, and its steps know the fields that it implies."""
    table = StepTable()
    bare, _ = bound("close / vwap", table)
    called, _ = bound("close / vwap()", table)
    written, _ = bound("close / (quote_asset_volume / volume)", table)
    assert bare == called
    assert bare.value != written.value  # another row: it is counted and explained by its own name
    assert table.fields[int(bare.value)] == {"close", "quote_asset_volume", "volume"}
    assert lookback("adv(20) / shift(adv(20), 5)") == 24
    assert lookback("where(age > 100, taker_imbalance, premium)") == 0
    step, table = bound("adv_rank(50, d=30)")
    assert step.kind == "mask"
    assert table.steps[int(step.value)].segment == 1


@pytest.mark.parametrize(
    "text, offset, message",
    [
        ("adv", 0, "'adv' is an operator; write adv(d, *, min_periods=None)"),
        ("vwap(close)", 5, "vwap takes no arguments: vwap"),
        ("age(3)", 4, "age takes no arguments: age"),
        ("sector + 1", 0, "left operand of '+' must be a series or a number; found a group; a group says who belongs"),
        ("ts_mean(sector, 3)", 8, "'x' of ts_mean must be a series; found a group"),
        ("vwab / close", 0, "'vwab' is neither a field nor an earlier factor or definition; did you mean 'vwap'?"),
        ("chain", 0, "write it"),
        ("grp_mean(close, close > open)", 22, "must be a group or a series of group numbers; found a mask"),
    ],
)
def test_bare_rows_and_groups_refused(text: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        bound(text, hint="; write it")
    assert message in str(caught.value)
    assert f"column {offset + 1}:" in str(caught.value)


def test_a_row_whose_field_nothing_fills_says_so() -> None:
    with pytest.raises(ExpressionError, match="vwap needs the field quote_asset_volume, which there is not; write it"):
        bind(parse("vwap"), "vwap", scope=Scope(("volume",), hint="; write it"), table=StepTable(), where="x")


def test_binding_compiles_nothing() -> None:
    import subprocess

    code = (
        "import sys; from Backtest.data.dsl.bind import bind; from Backtest.data.dsl.scope import Scope;"
        "from Backtest.data.dsl.parser import parse; "
        "from Backtest.data.dsl.steps import StepTable; t = 'ts_mean(close, 3) + 1 / 3';"
        "bind(parse(t), t, scope=Scope(('close',)), table=StepTable(), where='x'); sys.exit('numba' in sys.modules)"
    )
    from Backtest.settings import PROJECT_ROOT

    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 0
