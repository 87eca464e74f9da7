"""Cells, formats and the rules of quality on their own."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Backtest.data.cells import parse_numbers, parse_time_cell, parse_times
from Backtest.data.clock import parse_time
from Backtest.data.gaps import gap_findings
from Backtest.data.quality import BAD_KINDS, KINDS, duration_words, price_outliers, volume_outliers
from Backtest.data.schema import BY_NAME, COLUMNS, FIELDS, REQUIRED
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import SettingsError

HOUR_NS = 3_600 * 10**9


def test_the_schema_has_the_columns_of_the_design():
    names = (
        "open_time,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,taker_buy_base_volume,"
        "taker_buy_quote_volume,premium_open,premium_high,premium_low,premium_close,premium_close_time"
    ).split(",")
    assert [column.name for column in COLUMNS] == names == list(BY_NAME)
    assert list(REQUIRED) == names[:6]
    assert list(FIELDS) == [name for name in names if not name.endswith("time")]


def test_every_bad_kind_is_a_kind():
    assert set(BAD_KINDS) < set(KINDS)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.floats(allow_nan=False), min_size=1))
def test_numbers_come_back_as_they_were_written(values):
    got = parse_numbers(pa.array([repr(value) for value in values]))
    assert got.values.tolist() == values
    assert not got.text.any()


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.one_of(st.floats().map(repr), st.text(max_size=8)), min_size=1))
def test_the_reading_by_column_and_by_cell_agree(cells):
    """Whatever stands beside a cell, the cell means the same."""
    together = parse_numbers(pa.array(cells, pa.string()))
    for cell, value, text in zip(cells, together.values, together.text, strict=True):
        alone = parse_numbers(pa.array([cell], pa.string()))
        assert alone.values[0] == value or (np.isnan(alone.values[0]) and np.isnan(value))
        assert alone.text[0] == text


@settings(deadline=None)  # the machine may be busy
@given(
    st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2200, 1, 1)), min_size=1, max_size=5),
    st.sampled_from(["s", "ms", "us", "iso", "T", "Z", "+05:30", "-0800"]),
    st.booleans(),
)
def test_times_of_every_format_equal_the_calendar_of_the_standard_library(moments, style, broken):
    moments = [moment.replace(microsecond=0) for moment in moments]
    since = [int(moment.replace(tzinfo=timezone.utc).timestamp()) for moment in moments]
    shift = {"+05:30": 330, "-0800": -480}.get(style, 0)
    scale = {"s": "", "ms": "000", "us": "000000"}
    if style in scale:
        cells = [f"{second}{scale[style]}" for second in since]
    else:
        joint, zone = ("T", "") if style == "T" else (" ", "" if style == "iso" else style)
        cells = [moment.isoformat(sep=joint) + zone for moment in moments]
    got = parse_times(pa.array([*cells, "?"] if broken else cells))
    want = [(second - 60 * shift) * 10**9 for second in since]
    assert got.ns[: len(cells)].tolist() == want
    assert got.valid.tolist() == [True] * len(cells) + [False] * broken


NO_TIMES = (
    "", "0", "17", "20210101", "99999999", "1e12", "1.5e9", "-1609459200000", "99999999999999999999", "1609459200000.5",
    "2021-13-01", "2021-02-30", "01/02/2021", "2021-1-1", "2021-01-01T25:00", "0001-01-01T00:00+14:00",
    "１６０９４５９２００", "0x176bb3e7000", "nan", "NaT", "2021-01-01T00:00+24:00", "2021-01-01T00:00+08:60",
)  # fmt: skip


TIME_SEEDS = (
    "2021-01-01", "2021-01-01 04", "2021-01-01T04:05Z", "2021-01-01 04:05:06.123456789", "2021-01-01T04:05:06+0530",
    "2021-01-01 04:05:06 UTC", "1609459200000", "1609459200.0", "2262-04-12", "1677-09-21", "NaT", "",
)  # fmt: skip


@settings(deadline=None)  # the machine may be busy
@given(st.sampled_from(TIME_SEEDS), st.integers(0, 30), st.text("0123456789-:+. TZx", max_size=2), st.integers(0, 2))
def test_the_reading_of_times_by_column_and_by_cell_agree(seed, place, new, dropped):
    cell = seed[:place] + new + seed[place + dropped :]
    alone, beside = parse_times(pa.array([cell])), parse_times(pa.array([cell, "?"]))
    for name in ("ns", "valid", "empty", "unit"):
        assert getattr(alone, name)[0] == getattr(beside, name)[0]
    assert alone.zones == beside.zones


@pytest.mark.parametrize("cell", NO_TIMES)
def test_what_is_no_time(cell):
    assert parse_time_cell(cell) is None
    assert not parse_times(pa.array([cell])).valid[0]


@pytest.mark.parametrize(
    "text,seconds",
    [("1970-01-02", 86_400), ("2021-01-01", 1_609_459_200), ("2021-01-01T04:00", 1_609_473_600),
     ("2021-01-01 04:00:00Z", 1_609_473_600), ("2021-01-01T04:00+08:00", 1_609_444_800)],
)  # fmt: skip
def test_times_of_a_command_line(text, seconds):
    assert parse_time(text) == seconds * 10**9


@pytest.mark.parametrize("text", ["", "yesterday", "1609459200", "2021", "2021-02-30", "2021-01-01T"])
def test_times_of_a_command_line_that_are_none(text):
    with pytest.raises(SettingsError, match="is not known; write 2021-01-01"):
        parse_time(text)


def test_durations_in_words():
    assert [duration_words(ns) for ns in (HOUR_NS, 24 * HOUR_NS, 90 * 60 * 10**9, 10**9, 10**8)] == [
        "1h",
        "1d",
        "90m",
        "1s",
        "0.1s",
    ]


def test_outliers_by_their_rules():
    close = np.full(20, 100.0)
    columns = {
        "open": close.copy(),
        "high": close * 1.1,
        "low": close * 0.9,
        "close": close,
        "volume": np.full(20, 5.0),
    }
    assert not price_outliers(columns).any()
    assert not volume_outliers(columns).any()
    columns["low"][7] = 9.9
    columns["high"][8] = 1000.0  # just ten times is none
    columns["volume"][3] = 5e5 * 1.01
    assert np.flatnonzero(price_outliers(columns)).tolist() == [7]
    assert np.flatnonzero(volume_outliers(columns)).tolist() == [3]


def test_a_level_that_lasts_is_no_outlier():
    """A coin that halves its supply twelvefold stays there: the bars around agree with it."""
    close = np.concatenate((np.full(10, 100.0), np.full(10, 1200.0)))
    assert not price_outliers({"open": close, "high": close, "low": close, "close": close}).any()


def test_gap_findings_count_and_name():
    index = np.array([10, 11, 14, 15, 16, 200, 201], np.int64)
    timeframe = parse_timeframe("1h")
    gaps, listings = gap_findings(index, timeframe=timeframe, episode_gap_ns=72 * HOUR_NS)
    assert (gaps.kind, gaps.count, gaps.first) == ("gaps", 2, "1970-01-01T12:00:00Z")
    assert gaps.detail == "185 bars missing, at most 183 in a row, from 1970-01-01T17:00:00Z"
    assert (listings.kind, listings.count, listings.first) == ("episodes", 2, "1970-01-09T08:00:00Z")
    assert gap_findings(index[:2], timeframe=timeframe, episode_gap_ns=0) == []
