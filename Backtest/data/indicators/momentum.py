"""Library factors of price change: momentum, the relative strength index, moving average convergence."""

from __future__ import annotations

import numpy as np

from ...errors import RecipeError
from ..library import library_factor
from .recursive import before, from_first_bar, seeded_ema, wilder
from .windows import Floats, check_choice, check_window, finite, shifted

MACD_OUTPUTS = ("line", "signal", "histogram")


@library_factor(lookback=lambda window: check_window(window))
def momentum(close: Floats, *, window: int = 24) -> Floats:
    """Return the simple return over `window` bars, close / close `window` bars ago - 1.

    Parameters
    ----------
    close
        float64 [T, S], quote currency; missing is NaN.
    window
        Bars, 1 or more.

    Returns
    -------
    float64 [T, S], a fraction: 0.05 is +5 %. Missing where either close is missing or the earlier one is 0.

    Raises
    ------
    RecipeError
        `window` is not a whole number of 1 or more.

    Notes
    -----
    The rate of change of the indicator books without their factor of 100 (TA-Lib ``ROCP``).
    """
    window = check_window(window)
    with np.errstate(all="ignore"):
        return finite(close / shifted(close, window) - 1.0)


@library_factor(lookback=lambda window: from_first_bar(check_window(window, low=2)))
def rsi(close: Floats, *, window: int = 14) -> Floats:
    """Return Wilder's relative strength index, 100 * mean gain / (mean gain + mean loss).

    Parameters
    ----------
    close
        float64 [T, S], quote currency; missing is NaN.
    window
        Bars of the average, 2 or more.

    Returns
    -------
    float64 [T, S], 0 to 100. The first value stands at the (window + 1)-th valid bar. A missing bar is passed over: it
    gets NaN, and the next change is measured from the last valid close. Missing while no price has moved yet (0 / 0).

    Raises
    ------
    RecipeError
        `window` is not a whole number of 2 or more.

    Notes
    -----
    J. Welles Wilder, New Concepts in Technical Trading Systems (1978). As in TA-Lib ``RSI``, the averages start with
    the simple mean of the first `window` changes and go on as a += (x - a) / window; there, a series that never moves
    is 0.
    """
    window = check_window(window, low=2)
    with np.errstate(all="ignore"):
        change = close - before(close)
        gain = wilder(np.maximum(change, 0.0), window)
        loss = wilder(np.maximum(-change, 0.0), window)
        return finite(100.0 * gain / (gain + loss))


def _check_macd(fast: int, slow: int, signal: int, output: str) -> tuple[int, int, int]:
    slow = check_window(slow, name="slow", low=2)
    fast = check_window(fast, name="fast", low=2)
    check_choice(output, MACD_OUTPUTS, name="output")
    if fast >= slow:
        raise RecipeError(f"fast is {fast} and slow is {slow}; allowed is a fast span below the slow one")
    return fast, slow, check_window(signal, name="signal")


@library_factor(lookback=lambda fast, slow, signal, output: from_first_bar(_check_macd(fast, slow, signal, output)))
def macd(close: Floats, *, fast: int = 12, slow: int = 26, signal: int = 9, output: str = "line") -> Floats:
    """Return moving average convergence/divergence: the fast EMA less the slow one, its own EMA, or their difference.

    Parameters
    ----------
    close
        float64 [T, S], quote currency; missing is NaN.
    fast, slow
        Spans of the two EMAs in bars, 2 or more, fast below slow; alpha = 2 / (span + 1).
    signal
        Span of the line's EMA, 1 or more.
    output
        ``line``, ``signal`` or ``histogram`` (line less signal).

    Returns
    -------
    float64 [T, S], quote currency: divide by the close to compare symbols. The line starts at the slow-th valid bar,
    the other two signal - 1 valid bars later. A missing bar is passed over: it gets NaN and the averages stay as they
    are.

    Raises
    ------
    RecipeError
        A span is no whole number in its range, `fast` is not below `slow`, or `output` is unknown.

    Notes
    -----
    Gerald Appel, 1979. Seeds as in TA-Lib ``MACD``: each EMA starts with a simple mean, and the fast one's is taken
    over the `fast` bars that end where the slow one's ends, so that both start at the same bar. TA-Lib shows the line
    only from the signal's first bar on.
    """
    fast, slow, signal = _check_macd(fast, slow, signal, output)
    with np.errstate(all="ignore"):
        line = seeded_ema(close, fast, skip=slow - fast) - seeded_ema(close, slow)
        if output == "line":
            return finite(line)
        smoothed = seeded_ema(line, signal)
        return finite(smoothed if output == "signal" else line - smoothed)
