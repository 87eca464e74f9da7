"""Library factors of price dispersion: volatility of returns, average true range, width of the Bollinger bands."""

from __future__ import annotations

import numpy as np

from ..library import library_factor
from .recursive import before, from_first_bar, wilder
from .windows import Floats, check_positive, check_window, finite, shifted, window_deviation


@library_factor(lookback=lambda window: check_window(window, low=2))
def volatility(close: Floats, *, window: int = 24) -> Floats:
    """Return the sample standard deviation (ddof 1) of the simple one-bar returns in the last `window` bars.

    Parameters
    ----------
    close
        float64 [T, S], quote currency; missing is NaN.
    window
        Returns in the window, 2 or more.

    Returns
    -------
    float64 [T, S], a fraction per bar (times the root of the bars per year for a yearly figure). A return needs two
    adjacent valid closes; a value needs the window inside the array and nine tenths of its returns.

    Raises
    ------
    RecipeError
        `window` is not a whole number of 2 or more.
    """
    window = check_window(window, low=2)
    with np.errstate(all="ignore"):
        returns = finite(close / shifted(close, 1) - 1.0)
        return finite(window_deviation(returns, window, ddof=1)[1])


@library_factor(lookback=lambda window: from_first_bar(check_window(window)))
def atr(high: Floats, low: Floats, close: Floats, *, window: int = 14) -> Floats:
    """Return Wilder's average true range.

    The true range of a bar is the span from the lower of its low and the previous close to the higher of its high and
    the previous close.

    Parameters
    ----------
    high, low, close
        float64 [T, S], quote currency; missing is NaN.
    window
        Bars of the average, 1 or more (1: the true range itself).

    Returns
    -------
    float64 [T, S], quote currency: divide by the close to compare symbols. The first value stands at the (window +
    1)-th valid bar. A bar with any of the three prices missing is passed over: it gets NaN, and the next true range is
    measured from the last valid bar's close.

    Raises
    ------
    RecipeError
        `window` is not a whole number of 1 or more.

    Notes
    -----
    J. Welles Wilder, New Concepts in Technical Trading Systems (1978). As in TA-Lib ``ATR``, the average starts with
    the simple mean of the first `window` true ranges and goes on as a += (x - a) / window.
    """
    window = check_window(window)
    with np.errstate(all="ignore"):
        whole = np.where(np.isnan(high + low), np.nan, close)
        previous = before(whole)
        true_range = np.maximum(high, previous) - np.minimum(low, previous)
        return finite(wilder(np.where(np.isnan(whole), np.nan, true_range), window))


def _check_bands(window: int, deviations: float) -> tuple[int, float]:
    return check_window(window, low=2), check_positive(deviations, name="deviations")


@library_factor(lookback=lambda window, deviations: _check_bands(window, deviations)[0] - 1)
def bollinger_width(close: Floats, *, window: int = 20, deviations: float = 2.0) -> Floats:
    """Return the distance between the Bollinger bands over their middle, (upper - lower) / middle.

    Parameters
    ----------
    close
        float64 [T, S], quote currency; missing is NaN.
    window
        Bars, 2 or more.
    deviations
        Standard deviations (ddof 0, as Bollinger has them) from the middle to either band, above 0.

    Returns
    -------
    float64 [T, S], a fraction of the moving average. A value needs the window inside the array and nine tenths of its
    closes; missing where the average is 0.

    Raises
    ------
    RecipeError
        `window` is not a whole number of 2 or more, or `deviations` is not a number above 0.

    Notes
    -----
    John Bollinger, Bollinger on Bollinger Bands (2001), BandWidth; bands as in TA-Lib ``BBANDS`` with simple averages.
    """
    window, deviations = _check_bands(window, deviations)
    with np.errstate(all="ignore"):
        mean, deviation = window_deviation(close, window, ddof=0)
        return finite(2.0 * deviations * deviation / mean)
