"""Library factors that set a symbol against another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import RecipeError, did_you_mean
from ..library import library_factor
from .windows import Floats, check_window, finite, shifted


@library_factor(lookback=lambda window: check_window(window), symbols=lambda benchmark: (benchmark,))
def relative_strength(close: Floats, symbols: Sequence[str], *, benchmark: str = "BTCUSDT", window: int = 24) -> Floats:
    """Return the return over `window` bars of the price measured in the benchmark.

    (close / close `window` bars ago) / (benchmark / benchmark `window` bars ago) - 1.

    Parameters
    ----------
    close
        float64 [T, S], quote currency; missing is NaN.
    symbols
        The S column names.
    benchmark
        The column to measure in; Stage A loads it whether the run names it or not.
    window
        Bars, 1 or more.

    Returns
    -------
    float64 [T, S], a fraction; 0 for the benchmark itself. Missing where any of the four closes is missing or one of
    the three divisors is 0.

    Raises
    ------
    RecipeError
        `benchmark` is not among `symbols`, or `window` is not a whole number of 1 or more.
    """
    window = check_window(window)
    if benchmark not in symbols:
        raise RecipeError(f"benchmark {benchmark!r} is not among the symbols{did_you_mean(str(benchmark), symbols)}")
    with np.errstate(all="ignore"):
        growth = close / shifted(close, window)
        column = list(symbols).index(benchmark)
        return finite(growth / growth[:, column : column + 1] - 1.0)
