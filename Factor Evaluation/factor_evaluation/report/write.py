"""Makes and writes the report of an evaluation.

1. `report_of`: verdict, charts, table and facts; small, whatever the size of the evaluation.
2. `write_report`: pictures, evaluation.html, beside it plotly's JavaScript one folder up, and evaluation.json last, so
   that it is there only when everything else is.

In between the ledger is asked, once for all factors of a call: the report says how many trials there were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from Backtest.files import write_bytes, write_json, write_text

from ..labels import WORDS
from ..measures.aligned import NO_RETURN
from ..measures.document import iso, number, to_json
from ..measures.evaluation import Evaluation
from ..measures.ledger import Corrected
from .chart import Chart
from .figures import FIGURES, charts_of
from .headline import Table, headline_tables, p_cell, with_trials
from .page import SCRIPT, drawn, render, write_script
from .pictures import PICTURES, draw_pictures
from .verdict import Verdict, p_value, verdict_of

JSON, HTML = "evaluation.json", "evaluation.html"

Trials = Mapping[str, Corrected]
"""Horizon key -> its p-value, corrected for everything that was ever tried in this output root."""


@dataclass(frozen=True)
class Source:
    """Where an evaluation's numbers come from, for the reader.

    Attributes
    ----------
    run_id, store
        The run, and ``parquet`` or ``qlib``.
    synthetic
        Whether the prices come from a simulator.
    expression
        What the factor computes; empty when it is not known.
    identity
        Hash of all that makes it the same trial again.
    label
        The forward return in words.
    links
        (title, file name) of further pages beside the report.
    files
        File name -> text of those pages; None removes one of an earlier evaluation.
    """

    run_id: str
    store: str = "parquet"
    synthetic: bool = False
    expression: str = ""
    identity: str = ""
    label: str = WORDS["open"]
    links: tuple[tuple[str, str], ...] = ()
    files: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Everything that a report says, but for the trials.

    Attributes
    ----------
    factor, bar_freq, subtitle
        Its head.
    source
        Where the numbers come from.
    verdict, charts
        Words and charts.
    shown
        Horizon that the page opens with and the pictures show.
    p_values
        Horizon key -> p-value, for the ledger.
    document
        evaluation.json.
    tables
        What it knows about returns, and what that is worth.
    notes, left_out, facts
        What else is told: cautions, charts without a value, what was evaluated.
    """

    factor: str
    bar_freq: str
    subtitle: str
    source: Source
    verdict: Verdict
    charts: Mapping[str, Chart]
    shown: str
    p_values: Mapping[str, float]
    document: Mapping[str, Any]
    tables: tuple[Table, Table]
    notes: tuple[str, ...]
    left_out: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]


def report_of(evaluation: Evaluation, source: Source) -> Report:
    """Return the report of an evaluation; it holds thinned curves only."""
    verdict, charts = verdict_of(evaluation), charts_of(evaluation)
    document = to_json(evaluation, {name: chart.twin() for name, chart in charts.items()})
    document["verdict"] = {
        "level": verdict.level, "headline": verdict.headline, "details": list(verdict.details),
        "horizon": verdict.horizon or None, "p_corrected": number(verdict.p_corrected),
    }  # fmt: skip
    document["synthetic"] = source.synthetic
    return Report(
        factor=evaluation.factor,
        bar_freq=evaluation.bar_freq,
        subtitle=_subtitle(evaluation, source),
        source=source,
        verdict=verdict,
        charts=charts,
        shown=verdict.horizon or next(iter(evaluation.horizons), ""),
        p_values={key: p_value(result.rank_ic_summary) for key, result in evaluation.horizons.items()},
        document=document,
        tables=headline_tables(evaluation),
        notes=tuple(evaluation.notes),
        left_out=tuple(draw(evaluation).title for name, draw in FIGURES.items() if name not in charts),
        facts=_facts(evaluation, source),
    )


