"""Library functions: the allow-list (FAULTS 41), and what they may return and do (FAULTS 42)."""

from __future__ import annotations

import dataclasses
import logging
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from Backtest.data.factors import FactorValues, compile_recipe, compute
from Backtest.data.library import LibraryFacts, apply_rule, library_factor, library_facts
from Backtest.data.library_run import episodes
from Backtest.data.library_source import load_function
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.errors import RecipeError
from Backtest.tests.data.sample_modules import functions
from Backtest.tests.data.small_panel import GAP_BARS, small_panel

HERE = "Backtest.tests.data.sample_modules"
MODULE = f"{HERE}.functions"


def plan_of(folder: Path, source: str, params: str = "", allow: tuple[str, ...] = (MODULE,)):
    text = f"params: {{n: 4}}\nfactors:\n  - name: a\n    type: library_function\n    source: {source!r}\n"
    (folder / "recipe.yaml").write_text(text + (f"    params: {{{params}}}\n" if params else ""), encoding="utf-8")
    return compile_recipe(load_recipe(folder / "recipe.yaml"), allow_modules=allow, max_window=1000)


def refusal(folder: Path, source: str, params: str = "", allow: tuple[str, ...] = (MODULE,)) -> str:
    with pytest.raises(RecipeError) as caught:
        plan_of(folder, source, params, allow)
    assert str(caught.value).startswith(f"{folder / 'recipe.yaml'}, line 5, column 5, factor 'a': ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def values_of(
    folder: Path, name: str, params: str = "", panel: Panel | None = None, timeout: float | None = None
) -> FactorValues:
    plan = plan_of(folder, f"{MODULE}:{name}", params)
    return compute(plan, panel or small_panel(), gap_tolerance=0.1, function_timeout=timeout)


# ---- allow-list -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source, message",
    [
        ("os:system", "module 'os' is not on the allow-list"),
        ("builtins:eval", "module 'builtins' is not on the allow-list"),
        (f"{HERE}.trap:anything", "is not on the allow-list"),
        (f"{MODULE}x:mean", "is not on the allow-list"),
        (f"{MODULE}.deeper:mean", "is not on the allow-list"),
        (f"{MODULE.lower()} :mean", "write module:function"),
        (f"{MODULE}:mean.__class__", "write module:function"),
        (f"{MODULE}:mean.__globals__", "write module:function"),
        (f"{MODULE}:", "write module:function"),
        ("/etc/passwd", "write module:function"),
        ("../functions.py:mean", "write module:function"),
        ("close", "write module:function"),
        (f"{MODULE}:mean\n", "write module:function"),
        (f"{MODULE}:m\u0435an", "write module:function"),
        (f"{MODULE}:_private", "is private"),
        (f"{MODULE}:__builtins__", "is private"),
        (f"{MODULE}:maen", "there is no function 'maen'; did you mean 'mean'"),
        (f"{MODULE}:np", "there is no function defined in it and called 'np'"),
        (f"{MODULE}:library_factor", "there is no function defined in it and called 'library_factor'"),
        (f"{MODULE}:Callable", "there is no function defined in it and called 'Callable'"),
        (f"{MODULE}:instance", "there is no function defined in it and called 'instance'"),
    ],
)
def test_refused_sources(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        plan_of(tmp_path, source)
    assert message in str(caught.value)


def test_nothing_unlisted_is_imported(tmp_path: Path) -> None:
    (tmp_path / "in_cwd.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    for source in (f"{HERE}.trap:anything", "in_cwd:anything"):
        refusal(tmp_path, source)
    assert f"{HERE}.trap" not in sys.modules
    assert "in_cwd" not in sys.modules
    assert "cannot be imported: SystemExit" in refusal(tmp_path, f"{HERE}.trap:f", allow=(f"{HERE}.trap",))
    assert "cannot be imported: ModuleNotFoundError" in refusal(tmp_path, "no_such_module:f", allow=("no_such_module",))


def test_a_package_may_re_export_its_own(tmp_path: Path) -> None:
    assert load_function(f"{HERE}:from_inside", (HERE,))(3) == 6
    assert "defined in it and called 'getcwd'" in refusal(tmp_path, f"{HERE}:getcwd", allow=(HERE,))
    assert "defined in it and called 'Path'" in refusal(tmp_path, f"{HERE}:Path", allow=(HERE,))


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("mean", "windw: 3", "there is no param 'windw'; did you mean 'window'"),
        ("mean", "close: 3", "there is no param 'close'"),
        ("mean", "window: '3'", "param 'window' is '3'; int is allowed"),
        ("mean", "window: 2.5", "param 'window' is 2.5; int is allowed"),
        ("mean", "window: true", "param 'window' is True; int is allowed"),
        ("mean", "scale: x", "param 'scale' is 'x'; float is allowed"),
        ("mean", "window: '{m}'", "param {m} is not among the recipe's params"),
        ("mean", "window: 2000", "its look-back is 1,999 bars; max_window allows 1,000"),
        ("unknown_field", "", "parameter 'clsoe' is no panel field; did you mean 'close'"),
        ("starred", "", "parameter *close is not allowed"),
        ("no_field", "", "asks for no panel field"),
        ("needs_param", "", "param 'window' is not given and has no default"),
        ("negative_lookback", "window: 3", "its look-back is -3"),
        ("broken_rule", "window: 0", "are refused: integer division or modulo by zero"),
        ("against", "benchmark: '../x'", "symbol '../x' is not allowed"),
    ],
)
def test_params_must_fit_the_signature(tmp_path: Path, name: str, params: str, message: str) -> None:
    assert message in refusal(tmp_path, f"{MODULE}:{name}", params)


