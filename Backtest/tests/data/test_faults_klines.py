"""Faults of kline files, rows 1 to 20 of the fault table: refused with the row named, or repaired and reported."""

from __future__ import annotations

import gzip
import hashlib
import os
import random
import re
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Backtest.data.bars import require_fields
from Backtest.data.clock import build_panel
from Backtest.data.panel import Panel
from Backtest.errors import SymbolRefused

from .kline_files import (
    HEADER,
    HOUR_MS,
    KLINES,
    START_MS,
    Rows,
    iso,
    kinds,
    load,
    load_text,
    rows,
    same_bars,
    text,
    write_root,
)  # fmt: skip

DAY_NS = 86_400 * 10**9
CLOSE, VOLUME = 4, 5


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return load_text(tmp_path_factory.mktemp("clean"), text(rows()))


def refused(folder: Path, content: str | bytes, match: str, **given: Any) -> None:
    """Assert that the file is refused in one line that names the file and `match`es."""
    with pytest.raises(SymbolRefused, match=match) as error:
        load_text(folder, content, **given)
    assert "BTCUSDT" in str(error.value)
    assert "\n" not in str(error.value)


def panel_of(bars, **window) -> Panel:
    asked = {"start_ns": None, "end_ns": None, "lookback": 0, **window}
    return build_panel(
        [bars],
        timeframe=bars.timeframe,
        fields=["open", "close"],
        members=[bars.symbol],
        episode_gap_ns=3 * DAY_NS,
        **asked,
    )


def without(bars, *positions: int):
    """Return the index and closes of `bars` with some rows left out, as the expected result of dropping them."""
    return np.delete(bars.index, positions), np.delete(bars.fields["close"], positions)


def assert_dropped(got, clean, kind: str, *positions: int) -> None:
    index, close = without(clean, *positions)
    assert got.index.tolist() == index.tolist()
    assert got.fields["close"].tolist() == close.tolist()
    assert kinds(got)[kind] == len(positions)
    panel = panel_of(got)
    for position in positions:
        assert not panel.exists[position, 0]
        assert not panel.tradable[position, 0]
        assert np.isnan(panel.fields["close"][position, 0])


# Row 1: duplicate timestamps, identical rows


def test_identical_duplicates_are_dropped_and_counted(tmp_path, clean):
    body = rows()
    got = load_text(tmp_path, text(body[:50] + [body[10], body[49], body[49]] + body[50:]))
    assert same_bars(got, clean)
    assert kinds(got)["duplicates"] == 3


def test_duplicates_written_differently_but_equal_in_value_are_identical(tmp_path, clean):
    body = rows()
    again = [body[5][0], *(cell.rstrip("0") + "00" for cell in body[5][1:])]
    assert same_bars(load_text(tmp_path, text([*body, again])), clean)


# Row 2: duplicates with different values


@pytest.mark.parametrize("column", range(1, 6))
def test_differing_duplicates_are_refused(tmp_path, column):
    body = rows()
    other = list(body[10])
    other[column] = f"{float(other[column]) * 1.0001:.8f}"
    body.insert(20, other)
    name = HEADER.split(",")[column]
    refused(
        tmp_path, text(body), rf"BTCUSDT\.csv: rows? 12 and row 22 are both 2021-01-01T10:00:00Z and differ in {name}"
    )


def test_a_local_clock_that_repeats_an_hour_is_refused(tmp_path):
    """Without zones the autumn hour stands twice, with other prices."""
    body = rows()
    for row in body:
        row[0] = iso(int(row[0]))
    body[100][0] = body[99][0]
    refused(tmp_path, text(body), "row 101 and row 102 are both 2021-01-05T03:00:00Z and differ")


# Row 3: unsorted rows


def test_unsorted_rows_are_sorted_and_counted(tmp_path, clean):
    body = rows()
    random.Random(5).shuffle(body)
    times = [int(row[0]) for row in body]
    late = sum(time < max(times[:place], default=0) for place, time in enumerate(times))
    got = load_text(tmp_path, text(body))
    assert same_bars(got, clean)
    assert kinds(got) == {"unsorted": late}


