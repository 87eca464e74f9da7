"""The rank IC of the parts of a split: of the time, of the market's regimes, of groups of symbols."""

from __future__ import annotations

import numpy as np

from ..measures.evaluation import Evaluation, Split
from ..measures.ranked import MIN_NAMES
from ..measures.significance import errors_to_each_side
from ..measures.splits import REGIME_DAYS
from .chart import Chart, Series, numbers

WITHIN = f"Mean rank IC across the symbols of each group of the symbols table that has {MIN_NAMES} or more"

PARTS = {
    "volatility": "Mean rank IC in each third of the bars by the benchmark's volatility over the last "
    f"{REGIME_DAYS} days",
    "trend": f"Mean rank IC where the benchmark rose or fell over the last {REGIME_DAYS} days",
}
"""What a regime is."""


def split_charts(evaluation: Evaluation) -> dict[str, Chart]:
    """Return a chart of every split, groups last."""
    charts = {
        f"split_{name}": split_chart(split, name, PARTS.get(name, "Mean rank IC of each part"))
        for name, split in evaluation.splits.items()
    }
    if evaluation.groups is not None:
        charts["groups"] = split_chart(evaluation.groups, evaluation.groups.name, WITHIN)
    return charts


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
