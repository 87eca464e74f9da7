"""Columns between NumPy and Arrow: equal to Arrow's own conversion, and no pandas."""

from __future__ import annotations

import gzip
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from Backtest.data.arrow import to_arrow, to_numpy, to_scalar, to_texts
from Backtest.settings import PROJECT_ROOT

CASES = [
    np.array([1.5, np.nan, -0.0, np.inf]), np.arange(9, dtype=np.float32)[::2], np.arange(3, dtype=np.int64),
    np.array([True] * 3 + [False] * 6 + [True] * 8), np.empty(0), np.empty(0, np.bool_),
]  # fmt: skip

TIMES = {
    "epoch": [1_704_067_200_000, 1_704_070_800_000],
    "epoch with gaps": [1_704_067_200_000.0, 1_704_070_800_000.0],
    "text": ["2024-01-01 00:00:00", "2024-01-01 01:00:00"],
    "text with zone": ["2024-01-01T00:00:00Z", "2024-01-01T01:00:00Z"],
    "times": [datetime(2024, 1, 1), datetime(2024, 1, 1, 1)],
    "times with zone": [datetime(2024, 1, 1, tzinfo=timezone.utc), datetime(2024, 1, 1, 1, tzinfo=timezone.utc)],
}


@pytest.mark.parametrize("values", CASES, ids=[f"{one.dtype}-{len(one)}" for one in CASES])
def test_there_and_back(values: np.ndarray) -> None:
    made = to_arrow(values)
    assert made.equals(pa.array(values)) or np.isnan(values).any()
    halves = pa.chunked_array([made.slice(0, 1), made.slice(1)] if len(values) else [], made.type)
    back = to_numpy(halves, values.dtype)
    assert back.dtype == values.dtype
    assert back.flags.writeable
    np.testing.assert_array_equal(back, values)


def test_times_are_numbers_of_nanoseconds() -> None:
    stamps = np.array([0, 1_704_067_200_000_000_000])
    made = to_arrow(stamps, pa.timestamp("ns", "UTC"))
    assert made.equals(pa.array(stamps).cast(pa.timestamp("ns", "UTC")))
    np.testing.assert_array_equal(to_numpy(pa.chunked_array([made]), np.int64), stamps)


def test_nulls_are_refused() -> None:
    with pytest.raises(ValueError, match="1 nulls"):
        to_numpy(pa.chunked_array([pa.array([1.0, None])]), np.float64)


def test_texts_and_scalars() -> None:
    words = ["", "nan", "价格"]
    assert to_texts(words).equals(pa.array(words))
    assert to_texts([]).equals(pa.array([], pa.string()))
    for value in ("", "nan", 0, -1.5):
        assert to_scalar(value).equals(pa.scalar(value))


def test_parts_of_an_array() -> None:
    values = np.arange(20) % 3 == 0
    np.testing.assert_array_equal(to_numpy(to_arrow(values).slice(5, 9), np.bool_), values[5:14])
    assert to_numpy(pa.array([], pa.float64()), np.float64).size == 0


def test_reading_a_series_loads_no_pandas(tmp_path: Path) -> None:
    columns = {"time": TIMES["epoch"], "value": [1.0, 2.0], "symbol": ["AAAUSDT", "AAAUSDT"]}
    parquet.write_table(pa.table(columns), tmp_path / "x.parquet")
    code = (
        "import sys; from pathlib import Path; from Backtest.data.stamped import load_stamped;"
        "series = load_stamped(Path(sys.argv[1]), value='value', symbol='AAAUSDT');"
        "sys.exit(len(series.stamps) != 2 or 'pandas' in sys.modules)"
    )
    line = [sys.executable, "-c", code, str(tmp_path / "x.parquet")]
    assert subprocess.run(line, cwd=PROJECT_ROOT, check=False).returncode == 0


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("times", TIMES)
def test_parsing_loads_no_pandas(tmp_path: Path, kind: str, times: str) -> None:
    folder = tmp_path / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    columns = {"open_time": TIMES[times], **{name: [1.0, 2.0] for name in ("open", "high", "low", "close", "volume")}}
    if kind == "parquet":
        parquet.write_table(pa.table(columns), folder / "AAAUSDT.parquet")
    else:
        rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        content = "\n".join(rows).encode() + b"\n"
        (folder / f"AAAUSDT.{kind}").write_bytes(gzip.compress(content) if kind == "csv.gz" else content)
    code = (
        "import sys; from pathlib import Path; from Backtest.data.root import open_root;"
        "from Backtest.data.source import load_symbol; from Backtest.data.timeframe import parse_timeframe;"
        "from Backtest.settings import CoreSettings; core = CoreSettings();"
        "root = open_root(Path(sys.argv[1]), parse_timeframe('1h'), core);"
        "bars = load_symbol(root, 'AAAUSDT', settings=core, cache_root=None);"
        "sys.exit(len(bars.index) != 2 or 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT_ROOT, check=False)
    assert done.returncode == 0


def test_a_worker_with_parsed_klines_loads_no_pandas() -> None:
    code = (
        "import sys, numpy as np; from Backtest.data.hub_file import SymbolValues, read_symbol_file;"
        "from Backtest.data.hub_writer import write_symbol_file; from Backtest.data.timeframe import parse_timeframe;"
        "import Backtest.stage_a.workers, tempfile, pathlib; folder = tempfile.TemporaryDirectory();"
        "path = pathlib.Path(folder.name) / 'x'; clock = parse_timeframe('1h');"
        "part = SymbolValues(7, {'f': np.arange(3.0)}, np.ones(3, bool));"
        "facts = write_symbol_file(path, part, timeframe=clock);"
        "read_symbol_file(path, facts, timeframe=clock, columns={'f': 'float64'}, wanted=('f',));"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 0
