"""Writes the report of an evaluation: evaluation.json last, so that it is there only when everything else is.

1. `verdict_of`, `charts_of`: words and charts.
2. `draw_pictures`: PNGs.
3. `render`: evaluation.html, beside it plotly's JavaScript one folder up.
4. `document_of`: evaluation.json with the twin of every chart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Backtest.files import write_bytes, write_json, write_text

from ..measures.document import iso, number, to_json
from ..measures.evaluation import Evaluation
from .chart import Chart
from .figures import FIGURES, charts_of
from .headline import headline_table
from .page import SCRIPT, drawn, render, write_script
from .pictures import PICTURES, draw_pictures
from .verdict import Verdict, verdict_of

JSON, HTML = "evaluation.json", "evaluation.html"


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
    label
        The forward return in words.
    links
        (title, file name) of further pages beside the report.
    """

    run_id: str
    store: str = "parquet"
    synthetic: bool = False
    expression: str = ""
    label: str = "open[t+1+h] / open[t+1] − 1"
    links: tuple[tuple[str, str], ...] = ()


def write_report(evaluation: Evaluation, folder: Path, source: Source, *, html: bool = True) -> dict[str, Any]:
    """Write the report into `folder` (``reports/<bar_freq>/<factor>``) and return evaluation.json's document.

    Parameters
    ----------
    html
        Also evaluation.html and the pictures; without, those of an earlier evaluation are removed: they would
        contradict the JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    verdict = verdict_of(evaluation)
    charts = charts_of(evaluation)
    document = document_of(evaluation, verdict, charts, synthetic=source.synthetic)
    (folder / JSON).unlink(missing_ok=True)
    stale = {folder / HTML, *(folder / f"{name}.png" for name in PICTURES)}
    if html:
        shown = shown_horizon(evaluation, verdict)
        write_script(folder.parent)
        pictures = draw_pictures(charts, shown, _subtitle(evaluation, source, shown))
        for name, content in pictures.items():
            write_bytes(folder / f"{name}.png", content)
        write_text(folder / HTML, page_of(evaluation, verdict, charts, source))
        stale -= {folder / HTML, *(folder / f"{name}.png" for name in pictures)}
    for leftover in stale:
        leftover.unlink(missing_ok=True)
    write_json(folder / JSON, document)
    return document


def document_of(
    evaluation: Evaluation, verdict: Verdict, charts: Mapping[str, Chart], *, synthetic: bool
) -> dict[str, Any]:
    """Return evaluation.json: the measures, then the verdict, then a twin of every chart."""
    document = to_json(evaluation, {name: chart.twin() for name, chart in charts.items()})
    document["verdict"] = {
        "level": verdict.level, "headline": verdict.headline, "details": list(verdict.details),
        "horizon": verdict.horizon or None, "p_corrected": number(verdict.p_corrected),
    }  # fmt: skip
    document["synthetic"] = synthetic
    return document


def shown_horizon(evaluation: Evaluation, verdict: Verdict) -> str:
    """Return the horizon that the page opens with and the pictures show: the verdict's, else the first."""
    return verdict.horizon or next(iter(evaluation.horizons), "")


def page_of(evaluation: Evaluation, verdict: Verdict, charts: Mapping[str, Chart], source: Source) -> str:
    """Return evaluation.html."""
    columns, table = headline_table(evaluation, verdict.horizon)
    return render(
        "evaluation.html.j2",
        factor=evaluation.factor,
        bar_freq=evaluation.bar_freq,
        subtitle=_subtitle(evaluation, source),
        synthetic=source.synthetic,
        verdict=verdict,
        notes=evaluation.notes,
        columns=columns,
        table=table,
        horizons=list(evaluation.horizons),
        shown=shown_horizon(evaluation, verdict),
        charts=drawn(charts),
        left_out=left_out(evaluation, charts),
        facts=_facts(evaluation, source),
        links=source.links,
        script=f"../{SCRIPT}",
    )


def left_out(evaluation: Evaluation, charts: Mapping[str, Chart]) -> list[str]:
    """Return the titles of the charts that have no value."""
    return [draw(evaluation).title for name, draw in FIGURES.items() if name not in charts]


def _subtitle(evaluation: Evaluation, source: Source, horizon: str = "") -> str:
    begin, end = (_day(moment) for moment in (evaluation.start, evaluation.end))
    count = len(evaluation.symbols)
    words = [f"{begin} to {end}", f"{evaluation.bar_freq} bars", f"{count} symbol{'s' * (count != 1)}"]
    words = [evaluation.factor, *words, f"horizon {horizon}"] if horizon else words
    return " · ".join([*words, f"run {source.run_id}", *(["synthetic market"] * source.synthetic)])


def _day(moment: np.datetime64 | None) -> str:
    return "–" if moment is None else str(np.datetime_as_string(moment, unit="D"))


def _facts(evaluation: Evaluation, source: Source) -> Sequence[tuple[str, str]]:
    shape = evaluation.distribution
    dropped = ", ".join(f"{reason}: {count:,}" for reason, count in evaluation.dropped.items() if count)
    kind = {
        "cross_section": "across symbols, bar by bar",
        "time_series": "over time, symbol by symbol, and their mean: there are too few symbols for a cross-section",
    }
    rows: list[tuple[str, Any]] = [
        ("expression", source.expression),
        ("forward return", source.label),
        ("correlations", kind[evaluation.kind]),
        ("first and last bar", f"{iso(evaluation.start)} to {iso(evaluation.end)}"),
        ("symbols", ", ".join(evaluation.symbols)),
        ("pairs", f"{evaluation.rows:,} (bar, symbol) pairs with a factor"),
        ("dropped", dropped or "none"),
        ("quantiles", f"{evaluation.quantiles}; ties share a quantile, no bar is dropped for them"),
        ("cost", "not given" if evaluation.cost is None else f"{100 * evaluation.cost:.6g} % of the traded value"),
        ("factor values", f"mean {shape.mean:.6g}, deviation {shape.std:.6g}, skewness {shape.skewness:.3g}, excess "
                          f"kurtosis {shape.kurtosis_excess:.3g}, zeros {shape.zeros:,}, constant cross-sections "
                          f"{shape.constant_bars:,}"),
        ("store", source.store),
    ]  # fmt: skip
    return [(name, str(value)) for name, value in rows if value not in (None, "")]
