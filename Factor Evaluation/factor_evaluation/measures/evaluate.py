"""Evaluate one factor against its forward returns, in order.

1. `align`            which cells take part; drops counted by reason, a large loss refused
2. `cross_sections`   per bar and horizon: IC, rank IC, quantile returns (`over_time` with too few symbols)
3. `_horizon`         per horizon: summaries, spread, monotonicity, turnover, costs, compounding
4. `decay_of`         over horizons: half-life, the horizon that earns most net of cost
5. `_splits`          over time and regimes; `_groups` over sector groups
6. `coverage_of`, `distribution_of`   what the factor looks like
7. `notes_on`         what the reader has to know first
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from Backtest.errors import SettingsError, did_you_mean
from Backtest.settings import CoreSettings

from .aligned import Aligned, align
from .decay import decay_of
from .evaluation import Evaluation, Floats, HorizonResult, Split, SplitPart, Times
from .fused import BarSeries, cross_sections
from .notes import notes_on
from .permutation import permutation_p
from .quantiles import (
    alpha_beta,
    break_even_cost,
    compounded,
    contrast,
    factor_weighted_return,
    mean_of_bars,
    monotonicity,
    net_spread,
    top_minus_bottom,
    traded_share,
    trend_weights,
)
from .ranked import MIN_NAMES, factor_rows
from .shape import coverage_of, distribution_of
from .significance import newey_west_error, newey_west_lag, summarise
from .splits import TIME_SPLITS, regimes, split_by, stability
from .steps import mean_turnover, rank_autocorrelation
from .time_series import MIN_SYMBOLS, over_time, own_autocorrelation, own_contrast, own_quantiles, own_turnover

DAY = np.timedelta64(1, "D")
DAYS_PER_YEAR = 365
SPLITS = (*TIME_SPLITS, "regime")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Steps:
    """What `_horizon` needs besides the bar series: turnover and rank autocorrelation for a step of so many bars."""

    turnover: Callable[[int], Floats]
    autocorrelation: Callable[[int], Floats]
    contrast: Callable[[str, BarSeries, Floats], Floats]


def evaluate_factor(
    factor: Floats,
    timestamp: Times,
    symbols: tuple[str, ...],
    *,
    labels: Mapping[str, Floats],
    horizons: Mapping[str, int],
    name: str = "factor",
    bar_freq: str = "",
    quantiles: int = 5,
    cost: float | None = None,
    splits: Collection[str] = (),
    groups: Mapping[str, str] | None = None,
    tradable: NDArray[np.bool_] | None = None,
    alive: NDArray[np.bool_] | None = None,
    market: Floats | None = None,
    max_loss: float = CoreSettings.max_loss,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure `factor` [T, S] against every forward return.

    Parameters
    ----------
    factor, labels
        float64 [T, S] on the regular clock `timestamp`; `labels` and `horizons` (bars) have the same keys.
    quantiles
        Buckets of a cross-section, at least 2.
    cost
        Per unit of traded value, as a fraction; without it nothing is net.
    splits
        Any of ``month quarter year regime``; regimes need `market`.
    groups
        Symbol -> group; symbols without one are in none.
    tradable, alive, max_loss
        As in `align`.
    market
        [T] close of the market (BTC) on the same clock.
    progress
        Called with the key of each horizon once it is measured.

    Raises
    ------
    SettingsError
        An unknown split, too few quantiles, horizons without a label.
    DataError
        As in `align`.
    """
    _check(labels, horizons, quantiles, splits)
    wide = len(symbols) >= MIN_SYMBOLS
    data = align(
        factor, {key: labels[key] for key in horizons}, quantiles=quantiles, tradable=tradable, alive=alive,
        max_loss=max_loss, cross_section=wide, name=name,
    )  # fmt: skip
    series, steps = _across(data, horizons) if wide else _along(data, horizons, quantiles)
    per_day = _bars_per_day(timestamp)
    results: dict[str, HorizonResult] = {}
    for key, bars in horizons.items():
        results[key] = _horizon(key, bars, data, series[key], steps, cost, per_day)
        if progress:
            progress(key)
    first_steps = steps.autocorrelation(1)
    made, notes = _splits(splits, timestamp, results, market, per_day)
    return Evaluation(
        factor=name,
        bar_freq=bar_freq,
        timestamp=timestamp,
        symbols=tuple(symbols),
        kind="cross_section" if wide else "time_series",
        quantiles=quantiles,
        cost=cost,
        rows=max(data.pairs.values()),
        dropped=data.dropped,
        horizons=results,
        turnover=steps.turnover(1),
        rank_autocorrelation=float(mean_of_bars(first_steps)),
        rank_autocorrelation_by_bar=first_steps,
        decay=decay_of(results),
        splits=made,
        groups=_groups(groups, data, symbols, horizons, results) if groups and wide else None,
        coverage=coverage_of(data.factor, data.alive, timestamp, tuple(symbols)),
        distribution=distribution_of(data.factor, data.rows),
        notes=(*notes_on(data, symbols, results), *notes),
    )


