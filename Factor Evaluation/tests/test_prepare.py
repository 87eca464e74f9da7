"""Step 0: what is written, that it is what the files say, and that a killed or repeated run leaves the same bytes."""

from __future__ import annotations

import csv
import json

import numpy as np
import pandas as pd
import pytest
from factor_evaluation.golden import choose_rows, compare
from factor_evaluation.golden_raw import time_ns
from factor_evaluation.manifest import read_manifest
from factor_evaluation.parquet_store import ParquetStore

from Backtest.errors import DataError, RunError, SettingsError

from .market import core_for, digests, prepared


def golden_of(layout):
    return json.loads(layout.golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "bar_freq, symbols", [("3min", ("BTC",)), ("5min", ("BTC", "ETH")), ("4h", ("all",)), ("1h", None)]
)
def test_the_reader_agrees_with_pythons_csv_module_on_real_klines(real_data, tmp_path, bar_freq, symbols):
    """Every golden cell, read and combined without the project's reader, is the store's cell, labels included."""
    window = {"start": "2025-05-05", "end": "2025-05-10"} if "min" in bar_freq else {"start": "2025-10-01"}
    core = core_for(real_data / "um_futures", tmp_path)
    layout = prepared(core, bar_freq, symbols=symbols, label_kinds=("open", "close"), **window)
    golden = golden_of(layout)
    assert list(compare(golden, ParquetStore(layout).read_inputs(), np.float64)) == []
    cells = [cell for sample in golden["samples"] for cell in (*sample["inputs"].values(), *sample["labels"].values())]
    assert len(golden["samples"]) >= 24 * len(read_manifest(layout).symbols)
    assert np.mean([cell is not None for cell in cells]) > 0.8


def test_gaps_late_listings_and_ends_of_history(real_data, tmp_path):
    core = core_for(real_data / "spot_1h_delisted", tmp_path, episode_gap="3h")
    layout = prepared(core, "2h", label_kinds=("open", "close"))
    assert list(compare(golden_of(layout), ParquetStore(layout).read_inputs(), np.float64)) == []


@pytest.mark.parametrize("stamps", ["ms", "datetime"])
def test_parquet_klines_are_read_a_second_time_too(market, tmp_path, stamps):
    folder = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    frame = pd.read_csv(market / "6.Binance Data Resampled" / "1h" / "BBBUSDT.csv")
    if stamps == "datetime":
        frame["open_time"] = pd.to_datetime(frame.open_time, unit="ms", utc=True)
    frame.to_parquet(folder / "BBBUSDT.parquet", index=False)
    layout = prepared(core_for(tmp_path / "root", tmp_path), "2h")
    golden = golden_of(layout)
    assert len(golden["samples"]) > 24
    assert list(compare(golden, ParquetStore(layout).read_inputs(), np.float64)) == []


def test_labels_are_what_pandas_makes_of_the_file(market, tmp_path):
    layout = prepared(core_for(market, tmp_path), "1h", horizons=("1", "5h"), label_kinds=("open", "close"))
    inputs = ParquetStore(layout).read_inputs(["AAAUSDT", "BBBUSDT"])
    assert inputs.panel.symbols == ("AAAUSDT", "BBBUSDT")
    for column, symbol in enumerate(inputs.panel.symbols):
        frame = pd.read_csv(market / "6.Binance Data Resampled" / "1h" / f"{symbol}.csv")
        frame = frame.set_index(pd.to_datetime(frame.open_time, unit="ms", utc=True)).asfreq("1h")
        for bars in (1, 5):
            ahead = frame.open.shift(-1 - bars) / frame.open.shift(-1) - 1
            np.testing.assert_array_equal(inputs.labels[f"label_{bars}"][:, column], ahead)
            ahead = frame.close.shift(-bars) / frame.close - 1
            np.testing.assert_array_equal(inputs.labels[f"label_close_{bars}"][:, column], ahead)
        np.testing.assert_array_equal(inputs.panel.fields["volume"][:, column], frame.volume)


def test_a_plan_writes_its_manifest_only(market, tmp_path):
    layout = prepared(core_for(market, tmp_path), "1h", mode="plan", symbols=("AAA",), end="2023-01-03")
    assert list(digests(layout.root)) == ["golden/1h/manifest.json"]
    manifest = read_manifest(layout, complete=False)
    source = manifest.sources["AAAUSDT"]
    assert (manifest.state, source["rows"]) == ("planned", 48)
    assert (source["start"], source["end"]) == ("2023-01-01T00:00:00Z", "2023-01-02T23:00:00Z")
    assert len(source["sha256"]) == 64
    with pytest.raises(RunError, match=r"is only a plan; run step0_prepare_inputs\.py --mode execute first"):
        read_manifest(layout)
    prepared(core_for(market, tmp_path), "1h", symbols=("AAA",))  # a plan needs no --overwrite
    assert read_manifest(layout).state == "complete"


