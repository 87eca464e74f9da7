"""The whole Qlib pipeline on the demo market, by the commands that users type: nothing is replaced by a stand-in."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from factor_evaluation.layout import resolve_run
from factor_evaluation.parquet_store import ParquetStore

from Backtest.data.demo_market import write_demo_market

HERE = Path(__file__).resolve().parent
FREQUENCY, RUN = "4h", "demo"
MOMENTUM = "MOM3_SIMPLE = close / shift(close, 3) - 1"
BURST = (
    "VOL_BURST = ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001) "
    "* ts_mean(abs(logret(close, 1)), 12) / (ema(ts_std(logret(close, 1), 12), 24) + 0.000001)"
)


def step(script: str, *words: str, code: int = 0) -> Any:
    """Run a script by its path, as USAGE.md does, and return its summary: all that stdout may hold."""
    done = subprocess.run([sys.executable, str(HERE / script), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 2:
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr
    return json.loads(done.stdout)


def numbers(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a JSON document by its place."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from numbers(one, f"{place}/{key}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from numbers(one, f"{place}/{number}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield place, float(value)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Qlib has no release for this Python")
def test_qlib_pipeline(tmp_path):
    root, out = tmp_path / "market with spaces", tmp_path / "out"
    write_demo_market(root)
    config = tmp_path / "core.yaml"
    config.write_text(f"datahub_root: {json.dumps(str(tmp_path / 'hub'))}\n", encoding="utf-8")
    where = ("--output-dir", str(out), "--run-id", RUN, "--bar-freq", FREQUENCY, "--config", str(config))
    data = ("--data-root", str(root), "--start", "2023-08-25", "--end", "2023-10-20")

    # before anything is there, each step names the one that is missing
    assert "there is no run 'demo'" in step("step0_prepare_inputs_qlib_01.py", *where, code=2)
    made = step("step0_prepare_inputs.py", "--output-root", str(out), *where[2:], *data, "--horizons", "1,6")
    assert "step0_prepare_inputs_qlib_01.py" in step(
        "step4_factor_evaluation_qlib_05.py", *where, "--factor-name", "all", code=2
    )

    # a factor from before the store comes along, one from after is written into it
    step("step3_factor_engine_04.py", *where, *data[:2], "--dsl", MOMENTUM)
    store = step("step0_prepare_inputs_qlib_01.py", *where)
    assert (store["frequency"], store["written"], store["factors"]) == ("240min", True, ["MOM3_SIMPLE"])
    assert store["symbols"] == made["symbols"]
    assert step("step3_factor_engine_04.py", *where, "--dsl", BURST)["stores"] == ["parquet", "qlib"]

    checked = step("step1_contract_and_golden_qlib_02.py", *where)
    assert checked["differences"] == []
    assert checked["golden_rows"] > 100
    quality = step("step2_loader_and_qc_qlib_03.py", *where, "--report", "html")
    assert quality["status"] == "ok"

    check_what_a_user_of_qlib_reads(out)
    check_reports(out, where)
    check_damage(out, where)


def check_what_a_user_of_qlib_reads(out: Path) -> None:
    """``D.features`` gives the plain store's columns, rounded to float32, and the bins hold nothing else."""
    import qlib
    from qlib.data import D

    layout = resolve_run(out, RUN, FREQUENCY)
    plain = ParquetStore(layout)
    inputs = plain.read_inputs()
    panel = inputs.panel
    columns = {**panel.fields, **inputs.labels}
    columns |= {name: plain.read_factor(name).aligned(panel) for name in plain.factor_names()}
    assert {"open", "close", "volume", "label_1", "label_6", "MOM3_SIMPLE", "VOL_BURST"} <= columns.keys()
    qlib.init(provider_uri=str(out / RUN / "qlib" / FREQUENCY), region="us", kernels=1, logging_level=50)
    frame = D.features(list(panel.symbols), [f"${name}" for name in columns], freq="240min")
    assert len(D.list_instruments(D.instruments("all"), freq="240min", as_list=True)) == len(panel.symbols)
    for place, symbol in enumerate(panel.symbols):
        own = frame.loc[symbol]
        rows = np.searchsorted(panel.timestamp, own.index.to_numpy())
        assert panel.exists[:, place].sum() == panel.exists[rows, place].sum()
        for number, (name, values) in enumerate(columns.items()):
            want = values[rows, place].astype(np.float32)
            np.testing.assert_array_equal(own.to_numpy()[:, number], want, err_msg=f"{symbol} {name}")


def check_reports(out: Path, where: tuple[str, ...]) -> None:
    """The plain and the Qlib-backed reports say the same, to what float32 leaves of it."""
    options = ("--factor-name", "all", "--horizons", "1,6", "--group", "4", "--time-split", "month", "--cost", "0.001")
    step("step4_factor_evaluation.py", *where, *options, "--analysis-format", "json")
    step(
        "step4_factor_evaluation_qlib_05.py", *where, *options, "--analysis-format", "html", "--enable-report-analysis"
    )
    reports, reports_qlib = (out / RUN / part / FREQUENCY for part in ("reports", "reports_qlib"))
    for factor in ("MOM3_SIMPLE", "VOL_BURST"):
        plain, through_qlib = (
            json.loads((folder / factor / "evaluation.json").read_text(encoding="utf-8"))
            for folder in (reports, reports_qlib)
        )
        assert plain["rows"] == through_qlib["rows"] > 2_000
        for key in ("horizons", "turnover", "rank_autocorrelation", "decay", "splits"):
            ours, theirs = dict(numbers(plain[key])), dict(numbers(through_qlib[key]))
            assert ours.keys() == theirs.keys()
            for place, value in ours.items():
                assert math.isclose(value, theirs[place], rel_tol=1e-4, abs_tol=1e-6), (
                    key + place,
                    value,
                    theirs[place],
                )
        page = (reports_qlib / factor / "qlib_report.html").read_text(encoding="utf-8")
        assert "https://" not in page
        assert "Synthetic market" in page
        theirs = json.loads((reports_qlib / factor / "qlib_report.json").read_text(encoding="utf-8"))
        assert len(theirs["figures"]) == 8
        assert "qlib_report.html" in (reports_qlib / factor / "evaluation.html").read_text(encoding="utf-8")
    assert (reports_qlib / "plotly.min.js").exists()


def check_damage(out: Path, where: tuple[str, ...]) -> None:
    """A torn bin and a short calendar are named by Step 1; Step 0 writes the same bytes again."""
    folder = out / RUN / "qlib" / FREQUENCY
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    torn, calendar = folder / "features" / "btcusdt" / "close.240min.bin", folder / "calendars" / "240min.txt"
    torn.write_bytes(before[torn][:-4])
    calendar.write_bytes(before[calendar].rsplit(b"\n", 2)[0] + b"\n")
    named = step("step1_contract_and_golden_qlib_02.py", *where, code=1)["differences"]
    assert {one["where"] for one in named} >= {str(torn), str(calendar)}
    assert step("step0_prepare_inputs_qlib_01.py", *where)["written"] is True
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
