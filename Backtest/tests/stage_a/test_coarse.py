"""``bars`` on real klines: the same values as Stage A's own computation on klines that pandas resampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from Backtest.data.factors import FactorValues, compile_recipe, compute
from Backtest.data.fields import Fields
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.timeframe import parse_timeframe
from Backtest.prepare import PrepareSettings, prepare
from Backtest.settings import CoreSettings, build
from Backtest.stage_a import building
from Backtest.stage_a import run as stage_run
from Backtest.stage_a.causality import load_panel

from .market import digests, frame_of, metadata_of, settings, timeless

SYMBOLS = ("ANCUSDT", "BTCUSDT", "BTTUSDT", "SOLUSDT", "SRMUSDT")
START, END = "2021-10-01", "2022-08-01"
INSIDE = {
    "mean": "ts_mean(close, 14) / close - 1",
    "spread": "ts_std(logret(close, 1), 30)",
    "smooth": "ema(close, 10)",
    "money": "ts_sum(volume * (high - low), 5)",
    "big": "volume > ts_mean(volume, 8)",
    "ranked": "cs_rank(returns(close, 6))",
}
RULE = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def recipe_of(folder: Path, expressions: dict[str, str]) -> Path:
    lines = [f"  - {{name: {name}, type: expression, expression: '{text}'}}" for name, text in expressions.items()]
    path = folder / "recipe.yaml"
    path.write_text("\n".join(["factors:", *lines]) + "\n", encoding="utf-8")
    return path


def values_of(root: Path, timeframe: str, recipe: Path, hub: Path) -> tuple[Panel, FactorValues]:
    roots = {"data_root": str(root), "datahub_root": str(hub), "log_root": str(hub), "last_bar": "keep"}
    made = PrepareSettings(build(CoreSettings, roots, "test"), timeframe, "one", recipe, SYMBOLS, START, END)
    plan = compile_recipe(load_recipe(recipe), allow_modules=(), max_window=1000, timeframe=parse_timeframe(timeframe))
    panel, refused, _ = load_panel(made, plan, Fields())
    assert not refused
    return panel, compute(plan, panel, gap_tolerance=0.1)


def resampled(data: Path, root: Path) -> None:
    """Write 4h klines that pandas made of the 1h ones."""
    folder = root / "6.Binance Data Resampled" / "4h"
    folder.mkdir(parents=True)
    for symbol in SYMBOLS:
        frame = pd.read_csv(data / "6.Binance Data Resampled" / "1h" / f"{symbol}.csv.gz")
        frame.index = pd.to_datetime(frame.pop("open_time"))
        coarse = frame.resample("4h", label="left", closed="left").agg(RULE).dropna(subset=["close"])
        coarse.rename_axis("open_time").to_csv(folder / f"{symbol}.csv")


def frame(panel: Panel, values: np.ndarray, column: int) -> pd.DataFrame:
    closed = panel.timestamp[panel.warmup :] + np.timedelta64(panel.timeframe.ns, "ns")
    return pd.DataFrame({"closed": closed, "value": values[:, column]})


def test_equals_stage_a_on_klines_that_pandas_resampled(real_data: Path, tmp_path: Path) -> None:
    data = real_data / "spot_1h_delisted"
    resampled(data, tmp_path / "coarse")
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    inside = recipe_of(tmp_path / "in", INSIDE)
    outside = recipe_of(tmp_path / "out", {name: f'bars("4h", {text})' for name, text in INSIDE.items()})
    truth, want = values_of(tmp_path / "coarse", "4h", inside, tmp_path / "hub4")
    panel, got = values_of(data, "1h", outside, tmp_path / "hub1")
    assert (panel.symbols, truth.symbols) == (SYMBOLS, SYMBOLS)
    for name in INSIDE:
        for column, symbol in enumerate(SYMBOLS):
            fine, coarse = frame(panel, got.values[name], column), frame(truth, want.values[name], column)
            joined = pd.merge_asof(fine[["closed"]], coarse, on="closed")["value"].to_numpy()
            there = panel.exists[panel.warmup :, column] & (np.arange(len(fine)) >= 3)  # its first bar closes there
            assert np.isfinite(joined[there]).mean() > 0.9
            np.testing.assert_allclose(
                fine["value"].to_numpy()[there], joined[there], rtol=1e-9, err_msg=f"{name} {symbol}"
            )
            assert np.isnan(fine["value"].to_numpy()[~panel.exists[panel.warmup :, column]]).all()


MIXED = """factors:
  - {name: trend, type: expression, expression: 'close / bars("4h", ts_mean(close, 12)) - 1'}
  - {name: calm, type: expression, expression: 'ts_mean(bars("1d", ts_std(returns(close, 1), 5)), 30)'}
  - {name: beta, type: expression, expression: 'bars("4h", beta_to("AAAUSDT", returns(close, 1), 20))'}
  - {name: smooth, type: expression, expression: 'bars("2h", ema(close, 6)) - close'}
  - {name: undefined, type: expression, expression: 'bars("4h", log(close - close))'}
"""
WINDOWED = "\n".join(line for line in MIXED.splitlines() if "ema" not in line) + "\n"
CROSS = MIXED + "  - {name: order, type: expression, expression: 'bars(\"4h\", cs_rank(returns(close, 6)))'}\n"


def test_same_bytes_for_any_cut_into_blocks_and_another_start(market, tmp_path, inline, monkeypatch):
    found = []
    for size in (1, 2, 16):
        monkeypatch.setattr(stage_run, "largest_block", lambda job, symbols, size=size: size)
        prepare(settings(market, tmp_path / str(size), recipe=MIXED))
        metadata = metadata_of(tmp_path / str(size))
        found.append((digests(tmp_path / str(size)), metadata["factors"], metadata["qc"]))
    assert found[0] == found[1] == found[2]
    assert metadata["factors"]["trend"]["lookback_bars"] == 13 * 4 - 2
    for recipe in (MIXED, CROSS):
        hub = tmp_path / str(len(recipe))
        prepare(settings(market, hub, "all", recipe=recipe))
        prepare(settings(market, hub, "late", recipe=recipe, start="2023-02-11T07:00", end="2023-02-20T02:00"))
        for symbol in ("AAAUSDT", "BBBUSDT", "EEEUSDT"):
            late = frame_of(hub, symbol, "late")
            whole = frame_of(hub, symbol, "all").loc[late.index]
            for name in whole:
                assert whole[name].to_numpy().tobytes() == late[name].to_numpy().tobytes(), (symbol, name)


def test_same_bytes_for_any_chunk_of_time(market, tmp_path, inline, monkeypatch):
    found = []
    for rows in (10_000, 101, 334):
        monkeypatch.setattr(building, "chunk_rows", lambda job, whole, symbols, rows=rows: min(rows, whole))
        hub = tmp_path / str(rows)
        prepare(settings(market, hub, recipe=WINDOWED))
        found.append((digests(hub), timeless(metadata_of(hub))))
    assert found[0] == found[1] == found[2]
    assert found[0][1]["factors"]["undefined"]["undefined_values"] > 1000
