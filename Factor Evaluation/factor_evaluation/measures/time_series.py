"""Too few symbols for a cross-section: the same measures over time, symbol by symbol, averaged over the symbols.

The IC of a symbol is the correlation over time of its factor with its forward return. It is the mean over bars of the
product of both sides' standard scores; that product, averaged over the symbols, is the series `ic`, so that its mean is
the mean IC and its Newey-West error allows for overlapping returns. Quantiles are of a symbol's own factor over the
whole window (known only at its end: a description, not something that could have been traded).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .evaluation import Floats
from .fused import BarSeries
from .quantiles import mean_of_bars
from .ranked import MIN_NAMES

MIN_SYMBOLS = 5
"""Symbols from which on a cross-section is measured: with fewer, five quantiles cannot hold a name each."""


def average_ranks(values: Floats) -> Floats:
    """Return the ranks 1 to n of a vector without missing values; ties average."""
    order = np.argsort(values, kind="stable")
    held = values[order]
    first = np.flatnonzero(np.concatenate([[True], held[1:] != held[:-1]])) if held.size else np.zeros(0, np.int64)
    last = np.append(first[1:], held.size)
    ranks = np.empty(values.size)
    ranks[order] = np.repeat((first + last + 1) / 2.0, last - first)
    return ranks


def over_time(factor: Floats, label: Floats, buckets: NDArray[np.int8], quantiles: int) -> BarSeries:
    """Return the per-bar contributions whose means are the measures over time.

    Parameters
    ----------
    factor, label
        float64 [T, S]; pairs with a NaN are left out, symbol by symbol.
    buckets
        int8 [T, S]: `own_quantiles(factor)`.

    Returns
    -------
    BarSeries
        `ic`, `rank_ic` as the module says: missing where no symbol has a pair, and throughout when every symbol's
        factor or return is constant. `quantile_return`: mean over the symbols that are in the quantile at the bar.
    """
    valid = np.isfinite(factor) & np.isfinite(label)
    products, rank_products = np.full(factor.shape, np.nan), np.full(factor.shape, np.nan)
    for s in range(factor.shape[1]):
        held = valid[:, s]
        if held.sum() >= MIN_NAMES:
            mine, theirs = factor[held, s], label[held, s]
            products[held, s] = _scores(mine) * _scores(theirs)
            rank_products[held, s] = _scores(average_ranks(mine)) * _scores(average_ranks(theirs))
    returns = np.stack(
        [mean_of_bars(np.where(valid & (buckets == q), label, np.nan).T) for q in range(quantiles)], axis=1
    )
    return BarSeries(_mean_contribution(products), _mean_contribution(rank_products), returns, _count(valid))


def _count(valid: NDArray[np.bool_]) -> NDArray[np.int32]:
    return np.asarray(valid.sum(axis=1).astype(np.int32))


def _scores(values: Floats) -> Floats:
    """Return the standard scores (ddof 0); NaN where there is no spread."""
    if values.min() == values.max():
        return np.full(values.size, np.nan)
    away = values - values.mean()
    return np.asarray(away / np.sqrt(np.mean(away * away)))


def _mean_contribution(products: Floats) -> Floats:
    """Return per bar the sum of the products, each weighted so that the mean over bars is the mean over symbols."""
    valid = np.isfinite(products)
    own = valid.sum(axis=0)
    symbols, bars = int((own > 0).sum()), int(valid.any(axis=1).sum())
    if not symbols:
        return np.full(len(products), np.nan)
    weight = np.where(own > 0, bars / np.maximum(own, 1) / symbols, 0.0)
    total = (np.where(valid, products, 0.0) * weight).sum(axis=1)
    return np.where(valid.any(axis=1), total, np.nan)


def own_quantiles(factor: Floats, quantiles: int) -> NDArray[np.int8]:
    """Return int8 [T, S]: each symbol's bucket floor(Q (rank - 1/2) / n) of its own values; -1 missing or constant."""
    made = np.full(factor.shape, -1, np.int8)
    for s in range(factor.shape[1]):
        held = np.isfinite(factor[:, s])
        values = factor[held, s]
        if values.size >= MIN_NAMES and values.min() < values.max():
            doubled = 2.0 * average_ranks(values)
            made[held, s] = (quantiles * (doubled - 1.0) // (2 * values.size)).astype(np.int8)
    return made


def own_turnover(buckets: NDArray[np.int8], quantiles: int, bars: int) -> Floats:
    """Return [Q]: share of the cells in the quantile that are not in it `bars` bars later; the last bars count not."""
    before, after = buckets[:-bars], buckets[bars:]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.array([np.mean(after[before == q] != q) if (before == q).any() else np.nan for q in range(quantiles)])


def own_autocorrelation(factor: Floats, bars: int) -> Floats:
    """Return [T]: contributions whose mean is the mean over symbols of the rank autocorrelation `bars` bars apart."""
    products = np.full(factor.shape, np.nan)
    if bars >= len(factor):
        return np.full(len(factor), np.nan)
    for s in range(factor.shape[1]):
        held = np.isfinite(factor[:-bars, s]) & np.isfinite(factor[bars:, s])
        if held.sum() >= MIN_NAMES:
            before, after = factor[:-bars, s][held], factor[bars:, s][held]
            products[bars:, s][held] = _scores(average_ranks(before)) * _scores(average_ranks(after))
    return _mean_contribution(products)


def own_contrast(label: Floats, buckets: NDArray[np.int8], weights: Floats) -> Floats:
    """Return [T]: contributions whose mean is the sum over quantiles of `weights` [Q] x mean return in the quantile.

    (-1, 0, ..., 0, 1) is the spread. Missing throughout when a quantile with a weight is empty.
    """
    valid = np.isfinite(label) & (buckets >= 0)
    bars = valid.any(axis=1)
    total = np.zeros(len(label))
    for q in np.flatnonzero(weights):
        here = valid & (buckets == q)
        held = int(here.sum())
        if not held:
            return np.full(len(label), np.nan)
        total += np.where(here, label, 0.0).sum(axis=1) * (weights[q] * int(bars.sum()) / held)
    return np.where(bars, total, np.nan)
