"""A chart as data: what the page, the pictures and the machine-readable twin are all made from.

A `Chart` holds numbers and words and knows no drawing library; `page.py` draws it with plotly, `pictures.py` with
Matplotlib, and `Chart.twin` is the JSON in ``evaluation.json["figures"]``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..measures.evaluation import Floats, Times

Number = float | None
Mark = Literal["line", "bars", "points"]
Axis = Literal["time", "number", "log", "label"]

TIME = "UTC"
"""Words at an axis of time."""

DIGITS = 7
"""Significant digits in a chart: more than a screen shows, and half of what float64 would fill the page with."""

MOST_POINTS = 500
"""Points of a curve over time: about half the columns of a screen; longer runs are thinned."""

MOST_BARS = 150
"""Bars of a series over time: wider than a few pixels each."""


@dataclass(frozen=True)
class Series:
    """One curve or set of bars.

    Attributes
    ----------
    name
        What the legend says.
    x, y
        Equally long; None is a hole. `x` holds ISO times, numbers or words, as the chart's axis says.
    mark
        How it is drawn.
    low, high
        Ends of each point's interval, where there is one.
    horizon
        Key of the horizon it belongs to, where the reader chooses one.
    rank
        Place in an ordered set of series (quantiles, horizons), 0 to 1, for the colour; None takes the next colour.
    dashed
        For the second of two curves that belong together.
    """

    name: str
    x: tuple[Any, ...]
    y: tuple[Number, ...]
    mark: Mark = "line"
    low: tuple[Number, ...] = ()
    high: tuple[Number, ...] = ()
    horizon: str | None = None
    rank: float | None = None
    dashed: bool = False


@dataclass(frozen=True)
class Heat:
    """A table of coloured cells.

    Attributes
    ----------
    rows, columns
        Words beside and below the cells.
    cells
        One tuple per row.
    horizon
        As in `Series`.
    span
        Lowest and highest value of the colours; None: the chart's.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Number, ...], ...]
    horizon: str | None = None
    span: tuple[float, float] | None = None


@dataclass(frozen=True)
class Chart:
    """Series or heat maps on one pair of axes.

    Attributes
    ----------
    title, caption
        What is seen, and how to read it.
    x_title, y_title
        Words at the axes.
    axis
        Kind of the x axis.
    unit
        ``fraction`` is shown as percent.
    series, heats
        One of both is empty.
    diverging
        Colours of a heat map go two ways from zero.
    span
        Lowest and highest value of the colours or the y axis, where they are fixed.
    """

    title: str
    caption: str
    x_title: str
    y_title: str
    axis: Axis = "time"
    unit: Literal["fraction", "number"] = "number"
    series: tuple[Series, ...] = ()
    heats: tuple[Heat, ...] = ()
    diverging: bool = False
    span: tuple[float, float] | None = None

    @property
    def empty(self) -> bool:
        """Whether there is no value to draw."""
        values = [value for series in self.series for value in series.y]
        values += [value for heat in self.heats for row in heat.cells for value in row]
        return all(value is None for value in values)

    @property
    def by_horizon(self) -> bool:
        """Whether the reader sees one horizon at a time."""
        return any(one.horizon for one in self.series) or any(one.horizon for one in self.heats)

    def at(self, horizon: str) -> Chart:
        """Return the chart with one horizon's parts only (and those that belong to none)."""
        return replace(
            self,
            series=tuple(one for one in self.series if one.horizon in (None, horizon)),
            heats=tuple(one for one in self.heats if one.horizon in (None, horizon)),
        )

    def twin(self) -> dict[str, Any]:
        """Return the chart as JSON: everything that is drawn."""
        return {
            "title": self.title,
            "caption": self.caption,
            "x": {"title": self.x_title, "kind": self.axis},
            "y": {"title": self.y_title, "unit": self.unit},
            "series": [_series_twin(series) for series in self.series],
            "heatmaps": [
                {"horizon": heat.horizon, "rows": list(heat.rows), "columns": list(heat.columns),
                 "cells": [list(row) for row in heat.cells]}
                for heat in self.heats
            ],
        }  # fmt: skip


def _series_twin(series: Series) -> dict[str, Any]:
    twin: dict[str, Any] = {"name": series.name, "kind": series.mark, "horizon": series.horizon}
    twin |= {"x": list(series.x), "y": list(series.y)}
    return twin | ({"low": list(series.low), "high": list(series.high)} if series.low else {})


def number(value: float) -> Number:
    """Return `value` to `DIGITS` significant digits; None where it is not finite."""
    return float(f"{float(value):.{DIGITS}g}") if math.isfinite(value) else None


def numbers(values: Iterable[float]) -> tuple[Number, ...]:
    """Return `values` as a chart holds them."""
    return tuple(number(value) for value in values)


def cells(table: Floats) -> tuple[tuple[Number, ...], ...]:
    """Return a float64 [R, C] table as a heat map holds it."""
    return tuple(numbers(row) for row in table)


def moments(stamps: Times) -> tuple[str, ...]:
    """Return times as ISO 8601 without a zone (they are UTC), to the minute: the form that plotly reads as it is."""
    return tuple(np.datetime_as_string(stamps, unit="m").tolist())


def thinned(length: int, most: int = MOST_POINTS) -> NDArray[np.int64]:
    """Return at most about `most` evenly spaced rows, the first and the last among them."""
    return np.unique(np.linspace(0, max(length - 1, 0), min(length, most)).round().astype(np.int64))


def in_buckets(stamps: Times, values: Floats, most: int = MOST_BARS) -> tuple[Times, Floats, int]:
    """Return the first time and the mean of the values of every `size` rows, and `size` (1: as they are).

    Parameters
    ----------
    stamps, values
        [T]; NaN takes no part; a bucket without a value is NaN.
    most
        Buckets at most.
    """
    size = max(1, -(-len(values) // most))
    starts = np.arange(0, len(values), size)
    known = np.isfinite(values)
    if not len(starts):
        return stamps[:0], values[:0], size
    counts = np.add.reduceat(known.astype(np.int64), starts)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    means = np.divide(sums, counts, out=np.full(len(starts), np.nan), where=counts > 0)
    return stamps[starts], means, size


def ranks(count: int) -> Sequence[float]:
    """Return 0 to 1 for an ordered set of series."""
    return [place / max(count - 1, 1) for place in range(count)]
