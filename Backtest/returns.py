"""Statistics of equity curves and of their daily returns: pure functions of arrays.

Where one has no value (no spread, no losing day, too few days) it is NaN; alpha and beta are None.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .data.timeframe import DAY_SECONDS, SECOND_NS, Timeframe

Floats = NDArray[np.float64]

DAYS_PER_YEAR = 365
"""Crypto trades every day: daily statistics are annualised with it."""

GROWTH_DAYS_PER_YEAR = 365.25
"""The users' formula for the annualised return counts calendar years."""

DAY_NS = DAY_SECONDS * SECOND_NS


def iso_time(time_ns: int) -> str:
    """Return nanoseconds since the epoch as ISO 8601 UTC with Z, to the second."""
    return str(np.datetime64(time_ns // SECOND_NS, "s")) + "Z"


def closing_day(opens: NDArray[np.int64], timeframe: Timeframe) -> NDArray[np.int64]:
    """Return the UTC day (since the epoch) that holds the last instant of each bar."""
    return np.asarray((opens + timeframe.ns - 1) // DAY_NS, dtype=np.int64)


def daily_equity(opens: NDArray[np.int64], curve: Floats, timeframe: Timeframe, initial: float) -> Floats:
    """Return the last value of every UTC day, preceded by `initial`: float64 [days + 1].

    Days run from the first bar's open to the last bar's close. A day without a close of its own (bars longer than a
    day) repeats the day before, so that annualising by 365 stays right for every timeframe.
    """
    first = int(opens[0] // DAY_NS)
    day = closing_day(opens, timeframe) - first
    last_of_day = np.r_[day[1:] != day[:-1], True]
    row = np.full(day[-1] + 1, -1, dtype=np.int64)
    row[day[last_of_day]] = np.flatnonzero(last_of_day)
    row = np.maximum.accumulate(row)
    known: Floats = np.where(row >= 0, curve[np.maximum(row, 0)], initial)
    return np.concatenate(([initial], known))


def daily_returns(daily: Floats) -> Floats:
    """Return value / value before - 1; 0 after a value that is not positive (the run is over), NaN beside NaN."""
    before, after = daily[:-1], daily[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(before <= 0, 0.0, after / before - 1)


def annualized_return(growth: float, years: float) -> float:
    """Return growth ^ (1 / years) - 1; -1 for a growth that is not positive, inf beyond float64."""
    if growth <= 0:
        return -1.0
    exponent = math.log(growth) / years
    return math.expm1(exponent) if exponent < 700 else math.inf


def sharpe_ratio(returns: Floats, *, risk_free: float = 0.0) -> float:
    """Return the annualised Sharpe ratio of daily returns (ddof 1); NaN without spread."""
    excess = returns - risk_free / DAYS_PER_YEAR
    spread = spread_of(excess)
    return float(excess.mean() / spread * math.sqrt(DAYS_PER_YEAR)) if spread > 0 else math.nan


def sortino_ratio(returns: Floats, *, risk_free: float = 0.0) -> float:
    """Return the annualised Sortino ratio of daily returns; NaN without a losing day."""
    excess = returns - risk_free / DAYS_PER_YEAR
    downside = math.sqrt(float(np.mean(np.minimum(excess, 0) ** 2)))
    return float(excess.mean() / downside * math.sqrt(DAYS_PER_YEAR)) if downside > 0 else math.nan


def spread_of(values: Floats) -> float:
    """Return the standard deviation (ddof 1), 0 for fewer than two values or for equal ones."""
    if len(values) < 2 or bool(np.all(values == values[0])):
        return 0.0
    return float(values.std(ddof=1))


def skewness(values: Floats) -> float:
    """Return the adjusted Fisher-Pearson skewness G1 (Joanes and Gill 1998); NaN below 3 values or without spread."""
    n = len(values)
    if n < 3 or spread_of(values) == 0:
        return math.nan
    off = values - values.mean()
    g1 = np.mean(off**3) / np.mean(off**2) ** 1.5
    return float(g1 * math.sqrt(n * (n - 1)) / (n - 2))


def kurtosis_excess(values: Floats) -> float:
    """Return the sample excess kurtosis G2 (Joanes and Gill 1998); NaN below 4 values or without spread."""
    n = len(values)
    if n < 4 or spread_of(values) == 0:
        return math.nan
    off = values - values.mean()
    g2 = np.mean(off**4) / np.mean(off**2) ** 2 - 3
    return float(((n + 1) * g2 + 6) * (n - 1) / ((n - 2) * (n - 3)))


def drawdown(equity: Floats, initial_cash: float) -> Floats:
    """Return equity / highest equity so far - 1 at every bar [T], the initial cash counted as the first peak."""
    peak = np.maximum.accumulate(np.maximum(equity, initial_cash))
    below: Floats = equity / peak - 1
    return below


def longest_drawdown_bars(equity: Floats, initial_cash: float) -> int:
    """Return the most bars from a highest equity until it is reached again, or until the last bar."""
    path = np.r_[initial_cash, equity]
    row = np.arange(len(path))
    at_peak = path >= np.maximum.accumulate(path)
    last_peak = np.maximum.accumulate(np.where(at_peak, row, 0))
    # A bar that regains the peak closes the span that began at the peak before it.
    began = np.where(at_peak, np.r_[0, last_peak[:-1]], last_peak)
    under_water = ~at_peak | np.r_[False, ~at_peak[:-1]]
    return int(np.max((row - began)[under_water], initial=0))


def monthly_returns(
    opens: NDArray[np.int64], equity: Floats, timeframe: Timeframe, initial_cash: float
) -> tuple[NDArray[np.datetime64], Floats]:
    """Return the UTC calendar months with a close, datetime64[M], and the return within each, cut ones included."""
    month = closing_day(opens, timeframe).astype("datetime64[D]").astype("datetime64[M]")
    last = np.r_[month[1:] != month[:-1], True]
    return month[last], daily_returns(np.r_[initial_cash, equity[last]])


def alpha_beta(returns: Floats, against: Floats | None, *, risk_free: float = 0.0) -> tuple[float | None, float | None]:
    """Return (alpha per year, beta) of daily returns; days on which either is missing are left out."""
    if against is None:
        return None, None
    both = np.isfinite(returns) & np.isfinite(against)
    mine, other = returns[both] - risk_free / DAYS_PER_YEAR, against[both] - risk_free / DAYS_PER_YEAR
    if spread_of(other) == 0:
        return None, None
    off = other - other.mean()
    beta = float(np.dot(mine - mine.mean(), off) / np.dot(off, off))
    return float((mine.mean() - beta * other.mean()) * DAYS_PER_YEAR), beta