def write_report(report: Report, folder: Path, *, trials: Trials | None = None, html: bool = True) -> dict[str, Any]:
    """Write the report into `folder` (``reports/<bar_freq>/<factor>``) and return evaluation.json's document.

    Parameters
    ----------
    trials
        From the ledger; without it the report says nothing of other factors.
    html
        Also evaluation.html and the pictures; without, those of an earlier evaluation are removed: they would
        contradict the JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JSON).unlink(missing_ok=True)
    stale = {folder / HTML, *(folder / f"{name}.png" for name in PICTURES)}
    stale |= {folder / name for name, text in report.source.files.items() if text is None}
    for name, text in report.source.files.items():
        if text is not None:
            write_text(folder / name, text)
    if html:
        write_script(folder.parent)
        drawn_pictures = draw_pictures(report.charts, report.shown, report.factor, report.subtitle)
        pictures = {folder / f"{name}.png": png for name, png in drawn_pictures}
        for path, content in pictures.items():
            write_bytes(path, content)
        write_text(folder / HTML, page_of(report, trials))
        stale -= {folder / HTML, *pictures}
    for leftover in stale:
        leftover.unlink(missing_ok=True)
    document = {**report.document, "trials": _trials_document(trials)}
    write_json(folder / JSON, document)
    return document


def page_of(report: Report, trials: Trials | None) -> str:
    """Return evaluation.html."""
    knows, worth = report.tables
    horizons = list(report.document["horizons"])
    return render(
        "evaluation.html.j2",
        factor=report.factor,
        bar_freq=report.bar_freq,
        subtitle=report.subtitle,
        synthetic=report.source.synthetic,
        verdict=report.verdict,
        tried=tried_words(report, trials),
        notes=report.notes,
        tables=(with_trials(knows, trials), worth),
        best=report.verdict.horizon if len(horizons) > 1 else "",
        horizons=horizons,
        shown=report.shown,
        charts=drawn(report.charts),
        left_out=report.left_out,
        facts=report.facts,
        links=report.source.links,
        script=f"../{SCRIPT}",
    )


def tried_words(report: Report, trials: Trials | None) -> str:
    """Return what the count of trials means for the verdict's horizon; empty where there is one trial or no ledger."""
    found = (trials or {}).get(report.verdict.horizon)
    if found is None or found.trials < 2:
        return ""
    return (
        f"{found.trials:,} trials (factor and horizon) stand in the ledger of this output folder: among so many the "
        f"p-value becomes {p_cell(found.benjamini_hochberg)} (Benjamini-Hochberg), or "
        f"{p_cell(found.benjamini_yekutieli)} whatever their dependence (Benjamini-Yekutieli)."
    )


def _trials_document(trials: Trials | None) -> dict[str, Any] | None:
    if trials is None:
        return None
    facts = {key: asdict(found) for key, found in trials.items()}
    return {key: {name: number(value) for name, value in row.items()} for key, row in facts.items()}


def _subtitle(evaluation: Evaluation, source: Source) -> str:
    begin, end = (_day(moment) for moment in (evaluation.start, evaluation.end))
    count = len(evaluation.symbols)
    words = [f"{begin} to {end}", f"{evaluation.bar_freq} bars", f"{count} symbol{'s' * (count != 1)}"]
    store = [] if source.store == "parquet" else [f"{source.store} store"]
    return " · ".join([*words, f"run {source.run_id}", *store, *(["synthetic market"] * source.synthetic)])


def _day(moment: np.datetime64 | None) -> str:
    return "–" if moment is None else str(np.datetime_as_string(moment, unit="D"))


def _facts(evaluation: Evaluation, source: Source) -> tuple[tuple[str, str], ...]:
    shape = evaluation.distribution
    reasons = {reason: f"{count:,}" for reason, count in evaluation.dropped.items() if count}
    if lost := [result.dropped.get(NO_RETURN, 0) for result in evaluation.horizons.values()]:
        few, many = min(lost), max(lost)
        reasons[NO_RETURN] = f"{few:,}" if few == many else f"{few:,} to {many:,}, by horizon"
    dropped = ", ".join(f"{reason}: {count}" for reason, count in reasons.items() if count != "0")
    kind = {
        "cross_section": "across symbols, bar by bar",
        "time_series": "over time, symbol by symbol, and their mean: there are too few symbols for a cross-section",
    }
    rows = (
        ("expression", source.expression),
        ("forward return", source.label),
        ("correlations", kind[evaluation.kind]),
        ("first and last bar", f"{iso(evaluation.start)} to {iso(evaluation.end)}"),
        ("symbols", ", ".join(evaluation.symbols)),
        ("pairs", f"{evaluation.rows:,} (bar, symbol) pairs with a factor and a forward return, at the horizon that "
                  "has most"),
        ("dropped", dropped or "none"),
        ("quantiles", f"{evaluation.quantiles}; ties share a quantile, no bar is dropped for them"),
        ("cost", "not given" if evaluation.cost is None else f"{100 * evaluation.cost:.6g} % of the traded value"),
        ("factor values", f"mean {shape.mean:.6g}, deviation {shape.std:.6g}, skewness {shape.skewness:.3g}, excess "
                          f"kurtosis {shape.kurtosis_excess:.3g}, zeros {shape.zeros:,}, constant cross-sections "
                          f"{shape.constant_bars:,}"),
        ("store", source.store),
    )  # fmt: skip
    return tuple((name, value) for name, value in rows if value)