def _check(labels: Mapping[str, Floats], horizons: Mapping[str, int], quantiles: int, splits: Collection[str]) -> None:
    if not 2 <= quantiles <= 100:
        raise SettingsError(f"{quantiles} quantiles; allowed are 2 to 100")
    if not horizons:
        raise SettingsError("no horizon is given")
    absent = [key for key in horizons if key not in labels]
    if absent:
        raise SettingsError(f"no forward return for horizon {absent[0]!r}; there are {', '.join(labels) or 'none'}")
    for split in splits:
        if split not in SPLITS:
            raise SettingsError(
                f"time split {split!r} is unknown; allowed are {', '.join(SPLITS)}{did_you_mean(split, SPLITS)}"
            )


def _bars_per_day(timestamp: Times) -> float:
    return float(DAY / (timestamp[1] - timestamp[0])) if len(timestamp) > 1 else 1.0


def _across(data: Aligned, horizons: Mapping[str, int]) -> tuple[dict[str, BarSeries], _Steps]:
    made = cross_sections(data.factor, data.rows, [data.labels[key] for key in horizons])
    steps = _Steps(
        turnover=lambda bars: mean_turnover(data.rows, bars),
        autocorrelation=lambda bars: rank_autocorrelation(data.rows, bars),
        contrast=lambda _, series, weights: contrast(series.quantile_return, weights),
    )
    return dict(zip(horizons, made, strict=True)), steps


def _along(data: Aligned, horizons: Mapping[str, int], quantiles: int) -> tuple[dict[str, BarSeries], _Steps]:
    buckets = own_quantiles(data.factor, quantiles)
    steps = _Steps(
        turnover=lambda bars: own_turnover(buckets, quantiles, bars),
        autocorrelation=lambda bars: own_autocorrelation(data.factor, bars),
        contrast=lambda key, _, weights: own_contrast(data.labels[key], buckets, weights),
    )
    return {key: over_time(data.factor, data.labels[key], buckets, quantiles) for key in horizons}, steps


