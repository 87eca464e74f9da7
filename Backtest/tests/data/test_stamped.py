"""Stamped series: every way of writing a time, every rule for odd rows, and the joins against loops by eye."""

from __future__ import annotations

import gzip
import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Backtest.data import stamped_fields
from Backtest.data.external_fields import open_external
from Backtest.data.joins import Bars, last_known, settled
from Backtest.data.recipe_spec import ExternalSpec
from Backtest.data.stamped import KINDS, MINUTE_NS, Stamped, load_stamped, merge_stamped, stamped_file
from Backtest.errors import DataError

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
NEW_YEAR = 1_704_067_200_000_000_000  # 2024-01-01T00:00Z


def written(folder: Path, text: str, name: str = "s.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    "name, cells",
    [
        ("timestamp", ["1704067200", "1704153600"]),
        ("timestamp", ["1704067200000", "1704153600000"]),
        ("time", ["1704067200000000", "1704153600000000"]),
        ("open_time", ["1704067200000000000", "1704153600000000000"]),
        ("date", ["2024-01-01", "2024-01-02"]),
        ("Create Time", ["2024-01-01 00:00:00", "2024-01-02 00:00:00"]),
        ("funding_time", ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]),
        ("timestamp", ["2024-01-01 08:00:00+08:00", "2024-01-02T00:00Z"]),
    ],
)
@pytest.mark.parametrize("file", ["s.csv", "s.csv.gz", "s.parquet"])
def test_every_way_of_writing_a_time(tmp_path: Path, name: str, cells: list[str], file: str) -> None:
    if file.endswith(".parquet"):
        path = tmp_path / file
        numbers = [int(cell) if cell.isdigit() else cell for cell in cells]
        pd.DataFrame({name: numbers, "Supply": [1.5, 2.5]}).to_parquet(path)
    else:
        path = written(tmp_path, f"{name},Supply\n{cells[0]},1.5\n{cells[1]},2.5\n", file)
    series = load_stamped(path, value="supply")
    assert series.stamps.tolist() == [NEW_YEAR, NEW_YEAR + DAY]
    assert series.stamps.dtype == np.int64
    assert series.values.tolist() == [1.5, 2.5]
    assert [one.kind for one in series.findings] == (["stamped_open_time"] if name == "open_time" else [])
    assert [source.path for source in series.sources] == [str(path)]


def test_the_named_columns_are_taken(tmp_path: Path) -> None:
    path = written(tmp_path, "date,seen,a,b\n2024-01-01,2024-01-03,1,2\n2024-01-02,2024-01-04,3,4\n")
    assert load_stamped(path, value="b").stamps[0] == NEW_YEAR
    series = load_stamped(path, value=("c", "a"), time="seen")
    assert series.stamps[0] == NEW_YEAR + 2 * DAY
    assert series.values.tolist() == [1.0, 3.0]
    with pytest.raises(DataError, match=r"s\.csv: row 1: has no value column supply; the file has date, seen, a, b"):
        load_stamped(path, value="supply")
    with pytest.raises(DataError, match=r"has no time column sen; did you mean"):
        load_stamped(path, value="b", time="sen")


def test_jitter_is_rounded_and_odd_rows_follow_their_rules(tmp_path: Path) -> None:
    start = NEW_YEAR // 1_000_000
    text = "timestamp,symbol,funding_rate\n"
    rows = [(start + 16, 1e-4), (start - 28_800_003, 2e-4), (start + 28_800_007, ""), (start + 9, 1e-4)]
    text += "".join(f"{stamp},BTCUSDT,{rate}\n" for stamp, rate in rows)
    series = load_stamped(written(tmp_path, text), value="funding_rate", symbol="BTCUSDT", round_ns=MINUTE_NS)
    assert series.stamps.tolist() == [NEW_YEAR - 8 * HOUR, NEW_YEAR]
    assert series.values.tolist() == [2e-4, 1e-4]
    found = {one.kind: (one.count, one.first) for one in series.findings}
    assert found == {
        "stamped_no_value": (1, "2024-01-01T08:00:00Z"),
        "stamped_unsorted": (1, "2023-12-31T16:00:00Z"),
        "stamped_close": (1, "2024-01-01T00:00:00Z"),
    }
    assert list(found) == [kind for kind in KINDS if kind in found]


