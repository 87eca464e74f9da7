"""Stage A on real data: every value of ten factors against pandas and whole windows, which share no code with ours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from .commands import factor_frames, kline_frames, prepare
from .conftest import END

BAR = pd.Timedelta(hours=4)
pytestmark = pytest.mark.xdist_group("acceptance")  # one Stage A on real data serves them all
Windows = NDArray[np.float64]


class Slow:
    """Rolling rules of the language, window by window: d bars of the clock, of which a tenth may be missing."""

    def __init__(self, exists: pd.DataFrame) -> None:
        first = exists.idxmax()
        bars = {symbol: np.maximum((exists.index - first[symbol]) / BAR + 1, 0) for symbol in exists}
        self.age = pd.DataFrame(bars, index=exists.index)

    def windows(self, values: pd.DataFrame, bars: int) -> Windows:
        padded = np.vstack([np.full((bars - 1, values.shape[1]), np.nan), values.to_numpy()])
        return np.lib.stride_tricks.sliding_window_view(padded, bars, axis=0)

    def roll(self, values: pd.DataFrame, bars: int, apply: Callable[[Windows], Windows]) -> pd.DataFrame:
        windows = self.windows(values, bars)
        enough = (~np.isnan(windows)).sum(axis=2) >= math.ceil(0.9 * bars - 1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # windows without a value, masked in the next line
            result = apply(windows)
        return pd.DataFrame(np.where(enough & (self.age >= bars), result, np.nan), values.index, values.columns)

    def ema(self, values: pd.DataFrame, span: int) -> pd.DataFrame:
        smoothed = values.ewm(span=span, adjust=False, ignore_na=True).mean()
        return smoothed.where(values.notna() & (values.notna().cumsum() >= span))


def total(windows: Windows) -> Windows:
    return np.nansum(windows, axis=2)


def mean(windows: Windows) -> Windows:
    return np.nanmean(windows, axis=2)


def std(windows: Windows) -> Windows:
    return np.nanstd(windows, axis=2, ddof=1)


def linear(windows: Windows) -> Windows:
    weights = np.where(np.isnan(windows), 0.0, np.arange(1.0, windows.shape[2] + 1))
    return np.nansum(windows * weights, axis=2) / weights.sum(axis=2)


def rank_of_last(windows: Windows) -> Windows:
    last = windows[:, :, -1:]
    below, same = (windows < last).sum(axis=2), (windows == last).sum(axis=2)
    place = (below + (same + 1) / 2) / (~np.isnan(windows)).sum(axis=2)
    return np.where(np.isnan(last[:, :, 0]), np.nan, place)


def bars_since_high(windows: Windows) -> Windows:
    return np.argmax(np.where(np.isnan(windows), -np.inf, windows)[:, :, ::-1], axis=2).astype(float)


def correlation(left: pd.DataFrame, right: pd.DataFrame, slow: Slow, bars: int) -> pd.DataFrame:
    x, y = slow.windows(left, bars), slow.windows(right, bars)
    both = ~(np.isnan(x) | np.isnan(y))
    count = np.maximum(both.sum(axis=2, keepdims=True), 1)
    off_x = np.where(both, x - np.where(both, x, 0.0).sum(axis=2, keepdims=True) / count, 0.0)
    off_y = np.where(both, y - np.where(both, y, 0.0).sum(axis=2, keepdims=True) / count, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = (off_x * off_y).sum(axis=2) / np.sqrt((off_x**2).sum(axis=2) * (off_y**2).sum(axis=2))
    enough = (both.sum(axis=2) >= math.ceil(0.9 * bars - 1e-9)) & (slow.age >= bars)
    return pd.DataFrame(np.where(enough, value, np.nan), left.index, left.columns)


def expected_factors(bars: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the ten factors of ten_factors.yaml, as their formulas read."""
    close, high, low, volume = bars["close"], bars["high"], bars["low"], bars["volume"]
    slow = Slow(close.notna())
    population = close.notna() & (volume > 0)
    typical = (high + low + close) / 3
    flow, change = typical * volume, typical.diff()
    # a bar whose previous bar is missing has no direction, hence no flow on either side
    up = slow.roll(flow.where(change > 0, 0.0).where(change.notna()), 14, total)
    down = slow.roll(flow.where(change < 0, 0.0).where(change.notna()), 14, total)
    logret = np.log(close) - np.log(close.shift(1))
    std12 = slow.roll(logret, 12, std)
    burst = std12 / (slow.roll(logret, 96, std) + 1e-6)
    burst = burst * slow.roll(logret.abs(), 12, mean) / (slow.roll(logret.abs(), 96, mean) + 1e-6)
    momentum = close / close.shift(30) - 1
    change6 = (close / close.shift(6) - 1).where(population)
    log_volume = np.log(volume + 1)
    step = ((close - close.shift(1)) / slow.roll(close, 15, lambda w: np.nanmedian(w, axis=2))).where(population)
    quartile = slow.roll(low, 20, lambda w: np.nanquantile(w, 0.25, axis=2))
    mfi14 = slow.roll(flow, 14, total) / slow.roll(volume, 14, total)
    return {
        "mfi14": mfi14.where(volume > 0, 0.0).where(volume.notna()),
        "money_flow_index": 100 * up / (up + down),
        "VOL_BURST_COMPLEX": burst * std12 / (slow.ema(std12, 24) + 1e-6),
        "mom30": momentum,
        "mom_rank": momentum.where(population).rank(axis=1, pct=True),
        "reversal": -change6.sub(change6.mean(axis=1), axis=0).div(change6.std(axis=1, ddof=1), axis=0),
        "volume_z": (log_volume - slow.roll(log_volume, 42, mean)) / slow.roll(log_volume, 42, std),
        "price_volume_corr": correlation(close, volume, slow, 30),
        "position_in_range": slow.roll(close, 48, rank_of_last)
        + slow.roll(high, 30, bars_since_high) / 30
        - quartile / close,
        "drift": slow.roll(step.sub(step.mean(axis=1), axis=0), 10, linear),
    }


def test_every_factor_value_equals_pandas(futures: Path, real_data: Path) -> None:
    expected = expected_factors(kline_frames(real_data / "um_futures" / "6.Binance Data Resampled" / "4h", BAR))
    compared = 0
    for symbol, frame in factor_frames(futures, "ten").items():
        for name, values in expected.items():
            theirs = values[symbol].reindex(frame.index).to_numpy()
            ours = frame[name].to_numpy()
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=f"{symbol} {name}: missing")
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-10, err_msg=f"{symbol} {name}")
            compared += int(np.isfinite(ours).sum())
    assert compared > 500_000


def test_another_start_gives_the_same_bits(futures: Path, real_data: Path) -> None:
    prepare(futures, real_data / "um_futures", "later", "--start", "2025-11-07", "--end", END)
    first = factor_frames(futures, "ten")
    for symbol, later in factor_frames(futures, "later").items():
        common = first[symbol].reindex(later.index)
        for name in later.columns:
            assert later[name].to_numpy().tobytes() == common[name].to_numpy().tobytes(), (symbol, name)
