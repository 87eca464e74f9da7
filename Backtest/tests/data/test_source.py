"""Loading one symbol: which file, which numbers, which last bar, and the cache."""

from __future__ import annotations

import gzip
import logging
import multiprocessing
import os
import random
import re
import struct
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from Backtest.data.klines_cache import cache_path, read_cached
from Backtest.data.schema import COLUMNS, FIELDS
from Backtest.data.source import load_symbol, open_root
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import DataError, FactorError, NameRefused, SymbolRefused
from Backtest.settings import CoreSettings

from .kline_files import (
    HEADER,
    HOUR_MS,
    KLINES,
    START_MS,
    Rows,
    kinds,
    load,
    load_text,
    rows,
    same_bars,
    text,
    write_root,
)  # fmt: skip

ALL_COLUMNS = ",".join(column.name for column in COLUMNS)


@pytest.fixture
def clean(tmp_path):
    return load_text(tmp_path / "clean", text(rows()))


def full_rows(count: int = 200) -> Rows:
    """All 16 columns."""
    made = []
    for row in rows(count):
        close = str(int(row[0]) + HOUR_MS - 1)
        premium = ["0.0001", "0.0004", "-0.0003", "0.0002", close]
        made.append([*row, close, "1234.5", "77", "400.25", "617.125", *premium])
    return made


# Numbers and columns


def test_every_column_of_the_schema_is_read(tmp_path):
    got = load_text(tmp_path, text(full_rows(), ALL_COLUMNS))
    assert got.columns == FIELDS == tuple(got.fields)
    assert got.findings == ()
    assert got.fields["number_of_trades"][3] == 77
    assert got.fields["premium_low"][3] == -0.0003
    assert all(values.dtype == np.float64 and values.flags.c_contiguous for values in got.fields.values())


def test_numbers_are_the_nearest_doubles(tmp_path):
    """Against Python's own correctly rounded float(), on decimals that sloppy readers miss."""
    chance = random.Random(3)
    cells = [f"{chance.randrange(1, 10**17)}e-{chance.randrange(5, 25)}" for _ in range(1000)]
    cells += [
        "9007199254740993",
        "0.1",
        "123456789.123456789123456789",
        "4.9e-324",
        "1.7976931348623157e308",
        "5.",
        ".5",
        "+7",
    ]
    body = [[str(START_MS + place * HOUR_MS), cell, cell, cell, cell, cell] for place, cell in enumerate(cells)]
    got = load_text(tmp_path, text(body), max_bad_rows=1.0)
    assert got.fields["volume"].tolist() == [float(cell) for cell in cells]


def test_names_of_binance_archives_are_known(tmp_path):
    header = HEADER + ",close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
    body = [[*row[:11], "0"] for row in full_rows()]
    got = load_text(tmp_path, text(body, header))
    assert got.columns == tuple(name for name in FIELDS if not name.startswith("premium"))
    assert got.fields["taker_buy_base_volume"][0] == 400.25


def test_an_empty_optional_cell_is_missing_and_text_in_one_is_a_bad_row(tmp_path):
    body = full_rows(2000)
    body[5][11] = ""
    body[6][7] = "x"
    got = load_text(tmp_path, text(body, ALL_COLUMNS))
    assert np.flatnonzero(np.isnan(got.fields["premium_open"])).tolist() == [5]
    assert kinds(got) == {"non_numeric": 1, "empty_cells": 1, "gaps": 1}
    assert len(got.index) == 1999


def test_only_the_fields_asked_for_are_kept(tmp_path):
    write_root(tmp_path, text(full_rows(), ALL_COLUMNS))
    for _ in ("parsed", "cached"):
        got = load(tmp_path, cache_root=tmp_path / "cache", fields=["close", "premium_close", "unknown"])
        assert sorted(got.fields) == ["close", "premium_close"]
        assert got.columns == FIELDS
        assert got.tradable.all()


# Files


@pytest.mark.parametrize("folder", ["1H", "60m", "60min", "1h"])
def test_the_folder_is_matched_by_its_parsed_timeframe(tmp_path, folder, clean):
    write_root(tmp_path, text(rows()), timeframe=folder)
    for asked in ("1h", "1H", "60min", "3600s"):
        assert same_bars(load(tmp_path, timeframe=asked), clean)


