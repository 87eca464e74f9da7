"""Coarser bars from finer ones, against sums made bar by bar."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.data.schema import COLUMNS
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import DataError

from .kline_files import START_MS, Rows, kinds, load, rows, text, write_root

MINUTE_MS = 60_000
MONDAY_MS = START_MS + 3 * 86_400_000  # 2021-01-04


def expected(body: Rows, length_ms: int) -> list[list[float]]:
    """Open, high, low, close, volume of the coarser bars, by plain Python."""
    groups: dict[int, Rows] = {}
    for row in body:
        groups.setdefault(int(row[0]) // length_ms, []).append(row)
    return [
        [
            float(group[0][1]),
            max(float(row[2]) for row in group),
            min(float(row[3]) for row in group),
            float(group[-1][4]),
            math.fsum(float(row[5]) for row in group),
        ]
        for _, group in sorted(groups.items())
    ]


def assert_bars(got, want: list[list[float]]) -> None:
    for place, name in enumerate(("open", "high", "low", "close")):
        assert got.fields[name].tolist() == [bar[place] for bar in want]
    np.testing.assert_allclose(got.fields["volume"], [bar[4] for bar in want], rtol=1e-15)


def test_bars_are_combined_from_the_finest_folder_that_divides(tmp_path):
    body = rows(600, step_ms=MINUTE_MS)
    write_root(tmp_path, text(body), timeframe="1m")
    write_root(tmp_path, text(rows(50, seed=2)), timeframe="1h")
    write_root(tmp_path, text(rows(50, seed=2, step_ms=2 * MINUTE_MS)), timeframe="2m")
    got = load(tmp_path, timeframe="5min")
    assert_bars(got, expected(body, 5 * MINUTE_MS))
    assert got.findings == ()
    assert got.timeframe.label == "5min"
    assert [got.timeframe.open_ns(int(bar)) // 10**6 for bar in got.index] == [int(row[0]) for row in body[::5]]


def test_children_out_of_order_and_twice_do_not_matter(tmp_path):
    body = rows(600, step_ms=MINUTE_MS)
    write_root(tmp_path, text(body[::-1] + body[7:9]), timeframe="1m")
    assert_bars(load(tmp_path, timeframe="10m"), expected(body, 10 * MINUTE_MS))


def test_missing_children_are_flagged_and_a_bar_without_any_is_missing(tmp_path):
    body = rows(600, step_ms=MINUTE_MS)
    kept = body[3:20] + body[21:300] + body[315:]
    write_root(tmp_path, text(kept), timeframe="1m")
    got = load(tmp_path, timeframe="5m")
    assert_bars(got, expected(kept, 5 * MINUTE_MS))
    assert kinds(got) == {"gaps": 1, "partial_bars": 2}
    gaps, partial = got.findings
    # bars 0 (three minutes missing) and 4 (one); minutes 300 to 314 are three whole bars
    assert (partial.first, partial.detail) == ("2021-01-01T00:00:00Z", "4 bars of 1m missing inside")
    assert gaps.detail == "3 bars missing, at most 3 in a row, from 2021-01-01T05:00:00Z"


@pytest.mark.parametrize("last_bar,count", [("auto", 119), ("keep", 120), ("drop", 119)])
def test_a_last_bar_without_its_last_child_is_still_forming(tmp_path, last_bar, count):
    write_root(tmp_path, text(rows(599, step_ms=MINUTE_MS)), timeframe="1m")
    got = load(tmp_path, timeframe="5m", last_bar=last_bar)
    assert len(got.index) == count
    assert got.last_bar == ("keep" if last_bar == "keep" else "drop")
    assert kinds(got)["last_bar_kept" if last_bar == "keep" else "last_bar_dropped"] == 1


def test_weeks_begin_on_monday(tmp_path):
    body = rows(21 * 24, start_ms=MONDAY_MS)
    write_root(tmp_path, text(body), timeframe="1h")
    got = load(tmp_path, timeframe="1w")
    assert [got.timeframe.open_ns(int(bar)) // 10**6 for bar in got.index] == [
        MONDAY_MS + week * 7 * 86_400_000 for week in range(3)
    ]
    assert got.fields["open"].tolist() == [float(body[week * 168][1]) for week in range(3)]


def test_bars_that_straddle_a_week_make_none(tmp_path):
    """Seven hours divide a week, but no bar of theirs opens on a Monday at midnight."""
    seven = 7 * 3_600_000
    write_root(tmp_path, text(rows(96, step_ms=seven, start_ms=START_MS // seven * seven)), timeframe="7h")
    with pytest.raises(DataError, match="has no folder for 1w nor a finer one"):
        load(tmp_path, timeframe="1w")
    assert len(load(tmp_path, timeframe="14h").index) >= 47


def test_every_optional_column_is_combined_by_its_rule(tmp_path):
    """Values worked out by hand: three bars of 4 minutes, the second with an empty premium and one missing minute."""
    header = ",".join(column.name for column in COLUMNS)
    premium = [[1, 4, 0, 2], [2, 9, 1, 5], [5, 6, -3, 4], [4, 5, 2, 3]] * 3
    body = []
    for minute, (row, rates) in enumerate(zip(rows(12, step_ms=MINUTE_MS), premium, strict=True)):
        close = str(int(row[0]) + MINUTE_MS - 1)
        body.append([*row, close, str(10 + minute), str(minute), "2", "3", *(str(rate) for rate in rates), close])
    body[5][12] = ""
    del body[6]
    write_root(tmp_path, text(body, header), timeframe="1m")
    got = load(tmp_path, timeframe="4m")
    nan = float("nan")
    want = {
        "quote_asset_volume": [10 + 11 + 12 + 13, 14 + 15 + 17, 18 + 19 + 20 + 21],
        "number_of_trades": [0 + 1 + 2 + 3, 4 + 5 + 7, 8 + 9 + 10 + 11],
        "taker_buy_base_volume": [8, 6, 8],
        "taker_buy_quote_volume": [12, 9, 12],
        "premium_open": [1, 1, 1],
        "premium_high": [9, nan, 9],
        "premium_low": [-3, 0, -3],
        "premium_close": [3, 3, 3],
    }
    for name, values in want.items():
        np.testing.assert_array_equal(got.fields[name], values, err_msg=name)
    assert kinds(got) == {"empty_cells": 1, "partial_bars": 1}


def test_fields_asked_for_are_combined_from_the_cache_alike(tmp_path):
    write_root(tmp_path, text(rows(600, step_ms=MINUTE_MS)), timeframe="1m")
    whole = load(tmp_path, timeframe="5m")
    for _ in range(2):
        got = load(tmp_path, timeframe="5m", cache_root=tmp_path / "cache", fields=["high"])
        assert got.fields["high"].tolist() == whole.fields["high"].tolist()
        assert got.tradable.tolist() == whole.tradable.tolist()
    assert [path.parent.name for path in (tmp_path / "cache").rglob("*.parquet")] == ["1m"]


def test_a_stored_decision_holds_for_the_coarser_bar(tmp_path):
    from Backtest.data.source import load_symbol, open_root
    from Backtest.settings import CoreSettings

    write_root(tmp_path, text(rows(598, step_ms=MINUTE_MS)), timeframe="1m")
    settings = CoreSettings()
    first = load(tmp_path, timeframe="5m")
    write_root(tmp_path, text(rows(600, step_ms=MINUTE_MS)), timeframe="1m")
    root = open_root(tmp_path, parse_timeframe("5m"), settings)
    end = first.timeframe.open_ns(int(first.index[-1]) + 1)
    again = load_symbol(root, "BTCUSDT", settings=settings, cache_root=None, last_bar=first.last_bar, end=end)
    assert again.index.tolist() == first.index.tolist()
    assert again.fields["close"].tolist() == first.fields["close"].tolist()
