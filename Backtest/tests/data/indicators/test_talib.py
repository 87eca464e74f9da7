"""Library factors against TA-Lib on bars without gaps, from TA-Lib's first value on."""

from __future__ import annotations

import numpy as np
import pytest
import talib

from Backtest.data.indicators import atr, bollinger_width, macd, momentum, money_flow_index, rsi

from .bars import SYMBOLS, random_bars

BARS = random_bars()
HIGH, LOW, CLOSE, VOLUME = (BARS[name] for name in ("high", "low", "close", "volume"))


def each(function, *arrays, **params) -> np.ndarray:
    """Return TA-Lib's answer column by column; of several outputs the caller's function takes one."""
    columns = range(len(SYMBOLS))
    return np.column_stack(
        [function(*(np.ascontiguousarray(values[:, s]) for values in arrays), **params) for s in columns]
    )


def check(ours: np.ndarray, theirs: np.ndarray, first: int, rtol: float = 1e-12, atol: float = 0.0) -> None:
    assert not np.isnan(theirs[first:]).any()
    assert np.isnan(theirs[:first]).all()
    np.testing.assert_allclose(ours[first:], theirs[first:], rtol=rtol, atol=atol)


@pytest.mark.parametrize("window", [2, 14, 50])
def test_money_flow_index(window: int) -> None:
    ours = money_flow_index(HIGH, LOW, CLOSE, VOLUME, window=window)
    # TA-Lib adds to and takes from a running sum, hence the tolerance
    check(ours, each(talib.MFI, HIGH, LOW, CLOSE, VOLUME, timeperiod=window), window, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("window", [2, 14, 50])
def test_rsi_with_wilders_seed(window: int) -> None:
    ours = rsi(CLOSE, window=window)
    assert np.isnan(ours[:window]).all()
    check(ours, each(talib.RSI, CLOSE, timeperiod=window), window)


@pytest.mark.parametrize("window", [2, 14, 50])
def test_atr_with_wilders_seed(window: int) -> None:
    ours = atr(HIGH, LOW, CLOSE, window=window)
    assert np.isnan(ours[:window]).all()
    check(ours, each(talib.ATR, HIGH, LOW, CLOSE, timeperiod=window), window)


def test_atr_of_one_bar_is_the_true_range() -> None:
    check(atr(HIGH, LOW, CLOSE, window=1), each(talib.TRANGE, HIGH, LOW, CLOSE), 1)


# not signal 1: TA-Lib 0.6.4 then shows line and signal one bar apart, the first from unset memory
@pytest.mark.parametrize("spans", [(12, 26, 9), (5, 13, 4), (2, 3, 2)])
@pytest.mark.parametrize("output", ["line", "signal", "histogram"])
def test_macd_with_aligned_seeds(spans: tuple[int, int, int], output: str) -> None:
    fast, slow, signal = spans
    ours = macd(CLOSE, fast=fast, slow=slow, signal=signal, output=output)
    place = ("line", "signal", "histogram").index(output)
    theirs = each(lambda close: talib.MACD(close, fastperiod=fast, slowperiod=slow, signalperiod=signal)[place], CLOSE)
    first = slow + signal - 2
    assert np.isnan(ours[: slow - 1]).all()
    assert np.isnan(ours[slow - 1]).any() == (output != "line")
    np.testing.assert_allclose(ours[first:], theirs[first:], rtol=1e-10, atol=1e-11)
    assert np.isnan(theirs[:first]).all()


@pytest.mark.parametrize("window,deviations", [(2, 1.0), (20, 2.0), (55, 2.5)])
def test_bollinger_width(window: int, deviations: float) -> None:
    def width(close: np.ndarray) -> np.ndarray:
        upper, middle, lower = talib.BBANDS(close, window, deviations, deviations)
        return (upper - lower) / middle

    ours = bollinger_width(CLOSE, window=window, deviations=deviations)
    assert np.isnan(ours[: window - 1]).all()
    # TA-Lib's variance is a difference of running sums: about 1e-12 of price squared, which the root doubles in digits
    np.testing.assert_allclose(ours[window - 1 :], each(width, CLOSE)[window - 1 :], atol=1e-7)


@pytest.mark.parametrize("window", [1, 24])
def test_momentum(window: int) -> None:
    ours = momentum(CLOSE, window=window)
    assert np.isnan(ours[:window]).all()
    np.testing.assert_allclose(ours[window:], each(talib.ROCP, CLOSE, timeperiod=window)[window:], atol=1e-14)


@pytest.mark.parametrize("name", ["rsi", "atr", "macd"])
def test_a_missing_bar_is_passed_over_by_recursive_factors(name: str) -> None:
    rng = np.random.default_rng(5)
    kept = np.sort(rng.choice(len(CLOSE), 300, replace=False))
    holed = [np.full_like(values, np.nan) for values in (HIGH, LOW, CLOSE)]
    for target, source in zip(holed, (HIGH, LOW, CLOSE), strict=True):
        target[kept] = source[kept]
    high, low, close = holed
    ours = {
        "rsi": lambda: rsi(close),
        "atr": lambda: atr(high, low, close),
        "macd": lambda: macd(close, output="signal"),
    }
    packed = [values[kept] for values in (HIGH, LOW, CLOSE)]
    theirs = {
        "rsi": lambda: each(talib.RSI, packed[2]),
        "atr": lambda: each(talib.ATR, *packed),
        "macd": lambda: each(lambda values: talib.MACD(values)[1], packed[2]),
    }
    expected = np.full_like(CLOSE, np.nan)
    expected[kept] = theirs[name]()
    np.testing.assert_allclose(ours[name](), expected, rtol=1e-10, atol=1e-12)
