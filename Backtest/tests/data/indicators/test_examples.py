"""Library factors against worked examples and against pandas, gaps included."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from Backtest.data.indicators import (
    amihud_illiquidity,
    atr,
    bollinger_width,
    macd,
    momentum,
    money_flow_index,
    relative_strength,
    rsi,
    volatility,
    vwap_distance,
)
from Backtest.errors import RecipeError

from .bars import SYMBOLS, random_bars, with_gaps

NAN = math.nan
RNG = np.random.default_rng(11)
GAPS = np.sort(RNG.choice(400, 25, replace=False))
HOLED = with_gaps(random_bars(), GAPS)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)[:, None]


def rolled(values: pd.DataFrame, window: int, apply) -> np.ndarray:
    """Return apply(window's valid values) by pandas, window by window, where nine tenths rounded up are valid."""
    return values.rolling(window, min_periods=math.ceil(0.9 * window - 1e-9)).apply(apply, raw=False).to_numpy().copy()


def settled(values: np.ndarray, window: int) -> np.ndarray:
    """Return `values` with the rows before the array is `window` rows long made missing."""
    values[: window - 1] = NAN
    return values


def test_money_flow_index_by_hand() -> None:
    # typical prices 10, 11, 10.5, 10.5, 12; flows of bars 1..4: +11 * 2, -10.5 * 4, none, +12 * 1
    typical, volume = column(10, 11, 10.5, 10.5, 12), column(5, 2, 4, 7, 1)
    result = money_flow_index(typical, typical, typical, volume, window=4)
    np.testing.assert_allclose(result[:, 0], [NAN, NAN, NAN, NAN, 100 * (22 + 12) / (22 + 12 + 42)])


def test_money_flow_index_keeps_small_money() -> None:
    # quoted in BTC: flows far below one unit, where TA-Lib gives 0
    typical = column(1e-8, 2e-8, 1e-8)
    result = money_flow_index(typical, typical, typical, column(1, 1, 1), window=2)
    np.testing.assert_allclose(result[2, 0], 100 * 2 / 3)


def test_momentum_by_hand() -> None:
    np.testing.assert_allclose(
        momentum(column(10, NAN, 12, 15, 0, 6), window=2)[:, 0], [NAN, NAN, 0.2, NAN, -1.0, -0.6]
    )
    assert np.isnan(momentum(column(0, 1), window=1)[1, 0])


def test_relative_strength_by_hand() -> None:
    close = np.array([[10.0, 100.0], [11.0, 110.0], [18.0, 90.0], [NAN, 99.0]])
    result = relative_strength(close, ("AUSDT", "BTCUSDT"), window=1)
    np.testing.assert_allclose(result[:, 0], [NAN, 0.0, (18 / 11) / (90 / 110) - 1, NAN], atol=1e-15)
    np.testing.assert_array_equal(result[:, 1], [NAN, 0.0, 0.0, 0.0])
    in_ada = relative_strength(close, ("ADAUSDT", "BTCUSDT"), benchmark="ADAUSDT", window=1)
    np.testing.assert_allclose(in_ada[:, 1], [NAN, 0.0, (90 / 110) / (18 / 11) - 1, NAN], atol=1e-15)


def test_amihud_by_hand() -> None:
    # |r| = 0.1 on 1100 x 2 money, 0.5 on 550 x 4, a bar without volume is left out
    result = amihud_illiquidity(column(1000, 1100, 550, 550), column(1, 2, 4, 0), window=2)
    np.testing.assert_allclose(result[:, 0], [NAN, NAN, 1e6 * (0.1 / 2200 + 0.5 / 2200) / 2, NAN])


def test_vwap_distance_by_hand() -> None:
    # typical prices 10 and 13, volumes 3 and 1: average 43 / 4
    result = vwap_distance(column(11, 14), column(9, 12), column(10, 13), column(3, 1), window=2)
    np.testing.assert_allclose(result[:, 0], [NAN, 13 / (43 / 4) - 1])
    assert np.isnan(vwap_distance(column(11, 14), column(9, 12), column(10, 13), column(0, 0), window=2)).all()


def test_volatility_is_pandas_std_with_gaps() -> None:
    returns = pd.DataFrame(HOLED["close"]).pct_change(fill_method=None)
    expected = rolled(returns, 20, lambda window: window.std(ddof=1))
    np.testing.assert_allclose(volatility(HOLED["close"], window=20), settled(expected, 20), rtol=1e-10)


def test_bollinger_width_is_pandas_std_with_gaps() -> None:
    expected = rolled(pd.DataFrame(HOLED["close"]), 20, lambda window: 4 * window.std(ddof=0) / window.mean())
    np.testing.assert_allclose(bollinger_width(HOLED["close"], window=20), settled(expected, 20), rtol=1e-10)


def test_amihud_is_pandas_mean_with_gaps() -> None:
    close, volume = pd.DataFrame(HOLED["close"]), pd.DataFrame(HOLED["volume"])
    ratio = close.pct_change(fill_method=None).abs() / (close * volume) * 1e6
    expected = rolled(ratio, 30, lambda window: window.mean())
    np.testing.assert_allclose(
        amihud_illiquidity(HOLED["close"], HOLED["volume"], window=30), settled(expected, 30), rtol=1e-10
    )


def test_vwap_distance_is_pandas_sums_with_gaps() -> None:
    typical = pd.DataFrame((HOLED["high"] + HOLED["low"] + HOLED["close"]) / 3)
    money = rolled(typical * HOLED["volume"], 24, lambda window: window.sum())
    traded = rolled(pd.DataFrame(HOLED["volume"]), 24, lambda window: window.sum())
    expected = settled(HOLED["close"] / (money / traded) - 1, 24)
    ours = vwap_distance(HOLED["high"], HOLED["low"], HOLED["close"], HOLED["volume"])
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-13)


