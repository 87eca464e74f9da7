"""Episodes: where they begin, when they are known to be over, and prices that are finite on every row."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.engine.episodes import PLACEHOLDER, find_episodes, spans
from Backtest.tests.engine.market import panel_of

GONE = math.nan


def test_spans_follow_the_age():
    assert spans(np.array([0, 0, 0], dtype=np.int32)) == []
    assert spans(np.array([5, 6, 7], dtype=np.int32)) == [(0, 3)]
    assert spans(np.array([0, 1, 2, 0, 0, 1, 2], dtype=np.int32)) == [(1, 3), (5, 7)]
    assert spans(np.array([3, 4, 1, 2, 0], dtype=np.int32)) == [(0, 2), (2, 4)]
    assert spans(np.array([1, 2, 0], dtype=np.int32)) == [(0, 2)]


def test_a_life_with_a_gap_a_death_and_a_relisting():
    # gap 1: row 3 is a gap; rows 5 and 6 are missing: over at row 6; relisted at row 8
    panel = panel_of({"A": [GONE, 10, 11, GONE, 12, GONE, GONE, GONE, 3, 3]}, gap=1)
    first, second = find_episodes(panel, haircut=0.25)
    assert (first.name, first.begin, first.proven) == ("A", 1, 6)
    assert first.close.tolist() == [PLACEHOLDER, 10, 11, 11, 12, 12, 12, 12, 12, 12]
    assert first.open.tolist() == [PLACEHOLDER, 10, 11, 11, 12, 12, 12, 9, 9, 9]  # settled from row 7 on
    assert first.tradable.tolist() == [False, True, True, False, True, False, False, False, False, False]
    assert (second.name, second.begin, second.proven) == ("A#2", 8, 10)
    assert second.close.tolist() == [PLACEHOLDER] * 8 + [3, 3]


def test_prices_without_a_gap_are_the_panel_s_own_and_a_gap_in_one_symbol_changes_no_other():
    whole = panel_of({"A": [1.0, 2, 3, 4], "B": [5.0, 6, 7, 8]}, warmup=1)
    broken = panel_of({"A": [1.0, 2, 3, 4], "B": [5.0, GONE, 7, 8]}, warmup=1)
    for panel, shared in ((whole, [True, True]), (broken, [True, False])):
        episodes = find_episodes(panel, haircut=0.5)
        assert [(each.name, each.begin, each.proven, each.intact) for each in episodes] == [
            ("A", 0, 3, True), ("B", 0, 3, shared[1])
        ]  # fmt: skip
        for name in ("open", "high", "low", "close"):
            field = panel.fields[name]
            assert [np.shares_memory(getattr(each, name), field) for each in episodes] == shared
        assert episodes[0].close.tolist() == [2, 3, 4]
        assert episodes[0].tradable.tolist() == [True] * 3
    assert episodes[1].close.tolist() == [5, 7, 8]
    assert episodes[1].tradable.tolist() == [False, True, True]


@pytest.mark.parametrize(
    "field, value, names, lows, volumes",
    [
        ("low", GONE, ["A", "B"], [5, 6, 6, 8], [1, 1, 0, 1]),
        ("volume", math.inf, ["A", "B"], [5, 6, 7, 8], [1, 1, 0, 1]),
        ("exists", False, ["A", "B"], [5, 6, 6, 8], [1, 1, 0, 1]),
        ("age", 1, ["A", "B", "B#2"], [5, 6, 6, 6], [1, 1, 0, 0]),
    ],
)
def test_one_row_that_is_not_sound_is_found_among_whole_ones(field, value, names, lows, volumes):
    panel = panel_of({"A": [1.0, 2, 3, 4], "B": [5.0, 6, 7, 8]})
    values = panel.fields.get(field, getattr(panel, field, None))
    assert values is not None
    panel.tradable[2, 1] = False
    values[2:, 1] = [1, 2] if field == "age" else [value, values[3, 1]]
    episodes = find_episodes(panel, haircut=0.0)
    assert [each.name for each in episodes] == names
    assert episodes[1].low.tolist() == lows
    assert episodes[1].volume.tolist() == volumes


def test_the_real_panel_proves_a_death_at_the_same_row():
    """`build_panel` and the rule of ENGINE.md section 6: any further bar would begin a new episode."""
    from Backtest.data.clock import episodes
    from Backtest.data.timeframe import parse_timeframe

    timeframe = parse_timeframe("4h")
    gap = 3 * 86_400 * 1_000_000_000
    whole = np.arange(100)
    last = int(episodes(whole, timeframe=timeframe, episode_gap_ns=gap).last[0])
    proven = last + 1  # the first row of age 0
    for later in range(100, 130):
        again = episodes(np.append(whole, later), timeframe=timeframe, episode_gap_ns=gap)
        assert (len(again.first) == 2) == (later > proven)


def test_the_window_hides_what_ended_before_it_and_warmup_gives_the_last_close():
    panel = panel_of({"A": [5, GONE, GONE, GONE, GONE, GONE], "B": [7, 8, GONE, GONE, 9, 9]}, gap=2, warmup=2)
    (episode,) = find_episodes(panel, haircut=0.0)
    assert (episode.name, episode.begin) == ("B", 0)
    assert episode.close.tolist() == [8, 8, 9, 9]
