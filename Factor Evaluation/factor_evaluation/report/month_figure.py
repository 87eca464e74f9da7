"""The heat map of the rank IC: year by month, or day by hour where there are few days."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..measures.evaluation import Evaluation, Floats, Times
from .chart import TIME, Chart, Heat, cells

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MOST_DAYS = 62
"""Days up to which the heat map shows day by hour: months would be one or two cells."""

FULL_CELL = 0.25
"""Share of the fullest cell's bars that a cell needs for a say in the colours: a mean of few bars is large by chance
and would leave all others pale."""

Places = NDArray[np.int64]
Cells = tuple[tuple[str, ...], tuple[str, ...], Places, Places]
"""Words of the rows and of the columns of a heat map, and each bar's row and column."""


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
