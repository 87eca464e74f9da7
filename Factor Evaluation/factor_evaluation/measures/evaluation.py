"""What an evaluation is: frozen tables of numbers, made by `evaluate_factor`, read by the report and `to_json`.

A number without a value is NaN here and null in JSON. Arrays over time have one row per bar of the evaluation's
`timestamp`, whether or not the bar has a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
Kind = Literal["cross_section", "time_series"]


@dataclass(frozen=True)
class SeriesSummary:
    """A series of one value per bar (IC, rank IC, spread) in numbers; MEASURES says how each is computed.

    `interval` is the bootstrap interval of the mean at `CONFIDENCE` (of the whole only, not of a split's parts);
    `lag` is the one of Newey and West; `permutation_p` has a value for the rank IC of small cross-sections only.
    """

    count: int
    mean: float
    std: float
    icir: float
    t_newey_west: float
    p_value: float
    hit_rate: float
    lag: int
    interval: tuple[float, float] = (np.nan, np.nan)
    permutation_p: float = np.nan


@dataclass(frozen=True)
class HorizonResult:
    """Everything measured against the forward return of one horizon.

    Attributes
    ----------
    key, bars
        The horizon as the user typed it, and in bars.
    rows
        (bar, symbol) pairs with a factor and a forward return.
    dropped
        Pairs with a factor that do not take part, by reason.
    ic, rank_ic
        [T] per bar: Pearson and Spearman across symbols; for ``time_series`` the bar's contribution to the mean
        over symbols of the correlation over time (their mean is the IC).
    quantile_return
        [T, Q] equal-weighted mean forward return of each quantile, lowest first.
    quantile_mean, quantile_std_error
        [Q] mean over bars and its Newey-West standard error.
    quantile_cumulative
        [T, Q] compounded return - 1 of rebalancing into the quantile every `bars` bars; known at each rebalance, held
        flat in between.
    spread
        [T] top minus bottom quantile.
    spread_cumulative, net_cumulative
        [T] compounded spread - 1, before and after `cost` (NaN throughout without a cost).
    turnover
        [Q] mean share of the quantile's names that are not in it `bars` bars later.
    rank_autocorrelation
        Mean correlation of the factor's ranks `bars` bars apart.
    monotonicity, monotonicity_p
        Rank correlation of quantile number and its mean return (sign and degree), and the p-value of the test.
    break_even_cost
        Cost per unit of traded value at which the spread earns nothing; NaN for ``time_series``: nobody could hold it.
    net_spread
        Mean spread in the direction that earns, less cost per rebalance; NaN without a cost and for ``time_series``.
    alpha, beta
        Annualised alpha and beta of the factor-weighted portfolio against the equal-weighted universe.
    """

    key: str
    bars: int
    rows: int
    dropped: Mapping[str, int]
    ic: Floats
    rank_ic: Floats
    ic_summary: SeriesSummary
    rank_ic_summary: SeriesSummary
    quantile_return: Floats
    quantile_mean: Floats
    quantile_std_error: Floats
    quantile_cumulative: Floats
    spread: Floats
    spread_summary: SeriesSummary
    spread_cumulative: Floats
    net_cumulative: Floats
    turnover: Floats
    rank_autocorrelation: float
    monotonicity: float
    monotonicity_p: float
    break_even_cost: float
    net_spread: float
    alpha: float = np.nan
    beta: float = np.nan


@dataclass(frozen=True)
class Decay:
    """Rank IC over horizons (in bars, ascending).

    `half_life`: bars from the largest |rank IC| until it is half of that, interpolated; NaN when it never is.
    `best_horizon`: key of the horizon whose net spread per bar is largest; empty without a cost or when none earns.
    """

    horizon: tuple[int, ...]
    rank_ic: tuple[float, ...]
    net_spread_per_bar: tuple[float, ...]
    half_life: float
    best_horizon: str


@dataclass(frozen=True)
class SplitPart:
    """One part of a split (a month, a regime, a sector group): horizon key -> its summaries."""

    label: str
    bars: int
    ic: Mapping[str, SeriesSummary]
    rank_ic: Mapping[str, SeriesSummary]
    spread_mean: Mapping[str, float]


@dataclass(frozen=True)
class Split:
    """A division of the bars (or of the symbols, for groups) and how stable the rank IC is over it.

    `stability`: horizon key -> share of the parts whose mean rank IC has the sign of the whole.
    """

    name: str
    parts: tuple[SplitPart, ...]
    stability: Mapping[str, float]


@dataclass(frozen=True)
class Coverage:
    """Where the factor has values.

    `by_bar` [T] is the share of the symbols alive at the bar (NaN where none is); `by_symbol` the share of a symbol's
    own bars; `by_month` the same share per (month, symbol) with `months` as ``YYYY-MM``; `missing_by_month` counts.
    """

    by_bar: Floats
    by_symbol: Mapping[str, float]
    months: tuple[str, ...]
    by_month: Floats
    missing_by_month: tuple[int, ...]


@dataclass(frozen=True)
class Distribution:
    """The factor's values over all bars and symbols.

    `outliers` are values further than `OUTLIER_MADS` scaled median absolute deviations from the median;
    `edges` [B + 1] and `counts` [B] are a histogram between the 0.5 % and 99.5 % quantiles, values beyond in its ends.
    """

    count: int
    mean: float
    std: float
    skewness: float
    kurtosis_excess: float
    quantiles: Mapping[str, float]
    outliers: int
    zeros: int
    distinct: int
    constant_bars: int
    edges: Floats
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """One factor against the forward returns of all its horizons.

    `kind` is ``time_series`` when there are too few symbols for a cross-section (`notes` says so); `turnover` and
    `rank_autocorrelation` are from one bar to the next, those of a horizon stand in it; `splits` is keyed by the
    split's name (``month``, ``volatility``, ``trend``, ...) and `groups` is None without a symbols table.
    """

    factor: str
    bar_freq: str
    timestamp: Times
    symbols: tuple[str, ...]
    kind: Kind
    quantiles: int
    cost: float | None
    rows: int
    dropped: Mapping[str, int]
    horizons: Mapping[str, HorizonResult]
    turnover: Floats
    rank_autocorrelation: float
    rank_autocorrelation_by_bar: Floats
    decay: Decay
    splits: Mapping[str, Split]
    groups: Split | None
    coverage: Coverage
    distribution: Distribution
    notes: tuple[str, ...] = field(default=())

    @property
    def start(self) -> np.datetime64 | None:
        """Open time of the first bar; None when there is none."""
        return self.timestamp[0] if self.timestamp.size else None

    @property
    def end(self) -> np.datetime64 | None:
        """Open time of the last bar; None when there is none."""
        return self.timestamp[-1] if self.timestamp.size else None
