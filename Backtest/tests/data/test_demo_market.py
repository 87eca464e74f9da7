"""The demo market: layout, consistency, statistics, the planted events, determinism, refusals."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Backtest import files
from Backtest.data import demo_market
from Backtest.data.demo_market import MARKER, is_synthetic, kline_text, main, read_marker, write_demo_market
from Backtest.data.demo_simulation import LISTINGS, simulate_market, simulate_symbol
from Backtest.errors import DataError, SettingsError
from Backtest.settings import PROJECT_ROOT

HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,taker_buy_base_volume,"
    "taker_buy_quote_volume,premium_open,premium_high,premium_low,premium_close,premium_close_time"
)
HOUR = 3_600_000
SYMBOLS = [listing.symbol for listing in LISTINGS]
FIRST, LAST = pd.Timestamp("2023-01-01"), pd.Timestamp("2024-12-31 23:00")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("a path with spaces") / "synthetic_market"
    assert write_demo_market(place)
    return place


@pytest.fixture(scope="module")
def market(root: Path) -> dict[str, pd.DataFrame]:
    frames = {path.stem: pd.read_csv(path) for path in (root / "6.Binance Data Resampled" / "1h").iterdir()}
    for frame in frames.values():
        frame.index = pd.DatetimeIndex(pd.to_datetime(frame["open_time"], unit="ms"))
    return frames


@pytest.fixture(scope="module")
def close(market: dict[str, pd.DataFrame]) -> pd.DataFrame:
    clock = pd.date_range(FIRST, LAST, freq="h")
    return pd.DataFrame({symbol: market[symbol]["close"].reindex(clock) for symbol in SYMBOLS})


@pytest.fixture(scope="module")
def returns(close: pd.DataFrame) -> pd.DataFrame:
    return close.pct_change(fill_method=None)


def test_layout_of_a_data_root(root: Path) -> None:
    assert sorted(path.name for path in root.iterdir()) == ["6.Binance Data Resampled", MARKER]
    folder = root / "6.Binance Data Resampled" / "1h"
    assert sorted(path.name for path in folder.iterdir()) == [f"{symbol}.csv" for symbol in SYMBOLS]
    assert len(SYMBOLS) == 12
    assert {"BTCUSDT", "ETHUSDT"} < set(SYMBOLS)
    for path in folder.iterdir():
        content = path.read_bytes()
        assert content.startswith(HEADER.encode() + b"\n")
        assert b"\r" not in content
        assert content.endswith(b"\n")


def test_bars_are_consistent(market: dict[str, pd.DataFrame]) -> None:
    for symbol, bars in market.items():
        assert not bars.isna().any().any(), symbol
        assert (bars["open_time"] % HOUR == 0).all()
        assert (np.diff(bars["open_time"]) > 0).all()
        assert (bars["close_time"] == bars["open_time"] + HOUR - 1).all()
        assert (bars["premium_close_time"] == bars["close_time"]).all()
        assert (bars[["open", "high", "low", "close", "volume"]] > 0).all().all()
        assert (bars["high"] >= bars[["open", "close"]].max(axis=1)).all()
        assert (bars["low"] <= bars[["open", "close"]].min(axis=1)).all()
        vwap = bars["quote_asset_volume"] / bars["volume"]
        assert (vwap <= bars["high"] * (1 + 1e-12)).all()
        assert (vwap >= bars["low"] * (1 - 1e-12)).all()
        assert (bars["taker_buy_base_volume"] < bars["volume"]).all()
        assert (bars["taker_buy_quote_volume"] < bars["quote_asset_volume"]).all()
        assert (bars["number_of_trades"] >= 1).all()
        assert pd.api.types.is_integer_dtype(bars["number_of_trades"])
        assert (bars["premium_high"] >= bars[["premium_open", "premium_close"]].max(axis=1)).all()
        assert (bars["premium_low"] <= bars[["premium_open", "premium_close"]].min(axis=1)).all()


def test_taker_share_and_premium_lie_around_their_centres(market: dict[str, pd.DataFrame]) -> None:
    for bars in market.values():
        share = bars["taker_buy_base_volume"] / bars["volume"]
        assert abs(share.mean() - 0.5) < 0.01
        assert share.corr(bars["close"] / bars["open"]) > 0.1
        assert abs(bars["premium_close"].mean()) < 2e-5
        assert 3e-5 < bars["premium_close"].std() < 1e-3


def test_money_is_exact_in_the_text(root: Path, market: dict[str, pd.DataFrame]) -> None:
    listing = next(listing for listing in LISTINGS if listing.symbol == "BTCUSDT")
    bars = simulate_symbol(listing, 7, simulate_market(7))
    text = (root / "6.Binance Data Resampled" / "1h" / "BTCUSDT.csv").read_text()
    quoted = [line.split(",")[7] for line in text.splitlines()[1:]]
    assert [int(cell.replace(".", "")) for cell in quoted] == bars["quote_asset_volume"].tolist()


def test_listing_delisting_and_outage(market: dict[str, pd.DataFrame], close: pd.DataFrame) -> None:
    first = {symbol: bars.index[0] for symbol, bars in market.items()}
    last = {symbol: bars.index[-1] for symbol, bars in market.items()}
    assert first.pop("NOVAUSDT") == pd.Timestamp("2023-09-01 08:00")
    assert last.pop("FADEUSDT") == pd.Timestamp("2024-08-15 02:00")
    assert set(first.values()) == {FIRST}
    assert set(last.values()) == {LAST}
    dark = close.index[close.isna().all(axis=1)]
    assert list(dark) == list(pd.date_range("2024-03-05 02:00", "2024-03-05 07:00", freq="h"))
    for symbol, bars in market.items():
        inside = close[symbol].loc[bars.index[0] : bars.index[-1]]
        assert inside.isna().sum() == 6, symbol


def test_fat_tails_and_volatility_clusters(returns: pd.DataFrame) -> None:
    for symbol in SYMBOLS:
        moves = returns[symbol].dropna().to_numpy()
        size = np.abs(moves)
        assert ((moves - moves.mean()) ** 4).mean() / moves.var() ** 2 > 4.5, symbol
        assert autocorrelation(size, 1) > 0.08, symbol
        assert autocorrelation(size, 12) > 0.02, symbol
        assert abs(autocorrelation(moves, 1)) < 0.05, symbol
        assert 0.3 < moves.std() * np.sqrt(24 * 365) < 1.2, symbol


def autocorrelation(values: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(values[lag:], values[:-lag])[0, 1])


def test_volume_is_tied_to_volatility(market: dict[str, pd.DataFrame], returns: pd.DataFrame) -> None:
    for symbol, bars in market.items():
        assert returns[symbol].abs().corr(bars["quote_asset_volume"]) > 0.4, symbol


def test_common_factor(returns: pd.DataFrame) -> None:
    pairs = returns.corr().to_numpy()[np.triu_indices(len(SYMBOLS), 1)]
    assert pairs.min() > 0.2
    assert pairs.max() < 0.95
    strength = np.linalg.eigvalsh(returns.corr())
    assert strength[-1] / strength.sum() > 0.4
    assert strength[-1] > 4 * strength[-2]


def test_momentum_is_weak_but_there(close: pd.DataFrame) -> None:
    week, day_ahead = close / close.shift(168) - 1, close.shift(-24) / close - 1
    daily = week.rank(axis=1).corrwith(day_ahead.rank(axis=1), axis=1)[::24].dropna()
    assert 0.01 < daily.mean() < 0.08
    assert daily.mean() / daily.std() * np.sqrt(len(daily)) > 2


def test_bytes_of_the_shipped_seed() -> None:
    """Other bytes on another system are a defect; who changes them on purpose raises VERSION."""
    factor = simulate_market(7)
    digest = hashlib.sha256()
    for listing in LISTINGS[3:5]:
        digest.update(kline_text(listing, simulate_symbol(listing, 7, factor)).encode())
    assert digest.hexdigest() == "0b58418b45813e75bd71249dbb9ea21efda1ed3fa0d6f792f6705cb9d4dec0c8"


def test_another_seed_another_market(market: dict[str, pd.DataFrame]) -> None:
    listing = LISTINGS[3]
    other = simulate_symbol(listing, 8, simulate_market(8))["close"] / 10**listing.decimals
    ours = market["BTCUSDT"]["close"].to_numpy()
    assert abs(np.corrcoef(np.diff(np.log(ours)), np.diff(np.log(other)))[0, 1]) < 0.05


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_seeds_keep_prices_well_above_a_tick(seed: int) -> None:
    factor = simulate_market(seed)
    for listing in LISTINGS:
        assert simulate_symbol(listing, seed, factor)["low"].min() > 200, listing.symbol


def test_the_marker_says_synthetic(root: Path, tmp_path: Path) -> None:
    text = (root / MARKER).read_text()
    assert text.startswith("SYNTHETIC MARKET DATA: simulated, not real.")
    assert read_marker(root) == {
        "generator": "Backtest.data.demo_market", "version": "1", "seed": "7", "state": "complete",
    }  # fmt: skip
    assert is_synthetic(root)
    assert not is_synthetic(tmp_path)
    assert not is_synthetic(tmp_path / "absent")
    assert read_marker(tmp_path) == {}


@pytest.fixture
def two_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the market two symbols small."""
    monkeypatch.setattr("Backtest.data.demo_simulation.LISTINGS", LISTINGS[3:5])


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.usefixtures("two_symbols")
def test_written_once_then_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    assert write_demo_market(root)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*.csv")}
    content = snapshot(root)
    assert not write_demo_market(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.csv")} == before
    with pytest.raises(DataError, match=r"another demo market \(seed 7, version 1\); add --overwrite"):
        write_demo_market(root, seed=8)
    assert snapshot(root) == content
    assert write_demo_market(root, seed=8, overwrite=True)
    assert read_marker(root)["seed"] == "8"
    assert write_demo_market(root, seed=7, overwrite=True)
    assert snapshot(root) == content
    next(root.rglob("*.csv")).unlink()
    assert write_demo_market(root)
    assert snapshot(root) == content


@pytest.mark.usefixtures("two_symbols")
@pytest.mark.parametrize("file", ["6.Binance Data Resampled/1h/BTCUSDT.csv", "notes.txt"])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, file: str) -> None:
    mine = tmp_path / file
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("real\n")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="not a demo market"):
            write_demo_market(tmp_path, overwrite=overwrite)
    assert snapshot(tmp_path) == {str(Path(file)): b"real\n"}


