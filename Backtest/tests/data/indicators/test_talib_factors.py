"""TA-Lib's functions as library factors: its own values, segment by segment, from any start with the same bits."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import talib as original
from talib import abstract

from Backtest.data.factors import compile_recipe, compute
from Backtest.data.indicators import talib
from Backtest.data.library import apply_rule, library_facts
from Backtest.data.library_source import load_function, plan_library_call
from Backtest.data.recipe import load_recipe
from Backtest.data.schema import FIELDS
from Backtest.errors import RecipeError
from Backtest.settings import CoreSettings
from Backtest.tests.data.small_panel import small_panel

from .bars import random_bars

MODULE = "Backtest.data.indicators.talib"
LEFT_OUT = {"MAVP", "MAXINDEX", "MININDEX", "MINMAXINDEX"}
BARS = random_bars(rows=300)
BY_HAND: dict[str, tuple[Callable[..., Any], tuple[str, ...], dict[str, Any], int | None]] = {
    "RSI": (original.RSI, ("close",), {"timeperiod": 9}, None),
    "MACD": (original.MACD, ("close",), {"fastperiod": 5, "slowperiod": 13, "signalperiod": 4}, None),
    "ATR": (original.ATR, ("high", "low", "close"), {"timeperiod": 7}, None),
    "WILLR": (original.WILLR, ("high", "low", "close"), {"timeperiod": 21}, 20),
    "AROON": (original.AROON, ("high", "low"), {"timeperiod": 25}, 25),
    "ROCP": (original.ROCP, ("close",), {"timeperiod": 24}, 24),
    "LINEARREG_SLOPE": (original.LINEARREG_SLOPE, ("close",), {"timeperiod": 10}, 9),
    "BBANDS": (original.BBANDS, ("close",), {"timeperiod": 20, "nbdevup": 2.5, "nbdevdn": 1.0, "matype": 1}, None),
    "OBV": (original.OBV, ("close", "volume"), {}, None),
    "BETA": (original.BETA, ("high", "low"), {"timeperiod": 30}, None),
    "CDLENGULFING": (original.CDLENGULFING, ("open", "high", "low", "close"), {}, None),
    "TRANGE": (original.TRANGE, ("high", "low", "close"), {}, 1),
    "MFI": (original.MFI, ("high", "low", "close", "volume"), {"timeperiod": 14}, None),
}
"""What a reader of TA-Lib's manual would expect: inputs, params, and the look-back where it is finite."""


def call(name: str, params: dict[str, Any] | None = None) -> Any:
    return plan_library_call(
        f"{MODULE}:{name}", params or {}, allow_modules=(MODULE,), fields=FIELDS, max_window=1000, where="factor 'x'"
    )


def test_every_function_is_there_and_nothing_else() -> None:
    assert set(original.get_functions()) - set(talib.FACTORS) == LEFT_OUT
    assert len(talib.FACTORS) > 140
    public = {name for name, value in vars(talib).items() if not name.startswith("_") and callable(value)}
    own = {name for name in public if getattr(getattr(talib, name), "__module__", "") == MODULE}
    assert own == set(talib.FACTORS)
    for name in talib.FACTORS:
        assert load_function(f"{MODULE}:{name}", CoreSettings().allow_modules).__doc__
    assert set(talib.FACTORS) >= talib.WINDOWED


@pytest.mark.parametrize("name", BY_HAND)
def test_values_inputs_and_look_backs(name: str) -> None:
    function, fields, params, lookback = BY_HAND[name]
    planned = call(name, params)
    assert (planned.inputs, planned.lookback) == (fields, lookback)
    outputs = abstract.Function(name).info["output_names"]
    for place, output in enumerate(outputs):
        chosen = {**params, "output": output} if len(outputs) > 1 else params
        ours = talib.FACTORS[name](*(BARS[field] for field in fields), **chosen)
        for column in range(ours.shape[1]):
            theirs = function(*(np.ascontiguousarray(BARS[field][:, column]) for field in fields), **params)
            theirs = np.asarray(theirs[place] if len(outputs) > 1 else theirs, dtype=np.float64)
            first = int(np.flatnonzero(np.isfinite(ours[:, column]))[0])
            np.testing.assert_array_equal(ours[first:, column], theirs[first:])
            assert first >= (lookback or 0)


def test_integers_have_no_value_while_they_warm_up() -> None:
    morning = talib.FACTORS["CDLMORNINGSTAR"](*(BARS[name] for name in ("open", "high", "low", "close")))
    warmup = abstract.Function("CDLMORNINGSTAR").lookback
    assert np.isnan(morning[:warmup]).all()
    assert set(np.unique(morning[warmup:])) <= {-100.0, 0.0, 100.0}


