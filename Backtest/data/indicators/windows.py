"""What windowed and recursive library factors share: windows of d bars, the missing rule, parameter checks.

Missing rule of windowed factors (that of the language's rolling operators): a window is the last d rows of the array,
missing ones included. It has a value from the array's row d - 1 on, and once at least d - d // 10 of its values, nine
tenths rounded up, are valid. The array holds one listing episode, so its row 0 is the episode's first bar or a row of
look-back that is thrown away; rows that are missing at its start count as missing bars.

Every window is folded from its own values in an order that depends on d alone: nothing is carried from window to
window, so a value has the same bits wherever the array starts, and a spike leaves no trace once it left the window.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import RecipeError, did_you_mean

Floats = NDArray[np.float64]
Parts = tuple[Floats, ...]


def check_window(value: Any, *, name: str = "window", low: int = 1) -> int:
    """Return `value` if it is a whole number of bars of at least `low`, else raise RecipeError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < low:
        raise RecipeError(f"{name} is {value!r}; allowed is a whole number of bars from {low} on")
    return int(value)


def check_positive(value: Any, *, name: str) -> float:
    """Return `value` if it is a finite number above zero, else raise RecipeError."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not isfinite(value) or value <= 0:
        raise RecipeError(f"{name} is {value!r}; allowed is a number above 0")
    return float(value)


def check_choice(value: Any, choices: tuple[str, ...], *, name: str) -> str:
    """Return `value` if it is one of `choices`, else raise RecipeError."""
    if value not in choices:
        raise RecipeError(f"{name} is {value!r}; allowed is {', '.join(choices)}{did_you_mean(str(value), choices)}")
    return str(value)


def shifted(values: Floats, rows: int, fill: float = np.nan) -> Floats:
    """Return `values` moved `rows` >= 0 rows down; rows that come from before the array hold `fill`."""
    moved = np.full_like(values, fill)
    if rows < len(values):
        moved[rows:] = values[: len(values) - rows]
    return moved


def finite(values: Floats) -> Floats:
    """Return `values` with everything that is not finite made missing."""
    return np.where(np.isfinite(values), values, np.nan)


def fold(parts: Parts, window: int, merge: Callable[[Parts, Parts], Parts]) -> Parts:
    """Return the merge over each window of `window` rows, by doubling: log2(window) passes over the array.

    Spans of 1, 2, 4, ... rows that end at t are made from two halves each; the window is the spans of its binary
    digits, laid end to end. Zeros stand for rows before the array: `merge` must leave the other side as it is for them.
    """
    result: Parts | None = None
    covered, span = 0, 1
    while True:
        if window & span:
            older = tuple(shifted(part, covered, 0.0) for part in parts)
            result = older if result is None else merge(older, result)
            covered += span
            if covered == window:
                return result
        parts = merge(tuple(shifted(part, span, 0.0) for part in parts), parts)
        span *= 2


def window_count(valid: NDArray[np.bool_], window: int) -> Floats:
    """Return how many rows of each window are valid; float64 [T, S]."""
    seen = np.cumsum(valid, axis=0, dtype=np.float64)
    return seen - shifted(seen, window, 0.0)


def enough(count: Floats, window: int) -> NDArray[np.bool_]:
    """Return where the window lies inside the array and nine tenths of it are valid; bool [T, S]."""
    complete: NDArray[np.bool_] = count >= window - window // 10
    complete[: window - 1] = False
    return complete


def window_sum(values: Floats, window: int) -> Floats:
    """Return the sum of the valid values of each window; missing where too few are."""
    valid = ~np.isnan(values)
    (total,) = fold((np.where(valid, values, 0.0),), window, lambda older, newer: (older[0] + newer[0],))
    return np.where(enough(window_count(valid, window), window), total, np.nan)


def window_mean(values: Floats, window: int) -> Floats:
    """Return the mean of the valid values of each window; missing where too few are."""
    mean: Floats = window_sum(values, window) / np.maximum(window_count(~np.isnan(values), window), 1.0)
    return mean


def window_deviation(values: Floats, window: int, *, ddof: int) -> tuple[Floats, Floats]:
    """Return mean and standard deviation of the valid values of each window; missing where too few are.

    Sums of squared deviations of two parts are joined by their means (Chan, Golub and LeVeque 1979), so a price of 1e5
    with noise of 1e-3 keeps its digits.
    """
    valid = ~np.isnan(values)
    parts = (valid.astype(np.float64), np.where(valid, values, 0.0), np.zeros_like(values))
    count, mean, squares = fold(parts, window, _join_moments)
    known = enough(count, window) & (count > ddof)
    deviation = np.sqrt(squares / np.maximum(count - ddof, 1.0))
    return np.where(known, mean, np.nan), np.where(known, deviation, np.nan)


def _join_moments(older: Parts, newer: Parts) -> Parts:
    count = older[0] + newer[0]
    share = newer[0] / np.maximum(count, 1.0)
    apart = newer[1] - older[1]
    return count, older[1] + apart * share, older[2] + newer[2] + apart * apart * older[0] * share