def test_two_stamps_in_one_minute_are_one_settlement_only_with_one_value(tmp_path: Path) -> None:
    start = NEW_YEAR // 1_000_000
    rows = [(start + 4, 1e-4), (start + 4, 1e-4), (start + 900, 1e-4), (start + 60_000, 2e-4)]
    text = "timestamp,rate\n" + "".join(f"{stamp},{rate}\n" for stamp, rate in rows)
    series = load_stamped(written(tmp_path, text), value="rate", round_ns=MINUTE_NS)
    assert series.values.tolist() == [1e-4, 2e-4]
    assert [(one.kind, one.count) for one in series.findings] == [("stamped_duplicates", 1), ("stamped_close", 1)]
    as_they_are = load_stamped(written(tmp_path, text), value="rate")
    assert as_they_are.values.tolist() == [1e-4, 1e-4, 2e-4]
    assert [(one.kind, one.count) for one in as_they_are.findings] == [("stamped_duplicates", 1)]
    with pytest.raises(DataError, match=r"1 stamps have two values, first 2024-01-01T00:00:00Z: 0\.0001 at "
                       r"2024-01-01T00:00:00\.004.*Z and 0\.0003 at 2024-01-01T00:00:09.*Z"):  # fmt: skip
        path = written(tmp_path, f"timestamp,rate\n{start + 9_000},3e-4\n{start + 4},1e-4\n")
        load_stamped(path, value="rate", round_ns=MINUTE_NS)


def test_times_of_bars_opens_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    series = load_stamped(written(tmp_path, "open_time,x\n2024-01-01,1\n2024-01-02,2\n"), value="x")
    (finding,) = series.findings
    assert (finding.kind, finding.count, finding.first) == ("stamped_open_time", 2, "2024-01-01T00:00:00Z")
    assert "known at its close" in finding.detail
    spec = ExternalSpec("mood", "s.csv", "x")
    with caplog.at_level(logging.WARNING, logger="factor_automation"):
        open_external([spec], [tmp_path], read=True)
    assert "external series 'mood': rows stamped with a bar's open" in caplog.text
    text = "open_time,close_time,x\n2024-01-01,2024-01-02,1\n"
    assert load_stamped(written(tmp_path, text), value="x", time="close_time").findings == ()


