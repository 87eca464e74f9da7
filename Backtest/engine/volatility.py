"""Trailing volatility of each symbol, from closes known at the bar that decides."""

from __future__ import annotations

import numpy as np

from ..data.panel import Floats, Panel

MIN_KNOWN = 0.9
"""Share of a window's returns that must be known, as in the expressions' default gap tolerance of 0.1."""

MIN_WEIGHT = 0.5
"""Share of a portfolio's absolute weights whose returns must be known at a bar for the bar to count."""


def window_of(days: float, bars_per_day: float) -> int:
    """Return the bars of a window of days, two at least."""
    return max(2, round(days * bars_per_day))


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


def portfolio_volatility(returns: Floats, row: int, weights: Floats, *, window: int) -> float:
    """Return the standard deviation (ddof 1) of the returns of fixed weights over the `window` rows up to `row`.

    Parameters
    ----------
    returns
        float64 [T, S], NaN where not known.
    row
        The last row that is seen.
    weights
        float64 [S], not all zero.
    window
        Rows; fewer are seen where the returns begin later.

    Returns
    -------
    float
        Per bar. At a bar where some of the held symbols have no return the others stand for all, if theirs is at least
        half of the absolute weight; else the bar is left out. NaN where less than 90 % of the window's bars are left.
    """
    held = np.flatnonzero(weights)
    seen, gross = np.take(returns[max(0, row + 1 - window) : row + 1], held, axis=1), np.abs(weights[held])
    known, total = np.isfinite(seen), gross.sum()
    weighed = np.where(known, gross, 0.0).sum(axis=1)
    usable = weighed >= MIN_WEIGHT * total
    count = int(usable.sum())
    if count < MIN_KNOWN * window or count < 2:
        return float("nan")
    moves = np.where(known, seen * weights[held], 0.0).sum(axis=1)[usable] * (total / weighed[usable])
    mean = moves.sum() / count
    return float(np.sqrt(((moves - mean) ** 2).sum() / (count - 1)))
