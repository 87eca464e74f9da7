"""The peak memory of a worker lies within 30 % of what ``--explain`` says."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .market import arguments, run

SYMBOLS, BARS = 10, 60_000
TEXT_BARS = 120_000

FAMILIES = """params: {n: 48}
factors:
  - {name: trend, type: expression, expression: "close / shift(close, {n}) - 1"}
  - {name: noise, type: expression, expression: "ts_std(logret(close, 1), {n})"}
  - {name: flow, type: expression, expression: "ema(volume * (high - low) / open, 24)"}
  - {name: fit, type: expression, expression: "ts_corr(close, volume, {n}) + ts_rank(close, 30)"}
"""
ACROSS = FAMILIES + '  - {name: order, type: expression, expression: "cs_rank(trend) - cs_zscore(noise)"}\n'

PEAK = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
scale = 1 if sys.platform == "darwin" else 1024
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * scale)
print(done.stderr, file=sys.stderr)
"""
"""Prints the peak of the largest process below it: the worker, as the parent holds no data."""


@pytest.fixture(scope="module")
def long_market(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("long")
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    for number in range(SYMBOLS):
        rng = np.random.default_rng(number)
        close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, BARS)))
        opened = np.concatenate((close[:1], close[:-1]))
        columns = {
            "open_time": 1_483_228_800_000 + 3_600_000 * np.arange(BARS),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": rng.lognormal(3, 1, BARS),
        }
        pq.write_table(pa.table(columns), folder / f"S{number}USDT.parquet")
    return root


@pytest.fixture(scope="module", params=[".csv", ".csv.gz"])
def text_market(tmp_path_factory, request) -> Path:
    """Two symbols of 120,000 hours as text: parsing them takes more than computing."""
    root = tmp_path_factory.mktemp("text")
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    for number in range(2):
        rng = np.random.default_rng(number)
        close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, TEXT_BARS)))
        volume = rng.lognormal(3, 1, TEXT_BARS)
        rows = [
            f"{1_262_304_000_000 + 3_600_000 * row},{close[row]:.8f},{close[row] * 1.001:.8f},{close[row] * 0.999:.8f},"
            f"{close[row]:.8f},{volume[row]:.8f}"
            for row in range(TEXT_BARS)
        ]
        text = ("open_time,open,high,low,close,volume\n" + "\n".join(rows) + "\n").encode()
        data = gzip.compress(text, 1) if request.param == ".csv.gz" else text
        (folder / f"S{number}USDT{request.param}").write_bytes(data)
    return root


@pytest.fixture(scope="module", autouse=True)
def machine_code(long_market, tmp_path_factory) -> None:
    """Compile beforehand, which takes memory of its own."""
    for recipe in (FAMILIES, ACROSS):
        run([*arguments(long_market, tmp_path_factory.mktemp("before"), recipe=recipe), "--workers", "1"])


needs_peaks = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not keep the peak of children")


def estimate(line: list[str]) -> tuple[float, str, str]:
    """Return what ``--explain`` says: bytes, bars and symbols of a process."""
    explained = run([*line, "--explain"]).stdout
    words = r"memory +([0-9,]+) MB at the peak of a first run, for ([0-9,]+) bars x ([0-9]+) symbols"
    found = re.search(words, explained)
    assert found, explained
    return float(found[1].replace(",", "")) * 1e6, found[2], found[3]


def peak(line: list[str]) -> int:
    """Run the command and return the bytes of its largest process."""
    measured = subprocess.run(
        [sys.executable, "-c", PEAK, *line], capture_output=True, text=True, encoding="utf-8", check=True
    )
    code, used = (int(word) for word in measured.stdout.split())
    assert code == 0, measured.stderr
    return used


@needs_peaks
@pytest.mark.parametrize(
    "recipe, symbols, limit",
    [(FAMILIES, 3, "4"), (ACROSS, SYMBOLS, "4"), (ACROSS, SYMBOLS, "0.1")],
    ids=["each on its own", "cross-section", "cross-section, small limit"],
)
def test_peak_is_within_30_percent_of_the_estimate(long_market, tmp_path, recipe, symbols, limit):
    line = [*arguments(long_market, tmp_path, recipe=recipe), "--workers", "1", "--memory-limit", limit]
    expected, bars, columns = estimate(line)
    assert (bars, columns) == (f"{BARS:,}", str(symbols))
    assert peak(line) == pytest.approx(expected, rel=0.3)
    assert json.loads((tmp_path / "metadata" / "1h" / "one.json").read_text(encoding="utf-8"))["rows"] == SYMBOLS * BARS


@needs_peaks
def test_peak_of_text_klines_with_and_without_their_cache(text_market, tmp_path):
    """The estimate is the first run's, which parses; the second, which does not, still lies within the margin."""
    line = [*arguments(text_market, tmp_path, recipe=FAMILIES), "--workers", "1", "--overwrite"]
    expected, _, _ = estimate(line)
    assert not (tmp_path / "klines").exists()
    first, second = peak(line), peak(line)
    assert first == pytest.approx(expected, rel=0.3)
    assert second == pytest.approx(expected, rel=0.3)