# Row 4: gap of n bars


def test_a_gap_is_not_filled_and_ages_on(tmp_path, clean):
    body = rows()
    got = load_text(tmp_path, text(body[:100] + body[105:]))
    panel = panel_of(got)
    assert panel.shape == (1200, 1)
    assert np.isnan(panel.fields["close"][100:105, 0]).all()
    assert not panel.exists[100:105].any()
    assert not panel.tradable[100:105].any()
    assert panel.age[:, 0].tolist() == list(range(1, 1201)), "five hours do not end a listing"
    gap = next(finding for finding in got.findings if finding.kind == "gaps")
    assert (gap.count, gap.first) == (1, "2021-01-05T04:00:00Z")
    assert "5 bars missing" in gap.detail


def test_a_gap_over_the_episode_gap_starts_a_new_listing(tmp_path):
    body = rows()
    got = load_text(tmp_path, text(body[:100] + body[173:]))  # 73 hours
    assert kinds(got) == {"gaps": 1, "episodes": 2}
    age = panel_of(got).age[:, 0]
    assert age[:100].tolist() == list(range(1, 101))
    assert age[100:172].tolist() == list(range(101, 173)), "known to be gone only once three days are missing"
    assert age[172] == 0
    assert age[173:176].tolist() == [1, 2, 3]


def test_a_gap_of_just_the_episode_gap_does_not(tmp_path):
    body = rows()
    got = load_text(tmp_path, text(body[:100] + body[172:]))  # 72 hours
    assert kinds(got) == {"gaps": 1}
    assert panel_of(got).age[172, 0] == 173


# Row 5: gap over the limit, coverage under the threshold


def test_limits_on_gaps_refuse_only_when_set(tmp_path):
    body = rows()
    content = text(body[:100] + body[110:])
    load_text(tmp_path, content, max_gap="10h", min_coverage=0.99)
    refused(tmp_path, content, "10h of bars are missing from 2021-01-05T04:00:00Z on, max_gap allows 9h", max_gap="9h")
    refused(tmp_path, content, r"has 0\.9917 of its bars .* min_coverage asks for 0\.995", min_coverage=0.995)


# Row 6: missing open or close


@pytest.mark.parametrize("column", range(1, 6))
@pytest.mark.parametrize("cell", ["", "NaN"])
def test_a_bar_without_a_price_is_missing(tmp_path, clean, column, cell):
    body = rows()
    body[300][column] = cell
    assert_dropped(load_text(tmp_path, text(body)), clean, "missing_cells", 300)


# Rows 7, 8, 9, 10: bad rows


@pytest.mark.parametrize(
    "kind,column,cell",
    [
        ("non_positive_price", 1, "0"),
        ("non_positive_price", 3, "-1.5"),
        ("non_positive_price", CLOSE, "0.0"),
        ("not_finite", 2, "inf"),
        ("not_finite", VOLUME, "Infinity"),
        ("not_finite", CLOSE, "-inf"),
        ("not_finite", VOLUME, "1e999"),
        ("crossed", 2, "1"),
        ("crossed", 3, "1000000"),
        ("crossed", CLOSE, "1000000"),
        ("crossed", 1, "0.5"),
        ("negative_amount", VOLUME, "-3"),
        ("non_numeric", CLOSE, "abc"),
        ("non_numeric", VOLUME, "null"),
        ("non_numeric", 1, "1_0"),
        ("non_numeric", 1, "0x10"),
        ("non_numeric", 0, "yesterday"),
        ("non_numeric", 0, "20210113"),
    ],
)
def test_a_bad_row_is_dropped_and_counted(tmp_path, clean, kind, column, cell):
    body = rows()
    body[300][column] = cell
    got = load_text(tmp_path, text(body))
    assert_dropped(got, clean, kind, 300)
    assert next(finding for finding in got.findings if finding.kind == kind).detail == "dropped, first row 302"


