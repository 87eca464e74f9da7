"""Laws that every library factor keeps: causal, look-back exact, same bits for any start, symbols apart."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from Backtest.data import indicators
from Backtest.data.dsl.steps import LibraryCall
from Backtest.data.library import apply_rule, library_facts
from Backtest.data.library_source import plan_library_call
from Backtest.errors import RecipeError

from .bars import FIELDS, RECURSIVE, SYMBOLS, WINDOWED, Call, random_bars, with_gaps

EVERY = WINDOWED + RECURSIVE
GAPS = np.array([0, 1, 40, 41, 42, 90, 200, 201, 350])
BARS = with_gaps(random_bars(), GAPS)


def cut(rows: slice, bars: dict[str, np.ndarray] = BARS) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(values[rows]) for name, values in bars.items()}


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()


def test_every_exported_factor_is_under_the_laws() -> None:
    assert {call.name for call in EVERY} == set(indicators.__all__)


@pytest.mark.parametrize("name", indicators.__all__)
def test_documented_with_shape_missing_rule_and_errors(name: str) -> None:
    function = getattr(indicators, name)
    text = inspect.getdoc(function) or ""
    for words in ("Parameters\n", "Returns\n", "Raises\n", "float64 [T, S]", "issing"):
        assert words in text, words
    for parameter in inspect.signature(function).parameters:
        assert parameter in text


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_stated_lookback(call: Call) -> None:
    rule = library_facts(call.function).lookback
    params = {
        name: parameter.default
        for name, parameter in inspect.signature(call.function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert (apply_rule(rule, {**params, **call.params}) if callable(rule) else rule) == call.lookback


def test_relative_strength_asks_for_its_benchmark() -> None:
    rule = library_facts(indicators.relative_strength).symbols
    assert rule is not None
    assert apply_rule(rule, {"benchmark": "ETHUSDT", "window": 5}) == ("ETHUSDT",)


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_shape_and_values(call: Call) -> None:
    result = call.on(BARS)
    assert result.shape == BARS["close"].shape
    assert result.dtype == np.float64
    assert not np.isinf(result).any()
    assert np.isfinite(result).mean() > 0.7
    assert np.isnan(result[GAPS, 0]).all() or call.name in {
        "money_flow_index",
        "volatility",
        "bollinger_width",
        "amihud_illiquidity",
    }


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_never_sees_the_future(call: Call) -> None:
    whole = call.on(BARS)
    for end in (1, 25, 41, 150, 399):
        assert same_bits(call.on(cut(slice(None, end))), whole[:end])
        garbage = {name: values.copy() for name, values in BARS.items()}
        for values in garbage.values():
            values[end:] = 1e9
        assert same_bits(call.on(garbage)[:end], whole[:end])


@pytest.mark.parametrize("call", WINDOWED, ids=str)
def test_lookback_is_enough_and_gives_the_same_bits(call: Call) -> None:
    assert call.lookback is not None
    whole = call.on(BARS)
    for t in (call.lookback, 41, 60, 95, 210, 399):
        begin = t - call.lookback
        if begin >= 0:
            assert same_bits(call.on(cut(slice(begin, None)))[call.lookback :], whole[t:])


@pytest.mark.parametrize("call", WINDOWED, ids=str)
def test_lookback_is_no_longer_than_needed(call: Call) -> None:
    clean = random_bars()
    assert call.lookback is not None
    whole = call.on(clean)
    differs = []
    for factor in (0.6, 1.7):  # a money flow index of one bar asks for the direction only
        changed = {name: values.copy() for name, values in clean.items()}
        for values in changed.values():
            values[200 - call.lookback, 0] *= factor
        differs.append(call.on(changed)[200, 0] != whole[200, 0])
    assert any(differs)


@pytest.mark.parametrize("call", RECURSIVE, ids=str)
def test_recursive_factors_remember_the_first_bar(call: Call) -> None:
    clean = random_bars(rows=80)
    changed = {name: values.copy() for name, values in clean.items()}
    for values in changed.values():
        values[0, 0] *= 1.7
    assert (call.on(changed)[40:, 0] != call.on(clean)[40:, 0]).any()


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_symbols_do_not_touch(call: Call) -> None:
    other = {name: values.copy() for name, values in BARS.items()}
    for values in other.values():
        values[:, 2] *= 3.0
    untouched = [s for s in range(len(SYMBOLS)) if s != 2]
    assert same_bits(call.on(other)[:, untouched], call.on(BARS)[:, untouched])
    if "symbols" not in call.fields:
        alone = {name: np.ascontiguousarray(values[:, :1]) for name, values in BARS.items()}
        assert same_bits(call.on(alone)[:, 0], call.on(BARS)[:, 0])


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_a_late_start_shifts_the_values_only(call: Call) -> None:
    late = {name: np.vstack([np.full((50, len(SYMBOLS)), np.nan), values]) for name, values in random_bars().items()}
    result, plain = call.on(late), call.on(random_bars())
    assert np.isnan(result[:50]).all()
    settled = call.lookback or 0
    assert same_bits(result[50 + settled :], plain[settled:])


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_short_and_empty_arrays(call: Call) -> None:
    for rows in (0, 1, 2):
        assert call.on(cut(slice(0, rows), random_bars())).shape == (rows, len(SYMBOLS))
    nothing = {name: np.full_like(values, np.nan) for name, values in BARS.items()}
    assert np.isnan(call.on(nothing)).all()


@pytest.mark.parametrize("call", EVERY, ids=str)
def test_a_recipe_can_name_it(call: Call) -> None:
    plan = named(call.name, call.params)
    assert plan.lookback == call.lookback
    assert plan.inputs == call.fields
    assert plan.extra_symbols == (("BTCUSDT",) if "symbols" in call.fields else ())


@pytest.mark.parametrize(
    "name,params,message",
    [
        ("money_flow_index", {"window": 0}, "window is 0"),
        ("rsi", {"window": 1}, "window is 1"),
        ("atr", {"window": -1}, "window is -1"),
        ("macd", {"fast": 30}, "fast is 30 and slow is 26"),
        ("macd", {"output": "lines"}, "did you mean 'line'"),
        ("bollinger_width", {"deviations": -2.0}, "deviations is -2.0"),
    ],
)
def test_bad_params_are_found_before_any_data_is_read(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        named(name, params)


def named(name: str, params: dict[str, Any]) -> LibraryCall:
    module = "Backtest.data.indicators"
    return plan_library_call(
        f"{module}:{name}", params, allow_modules=(module,), fields=FIELDS, max_window=1000, where="factor 'x'"
    )
