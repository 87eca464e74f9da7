"""PNG versions of the main figures, drawn with Matplotlib from the same charts as the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..measures.evaluation import Floats
from .chart import Chart, Heat, Series
from .plotly_figure import DIVERGING, SEQUENTIAL, cell_words, colour_of, says_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES = ("cumulative_ic", "ic_by_month", "decay", "quantile_bars", "quantile_cumulative", "spread", "coverage")
"""Charts that are also written as PNG."""

HEIGHT, HEAT_ROW = 4.2, 0.3
"""Inches of a picture, and of a heat map's row."""

MOST_HEAT_INCHES = 14.0
MOST_TICKS = 24
FEWEST_ROWS_FOR_A_BAR = 4
"""Rows of a heat map from which a bar of colours has room for its words."""


def draw_pictures(charts: Mapping[str, Chart], horizon: str, factor: str, subtitle: str) -> Iterator[tuple[str, bytes]]:
    """Yield chart name and PNG of those of `PICTURES` that there are, at one horizon where they have one each."""
    for name in PICTURES:
        if name in charts:
            of_one = [f"horizon {horizon}"] if charts[name].by_horizon else []
            yield name, picture(charts[name].at(horizon), " · ".join([factor, *of_one, subtitle]))


def picture(chart: Chart, subtitle: str) -> bytes:
    """Return a chart as PNG; the same bytes for the same chart."""
    from Backtest.report.style import dress, legend, new_figure, png

    rows = max((len(heat.rows) for heat in chart.heats), default=0)
    figure = new_figure(max(HEIGHT if not rows else 2.0, min(MOST_HEAT_INCHES, 1.6 + HEAT_ROW * rows)), chart.title,
                        subtitle)  # fmt: skip
    axes = figure.add_subplot()
    dress(axes, label=chart.y_title, percent=chart.unit == "fraction" and not chart.heats)
    axes.set_xlabel(chart.x_title, fontsize=9)
    for heat in chart.heats:
        _draw_heat(axes, heat, chart)
    for place, series in enumerate(chart.series):
        _draw_series(axes, series, colour_of(series, place), chart)
    if chart.series:
        axes.axhline(0, color="#7B8794", linewidth=0.8)
        _dress_x(axes, chart)
    if chart.empty:
        axes.text(0.5, 0.5, "no value at this horizon", ha="center", va="center", transform=axes.transAxes)
    if len(chart.series) > 1:
        legend(axes, columns=min(8, len(chart.series)))
    return png(figure)


def _draw_series(axes: Axes, series: Series, colour: str, chart: Chart) -> None:
    x: Any = np.array(series.x, dtype="datetime64[m]") if chart.axis == "time" else np.array(series.x, dtype=object)
    y = np.array([np.nan if value is None else value for value in series.y], dtype=float)
    if series.mark == "bars":
        axes.bar(x, y, width=_bar_width(series, chart), color=colour, label=series.name)
    else:
        marker = "o" if series.mark == "points" else ""
        dash = "--" if series.dashed else "-"
        axes.plot(x, y, color=colour, linestyle=dash, marker=marker, markersize=4, linewidth=1.4, label=series.name)
    if series.low:
        ends = [np.array([np.nan if v is None else v for v in end], dtype=float) for end in (series.low, series.high)]
        axes.errorbar(x, y, yerr=np.maximum([y - ends[0], ends[1] - y], 0), fmt="none", ecolor="#1F2933", elinewidth=1,
                      capsize=3)  # fmt: skip


def _bar_width(series: Series, chart: Chart) -> Any:
    """Return four fifths of the step between two bars."""
    if chart.axis == "label" or len(series.x) < 2:
        return 0.7
    if chart.axis == "time":
        first, second = np.array(series.x[:2], dtype="datetime64[m]")
        return (second - first) * 4 // 5
    return 0.9 * (series.x[1] - series.x[0])


def _dress_x(axes: Axes, chart: Chart) -> None:
    from Backtest.report.style import date_axis

    if chart.axis == "time":
        stamps = [moment for series in chart.series for moment in (series.x[0], series.x[-1]) if series.x]
        date_axis(axes, np.array([min(stamps), max(stamps)], dtype="datetime64[m]"))
    elif any(series.mark == "points" for series in chart.series):
        points = sorted({value for series in chart.series for value in series.x})
        axes.set_xscale("log" if chart.axis == "log" else "linear")
        axes.set_xticks(points, [f"{value:,}" for value in points])
        axes.minorticks_off()
    elif chart.axis == "label":
        words = {value: None for series in chart.series for value in series.x}
        if len(words) > MOST_TICKS / 2:
            axes.tick_params(axis="x", labelrotation=90)
    for text in axes.get_xticklabels():
        text.set_parse_math(False)


def _draw_heat(axes: Axes, heat: Heat, chart: Chart) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    table = np.array([[np.nan if value is None else value for value in row] for row in heat.cells], dtype=float)
    scale = DIVERGING if chart.diverging else SEQUENTIAL
    colours = LinearSegmentedColormap.from_list("shades", [colour for _, colour in scale])
    colours.set_bad("#E4E7EB")
    low, high = heat.span or chart.span or (None, None)
    image = axes.imshow(table, aspect="auto", cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    axes.grid(visible=False)
    step = max(1, -(-len(heat.columns) // MOST_TICKS))
    places = range(0, len(heat.columns), step)
    axes.set_xticks(list(places), [heat.columns[place] for place in places], rotation=90 if step > 1 else 0)
    axes.set_yticks(range(len(heat.rows)), heat.rows)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        text.set_parse_math(False)
    if len(heat.rows) >= FEWEST_ROWS_FOR_A_BAR:
        bar = axes.figure.colorbar(image, ax=axes, fraction=0.025, pad=0.01)
        bar.outline.set_visible(False)  # type: ignore[operator]
    if says_numbers(heat):
        _write_cells(axes, table, chart, high)


def _write_cells(axes: Axes, table: Floats, chart: Chart, high: float | None) -> None:
    extent = high or (np.nanmax(np.abs(table)) if np.isfinite(table).any() else 1.0)
    for (row, column), value in np.ndenumerate(table):
        if np.isfinite(value):
            word = cell_words(value, chart)
            ink = "#FFFFFF" if abs(value) > 0.75 * extent else "#1F2933"
            axes.text(column, row, word, ha="center", va="center", fontsize=8, color=ink)
