"""Trailing volatility of each symbol, from closes known at the bar that decides."""

from __future__ import annotations

import numpy as np

from ..data.panel import Floats, Panel

MIN_KNOWN = 0.9
"""Share of a window's returns that must be known, as in the expressions' default gap tolerance of 0.1."""


def close_returns(panel: Panel) -> Floats:
    """Return close / previous row's close - 1, [T, S]; NaN where either bar is missing, as it is before a listing."""
    close = np.where(panel.exists, panel.fields["close"], np.nan)
    returns = np.full(close.shape, np.nan)
    with np.errstate(all="ignore"):
        returns[1:] = close[1:] / close[:-1] - 1.0
    returns[~np.isfinite(returns)] = np.nan
    return returns


def trailing_volatility(returns: Floats, row: int, *, window: int) -> Floats:
    """Return the standard deviation (ddof 1) [S] of the `window` returns up to `row`; NaN where too few are known."""
    if row + 1 < MIN_KNOWN * window:
        return np.full(returns.shape[1], np.nan)
    seen = returns[max(0, row + 1 - window) : row + 1]
    known = np.isfinite(seen)
    count = known.sum(axis=0)
    enough = (count >= MIN_KNOWN * window) & (count >= 2)
    mean = np.where(known, seen, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (seen - mean) ** 2, 0.0).sum(axis=0)
    return np.where(enough, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)
