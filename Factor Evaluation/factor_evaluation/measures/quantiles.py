"""What a quantile's holder earns and pays: spread, monotonicity, compounding, break-even cost, alpha and beta."""

from __future__ import annotations

import math

import numpy as np

from .evaluation import Floats
from .significance import summarise

SIDES = 2.0
"""A name that leaves a quantile is sold and another one bought: turnover x trades two sides."""


def top_minus_bottom(quantiles: int) -> Floats:
    """Return the weights of the spread: top minus bottom, not halved (Qlib's is)."""
    weights = np.zeros(quantiles)
    weights[0], weights[-1] = -1.0, 1.0
    return weights


def mean_of_bars(values: Floats) -> Floats:
    """Return the mean over axis 0 of the bars that have a value; NaN where none has."""
    valid = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(valid, values, 0.0).sum(axis=0) / valid.sum(axis=0))


def trend_weights(means: Floats) -> Floats:
    """Return [Q]: quantile number less the middle of those that hold names, zero for those that never do."""
    held = np.flatnonzero(np.isfinite(means))
    weights = np.zeros(means.size)
    if held.size > 1:
        weights[held] = held - held.mean()
    return weights


def contrast(quantile_return: Floats, weights: Floats) -> Floats:
    """Return [T]: the sum over quantiles of `weights` [Q] x return; missing where a quantile with a weight is empty."""
    held = np.flatnonzero(weights)
    return np.asarray(quantile_return[:, held] @ weights[held]) if held.size else np.full(len(quantile_return), np.nan)


def monotonicity(means: Floats, trend: Floats, bars: int) -> tuple[float, float]:
    """Return the rank correlation of quantile number and mean return [Q], and the p-value that `trend` [T] has mean 0.

    The trend of a bar is `contrast` with `trend_weights`; its p-value has the errors and degrees of freedom of the
    spread's t. Quantiles that never hold a name are left out.
    """
    held = means[np.isfinite(means)]
    if held.size < 2:
        return math.nan, math.nan
    number = np.arange(held.size)
    signs, steps = (np.sign(np.subtract.outer(row, row)).sum(axis=1) for row in (held, number))
    size = math.sqrt(float(signs @ signs) * float(steps @ steps))
    return (float(signs @ steps) / size if size else math.nan), summarise(trend, bars, bootstrap=False).p_value


def cumulative_growth(returns: Floats) -> Floats:
    """Return the product of 1 + return up to each row (axis 0): what one unit has become; a missing return is none."""
    return np.asarray(np.cumprod(1.0 + np.where(np.isfinite(returns), returns, 0.0), axis=0))


def compounded(returns: Floats, bars: int) -> Floats:
    """Return growth - 1 of taking every `bars`-th return of [T] or [T, K], held flat on the bars in between.

    Forward returns of h bars overlap; one in h does not, and is what a holder who rebalances every h bars earns.
    A spread that loses more than all has lost all and stays at -1. Missing throughout where no return has a value:
    nothing was ever held.
    """
    taken = np.maximum(returns[::bars], -1.0)
    growth = np.where(np.isfinite(taken).any(axis=0), cumulative_growth(taken) - 1.0, np.nan)
    return np.repeat(growth, bars, axis=0)[: len(returns)]


def traded_share(turnover: Floats) -> float:
    """Return the value traded per rebalance of the spread, per unit of one leg: both legs, both sides."""
    return SIDES * float(turnover[0] + turnover[-1]) if turnover.size > 1 else math.nan


def break_even_cost(spread_mean: float, turnover: Floats) -> float:
    """Return |spread| / value traded per rebalance; missing when nothing is traded."""
    traded = traded_share(turnover)
    return abs(spread_mean) / traded if traded > 0 else math.nan


def net_spread(spread_mean: float, turnover: Floats, cost: float | None) -> float:
    """Return |spread| - cost x value traded per rebalance: held in the direction that earns; NaN without a cost."""
    return math.nan if cost is None else abs(spread_mean) - cost * traded_share(turnover)


def factor_weighted_return(factor: Floats, label: Floats) -> tuple[Floats, Floats]:
    """Return [T] of the portfolio with weights (f - mean) / sum |f - mean|, and of the equal-weighted universe.

    Over the pairs of the bar; missing where the factor is constant.
    """
    valid = np.isfinite(factor) & np.isfinite(label)
    count = valid.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(valid, factor, 0.0).sum(axis=1) / count
        away = np.where(valid, factor - mean[:, None], 0.0)
        held = np.where(valid, label, 0.0)
        size = np.abs(away).sum(axis=1)
        earned = (away * held).sum(axis=1) / size
        return np.where(size > 0, earned, np.nan), held.sum(axis=1) / count


def alpha_beta(returns: Floats, universe: Floats, periods_per_year: float) -> tuple[float, float]:
    """Return annualised alpha (1 + a)^periods - 1 and beta of the least-squares line returns = a + b x universe.

    Crypto trades all year: 365 days, where alphalens takes 252. Missing when the universe does not vary.
    """
    valid = np.isfinite(returns) & np.isfinite(universe)
    if valid.sum() < 2:
        return math.nan, math.nan
    x, y = universe[valid], returns[valid]
    away = x - x.mean()
    if not float(away @ away) > 0:
        return math.nan, math.nan
    beta = float(away @ (y - y.mean())) / float(away @ away)
    alpha = float(y.mean() - beta * x.mean())
    grown = math.log1p(alpha) * periods_per_year if alpha > -1.0 else -math.inf
    return (math.expm1(grown) if grown < 700 else math.nan), beta