def test_two_folders_of_one_timeframe_are_refused(tmp_path):
    write_root(tmp_path, text(rows()), timeframe="1h")
    write_root(tmp_path, text(rows()), timeframe="60m")
    with pytest.raises(DataError, match="folders '1h' and '60m' are one timeframe"):
        load(tmp_path)


@pytest.mark.parametrize("end", [".csv", ".csv.gz", "_1h.csv", "_60min.csv.gz", "-1h-2021.csv", "-spot.csv"])
def test_file_patterns(tmp_path, end, clean):
    write_root(tmp_path, text(rows()), name="BTCUSDT" + end)
    write_root(tmp_path, text(rows(seed=2)), name="BTCDOMUSDT.csv")
    assert same_bars(load(tmp_path), clean)


def test_an_exact_name_goes_before_a_longer_one(tmp_path, clean):
    write_root(tmp_path, text(rows(seed=2)), name="BTCUSDT_1h.csv")
    write_root(tmp_path, text(rows()), name="BTCUSDT.csv")
    assert same_bars(load(tmp_path), clean)


def test_two_files_that_match_equally_refuse_the_symbol(tmp_path):
    write_root(tmp_path, text(rows()), name="BTCUSDT.csv")
    write_root(tmp_path, text(rows()), name="BTCUSDT.csv.gz")
    write_root(tmp_path, text(rows()), name="ETHUSDT-1h-2021-01.csv")
    write_root(tmp_path, text(rows()), name="ETHUSDT-1h-2021-02.csv")
    with pytest.raises(SymbolRefused, match=r"2 files match: .*BTCUSDT\.csv, .*BTCUSDT\.csv\.gz; keep one"):
        load(tmp_path)
    with pytest.raises(SymbolRefused, match="2 files match"):
        load(tmp_path, symbol="ETHUSDT")


def test_a_pattern_of_the_settings(tmp_path, clean):
    write_root(tmp_path, text(rows()), name="binance_BTCUSDT_1h_spot.csv")
    write_root(tmp_path, text(rows()), name="notes.csv")
    root = open_root(tmp_path, parse_timeframe("1h"), CoreSettings(file_pattern="binance_{symbol}_{timeframe}_spot"))
    assert root.symbols == ("BTCUSDT",)
    assert same_bars(load(tmp_path, file_pattern="binance_{symbol}_{timeframe}_spot"), clean)


def test_a_data_root_with_spaces_and_other_letters(tmp_path, clean):
    write_root(tmp_path / "Binance Data V3.0 币安 é", text(rows()))
    assert same_bars(load(tmp_path / "Binance Data V3.0 币安 é", cache_root=tmp_path / "缓存 x"), clean)


def test_absent_folders_are_named(tmp_path):
    with pytest.raises(DataError, match=r"data root .*nowhere does not exist; it should have a folder '6\.Binance"):
        load(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"has no folder '6\.Binance"):
        load(tmp_path)
    write_root(tmp_path, text(rows()), timeframe="4h")
    write_root(tmp_path, text(rows()), timeframe="1d")
    with pytest.raises(DataError, match="has no folder for 6h nor a finer one that divides it; found: 4h, 1d"):
        load(tmp_path, timeframe="6h")
    (tmp_path / KLINES / "2h").mkdir()
    with pytest.raises(DataError, match=r"2h holds no klines: no \*\.csv\.gz"):
        load(tmp_path, timeframe="2h")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_links_out_of_the_root_are_refused(tmp_path, clean):
    other = write_root(tmp_path / "other", text(rows()))
    root = write_root(tmp_path / "root", text(rows()), name="ETHUSDT.csv")
    (root / KLINES / "1h" / "BTCUSDT.csv").symlink_to(other / KLINES / "1h" / "BTCUSDT.csv")
    with pytest.raises(SymbolRefused, match="leads outside"):
        load(root)
    (root / KLINES / "4h").symlink_to(other / KLINES / "1h", target_is_directory=True)
    with pytest.raises(NameRefused, match="leads outside"):
        load(root, timeframe="4h")
    linked_root = tmp_path / "linked"
    linked_root.symlink_to(other, target_is_directory=True)
    assert same_bars(load(linked_root), clean)


