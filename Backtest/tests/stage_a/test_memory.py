"""The peak memory of a worker lies within 30 % of what ``--explain`` says."""

from __future__ import annotations

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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not keep the peak of children")
@pytest.mark.parametrize("recipe", [FAMILIES, ACROSS], ids=["each on its own", "cross-section"])
def test_peak_is_within_30_percent_of_the_estimate(long_market, tmp_path, recipe):
    line = [*arguments(long_market, tmp_path, recipe=recipe), "--workers", "1"]
    explained = run([*line, "--explain"]).stdout
    found = re.search(r"memory +([0-9,]+) MB at the peak, for ([0-9,]+) bars x ([0-9]+) symbols", explained)
    assert found, explained
    assert (found[2], found[3]) == (f"{BARS:,}", str(SYMBOLS))
    measured = subprocess.run(
        [sys.executable, "-c", PEAK, *line], capture_output=True, text=True, encoding="utf-8", check=True
    )
    code, peak = (int(word) for word in measured.stdout.split())
    assert code == 0, measured.stderr
    assert peak == pytest.approx(float(found[1].replace(",", "")) * 1e6, rel=0.3)
    assert json.loads((tmp_path / "metadata" / "1h" / "one.json").read_text(encoding="utf-8"))["rows"] == SYMBOLS * BARS