@pytest.mark.parametrize(
    "body, words",
    [
        ("1704067200,BTCUSDT,1\n1704067200,BTCUSDT,2\n", r"1 stamps have two values, first 2024-01-01T00:00:00Z: 1"),
        ("1704067200,BTCUSDT,1\n1704067260,BTCUSDT,one\n", r"row 3 holds a value that is no number"),
        ("1704067200,BTCUSDT,1\n1704067260,BTCUSDT,inf\n", r"row 3 holds an infinite value"),
        ("20240101,BTCUSDT,1\n", r"row 2 has no time that can be read"),
        ("1704067200,BTCUSDT,1\n,BTCUSDT,1\nsoon,BTCUSDT,1\n", r"row 3 has no time that can be read \(2 such rows\)"),
        ("1704067200,BTCUSDT,1\n1704067260,ETHUSDT,1\n", r"row 3 is of symbol 'ETHUSDT'; the file is BTCUSDT's"),
        ("1704067200,BTCUSDT,\n", r"has no row with a value"),
        ("1704067200,BTCUSDT\n", r"row 2 has 2 columns; the header has 3"),
        ("", r"has a header and no rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_by_row(tmp_path: Path, body: str, words: str) -> None:
    path = written(tmp_path, "timestamp,symbol,rate\n" + body)
    with pytest.raises(DataError, match=words) as caught:
        load_stamped(path, value="rate", symbol="BTCUSDT")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not a whole \.gz file"):
        broken = written(tmp_path, "", "broken.csv.gz")
        broken.write_bytes(gzip.compress(b"date,x\n2024-01-01,1\n")[:-9])
        load_stamped(broken, value="x")
    for name, words in (("x.parquet", "not a whole Parquet"), ("x.txt", "is not one of"), ("none.csv", "No such file")):
        path = tmp_path / name
        if name != "none.csv":
            path.write_bytes(b"date,x\n2024-01-01,1\n")
        with pytest.raises(DataError, match=words):
            load_stamped(path, value="x")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is not a file"):
        load_stamped(tmp_path / "folder.csv", value="x")


def test_files_of_one_series_are_merged_and_must_agree(tmp_path: Path) -> None:
    one = load_stamped(written(tmp_path, "date,x\n2024-01-01,1\n2024-01-02,2\n", "a.csv"), value="x")
    two = load_stamped(written(tmp_path, "date,x\n2024-01-02,2\n2024-01-03,3\n", "b.csv"), value="x")
    both = merge_stamped([two, one])
    assert both.values.tolist() == [1.0, 2.0, 3.0]
    assert [Path(source.path).name for source in both.sources] == ["b.csv", "a.csv"]
    assert both.sha256 not in (one.sha256, two.sha256, merge_stamped([one, two]).sha256)
    assert [(one.kind, one.count, one.first) for one in both.findings] == [
        ("stamped_overlap", 1, "2024-01-02T00:00:00Z")
    ]
    assert merge_stamped([one]) is one
    other = load_stamped(written(tmp_path, "date,x\n2024-01-02,5\n", "c.csv"), value="x")
    with pytest.raises(DataError, match=r"first 2024-01-02T00:00:00Z: 2\.0 in .*a\.csv and 5\.0 in .*c\.csv"):
        merge_stamped([one, other])


def test_a_symbols_file_is_found_once(tmp_path: Path) -> None:
    assert stamped_file(tmp_path, "BTCUSDT") is None
    path = written(tmp_path, "", "BTCUSDT.csv")
    assert stamped_file(tmp_path, "BTCUSDT") == path
    written(tmp_path, "", "BTCUSDT.csv.gz")
    with pytest.raises(DataError, match="2 files match"):
        stamped_file(tmp_path, "BTCUSDT")


# ---- joins ----------------------------------------------------------------------------------------------------------


def series_of(stamps: list[int], values: list[float]) -> Stamped:
    return Stamped(np.array(stamps, np.int64), np.array(values, np.float64), (), (), "")


def bars(first: int, count: int, length: int) -> Bars:
    opens = first + length * np.arange(count, dtype=np.int64)
    return Bars(opens, opens + length)


def test_joins_by_hand() -> None:
    """Stamps at 0, 8 and 16 h of a day, then silence; 4 h bars from the evening before."""
    funding = series_of([NEW_YEAR, NEW_YEAR + 8 * HOUR, NEW_YEAR + 16 * HOUR], [1.0, 2.0, 4.0])
    sums, counts = settled(funding, bars(NEW_YEAR - 4 * HOUR, 8, 4 * HOUR), valid_ns=8 * HOUR)
    # the bar before the first stamp is unknown; 16-20 h has the last stamp, 20-24 h is its second half, then unknown
    np.testing.assert_array_equal(sums, [np.nan, 1, 0, 2, 0, 4, 0, np.nan])
    np.testing.assert_array_equal(counts, [np.nan, 1, 0, 1, 0, 1, 0, np.nan])
    day, number = settled(funding, bars(NEW_YEAR, 1, DAY), valid_ns=8 * HOUR)
    assert (day[0], number[0]) == (7.0, 3.0)
    torn = settled(series_of([NEW_YEAR, NEW_YEAR + 16 * HOUR], [1.0, 4.0]), bars(NEW_YEAR, 1, DAY), valid_ns=8 * HOUR)
    assert math.isnan(torn[0][0]), "a settlement is absent in between, so the day's sum is not known"
    closes = bars(NEW_YEAR, 4, 4 * HOUR)  # close at 4, 8, 12, 16 h
    interest = series_of([NEW_YEAR + 4 * HOUR, NEW_YEAR + 8 * HOUR + 1], [1.0, 2.0])
    np.testing.assert_array_equal(last_known(interest, closes), [1, 1, 2, 2])
    np.testing.assert_array_equal(last_known(interest, closes, lag_ns=4 * HOUR), [np.nan, 1, 1, 2])
    np.testing.assert_array_equal(last_known(interest, closes, valid_ns=4 * HOUR), [1, 1, 2, np.nan])


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Stamped, Bars, int, int]:
    stamps = sorted(draw(st.sets(st.integers(0, 120), max_size=25)))
    first, length = draw(st.integers(-20, 100)), draw(st.integers(1, 30))
    series = series_of(stamps, [float(stamp * stamp % 101) - 50 for stamp in stamps])
    return series, bars(first, draw(st.integers(1, 20)), length), draw(st.integers(0, 30)), draw(st.integers(1, 40))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(scene=scenes())
def test_joins_equal_loops_and_know_no_future(scene: tuple[Stamped, Bars, int, int]) -> None:
    series, clock, lag, valid = scene
    rows = list(zip(series.stamps.tolist(), series.values.tolist(), strict=True))
    sums, counts = settled(series, clock, valid_ns=valid)
    held, fresh = last_known(series, clock, lag_ns=lag), last_known(series, clock, lag_ns=lag, valid_ns=valid)
    for place, (opened, closed) in enumerate(zip(clock.opens.tolist(), clock.closes.tolist(), strict=True)):
        inside = [value for stamp, value in rows if opened <= stamp < closed]
        before = [stamp for stamp, _ in rows if stamp < closed]
        known = all(any(stamp <= now <= stamp + valid for stamp in before) for now in half_steps(opened, closed))
        assert sums[place] == sum(inside) if known else math.isnan(sums[place])
        assert counts[place] == len(inside) if known else math.isnan(counts[place])
        usable = [(stamp, value) for stamp, value in rows if stamp + lag <= closed]
        assert held[place] == usable[-1][1] if usable else math.isnan(held[place])
        young = usable and closed - usable[-1][0] <= valid
        assert fresh[place] == usable[-1][1] if young else math.isnan(fresh[place])
        one = Bars(clock.opens[place : place + 1], clock.closes[place : place + 1])
        short = series.known_at(closed - 1)
        assert settled(short, one, valid_ns=valid)[0].tobytes() == sums[place : place + 1].tobytes()
        late = series.known_at(closed, lag_ns=lag)
        assert last_known(late, one, lag_ns=lag).tobytes() == held[place : place + 1].tobytes()


def half_steps(begin: int, end: int) -> list[float]:
    """Return the whole times of a bar and those half way: with whole stamps they show every hole."""
    return [begin + step / 2 for step in range(2 * (end - begin) + 1)]


@pytest.mark.parametrize(
    "file, symbol, found",
    [
        ("funding_BTCUSDT_2021_2026.csv.gz", "BTCUSDT", True),
        ("funding_BTC-USD_2021.csv", "BTC-USD", True),
        ("oi_BTCUSDT_240628.csv", "BTCUSDT_240628", True),
        ("oi_BTCUSDT_240628.csv", "BTCUSDT", False),
        ("funding_1000BTCUSDT.csv", "BTCUSDT", False),
    ],
)
def test_whose_a_single_file_is(file, symbol, found):
    assert (stamped_fields.file_of(Path(file), symbol) is not None) == found
