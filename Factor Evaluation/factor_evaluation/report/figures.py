"""FIGURES: every chart of a factor's report, as a function of its Evaluation, in reading order.

A chart without any value is left out of the report, and the page says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..measures.evaluation import Evaluation, Floats, Split, Times
from ..measures.quantiles import compounded
from ..measures.ranked import MIN_NAMES
from ..measures.shape import OUTLIER_MADS
from ..measures.significance import errors_to_each_side, newey_west_lag
from ..measures.splits import REGIME_DAYS
from .chart import Chart, Heat, Series, cells, in_buckets, moments, number, numbers, ranks, thinned

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MOST_DAYS = 62
"""Days up to which the heat map shows day by hour: months would be one or two cells."""

FULL_CELL = 0.25
"""Share of the fullest cell's bars that a cell needs for a say in the colours: a mean of few bars is large by chance
and would leave all others pale."""

TIME = "UTC"

ADDS = "what a bar adds"
"""Over time a bar has no correlation of its own: its part of the symbols' correlations, whose mean is theirs."""

Places = NDArray[np.int64]
Cells = tuple[tuple[str, ...], tuple[str, ...], Places, Places]
"""Words of the rows and of the columns of a heat map, and each bar's row and column."""


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


def ic_by_month(evaluation: Evaluation) -> Chart:
    """Mean rank IC per month, or per day and hour where there are few days."""
    days = np.unique(evaluation.timestamp.astype("datetime64[D]")).size
    parts = _day_and_hour if days <= MOST_DAYS else _year_and_month
    rows, columns, row_of, column_of = parts(evaluation.timestamp)
    heats = []
    for key, result in evaluation.horizons.items():
        table, counts = _means(result.rank_ic, row_of, column_of, (len(rows), len(columns)))
        full = table[counts >= FULL_CELL * counts.max(initial=1)]
        extent = float(np.abs(full).max()) if full.size else 1.0
        heats.append(Heat(rows, columns, cells(table), horizon=key, span=(-extent, extent)))
    title = "Rank IC by day and hour" if parts is _day_and_hour else "Rank IC by month"
    words = {
        "cross_section": "Mean rank IC of the bars that open then",
        "time_series": "What the bars that open then add to the rank IC over time, their mean",
    }
    colours = "Blue is positive, red negative, white none."
    return Chart(
        title, f"{words[evaluation.kind]}. {colours}", TIME, "", axis="label", heats=tuple(heats), diverging=True
    )


def _year_and_month(stamps: Times) -> Cells:
    years = stamps.astype("datetime64[Y]").astype(np.int64) + 1970
    months = stamps.astype("datetime64[M]").astype(np.int64) % 12
    first, last = (int(years.min()), int(years.max())) if years.size else (1970, 1970)
    return tuple(str(year) for year in range(first, last + 1)), MONTHS, years - first, months


def _day_and_hour(stamps: Times) -> Cells:
    day_of = stamps.astype("datetime64[D]")
    days, row_of = np.unique(day_of, return_inverse=True)
    hour_of = (stamps - day_of).astype("timedelta64[h]").astype(np.int64)
    hours, column_of = np.unique(hour_of, return_inverse=True)
    words = tuple(f"{hour:02d} h" for hour in hours)
    return tuple(str(day) for day in days), words, row_of.astype(np.int64), column_of.astype(np.int64)


def _means(values: Floats, row_of: Places, column_of: Places, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return the mean of each cell and how many values it has."""
    known = np.isfinite(values)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (row_of[known], column_of[known]), values[known])
    np.add.at(counts, (row_of[known], column_of[known]), 1)
    sums[counts == 0] = np.nan
    return sums / np.maximum(counts, 1), counts


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


def split_chart(split: Split, name: str, what: str = "Mean rank IC of each part") -> Chart:
    """Return the rank IC of each part of a split, with the interval that its t leaves."""
    series = []
    labels = tuple(part.label for part in split.parts)
    keys = dict.fromkeys(key for part in split.parts for key in part.rank_ic)
    for key in keys:
        summaries = [part.rank_ic[key] for part in split.parts]
        means = np.array([summary.mean for summary in summaries])
        with np.errstate(divide="ignore", invalid="ignore"):
            errors = means / np.array([summary.t_newey_west for summary in summaries])
        half = errors * [errors_to_each_side(summary.count, summary.lag) for summary in summaries]
        low, high = numbers(means - half), numbers(means + half)
        series.append(Series("rank IC", labels, numbers(means), "bars", low=low, high=high, horizon=key))
    stable = ", ".join(f"{key}: {100 * share:.0f} %" for key, share in split.stability.items() if np.isfinite(share))
    words = f" Parts with the sign of the whole, by horizon: {stable}." if stable else ""
    return Chart(
        f"Rank IC by {name}", f"{what}; the whiskers are 95 % intervals (Newey-West); a part shorter than "
        f"a horizon has none.{words}",
        "", "rank IC", "label", series=tuple(series),
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

WITHIN = f"Mean rank IC across the symbols of each group of the symbols table that has {MIN_NAMES} or more"

PARTS = {
    "volatility": "Mean rank IC in each third of the bars by the benchmark's volatility over the last "
    f"{REGIME_DAYS} days",
    "trend": f"Mean rank IC where the benchmark rose or fell over the last {REGIME_DAYS} days",
}
"""What a regime is."""

ONLY_ACROSS = ("quantile_cumulative", "spread", "net_per_bar")
"""Charts of portfolios: over time a quantile's bounds are known only at the end, so nobody could have held one."""


def charts_of(evaluation: Evaluation) -> dict[str, Chart]:
    """Return every chart of a factor's report that has a value, splits and groups last."""
    charts = {name: draw(evaluation) for name, draw in FIGURES.items()}
    for name, split in evaluation.splits.items():
        charts[f"split_{name}"] = split_chart(split, name, PARTS.get(name, "Mean rank IC of each part"))
    if evaluation.groups is not None:
        charts["groups"] = split_chart(evaluation.groups, evaluation.groups.name, WITHIN)
    left_out = () if evaluation.kind == "cross_section" else ONLY_ACROSS
    return {name: chart for name, chart in charts.items() if not chart.empty and name not in left_out}
