"""Step 1: whatever is changed in a store is found and named; what is absent is written again, to the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from factor_evaluation.check import check, contract
from factor_evaluation.manifest import read_manifest
from factor_evaluation.parquet_store import ParquetStore

from Backtest.errors import DataError, RunError

from .market import computed, core_for, digests, prepared, step


@pytest.fixture
def run(market, tmp_path):
    core = core_for(market, tmp_path)
    return core, prepared(core, "1h", symbols=("AAA", "BBB", "EEE"), horizons=("1", "5"))


def checked(run):
    core, layout = run
    return check(core, layout, ParquetStore(layout))


def places(summary):
    return [one["where"] for one in summary["differences"]]


def test_an_untouched_run_is_fine(run):
    computed(*run, "mom = close / shift(close, 3) - 1")
    summary = checked(run)
    assert (summary["status"], summary["difference_count"], summary["rewritten"]) == ("ok", 0, [])
    assert summary["golden_rows"] >= 3 * 24
    assert summary["golden_cells"] == summary["golden_rows"] * (5 + 2)


@pytest.mark.parametrize("field, change", [("close", 1e-9), ("volume", 1.0), ("label_5", 1e-12)])
def test_one_changed_cell_is_named(run, field, change):
    """The cell's file is rewritten by hand: valid Parquet, one golden cell off by almost nothing."""
    _, layout = run
    golden = json.loads(layout.golden.read_text())
    kind = "labels" if field.startswith("label") else "inputs"
    sample = next(one for one in golden["samples"][5:] if one["symbol"] == "BBBUSDT" and one[kind][field])
    path = (layout.label_file if kind == "labels" else layout.input_file)("BBBUSDT")
    table = pq.read_table(path)
    stamps = table["timestamp"].to_pylist()
    row = [stamp.strftime("%Y-%m-%dT%H:%M:%SZ") for stamp in stamps].index(sample["timestamp"])
    values = table[field].to_numpy().copy()
    values[row] += change
    pq.write_table(
        table.set_column(table.schema.get_field_index(field), table.schema.field(field), pa.array(values)), path
    )
    summary = checked(run)
    assert summary["status"] == "failed"
    assert places(summary) == [str(path), f"BBBUSDT {sample['timestamp']} {field}"]
    assert summary["differences"][1]["expected"] == repr(sample[kind][field])


@pytest.mark.parametrize("place", ["input", "label", "factor"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "garbage"])
def test_a_damaged_file_is_named(run, place, damage):
    core, layout = run
    computed(core, layout, "mom = close / shift(close, 3) - 1")
    files = {"input": layout.input_file("AAAUSDT"), "label": layout.label_file("AAAUSDT")}
    path = files.get(place) or layout.factor_file("mom", "AAAUSDT")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    path.write_bytes({"truncate": content[:-100], "flip": content, "garbage": b"x"}[damage])
    summary = checked(run)
    assert summary["status"] == "failed"
    assert str(path) in places(summary)
    if place == "factor":
        with pytest.raises(RunError, match=r"AAAUSDT\.parquet .*; run step3_factor_engine_04\.py --overwrite"):
            ParquetStore(layout).read_factor("mom")
    else:
        with pytest.raises(
            RunError, match=r"AAAUSDT\.parquet .*; run step0_prepare_inputs\.py --mode execute --overwrite"
        ):
            ParquetStore(layout).read_inputs()


def test_a_shorter_or_shifted_file_is_named(run):
    _, layout = run
    path = layout.input_file("AAAUSDT")
    pq.write_table(pq.read_table(path).slice(1), path)
    assert str(path) in places(checked(run))


@pytest.mark.parametrize("gone", ["golden", "index", "input", "label", "all"])
def test_what_is_absent_is_written_again(run, gone):
    _, layout = run
    before = digests(layout.folder("golden"))
    paths = {"golden": [layout.golden], "index": [layout.store_index], "input": [layout.input_file("BBBUSDT")]}
    paths["label"] = [layout.label_file("AAAUSDT")]
    for path in paths.get(gone) or [one for group in paths.values() for one in group]:
        path.unlink()
    summary = checked(run)
    assert summary["status"] == "ok"
    assert summary["rewritten"]
    assert digests(layout.folder("golden")) == before


def test_nothing_is_written_again_from_other_klines(market, tmp_path):
    root = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    root.mkdir(parents=True)
    text = (market / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv").read_text()
    (root / "AAAUSDT.csv").write_text(text)
    core = core_for(tmp_path / "root", tmp_path)
    layout = prepared(core, "1h")
    layout.golden.unlink()
    (root / "AAAUSDT.csv").write_text(text.replace("1672531200000", "1672527600000", 1))
    with pytest.raises(DataError, match="the klines of AAAUSDT have changed since Step 0"):
        check(core, layout, ParquetStore(layout))


def test_damaged_json_names_the_step(run):
    _, layout = run
    layout.golden.write_text("{half", encoding="utf-8")
    with pytest.raises(RunError, match=r"golden\.json is damaged .*; run step0_prepare_inputs\.py"):
        checked(run)
    layout.manifest.write_text("[]", encoding="utf-8")
    with pytest.raises(RunError, match=r"manifest\.json is damaged"):
        checked(run)


def test_the_contract_names_what_cannot_be(run):
    _, layout = run
    inputs = ParquetStore(layout).read_inputs()
    manifest = read_manifest(layout)
    assert list(contract(inputs, manifest)) == []
    panel = inputs.panel
    crossed = {**panel.fields, "high": panel.fields["high"].copy(), "volume": panel.fields["volume"].copy()}
    crossed["high"][10, 0] = 1e-9
    crossed["volume"][11, 1] = -1.0
    found = list(contract(replace(inputs, panel=replace(panel, fields=crossed)), manifest))
    assert [one.where for one in found] == [
        "AAAUSDT 2023-01-01T10:00:00Z high, low, open, close of one bar",
        "BBBUSDT 2023-01-01T11:00:00Z volume",
    ]
    assert [one.expected for one in found] == ["0 < low <= open, close <= high", "0 or more"]
    invented = {**panel.fields, "close": np.where(panel.exists, panel.fields["close"], 1.0)}
    found = list(contract(replace(inputs, panel=replace(panel, fields=invented)), manifest))
    assert len(found) == np.count_nonzero(~panel.exists)
    assert {one.expected for one in found} == {"nothing, for the bar has no close"}
    fewer = replace(inputs, labels={"label_1": inputs.labels["label_1"]})
    assert [str(one) for one in contract(fewer, manifest)] == ["labels: label_1; expected label_1, label_5"]


def test_the_command_exits_with_1_and_names_the_cells(run, tmp_path):
    _, layout = run
    config = tmp_path / "core.yaml"
    config.write_text(f"datahub_root: {tmp_path / 'hub'}\n", encoding="utf-8")
    words = ("--output-dir", layout.root, "--run-id", "one", "--bar-freq", "1h", "--config", config)
    fine = step("step1_contract_and_golden.py", *words)
    assert (fine.returncode, json.loads(fine.stdout)["status"]) == (0, "ok")
    layout.input_file("AAAUSDT").write_bytes(b"")
    done = step("step1_contract_and_golden.py", *words)
    assert done.returncode == 1
    assert json.loads(done.stdout)["differences"][0]["where"] == str(layout.input_file("AAAUSDT"))
    assert "AAAUSDT.parquet" in done.stderr
    assert "Traceback" not in done.stderr
