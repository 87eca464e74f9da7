"""Library factors of price and volume: money flow, illiquidity, distance from the average traded price."""

from __future__ import annotations

import numpy as np

from ..library import library_factor
from .windows import Floats, check_window, finite, shifted, window_mean, window_sum

PER_MILLION = 1e6
"""Amihud's own scale: return per million of money traded."""


@library_factor(lookback=lambda window: check_window(window))
def money_flow_index(high: Floats, low: Floats, close: Floats, volume: Floats, *, window: int = 14) -> Floats:
    """Return the money flow index, 100 * inflow / (inflow + outflow) over `window` bars.

    A bar's money flow is typical price (high + low + close) / 3 times volume. It is inflow where the typical price rose
    from the bar before, outflow where it fell, neither where it stayed.

    Parameters
    ----------
    high, low, close
        float64 [T, S], quote currency; missing is NaN.
    volume
        float64 [T, S], base units.
    window
        Flows in the window, 1 or more.

    Returns
    -------
    float64 [T, S], 0 to 100. A bar whose previous bar is missing has no flow; a value needs the window inside the array
    and nine tenths of its flows. Missing where no money flowed either way.

    Raises
    ------
    RecipeError
        `window` is not a whole number of 1 or more.

    Notes
    -----
    Gene Quong and Avrum Soudack, 1989; as TA-Lib ``MFI``, save that TA-Lib gives 0 where the flows add up to less than
    1 unit of money, which a coin that is quoted in another coin reaches on an ordinary bar.
    """
    window = check_window(window)
    with np.errstate(all="ignore"):
        typical = (high + low + close) / 3.0
        change = typical - shifted(typical, 1)
        flow = np.where(np.isnan(change), np.nan, typical * volume)
        none = np.where(np.isnan(flow), np.nan, 0.0)
        inflow = window_sum(np.where(change > 0.0, flow, none), window)
        outflow = window_sum(np.where(change < 0.0, flow, none), window)
        return finite(100.0 * inflow / (inflow + outflow))


@library_factor(lookback=lambda window: check_window(window))
def amihud_illiquidity(close: Floats, volume: Floats, *, window: int = 24) -> Floats:
    """Return the mean of |return| over money traded in `window` bars, per million of quote currency.

    Parameters
    ----------
    close
        float64 [T, S], quote currency; missing is NaN.
    volume
        float64 [T, S], base units; close * volume stands for the money traded, since not every data root has it.
    window
        Bars, 1 or more.

    Returns
    -------
    float64 [T, S]: the price move, as a fraction, that a million of quote currency goes with. A bar with no volume or
    whose previous close is missing counts as missing; a value needs the window inside the array and nine tenths of its
    bars.

    Raises
    ------
    RecipeError
        `window` is not a whole number of 1 or more.

    Notes
    -----
    Yakov Amihud, Illiquidity and stock returns, Journal of Financial Markets 5 (2002), equation 1, with bars for days.
    """
    window = check_window(window)
    with np.errstate(all="ignore"):
        moved = np.abs(close / shifted(close, 1) - 1.0)
        return finite(PER_MILLION * window_mean(finite(moved / (close * volume)), window))


@library_factor(lookback=lambda window: check_window(window) - 1)
def vwap_distance(high: Floats, low: Floats, close: Floats, volume: Floats, *, window: int = 24) -> Floats:
    """Return close over the volume-weighted average price of `window` bars, less 1.

    The average price is sum(typical price * volume) / sum(volume), typical price being (high + low + close) / 3.

    Parameters
    ----------
    high, low, close
        float64 [T, S], quote currency; missing is NaN.
    volume
        float64 [T, S], base units.
    window
        Bars, 1 or more.

    Returns
    -------
    float64 [T, S], a fraction: 0.01 is 1 % above the average price. A bar with any of the four missing is left out of
    both sums; a value needs the window inside the array, nine tenths of its bars, a close at t, and some volume.

    Raises
    ------
    RecipeError
        `window` is not a whole number of 1 or more.
    """
    window = check_window(window)
    with np.errstate(all="ignore"):
        money = (high + low + close) / 3.0 * volume
        traded = np.where(np.isnan(money), np.nan, volume)
        return finite(close / (window_sum(money, window) / window_sum(traded, window)) - 1.0)
