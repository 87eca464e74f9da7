"""How the plots look: one palette, one kind of axis, no global state of Matplotlib.

Colours are the Okabe-Ito set, told apart by people with any colour vision; lines differ in weight and dash as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

BLUE, ORANGE, GREEN, RED, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9"
INK, GREY, LIGHT, PAPER = "#1F2933", "#7B8794", "#E4E7EB", "#FFFFFF"

WIDTH, DPI = 11.0, 110
FONT = "DejaVu Sans"
"""Comes with Matplotlib, so that a plot has the same bytes on every machine."""

MOST_POINTS = 4000
"""Points of a line: more than a screen has columns; longer runs are thinned keeping each bin's extremes."""


def new_figure(height: float, title: str, subtitle: str) -> Figure:
    """Return an empty figure with the plot's title and, in grey below it, what it belongs to."""
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor=PAPER, layout="constrained")
    figure.get_layout_engine().set(rect=(0.01, 0.01, 0.98, 0.98 - 0.62 / height))  # type: ignore[union-attr,call-arg]
    plain = {"ha": "left", "va": "top", "parse_math": False, "fontfamily": FONT}
    figure.text(0.018, 1 - 0.13 / height, title, fontsize=14, fontweight="bold", color=INK, **plain)  # type: ignore[arg-type]
    figure.text(0.018, 1 - 0.42 / height, subtitle, fontsize=9, color=GREY, **plain)  # type: ignore[arg-type]
    return figure


def dress(axes: Axes, *, label: str = "", percent: bool = False) -> None:
    """Give an axis the common look: hairline grid, no box, percent or plain numbers."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.grid(axis="y", color=LIGHT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=9, length=3, color=GREY, labelfontfamily=FONT)
    axes.set_ylabel(label, fontsize=9, color=INK, family=FONT)
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(percent_words))


def percent_words(value: float, _position: object = None) -> str:
    """Return a fraction as percent with as few digits as it needs."""
    return f"{100 * value:.6g}%".replace("-", "−")


def money_words(value: float, _position: object = None) -> str:
    """Return an amount with thousands separators, shortened above a million."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:,.4g} {letter}".replace("-", "−")
    return f"{value:,.6g}".replace("-", "−")


def date_axis(axes: Axes, timestamp: NDArray[np.datetime64]) -> None:
    """Put few, short dates under a time axis that ends where the data end."""
    locator = AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.xaxis.get_offset_text().set(fontsize=9, color=GREY, family=FONT)
    if len(timestamp) > 1:
        axes.set_xlim(timestamp[0], timestamp[-1])


def legend(axes: Axes, columns: int = 4, **placing: Any) -> None:
    """Draw a frameless legend of the labelled artists above the axis."""
    placed = {"loc": "lower left", "bbox_to_anchor": (0, 1.0)} | placing
    shown = axes.legend(
        ncols=columns, frameon=False, prop={"family": FONT, "size": 9}, borderaxespad=0.2, handlelength=1.8, **placed
    )
    for text in shown.get_texts():
        text.set(color=INK, parse_math=False)


def thin(timestamp: NDArray[np.datetime64], *series: NDArray[np.float64]) -> Sequence[NDArray[Any]]:
    """Return times and series cut to about MOST_POINTS rows, keeping each bin's highest and lowest of the first."""
    rows = len(timestamp)
    if rows <= MOST_POINTS:
        return timestamp, *series
    edges = np.linspace(0, rows, MOST_POINTS // 2 + 1).astype(int)
    lead = np.where(np.isfinite(series[0]), series[0], 0.0)
    kept = {0, rows - 1}
    for begin, end in pairwise(edges.tolist()):
        kept |= {begin + int(np.argmin(lead[begin:end])), begin + int(np.argmax(lead[begin:end]))}
    chosen = np.array(sorted(kept))
    return timestamp[chosen], *(values[chosen] for values in series)


def png(figure: Figure) -> bytes:
    """Return the figure as PNG, the same bytes for the same figure (no date, no version inside)."""
    stream = BytesIO()
    FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return stream.getvalue()
