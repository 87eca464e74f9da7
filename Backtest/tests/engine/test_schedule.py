"""Rebalance rows against the calendar of the standard library."""

from __future__ import annotations

import datetime as dt

import pytest

from Backtest.data.timeframe import parse_timeframe
from Backtest.engine.schedule import rebalance_rows


def decided(rebalance: str, label: str, start: dt.datetime, rows: int) -> list[dt.datetime]:
    """Open times of the rebalance rows."""
    timeframe = parse_timeframe(label)
    epoch = dt.datetime(1970, 1, 1)
    first = timeframe.index(int((start - epoch).total_seconds()) * 1_000_000_000)
    due = rebalance_rows(rebalance, timeframe, first_bar=first, rows=rows)
    opens = [epoch + dt.timedelta(seconds=timeframe.open_ns(first + row) // 1_000_000_000) for row in range(rows)]
    assert opens[0] == start
    return [stamp for stamp, flag in zip(opens, due, strict=True) if flag]


def test_bars_count_from_the_first_of_the_window():
    start = dt.datetime(2024, 3, 5, 7)
    assert decided("6", "1h", start, 13) == [start, start + dt.timedelta(hours=6), start + dt.timedelta(hours=12)]
    assert len(decided("1", "1h", start, 13)) == 13


def test_a_day_is_decided_on_the_last_bar_before_midnight():
    found = decided("1d", "4h", dt.datetime(2024, 2, 28, 12), 20)
    assert found == [dt.datetime(2024, 2, day, 20) for day in (28, 29)] + [dt.datetime(2024, 3, 1, 20)]


@pytest.mark.parametrize(
    "rebalance, same",
    [
        ("1d", lambda one: one.date()),
        ("1w", lambda one: one.isocalendar()[:2]),
        ("1M", lambda one: (one.year, one.month)),
    ],
)
@pytest.mark.parametrize("label", ["15min", "2h", "5h", "1d"])
def test_periods_equal_the_calendar(rebalance, same, label):
    length = dt.timedelta(seconds=parse_timeframe(label).seconds)
    start = dt.datetime(2023, 12, 20) if label != "5h" else dt.datetime(2023, 12, 20, 1)  # a bar of the 5 h grid
    rows = 5000
    opens = [start + length * row for row in range(rows)]
    expected = [stamp for stamp in opens if same(stamp) != same(stamp + length)]
    assert decided(rebalance, label, start, rows) == expected


def test_weekly_bars_rebalance_every_week_and_at_the_month_s_last_open():
    monday = dt.datetime(2024, 1, 1)
    assert len(decided("1w", "1w", monday, 10)) == 10
    assert decided("1M", "1w", monday, 10) == [dt.datetime(2024, 1, 29), dt.datetime(2024, 2, 26)]