def test_the_same_run_leaves_the_same_bytes(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h")
    before = digests(layout.root)
    with pytest.raises(RunError, match=r"run one has inputs at 1h .*; add --overwrite"):
        prepared(core, "1h")
    prepared(core, "1h", overwrite=True)
    assert digests(layout.root) == before
    one_thread = core_for(market, tmp_path, workers=1)
    prepared(one_thread, "1h", overwrite=True)
    assert digests(layout.root) == before


def test_fewer_symbols_leave_no_old_file_behind(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h")
    prepared(core, "1h", overwrite=True, symbols=("AAA",))
    assert [path.name for path in layout.inputs.iterdir()] == ["AAAUSDT.parquet"]
    assert ParquetStore(layout).read_inputs().panel.symbols == ("AAAUSDT",)


def test_an_overwrite_that_is_refused_changes_nothing(market, tmp_path):
    layout = prepared(core_for(market, tmp_path), "1h")
    before = digests(layout.root)
    for core, more, error in (
        (core_for(market, tmp_path), {"symbols": ("NOSUCH",)}, DataError),
        (core_for(market, tmp_path), {"start": "2040-01-01"}, DataError),
        (core_for(market, tmp_path), {"horizons": ("0",)}, SettingsError),
        (core_for(tmp_path / "nothing", tmp_path), {}, DataError),
    ):
        with pytest.raises(error):
            prepared(core, "1h", overwrite=True, **more)
        assert digests(layout.root) == before


def test_an_empty_symbol_is_left_out_by_name(market, tmp_path):
    folder = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    (folder / "AAAUSDT.csv").write_bytes((market / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv").read_bytes())
    (folder / "EMPTYUSDT.csv").write_bytes(b"")
    layout = prepared(core_for(tmp_path / "root", tmp_path), "1h")
    manifest = read_manifest(layout)
    assert manifest.symbols == ["AAAUSDT"]
    assert "EMPTYUSDT.csv" in manifest.refused["EMPTYUSDT"]


def test_a_column_that_some_lack_is_missing_there(market, tmp_path):
    folder = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    text = (market / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv").read_text().splitlines()
    (folder / "AAAUSDT.csv").write_text("\n".join(text) + "\n")
    with open(folder / "BBBUSDT.csv", "w", newline="") as stream:
        rows = [line.split(",") for line in text]
        csv.writer(stream).writerows([[*rows[0], "number_of_trades"], *([*row, "7"] for row in rows[1:])])
    trades = (
        ParquetStore(prepared(core_for(tmp_path / "root", tmp_path), "1h"))
        .read_inputs()
        .panel.fields["number_of_trades"]
    )
    assert np.isnan(trades[:, 0]).all()
    assert (trades[:, 1] == 7).all()


def test_golden_rows_are_seeded_and_spread():
    index = np.concatenate([np.arange(100, 400), np.arange(460, 900)]).astype(np.int64)
    rows = choose_rows(index, count=10, seed=3, symbol="A")
    assert rows == choose_rows(index, count=10, seed=3, symbol="A")
    assert rows != choose_rows(index, count=10, seed=4, symbol="A")
    assert rows != choose_rows(index, count=10, seed=3, symbol="B")
    assert set(rows) <= set(index.tolist())
    assert (rows[100], rows[899]) == ("first bar", "last bar")
    assert (rows[399], rows[460]) == ("before the longest gap", "after the longest gap")
    parts = [bar for bar, stratum in rows.items() if stratum.startswith("part")]
    places = np.searchsorted(index, parts) * 10 // len(index)
    assert len(set(places.tolist())) == len(parts) >= 8
    assert choose_rows(index[:1], count=10, seed=3, symbol="A") == {100: "last bar"}


@pytest.mark.parametrize(
    "cell, expected",
    [
        ("1735689600", 1_735_689_600),
        ("1735689600000", 1_735_689_600),
        ("1735689600000000", 1_735_689_600),
        ("2025-01-01", 1_735_689_600),
        ("2025-01-01 00:00:00", 1_735_689_600),
        ("2025-01-01T00:00:00Z", 1_735_689_600),
        ("2025-01-01 08:00:00+08:00", 1_735_689_600),
        ("no time", None),
    ],
)
def test_times_as_the_csv_check_reads_them(cell, expected):
    assert time_ns(cell) == (None if expected is None else expected * 10**9)
