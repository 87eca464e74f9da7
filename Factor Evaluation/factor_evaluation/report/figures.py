"""FIGURES: every chart of a factor's report, as a function of its Evaluation, in reading order.

A chart without any value is left out of the report, and the page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..measures.evaluation import Evaluation
from ..measures.quantiles import compounded
from ..measures.shape import OUTLIER_MADS
from ..measures.significance import errors_to_each_side, newey_west_lag
from .chart import TIME, Chart, Heat, Series, cells, in_buckets, moments, number, numbers, ranks, thinned
from .month_figure import ic_by_month
from .split_figures import split_charts

ADDS = "what a bar adds"
"""Over time a bar has no correlation of its own: its part of the symbols' correlations, whose mean is theirs."""


def ic_series(evaluation: Evaluation) -> Chart:
    """Rank IC over time."""
    series, size = [], 1
    for key, result in evaluation.horizons.items():
        stamps, means, size = in_buckets(evaluation.timestamp, result.rank_ic)
        series.append(Series("rank IC", moments(stamps), numbers(means), "bars", horizon=key))
        mean = number(result.rank_ic_summary.mean)
        if len(stamps) and mean is not None:
            ends = moments(stamps[[0, -1]])
            series.append(
                Series(f"mean {mean:.4f}".replace("-", "−"), ends, (mean, mean), "line", horizon=key, dashed=True)
            )
    each = "each bar" if size == 1 else f"means of {size:,} bars"
    what = {
        "cross_section": "Correlation, across symbols, of the factor's ranks with the return's",
        "time_series": "What a bar adds to the correlation, over time, of the factor's ranks with the return's",
    }
    unit = {"cross_section": "rank IC", "time_series": ADDS}
    return Chart(
        "Rank IC over time",
        f"{what[evaluation.kind]}; {each}. A factor that is worth something stays "
        "on one side of zero most of the time.",
        TIME, unit[evaluation.kind], series=tuple(series),
    )  # fmt: skip


def cumulative_ic(evaluation: Evaluation) -> Chart:
    """Sum of the rank ICs so far."""
    series = []
    shades = ranks(len(evaluation.horizons))
    kept = thinned(len(evaluation.timestamp))
    for (key, result), shade in zip(evaluation.horizons.items(), shades, strict=True):
        sums = np.cumsum(np.nan_to_num(result.rank_ic))
        known = np.isfinite(result.rank_ic).any()
        values = numbers(sums[kept]) if known else (None,) * len(kept)
        series.append(Series(key, moments(evaluation.timestamp[kept]), values, rank=shade))
    return Chart(
        "Cumulative rank IC",
        "Sum of the bars' rank ICs, one line per horizon. A straight slope is a steady factor; a bend is where it "
        "stopped working. Longer horizons overlap, so their lines are smoother than their evidence is.",
        TIME, "sum of rank IC", series=tuple(series),
    )  # fmt: skip


def quantile_bars(evaluation: Evaluation) -> Chart:
    """Mean forward return of each quantile with its interval."""
    series = []
    names = quantile_names(evaluation.quantiles)
    of_what = "a bar's symbols" if evaluation.kind == "cross_section" else "a symbol's own history"
    for key, result in evaluation.horizons.items():
        held, lag = np.isfinite(result.quantile_return).sum(axis=0), newey_west_lag(result.bars)
        half = result.quantile_std_error * [errors_to_each_side(int(bars), lag) for bars in held]
        low, high = numbers(result.quantile_mean - half), numbers(result.quantile_mean + half)
        series.append(
            Series("mean return", names, numbers(result.quantile_mean), "bars", low=low, high=high, horizon=key)
        )
    return Chart(
        "Mean return by quantile",
        f"Mean forward return over one horizon of each quantile of {of_what}, lowest factor values first; the whiskers "
        "are 95 % intervals (Newey-West). Stairs in one direction are what to hope for.",
        "quantile", "return per period", "label", "fraction", tuple(series),
    )  # fmt: skip


def quantile_names(count: int) -> tuple[str, ...]:
    """Return the quantiles' words, lowest first."""
    return tuple(
        "Q1 (lowest)" if place == 1 else f"Q{place} (highest)" if place == count else f"Q{place}"
        for place in range(1, count + 1)
    )


