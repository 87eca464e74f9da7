"""factors.html and factors.json: several factors side by side, how alike they are, and what each adds to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Backtest.files import write_json, write_text

from ..measures.document import number
from ..measures.evaluation import SeriesSummary
from ..measures.family import Family
from .chart import Chart, Heat, Series, cells, numbers
from .headline import fixed, p_cell
from .page import SCRIPT, drawn, render, write_script
from .verdict import minus
from .write import HTML, Report, Trials

PAGE, TWIN = "factors.html", "factors.json"
MOST_SHOWN = 60
"""Factors up to which the correlation map has readable words."""


@dataclass(frozen=True)
class Compared:
    """What is known of several factors.

    Attributes
    ----------
    reports, trials
        Factor -> its report, and its p-values among all trials.
    family
        Correlations, clusters, what each adds; None where they could not be computed, `why_not` says why.
    horizon
        Of the incremental rank ICs.
    """

    reports: Mapping[str, Report]
    trials: Mapping[str, Trials]
    family: Family | None
    horizon: str = ""
    why_not: str = ""


def write_comparison(compared: Compared, folder: Path, *, html: bool = True) -> Path:
    """Write both files into a reports folder and return the page's path, or the twin's without `html`."""
    charts = {name: chart for name, chart in _charts(compared).items() if not chart.empty}
    for old in (folder / TWIN, folder / PAGE):
        old.unlink(missing_ok=True)
    if html:
        write_script(folder)
        write_text(folder / PAGE, _page(compared, charts))
    write_json(folder / TWIN, _document(compared, charts))
    return folder / (PAGE if html else TWIN)


def _page(compared: Compared, charts: Mapping[str, Chart]) -> str:
    first = next(iter(compared.reports.values()))
    return render(
        "factors.html.j2",
        subtitle=first.subtitle,
        synthetic=first.source.synthetic,
        rows=_rows(compared),
        count=_trial_count(compared.trials),
        horizon=compared.horizon,
        why_not=compared.why_not,
        charts=drawn(charts),
        script=SCRIPT,
    )


def _rows(compared: Compared) -> list[dict[str, Any]]:
    """Return a row per factor, the smallest corrected p-value first."""
    rows = []
    family = compared.family
    for name, report in compared.reports.items():
        key = report.verdict.horizon
        found = compared.trials.get(name, {}).get(key)
        horizon = report.document["horizons"].get(key, {})
        adds = family.incremental.get(name) if family else None
        rows.append(
            {
                "name": name,
                "href": f"{name}/{HTML}",
                "order": found.benjamini_hochberg if found and np.isfinite(found.benjamini_hochberg) else 2.0,
                "cells": [
                    f"{family.clusters[family.names.index(name)] + 1}" if family else "–",
                    key or "–",
                    _told(horizon.get("rank_ic_mean"), 4),
                    _told(horizon.get("rank_ic_t_newey_west"), 2),
                    p_cell(found.p_value) if found else "–",
                    p_cell(found.benjamini_hochberg) if found else "–",
                    p_cell(found.benjamini_yekutieli) if found else "–",
                    _adds(adds),
                    report.verdict.headline,
                ],
            }
        )
    return sorted(rows, key=lambda row: (row["order"], row["name"]))


def _told(value: float | None, digits: int) -> str:
    return "–" if value is None else fixed(value, digits)


def _adds(summary: SeriesSummary | None) -> str:
    if summary is None or not np.isfinite(summary.mean):
        return "–"
    return f"{minus(summary.mean)} (t {minus(summary.t_newey_west, 2)})"


def _charts(compared: Compared) -> dict[str, Chart]:
    family = compared.family
    if family is None:
        return {}
    order = np.argsort(np.array(family.clusters), kind="stable")
    names = tuple(family.names[place] for place in order)
    shown = order[:MOST_SHOWN]
    table = family.correlation[np.ix_(shown, shown)]
    heat = Heat(names[:MOST_SHOWN], names[:MOST_SHOWN], cells(table))
    summaries = [family.incremental[name] for name in names]
    curve = Series(
        "incremental rank IC",
        names,
        numbers(summary.mean for summary in summaries),
        "bars",
        low=numbers(summary.interval[0] for summary in summaries),
        high=numbers(summary.interval[1] for summary in summaries),
    )
    cut = "" if len(names) <= MOST_SHOWN else f" The first {MOST_SHOWN} of {len(names)} are shown."
    return {
        "correlation": Chart(
            "How alike the factors are",
            "Mean rank correlation across symbols of each pair, factors of one cluster side by side. Factors that are "
            f"much alike are one finding, not two.{cut}",
            "", "", "label", heats=(heat,), diverging=True, span=(-1.0, 1.0),
        ),
        "incremental": Chart(
            "What each factor adds to the others",
            f"Rank IC at horizon {compared.horizon} of what the other factors do not explain, with its 95 % interval, "
            f"over the {family.pairs:,} (bar, symbol) pairs that have every factor.",
            "", "rank IC", "label", series=(curve,),
        ),
    }  # fmt: skip


def _trial_count(trials: Mapping[str, Trials]) -> int:
    return max((found.trials for one in trials.values() for found in one.values()), default=0)


def _document(compared: Compared, charts: Mapping[str, Chart]) -> dict[str, Any]:
    family = compared.family
    factors = {
        name: {
            "verdict": report.verdict.headline,
            "horizon": report.verdict.horizon or None,
            "trials": {
                key: {
                    "p_value": number(found.p_value),
                    "benjamini_hochberg": number(found.benjamini_hochberg),
                    "benjamini_yekutieli": number(found.benjamini_yekutieli),
                }
                for key, found in compared.trials.get(name, {}).items()
            },
            "cluster": family.clusters[family.names.index(name)] if family else None,
            "incremental_rank_ic": number(family.incremental[name].mean) if family else None,
            "incremental_t_newey_west": number(family.incremental[name].t_newey_west) if family else None,
        }
        for name, report in compared.reports.items()
    }
    first = next(iter(compared.reports.values()))
    return {
        "bar_freq": first.bar_freq,
        "run_id": first.source.run_id,
        "synthetic": first.source.synthetic,
        "trials": _trial_count(compared.trials),
        "incremental_horizon": compared.horizon or None,
        "incremental_pairs": family.pairs if family else None,
        "not_compared": compared.why_not or None,
        "factors": factors,
        "correlation": {"names": list(family.names), "cells": _table(family)} if family else None,
        "figures": {name: chart.twin() for name, chart in charts.items()},
    }


def _table(family: Family) -> Sequence[Sequence[float | None]]:
    return [[number(value) for value in row] for row in family.correlation]