def test_more_bad_rows_than_allowed_refuse(tmp_path, clean):
    body = rows()
    for row, cell in ((300, "-1"), (500, "abc")):
        body[row][CLOSE] = cell
    words = (
        r"2 of 1200 rows are bad, max_bad_rows allows 0\.001 of them: non_numeric 1 \(.*row 502\); non_positive_price 1"
    )
    refused(tmp_path, text(body), words)
    assert len(load_text(tmp_path, text(body), max_bad_rows=0.01).index) == 1198


def test_zero_volume_stays_and_is_not_tradable(tmp_path, clean):
    body = rows()
    body[300][VOLUME] = "0.00000000"
    got = load_text(tmp_path, text(body))
    assert got.index.tolist() == clean.index.tolist()
    assert np.flatnonzero(~got.tradable).tolist() == [300]
    assert kinds(got) == {"zero_volume": 1}
    panel = panel_of(got)
    assert panel.exists.all()
    assert panel.tradable.sum() == 1199


# Row 11: a 1e12 tick


@pytest.mark.parametrize("column,kind", [(2, "price_outliers"), (VOLUME, "volume_outliers")])
def test_a_giant_tick_stays_and_is_reported(tmp_path, clean, column, kind):
    body = rows()
    body[300][column] = "1000000000000"
    got = load_text(tmp_path, text(body))
    assert kinds(got) == {kind: 1}
    assert got.findings[0].first == "2021-01-13T12:00:00Z"
    assert got.fields[HEADER.split(",")[column]][300] == 1e12


