"""``let``, ``grid`` and TA-Lib's functions through Stage A: what is stored and what the metadata say."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import talib

from Backtest.data.hub import Hub
from Backtest.data.timeframe import parse_timeframe
from Backtest.prepare import prepare

from .market import settings

RECIPE = """let:
  ret: "logret(close, 1)"
  strength: {source: "Backtest.data.indicators.talib:RSI", params: {timeperiod: 10}, description: Wilder}
factors:
  - {name: "vol_{bars}", type: expression, expression: "ts_std(ret, {bars})", grid: {bars: [12, 24]}}
  - {name: weak, type: expression, expression: "50 - strength"}
  - name: rsi
    type: library_function
    source: Backtest.data.indicators.talib:RSI
    grid: {timeperiod: [7, 14]}
"""


def test_what_is_stored(market: Path, tmp_path: Path, inline: None) -> None:
    hub = tmp_path / "hub"
    summary = prepare(settings(market, hub, recipe=RECIPE))
    names = ["vol_12", "vol_24", "weak", "rsi_timeperiod7", "rsi_timeperiod14"]
    assert (summary["status"], summary["factors"]) == ("ok", names)
    metadata = json.loads(Path(summary["metadata_path"]).read_text(encoding="utf-8"))
    facts = metadata["factors"]
    assert list(facts) == names
    assert [facts[name]["params"] for name in names] == [
        {"bars": 12}, {"bars": 24}, {}, {"timeperiod": 7}, {"timeperiod": 14},
    ]  # fmt: skip
    assert [facts[name]["lookback_bars"] for name in names] == [12, 24, None, None, None]
    assert metadata["definitions"] == {
        "ret": {"expression": "logret(close, 1)", "params": {}, "lookback_bars": 1, "description": ""},
        "strength": {
            "source": "Backtest.data.indicators.talib:RSI",
            "params": {"timeperiod": 10},
            "lookback_bars": None,
            "description": "Wilder",
        },
    }
    manifest = Hub(hub).read(parse_timeframe("1h"), "one", symbols=["AAAUSDT"])
    assert list(manifest.factors) == names
    close = np.loadtxt(
        market / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv",
        delimiter=",",
        skiprows=1,
        usecols=4,
        dtype=np.float64,
    )
    np.testing.assert_allclose(manifest.factors["weak"][10:, 0], 50 - talib.RSI(close, 10)[10:], rtol=1e-12)


def test_another_ta_lib_is_another_factor_set(market: Path, tmp_path: Path) -> None:
    from Backtest.prepare import open_inputs

    library = open_inputs(settings(market, tmp_path / "hub", recipe=RECIPE)).manifest["library"]
    assert library["ta-lib"] == version("ta-lib")
    assert set(library) == {"ta-lib", "Backtest.data.indicators.talib"}
