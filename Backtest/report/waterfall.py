"""The plot of a run on futures alone: what costs took on the way from gross profit to net."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..runs.outcome import Outcome
from . import style

if TYPE_CHECKING:
    from .plots import Subject

STEPS = ("gross", "fees", "slippage", "funding", "liquidation")


def waterfall(outcome: Outcome, subject: Subject) -> Figure:
    """A bar for each step, hung where the one before it ended; the last, from zero, is the net profit."""
    values = [float(outcome.metrics[f"waterfall_{name}"] or 0.0) for name in (*STEPS, "net")]
    begins = [0.0, *np.cumsum(values[:-2]).tolist(), 0.0]
    figure = style.new_figure(5.2, subject.title("From gross profit to net"), subject.subtitle(outcome))
    axes = figure.add_subplot()
    colours = [style.BLUE if value >= 0 else style.RED for value in values]
    axes.bar(range(len(values)), values, bottom=begins, color=colours, width=0.62)
    for place, (begin, value) in enumerate(zip(begins, values, strict=True)):
        axes.annotate(
            f"{value:+,.0f}".replace("-", "−"), (place, max(begin, begin + value)), xytext=(0, 3),
            textcoords="offset points", ha="center", fontsize=9, color=style.INK, fontfamily=style.FONT,
        )  # fmt: skip
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    ends = [*begins, *(begin + value for begin, value in zip(begins, values, strict=True))]
    room = 0.12 * max(max(ends) - min(ends), 1e-9)
    axes.set_ylim(min(ends) - room if min(ends) < 0 else 0, max(ends) + room)
    axes.yaxis.set_major_formatter(FuncFormatter(style.money_words))
    style.dress(axes, label="profit, quote currency")
    axes.set_xticks(range(len(values)), [*STEPS, "net"])
    return figure
