"""Library functions of the tests that cut, add to and share out what a function sees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from Backtest.data.library import library_factor


@library_factor()
def market_share(close: np.ndarray, symbols: Sequence[str]) -> np.ndarray:
    """Return each symbol's growth since its first bar over the mean of all, and a sum since the first row of all."""
    with np.errstate(all="ignore"):
        first = np.array([column[np.isfinite(column)][:1].sum() for column in close.T])
        growth = close / first
        level = np.nanmean(growth, axis=1, keepdims=True)
        return growth / level + np.nancumsum(np.nan_to_num(level), axis=0) * 1e-3


@library_factor(lookback=0)
def columns(close: np.ndarray, symbols: Sequence[str]) -> np.ndarray:
    """Return how many columns the function sees."""
    return np.full(close.shape, float(len(symbols)))


@library_factor(lookback=0, symbols=lambda benchmark: (benchmark,))
def columns_beside(close: np.ndarray, symbols: Sequence[str], *, benchmark: str) -> np.ndarray:
    """Return how many columns the function sees, the benchmark's counted as a thousand."""
    return np.full(close.shape, len(symbols) + 1000.0 * (benchmark in symbols))


@library_factor(lookback=0)
def infinite(close: np.ndarray) -> np.ndarray:
    """Return infinity on every bar."""
    return np.where(np.isfinite(close), np.inf, np.nan)


@library_factor()
def rows(close: np.ndarray, symbols: Sequence[str]) -> np.ndarray:
    """Return the number of the row among those that the function sees."""
    return np.repeat(np.arange(len(close), dtype=np.float64)[:, None], len(symbols), axis=1)
