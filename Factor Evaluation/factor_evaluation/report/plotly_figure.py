"""A chart as the JSON that plotly.js draws: traces and layout, written here so that no Python plotly is imported."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .chart import Chart, Heat, Number, Series

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#7B8794")
"""Okabe and Ito's set, told apart by people with any colour vision."""

ORDERED = ((0.0, "#D55E00"), (0.25, "#E69F00"), (0.5, "#9AA5B1"), (0.75, "#56B4E9"), (1.0, "#0072B2"))
"""Lowest to highest: warm to cold, grey between."""

DIVERGING = ((0.0, "#B2182B"), (0.25, "#EF8A62"), (0.5, "#FFFFFF"), (0.75, "#67A9CF"), (1.0, "#2166AC"))
SEQUENTIAL = ((0.0, "#F2F6FA"), (0.5, "#6BAED6"), (1.0, "#08519C"))
INK, GREY, LIGHT = "#1F2933", "#7B8794", "#E4E7EB"

ROW_HEIGHT, LEAST_HEIGHT, MOST_HEIGHT = 18, 320, 1400
"""Pixels of a heat map's row, and of a chart."""

FEW_ROWS, FEW_ROWS_HEIGHT = 4, 220
"""A heat map of a few rows is lower than other charts."""

MOST_TICKS = 14
"""Points of a curve up to which each has its own tick."""

FEW_CELLS, FEW_COLUMNS = 200, 14
"""Cells and columns up to which a heat map says its numbers."""


NO_WHISKER = "none"
"""Stands for a missing distance: plotly takes null for 0 and draws a whisker of no length, as if all were certain."""


def shade(place: float, scale: Sequence[tuple[float, str]] = ORDERED) -> str:
    """Return the colour at `place` (0 to 1) of a scale as ``#RRGGBB``."""
    for (begin, first), (end, second) in pairwise(scale):
        if place <= end:
            share = (place - begin) / (end - begin)
            mixed = (
                round(int(first[at : at + 2], 16) * (1 - share) + int(second[at : at + 2], 16) * share)
                for at in (1, 3, 5)
            )
            return "#" + "".join(f"{channel:02X}" for channel in mixed)
    return scale[-1][1]


def colour_of(series: Series, place: int) -> str:
    """Return a series' colour: by its rank in an ordered set, else the next of the palette."""
    return shade(series.rank) if series.rank is not None else COLOURS[place % len(COLOURS)]


def figure(chart: Chart) -> dict[str, Any]:
    """Return ``{"data": [...], "layout": {...}}``; each trace's ``meta`` is its horizon."""
    places: dict[str | None, int] = {}
    traces = []
    for series in chart.series:
        place = places.get(series.horizon, 0)
        places[series.horizon] = place + 1
        traces.append(_trace(series, colour_of(series, place), chart))
    traces += [_heat_trace(heat, chart) for heat in chart.heats]
    return {"data": traces, "layout": _layout(chart)}


def _trace(series: Series, colour: str, chart: Chart) -> dict[str, Any]:
    shown = ":.3%" if chart.unit == "fraction" else ":,.5g"
    trace: dict[str, Any] = {
        "name": plain(series.name), "meta": series.horizon, "y": list(series.y),
        "x": [plain(value) for value in series.x],
        "hovertemplate": f"%{{x}}<br>%{{y{shown}}}<extra>%{{fullData.name}}</extra>",
    }  # fmt: skip
    if series.mark == "bars":
        trace |= {"type": "bar", "marker": {"color": colour}}
    else:
        dash = "dash" if series.dashed else "solid"
        trace |= {"type": "scatter", "mode": "lines" if series.mark == "line" else "lines+markers",
                  "line": {"color": colour, "width": 1.8, "dash": dash}}  # fmt: skip
    if series.low:
        trace["error_y"] = _whiskers(series)
    return trace


def _whiskers(series: Series) -> dict[str, Any]:
    """Return plotly's error bars: distances from the value; a point without an interval has none."""
    up = [_distance(value, high) for value, high in zip(series.y, series.high, strict=True)]
    down = [_distance(low, value) for low, value in zip(series.low, series.y, strict=True)]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": INK, "thickness": 1.2,
            "width": 4}  # fmt: skip


