"""The users' commands as subprocesses, and what they wrote read back with pandas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from Backtest.settings import PROJECT_ROOT

RECIPE = Path(__file__).with_name("ten_factors.yaml")


def command(script: str, place: Path, *words: str, code: int = 0, **settings: Any) -> str:
    """Run ``Backtest/<script>`` in `place` and return its stdout; its log goes there too. Keywords are settings."""
    line = [sys.executable, str(PROJECT_ROOT / "Backtest" / script), *words]
    if script.startswith("run_"):
        config = place / "core.yaml"
        config.write_text(json.dumps({"log_root": str(place / "logs"), **settings}), encoding="utf-8")
        line += ["--config", str(config)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=place, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


def prepare(place: Path, data_root: Path, factor_set: str, *words: str, timeframe: str = "4h") -> dict[str, Any]:
    """Run Stage A for all symbols of a data root into ``place/DataHub`` and return its summary."""
    text = command(
        "run_prepare.py", place, "--timeframe", timeframe, "--symbols", "all", "--factor-set", factor_set,
        "--dsl-path", str(RECIPE), "--data-root", str(data_root), "--datahub-root", "DataHub", *words,
    )  # fmt: skip
    summary: dict[str, Any] = json.loads(text)
    return summary


def backtest(place: Path, factor_set: str, strategy: str, *words: str, timeframe: str = "4h") -> Path:
    """Run Stage B into ``place/results`` and return the run folder."""
    text = command(
        "run_backtest.py", place, "--timeframe", timeframe, "--factor-set", factor_set, "--strategy", strategy,
        "--datahub-root", "DataHub", "--results-root", "results", *words,
    )  # fmt: skip
    return (place / json.loads(text)["path"]).resolve()


def factor_frames(place: Path, factor_set: str, timeframe: str = "4h") -> dict[str, pd.DataFrame]:
    """Return the stored factors, one frame a symbol, by timestamp."""
    folder = place / "DataHub" / "factors" / timeframe / factor_set
    return {path.stem: pd.read_parquet(path).set_index("timestamp") for path in sorted(folder.glob("*.parquet"))}


def kline_frames(folder: Path, bar: pd.Timedelta) -> dict[str, pd.DataFrame]:
    """Return open, high, low, close and volume on the regular clock of all files, [T, S], read by pandas."""
    frames = {path.name.split(".")[0]: pd.read_csv(path) for path in sorted(folder.glob("*.csv.gz"))}
    for frame in frames.values():
        unit = {"unit": "ms"} if frame["open_time"].dtype.kind == "i" else {}
        frame.index = pd.DatetimeIndex(pd.to_datetime(frame["open_time"], utc=True, **unit))
    first = min(frame.index[0] for frame in frames.values())
    clock = pd.date_range(first, max(frame.index[-1] for frame in frames.values()), freq=bar)
    return {
        name: pd.DataFrame({symbol: frame[name].astype(float).reindex(clock) for symbol, frame in frames.items()})
        for name in ("open", "high", "low", "close", "volume")
    }
