"""Real funding, open interest and external series through Stage A: every value against pandas' merge_asof."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .commands import command, factor_frames

BAR = pd.Timedelta(hours=4)
CLOCK = pd.date_range("2024-02-28", "2026-04-01", freq=BAR, tz="UTC")
START = "2025-03-10"
FOLDERS = ("funding_2026", "funding_2025", "funding_BTCUSDT_2021_2026.csv.gz")
"""Funding in two folders and a file of one symbol."""

pytestmark = pytest.mark.xdist_group("acceptance")


def prepared(place: Path, real: Path, recipe: str, factor_set: str, code: int = 0, **settings: Any) -> dict[str, Any]:
    """Run Stage A with these settings and return the metadata."""
    command(
        "run_prepare.py", place, "--timeframe", "4h", "--symbols", "all", "--factor-set", factor_set, "--dsl-path",
        str(Path(__file__).with_name(recipe)), "--data-root", str(real / "um_futures"), "--datahub-root", "DataHub",
        "--start", START, code=code, **settings,
    )  # fmt: skip
    metadata: dict[str, Any] = json.loads((place / "DataHub" / "metadata" / "4h" / f"{factor_set}.json").read_text())
    return metadata


def known(table: pd.DataFrame, column: str, lag: str = "0h", tolerance: str | None = None) -> pd.Series:
    """Return the last value with stamp + lag <= close of each bar of CLOCK."""
    right = table.assign(known=table["stamp"] + pd.Timedelta(lag)).sort_values("known")
    left = pd.DataFrame({"close": CLOCK + BAR})
    found = pd.merge_asof(left, right[["known", "stamp", column]], left_on="close", right_on="known")
    values = found[column].astype(float)
    if tolerance:
        values = values.where(left["close"] - found["stamp"] <= pd.Timedelta(tolerance))
    return pd.Series(values.to_numpy(), CLOCK)


def stamped(path: Path, time: str, **how: Any) -> pd.DataFrame:
    table = pd.read_csv(path)
    return table.assign(stamp=pd.to_datetime(table[time], utc=True, **how).astype("datetime64[ns, UTC]"))


def funding(paths: list[Path]) -> tuple[pd.Series, pd.Series]:
    """Return what was settled in each bar of CLOCK, and how often; missing where that is not known."""
    times = [pd.read_csv(path, nrows=1).columns[0] for path in paths]  # timestamp, or open_time
    units = [{"format": "ISO8601"} if "_2021_" in path.name else {"unit": "ms"} for path in paths]
    table = pd.concat([stamped(path, time, **unit) for path, time, unit in zip(paths, times, units, strict=True)])
    table = table.assign(stamp=table["stamp"].dt.round("min")).drop_duplicates("stamp").sort_values("stamp")
    rates = table.set_index("stamp")["funding_rate"]
    by_bar = rates.groupby(rates.index.floor("4h"))
    runs = table["stamp"].groupby((table["stamp"].diff() > pd.Timedelta("8h")).cumsum()).agg(["min", "max"])
    inside = np.zeros(len(CLOCK), bool)
    for first, last in runs.itertuples(index=False):
        inside |= (CLOCK >= first) & (CLOCK + BAR <= last + pd.Timedelta("8h"))
    sums, counts = (
        one.reindex(CLOCK, fill_value=0).astype(float).where(inside) for one in (by_bar.sum(), by_bar.size())
    )
    return sums, counts


def rolled(values: pd.Series, exists: pd.Series, bars: int) -> pd.Series:
    """Return the sum over the last `bars` bars, from as many bars after the listing on, nine tenths of them valid."""
    old = np.arange(len(CLOCK)) - int(np.argmax(exists)) + 1 >= bars
    enough = values.rolling(bars, min_periods=1).count() >= math.ceil(0.9 * bars - 1e-9)
    return values.rolling(bars, min_periods=1).sum().where(enough & old & (np.cumsum(exists) > 0))


def klines(real: Path) -> dict[str, pd.Series]:
    """Return symbol -> whether it has a bar, on CLOCK."""
    folder = real / "um_futures" / "6.Binance Data Resampled" / "4h"
    exists = {}
    for path in sorted(folder.glob("*.csv.gz")):
        opened = pd.read_csv(path, usecols=["open_time"])["open_time"]
        stamps = pd.to_datetime(opened, utc=True, **({"unit": "ms"} if opened.dtype.kind == "i" else {}))
        exists[path.name.split(".")[0]] = pd.Series(CLOCK.isin(stamps), CLOCK)
    return exists


def compare(frame: pd.DataFrame, want: dict[str, pd.Series], exists: pd.Series, symbol: str) -> int:
    """Assert that every stored value is the expected one and return how many there are."""
    there = 0
    for name, values in want.items():
        ours = frame[name].to_numpy()
        theirs = values.where(exists).reindex(frame.index).to_numpy()
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=f"{symbol} {name}: missing")
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-15, err_msg=f"{symbol} {name}")
        there += int(np.isfinite(ours).sum())
    return there


def test_funding_and_external_series(real_data: Path, tmp_path: Path) -> None:
    metadata = prepared(
        tmp_path, real_data, "joined.yaml", "joined", funding_folder=list(FOLDERS),
        external_folder=str(real_data / "external"),
    )  # fmt: skip
    assert len(metadata["symbols"]) == 40
    assert sum("external" in path for path in metadata["fields"]) == 2
    usdt = stamped(real_data / "external" / "usdt_supply_daily.csv.gz", "date")
    fear = stamped(real_data / "external" / "fear_greed_index.csv.gz", "timestamp", unit="s")
    shared = {
        "issued": known(usdt, "supply", "1d"),
        "now": known(usdt, "supply"),
        "mood": known(fear, "fear_greed_index", "26h", "3d"),
    }
    compared, exists = 0, klines(real_data)
    for symbol, frame in factor_frames(tmp_path, "joined").items():
        places = [real_data / "um_futures" / name for name in FOLDERS]
        paths = [path for place in places for path in [place / f"{symbol}.csv.gz"] if path.exists()]
        if symbol == "BTCUSDT":
            paths.append(places[-1])
        assert sorted(metadata["files"][symbol]["stamped"]) == sorted(map(str, paths))
        paid, count = funding(paths)
        week, number = (rolled(one, exists[symbol], 42) for one in (paid, count))
        want = {**shared, "paid": paid, "week": week, "rate": week / number.where(number > 0)}
        compared += compare(frame, want, exists[symbol], symbol)
    assert compared > 100_000


def test_open_interest(real_data: Path, tmp_path: Path) -> None:
    metadata = prepared(
        tmp_path, real_data, "interest.yaml", "interest", code=1, open_interest_folder="open_interest_4h"
    )  # 28 of the 40 symbols have no open interest
    assert len(metadata["symbols"]) == 12
    assert len(metadata["refused"]) == 28
    assert "has no file of AAVEUSDT" in metadata["refused"]["AAVEUSDT"]
    exists, compared = klines(real_data), 0
    for symbol, frame in factor_frames(tmp_path, "interest").items():
        path = real_data / "um_futures" / "open_interest_4h" / f"{symbol}.csv.gz"
        table = stamped(path, "timestamp", unit="ms")
        held = known(table, "sum_open_interest", tolerance="1d")
        # a bar that is missing holds no position of its own, but the open interest then is known all the same
        want = {"held": held, "worth": known(table, "sum_open_interest_value", tolerance="1d")}
        want["change"] = held / held.shift(6) - 1
        compared += compare(frame, want, exists[symbol], symbol)
    assert compared > 5_000
