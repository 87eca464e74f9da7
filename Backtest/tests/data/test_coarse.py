"""``bars``: values on coarser bars against a slow twin, pandas on real klines, and every law of the panel."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import numpy as np
import pytest

from Backtest.data import coarse
from Backtest.data.causality import Verdict, check_causality
from Backtest.data.coarse import CoarseBars, coarsen
from Backtest.data.dsl.blocks import coarse_bytes, estimate_memory, held_bytes
from Backtest.data.dsl.explain import explain
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import FactorValues, compile_recipe, compute
from Backtest.data.fields import Fields
from Backtest.data.panel import Panel
from Backtest.data.schema import FieldSource
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import ExpressionError, RecipeError

from .small_panel import FIRST_BAR, recipe_of, small_panel

FOUR = 4
EXPRESSIONS = {
    "close4": 'bars("4h", close)',
    "mean": 'close / bars("4h", ts_mean(close, 3)) - 1',
    "on_top": 'ts_mean(bars("4h", returns(close, 2)), 9)',
    "range6": 'bars("6h", ts_max(high, 5) / ts_min(low, 5) - 1)',
    "up": 'where(bars("4h", close > open), 1, -1)',
    "other": 'bars("4h", beta_to("S02USDT", returns(close, 1), 10))',
    "undefined": 'bars("4h", log(close - close)) + bars("4h", log(close - close) + volume)',
}
ACROSS = {"ranked": 'bars("4h", cs_rank(returns(close, 3)))', "after": 'cs_demean(bars("6h", volume))'}
RECURSIVE = {"smooth": 'bars("4h", ema(close, 5)) / close', "held": 'bars("12h", cum_max(high))'}
EVERY = {**EXPRESSIONS, **ACROSS, **RECURSIVE}
RECIPES = pytest.mark.parametrize("expressions", [EXPRESSIONS, ACROSS, EVERY], ids=["time", "across", "recursive"])


def plan_of(folder: Path, timeframe: str | None = "1h", **expressions: str) -> Plan:
    run = None if timeframe is None else parse_timeframe(timeframe)
    return compile_recipe(recipe_of(folder, **expressions), allow_modules=(), max_window=1000, timeframe=run)


def computed(plan: Plan, panel: Panel, **more: int) -> FactorValues:
    return compute(plan, panel, gap_tolerance=0.1, **more)


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    return np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()


def twin(panel: Panel, value: Callable[[list[list[int]], int], float]) -> np.ndarray:
    """Compute bars("4h", x) row by row; `value` gets the rows of each coarser bar of the listing so far, and s."""
    out = np.full(panel.shape, np.nan)
    for t in range(panel.shape[0]):
        for s in range(panel.shape[1]):
            if not panel.exists[t, s]:
                continue
            now = FIRST_BAR + t
            began = now - int(panel.age[t, s]) + 1
            groups = [
                [i - FIRST_BAR for i in range(max(began, bar * FOUR), bar * FOUR + FOUR)]
                for bar in range(began // FOUR, (now + 1) // FOUR)
            ]
            if groups:
                there = [[i for i in group if panel.exists[i, s]] for group in groups]
                out[t, s] = value(there, s)
    return out


def last_close(panel: Panel, group: list[int], s: int) -> float:
    return float(panel.fields["close"][group[-1], s]) if group else math.nan


def test_values_against_a_slow_twin(tmp_path: Path) -> None:
    panel = small_panel(240)
    values = computed(plan_of(tmp_path, **EXPRESSIONS), panel).values

    def mean(groups: list[list[int]], s: int) -> float:
        closes = [last_close(panel, group, s) for group in groups[-3:]]
        return math.fsum(closes) / 3 if len(closes) == 3 else math.nan

    want = twin(panel, lambda groups, s: last_close(panel, groups[-1], s))
    np.testing.assert_array_equal(values["close4"], want)
    assert np.isfinite(want).mean() > 0.7
    np.testing.assert_allclose(values["mean"], panel.fields["close"] / twin(panel, mean) - 1, rtol=1e-9)

    def up(groups: list[list[int]], s: int) -> float:
        first, last = (groups[-1][0], groups[-1][-1]) if groups[-1] else (0, 0)
        grown = panel.fields["close"][last, s] - panel.fields["open"][first, s]
        return math.copysign(1, grown) if groups[-1] else math.nan

    np.testing.assert_array_equal(values["up"], twin(panel, up))


def test_what_a_coarser_bar_is(tmp_path: Path) -> None:
    """Rows 1 .. 4 of the panel are the first whole bar: 1003 is the last hour of its four."""
    panel = small_panel(12, 3, quirks=False)
    exists = panel.exists.copy()
    exists[2, 1] = exists[5:9, 1] = False
    fields = {name: np.where(exists, values, np.nan) for name, values in panel.fields.items()}
    panel = dataclasses.replace(panel, exists=exists, tradable=exists & (np.arange(12) != 3)[:, None], fields=fields)
    bars = coarsen(panel, parse_timeframe("4h"))
    assert bars.panel.first_bar == FIRST_BAR // FOUR
    assert bars.closes.tolist() == [0, 4, 8]
    volume = panel.fields["volume"]
    np.testing.assert_allclose(bars.panel.fields["volume"][1, 0], volume[1:5, 0].sum(), rtol=1e-15)
    np.testing.assert_allclose(bars.panel.fields["volume"][1, 1], volume[[1, 3, 4], 1].sum(), rtol=1e-15)
    assert bars.panel.fields["open"][1].tolist() == panel.fields["open"][1].tolist()
    assert bars.panel.fields["high"][1, 1] == panel.fields["high"][[1, 3, 4], 1].max()
    assert bars.panel.fields["low"][1, 2] == panel.fields["low"][1:5, 2].min()
    assert bars.panel.exists.tolist() == [[True] * 3, [True] * 3, [True, False, True]]
    assert bars.panel.age.tolist() == [[1] * 3, [2] * 3, [3] * 3]
    late = coarsen(panel.rows(2, 12), parse_timeframe("4h"))
    assert late.closes.tolist() == [2, 6]
    assert late.panel.exists.tolist() == [[False] * 3, [True, False, True]], "the first bar is not whole"
    assert late.panel.age.tolist() == [[2] * 3, [3] * 3]


def test_a_new_listing_takes_nothing_of_the_old_one(tmp_path: Path) -> None:
    """One week holds the end of one listing and the beginning of the next."""
    panel = small_panel(400)
    plan = plan_of(tmp_path, w='bars("2d", cum_count(close))', sum='bars("2d", volume)')
    values = computed(plan, panel).values
    begin = 220  # of the second listing of S02USDT; 20 bars of gap
    absolute = np.arange(FIRST_BAR, FIRST_BAR + 400)
    closed = np.flatnonzero((absolute + 1) % 48 == 0)
    first = closed[closed >= begin][0]
    assert first - begin < 47, "its first two days are not whole"
    assert np.isnan(values["w"][begin:first, 2]).all()
    there = panel.exists[begin : first + 1, 2]
    np.testing.assert_allclose(values["sum"][first, 2], panel.fields["volume"][begin : first + 1, 2][there].sum())
    assert values["w"][first, 2] == 1.0


@RECIPES
def test_another_start_changes_no_bit_and_needs_no_more_than_its_look_back(tmp_path: Path, expressions) -> None:
    plan, panel = plan_of(tmp_path, **expressions), small_panel()
    whole = computed(plan, panel)
    for begin in (1, 29, 100, 101, 102, 103, 104, 250, 399):
        first = 0 if plan.lookback is None else max(0, begin - plan.lookback)
        for name, values in computed(plan, panel.rows(first, 400, warmup=begin - first)).values.items():
            assert same_bits(values, whole.values[name][begin:]), (name, begin)


def test_the_look_back_is_as_short_as_it_can_be(tmp_path: Path) -> None:
    panel = small_panel(quirks=False)
    for text, lookback in {'bars("4h", close)': 6, 'bars("4h", ts_mean(close, 3))': 14, 'bars("1h", close)': 0}.items():
        plan = plan_of(tmp_path, x=text)
        assert plan.lookback == lookback
        whole = computed(plan, panel).values["x"]
        if not lookback:
            continue
        parts = {row: panel.rows(row - lookback + 1, row + 1, warmup=lookback - 1) for row in range(100, 104)}
        values = {row: computed(plan, part).values["x"] for row, part in parts.items()}
        short = [same_bits(found, whole[row : row + 1]) for row, found in values.items()]
        assert not all(short), text
    assert plan_of(tmp_path, x='bars("4h", ema(close, 3))').lookback is None


def test_coarser_bars_begin_where_bars_of_the_run_do(tmp_path: Path) -> None:
    """Weeks begin on Mondays, 84 hours are counted from the epoch, a Thursday: two of these are no week."""
    with pytest.raises(ExpressionError, match="'timeframe' of bars is 1w, no multiple of the run's 84h"):
        plan_of(tmp_path, "84h", x='bars("1w", close)')
    assert plan_of(tmp_path, "24h", x='bars("1w", close)').lookback == 12


def test_a_panel_without_rows_has_no_values(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, **EVERY)
    values = computed(plan, small_panel().rows(0, 0)).values
    assert {one.shape for one in values.values()} == {(0, 5)}


@RECIPES
def test_the_future_changes_no_bit(tmp_path: Path, expressions: dict[str, str]) -> None:
    """Cut at every place inside a coarser bar."""
    plan, panel = plan_of(tmp_path, **expressions), small_panel()
    whole = computed(plan, panel)
    for end in (1, 2, 60, 201, 202, 203, 204, 205, 206, 399):
        for name, values in computed(plan, panel.rows(0, end)).values.items():
            assert same_bits(values, whole.values[name][:end]), (name, end)


@RECIPES
def test_blocks_change_no_bit(tmp_path: Path, expressions: dict[str, str]) -> None:
    plan, panel = plan_of(tmp_path, **expressions), small_panel(400, 7)
    whole = computed(plan, panel)
    assert all(np.isfinite(values).any() for name, values in whole.values.items() if name != "undefined")
    for rows, symbols in [(1, 3), (37, 1), (64, 2), (10_000, 100)]:
        cut = computed(plan, panel, block_rows=rows, block_symbols=symbols)
        assert cut.counts == whole.counts
        assert all(same_bits(cut.values[name], whole.values[name]) for name in whole.names)


def test_symbols_on_their_own_do_not_touch(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, **EXPRESSIONS, **RECURSIVE), small_panel()
    assert (plan.cross_symbol, plan.extra_symbols) == (False, ("S02USDT",))
    whole = computed(plan, panel)
    for name, values in computed(plan, panel.columns(panel.symbols[1:3])).values.items():
        assert same_bits(values, whole.values[name][:, 1:3]), name
    assert plan_of(tmp_path, **ACROSS).cross_symbol


def test_undefined_values_are_counted_once_in_the_rows_where_they_are_known(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, x=EXPRESSIONS["undefined"]), small_panel()
    count = computed(plan, panel).counts["x"]["undefined"]
    bars = coarsen(panel, parse_timeframe("4h"))
    assert count == bars.panel.exists.sum(), "the logarithm is shared"
    assert plan.lookback is not None
    parts = [panel.rows(0, 150), panel.rows(150 - plan.lookback, 303, warmup=plan.lookback)]
    parts.append(panel.rows(303 - plan.lookback, 400, warmup=plan.lookback))
    assert sum(computed(plan, part).counts["x"]["undefined"] for part in parts) == count


def test_cross_sections_are_those_of_the_coarser_bars(tmp_path: Path) -> None:
    panel = small_panel()
    member = panel.member.copy()
    member[:, 4] = False
    panel = dataclasses.replace(panel, member=member)
    values = computed(plan_of(tmp_path, x='bars("4h", cs_count(close))'), panel).values["x"]
    bars = coarsen(panel, parse_timeframe("4h"))
    known = np.searchsorted(bars.closes, np.arange(400), side="right") - 1
    people = (bars.panel.member & bars.panel.tradable).sum(axis=1)
    there = np.isfinite(values)
    assert there[10:, 0].mean() > 0.9
    assert not there[:, 4].any()
    np.testing.assert_array_equal(values[there], np.repeat(people[known][:, None], 5, axis=1)[there])


def test_it_passes_the_causality_check(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, **EVERY)
    assert check_causality(plan, small_panel(), count=12, gap_tolerance=0.1) == Verdict((), {})


def test_a_coarser_bar_joined_at_its_start_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The leak that the operator exists to avoid: the bar's label is its open, its value is known at its close."""

    def at_the_label(panel: Panel, timeframe) -> CoarseBars:
        bars = coarsen(panel, timeframe)
        return dataclasses.replace(bars, closes=bars.closes - timeframe.seconds // panel.timeframe.seconds + 1)

    plan = plan_of(tmp_path, alone=EXPRESSIONS["close4"], top=EXPRESSIONS["on_top"], fair="ts_mean(close, 7)")
    monkeypatch.setattr(coarse, "coarsen", at_the_label)
    verdict = check_causality(plan, small_panel(), count=12, gap_tolerance=0.1)
    found = {(one.factor, one.kind) for one in verdict.violations}
    assert {("alone", "look-ahead"), ("top", "look-ahead")} <= found
    assert "fair" not in {name for name, _ in found}


def test_a_look_back_that_forgets_the_coarser_bars_start_is_caught(tmp_path: Path, monkeypatch) -> None:
    from Backtest.data.dsl import steps

    monkeypatch.setattr(steps, "bars_lookback", lambda lookback, ratio: (lookback + 1) * ratio - 1)
    plan = plan_of(tmp_path, x='bars("12h", ts_sum(volume, 3))')
    (found,) = check_causality(plan, small_panel(), count=12, gap_tolerance=0.1).violations
    assert found.kind == "look-back"


REFUSED = {
    'bars("90m", close)': "'timeframe' of bars is 90m, no multiple of the run's 1h",
    'bars("30m", close)': "no multiple of the run's 1h",
    'bars("4x", close)': "timeframe '4x' is not known",
    "bars(4, close)": "'timeframe' of bars must be a bar length in quotes, e.g. \"4h\"; found the number 4",
    "bars(close, 4)": "must be a bar length in quotes",
    'bars("4h")': "bars needs 'x': bars(timeframe, x)",
    'bars("4h", 3)': "'x' of bars must be a series or a mask; found the number 3",
    'bars("4h", mom)': "'mom' is of the run's own bars; inside bars() these are known: open, high",
    'bars("4h", bars("8h", close))': "bars() inside bars()",
    'bars("4h", clsoe)': "did you mean 'close'",
    'bars("4h", ts_mean(close, 400))': "needs 1,602 bars (66.8 days of 1h) of look-back in total",
    'bars("4h", ts_mean(close, 2000))': "'d' of ts_mean is 2,000 bars (333.3 days of 4h); max_window allows 1,000",
    "bars": "'bars' is an operator; write bars(timeframe, x)",
    "bras('4h', close)": "did you mean 'bars'",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused_before_data_are_read(tmp_path: Path, text: str) -> None:
    with pytest.raises(ExpressionError) as found:
        plan_of(tmp_path, mom="close", x=text)
    assert REFUSED[text] in str(found.value)


def test_the_run_must_tell_its_bars_and_no_factor_is_called_bars(tmp_path: Path) -> None:
    with pytest.raises(ExpressionError, match="rests on the run's timeframe, which is not given; give --timeframe"):
        plan_of(tmp_path, None, x='bars("4h", close)')
    with pytest.raises(RecipeError, match="'bars' is an operator"):
        plan_of(tmp_path, bars="close")
    assert plan_of(tmp_path, "1d", x='bars("1w", close)').lookback == 12
    with pytest.raises(ExpressionError, match="is 1w, no multiple of the run's 2d"):
        plan_of(tmp_path, "2d", x='bars("1w", close)')


def test_the_plan_knows_fields_memory_and_words(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, **EVERY)
    assert plan.fields == {"close", "high", "low", "open", "volume"}
    assert set(plan.factors[1].operators) == {"bars", "div", "sub", "ts_mean"}
    text = explain(plan, timeframe=parse_timeframe("1h"))
    assert 'bars("4h", log(close - close))' in text
    assert "compares symbols" in text
    assert "symbols    S02USDT besides the run's own" in text
    assert coarse_bytes(plan_of(tmp_path, x="close * 2"), 10_000, 8) == 0
    assert 0 < coarse_bytes(plan, 10_000, 8) < held_bytes(plan, 10_000, 8)
    assert estimate_memory(plan, 10_000, 8) > estimate_memory(plan_of(tmp_path, **ACROSS), 10_000, 8)
    tight = held_bytes(plan, 400, 5) + 200_000
    assert same_bits(
        compute(plan, small_panel(), gap_tolerance=0.1, memory_limit=tight).values["mean"],
        computed(plan, small_panel()).values["mean"],
    )


class Table:
    """Fills a group, which coarser bars have too, and an amount of each bar, which they do not."""

    sources = (FieldSource("sector", "group", "a test", steady=True), FieldSource("flow", "series", "a test"))
    hint = ""

    def fill(self, name: str, panel: Panel) -> np.ndarray:
        return np.where(panel.exists, np.arange(panel.shape[1]) % 2, np.nan)

    def fingerprint(self, names: Collection[str]) -> Mapping[str, str]:
        return {}


def test_fields_that_hold_are_there_on_coarser_bars(tmp_path: Path) -> None:
    fields = Fields((Table(),))
    run = parse_timeframe("1h")
    recipe = recipe_of(tmp_path, x='bars("4h", grp_mean(close, sector))')
    plan = compile_recipe(recipe, allow_modules=(), max_window=1000, timeframe=run, fields=fields)
    panel = fields.filled(small_panel(80, 6, quirks=False), plan.fields)
    panel = dataclasses.replace(panel, tradable=panel.exists)
    values = computed(plan, panel).values["x"]
    close = panel.fields["close"][4]  # 1003 + 4 closes a bar of four hours, which stands until 1003 + 7
    for row in (4, 5, 7):
        np.testing.assert_allclose(values[row, ::2], close[::2].mean(), rtol=1e-12)
        np.testing.assert_allclose(values[row, 1::2], close[1::2].mean(), rtol=1e-12)
    with pytest.raises(ExpressionError, match="'flow' is of the run's own bars; inside bars"):
        recipe = recipe_of(tmp_path, x='bars("4h", flow)')
        compile_recipe(recipe, allow_modules=(), max_window=1000, timeframe=run, fields=fields)