def quantile_cumulative(evaluation: Evaluation) -> Chart:
    """Compounded return of holding each quantile."""
    series = []
    kept = thinned(len(evaluation.timestamp))
    stamps = moments(evaluation.timestamp[kept])
    names, shades = quantile_names(evaluation.quantiles), ranks(evaluation.quantiles)
    for key, result in evaluation.horizons.items():
        for place, (name, shade) in enumerate(zip(names, shades, strict=True)):
            values = numbers(result.quantile_cumulative[kept, place])
            series.append(Series(name, stamps, values, horizon=key, rank=shade))
    return Chart(
        "Cumulative return by quantile",
        "Compounded return of each quantile, equal-weighted, rebalanced every horizon, before cost.",
        TIME, "return", unit="fraction", series=tuple(series),
    )  # fmt: skip


def spread(evaluation: Evaluation) -> Chart:
    """Compounded spread in the direction that earned, before and after cost."""
    series = []
    kept = thinned(len(evaluation.timestamp))
    stamps = moments(evaluation.timestamp[kept])
    for key, result in evaluation.horizons.items():
        way = "highest minus lowest"
        gross = result.spread_cumulative
        if result.spread_summary.mean < 0:
            way, gross = "lowest minus highest", compounded(-result.spread, result.bars)
        series.append(Series(f"{way}, before cost", stamps, numbers(gross[kept]), horizon=key))
        if evaluation.cost is not None:
            name = f"after cost of {100 * evaluation.cost:.6g} %"
            series.append(Series(name, stamps, numbers(result.net_cumulative[kept]), horizon=key, dashed=True))
    net = (
        "Give --cost to see it net of cost." if evaluation.cost is None
        else "The dashed line pays the cost for every unit of value that is traded."
    )  # fmt: skip
    return Chart(
        "Spread between highest and lowest quantile",
        "Compounded return of one end minus that of the other, rebalanced every horizon, in the direction that earned "
        f"over the whole time (known only afterwards). {net}",
        TIME, "return", unit="fraction", series=tuple(series),
    )  # fmt: skip


def decay(evaluation: Evaluation) -> Chart:
    """Rank IC over horizons with intervals."""
    ordered = sorted(evaluation.horizons.values(), key=lambda result: result.bars)
    summaries = [result.rank_ic_summary for result in ordered]
    bars = tuple(result.bars for result in ordered)
    low = numbers(summary.interval[0] for summary in summaries)
    high = numbers(summary.interval[1] for summary in summaries)
    curve = Series("rank IC", bars, numbers(summary.mean for summary in summaries), "points", low=low, high=high)
    half_life = number(evaluation.decay.half_life)
    found = "" if half_life is None else f" It halves within {half_life:.4g} bars of its largest value."
    return Chart(
        "Decay: rank IC over horizons",
        f"Mean rank IC at each horizon with its 95 % interval (block bootstrap).{found}",
        "horizon, bars", "rank IC", "log" if bars and bars[-1] > 20 * bars[0] else "number", series=(curve,),
    )  # fmt: skip


def net_per_bar(evaluation: Evaluation) -> Chart:
    """Net spread per bar over horizons."""
    ordered = evaluation.decay
    values = numbers(ordered.net_spread_per_bar)
    best = f" The largest is at {ordered.best_horizon}." if ordered.best_horizon else " None earns its cost."
    return Chart(
        "Net spread per bar over rebalance horizons",
        f"Mean spread less cost, divided by the horizon: the horizon to rebalance at is the highest point.{best}",
        "horizon, bars", "return per bar", "label", "fraction",
        (Series("net spread per bar", tuple(str(bars) for bars in ordered.horizon), values, "bars"),),
    )  # fmt: skip


def turnover(evaluation: Evaluation) -> Chart:
    """Share of each quantile that is replaced per rebalance."""
    names = quantile_names(evaluation.quantiles)
    series = tuple(
        Series("turnover", names, numbers(result.turnover), "bars", horizon=key)
        for key, result in evaluation.horizons.items()
    )
    words = {
        "cross_section": "Share of a quantile's names that are no longer in it one horizon later: what is traded costs",
        "time_series": "Share of a quantile's bars one horizon after which the symbol is no longer in it",
    }
    title, caption = "Turnover by quantile", f"{words[evaluation.kind]}."
    return Chart(title, caption, "quantile", "share per period", "label", "fraction", series)


