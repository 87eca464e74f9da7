"""Plans computed on small panels: values by hand, and the same bits for every block size and start."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Backtest.data.dsl import program
from Backtest.data.dsl.blocks import Blocks, choose_blocks, held_bytes, working_bytes
from Backtest.data.dsl.engine import cut_time
from Backtest.data.dsl.operators import OPERATORS
from Backtest.data.dsl.plan import Plan
from Backtest.data.dsl.segments import live_arrays, segments
from Backtest.data.dsl.signature import kernel_of
from Backtest.data.factors import FactorValues, compile_recipe, compute
from Backtest.data.panel import Panel
from Backtest.errors import DataError, SettingsError
from Backtest.tests.data.small_panel import recipe_of, small_panel

ALONG_TIME = {
    "mom": "close / shift(close, 30) - 1",
    "burst": "ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 48) + 0.000001)",
    "up": "close > open and volume > ts_mean(volume, 10)",
    "plain": "close",
    "again": "ts_mean(mom, 7) * mom",
    "chosen": "where(up, mom, -volume)",
}
ACROSS = {
    **ALONG_TIME,
    "ranked": "cs_rank(mom)",
    "neutral": "ts_mean(cs_demean(cs_zscore(returns(close, 6)) + ranked), 5) + ts_max(high, 9)",
    "raw": "cs_scale(close)",
}
RECURSIVE = {**ACROSS, "smooth": "ema(close, 10) - rma(neutral, 4)", "held": "cs_rank(ffill(close))"}
RECIPES = pytest.mark.parametrize("expressions", [ALONG_TIME, ACROSS, RECURSIVE], ids=["time", "across", "recursive"])


def plan_of(folder: Path, expressions: dict[str, str]) -> Plan:
    return compile_recipe(recipe_of(folder, **expressions), allow_modules=(), max_window=1000)


def computed(plan: Plan, panel: Panel, **more: float) -> FactorValues:
    return compute(plan, panel, gap_tolerance=0.1, **more)  # type: ignore[arg-type]


def same_bytes(left: FactorValues, right: FactorValues) -> None:
    assert left.names == right.names
    assert left.counts == right.counts
    for name in left.names:
        assert left.values[name].tobytes() == right.values[name].tobytes(), name


def test_values_by_hand(tmp_path: Path) -> None:
    panel = small_panel(8, 2, quirks=False)
    close, volume = panel.fields["close"], panel.fields["volume"]
    plan = plan_of(
        tmp_path,
        {
            "ratio": "close / shift(close, 2) - 1",
            "big": "volume > 20",
            "share": "cs_scale(volume)",
            "twice": "ratio * 2",
        },
    )
    values = computed(plan, dataclasses.replace(panel, tradable=panel.exists)).values
    expected = np.full_like(close, np.nan)
    expected[2:] = close[2:] / close[:-2] - 1
    np.testing.assert_allclose(values["ratio"], expected, rtol=1e-15)
    np.testing.assert_array_equal(values["twice"], values["ratio"] * 2)
    np.testing.assert_array_equal(values["big"], (volume > 20) * 1.0)
    np.testing.assert_allclose(values["share"], volume / volume.sum(axis=1, keepdims=True), rtol=1e-14)


@RECIPES
def test_blocks_change_no_bit(tmp_path: Path, expressions: dict[str, str]) -> None:
    plan, panel = plan_of(tmp_path, expressions), small_panel(400, 7)
    whole = computed(plan, panel, block_rows=400, block_symbols=7)
    assert all(np.isfinite(values).any() for values in whole.values.values())
    for rows, symbols in [(1, 3), (37, 1), (64, 2), (150, 5), (399, 7), (10_000, 100)]:
        same_bytes(computed(plan, panel, block_rows=rows, block_symbols=symbols), whole)
    same_bytes(computed(plan, panel, threads=3), whole)
    same_bytes(computed(plan, panel, memory_limit=held_bytes(plan, 400, 7) + 1_000_000), whole)


def test_threads_share_out_time_or_symbols(tmp_path: Path) -> None:
    panel = small_panel(400, 7)
    finite = {"a": "ts_std(logret(close, 1), 5)", "b": "cs_rank(a) / (volume - volume)", "c": "ts_mean(cs_rank(a), 4)"}
    for expressions, parts in ((finite, 3), ({**finite, "d": "ema(close, 3)"}, 1)):
        plan = plan_of(tmp_path, expressions)
        assert len(cut_time(plan, 30, 400, rows=16, threads=3)) == parts
        own = dataclasses.replace(panel, warmup=30)
        same_bytes(computed(plan, own, threads=3, block_rows=16), computed(plan, own))


@pytest.mark.parametrize("warmup", [0, 25, 60, 100])
def test_parts_of_time_are_as_long_with_what_they_look_back_to(tmp_path: Path, warmup: int) -> None:
    plan = plan_of(tmp_path, {"a": "ts_mean(close, 61)"})
    cuts = cut_time(plan, warmup, warmup + 2_000, rows=16, threads=3)
    assert [begin for begin, _ in cuts] == [warmup, *(end for _, end in cuts[:-1])]
    assert cuts[-1][1] == warmup + 2_000
    lengths = [end - max(0, begin - 60) for begin, end in cuts]
    assert max(lengths) - min(lengths) <= 1


@RECIPES
def test_another_start_changes_no_bit(tmp_path: Path, expressions: dict[str, str]) -> None:
    plan, panel = plan_of(tmp_path, expressions), small_panel()
    whole = computed(plan, panel)
    for begin in (1, 29, 100, 250, 399):
        first = 0 if plan.lookback is None else max(0, begin - plan.lookback)
        later = computed(plan, panel.rows(first, 400, warmup=begin - first))
        for name, values in later.values.items():
            assert values.tobytes() == whole.values[name][begin:].tobytes(), (name, begin)


@RECIPES
def test_the_future_changes_no_bit(tmp_path: Path, expressions: dict[str, str]) -> None:
    plan, panel = plan_of(tmp_path, expressions), small_panel()
    whole = computed(plan, panel)
    for end in (1, 60, 205, 399):
        for name, values in computed(plan, panel.rows(0, end)).values.items():
            assert values.tobytes() == whole.values[name][:end].tobytes(), (name, end)


def test_symbols_on_their_own_do_not_touch(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, ALONG_TIME), small_panel()
    whole = computed(plan, panel)
    for name, values in computed(plan, panel.columns(panel.symbols[1:3])).values.items():
        assert values.tobytes() == np.ascontiguousarray(whole.values[name][:, 1:3]).tobytes(), name


def test_missing_where_there_is_no_bar(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, {"a": "is_nan(close)", "b": "fill(close, 0)", "c": "close"}), small_panel()
    for values in computed(plan, panel).values.values():
        assert np.isnan(values[~panel.exists]).all()
        assert np.isfinite(values[panel.exists]).all()
        missing = values[np.isnan(values)]
        assert set(missing.view(np.uint64).tolist()) == {0x7FF8000000000000}, "one canonical NaN"


def test_a_window_longer_than_the_history_is_missing_throughout(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"a": "ts_std(close, 1000)", "b": "shift(close, 900)", "c": "ts_median(close, 500)"})
    values = computed(plan, small_panel(), block_rows=50).values
    assert all(np.isnan(factor).all() for factor in values.values())


def test_undefined_values_are_counted_per_factor(tmp_path: Path) -> None:
    expressions = {"a": "close / (volume - volume)", "b": "log(-close) + a", "c": "close + 1"}
    plan, panel = plan_of(tmp_path, expressions), small_panel(60, 3)
    own = panel.rows(20, 60).exists.sum()
    for rows in (7, 100):
        counts = computed(plan, panel.rows(0, 60, warmup=20), block_rows=rows, block_symbols=2).counts
        assert counts == {"a": {"undefined": own}, "b": {"undefined": 2 * own}}


def test_a_shared_step_is_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    applied: list[str] = []

    def counting(operator):
        applied.append(operator.name)
        return kernel_of(operator)

    monkeypatch.setattr(program, "kernel_of", counting)
    expressions = {
        "a": "ts_std(logret(close, 1), 12)",
        "b": "ts_mean(abs(logret(close, 1)), 12) / ts_std(log_diff(close, 1), 12)",
        "c": "a + stddev(logret(close, d=1), 12, ddof=1)",
    }
    computed(plan_of(tmp_path, expressions), small_panel(50, 3))
    # also c's ts_std, although it goes by another name there and its default is written out
    assert sorted(applied) == sorted(["logret", "ts_std", "abs", "ts_mean", "div", "add"])


def test_last_use_frees_memory(tmp_path: Path) -> None:
    long = {"a": " + ".join(f"ts_mean(close, {bars})" for bars in range(2, 60))}
    plan = plan_of(tmp_path, long)
    assert len(plan.order) > 100
    assert live_arrays(plan) == (4, 0), "close, the sum so far, the next mean and the next sum"


def test_segments_of_a_cross_symbol_plan(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"a": "ts_mean(cs_demean(returns(close, 6)), 5) + ts_max(high, 9)"})
    first, across, last = segments(plan)
    names = [[OPERATORS[plan.steps[step].source.name].name for step in part.steps] for part in segments(plan)]  # type: ignore[union-attr]
    assert names == [["returns", "ts_max"], ["cs_demean"], ["ts_mean", "add"]]
    assert len(first.exports) == 2
    assert len(across.exports) == 1
    assert not last.exports
    assert across.last == first.steps[:1]
    assert set(last.last) == {first.steps[1], across.steps[0]}
    assert live_arrays(plan) == (3, 3)


def test_block_choice_keeps_to_the_memory_limit(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, ALONG_TIME)
    assert choose_blocks(plan, 100_000, 40) == Blocks(1638, 40)
    for budget in (5e6, 1e6, 3e5):
        assert working_bytes(plan, choose_blocks(plan, 100_000, 40, budget=budget), 100_000, 40) <= budget
    with pytest.raises(SettingsError, match="GB more than memory_limit_gb allows for 100,000 bars of 40 symbols"):
        choose_blocks(plan, 100_000, 40, budget=1000)
    with pytest.raises(SettingsError, match="memory_limit_gb"):
        computed(plan, small_panel(), memory_limit=1.0)
    deep = plan_of(tmp_path, {"a": "ts_mean(close, 900)"})
    assert choose_blocks(deep, 100_000, 40) == Blocks(4 * 899, 32)
    assert choose_blocks(plan_of(tmp_path, RECURSIVE), 100_000, 40).rows == 1638
    chain = plan_of(tmp_path, {"a": "ts_sum(close * volume, 14) / ts_sum(volume, 14)"})
    assert choose_blocks(chain, 20_000, 40) == Blocks(20_000, 40), "one tile"
    threaded = choose_blocks(chain, 20_000, 40, threads=2)
    assert len(cut_time(chain, 13, 20_013, rows=threaded.rows, threads=2)) == 2, "threads share out the bars"


def test_a_plan_travels_between_processes(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, RECURSIVE), small_panel(100, 3)
    computed(plan, panel)  # what is cached must travel as well
    same_bytes(computed(pickle.loads(pickle.dumps(plan)), panel), computed(plan, panel))


def test_read_only_panels_and_absent_fields(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, ACROSS), small_panel(100, 3)
    for values in [*panel.fields.values(), panel.age, panel.exists, panel.member, panel.tradable]:
        np.asarray(values).setflags(write=False)
    computed(plan, panel)
    with pytest.raises(DataError, match="the panel has no high, volume"):
        few = {name: panel.fields[name] for name in ("open", "close", "low")}
        computed(plan, dataclasses.replace(panel, fields=few))


def test_parts_of_a_plan(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, RECURSIVE), small_panel(100, 3)
    whole = computed(plan, panel)
    for factor in plan.factors:
        part = plan.only(factor)
        assert part.lookback == factor.lookback
        assert part.fields == set(factor.fields)
        assert computed(part, panel).values[factor.name].tobytes() == whole.values[factor.name].tobytes()
    assert plan.only(plan.factors[0]).cross_symbol is False
    assert plan.cross_symbol is True


def test_empty_panels(tmp_path: Path) -> None:
    plan, panel = plan_of(tmp_path, ACROSS), small_panel(100, 3)
    assert computed(plan, panel.rows(0, 50, warmup=50)).values["mom"].shape == (0, 3)
    assert computed(plan, panel.columns(())).values["mom"].shape == (100, 0)


def test_only_tradable_members_take_part_in_cross_sections(tmp_path: Path) -> None:
    """DESIGN's population by hand: pandas ranks and means over the members that can be traded, nobody else."""
    panel = small_panel(120, 5)
    member = panel.member.copy()
    member[:, 4] = False  # loaded for a factor, not asked for
    panel = dataclasses.replace(panel, member=member)
    plan = plan_of(tmp_path, {"place": "cs_rank(close)", "middle": "close - cs_demean(close)"})
    values = computed(plan, panel).values
    population = member & panel.tradable
    assert (panel.exists & member & ~population).sum() >= 3  # bars without volume are there to be left out
    close = pd.DataFrame(np.where(population, panel.fields["close"], np.nan))
    np.testing.assert_allclose(values["place"], close.rank(axis=1, pct=True).to_numpy(), rtol=1e-15)
    expected = np.where(population, close.mean(axis=1).to_numpy()[:, None], np.nan)
    np.testing.assert_allclose(values["middle"], expected, rtol=1e-12)
