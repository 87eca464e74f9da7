"""A series with gaps in numbers: count, mean, deviation, Newey-West error, hits."""

from __future__ import annotations

import numba
import numpy as np

from .evaluation import Floats


@numba.njit(nogil=True, cache=True, error_model="numpy")
def series_numbers(values: Floats, lag: int) -> tuple[int, float, float, float, float]:
    """Return count, mean, standard deviation (ddof 1), Newey-West error and hit rate of a series [T] with gaps.

    Missing bars deviate by nothing. The Bartlett-weighted sum of products equals the mean square of all sums over
    L + 1 neighbours (those that stick out at the ends too), so the cost does not depend on the lag. A series that does
    not vary has deviation and error 0; below two values both are missing. Hits have the sign of the mean, zeros aside.
    """
    n = 0
    total = 0.0
    low, high = np.inf, -np.inf
    for value in values:
        if value - value == 0.0:
            n += 1
            total += value
            low, high = min(low, value), max(high, value)
    if n == 0:
        return 0, np.nan, np.nan, np.nan, np.nan
    mean = low if low == high else total / n
    hits = signed = 0
    own = squares = run = 0.0
    bars = values.size
    width = min(lag, max(bars - 1, 0)) + 1
    for t in range(bars + width - 1):
        if t < bars and values[t] - values[t] == 0.0:
            away = values[t] - mean
            run += away
            own += away * away
            signed += values[t] != 0.0
            hits += (values[t] > 0.0 and mean > 0.0) or (values[t] < 0.0 and mean < 0.0)
        if t >= width and values[t - width] - values[t - width] == 0.0:
            run -= values[t - width] - mean
        squares += run * run
    rate = hits / signed if signed else np.nan
    if n < 2:
        return n, mean, np.nan, np.nan, rate
    if width == 1:
        squares = own
    scale = n / (n - 1.0)
    return n, mean, np.sqrt(own / (n - 1.0)), np.sqrt(squares / width * scale) / n, rate
