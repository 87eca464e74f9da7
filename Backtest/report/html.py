"""report.html: one file with everything in it, that opens without a network and runs no script."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..metrics import METRICS, Value
from ..runs.text import market_words
from .plots import ALL_PLOTS, PLOTS
from .words import GROUPS, label, metric_words, param_words

TEMPLATE = "report.html.j2"
SHOWN_TRADES = 5
"""Best and worst round trips in the report; trades.json has them all."""


def report_html(
    context: Mapping[str, Any],
    metrics: Mapping[str, Value],
    *,
    plots: Mapping[str, bytes],
    trades: Sequence[Mapping[str, Any]],
    notes: Sequence[str],
) -> str:
    """Return the report of a run as HTML.

    Parameters
    ----------
    context
        run_context.json.
    metrics
        metrics.json.
    plots
        File name -> PNG, embedded as data URIs.
    trades
        trades.json.
    notes
        Warnings of the run, shown at its top.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    closed = sorted((trade for trade in trades if trade["status"] == "closed"), key=lambda trade: -trade["net_pnl"])
    return environment.get_template(TEMPLATE).render(
        run=context,
        params=param_words(context["strategy"]["params"]),
        overlays=context["settings"].get("overlays", ()),
        groups=metric_groups(metrics),
        beside=[picture(name, content) for name, content in plots.items() if name not in PLOTS],
        plots=[picture(name, content) for name, content in plots.items() if name in PLOTS],
        best=closed[:SHOWN_TRADES],
        worst=closed[: -SHOWN_TRADES - 1 : -1],
        trips=len(trades),
        notes=notes,
        market=market_words(context) if context.get("market") == "um" else None,
        ruined=bool(context.get("ruined", False)),
    )


def picture(name: str, content: bytes) -> tuple[str, str]:
    """Return what a plot shows, and the PNG as a data URI."""
    return ALL_PLOTS[name][0], "data:image/png;base64," + b64encode(content).decode("ascii")


def metric_groups(metrics: Mapping[str, Value]) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """Return (group, [(label, value, formula)]) in reading order."""
    return [
        (group, [(label(name), metric_words(name, metrics[name]), METRICS[name].formula) for name in names])
        for group, listed in GROUPS.items()
        if (names := [name for name in listed if name in metrics])
    ]
