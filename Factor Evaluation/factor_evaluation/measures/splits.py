"""The same measures on parts of the time: months, quarters, years, and regimes of the market."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .evaluation import Floats, HorizonResult, SeriesSummary, Split, SplitPart, Times
from .quantiles import mean_of_bars
from .significance import summarise

Labels = NDArray[np.str_]

REGIME_DAYS = 30
"""Days behind a bar that tell its regime: short enough to follow one, long enough for a volatility on daily bars."""

OUTSIDE = ""
"""Bars that belong to no part: too early for a regime."""


def months(timestamp: Times) -> Labels:
    """Return ``2024-03`` per bar."""
    return np.asarray(np.datetime_as_string(timestamp, unit="M"))


def quarters(timestamp: Times) -> Labels:
    """Return ``2024-Q1`` per bar."""
    month = timestamp.astype("datetime64[M]").astype(np.int64)
    return np.array([f"{1970 + m // 12}-Q{m % 12 // 3 + 1}" for m in month.tolist()], dtype=np.str_)


def years(timestamp: Times) -> Labels:
    """Return ``2024`` per bar."""
    return np.asarray(np.datetime_as_string(timestamp, unit="Y"))


TIME_SPLITS: Mapping[str, Callable[[Times], Labels]] = {"month": months, "quarter": quarters, "year": years}


def regimes(market: Floats, bars_per_day: float) -> dict[str, Labels]:
    """Return the regimes of a market close [T]: ``volatility`` (terciles) and ``trend`` (sign of the return).

    Both look back `REGIME_DAYS` days from the bar's close, never ahead; at least half of those bars must have a return.
    Terciles are of the bars evaluated. Bars without a value belong to no part.
    """
    window = max(2, round(REGIME_DAYS * bars_per_day))
    change = np.full(len(market), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        change[1:] = np.diff(np.log(market))
    volatility, trend = _trailing(change, window)
    low, high = np.nanquantile(volatility, (1 / 3, 2 / 3)) if np.isfinite(volatility).any() else (np.nan, np.nan)
    heights = [volatility <= low, volatility <= high, volatility > high]
    return {
        "volatility": np.select(heights, ["low", "middle", "high"], OUTSIDE),
        "trend": np.select([trend > 0, trend <= 0], ["up", "down"], OUTSIDE),
    }


def _trailing(change: Floats, window: int) -> tuple[Floats, Floats]:
    """Return the root mean square and the sum of the last `window` changes."""
    valid = np.isfinite(change)
    held = np.where(valid, change, 0.0)
    count, total, squares = (
        run[window:] - run[:-window]
        for run in (np.concatenate([np.zeros(window), np.cumsum(row)]) for row in (valid, held, held * held))
    )
    enough = count >= window / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(enough, np.sqrt(squares / count), np.nan), np.where(enough, total, np.nan)


def split_by(name: str, labels: Labels, horizons: Mapping[str, HorizonResult]) -> Split:
    """Return the measures of every part of `labels` [T], parts in the order of their names (regimes: low to high)."""
    present = [str(label) for label in np.unique(labels) if label != OUTSIDE]
    order = {"low": 0, "middle": 1, "high": 2}
    parts = tuple(
        _part(label, labels == label, horizons) for label in sorted(present, key=lambda x: (order.get(x, 9), x))
    )
    return Split(name, parts, stability(parts, horizons))


def _part(label: str, here: NDArray[np.bool_], horizons: Mapping[str, HorizonResult]) -> SplitPart:
    first, last = int(np.argmax(here)), len(here) - int(np.argmax(here[::-1]))
    inside = here[first:last]

    def summary(values: Floats, bars: int) -> SeriesSummary:
        # the clock stays: bars of the part remain as far apart as they are
        return summarise(np.where(inside, values[first:last], np.nan), bars, bootstrap=False)

    return SplitPart(
        label,
        int(here.sum()),
        {key: summary(result.ic, result.bars) for key, result in horizons.items()},
        {key: summary(result.rank_ic, result.bars) for key, result in horizons.items()},
        {key: float(mean_of_bars(result.spread[here])) for key, result in horizons.items()},
    )


def stability(parts: Sequence[SplitPart], horizons: Mapping[str, HorizonResult]) -> dict[str, float]:
    """Return per horizon the share of the parts with a rank IC whose mean has the sign of the whole."""
    scores: dict[str, float] = {}
    for key, result in horizons.items():
        means = np.array([part.rank_ic[key].mean for part in parts])
        means = means[np.isfinite(means)]
        whole = np.sign(result.rank_ic_summary.mean)
        scores[key] = float((np.sign(means) == whole).mean()) if means.size and np.isfinite(whole) else float("nan")
    return scores
