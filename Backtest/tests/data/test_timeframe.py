"""One type for every way to write a bar length, and its place on the absolute clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as some

from Backtest.data.timeframe import Timeframe, parse_duration, parse_timeframe
from Backtest.errors import SettingsError

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    "label, seconds",
    [
        ("2H", 7200), ("2h", 7200), ("120m", 7200), ("120min", 7200), ("3min", 180), ("5min", 300), ("15m", 900),
        ("1d", 86400), ("1D", 86400), ("1w", 604800), ("1W", 604800), ("30s", 30), ("15T", 900), (" 4h ", 14400),
        ("1hour", 3600), ("1day", 86400), ("60Min", 3600),
    ],
)  # fmt: skip
def test_labels(label, seconds):
    timeframe = parse_timeframe(label)
    assert timeframe.seconds == seconds
    assert timeframe.label == label.strip()
    assert timeframe.ns == seconds * 10**9


def test_two_labels_of_one_length_are_one_timeframe():
    assert len({parse_timeframe(label) for label in ("2H", "2h", "120m", "120min", "7200s")}) == 1
    assert parse_timeframe("2h") != parse_timeframe("1h")
    assert parse_timeframe("2h") != 7200


@pytest.mark.parametrize(
    "label",
    [
        "",
        "h",
        "0h",
        "-1h",
        "1.5h",
        "1M",
        "3M",
        "1mo",
        "1y",
        "1 h",
        "2h2",
        "２h",
        "1h\n1",
        "01h",
        "1e3s",
        "9999999s",
        "../1h",
    ],
)
def test_what_is_no_timeframe_is_refused(label):
    with pytest.raises(SettingsError, match=r"is not known; write a number and s, m\|min, h, d or w"):
        parse_timeframe(label)


def test_a_bar_longer_than_a_year_is_refused():
    """Its nanoseconds would leave 64 bits."""
    assert parse_timeframe("365d").seconds == 365 * 86400
    for label in ("366d", "53w", "999999w"):
        with pytest.raises(SettingsError, match=f"timeframe '{label}' is longer than a year"):
            parse_timeframe(label)


def test_durations_are_called_by_their_name():
    assert parse_duration("3d") == 3 * 86400 * 10**9
    with pytest.raises(SettingsError, match="episode_gap '3 days' is not known"):
        parse_duration("3 days", "episode_gap")


def test_bars_per_year_and_day():
    assert parse_timeframe("4h").bars_per_year == 2190
    assert parse_timeframe("4h").bars_per_day == 6
    assert parse_timeframe("1w").bars_per_year == pytest.approx(52.142857142857146)
    assert parse_timeframe("1w").bars_per_day == pytest.approx(1 / 7)


def test_weeks_open_on_monday_and_days_at_midnight():
    week, day = parse_timeframe("1w"), parse_timeframe("1d")
    wednesday = datetime(2024, 5, 15, 13, 7, tzinfo=timezone.utc)
    opened = EPOCH + timedelta(microseconds=week.open_ns(week.index(ns(wednesday))) // 1000)
    assert opened == datetime(2024, 5, 13, tzinfo=timezone.utc)
    assert opened.weekday() == 0
    assert day.open_ns(day.index(ns(wednesday))) == ns(datetime(2024, 5, 15, tzinfo=timezone.utc))
    assert parse_timeframe("2w").open_ns(0) == ns(datetime(1970, 1, 5, tzinfo=timezone.utc))


@given(some.sampled_from([30, 60, 180, 900, 3600, 14400, 86400, 604800, 1209600]), some.integers(-(2**60), 2**60))
def test_index_and_open_time_belong_together(seconds, moment):
    timeframe = Timeframe(seconds, "x")
    index = timeframe.index(moment)
    assert timeframe.open_ns(index) <= moment < timeframe.open_ns(index + 1)
    assert timeframe.index(timeframe.open_ns(index)) == index
    first = timeframe.first_at_or_after(moment)
    assert timeframe.open_ns(first - 1) < moment <= timeframe.open_ns(first)