def test_prices_whose_limits_overflow_raise_no_warning(tmp_path):
    body = [[row[0], *["1e308"] * 4, row[5]] for row in rows()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_text(tmp_path, text(body)).findings == ()


# Row 12: ms, us, s


@pytest.mark.parametrize("scale", [("s", -3), ("ms", 0), ("us", 3), ("ns", 6)])
def test_each_epoch_unit_is_known_by_its_magnitude(tmp_path, clean, scale):
    body = rows()
    for row in body:
        row[0] = row[0][: scale[1]] if scale[1] < 0 else row[0] + "0" * scale[1]
    got = load_text(tmp_path, text(body))
    assert same_bars(got, clean)
    assert got.findings == ()


def test_units_that_change_in_time_order_are_accepted_and_reported(tmp_path, clean):
    """Binance's spot archive writes microseconds from 2025 on."""
    body = rows()
    for row in body[700:]:
        row[0] += "000"
    got = load_text(tmp_path, text(body))
    assert same_bars(got, clean)
    assert kinds(got) == {"time_units": 1}
    assert got.findings[0].detail == "ms before and us from row 702 on"


def test_units_mixed_out_of_time_order_are_refused(tmp_path):
    body = rows()
    for row in body[700:]:
        row[0] += "000"
    body[100], body[900] = body[900], body[100]
    refused(tmp_path, text(body), "open_time mixes units, ms before and us from row 102 on, and is not in time order")


# Row 13: bar spacing


@pytest.mark.parametrize("step,words", [(HOUR_MS // 4, "15m"), (4 * HOUR_MS, "4h"), (90 * 60_000, "90m")])
def test_another_bar_spacing_is_refused(tmp_path, step, words):
    refused(tmp_path, text(rows(step_ms=step)), f"bars are {words} apart, the timeframe is 1h")


def test_a_spacing_that_changes_inside_the_file_is_refused(tmp_path):
    body = rows(1000)
    body += rows(50, step_ms=4 * HOUR_MS, start_ms=START_MS + 1000 * HOUR_MS)
    refused(tmp_path, text(body), "from 2021-02-11T16:00:00Z on bars are 4h apart, the timeframe is 1h")


def test_bars_off_the_grid_are_bad_rows(tmp_path, clean):
    body = rows()
    body[300][0] = str(int(body[300][0]) + 3000)
    assert_dropped(load_text(tmp_path, text(body)), clean, "off_grid", 300)
    refused(tmp_path, text(rows(start_ms=START_MS + 60_000)), "1200 of 1200 rows are bad.*off_grid")


# Row 14: zones


@pytest.mark.parametrize(
    "style", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S.000000", "%Y-%m-%dT%H:%M:%SZ"]
)
def test_iso_times_are_utc(tmp_path, clean, style):
    body = rows()
    for row in body:
        row[0] = iso(int(row[0]), style)
    assert same_bars(load_text(tmp_path, text(body)), clean)


def test_hexadecimal_times_are_none(tmp_path):
    refused(tmp_path, text([[hex(int(row[0])), *row[1:]] for row in rows()]), "row 2: open_time is not a time")


@pytest.mark.parametrize("cell", ["", "nan", "NaT"])
def test_an_absent_optional_time_is_missing(tmp_path, clean, cell):
    """What pandas writes for the premium of a bar that has none, beside times that became floats."""
    body = [[*row, cell if place < 600 else row[0] + ".0"] for place, row in enumerate(rows())]
    assert same_bars(load_text(tmp_path, text(body, HEADER + ",premium_close_time")), clean)


@pytest.mark.parametrize("zone,hours", [("+08:00", 8), ("-0500", -5), ("+00:00", 0)])
def test_zoned_times_become_utc(tmp_path, clean, zone, hours):
    body = rows()
    for row in body:
        row[0] = iso(int(row[0]) + hours * HOUR_MS) + zone
    assert same_bars(load_text(tmp_path, text(body)), clean)


def test_naive_beside_zoned_is_refused(tmp_path):
    body = rows()
    for place, row in enumerate(body):
        row[0] = iso(int(row[0])) + ("Z" if place >= 40 else "")
    words = "open_time mixes formats: row 2 is ISO without a zone, row 42 is ISO with a zone"
    refused(tmp_path, text(body), words)


def test_epoch_beside_iso_is_refused(tmp_path):
    body = rows()
    body[40][0] = iso(int(body[40][0]))
    refused(tmp_path, text(body), "open_time mixes formats: row 2 is an epoch number, row 42 is ISO without a zone")


def test_two_zones_are_refused(tmp_path):
    body = rows()
    for place, row in enumerate(body):
        hours = 1 if place < 600 else 2
        row[0] = iso(int(row[0]) + hours * HOUR_MS) + f"+0{hours}:00"
    refused(tmp_path, text(body), r"open_time mixes time zones: row 2 has UTC\+1h, row 602 has UTC\+2h")


def test_one_zone_written_in_two_ways_is_one_zone(tmp_path, clean):
    body = rows()
    for place, row in enumerate(body):
        row[0] = iso(int(row[0])) + ("Z", "+00:00", "-00:00")[place % 3]
    assert same_bars(load_text(tmp_path, text(body)), clean)


# Row 15: the future, and bars that close before they open


def test_bars_in_the_future_are_refused(tmp_path):
    ahead = (int(time.time() * 1000) // HOUR_MS + 5) * HOUR_MS
    # bar 93 is the last that has opened: bar 94 stands in row 96
    refused(tmp_path, text(rows(100, start_ms=ahead - 98 * HOUR_MS)), "row 96: open_time .* is in the future")


def closing(body: Rows, shift_ms: int = HOUR_MS - 1) -> Rows:
    return [[*row, str(int(row[0]) + shift_ms)] for row in body]


def test_open_time_not_before_close_time_is_refused(tmp_path):
    header = HEADER + ",close_time"
    load_text(tmp_path, text(closing(rows()), header))
    body = closing(rows())
    body[40][6] = body[40][0]
    refused(
        tmp_path,
        text(body, header),
        "row 42: close_time 2021-01-02T16:00:00Z is not after open_time 2021-01-02T16:00:00Z",
    )
    refused(
        tmp_path, text(closing(rows(), 2 * HOUR_MS), header), "row 2: close_time .* is more than 1h after open_time"
    )


def test_close_time_in_another_format_is_fine(tmp_path, clean):
    body = closing(rows())
    for row in body:
        row[0] = iso(int(row[0]))
    assert same_bars(load_text(tmp_path, text(body, HEADER + ",close_time")), clean)


def test_a_premium_known_only_after_the_close_is_refused(tmp_path):
    header = HEADER + ",premium_open,premium_high,premium_low,premium_close,premium_close_time"
    body = [[*row, "0", "0.1", "-0.1", "0.01", str(int(row[0]) + 2 * HOUR_MS)] for row in rows()]
    refused(tmp_path, text(body, header), "row 2: premium_close_time .* is more than 1h after")


def test_bars_before_the_first_coin_are_refused(tmp_path):
    """What a zero becomes as a time; kept, it would make the clock of the whole run begin in 1970."""
    body = rows()
    for place, row in enumerate(body):
        row[0] = iso(0 if place == 7 else int(row[0]))
    words = "row 9: open_time 1970-01-01T00:00:00Z is before 2009-01-03T18:15:05Z, Bitcoin's first block"
    refused(tmp_path, text(body), words)


# Row 16: the forming last bar


def test_the_last_bar_that_closes_after_the_file_was_written_is_dropped(tmp_path, clean):
    write_root(tmp_path, text(rows()))
    file = tmp_path / KLINES / "1h" / "BTCUSDT.csv"
    written = START_MS // 1000 + 1199 * 3600 + 900  # a quarter past the last open
    os.utime(file, (written, written))
    got = load(tmp_path)
    assert (got.last_bar, len(got.index)) == ("drop", 1199)
    assert kinds(got) == {"last_bar_dropped": 1}
    assert got.findings[0].detail == "it closes at 2021-02-20T00:00:00Z, the file was written at 2021-02-19T23:15:00Z"
    kept = load(tmp_path, last_bar="keep")
    assert same_bars(kept, clean)
    assert (kept.last_bar, kinds(kept)) == ("keep", {"last_bar_kept": 1})
    os.utime(file, (written + 3600, written + 3600))
    assert load(tmp_path).last_bar == "keep"
    assert len(load(tmp_path, last_bar="drop").index) == 1199


# Row 17: nothing in the file


@pytest.mark.parametrize(
    "content,words",
    [(b"", "is empty"), (b"\n\n", "is empty"), (HEADER.encode(), "has a header and no rows"),
     (HEADER.encode() + b"\n", "has a header and no rows")],
)  # fmt: skip
def test_empty_and_header_only_files_are_refused(tmp_path, content, words):
    refused(tmp_path, content, rf"BTCUSDT\.csv: {words}")


# Row 18: form


def test_a_truncated_line_is_refused(tmp_path):
    whole = text(rows())
    refused(tmp_path, whole[: whole.rindex(",")], "row 1201 has 5 columns; the header has 6")
    middle = whole.splitlines()
    middle[700] = middle[700][:20]
    refused(tmp_path, "\n".join(middle) + "\n", "row 701 has 2 columns")


@pytest.mark.parametrize("last", ["1432505.", "1432505e", "1.5E-", "-", "."])
def test_a_file_that_ends_inside_a_number_is_refused(tmp_path, last):
    """As in the archive's files, whose last cells have any number of decimals, so that decimals tell nothing."""
    body = [[*row[:5], f"{float(row[5]):.{number % 5}f}"] for number, row in enumerate(rows())]
    body[-1][5] = last
    words = rf"row 1201 is cut: no line break after it, and its last cell '{re.escape(last)}'"
    refused(tmp_path, text(body)[:-1], words)


def test_a_line_cut_inside_its_last_cell_is_refused_or_reported(tmp_path, clean):
    whole = text(rows())
    refused(tmp_path, whole[:-3], "row 1201 is cut")
    got = load_text(tmp_path, whole[:-1])
    assert same_bars(got, clean), "a missing last line break alone loses nothing"
    assert kinds(got) == {"unterminated": 1}


def change(line: int, new: str) -> str:
    lines = text(rows()).splitlines()
    lines[line - 1] = new.replace("{}", lines[line - 1])
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "content,words",
    [
        (change(9, "{},7"), "row 9 has 7 columns; the header has 6"),
        (change(1, "{},"), "row 1: column 7 has no name"),
        (text([[*row, "7"] for row in rows()]), "row 2 has 7 columns; the header has 6"),
        (change(9, "{}\n" + HEADER), "row 10 repeats the header"),
        (change(9, "{}\n" + HEADER.upper().replace("_", " ")), "row 10 repeats the header"),
        (
            change(9, '1609484400000,"1,2",3,4,5'),
            "row 9 has 5 columns, a comma between .* being text; the header has 6",
        ),
        (change(9, ""), "row 9 is empty"),
        (text(rows()).partition("\n")[2], "row 1: no header"),
        (text([[row[0], *(cell.replace(".", ",") for cell in row[1:])] for row in rows()]), "row 2 has 11 columns"),
        (
            text([[row[0], *(f'"{cell.replace(".", ",")}"' for cell in row[1:])] for row in rows()]),
            "row 2 has 11 columns",
        ),
        (text(rows()).replace(",", ";"), "row 1: columns are separated by ';'"),
        (change(9, '"{}'), "row 9 holds a quotation mark that is not closed"),
        (b"\xef\xbb\xbf" + text(rows()).encode(), "row 1: the file is UTF-8 with a byte order mark"),
        (text(rows()).encode("utf-16"), "row 1: the file is UTF-16"),
        (text(rows()).encode("utf-16-le"), "row 1 holds a NUL byte"),
        (text(rows()).encode() + b"\0" * 4096, "row 1202 holds a NUL byte"),
        (change(9, "{}\udcff").encode("utf-8", "surrogateescape"), "row 9 is not UTF-8"),
        (text(rows()).replace("\n", "\r"), "row 1 holds a bare carriage return"),
        (text(rows(), HEADER.replace("volume", "vol")), "row 1: column volume is absent"),
        (text([[*row, "1"] for row in rows()], HEADER + ",Volume"), "row 1: columns 6 and 7 are both volume"),
    ],
)
def test_a_malformed_file_is_refused_with_the_row(tmp_path, content, words):
    refused(tmp_path, content, words)


def test_unknown_named_columns_are_ignored_and_reported(tmp_path, clean):
    body = [[str(place), *row, "0", "备注"] for place, row in enumerate(rows())]
    got = load_text(tmp_path, text(body, f"Unnamed: 0,{HEADER},ignore,说明"))
    assert same_bars(got, clean)
    assert [(f.kind, f.count, f.detail) for f in got.findings] == [("ignored_columns", 3, "Unnamed: 0, ignore, 说明")]


@pytest.mark.parametrize(
    "content",
    [
        text(rows()).replace("\n", "\r\n"),
        text(rows()) + "\n\n",
        text([[f'"{cell}"' for cell in row] for row in rows()], ",".join(f'"{name}"' for name in HEADER.split(","))),
        text(rows(), HEADER.replace("open_time", "Open Time").upper()),
        text([[f" {cell} " for cell in row] for row in rows()]),
        text([[row[0] + ".0", *row[1:]] for row in rows()]),
        text([row[:0:-1] + row[:1] for row in rows()], ",".join(reversed(HEADER.split(",")))),
    ],
    ids=["crlf", "blank tail", "quoted", "upper case", "blanks", "float times", "other order"],
)
def test_harmless_differences_of_form_give_the_same_bars(tmp_path, clean, content):
    got = load_text(tmp_path, content)
    assert got.index.tolist() == clean.index.tolist()
    assert all(got.fields[name].tolist() == clean.fields[name].tolist() for name in clean.fields)
    assert got.findings == ()


# Row 19: truncated .gz, wrong CHECKSUM


@pytest.mark.parametrize("keep", [0, 1, 5, 12, 400, 20_000, -9, -8, -4, -1])
def test_a_truncated_gz_is_refused_before_parsing(tmp_path, keep):
    packed = gzip.compress(text(rows()).encode())
    refused(tmp_path, packed[:keep], r"not a whole \.gz file|is empty", name="BTCUSDT.csv.gz")


def test_a_damaged_gz_is_refused(tmp_path):
    packed = bytearray(gzip.compress(text(rows()).encode()))
    packed[-6] ^= 1  # its CRC-32
    refused(tmp_path, bytes(packed), r"not a whole \.gz file \(CRC check failed", name="BTCUSDT.csv.gz")
    refused(tmp_path, text(rows()).encode(), r"not a whole \.gz file", name="BTCUSDT.csv.gz")


def test_a_checksum_file_must_agree(tmp_path, clean):
    content = text(rows())
    beside = write_root(tmp_path, content) / KLINES / "1h" / "BTCUSDT.csv.CHECKSUM"
    beside.write_text(f"{hashlib.sha256(content.encode()).hexdigest()}  BTCUSDT.csv\n")
    assert same_bars(load(tmp_path), clean)
    beside.write_text(f"{hashlib.sha256(b'other').hexdigest()}  BTCUSDT.csv\n")
    refused(tmp_path, content, r"SHA-256 is [0-9a-f]{64}, BTCUSDT\.csv\.CHECKSUM says")


# Row 20: a column that a factor needs


def test_an_absent_column_is_refused_only_where_it_is_needed(tmp_path):
    got = load_text(tmp_path, text(rows()))
    require_fields(got, ["close", "volume"])
    with pytest.raises(
        SymbolRefused, match=r"BTCUSDT\.csv: a factor needs column premium_close, the file has open, high"
    ):
        require_fields(got, ["close", "premium_close"])


# Mutated files: refused, or equal to the clean result, or in the findings

MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("duplicate"), st.integers(1, 1198), st.integers(0, 1200)),
        st.tuples(st.just("swap"), st.integers(1, 1198), st.integers(1, 1198)),
        st.tuples(st.just("drop"), st.integers(1, 1190), st.just(0)),
        st.tuples(
            st.sampled_from(["abc", "", "-1", "0", "inf", "nan", "1e12", "1,5", "1.5.2", "\x00", "open", '"']),
            st.integers(1, 1190),
            st.integers(0, 5),
        ),
        st.tuples(st.just("copy cell"), st.integers(1, 1190), st.just(0)),
    ),
    min_size=1,
    max_size=3,
)


def mutate(body: Rows, what: str, row: int, where: int) -> None:
    if what == "duplicate":
        body.insert(where, list(body[row]))
    elif what == "swap":
        body[row], body[where] = body[where], body[row]
    elif what == "drop":
        del body[row]
    elif what == "copy cell":
        body[row][0] = body[row + 1][0]
    else:
        body[row][where] = what


@given(MUTATIONS)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_mutated_file_is_refused_or_equal_or_reported(tmp_path_factory, clean, mutations):
    body = rows()
    for mutation in mutations:
        mutate(body, *mutation)
    try:
        got = load_text(tmp_path_factory.mktemp("mutated"), text(body))
    except SymbolRefused as error:
        assert "\n" not in str(error)
        return
    assert same_bars(got, clean) or got.findings
    # Whatever is kept beside the findings is what the clean file has at that time, unless a bar was given its
    # neighbour's time and the neighbour taken away: nothing in the file tells that.
    if any(what == "copy cell" for what, _, _ in mutations):
        return
    kept = np.isin(clean.index, got.index)
    if not kinds(got).keys() & {"price_outliers", "volume_outliers", "zero_volume"}:
        assert got.fields["close"].tolist() == clean.fields["close"][kept].tolist()


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_end_in_a_traceback(tmp_path_factory, changes, packed):
    content = bytearray(text(rows(40)).encode())
    if packed:
        content = bytearray(gzip.compress(bytes(content)))
    for place, byte in changes:
        content[place % len(content)] = byte
    name = "BTCUSDT.csv.gz" if packed else "BTCUSDT.csv"
    try:
        load_text(tmp_path_factory.mktemp("bytes"), bytes(content), name=name)
    except SymbolRefused as error:
        assert re.search(r"BTCUSDT\.csv", str(error))