def autocorrelation(evaluation: Evaluation) -> Chart:
    """How long the ranking lasts."""
    ordered = sorted(evaluation.horizons.values(), key=lambda result: result.bars)
    points: dict[int, float] = {1: evaluation.rank_autocorrelation}
    points |= {result.bars: result.rank_autocorrelation for result in ordered}
    lags = sorted(points)
    curve = Series("rank autocorrelation", tuple(lags), numbers(points[lag] for lag in lags), "points")
    return Chart(
        "Rank autocorrelation over lags",
        "Mean correlation of the factor's ranks with its own ranks later: near 1 the ranking lasts and trades little.",
        "lag, bars", "correlation", "log" if lags[-1] > 20 else "number", series=(curve,),
    )  # fmt: skip


def autocorrelation_over_time(evaluation: Evaluation) -> Chart:
    """Rank autocorrelation from bar to bar."""
    stamps, means, size = in_buckets(evaluation.timestamp, evaluation.rank_autocorrelation_by_bar)
    each = "each bar" if size == 1 else f"means of {size:,} bars"
    what = {
        "cross_section": "Correlation of the factor's ranks with those of the bar before",
        "time_series": "What a bar adds to the correlation of the factor's ranks with those of the bar before",
    }
    return Chart(
        "Rank autocorrelation over time",
        f"{what[evaluation.kind]}; {each}.",
        TIME, "correlation" if evaluation.kind == "cross_section" else ADDS,
        series=(Series("rank autocorrelation", moments(stamps), numbers(means)),),
    )  # fmt: skip


def distribution(evaluation: Evaluation) -> Chart:
    """Histogram of the factor's values."""
    shape = evaluation.distribution
    middles = (shape.edges[:-1] + shape.edges[1:]) / 2
    counts = tuple(int(count) for count in shape.counts)
    share = shape.outliers / shape.count if shape.count else 0.0
    return Chart(
        "Distribution of the factor",
        f"{shape.count:,} values, {shape.distinct:,} of them distinct; outliers (over {OUTLIER_MADS:g} robust "
        f"deviations from the median): {shape.outliers:,} ({100 * share:.2g} %). The outermost bars hold everything "
        "beyond them.",
        "factor value", "values", "number", series=(Series("values", numbers(middles), counts, "bars"),),
    )  # fmt: skip


def coverage(evaluation: Evaluation) -> Chart:
    """Share of the symbols with a value, over time."""
    stamps, means, size = in_buckets(evaluation.timestamp, evaluation.coverage.by_bar)
    each = "each bar" if size == 1 else f"means of {size:,} bars"
    return Chart(
        "Coverage over time",
        f"Share of the symbols alive at a bar that have a factor value; {each}.",
        TIME, "share", unit="fraction", series=(Series("coverage", moments(stamps), numbers(means)),), span=(0.0, 1.05),
    )  # fmt: skip


def coverage_by_month(evaluation: Evaluation) -> Chart:
    """Share of each symbol's bars with a value, per month."""
    found = evaluation.coverage
    symbols = tuple(found.by_symbol)
    heat = Heat(symbols, found.months, cells(found.by_month.T))
    return Chart(
        "Coverage by symbol and month",
        "Share of a symbol's own bars that have a factor value; grey where the symbol has no bars.",
        TIME, "", "label", "fraction", heats=(heat,), span=(0.0, 1.0),
    )  # fmt: skip


FIGURES: Mapping[str, Callable[[Evaluation], Chart]] = {
    "ic_series": ic_series,
    "cumulative_ic": cumulative_ic,
    "ic_by_month": ic_by_month,
    "decay": decay,
    "quantile_bars": quantile_bars,
    "quantile_cumulative": quantile_cumulative,
    "spread": spread,
    "net_per_bar": net_per_bar,
    "turnover": turnover,
    "autocorrelation": autocorrelation,
    "autocorrelation_over_time": autocorrelation_over_time,
    "distribution": distribution,
    "coverage": coverage,
    "coverage_by_month": coverage_by_month,
}
"""Name (key of ``figures`` in evaluation.json, and of the picture) -> chart."""

ONLY_ACROSS = ("quantile_cumulative", "spread", "net_per_bar")
"""Charts of portfolios: over time a quantile's bounds are known only at the end, so nobody could have held one."""


def charts_of(evaluation: Evaluation) -> dict[str, Chart]:
    """Return every chart of a factor's report that has a value, splits and groups last."""
    charts = {name: draw(evaluation) for name, draw in FIGURES.items()}
    charts |= split_charts(evaluation)
    left_out = () if evaluation.kind == "cross_section" else ONLY_ACROSS
    return {name: chart for name, chart in charts.items() if not chart.empty and name not in left_out}
