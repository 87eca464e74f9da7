"""The files of a Qlib provider: frequencies, clock, episodes, bins; expected bytes by `struct`, dates by hand."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from factor_evaluation.qlib_bins import (
    LONGEST,
    bin_path,
    calendar_text,
    decode_bin,
    encode_bin,
    episodes,
    instruments_text,
    qlib_frequency,
)

from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import RunError, SettingsError
from tests.qlib_market import market


@pytest.mark.parametrize(
    "label, expected",
    [("1d", "day"), ("24h", "day"), ("4h", "240min"), ("5min", "5min"), ("15m", "15min"), ("1w", "10080min")],
)
def test_qlib_knows_minutes_and_days(label, expected):
    assert qlib_frequency(parse_timeframe(label)) == expected


@pytest.mark.parametrize("label", ["30s", "90s"])
def test_bars_that_are_no_whole_minutes_are_refused(label):
    with pytest.raises(SettingsError, match="whole minutes"):
        qlib_frequency(parse_timeframe(label))


def test_the_calendar_has_a_line_for_every_bar():
    stamps = np.array(["2024-02-29T20:00", "2024-03-01T00:00"], dtype="datetime64[ns]")
    assert calendar_text(stamps) == "2024-02-29 20:00:00\n2024-03-01 00:00:00\n"


def test_more_bars_than_a_header_can_count_are_refused():
    with pytest.raises(RunError, match="more than a Qlib store can count"):
        calendar_text(np.broadcast_to(np.datetime64(0, "ns"), LONGEST + 1))


def test_every_listing_episode_has_its_line():
    panel = market().panel
    spans = {symbol: episodes(panel.exists[:, i], panel.age[:, i]) for i, symbol in enumerate(panel.symbols)}
    assert spans == {"ADAUSDT": [(5, 59)], "BTCUSDT": [(0, 59)], "XRPUSDT": [(0, 19), (40, 54)]}
    words = [f"bar {row}" for row in range(60)]
    assert instruments_text(spans, words).splitlines()[2:] == ["XRPUSDT\tbar 0\tbar 19", "XRPUSDT\tbar 40\tbar 54"]


def test_a_symbol_without_bars_has_no_episode():
    assert episodes(np.zeros(3, dtype=np.bool_), np.zeros(3, dtype=np.int32)) == []


def test_a_bin_is_the_start_row_and_the_values_in_float32(tmp_path):
    content, lost = encode_bin(np.array([1.5, math.nan, -0.1]), 7)
    assert content == struct.pack("<4f", 7.0, 1.5, math.nan, -0.1)
    assert lost == 0
    start, values = decode_bin(content)
    assert start == 7
    assert values.tolist()[::2] == [1.5, np.float32(-0.1)]
    assert bin_path(tmp_path, "BTCUSDT", "MOM3", "240min") == tmp_path / "features" / "btcusdt" / "mom3.240min.bin"


def test_every_missing_value_is_the_same_bytes_and_overflow_is_missing():
    odd = np.array([0x7FF8000000000123], dtype=np.uint64).view(np.float64)
    content, lost = encode_bin(np.array([odd[0], 1e39, -1e39]), 0)
    assert content == struct.pack("<4f", 0, *[math.nan] * 3)
    assert lost == 2


@pytest.mark.parametrize(
    "content", [b"", b"ab", struct.pack("<f", -1.0), struct.pack("<f", 1.5), struct.pack("<f", 1e9)]
)
def test_a_header_that_is_no_row_is_told(content):
    assert decode_bin(content)[0] == -1
