"""A series with gaps in numbers: count, mean, deviation, Newey-West error, hits."""

from __future__ import annotations

import numpy as np

from Backtest.machine_code import compiled

from .evaluation import Floats


@compiled
def series_numbers(values: Floats, lag: int) -> tuple[int, float, float, float, float]:
    """Return count, mean, standard deviation (ddof 1), Newey-West error and hit rate of a series [T] with gaps.

    Missing bars deviate by nothing. The Bartlett-weighted sum of products equals the mean square of all sums over
    L + 1 neighbours (those that stick out at the ends too), so the cost does not depend on the lag. A series that does
    not vary has deviation and error 0; below two values both are missing. Hits have the sign of the mean, zeros aside.
    """
    n = 0
    total = (0.0, 0.0)
    low, high = np.inf, -np.inf
    bars = values.size
    for t in range(bars):
        value = values[t]
        if value - value == 0.0:
            n += 1
            total = (total[1], total[0] + value)
            low, high = min(low, value), max(high, value)
    if n == 0:
        return 0, np.nan, np.nan, np.nan, np.nan
    mean = low if low == high else (total[0] + total[1]) / n
    hits = signed = 0
    width = min(lag, max(bars - 1, 0)) + 1
    part = (bars + width + 2) // 4
    away = np.zeros(width + 4 * part)
    for t in range(bars):
        value = values[t]
        if value - value == 0.0:
            away[width + t] = value - mean
            signed += value != 0.0
            hits += (value > 0.0 and mean > 0.0) or (value < 0.0 and mean < 0.0)
    own, squares = _squares(away, width, part)
    rate = hits / signed if signed else np.nan
    if n < 2:
        return n, mean, np.nan, np.nan, rate
    scale = n / (n - 1.0)
    return n, mean, np.sqrt(own / (n - 1.0)), np.sqrt(squares / width * scale) / n, rate


@compiled
def _squares(away: Floats, width: int, part: int) -> tuple[float, float]:
    """Return the sums of squares of `away` and of its sums over `width` neighbours.

    `away` [width + 4 part] begins with `width` zeros. Four quarters side by side: one running sum after the other would
    wait for itself.
    """
    a, b, c, d = 0, part, 2 * part, 3 * part
    run_a = run_b = run_c = run_d = 0.0
    for i in range(width):
        run_b += away[b + i]
        run_c += away[c + i]
        run_d += away[d + i]
    own_a = own_b = own_c = own_d = 0.0
    sum_a = sum_b = sum_c = sum_d = 0.0
    for i in range(part):
        new_a, new_b, new_c, new_d = away[a + i + width], away[b + i + width], away[c + i + width], away[d + i + width]
        run_a += new_a - away[a + i]
        run_b += new_b - away[b + i]
        run_c += new_c - away[c + i]
        run_d += new_d - away[d + i]
        own_a += new_a * new_a
        own_b += new_b * new_b
        own_c += new_c * new_c
        own_d += new_d * new_d
        sum_a += run_a * run_a
        sum_b += run_b * run_b
        sum_c += run_c * run_c
        sum_d += run_d * run_d
    own = (own_a + own_b) + (own_c + own_d)
    return own, own if width == 1 else (sum_a + sum_b) + (sum_c + sum_d)
