"""Columns between NumPy and Arrow: equal to Arrow's own conversion, and no pandas."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from Backtest.data.arrow import to_arrow, to_numpy
from Backtest.settings import PROJECT_ROOT

CASES = [
    np.array([1.5, np.nan, -0.0, np.inf]), np.arange(9, dtype=np.float32)[::2], np.arange(3, dtype=np.int64),
    np.array([True] * 3 + [False] * 6 + [True] * 8), np.empty(0), np.empty(0, np.bool_),
]  # fmt: skip


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
