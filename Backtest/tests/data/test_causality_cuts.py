"""Where the causality check cuts: the same places every time, half of them at gaps, and at values that stand out."""

from __future__ import annotations

import dataclasses
import random

import numpy as np

from Backtest.data.causality_cuts import changes, outstanding, starts, truncations
from Backtest.tests.data.small_panel import small_panel


def gaps() -> set[int]:
    panel = small_panel()
    return set(np.flatnonzero((~panel.exists & (panel.age > 0)).any(axis=1)).tolist())


def test_truncations_are_the_same_every_time_and_visit_both_sides_of_gaps() -> None:
    panel = small_panel()
    state = random.getstate()
    cuts = truncations(panel, 40)
    assert random.getstate() == state
    assert cuts == truncations(panel, 40)
    assert cuts[:7] == truncations(panel, 7)
    assert all(0 < cut < 400 for cut in cuts)
    assert {cut - 1 for cut in cuts[1::4]} <= gaps(), "the gap is the last bar"
    assert set(cuts[3::4]) <= gaps(), "the gap is cut off"
    assert not set(cuts[::2]) <= gaps()
    assert all(380 < cut < 400 for cut in truncations(dataclasses.replace(panel, warmup=380), 40))


def test_starts_are_the_same_every_time_and_look_back_to_gaps() -> None:
    panel = small_panel()
    found = starts(panel, 30, 40, 9)
    assert found == starts(panel, 30, 40, 9)
    assert found[:7] == starts(panel, 30, 7, 9)
    assert all(30 <= start < 400 for start in found)
    assert {start - 9 for start in found[1::2]} <= gaps()
    assert set(starts(panel, 30, 40, None)[1::2]) <= gaps()


def test_without_gaps_all_cuts_are_drawn() -> None:
    panel = small_panel(quirks=False)
    assert len(set(truncations(panel, 40))) > 30
    assert len(set(starts(panel, 1, 40, 9))) > 30


def test_a_change_is_cut_right_behind() -> None:
    panel = small_panel(6, 1, quirks=False)
    panel = dataclasses.replace(panel, fields={"funding_sum": np.array([[0.0], [0.0], [0.1], [0.1], [0.1], [0.1]])})
    assert set(changes(panel, ["funding_sum"], 5)) == {3}
    assert changes(dataclasses.replace(panel, warmup=3), ["funding_sum"], 5) == []


def test_what_stands_out_by_hand() -> None:
    nan = np.nan
    values = np.array(
        [[1.0, nan, 5.0], [2.0, 0.0, 5.0], [3.0, 0.0, 5.0], [2.0, 9.0, nan], [2.0, 0.0, nan], [40.0, 0.0, 5.0]]
    )
    exists = np.ones((6, 3), np.bool_)
    # Lost on row 3; 38 median distances of 1 on row 5, 9 / mean distance 1.8 on row 3; then rows 0 and 2 at 1.
    assert outstanding(values, exists, 4) == [3, 5, 0, 2]
    exists[3, 2] = False  # no bar, so nothing was lost
    assert outstanding(values, exists, 2) == [5, 3]
    assert outstanding(np.ones((4, 2)), np.ones((4, 2), np.bool_), 3) == []
    assert outstanding(np.full((4, 2), nan), np.ones((4, 2), np.bool_), 3) == []
