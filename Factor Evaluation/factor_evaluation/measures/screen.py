"""The numbers of a factor for many horizons at once, without its curves: what a search over factors needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .evaluation import Floats, SeriesSummary
from .fused import cross_sections
from .orderkeys import Bools
from .quantiles import contrast, top_minus_bottom
from .ranked import factor_rows
from .series import series_numbers
from .significance import newey_west_lag, summarise
from .steps import mean_turnover, rank_autocorrelation

FEWEST_AT_ONCE = 4
SERIES_VALUES = 500_000
"""Horizons are measured together, so that the factor is read once for all, as long as their bar series stay small."""


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
    rows = factor_rows(factor, quantiles, wanted)
    keys = list(horizons)
    made: dict[str, ScreenedHorizon] = {}
    ends = top_minus_bottom(quantiles)
    at_once = max(FEWEST_AT_ONCE, SERIES_VALUES // max(1, len(factor) * (quantiles + 2)))
    for first in range(0, len(keys), at_once):
        group = keys[first : first + at_once]
        for key, series in zip(group, cross_sections(factor, rows, [labels[key] for key in group]), strict=True):
            bars = horizons[key]
            lag = newey_west_lag(bars)
            numbers = [series_numbers(series.quantile_return[:, q], lag) for q in range(quantiles)]
            made[key] = ScreenedHorizon(
                summarise(series.ic, bars, bootstrap=False),
                summarise(series.rank_ic, bars, bootstrap=False),
                summarise(contrast(series.quantile_return, ends), bars, bootstrap=False),
                np.array([row[1] for row in numbers]),
                np.array([row[3] for row in numbers]),
                mean_turnover(rows, bars),
            )
    return Screened(made, series_numbers(rank_autocorrelation(rows, 1), 0)[1])
