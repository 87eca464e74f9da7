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

from .qlib_figures import MIN_GROUPS, Figure, Portfolio, figures_of, in_bars, portfolio_of, risk_of, stride

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

FIGURE_CAPTIONS = {
    "group_return-0": "Sum of what each group earned so far (0.1 is 10 %). Group1 holds the highest factor values, "
    "Group{groups} the lowest; long-short is Group1 less Group{groups}, long-average Group1 less all names.",
    "group_return-1": "How the steps of both curves are distributed (0.1 is 10 %).",
    "pred_ic-0": "Correlation across symbols of factor and forward return: Pearson's (IC), and of ranks.",
    "pred_ic-1": "Mean of the IC (Pearson) by year and month. Red is positive, blue negative: the other way round than "
    "on our own page.",
    "pred_ic-2": "Left, the IC's distribution; right, its quantiles against those of a normal law (the line).",
    "pred_autocorr-0": "Correlation of the factor's ranks with those {every} before.",
    "pred_turnover-0": "Share of the names of Group1 (Top) and of Group{groups} (Bottom) that were not in it {every} "
    "before.",
    "report-0": "Returns summed by UTC day, not compounded (0.1 is 10 %): of Group1 (return) and of all names (bench), "
    "and their difference (ex return), without (wo) and with (w) cost; mdd is the fall from the highest point so far. "
    "Turnover is traded value over held value, summed by day.",
}
"""What each of Qlib's figures shows: they have no words at their axes."""

MOST_TICKS = 8
"""Days named at the axis of `report-0`: Qlib's own choice overlaps in a history of years."""

CAPTION = (
    "The group of highest values, rebalanced every h bars, each name with equal weight. Compounded; a year has 365 "
    "days (Qlib's own default is the 238 of the A-share calendar), and a shorter window is drawn out to one. What has "
    "lost all stays at nothing. Qlib halves no spread here: it is top less bottom."
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
    portfolios = {key: portfolio_of(values, subject.labels[key], count, groups) for key, count in bars.items()}
    risks = {key: risk_of(one, bars[key], timeframe, evaluation.cost) for key, one in portfolios.items()}
    first, portfolio = next(iter(portfolios.items()))
    figures, refused = figures_of(
        values,
        subject.labels[first],
        evaluation.timestamp,
        evaluation.symbols,
        portfolio=portfolio,
        bars=bars[first],
        groups=groups,
        cost=evaluation.cost,
    )
    notes = [*_notes(evaluation, first, bars[first], groups, portfolio), *refused]
    apart = in_bars(stride(len(values), bars[first]))
    captions = {name: words.format(groups=groups, every=apart) for name, words in FIGURE_CAPTIONS.items()}
    document = {
        "factor": evaluation.factor,
        "bar_freq": evaluation.bar_freq,
        "horizon": first,
        "every_bars": stride(len(values), bars[first]),
        "groups": groups,
        "risk": risks,
        "notes": notes,
        "synthetic": source.synthetic,
        "figures": {
            figure.name: {"title": figure.title, "caption": captions[figure.name], **figure.content}
            for figure in figures
        },
    }
    page = _page(evaluation, risks, figures, captions, notes, synthetic=source.synthetic) if html else None
    return replace(source, links=((TITLE, HTML),) if html else (), files={HTML: page, JSON: json_text(document)})


def _tradable(subject: Subject) -> Floats:
    """Return the values where the bar is tradable, as our own measures take them."""
    return np.where(subject.panel.tradable, subject.values, np.nan)


def _notes(evaluation: Evaluation, horizon: str, bars: int, groups: int, portfolio: Portfolio) -> list[str]:
    """Return what the reader has to know."""
    every, planned = stride(len(evaluation.timestamp), bars), -(-len(evaluation.timestamp) // bars)
    used, made = -(-len(evaluation.timestamp) // every), len(portfolio.row)
    some = f" with {groups} names or more that are not all equal ({made:,} of {planned:,})" if made < planned else ""
    notes = [
        f"Drawn by Qlib's own functions for horizon {horizon}. Group returns hold every rebalance{some}, the top group "
        f"over time summed by UTC day; IC, autocorrelation and turnover are from one bar in {every:,} ({used:,} of "
        f"{len(evaluation.timestamp):,})."
    ]
    if portfolio.tied:
        notes.append(
            f"At {portfolio.tied:,} of {made:,} rebalances values tie at the edge of the top or the bottom group: "
            "there the order of the symbols' names decides who is in it, not the factor."
        )
    if groups < evaluation.quantiles:
        notes.append(f"{len(evaluation.symbols)} symbols make {groups} groups, not {evaluation.quantiles}.")
    return notes


def _page(
    evaluation: Evaluation,
    risks: Mapping[str, Any],
    figures: Sequence[Figure],
    captions: Mapping[str, str],
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
            "caption": captions[figure.name],
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
    layout |= {"margin": {"l": 60, "r": 20, "t": 60, "b": 70}, "autosize": True}
    if figure.name == "pred_ic-2":
        # Qlib leaves a tenth between its two plots, less than the words of the right one's axis take; its legend has
        # no names
        layout["showlegend"] = False
        layout["xaxis"] = {**layout["xaxis"], "domain": [0.0, 0.42]}
        layout["xaxis2"] = {**layout["xaxis2"], "domain": [0.58, 1.0]}
        layout["annotations"] = [
            {**title, "x": place} for title, place in zip(layout["annotations"], (0.21, 0.79), strict=True)
        ]
    if figure.name == "report-0":
        layout["xaxis7"] = {**layout["xaxis7"], "nticks": MOST_TICKS}
    return {"data": figure.content["data"], "layout": layout}


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    shown, unit = (100 * value, " %") if name in PERCENT else (value, "")
    said = f"{shown:.3g}" if abs(shown) < 1000 else f"{shown:,.0f}"
    return f"{said}{unit}".replace("-", "−")