def test_money_flow_index_is_pandas_sums_with_gaps() -> None:
    typical = pd.DataFrame((HOLED["high"] + HOLED["low"] + HOLED["close"]) / 3)
    flow, change = typical * HOLED["volume"], typical.diff()
    inflow = rolled(flow.where(change > 0, 0.0).where(change.notna()), 14, lambda window: window.sum())
    outflow = rolled(flow.where(change < 0, 0.0).where(change.notna()), 14, lambda window: window.sum())
    ours = money_flow_index(HOLED["high"], HOLED["low"], HOLED["close"], HOLED["volume"])
    np.testing.assert_allclose(ours, settled(100 * inflow / (inflow + outflow), 14), rtol=1e-10)


def test_deviation_survives_a_price_of_1e5_with_noise_of_1e_3() -> None:
    noise = np.random.default_rng(2).normal(0, 1e-3, (200, 1))
    expected = rolled(pd.DataFrame(noise), 96, lambda window: window.std(ddof=0)) * 4
    ours = bollinger_width(1e5 + noise, window=96)
    exact = expected / rolled(pd.DataFrame(1e5 + noise), 96, lambda window: window.mean())
    np.testing.assert_allclose(ours[95:], exact[95:], rtol=1e-7)  # 1e5 + noise itself is rounded to 1.5e-11


def test_a_spike_leaves_no_trace() -> None:
    close = random_bars()["close"]
    spiked = close.copy()
    spiked[100] = 1e12
    for factor in (lambda values: bollinger_width(values, window=20), lambda values: volatility(values, window=20)):
        assert factor(spiked)[121:].tobytes() == factor(close)[121:].tobytes()


def test_a_flat_price_is_missing_where_the_ratio_is_0_by_0() -> None:
    flat, volume = np.full((60, 1), 7.0), np.ones((60, 1))
    assert np.isnan(rsi(flat)).all()
    assert np.isnan(money_flow_index(flat, flat, flat, volume)).all()
    assert (bollinger_width(flat)[19:] == 0).all()
    assert (atr(flat, flat, flat)[14:] == 0).all()


def test_infinite_input_stays_inside_its_window() -> None:
    bars = random_bars()
    volume = bars["volume"].copy()
    volume[100] = np.inf
    ours = vwap_distance(bars["high"], bars["low"], bars["close"], volume, window=24)
    assert not np.isinf(ours).any()
    assert np.isfinite(ours[124:]).all()


@pytest.mark.parametrize("window", [0, -3, 1.5, "14", True, None, NAN])
def test_windows_that_are_no_count_of_bars_are_refused(window: Any) -> None:
    close = np.ones((5, 1))
    for factor in (momentum, volatility, rsi, bollinger_width):
        with pytest.raises(RecipeError, match=r"window is .* whole number of bars"):
            factor(close, window=window)


def test_other_params_are_checked() -> None:
    close = np.ones((5, len(SYMBOLS)))
    with pytest.raises(RecipeError, match="fast is 26 and slow is 12"):
        macd(close, fast=26, slow=12)
    with pytest.raises(RecipeError, match=r"output is 'histgram'.*did you mean 'histogram'\?"):
        macd(close, output="histgram")
    with pytest.raises(RecipeError, match="deviations is 0"):
        bollinger_width(close, deviations=0)
    with pytest.raises(RecipeError, match=r"benchmark 'BTCUSD' is not among the symbols; did you mean 'BTCUSDT'"):
        relative_strength(close, SYMBOLS, benchmark="BTCUSD")
    with pytest.raises(RecipeError, match="window is 1"):
        rsi(close, window=1)