def _horizon(
    key: str, bars: int, data: Aligned, series: BarSeries, steps: _Steps, cost: float | None, per_day: float
) -> HorizonResult:
    lag = newey_west_lag(bars)
    means = mean_of_bars(series.quantile_return)
    spread = steps.contrast(key, series, top_minus_bottom(means.size))
    spread_summary = summarise(spread, bars)
    turnover = steps.turnover(bars)
    wide = data.factor.shape[1] >= MIN_SYMBOLS
    # over time a quantile's bounds are known only at the end: nobody could have held it, or paid for it
    cost = cost if wide else None
    degree, degree_p = monotonicity(means, steps.contrast(key, series, trend_weights(means)), bars)
    rank_ic = summarise(series.rank_ic, bars)
    if wide:
        rank_ic = replace(rank_ic, permutation_p=permutation_p(data.factor, data.labels[key], bars))
    direction = -1.0 if spread_summary.mean < 0 else 1.0
    paid = math.nan if cost is None else cost * traded_share(turnover)
    weighted, universe = factor_weighted_return(data.factor, data.labels[key])
    alpha, beta = alpha_beta(weighted, universe, DAYS_PER_YEAR * per_day / bars) if wide else (math.nan, math.nan)
    return HorizonResult(
        key=key,
        bars=bars,
        rows=data.pairs[key],
        dropped=data.dropped_at(key),
        ic=series.ic,
        rank_ic=series.rank_ic,
        ic_summary=summarise(series.ic, bars),
        rank_ic_summary=rank_ic,
        quantile_return=series.quantile_return,
        quantile_mean=means,
        quantile_std_error=newey_west_error(series.quantile_return, lag),
        quantile_cumulative=compounded(series.quantile_return, bars),
        spread=spread,
        spread_summary=spread_summary,
        spread_cumulative=compounded(spread, bars),
        net_cumulative=_net(spread, direction, paid, bars),
        turnover=turnover,
        rank_autocorrelation=float(mean_of_bars(steps.autocorrelation(bars))),
        monotonicity=degree,
        monotonicity_p=degree_p,
        break_even_cost=break_even_cost(spread_summary.mean, turnover) if wide else math.nan,
        net_spread=net_spread(spread_summary.mean, turnover, cost),
        alpha=alpha,
        beta=beta,
    )


def _net(spread: Floats, direction: float, paid: float, bars: int) -> Floats:
    """Return the compounded spread in the direction that earns, less what every rebalance costs on average."""
    if math.isnan(paid):
        return np.full(len(spread), np.nan)
    return compounded(direction * spread - paid, bars)


def _splits(
    names: Collection[str],
    timestamp: Times,
    results: Mapping[str, HorizonResult],
    market: Floats | None,
    per_day: float,
) -> tuple[dict[str, Split], tuple[str, ...]]:
    made = {name: split_by(name, TIME_SPLITS[name](timestamp), results) for name in names if name in TIME_SPLITS}
    if "regime" not in names:
        return made, ()
    if market is None or not np.isfinite(market).any():
        return made, ("no close of the market was given: the split by regime is left out",)
    for name, labels in regimes(market, per_day).items():
        made[name] = split_by(name, labels, results)
    return made, ()


def _groups(
    groups: Mapping[str, str],
    data: Aligned,
    symbols: tuple[str, ...],
    horizons: Mapping[str, int],
    results: Mapping[str, HorizonResult],
) -> Split | None:
    """Return the measures within each group's own cross-sections; quantiles are of the group."""
    parts = []
    ends = top_minus_bottom(data.rows.members.shape[1])
    for label in sorted(set(groups.values())):
        columns = [place for place, symbol in enumerate(symbols) if groups.get(symbol) == label]
        if len(columns) < MIN_NAMES:
            continue
        factor = np.ascontiguousarray(data.factor[:, columns])
        rows = factor_rows(factor, data.rows.members.shape[1])
        labels = [np.ascontiguousarray(data.labels[key][:, columns]) for key in horizons]
        series = dict(zip(horizons, cross_sections(factor, rows, labels), strict=True))
        parts.append(
            SplitPart(
                label,
                int(rows.usable.sum()),
                {key: summarise(series[key].ic, bars, bootstrap=False) for key, bars in horizons.items()},
                {key: summarise(series[key].rank_ic, bars, bootstrap=False) for key, bars in horizons.items()},
                {key: float(mean_of_bars(contrast(series[key].quantile_return, ends))) for key in horizons},
            )
        )
    return Split("group", tuple(parts), stability(parts, results)) if parts else None