@pytest.mark.parametrize("name", ["RSI", "SMA", "MACD", "WILLR", "OBV", "CDLDOJI", "STOCH"])
def test_a_gap_ends_a_segment(name: str) -> None:
    function, fields = talib.FACTORS[name], call(name).inputs
    arrays = [BARS[field].copy() for field in fields]
    arrays[0][100, 0] = np.nan
    arrays[-1][101:105, 0] = np.nan
    values = function(*arrays)
    assert np.isnan(values[100:105, 0]).all()
    np.testing.assert_array_equal(values[:100, 0], function(*(array[:100] for array in arrays))[:, 0])
    np.testing.assert_array_equal(values[105:, 0], function(*(array[105:] for array in arrays))[:, 0])
    assert np.isfinite(values[-1, 0])
    np.testing.assert_array_equal(values[:, 1], function(*(BARS[field] for field in fields))[:, 1])


def test_windowed_functions_have_the_same_bits_from_any_start() -> None:
    bars = random_bars(rows=260, price=6e4)
    for values in bars.values():
        values[60:62] *= 1e9  # a running sum keeps a trace of it
    for name in sorted(talib.WINDOWED):
        planned = call(name)
        assert planned.lookback is not None
        arrays = [bars[field] for field in planned.inputs]
        params = dict(planned.params)
        for output in abstract.Function(name).info["output_names"] if "output" in params else [None]:
            more = {"output": output} if output else {}
            with np.errstate(all="ignore"):
                whole = talib.FACTORS[name](*arrays, **more)
                for start in range(planned.lookback + 1, 200, 9):
                    later = talib.FACTORS[name](*(array[start - planned.lookback :] for array in arrays), **more)
                    assert later[planned.lookback :].tobytes() == whole[start:].tobytes(), (name, start)


def test_all_others_are_computed_from_the_first_bar() -> None:
    for name, function in talib.FACTORS.items():
        rule = library_facts(function).lookback
        assert callable(rule)
        params = dict(call(name).params)
        assert (apply_rule(rule, params) is None) == (name not in talib.WINDOWED), name


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("RSI", {"timeperiod": 1}, r"TA-Lib does not take RSI\(timeperiod=1\): a param is outside its range"),
        ("RSI", {"timeperiod": 14.0}, "param 'timeperiod' is 14.0; int is allowed"),
        ("RSI", {"window": 14}, "there is no param 'window'; it has timeperiod"),
        ("RSI", {"output": "real"}, "there is no param 'output'"),
        ("MACD", {"output": "signal"}, "output is 'signal'; allowed is macd, macdsignal, macdhist; did you mean"),
        ("MACD", {"signalperiod": 1}, "MACD: signalperiod is 1; allowed is 2 or more"),
        ("BBANDS", {"matype": 9}, "a param is outside its range"),
        ("RSY", {}, "there is no function 'RSY'; did you mean 'RSI'"),
        ("MAVP", {}, "there is no function 'MAVP'"),
        ("library_factor", {}, "there is no function defined in it and called 'library_factor'"),
        ("_factor", {}, "is private"),
        ("WILLR", {"timeperiod": 5000}, "its look-back is 4,999 bars; max_window allows 1,000"),
    ],
)
def test_refused(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        call(name, params)


def test_a_recipe_by_default_settings(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"factors:\n  - name: rsi_{{timeperiod}}\n    type: library_function\n    source: {MODULE}:RSI\n"
        f"    grid: {{timeperiod: [7, 14]}}\n"
        f"  - {{name: sig, type: library_function, source: '{MODULE}:MACD', params: {{output: macdsignal}}}}\n",
        encoding="utf-8",
    )
    plan = compile_recipe(load_recipe(path), allow_modules=CoreSettings().allow_modules, max_window=1000)
    panel = small_panel()
    values = compute(plan, panel, gap_tolerance=0.1).values
    assert list(values) == ["rsi_7", "rsi_14", "sig"]
    close = panel.fields["close"][:, 4]
    gaps = np.flatnonzero(np.isnan(close)).tolist()
    begin, end = max(zip([-1, *gaps], [*gaps, len(close)], strict=True), key=lambda pair: pair[1] - pair[0])
    expected = original.RSI(np.ascontiguousarray(close[begin + 1 : end]), timeperiod=7)
    np.testing.assert_array_equal(values["rsi_7"][begin + 1 : end, 4], expected)


def test_without_ta_lib_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, MODULE)
    monkeypatch.setitem(sys.modules, "talib", None)
    with pytest.raises(
        RecipeError, match=r"module '.*talib' cannot be used: TA-Lib is not installed; pip install ta-lib"
    ):
        load_function(f"{MODULE}:RSI", (MODULE,))
