"""The numbers of a factor for many horizons at once, without its curves: what a search over factors needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .blocks import Bools
from .evaluation import Floats, SeriesSummary
from .fused import BarSeries, measure
from .quantiles import contrast, top_minus_bottom
from .ranked import FactorRows, Memberships, chunk_rows, factor_rows
from .series import series_numbers
from .significance import newey_west_lag, summarise
from .steps import mean_turnover, rank_autocorrelation

SERIES_VALUES = 5_000_000
"""Horizons are measured together, so that the factor is read once for all, as long as their bar series fit (40 MB)."""

CHUNKS_AT_ONCE = 3
"""Chunks ranked before they are measured: where one round does for all horizons, never are all the ranks there."""


@dataclass(frozen=True)
class ScreenedHorizon:
    """One horizon in numbers; fields as in `HorizonResult`."""

    ic: SeriesSummary
    rank_ic: SeriesSummary
    spread: SeriesSummary
    quantile_mean: Floats
    quantile_std_error: Floats
    turnover: Floats


@dataclass(frozen=True)
class Screened:
    """A factor in numbers: by horizon key, and the mean rank autocorrelation from one bar to the next."""

    horizons: Mapping[str, ScreenedHorizon]
    rank_autocorrelation: float


def screen_factor(
    factor: Floats,
    labels: Mapping[str, Floats],
    horizons: Mapping[str, int],
    *,
    quantiles: int = 5,
    wanted: Bools | None = None,
) -> Screened:
    """Return IC, rank IC, spread, quantile means and turnover of every horizon, as `evaluate_factor` has them.

    Parameters
    ----------
    factor, labels
        float64 [T, S]; missing and infinite values take no part.
    horizons
        Key -> bars; the keys are those of `labels`.
    wanted
        bool [T, S]: the population; all when None.
    """
    keys = list(horizons)
    at_once = max(1, SERIES_VALUES // max(1, len(factor) * (quantiles + 2)))
    steps = _Steps.room(factor, quantiles)
    parts: Iterable[tuple[slice, FactorRows]] = _ranked(factor, quantiles, wanted, steps)
    if at_once < len(keys):
        parts = list(parts)
    room = [BarSeries.room(len(factor), quantiles) for _ in keys[:at_once]]
    numbers: dict[str, ScreenedHorizon] = {}
    for first in range(0, len(keys), at_once):
        group = keys[first : first + at_once]
        made = room[: len(group)]
        for here, rows in parts:
            measure(factor[here], rows, [labels[key][here] for key in group], [series.part(here) for series in made])
        numbers |= {
            key: _numbers(series, steps.memberships, horizons[key]) for key, series in zip(group, made, strict=True)
        }
    return Screened(numbers, series_numbers(steps.autocorrelation, 0)[1])


@dataclass(frozen=True)
class _Steps:
    """What is left of the ranks: enough for what changes from bar to bar."""

    memberships: Memberships
    autocorrelation: Floats

    @classmethod
    def room(cls, factor: Floats, quantiles: int) -> _Steps:
        bars, columns = factor.shape
        members = np.empty((bars, quantiles, (columns + 63) // 64), np.uint64)
        return cls(Memberships(members, np.empty(bars, np.bool_)), np.full(bars, np.nan))


def _ranked(factor: Floats, quantiles: int, wanted: Bools | None, steps: _Steps) -> Iterator[tuple[slice, FactorRows]]:
    """Rank some chunks after the other and write what is left of them."""
    bars, columns = factor.shape
    span = CHUNKS_AT_ONCE * chunk_rows(columns)
    for first in range(0, max(bars - 1, 1), span - 1):
        # the bar before is ranked, and measured to the same numbers, once more: ranks are correlated with it
        here = slice(first, min(first + span, bars))
        rows = factor_rows(factor[here], quantiles, None if wanted is None else wanted[here])
        steps.memberships.members[here], steps.memberships.usable[here] = rows.members, rows.usable
        steps.autocorrelation[here.start + 1 : here.stop] = rank_autocorrelation(rows, 1)[1:]
        yield here, replace(rows, members=steps.memberships.members[here])


def _numbers(series: BarSeries, memberships: Memberships, bars: int) -> ScreenedHorizon:
    returns = series.quantile_return
    quantiles = returns.shape[1]
    lag = newey_west_lag(bars)
    each = [series_numbers(returns[:, q], lag) for q in range(quantiles)]
    return ScreenedHorizon(
        summarise(series.ic, bars, bootstrap=False),
        summarise(series.rank_ic, bars, bootstrap=False),
        summarise(contrast(returns, top_minus_bottom(quantiles)), bars, bootstrap=False),
        np.array([row[1] for row in each]),
        np.array([row[3] for row in each]),
        mean_turnover(memberships, bars),
    )