def _distance(low: Number, high: Number) -> float | str:
    return NO_WHISKER if low is None or high is None else max(high - low, 0.0)


def plain(value: Any) -> Any:
    """Return a word so that plotly shows it as it is: it reads a small part of HTML in every text."""
    if not isinstance(value, str):
        return value
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _heat_trace(heat: Heat, chart: Chart) -> dict[str, Any]:
    scale = DIVERGING if chart.diverging else SEQUENTIAL
    shown = ":.1%" if chart.unit == "fraction" else ":.4f"
    trace: dict[str, Any] = {
        "type": "heatmap", "meta": heat.horizon, "x": [plain(word) for word in heat.columns],
        "y": [plain(word) for word in heat.rows],
        "z": [list(row) for row in heat.cells], "colorscale": [list(stop) for stop in scale], "xgap": 2, "ygap": 2,
        "colorbar": {"thickness": 12, "outlinewidth": 0, "tickformat": ".0%" if chart.unit == "fraction" else ""},
        "hovertemplate": f"%{{y}} %{{x}}<br>%{{z{shown}}}<extra></extra>", "hoverongaps": False,
    }  # fmt: skip
    span = heat.span or chart.span
    if span is not None:
        trace |= {"zmin": span[0], "zmax": span[1]}
    if says_numbers(heat):
        words = [["" if value is None else cell_words(value, chart) for value in row] for row in heat.cells]
        trace |= {"text": words, "texttemplate": "%{text}", "textfont": {"size": 10}}
    return trace


def cell_words(value: float, chart: Chart) -> str:
    """Return the number of a heat map's cell; cells are narrow: ``−.031``, or ``−.32`` where the scale ends at 1."""
    if chart.unit == "fraction":
        return f"{value:.0%}"
    word = f"{value:.2f}" if chart.span else f"{value:.3f}"
    return word.replace("0.", ".", 1).replace("-", "−") if abs(value) < 1 else word.replace("-", "−")


def says_numbers(heat: Heat) -> bool:
    """Return whether a heat map has room for its numbers."""
    return len(heat.columns) <= FEW_COLUMNS and len(heat.rows) * len(heat.columns) <= FEW_CELLS


def _layout(chart: Chart) -> dict[str, Any]:
    font = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "size": 12, "color": INK}
    rows = max((len(heat.rows) for heat in chart.heats), default=0)
    names = {series.name for series in chart.series}
    x_title = "" if chart.axis == "time" or chart.heats else chart.x_title
    least = FEW_ROWS_HEIGHT if 0 < rows <= FEW_ROWS else LEAST_HEIGHT
    layout: dict[str, Any] = {
        "font": font, "height": min(MOST_HEIGHT, max(least, 120 + ROW_HEIGHT * rows)),
        "margin": {"l": 64, "r": 16, "t": 36, "b": 48}, "paper_bgcolor": "#fff", "plot_bgcolor": "#fff",
        "hovermode": "closest", "bargap": 0.3 if chart.axis == "label" else 0.1, "showlegend": len(names) > 1,
        "legend": {"orientation": "h", "y": -0.18, "yanchor": "top", "x": 0},
        "xaxis": {"title": {"text": plain(x_title)}, "showgrid": False, "linecolor": GREY, "automargin": True,
                  "type": {"time": "date", "number": "linear", "log": "log", "label": "category"}[chart.axis]},
        "yaxis": {"title": {"text": plain(chart.y_title), "standoff": 8}, "gridcolor": LIGHT, "zeroline": True,
                  "zerolinecolor": GREY, "automargin": True},
    }  # fmt: skip
    if chart.heats:
        layout["yaxis"] |= {"type": "category", "autorange": "reversed", "showgrid": False, "zeroline": False}
        layout["plot_bgcolor"] = LIGHT
    elif chart.unit == "fraction":
        layout["yaxis"]["tickformat"] = ",.4~%"
    points = sorted({value for series in chart.series if series.mark == "points" for value in series.x})
    if points and len(points) <= MOST_TICKS:
        layout["xaxis"] |= {"tickvals": points, "ticktext": [f"{value:,}" for value in points]}
    if points:
        layout["yaxis"]["rangemode"] = "tozero"
    if chart.span is not None and not chart.heats:
        layout["yaxis"]["range"] = list(chart.span)
    return layout
