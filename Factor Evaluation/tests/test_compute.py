"""Step 3: the same numbers as Stage A, bit for bit, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factor_evaluation import compute
from factor_evaluation.compute import ComputeRequest, compute_factors, recipe_from
from factor_evaluation.layout import new_run
from factor_evaluation.parquet_store import ParquetStore

from Backtest.data.hub import Hub
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import ExpressionError, RecipeError, RunError, SettingsError
from Backtest.prepare import PrepareSettings
from Backtest.prepare import prepare as stage_a
from Backtest.settings import PROJECT_ROOT
from Backtest.tests.stage_a.market import InlinePool

from .market import computed, core_for, prepared

VOL_BURST = (
    "VOL_BURST_COMPLEX = (ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001) * "
    "ts_mean(abs(logret(close, 1)), 12) / (ts_mean(abs(logret(close, 1)), 96) + 0.000001) * "
    "ts_std(logret(close, 1), 12) / (ema(ts_std(logret(close, 1), 12), 24) + 0.000001))"
)
OF_ONE = ("MOM3_SIMPLE = close / shift(close, 3) - 1", VOL_BURST, "slow = ts_rank(volume, 200)")
OF_ALL = (
    "order = cs_rank(close / shift(close, 24) - 1)",
    "beta = ts_corr(returns(close, 1), of('BTCUSDT', returns(close, 1)), 48)",
)


@pytest.fixture
def inline(monkeypatch):
    monkeypatch.setattr("Backtest.prepare.Pool", InlinePool)


def stage_a_files(core, tmp_path, bar_freq, expressions, symbols, **window):
    """Return what Stage A writes for the same factors, read back by pandas."""
    parts = [text.split(" = ", 1) for text in expressions]
    factors = "".join(
        f"  - {{name: {name}, type: expression, expression: {json.dumps(text)}}}\n" for name, text in parts
    )
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("factors:\n" + factors, encoding="utf-8")
    stage_a(PrepareSettings(core, bar_freq, "set", recipe, symbols=symbols, **window))
    folder = Hub(tmp_path / "hub").set_folder(parse_timeframe(bar_freq), "set")
    return {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}


@pytest.mark.parametrize("bar_freq", ["1m", "3min", "5min"])
@pytest.mark.parametrize("expressions", [OF_ONE, OF_ALL], ids=["own", "compared"])
def test_step_3_is_stage_a_bit_for_bit(real_data, tmp_path, inline, bar_freq, expressions):
    """On real 1m bars, resampled too; the window begins inside the data, so that look-back is loaded."""
    core = core_for(real_data / "um_futures", tmp_path, workers=2)
    symbols = ("BTC", "ETH", "SOL") if bar_freq != "1m" else ("BTCUSDT", "ETHUSDT")
    asked: dict[str, Any] = {"symbols": symbols, "start": "2025-05-06T00:30", "end": "2025-05-09"}
    expected = stage_a_files(core, tmp_path, bar_freq, expressions, **asked)
    layout = new_run(tmp_path / "out", "one", bar_freq)
    computed(core, layout, *expressions, **asked)
    for name in (text.split(" ")[0] for text in expressions):
        for symbol, frame in expected.items():
            found = pd.read_parquet(layout.factor_file(name, symbol))
            assert list(found.columns) == ["timestamp", name, "tradable_flag"]
            assert (found["timestamp"] == frame["timestamp"]).all()
            for column in found.columns[1:]:
                left, right = found[column].to_numpy(), frame[column].to_numpy()
                assert left.dtype != object
                assert left.tobytes() == right.tobytes(), (symbol, column)
            assert found[name].notna().mean() > 0.9


def test_a_shipped_recipe_is_stage_a_bit_for_bit(real_data, tmp_path, inline):
    """Coarser bars, other symbols, groups, library functions: all that a recipe file can say."""
    core = core_for(real_data / "um_futures", tmp_path, workers=2, memory_limit_gb=2.0)
    recipe = PROJECT_ROOT / "config" / "recipes" / "crypto_core.yaml"
    asked: dict[str, Any] = {"symbols": ("BTC", "ETH", "SOL", "XRP"), "start": "2025-06-01", "end": "2025-12-01"}
    stage_a(PrepareSettings(core, "4h", "set", recipe, **asked))
    expected = Hub(tmp_path / "hub").read(parse_timeframe("4h"), "set")
    layout = new_run(tmp_path / "out", "one", "4h")
    request = ComputeRequest(core, data_root_given=True, recipe=recipe_from(None, recipe), **asked)
    summary = compute_factors(request, layout, [ParquetStore(layout)])
    assert summary["factors"] == list(expected.factors)
    assert len(summary["factors"]) > 10
    for name, values in expected.factors.items():
        found = ParquetStore(layout).read_factor(name)
        assert (found.symbols, found.first_bar) == (expected.symbols, expected.first_bar)
        assert found.values.tobytes() == values.tobytes(), name


def test_a_file_with_one_factor_is_stage_as_file(market, tmp_path, inline):
    core = core_for(market, tmp_path, workers=1)
    stage_a_files(core, tmp_path, "1h", OF_ONE[:1], None)
    layout = new_run(tmp_path / "out", "one", "1h")
    computed(core, layout, OF_ONE[0])
    for symbol in ("AAAUSDT", "BBBUSDT", "EEEUSDT"):
        there = tmp_path / "hub" / "factors" / "1h" / "set" / f"{symbol}.parquet"
        assert layout.factor_file("MOM3_SIMPLE", symbol).read_bytes() == there.read_bytes()


def test_no_value_depends_on_the_blocks_of_symbols(market, tmp_path, monkeypatch):
    core = core_for(market, tmp_path)
    whole, cut = (new_run(tmp_path / name, "one", "1h") for name in ("whole", "cut"))
    computed(core, whole, *OF_ONE)
    monkeypatch.setattr(compute, "BLOCK_SYMBOLS", 1)
    computed(core, cut, *OF_ONE)
    for name in ParquetStore(whole).factor_names():
        left, right = (ParquetStore(layout).read_factor(name) for layout in (whole, cut))
        assert left.values.tobytes() == right.values.tobytes()


def test_a_factor_by_hand(market, tmp_path):
    """Momentum of three bars, from the file by pandas; the gap of BBBUSDT and what needs it are missing."""
    core = core_for(market, tmp_path)
    layout = new_run(tmp_path / "out", "one", "1h")
    computed(core, layout, OF_ONE[0], symbols=("BBB",), start="2023-01-05", end="2023-02-10")
    factor = ParquetStore(layout).read_factor("MOM3_SIMPLE")
    frame = pd.read_csv(market / "6.Binance Data Resampled" / "1h" / "BBBUSDT.csv")
    close = frame.set_index(pd.to_datetime(frame.open_time, unit="ms", utc=True)).close.asfreq("1h")
    expected = (close / close.shift(3) - 1)["2023-01-05":"2023-02-09 23:00"]
    np.testing.assert_array_equal(factor.values[:, 0], expected.to_numpy())
    assert np.isnan(factor.values).sum() == 12 + 3


@pytest.mark.parametrize(
    "expressions, error, words",
    [
        (["close - 1"], RecipeError, r'has no name; write --dsl "NAME = expression"'),
        (["= close"], RecipeError, "has no name"),
        (["a == close"], RecipeError, "has no name"),
        (["a = close", "A = open"], RecipeError, "differ in case only"),
        (["close = open"], RecipeError, "'close' is a kline column"),
        (["../x = open"], RecipeError, "is not allowed"),
        ([], SettingsError, "give factors: --dsl"),
    ],
)
def test_what_is_no_factor_is_refused(expressions, error, words):
    with pytest.raises(error, match=words):
        recipe_from(expressions, None)


def test_what_is_made_missing_is_counted_whoever_shares_a_block(market, tmp_path, monkeypatch):
    """Bars without volume make close / volume undefined; by hand from the files."""
    core = core_for(market, tmp_path)
    zeros = 0
    for symbol in ("AAA", "BBB", "EEE"):
        frame = pd.read_csv(market / "6.Binance Data Resampled" / "1h" / f"{symbol}USDT.csv")
        zeros += int((frame.volume == 0).sum())
    for size in (8, 1):
        monkeypatch.setattr(compute, "BLOCK_SYMBOLS", size)
        layout = new_run(tmp_path / f"out {size}", "one", "1h")
        summary = computed(core, layout, "cheap = close / volume", symbols=("AAA", "BBB", "EEE"))
        assert summary["made_missing"] == {"cheap": {"undefined": zeros}}


def test_a_factor_that_looks_ahead_is_refused(market, tmp_path):
    layout = new_run(tmp_path / "out", "one", "1h")
    with pytest.raises(ExpressionError, match=r"--dsl, line 1, column 1, factor 'peek'.*look-ahead"):
        computed(core_for(market, tmp_path), layout, "peek = shift(close, -1) / close - 1")


def test_what_is_there_stays_unless_told(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = new_run(tmp_path / "out", "one", "1h")
    computed(core, layout, OF_ONE[0])
    with pytest.raises(RunError, match=r"factor 'MOM3_SIMPLE' is in .* already; add --overwrite"):
        computed(core, layout, OF_ONE[0])
    computed(core, layout, "MOM3_SIMPLE = close / shift(close, 6) - 1", overwrite=True, symbols=("AAA",))
    assert ParquetStore(layout).read_factor("MOM3_SIMPLE").symbols == ("AAAUSDT",)
    assert sorted(path.name for path in layout.factor_folder("MOM3_SIMPLE").iterdir()) == [
        "AAAUSDT.parquet",
        "factor.json",
    ]


def test_an_empty_file_leaves_its_symbol_out(market, tmp_path):
    root = tmp_path / "root" / "6.Binance Data Resampled" / "1h"
    root.mkdir(parents=True)
    (root / "AAAUSDT.csv").write_bytes((market / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv").read_bytes())
    (root / "EMPTYUSDT.csv").write_bytes(b"")
    layout = new_run(tmp_path / "out", "one", "1h")
    summary = computed(core_for(tmp_path / "root", tmp_path), layout, "order = cs_rank(close)")
    assert (summary["status"], summary["symbols"]) == ("incomplete", ["AAAUSDT"])
    assert "EMPTYUSDT.csv" in summary["refused"]["EMPTYUSDT"]


def test_the_manifest_says_what_was_not_typed(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", symbols=("AAA", "CCC"), start="2023-01-10", end="2023-02-01", horizons=("1",))
    summary = computed(core, layout, OF_ONE[0])
    assert summary["symbols"] == ["AAAUSDT", "CCCUSDT"]
    assert summary["rows"] == 2 * 22 * 24
