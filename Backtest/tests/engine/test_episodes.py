"""Episodes: where they begin, when they are known to be over, and prices that are finite on every row."""

from __future__ import annotations

import math

import numpy as np

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
