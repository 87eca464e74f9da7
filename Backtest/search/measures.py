"""The measures of metrics.py, compiled, so that a trial of a sweep has them in some ten microseconds.

`metrics.py` decides what they mean; a test holds the two equal for every metric. Those of futures alone are in
margin_measures.py.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..data.panel import Floats
from ..data.timeframe import DAY_SECONDS, Timeframe
from ..engine.numba.layout import FILLED, FUNDING, LIQUIDATION, LOGGED, Ints
from ..engine.numba.weights import pairwise_sum
from ..machine_code import compiled
from ..metrics import METRICS, SPOT_METRICS, TAIL
from ..returns import DAYS_PER_YEAR, GROWTH_DAYS_PER_YEAR, closing_day, daily_equity, daily_returns

MEASURED = (
    "initial_cash", "final_equity", "total_return", "annualized_return", "volatility", "sharpe_ratio", "sortino_ratio",
    "calmar_ratio", "max_drawdown", "max_drawdown_duration_days", "var_95", "cvar_95", "skewness", "kurtosis_excess",
    "hit_rate", "best_month", "worst_month", "num_trades", "num_orders", "num_rejected", "turnover", "total_commission",
    "total_slippage", "alpha_benchmark", "beta_benchmark", "alpha_equal_weight", "beta_equal_weight", "bars",
)  # fmt: skip
"""Every metric of spot but the times, which are the same for all trials."""
(
    INITIAL, FINAL, TOTAL, ANNUAL, VOLATILITY, SHARPE, SORTINO, CALMAR, DRAWDOWN, DURATION, VAR, CVAR, SKEW, KURTOSIS,
    HIT, BEST, WORST, TRADES, ORDERS, REJECTED, TURNOVER, COMMISSION, SLIPPAGE, ALPHA, BETA, ALPHA_EVEN, BETA_EVEN,
    BARS,
) = range(len(MEASURED))  # fmt: skip

MARGIN_MEASURED = tuple(name for name in METRICS if name not in SPOT_METRICS)
"""Those of futures, behind the others."""


class Facts(NamedTuple):
    """What the measures of all trials share. D days, M months.

    Attributes
    ----------
    days
        int64 [D]: the row whose equity is a day's last; -1 before the first close.
    months
        int64 [M]: the last row of each UTC calendar month.
    against
        float64 [2, D]: daily returns of the benchmark and of the equal-weight universe, NaN where there is none.
    years, bar_seconds, initial_cash, risk_free
        As `compute_metrics` has them; risk_free is per day.
    """

    days: Ints
    months: Ints
    against: Floats
    years: float
    bar_seconds: float
    initial_cash: float
    risk_free: float


class Scratch(NamedTuple):
    """Working space: daily returns [D], three more of them; per column held sizes, those before a bar, and its row."""

    returns: Floats
    one: Floats
    two: Floats
    three: Floats
    held: Floats
    before: Floats
    row: Ints


def facts_of(
    opens: Ints,
    timeframe: Timeframe,
    *,
    benchmark: Floats | None,
    equal_weight: Floats | None,
    initial_cash: float,
    risk_free: float,
) -> Facts:
    """Return what the trials on a clock share. opens: bar open times, ns [T]; the rest as for `compute_metrics`."""
    rows = daily_equity(opens, np.arange(len(opens), dtype=np.float64), timeframe, -1.0)[1:].astype(np.int64)
    month = closing_day(opens, timeframe).astype("datetime64[D]").astype("datetime64[M]")
    against = np.full((2, len(rows)), np.nan)
    for place, curve in enumerate((benchmark, equal_weight)):
        if curve is not None:
            against[place] = daily_returns(daily_equity(opens, curve, timeframe, initial_cash))
    return Facts(
        days=rows,
        months=np.flatnonzero(np.r_[month[1:] != month[:-1], True]),
        against=against,
        years=len(opens) * timeframe.seconds / (GROWTH_DAYS_PER_YEAR * DAY_SECONDS),
        bar_seconds=float(timeframe.seconds),
        initial_cash=float(initial_cash),
        risk_free=risk_free / DAYS_PER_YEAR,
    )


def new_scratch(days: int, columns: int) -> Scratch:
    """Return working space."""
    daily = (np.empty(days), np.empty(days), np.empty(days), np.empty(days))
    return Scratch(*daily, np.empty(columns), np.empty(columns), np.empty(columns, dtype=np.int64))


@compiled
def measure(equity, state, log, facts, scratch, out):
    """Write every measure of MEASURED into `out`, NaN where it has no value."""
    n, initial = len(equity), facts.initial_cash
    growth = equity[n - 1] / initial
    out[INITIAL], out[FINAL], out[TOTAL], out[BARS] = initial, equity[n - 1], growth - 1, n
    out[ANNUAL] = annualized(growth, facts.years)
    days = len(facts.days)
    before = initial
    for i in range(days):
        row = facts.days[i]
        after = equity[row] if row >= 0 else initial
        scratch.returns[i] = 0.0 if before <= 0 else after / before - 1
        before = after
    risk(scratch.returns, facts.risk_free, scratch.one, out)
    under_water(equity, facts, out)
    months(equity, facts, out)
    activity(equity, state, log, facts.years, scratch.held, out)
    for place, alpha, beta in ((0, ALPHA, BETA), (1, ALPHA_EVEN, BETA_EVEN)):
        out[alpha], out[beta] = alpha_beta(facts.against[place], facts.risk_free, scratch)


@compiled
def annualized(growth, years):
    if growth <= 0:
        return -1.0
    exponent = math.log(growth) / years
    return math.expm1(exponent) if exponent < 700 else np.nan


@compiled
def mean_of(values, n):
    return pairwise_sum(values, 0, n) / n


@compiled
def spread_of(values, n, mean, space):
    """Return the standard deviation (ddof 1); 0 for fewer than two values or for equal ones."""
    equal = True
    for i in range(1, n):
        equal = equal and values[i] == values[0]
    if equal:
        return 0.0
    for i in range(n):
        space[i] = (values[i] - mean) * (values[i] - mean)
    return math.sqrt(pairwise_sum(space, 0, n) / (n - 1))


@compiled
def risk(returns, risk_free, space, out):
    n, year = len(returns), math.sqrt(DAYS_PER_YEAR)
    mean = mean_of(returns, n)
    spread = spread_of(returns, n, mean, space)
    out[VOLATILITY] = spread * year if n > 1 else np.nan
    out[SKEW], out[KURTOSIS] = shape(returns, mean, spread, space)
    out[VAR], out[CVAR] = tail(returns, space)
    moved, up = 0, 0
    for i in range(n):
        moved += returns[i] != 0
        up += returns[i] > 0
    out[HIT] = up / moved if moved else np.nan
    for i in range(n):
        returns[i] -= risk_free
    mean = mean_of(returns, n)
    spread = spread_of(returns, n, mean, space)
    out[SHARPE] = mean / spread * year if spread > 0 else np.nan
    for i in range(n):
        space[i] = min(returns[i], 0.0) * min(returns[i], 0.0)
    downside = math.sqrt(mean_of(space, n))
    out[SORTINO] = mean / downside * year if downside > 0 else np.nan


@compiled
def shape(returns, mean, spread, space):
    """Return (skewness G1, excess kurtosis G2)."""
    n = len(returns)
    if n < 3 or spread == 0:
        return np.nan, np.nan
    powers = np.empty(5)
    for power in range(2, 5):
        for i in range(n):
            off = returns[i] - mean
            space[i] = off**power
        powers[power] = mean_of(space, n)
    skew = powers[3] / powers[2] ** 1.5 * math.sqrt(n * (n - 1)) / (n - 2)
    if n < 4:
        return skew, np.nan
    g2 = powers[4] / powers[2] ** 2 - 3
    return skew, ((n + 1) * g2 + 6) * (n - 1) / ((n - 2) * (n - 3))


@compiled
def tail(returns, lowest):
    """Return (the 5 % quantile, interpolated; the mean of the returns at or below it)."""
    n = len(returns)
    place = TAIL * (n - 1)
    below = math.floor(place)
    room, filled = min(n, below + 2), 0
    for i in range(n):  # the `room` lowest, ascending
        value = returns[i]
        if filled < room:
            filled += 1
        elif value >= lowest[room - 1]:
            continue
        spot = filled - 1
        while spot > 0 and lowest[spot - 1] > value:
            lowest[spot] = lowest[spot - 1]
            spot -= 1
        lowest[spot] = value
    low, high, part = lowest[below], lowest[room - 1], place - below
    var = low + (high - low) * part if part < 0.5 else high - (high - low) * (1 - part)
    found = 0
    for i in range(n):
        if returns[i] <= var:
            lowest[found] = returns[i]
            found += 1
    return var, mean_of(lowest, found)


@compiled
def under_water(equity, facts, out):
    """Write the drawdown, its duration and the ratio to it."""
    peak, since, longest, below = facts.initial_cash, 0, 0, False
    worst, lowest = 0.0, np.inf
    for i in range(len(equity)):
        value = equity[i]
        if value >= peak:
            if below:  # one division for each time under water: the lowest value has the lowest ratio
                worst = min(worst, lowest / peak - 1)
                longest = max(longest, i + 1 - since)
            peak, since, below, lowest = value, i + 1, False, np.inf
        else:
            below = True
            lowest = min(lowest, value)
    if below:
        worst = min(worst, lowest / peak - 1)
        longest = max(longest, len(equity) - since)
    out[DRAWDOWN] = worst
    out[DURATION] = longest * facts.bar_seconds / DAY_SECONDS
    out[CALMAR] = out[ANNUAL] / -worst if worst < 0 else np.nan


@compiled
def months(equity, facts, out):
    before, best, worst = facts.initial_cash, -np.inf, np.inf
    for i in range(len(facts.months)):
        after = equity[facts.months[i]]
        change = 0.0 if before <= 0 else after / before - 1
        best, worst, before = max(best, change), min(worst, change), after
    out[BEST], out[WORST] = best, worst


@compiled
def activity(equity, state, log, years, held, out):
    """Write what the log tells; position changes are found by doing its fills again."""
    for column in range(len(held)):
        held[column] = 0.0
    trades, rejected, funded, logged = 0, 0, 0, state.counts[LOGGED]
    value, value_rest, fees, fees_rest, slips, slips_rest = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(logged):
        if log.outcome[i] != FILLED:
            rejected += 1
            continue
        reason = log.reason[i]
        if reason == FUNDING:
            funded += 1
            continue
        size, column = log.size[i], log.column[i]
        new = held[column] + size
        trades += new != held[column]
        held[column] = new
        value, value_rest = added(value, value_rest, abs(size) * log.price[i])
        if reason != LIQUIDATION:
            fees, fees_rest = added(fees, fees_rest, log.commission[i])
        slips, slips_rest = added(slips, slips_rest, log.slippage[i])
    mean = mean_of(equity, len(equity))
    out[TRADES], out[ORDERS], out[REJECTED] = trades, logged - funded, rejected
    out[TURNOVER] = (value + value_rest) / mean / years if mean > 0 else np.nan
    out[COMMISSION], out[SLIPPAGE] = fees + fees_rest, slips + slips_rest


@compiled
def added(total, rest, value):
    """Return (total + value, what rounding took from all so far): Neumaier's sum; metrics.py sums exactly."""
    new = total + value
    if abs(total) >= abs(value):
        return new, rest + ((total - new) + value)
    return new, rest + ((value - new) + total)


@compiled
def alpha_beta(against, risk_free, scratch):
    """Return (alpha per year, beta); `scratch.returns` holds the excess returns."""
    mine, other, space, n = scratch.one, scratch.two, scratch.three, 0
    for i in range(len(against)):
        if math.isfinite(against[i]) and math.isfinite(scratch.returns[i]):
            mine[n], other[n] = scratch.returns[i], against[i] - risk_free
            n += 1
    if n < 2:
        return np.nan, np.nan
    mean, mean_other = mean_of(mine, n), mean_of(other, n)
    if spread_of(other, n, mean_other, space) == 0:
        return np.nan, np.nan
    for i in range(n):
        space[i] = (mine[i] - mean) * (other[i] - mean_other)
    both = pairwise_sum(space, 0, n)
    for i in range(n):
        space[i] = (other[i] - mean_other) * (other[i] - mean_other)
    beta = both / pairwise_sum(space, 0, n)
    return (mean - beta * mean_other) * DAYS_PER_YEAR, beta