def test_a_file_that_vanished_or_cannot_be_read_refuses_its_symbol(tmp_path):
    write_root(tmp_path, text(rows()))
    settings = CoreSettings()
    root = open_root(tmp_path, parse_timeframe("1h"), settings)
    (tmp_path / KLINES / "1h" / "BTCUSDT.csv").unlink()
    with pytest.raises(SymbolRefused, match="cannot be read: No such file"):
        load_symbol(root, "BTCUSDT", settings=settings, cache_root=None)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders, and links need a privilege")
def test_what_is_no_file_refuses_its_symbol_and_no_other(tmp_path, clean):
    write_root(tmp_path, text(rows()))
    folder = tmp_path / KLINES / "1h"
    os.mkfifo(folder / "PIPEUSDT.csv")
    (folder / "DIRUSDT.csv").mkdir()
    (folder / "LOOPUSDT.csv").symlink_to("LOOPUSDT.csv")
    (folder.parent / "2h").symlink_to("2h")
    (folder / "GONEUSDT.csv").symlink_to("nowhere.csv")
    assert same_bars(load(tmp_path), clean)
    for symbol, words in (
        ("PIPEUSDT", "is not a file but a folder, a pipe or a device"),
        ("DIRUSDT", "is not a file but a folder, a pipe or a device"),
        ("LOOPUSDT", "cannot be read: Too many levels of symbolic links"),
        ("GONEUSDT", "cannot be read: No such file"),
    ):
        with pytest.raises(SymbolRefused, match=rf"{symbol}\.csv: {words}"):
            load(tmp_path, symbol=symbol)


def test_a_file_too_large_to_read_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("Backtest.data.source.TEXT_LIMIT", 1000)
    with pytest.raises(SymbolRefused, match=r"BTCUSDT\.csv: has \d+ bytes; at most 1000 are read"):
        load_text(tmp_path, text(rows()))


# Parquet input


def parquet_root(folder: Path, table: pa.Table) -> Path:
    place = folder / KLINES / "1h"
    place.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, place / "BTCUSDT.parquet")
    return folder


def table_of(body: Rows, times: pa.Array | None = None) -> pa.Table:
    columns = {name: pa.array([float(row[place]) for row in body]) for place, name in enumerate(HEADER.split(","))}
    opened = pa.array([int(row[0]) for row in body]) if times is None else times
    return pa.table({**columns, "open_time": opened})


@pytest.mark.parametrize(
    "kind",
    [pa.int64(), pa.timestamp("ms"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "Asia/Shanghai"), pa.string()],
    ids=str,
)
def test_parquet_files_follow_the_same_rules(tmp_path, clean, kind):
    body = rows()
    numbers = pa.array([int(row[0]) for row in body])
    times = numbers.cast(pa.timestamp("ms")).cast(kind) if pa.types.is_timestamp(kind) else numbers.cast(kind)
    assert same_bars(load(parquet_root(tmp_path, table_of(body, times))), clean)
    again = pa.concat_tables([table_of(body), table_of(body[5:6])])
    assert kinds(load(parquet_root(tmp_path, again))) == {"unsorted": 1, "duplicates": 1}
    body[7][2] = "1"
    got = load(parquet_root(tmp_path, table_of(body)))
    assert kinds(got) == {"crossed": 1, "gaps": 1}
    assert got.findings[0].detail == "dropped, first row 8"


def test_parquet_decimals_and_text_are_read_exactly(tmp_path, clean):
    body = rows()
    table = table_of(body)
    for place, name in enumerate(HEADER.split(",")[1:]):
        cells = [row[place + 1] for row in body]
        column = pa.array([Decimal(cell) for cell in cells], pa.decimal128(38, 8)) if place % 2 else pa.array(cells)
        table = table.set_column(table.column_names.index(name), name, column)
    assert same_bars(load(parquet_root(tmp_path, table)), clean)


def test_parquet_nulls_are_missing(tmp_path):
    body = rows()
    table = table_of(body).append_column(
        "number_of_trades", pa.array([None if place == 3 else 5 for place in range(1200)])
    )
    got = load(parquet_root(tmp_path, table))
    assert np.isnan(got.fields["number_of_trades"][3])
    assert kinds(got) == {"empty_cells": 1}