@pytest.mark.usefixtures("two_symbols")
def test_an_interrupted_market_says_synthetic_and_is_finished_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, root = tmp_path / "whole", tmp_path / "demo"
    write_demo_market(whole)
    replaced = 0

    def dies_at_third(source: Path, target: Path) -> None:
        nonlocal replaced
        replaced += 1
        if replaced == stop:
            raise OSError(28, "No space left on device")
        real_replace(source, target)

    real_replace = files.replace
    for stop in (1, 2, 3, 4):
        replaced = 0
        with monkeypatch.context() as patch:
            patch.setattr(files, "replace", dies_at_third)
            with pytest.raises(OSError, match="No space"):
                write_demo_market(root, overwrite=True)
        done = snapshot(root)
        assert not [name for name in done if name.endswith(files.TEMPORARY)]
        assert all(done[name] == snapshot(whole)[name] for name in done if name.endswith(".csv"))
        assert is_synthetic(root) or not done
        assert read_marker(root).get("state") != "complete" or stop == 1
    left = root / "6.Binance Data Resampled" / "1h" / f"BTCUSDT.csv.1{files.TEMPORARY}"
    left.write_text("half")
    assert write_demo_market(root)
    assert snapshot(root) == snapshot(whole)


@pytest.mark.parametrize("marker", [b"\xff\xfe\0", b"state: complete\n"])
def test_a_marker_of_something_else_is_refused(tmp_path: Path, marker: bytes) -> None:
    (tmp_path / demo_market.MARKER).write_bytes(marker)
    with pytest.raises(DataError, match=r"is not a demo market: it holds 'SYNTHETIC\.txt'"):
        write_demo_market(tmp_path)


def test_negative_seed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="seed is -1"):
        write_demo_market(tmp_path / "demo", seed=-1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("two_symbols")
def test_command_prints_one_json_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "demo"
    assert main(["--root", str(root), "--seed", "3"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["status"] == "written"
    assert first["synthetic"] is True
    assert first["data_root"] == str(root)
    assert main(["--root", str(root), "--seed", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["status"] == "unchanged"
    assert main(["--root", str(root)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", demo_market.__name__, "-h"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "--overwrite" in done.stdout
