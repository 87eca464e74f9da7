"""The clock and the panel: three symbols by hand, and independence of the window by law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Backtest.data.bars import Fingerprint, SymbolBars
from Backtest.data.clock import build_panel, episodes
from Backtest.data.panel import Panel
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import DataError

HOUR = parse_timeframe("1h")
FILE = Fingerprint("x.csv", 1, 1, "0" * 64)


def bars(symbol: str, index: list[int], untradable: tuple[int, ...] = ()) -> SymbolBars:
    """Bars whose close is their own index, so that a value tells where it came from."""
    bar = np.array(index, np.int64)
    fields = {"close": bar.astype(np.float64), "volume": np.ones(len(bar))}
    return SymbolBars(symbol, HOUR, bar, fields, ~np.isin(bar, untradable), (), FILE, "keep", ("close", "volume"))


def build(
    *given: SymbolBars, start: int | None = None, end: int | None = None, lookback: int | None = 0, gap: int = 2,
    members: tuple[str, ...] = ("A", "B", "C"),
) -> Panel:  # fmt: skip
    return build_panel(
        given,
        timeframe=HOUR,
        start_ns=None if start is None else HOUR.open_ns(start),
        end_ns=None if end is None else HOUR.open_ns(end),
        lookback=lookback,
        fields=["close"],
        members=members,
        episode_gap_ns=gap * HOUR.ns,
    )


def test_three_symbols_by_hand():
    # gap 2: a third missing bar proves the end of a listing
    a = bars("A", [10, 11, 13, 18, 19])  # one bar missing (12), then four (14..17): a new listing at 18
    b = bars("B", [12, 13, 14, 15, 16, 17], untradable=(14,))
    c = bars("C", [16])
    panel = build(c, a, b, members=("A", "B"))
    nan = np.nan
    assert panel.symbols == ("A", "B", "C")
    assert (panel.first_bar, panel.warmup, panel.shape) == (10, 0, (10, 3))
    np.testing.assert_array_equal(panel.fields["close"][:, 0], [10, 11, nan, 13, nan, nan, nan, nan, 18, 19])
    np.testing.assert_array_equal(panel.fields["close"][:, 1], [nan, nan, 12, 13, 14, 15, 16, 17, nan, nan])
    assert panel.age[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 0, 0, 1, 2]
    assert panel.age[:, 1].tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    assert panel.age[:, 2].tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 3, 0]
    assert np.flatnonzero(panel.exists[:, 1]).tolist() == [2, 3, 4, 5, 6, 7]
    assert np.flatnonzero(panel.tradable[:, 1]).tolist() == [2, 3, 5, 6, 7]
    assert panel.member.all(axis=0).tolist() == [True, True, False]
    assert panel.member.any(axis=0).tolist() == [True, True, False]
    assert panel.fields["close"].flags.c_contiguous
    assert panel.age.dtype == np.int32
    assert panel.timestamp[0] == np.datetime64("1970-01-01T10:00")


def test_the_window_is_half_open_and_ends_with_the_data():
    a, b = bars("A", list(range(10, 20))), bars("B", list(range(5, 15)))
    panel = build(a, b, start=8, end=18)
    assert (panel.first_bar, panel.shape[0]) == (8, 10)
    assert build(a, b, end=1000).shape[0] == 15, "ends at the close of the last bar of any symbol"
    early = build(a, b, start=0)
    assert (early.first_bar, early.shape[0]) == (0, 20), "begins as asked"
    inside = build_panel(
        [a], timeframe=HOUR, start_ns=HOUR.open_ns(12) + 1, end_ns=HOUR.open_ns(15) + 1, lookback=0, fields=[],
        members=[], episode_gap_ns=0,
    )  # fmt: skip
    assert (inside.first_bar, inside.shape[0]) == (13, 3), "bars 13, 14, 15 open inside"


@pytest.mark.parametrize("start,end", [(20, None), (None, 5), (12, 12), (15, 12)])
def test_a_window_without_bars_is_refused(start, end):
    with pytest.raises(
        DataError, match="holds no bar; the data reach from 1970-01-01T05:00:00Z to 1970-01-01T20:00:00Z"
    ):
        build(bars("A", list(range(5, 20))), start=start, end=end)


@pytest.mark.parametrize("lookback,first,warmup", [(0, 12, 0), (3, 9, 3), (7, 5, 7), (100, 5, 7), (None, 10, 2)])
def test_rows_before_the_window(lookback, first, warmup):
    """B's episode ended before the window, A's is alive: from the episode's first bar means A's."""
    a, b = bars("A", [10, 11, 12, 13]), bars("B", [5, 6])
    panel = build(a, b, start=12, lookback=lookback)
    assert (panel.first_bar, panel.warmup) == (first, warmup)
    assert panel.age[panel.warmup, 0] == 3


def test_an_episode_still_unproven_dead_is_alive():
    a, b = bars("A", [10, 11, 12, 13]), bars("B", [5, 6, 7, 8, 9, 10])
    assert build(a, b, start=12, lookback=None).first_bar == 5


def test_only_the_fields_asked_for_are_made():
    assert list(build(bars("A", [1, 2])).fields) == ["close"]


INDICES = st.lists(st.integers(0, 120), min_size=1, max_size=60, unique=True).map(sorted)


@settings(deadline=None)  # the machine may be busy
@given(INDICES, INDICES, st.integers(0, 110), st.integers(1, 30), st.integers(0, 9))
def test_age_and_tradable_do_not_depend_on_the_window_nor_on_other_symbols(one, other, start, length, gap):
    a, b = bars("A", one, untradable=tuple(one[::3])), bars("B", other)
    whole = build(a, b, start=0, gap=gap)
    try:
        part = build(a, start=start, end=start + length, gap=gap)
    except DataError:
        return
    rows = slice(part.first_bar, part.first_bar + part.shape[0])
    assert part.age[:, 0].tolist() == whole.age[rows, 0].tolist()
    assert part.tradable[:, 0].tolist() == whole.tradable[rows, 0].tolist()
    np.testing.assert_array_equal(part.fields["close"][:, 0], whole.fields["close"][rows, 0])


@settings(deadline=None)  # the machine may be busy
@given(INDICES, st.integers(0, 9))
def test_age_by_a_plain_walk_over_the_bars(index, gap):
    """Row by row, with nothing known of later rows."""
    panel = build(bars("A", index), start=0, gap=gap)
    exists, age, last = set(index), 0, None
    for row in range(panel.shape[0]):
        if row in exists:
            # the listing goes on unless more than `gap` bars were missing before this one
            age = age + 1 if last is not None and row - last - 1 <= gap and age else 1
            last = row
        elif age and last is not None and row - last <= gap:
            age += 1
        else:
            age = age if last is not None and row - last <= gap else 0
        assert panel.age[row, 0] == age


def test_appended_bars_change_no_earlier_row():
    index = [3, 4, 5, 9, 10, 30, 31]
    whole = build(bars("A", index), start=0)
    for count in range(1, len(index)):
        part = build(bars("A", index[:count]), start=0)
        assert part.age[:, 0].tolist() == whole.age[: part.shape[0], 0].tolist()


def test_episodes_end_when_the_gap_is_proven():
    found = episodes(np.array([0, 1, 4, 8], np.int64), timeframe=HOUR, episode_gap_ns=2 * HOUR.ns + 1)
    assert found.first.tolist() == [0, 8]
    assert found.last.tolist() == [6, 10]
    assert [found.alive_at(row) for row in (0, 6, 7, 8, 11)] == [0, 0, None, 8, None]