def test_params_of_the_recipe_fill_lists_too(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, f"{MODULE}:weighted", "weights: ['{n}', 2, ' {n}']")
    assert plan.factors[0].params == {"weights": (4, 2, " {n}")}
    values = compute(plan, small_panel(), gap_tolerance=0.1).values["a"]
    assert values[5, 0] == 4 * small_panel().fields["close"][5, 0]
    assert "param {m} is not among the recipe's params" in refusal(tmp_path, f"{MODULE}:weighted", "weights: ['{m}']")


def test_what_a_call_says_about_itself(tmp_path: Path) -> None:
    mean = plan_of(tmp_path, f"{MODULE}:mean", "window: '{n}'")
    assert (mean.lookback, mean.fields, mean.cross_symbol, mean.extra_symbols) == (3, {"close"}, False, ())
    assert mean.factors[0].params == {"window": 4, "scale": 1.0}
    against = plan_of(tmp_path, f"{MODULE}:against", "benchmark: BTCUSDT")
    assert (against.lookback, against.cross_symbol, against.extra_symbols) == (0, True, ("BTCUSDT",))
    assert plan_of(tmp_path, f"{MODULE}:no_facts").lookback is None


def test_calls_with_other_params_are_other_calls(tmp_path: Path) -> None:
    entry = f"  - {{{{name: {{}}, type: library_function, source: '{MODULE}:mean', params: {{{{window: {{}}}}}}}}}}\n"
    text = "factors:\n" + "".join(entry.format(name, window) for name, window in (("a", 3), ("b", 5), ("c", 3)))
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    plan = compile_recipe(load_recipe(tmp_path / "recipe.yaml"), allow_modules=(MODULE,), max_window=1000)
    a, b, c = (factor.step for factor in plan.factors)
    assert a == c != b
    assert [plan.library_calls[number].lookback for number in (a, b)] == [2, 4]


def test_the_decorator() -> None:
    assert library_facts(functions.no_facts) == LibraryFacts()
    rule = library_facts(functions.mean).lookback
    assert callable(rule)
    assert apply_rule(rule, {"window": 9, "scale": 2.0}) == 8
    with pytest.raises(TypeError, match=r"mean_of: rule names \['windw'\]"):

        @library_factor(lookback=lambda windw: windw)
        def mean_of(close, *, window):
            return close


# ---- values ---------------------------------------------------------------------------------------------------------


