"""Step 2: every check against hand-made bars, the thresholds, and the page in a browser's words."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from factor_evaluation.load import load
from factor_evaluation.parquet_store import ParquetStore
from factor_evaluation.qc import lives, outliers, quality, stale, violations, volume_anomalies
from factor_evaluation.qc_page import colour, page, percent

from Backtest.data.panel import Panel
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import RunError
from Backtest.settings import CoreSettings

from .market import core_for, prepared, step

HOUR = parse_timeframe("1h")
JANUARY = HOUR.index(1_672_531_200_000_000_000)
"""2023-01-01T00:00Z."""


def panel(close, volume=None):
    close = np.array(close, dtype=float).reshape(len(close), -1)
    volume = np.ones(close.shape) if volume is None else np.array(volume, dtype=float).reshape(close.shape)
    exists = np.isfinite(close)
    names = tuple("ABCDEF"[: close.shape[1]])
    age = np.zeros(close.shape, np.int32)
    return Panel(HOUR, JANUARY, names, {"close": close, "volume": volume}, exists, exists, age, exists, 0)


def test_a_long_run_of_one_close_is_stale():
    close = [1, 2, 2, 2, np.nan, 2, 2, 3, 3, 3, 3, 4]
    found = stale(panel(close), CoreSettings(qc_stale_bars=3))[:, 0]
    assert np.flatnonzero(found).tolist() == [1, 2, 3, 7, 8, 9, 10]


def test_a_return_many_deviations_off_is_an_outlier_and_so_is_the_way_back():
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, 500)))
    close[200] *= 2
    core = CoreSettings(qc_outlier_deviations=20.0)
    assert np.flatnonzero(outliers(panel(close), core)[:, 0]).tolist() == [200, 201]
    assert not outliers(panel(np.full(50, 7.0)), core).any()
    mostly_flat = np.full(500, 7.0)
    mostly_flat[300:] = 8.0
    assert np.flatnonzero(outliers(panel(mostly_flat), core)[:, 0]).tolist() == [300]


def test_a_volume_far_above_those_around_is_an_anomaly():
    volume = np.full(1000, 10.0)
    volume[[5, 600]] = 501.0
    volume[700] = 499.0
    volume[800:] *= 1000  # a new level is an anomaly only until it is usual
    found = volume_anomalies(panel(np.ones(1000), volume), CoreSettings(qc_volume_ratio=50.0))[:, 0]
    assert np.flatnonzero(found)[:2].tolist() == [5, 600]
    assert not found[900:].any()


def test_coverage_and_gaps_are_counted_by_month_within_a_symbols_life():
    """A lives from 1 January to the end, with 24 bars missing in February; B begins on 1 February."""
    close = np.full((59 * 24, 2), 1.0)
    close[40 * 24 : 41 * 24, 0] = np.nan
    close[: 31 * 24, 1] = np.nan
    found = quality(panel(close), CoreSettings())
    assert found.months == ("2023-01", "2023-02")
    np.testing.assert_array_equal(found.expected, [[744, 0], [672, 672]])
    np.testing.assert_array_equal(found.coverage, [[1.0, np.nan], [648 / 672, 1.0]])
    assert (found.gaps.tolist(), found.longest_gap.tolist()) == ([1, 0], [24, 0])
    assert lives(found.coverage > 2).sum() == 0


def test_thresholds_are_those_of_the_settings():
    close = np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, 1000)))
    close[100:160] = np.nan
    volume = np.where(np.arange(1000) % 10 == 0, 0.0, 5.0)
    found = quality(panel(close, volume), CoreSettings())
    told = {one.check: one for one in violations(found, CoreSettings(), HOUR.ns)}
    assert told.keys() == {"missing", "zero_volume"}
    assert told["missing"].value == pytest.approx(0.06)
    assert str(told["missing"]) == "A: missing is 0.06; at most 0.05 is allowed"
    strict = CoreSettings(qc_max_gap="2d", qc_max_missing=0.1, qc_max_zero_volume=0.2)
    assert [one.check for one in violations(found, strict, HOUR.ns)] == ["longest gap in bars"]
    assert list(violations(found, CoreSettings(qc_max_missing=0.1, qc_max_zero_volume=0.2), HOUR.ns)) == []


def test_a_constant_price_and_one_symbol_are_no_riddle(market, tmp_path):
    folder = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    rows = [f"{1_672_531_200_000 + 3_600_000 * bar},5,5,5,5,0" for bar in range(300)]
    (folder / "FLATUSDT.csv").write_text("open_time,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    core = core_for(tmp_path / "root", tmp_path)
    layout = prepared(core, "1h")
    summary = load(core, layout, ParquetStore(layout), report="html")
    assert summary["status"] == "failed"
    assert {one["check"] for one in summary["violations"]} == {"stale", "zero_volume"}


def test_real_klines_pass(real_data, tmp_path):
    core = core_for(real_data / "um_futures", tmp_path)
    layout = prepared(core, "4h")
    summary = load(core, layout, ParquetStore(layout), report="html")
    assert (summary["status"], summary["violations"], len(summary["symbols"])) == ("ok", [], 40)
    written = json.loads((layout.reports() / "qc.json").read_text(encoding="utf-8"))
    assert written["coverage"] > 0.999
    html = (layout.reports() / "qc.html").read_text(encoding="utf-8")
    assert html.count("<tr><td>BTCUSDT</td>") == 2
    assert "http" not in html.replace("http-equiv", "")


def test_names_are_shown_as_text(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", symbols=("AAA",))
    load(core, layout, ParquetStore(layout))
    facts = json.loads((layout.reports() / "qc.json").read_text(encoding="utf-8"))
    evil = "<script>alert(1)</script>"
    facts["symbols"] = {evil: facts["symbols"]["AAAUSDT"]}
    facts["run_id"] = evil
    shown = page(facts)
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") >= 4


def test_the_page_says_how_far_off_an_outlier_is(market, tmp_path):
    core = replace(core_for(market, tmp_path), qc_outlier_deviations=7.5, qc_stale_bars=9)
    layout = prepared(core, "1h", symbols=("AAA",))
    load(core, layout, ParquetStore(layout), report="html")
    shown = (layout.reports() / "qc.html").read_text(encoding="utf-8")
    assert "over 7.5 robust standard deviations off" in shown
    assert "in a run of 9 or more" in shown


def test_colours_and_words_of_a_share():
    assert (colour(None), colour(1.0), colour(0.0)) == ("#eeeeee", "#2166ac", "#b2182b")
    assert colour(0.9) == "#fddbc7"
    assert (percent(None), percent(1.0), percent(0.999999), percent(0.5)) == ("", "100", "99.99", "50")


def test_without_inputs_the_step_is_named(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", mode="plan", symbols=("AAA",))
    with pytest.raises(RunError, match=r"run step0_prepare_inputs\.py --mode execute first"):
        load(core, layout, ParquetStore(layout))


def test_the_command_exits_with_1_above_a_threshold(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", symbols=("AAA", "BBB"))
    config = tmp_path / "core.yaml"
    config.write_text("qc_max_gap: 5h\n", encoding="utf-8")
    words = ("--output-dir", tmp_path / "out", "--run-id", "one", "--bar-freq", "1h", "--report", "html")
    fine = step("step2_loader_and_qc.py", *words)
    assert fine.returncode == 0, fine.stderr
    done = step("step2_loader_and_qc.py", *words, "--config", config)
    assert done.returncode == 1
    assert json.loads(done.stdout)["violations"] == [
        {"symbol": "BBBUSDT", "check": "longest gap in bars", "value": 12.0, "limit": 5.0}
    ]
    assert (layout.reports() / "qc.html").is_file()
    assert list(layout.folder("logs").glob("step2_loader_and_qc_*.log"))
    assert layout.snapshot("step2_loader_and_qc").is_file()