def test_parquet_times_as_floats_and_a_column_without_values(tmp_path, clean):
    """What pandas makes of a column with gaps."""
    body = rows()
    table = table_of(body, pa.array([float(row[0]) for row in body]))
    closes = pa.array([None if place < 600 else float(row[0]) + HOUR_MS - 1 for place, row in enumerate(body)])
    table = table.append_column("premium_close_time", closes).append_column("premium_open", pa.nulls(1200))
    got = load(parquet_root(tmp_path, table))
    assert np.isnan(got.fields["premium_open"]).all()
    assert kinds(got) == {"empty_cells": 1200}
    assert got.fields["close"].tobytes() == clean.fields["close"].tobytes()
    assert got.index.tobytes() == clean.index.tobytes()


def test_parquet_times_that_cannot_be_are_no_damage(tmp_path):
    body = rows()
    late = pa.array([253402300799, *(int(row[0]) // 1000 for row in body[1:])], pa.timestamp("s"))
    with pytest.raises(SymbolRefused, match=r"BTCUSDT\.parquet: column open_time cannot be read: .*out of bounds"):
        load(parquet_root(tmp_path, table_of(body, late)))


def test_parquet_of_more_rows_than_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("Backtest.data.parquetfile.ROWS_LIMIT", 1199)
    with pytest.raises(SymbolRefused, match=r"BTCUSDT\.parquet: has 1200 rows; at most 1199 are read"):
        load(parquet_root(tmp_path, table_of(rows())))


def test_no_parquet_footer_ends_in_a_traceback(tmp_path):
    file = parquet_root(tmp_path, table_of(rows(50))) / KLINES / "1h" / "BTCUSDT.parquet"
    good = file.read_bytes()
    footer = int.from_bytes(good[-8:-4], "little")
    for place in range(len(good) - 8 - footer, len(good) - 8, 3):
        file.write_bytes(good[:place] + b"\xb4" + good[place + 1 :])
        try:
            load(tmp_path)
        except SymbolRefused as error:
            assert re.search(r"BTCUSDT\.parquet", str(error))


@pytest.mark.parametrize("column", [pa.array([b"\x80\x04."] * 1200), pa.array([[1.0]] * 1200), pa.array([True] * 1200)])
def test_parquet_objects_are_refused(tmp_path, column):
    table = table_of(rows()).drop(["close"]).append_column("close", column)
    with pytest.raises(
        SymbolRefused, match=r"BTCUSDT\.parquet: column close holds .*; numbers, times or text are allowed"
    ):
        load(parquet_root(tmp_path, table))


DAMAGES = (
    lambda good: b"",
    lambda good: good[:-1],
    lambda good: good[:1000],
    lambda good: good[:-2000] + b"\0" * 2000,
    lambda good: good[:-2000] + b"\0" * 1996 + b"PAR1",
    lambda good: text(rows()).encode(),
    lambda good: b"\x80\x04\x95" + good[3:],
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_parquet_is_refused(tmp_path, damage):
    file = parquet_root(tmp_path, table_of(rows())) / KLINES / "1h" / "BTCUSDT.parquet"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(SymbolRefused, match=r"BTCUSDT\.parquet: not a whole Parquet file"):
        load(tmp_path)


# The last bar

LAST_OPEN = START_MS // 1000 + 1199 * 3600


def stamp_file(data_root: Path, seconds: int, name: str = "BTCUSDT.csv") -> None:
    os.utime(data_root / KLINES / "1h" / name, (seconds, seconds))


def test_the_time_inside_a_gz_outlives_copying(tmp_path):
    packed = bytearray(gzip.compress(text(rows()).encode(), mtime=LAST_OPEN + 60))
    assert struct.unpack("<I", packed[4:8]) == (LAST_OPEN + 60,)
    got = load_text(tmp_path, bytes(packed), name="BTCUSDT.csv.gz")
    assert got.last_bar == "drop"


@pytest.mark.parametrize(
    "written,decision",
    [(-1, "keep"), (0, "drop"), (1, "drop"), (3599, "drop"), (3600, "keep"), (10_000_000, "keep")],
)
def test_only_a_stamp_inside_the_last_bar_is_evidence(tmp_path, written, decision):
    """A stamp before the bar opened cannot be the time the bar was written; one at its close finds it closed."""
    write_root(tmp_path, text(rows()))
    stamp_file(tmp_path, LAST_OPEN + written)
    assert load(tmp_path).last_bar == decision


def test_a_stored_decision_gives_the_same_bars_again(tmp_path):
    write_root(tmp_path, text(rows()))
    stamp_file(tmp_path, LAST_OPEN + 60)
    first = load(tmp_path)
    stamp_file(tmp_path, LAST_OPEN + 10_000)  # copied since
    settings = CoreSettings()
    root = open_root(tmp_path, parse_timeframe("1h"), settings)
    assert len(load(tmp_path).index) == 1200
    again = load_symbol(root, "BTCUSDT", settings=settings, cache_root=None, last_bar=first.last_bar)
    assert same_bars(again, first)
    # and when the file has grown
    end = first.timeframe.open_ns(int(first.index[-1]) + 1)
    write_root(tmp_path, text(rows(1300)))
    grown = load_symbol(root, "BTCUSDT", settings=settings, cache_root=None, last_bar=first.last_bar, end=end)
    assert same_bars(grown, first)


def test_a_file_of_one_forming_bar_is_refused(tmp_path):
    write_root(tmp_path, text(rows(1)))
    with pytest.raises(SymbolRefused, match="has no closed bar"):
        load(tmp_path, last_bar="drop")
    assert len(load(tmp_path).index) == 1


# The cache


def test_the_cache_gives_the_same_bars_and_findings(tmp_path):
    body = rows(1500)
    body[40], body[50] = body[50], body[40]
    body[60][5] = "0"
    body[70][4] = "abc"
    write_root(tmp_path, text(body))
    cache = tmp_path / "cache"
    first = load(tmp_path, cache_root=cache)
    (cached,) = cache.rglob("*.parquet")
    assert cached == cache_path(cache, "1h", "BTCUSDT") == cache / "1h" / "BTCUSDT.parquet"
    made = cached.stat().st_mtime_ns
    again = load(tmp_path, cache_root=cache)
    assert same_bars(first, again)
    assert again.findings == first.findings
    assert cached.stat().st_mtime_ns == made, "read, not made again"
    with pytest.raises(SymbolRefused, match="max_bad_rows"):
        load(tmp_path, cache_root=cache, max_bad_rows=0.0)


def test_a_cached_symbol_does_not_parse_its_file(tmp_path, monkeypatch):
    write_root(tmp_path, text(rows()))
    load(tmp_path, cache_root=tmp_path / "cache")
    monkeypatch.setattr("Backtest.data.source.read_csv", lambda data: pytest.fail("parsed again"))
    load(tmp_path, cache_root=tmp_path / "cache")


def test_another_content_of_the_same_size_and_time_is_read_anew(tmp_path):
    cache = tmp_path / "cache"
    write_root(tmp_path, text(rows()))
    stamp_file(tmp_path, 1_700_000_000)
    first = load(tmp_path, cache_root=cache)
    changed = rows()
    changed[3][5] = changed[3][5][::-1].replace(".", "1")[: len(changed[3][5]) - 2] + ".5"
    write_root(tmp_path, text(changed))
    stamp_file(tmp_path, 1_700_000_000)
    second = load(tmp_path, cache_root=cache)
    assert first.source.size == second.source.size
    assert first.source.mtime_ns == second.source.mtime_ns
    assert second.fields["volume"][3] == float(changed[3][5])
    assert first.source.sha256 != second.source.sha256


def test_another_version_of_the_reader_reads_anew(tmp_path, monkeypatch):
    write_root(tmp_path, text(rows()))
    first = load(tmp_path, cache_root=tmp_path / "cache")
    (cached,) = (tmp_path / "cache").rglob("*.parquet")
    before = cached.read_bytes()
    monkeypatch.setattr("Backtest.data.klines_cache.READER", 10**6)
    assert same_bars(load(tmp_path, cache_root=tmp_path / "cache"), first)
    assert cached.read_bytes() != before


def test_a_damaged_cache_is_made_again_with_a_log_line(tmp_path, caplog):
    write_root(tmp_path, text(rows()))
    cache = tmp_path / "cache"
    first = load(tmp_path, cache_root=cache)
    (cached,) = cache.rglob("*.parquet")
    good = cached.read_bytes()
    chance = random.Random(7)
    damaged = [b"", good[:-1], good[: len(good) // 2], b"\0" * len(good), b"no parquet at all"]
    for _ in range(60):
        flipped = bytearray(good)
        flipped[chance.randrange(len(good))] ^= 1 << chance.randrange(8)
        damaged.append(bytes(flipped))
    logged = 0
    for content in damaged:
        cached.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING, logger="factor_automation"):
            got = load(tmp_path, cache_root=cache)
        assert same_bars(got, first)
        assert got.findings == first.findings
        logged += "is damaged" in caplog.text
    assert logged >= 5
    assert same_bars(load(tmp_path, cache_root=cache), first)


def test_no_changed_fact_of_the_cache_is_believed(tmp_path):
    """Findings and row counts lie in the footer, which no page checksum covers."""
    body = rows(300)
    body[40], body[50] = body[50], body[40]
    write_root(tmp_path, text(body))
    first = load(tmp_path, cache_root=tmp_path / "cache")
    cached = cache_path(tmp_path / "cache", "1h", "BTCUSDT")
    good = cached.read_bytes()
    chance = random.Random(3)
    footer = int.from_bytes(good[-8:-4], "little")
    columns = {name: values.tobytes() for name, values in first.fields.items()}
    for place in range(len(good) - 8 - footer, len(good), 3):
        cached.write_bytes(good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :])
        got = read_cached(cached, source=first.source, timeframe=first.timeframe, fields=None)
        if got is not None:
            assert got.index.tobytes() == first.index.tobytes()
            assert {name: values.tobytes() for name, values in got.columns.items()} == columns
            assert (got.findings, got.available, got.rows) == (first.findings, first.columns, 300)


def test_a_sweep_beside_a_writer_that_finishes_is_no_error(tmp_path, caplog, monkeypatch):
    write_root(tmp_path, text(rows()))
    cached = cache_path(tmp_path / "cache", "1h", "BTCUSDT")
    monkeypatch.setattr(Path, "glob", lambda *_: [cached.with_name("finished.tmp~")])
    load(tmp_path, cache_root=tmp_path / "cache")
    assert cached.is_file()
    assert caplog.text == ""


def test_a_cache_that_cannot_be_written_is_logged_and_done_without(tmp_path, caplog, monkeypatch, clean):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_root(tmp_path, text(rows()))
    monkeypatch.setattr("os.fsync", full)
    with caplog.at_level(logging.WARNING, logger="factor_automation"):
        assert same_bars(load(tmp_path, cache_root=tmp_path / "cache"), clean)
    assert "cannot be written" in caplog.text
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_what_a_killed_writer_left_is_swept_when_old(tmp_path):
    write_root(tmp_path, text(rows()))
    cached = cache_path(tmp_path / "cache", "1h", "BTCUSDT")
    cached.parent.mkdir(parents=True)
    old, young = (cached.with_name(f"{cached.name}.{pid}.tmp~") for pid in (1, 2))
    for leftover in (old, young):
        leftover.write_bytes(b"half")
    os.utime(old, (1_700_000_000, 1_700_000_000))
    load(tmp_path, cache_root=tmp_path / "cache")
    assert (old.exists(), young.exists()) == (False, True)


def load_often(data_root: str, cache: str, seed: int) -> bool:
    """Load many times while others replace and damage the same cache; whether every load was right."""
    good = True
    for round_ in range(15):
        got = load(Path(data_root), cache_root=Path(cache))
        good = good and got.fields["close"].tolist() == [float(row[4]) for row in rows()]
        if round_ % 3 == seed % 3:
            cache_path(Path(cache), "1h", "BTCUSDT").unlink(missing_ok=True)
    return good


def test_two_processes_may_write_one_cache(tmp_path):
    write_root(tmp_path, text(rows()))
    arguments = [(str(tmp_path), str(tmp_path / "cache"), seed) for seed in (0, 1)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(load_often, arguments) == [True, True]
    assert same_bars(load(tmp_path, cache_root=tmp_path / "cache"), load(tmp_path))


def test_refusals_are_factor_errors_that_survive_pickling(tmp_path):
    import pickle

    with pytest.raises(FactorError) as error:
        load_text(tmp_path, b"")
    again = pickle.loads(pickle.dumps(error.value))
    assert (type(again), str(again)) == (SymbolRefused, str(error.value))
    assert again.symbol == "BTCUSDT"