def test_one_call_per_symbol_and_episode(tmp_path: Path) -> None:
    panel = small_panel()
    functions.SEEN_SHAPES.clear()
    values = values_of(tmp_path, "mean", panel=panel).values["a"]
    assert all(shape[1] == 1 for shape in functions.SEEN_SHAPES)
    close = panel.fields["close"]
    expected = (close[:-2] + close[1:-1] + close[2:]) / 3
    expected[~(np.isfinite(expected) & (panel.age[2:] >= 3))] = np.nan
    np.testing.assert_allclose(values[2:], expected, rtol=1e-12)
    assert np.isnan(values[:2]).all()


def test_symbols_see_each_other_but_no_earlier_episode(tmp_path: Path) -> None:
    panel = small_panel()
    values = values_of(tmp_path, "against", panel=panel).values["a"]
    close = panel.fields["close"]
    np.testing.assert_array_equal(values, np.where(panel.exists, close / close[:, :1], np.nan))
    second = values_of(tmp_path, "since_start", panel=dataclasses.replace(panel, warmup=0)).values["a"]
    begin = len(close) // 2 + GAP_BARS
    assert second[begin, 2] == 1.0, "the relisted coin counts from its new first bar"
    assert second[begin, 0] > GAP_BARS


def test_episodes() -> None:
    age = np.array([0, 0, 1, 2, 3, 0, 1, 2, 1, 2, 0], dtype=np.int32)
    assert episodes(age) == [(2, 5), (6, 8), (8, 10)]
    assert episodes(np.array([7, 8, 9], dtype=np.int32)) == [(0, 3)]
    assert episodes(np.array([0, 0], dtype=np.int32)) == []


def test_infinite_values_are_missing_and_counted(tmp_path: Path) -> None:
    panel = small_panel()
    result = values_of(tmp_path, "infinite", panel=panel)
    above = panel.fields["close"] > 100
    assert np.isnan(result.values["a"][above]).all()
    assert result.counts == {"a": {"infinite": int(above.sum())}}


def test_integers_become_floats(tmp_path: Path) -> None:
    values = values_of(tmp_path, "integers", panel=small_panel(quirks=False)).values["a"]
    assert values.dtype == np.float64
    assert (values == 1).all()


@pytest.mark.parametrize(
    "name, message",
    [
        ("future", "gives other values when later bars are cut off: it uses the future"),
        ("whole_sample", "it uses the future"),
        ("randomly", "or gives something else on every call"),
        ("too_short", "states a look-back of 2 bars, but values change when older bars are cut off"),
        ("mutates", "raised ValueError: assignment destination is read-only in line"),
        ("unlocks", "its inputs are read-only: copy before writing"),
        ("shortened", r"returned an array of shape \(399, 1\); its input had \(400, 1\)"),
        ("flat", r"returned an array of shape \(400,\)"),
        ("listed", "returned a list"),
        ("nothing", "returned a NoneType"),
        ("objects", "returned an array of object"),
        ("complex_numbers", "returned an array of complex128"),
        ("raises", "raised KeyError: 'no such thing' in line"),
        ("exits", "raised SystemExit: 3"),
    ],
)
def test_bad_functions(tmp_path: Path, name: str, message: str) -> None:
    panel = small_panel()
    before = panel.fields["close"].copy()
    for timeout in (None, 20.0):
        with pytest.raises(RecipeError, match=message) as caught:
            values_of(tmp_path, name, panel=panel, timeout=timeout)
        assert str(caught.value).startswith(f"factor 'a': {MODULE}:{name} ")
        assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(panel.fields["close"], before)


def test_a_function_that_hangs(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(RecipeError, match=r"factor 'a': .*:hangs took longer than function_timeout, 0.3 s"):
        values_of(tmp_path, "hangs", timeout=0.3)
    assert time.monotonic() - begin < 10


def test_what_a_function_prints_goes_to_the_log(tmp_path: Path, capsys, caplog) -> None:
    with caplog.at_level(logging.INFO, logger="factor_automation"):
        values_of(tmp_path, "prints", timeout=20.0)
    assert capsys.readouterr().out == ""
    assert "prints printed: hello xxx" in caplog.text
    assert len(caplog.text) < 12_000
