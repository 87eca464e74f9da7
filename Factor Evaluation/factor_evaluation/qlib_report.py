"""Qlib's own report of an evaluation: ``qlib_report.html`` and ``qlib_report.json`` beside it.

The portfolio and its risk are those of every horizon; the figures are drawn for the first, for they take Qlib seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from Backtest.data.panel import Floats
from Backtest.files import json_text

from .qlib_figures import MIN_GROUPS, Figure, figures_of, portfolio_of, risk_of, stride

if TYPE_CHECKING:
    from .measures import Evaluation
    from .report.write import Source
    from .subject import Subject

JSON, HTML = "qlib_report.json", "qlib_report.html"
TITLE = "Qlib's own report"

SERIES = {"top": "top group", "top_net": "top group, net of cost", "excess": "top group less all names",
          "spread": "top less bottom group"}  # fmt: skip
NUMBERS = {"mean": "mean return", "std": "deviation", "annualized_return": "return a year",
           "information_ratio": "information ratio", "max_drawdown": "deepest drawdown"}  # fmt: skip
PERCENT = {"mean", "std", "annualized_return", "max_drawdown"}

WIDE = {"report-0"}
"""Figures that take the page's whole width."""

CAPTION = (
    "The group of highest values, rebalanced every h bars, each name with equal weight. Compounded; a year has 365 "
    "days (Qlib's own default is the 238 of the A-share calendar), and a shorter window is drawn out to one. Qlib "
    "halves no spread here: it is top less bottom."
)


def without_qlib_report(evaluation: Evaluation, subject: Subject, source: Source) -> Source:
    """Return `source` with the report of an earlier evaluation removed: it would contradict the new one."""
    return replace(source, files={JSON: None, HTML: None})


def with_qlib_report(evaluation: Evaluation, subject: Subject, source: Source, *, html: bool = True) -> Source:
    """Return `source` with Qlib's report as further pages.

    Parameters
    ----------
    evaluation, subject, source
        What was measured, of what, and from where. Fewer symbols than two groups need have no such report.
    html
        False makes the JSON only.
    """
    groups = min(evaluation.quantiles, len(evaluation.symbols))
    if groups < MIN_GROUPS:
        return without_qlib_report(evaluation, subject, source)
    timeframe, bars = subject.panel.timeframe, {key: one.bars for key, one in evaluation.horizons.items()}
    values = _tradable(subject)
    risks: dict[str, Any] = {}
    for key, count in bars.items():
        portfolio = portfolio_of(values, subject.labels[key], count, groups)
        risks[key] = risk_of(portfolio, count, timeframe, evaluation.cost)
    first = next(iter(bars))
    figures, refused = figures_of(
        values,
        subject.labels[first],
        evaluation.timestamp,
        evaluation.symbols,
        portfolio=portfolio_of(values, subject.labels[first], bars[first], groups),
        bars=bars[first],
        groups=groups,
        cost=evaluation.cost,
    )
    notes = [*_notes(evaluation, first, bars[first], groups), *refused]
    document = {
        "factor": evaluation.factor,
        "bar_freq": evaluation.bar_freq,
        "horizon": first,
        "every_bars": stride(len(values), bars[first]),
        "groups": groups,
        "risk": risks,
        "notes": notes,
        "synthetic": source.synthetic,
        "figures": {figure.name: {"title": figure.title, **figure.content} for figure in figures},
    }
    page = _page(evaluation, risks, figures, notes, synthetic=source.synthetic) if html else None
    return replace(source, links=((TITLE, HTML),) if html else (), files={HTML: page, JSON: json_text(document)})


def _tradable(subject: Subject) -> Floats:
    """Return the values where the bar is tradable, as our own measures take them."""
    return np.where(subject.panel.tradable, subject.values, np.nan)


def _notes(evaluation: Evaluation, horizon: str, bars: int, groups: int) -> list[str]:
    every = stride(len(evaluation.timestamp), bars)
    used = -(-len(evaluation.timestamp) // every)
    notes = [
        f"Drawn by Qlib's own functions for horizon {horizon}. Group returns hold every rebalance, the top group over "
        f"time summed by UTC day; IC, autocorrelation and turnover are from one bar in {every:,} ({used:,} of "
        f"{len(evaluation.timestamp):,})."
    ]
    if groups < evaluation.quantiles:
        notes.append(f"{len(evaluation.symbols)} symbols make {groups} groups, not {evaluation.quantiles}.")
    return notes


def _page(
    evaluation: Evaluation,
    risks: Mapping[str, Any],
    figures: Sequence[Figure],
    notes: Sequence[str],
    *,
    synthetic: bool,
) -> str:
    from .report.page import SCRIPT, data_block, render

    start, end = (str(moment)[:10] for moment in (evaluation.start, evaluation.end))
    charts = [
        {
            "name": figure.name,
            "title": figure.title,
            "figure": data_block(_framed(figure)),
            "wide": "report" in figure.name,
        }
        for figure in figures
    ]
    return render(
        "qlib.html.j2",
        factor=evaluation.factor,
        bar_freq=evaluation.bar_freq,
        subtitle=f"{start} to {end} · {evaluation.bar_freq} bars · {len(evaluation.symbols)} symbols",
        synthetic=synthetic,
        notes=notes,
        headings=["horizon", "portfolio", *NUMBERS.values()],
        rows=[
            [key, SERIES[name], *(_cell(number, risk[number]) for number in NUMBERS)]
            for key, series in risks.items()
            for name, risk in series.items()
        ],
        caption=CAPTION,
        charts=charts,
        script=f"../{SCRIPT}",
    )


def _framed(figure: Figure) -> dict[str, Any]:
    """Return a figure with room for its axes; its title stands above it in the page."""
    layout = {name: value for name, value in figure.content["layout"].items() if name not in ("title", "template")}
    margins = {"margin": {"l": 60, "r": 20, "t": 60, "b": 70}, "autosize": True}
    return {"data": figure.content["data"], "layout": {**layout, **margins}}


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    shown, unit = (100 * value, " %") if name in PERCENT else (value, "")
    said = f"{shown:.3g}" if abs(shown) < 1000 else f"{shown:,.0f}"
    return f"{said}{unit}".replace("-", "−")
