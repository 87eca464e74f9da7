"""Runs as text for a terminal: one run, all runs, two runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ..errors import SettingsError, did_you_mean
from ..metrics import METRICS
from ..report.words import GROUPS, label, metric_words, param_words
from ..results import Run, was_ruined
from .index import Entry

LISTED = ("total_return", "annualized_return", "sharpe_ratio", "max_drawdown", "num_trades")
FACTS = ("run_id", "strategy", "timeframe", "factor_set", "start", "end", "created_at")
DIFFERING = ("strategy", "market", "engine", "factor_set", "timeframe", "start", "end", "symbols", "settings")

BESIDE = 40
"""Letters of a value that stands beside the other run's; more are put below."""

Table = Sequence[Sequence[str]]


def aligned(rows: Table, *, left: int = 1) -> str:
    """Return rows as text columns: the first `left` to the left, the rest to the right; two blanks between."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if n < left else cell.rjust(width)
                 for n, (cell, width) in enumerate(zip(row, widths, strict=True))]  # fmt: skip
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def run_text(run: Run) -> str:
    """Return one run: what was run, then the metrics by group."""
    context = run.context
    what = [
        ("run", run.run_id),
        ("strategy", f"{context['strategy']['name']} {param_words(context['strategy']['params'])}"),
        ("factor set", f"{context['factor_set']}, {context['timeframe']} bars, {len(context['symbols'])} symbols"),
        *([("market", market_words(context))] if context.get("market", "spot") != "spot" else []),
        ("window", f"{context['start']} to {context['end']}"),
        ("folder", str(run.folder)),
    ]
    overlays = context.get("settings", {}).get("overlays")
    if overlays:
        what.insert(2, ("overlays", "  ".join(overlays)))
    if was_ruined(context):
        what.append(("outcome", "RUINED: equity reached zero and the run ended there"))
    if context.get("synthetic"):
        what.append(("prices", "synthetic market: no evidence for the strategy"))
    parts = [aligned(what, left=2)]
    for group, names in GROUPS.items():
        rows = [(f"  {label(name)}", metric_words(name, run.metrics[name])) for name in names if name in run.metrics]
        if rows:
            parts.append(f"{group}\n{aligned(_to_width(rows))}")
    parts += [f"warning: {warning}" for warning in context.get("warnings", [])]
    return "\n\n".join(parts)


def market_words(context: Mapping[str, Any]) -> str:
    """Return the terms of a run on futures."""
    settings = context["settings"]
    own = {name: limits.get("leverage") for name, limits in context["instruments"].items()}
    words = [f"{name} {value:g}" for name, value in own.items() if value is not None and name in context["symbols"]]
    leverage = ", ".join([f"leverage {settings['leverage']:g}", *words])
    return f"{context['market']} (USDT-M futures), {settings['margin_mode']} margin, {leverage}"


def _to_width(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Widen the columns so that those of all groups stand below each other."""
    longest = 2 + max(len(label(name)) for name in METRICS)
    return [(name.ljust(longest), value.rjust(20)) for name, value in rows]


def sorted_entries(entries: Sequence[Entry], by: str | None) -> list[Entry]:
    """Return the index sorted by a metric, the best first and null last, or by a fact; oldest first without `by`."""
    if by is None:
        return list(entries)
    if by in FACTS:
        return sorted(entries, key=lambda entry: str(entry[by]))
    if by not in METRICS:
        near = did_you_mean(by, [*METRICS, *FACTS]) or ";"
        raise SettingsError(f"--sort {by!r} is not a metric{near} analyze_run --metrics lists them")
    present = [entry for entry in entries if entry["metrics"].get(by) is not None]
    absent = [entry for entry in entries if entry["metrics"].get(by) is None]
    return sorted(present, key=lambda entry: entry["metrics"][by], reverse=METRICS[by].better != "low") + absent


def list_text(entries: Sequence[Entry], by: str | None) -> str:
    """Return a table of runs, one a line; a metric that is sorted by gets a column, and so does ruin where it was."""
    names = LISTED if by is None or by in LISTED or by not in METRICS else (by, *LISTED)
    ruin = ("ruined",) if any(entry["ruined"] for entry in entries) else ()
    head = ("run_id", "strategy", "tf", "factor set", "start", "end", "symbols", *names, *ruin)
    rows = [head]
    for entry in sorted_entries(entries, by):
        metrics = [metric_words(name, entry["metrics"].get(name)) for name in names]
        facts = [entry["run_id"], entry["strategy"], entry["timeframe"], entry["factor_set"]]
        ended = ("yes" if entry["ruined"] else "no",) * len(ruin)
        rows.append((*facts, entry["start"][:10], entry["end"][:10], str(len(entry["symbols"])), *metrics, *ended))
    return aligned(rows, left=6) if len(rows) > 1 else "no runs yet"


def metrics_text() -> str:
    """Return every metric with its unit and formula, one a line."""
    rows = [("metric", "unit", "formula"), *((row.name, row.unit, row.formula) for row in METRICS.values())]
    return aligned(rows, left=3)


def metrics_markdown() -> str:
    """Return the same table as Markdown, for the README."""
    rows = [(f"`{row.name}`", row.unit, row.formula.replace("|", "\\|")) for row in METRICS.values()]
    lines = [("metric", "unit", "formula"), ("---", "---", "---"), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def comparison(left: Run, right: Run) -> dict[str, Any]:
    """Return two runs side by side: every metric, what was asked differently, the first order that differs."""
    metrics = {}
    for name in (name for name in METRICS if name in left.metrics or name in right.metrics):
        one, other = left.metrics.get(name), right.metrics.get(name)
        change = other - one if isinstance(one, int | float) and isinstance(other, int | float) else None
        metrics[name] = {"a": one, "b": other, "difference": change}
    return {
        "a": left.run_id,
        "b": right.run_id,
        "differing": differing(left.context, right.context),
        "metrics": metrics,
        "first_differing_order": first_differing_line(left.folder / "orders.csv", right.folder / "orders.csv"),
    }


def differing(left: Mapping[str, Any], right: Mapping[str, Any], prefix: str = "") -> dict[str, list[Any]]:
    """Return what two contexts were asked differently: dotted key -> both values."""
    found: dict[str, list[Any]] = {}
    for key in DIFFERING if not prefix else sorted({*left, *right}):
        one, other = left.get(key), right.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found |= differing(one, other, f"{prefix}{key}.")
        elif one != other:
            found[f"{prefix}{key}"] = [one, other]
    return found


def first_differing_line(left: Path, right: Path) -> dict[str, Any] | None:
    """Return the first line in which two CSV files differ, with what each has there; None when they are equal."""
    mine, theirs = (path.read_text(encoding="utf-8").splitlines() for path in (left, right))
    for line, (one, other) in enumerate(zip_longest(mine, theirs), 1):
        if one != other:
            return {"line": line, "a": one, "b": other}
    return None


def asked_text(found: Mapping[str, Sequence[Any]]) -> str:
    """Return what was asked differently: short values beside each other, long ones below their name."""
    rows = [(f"  {name}", words(one), words(other)) for name, (one, other) in found.items()]
    short = [row for row in rows if max(map(len, row[1:])) <= BESIDE]
    long = [f"{name}\n    a: {one}\n    b: {other}" for name, one, other in rows if (name, one, other) not in short]
    return "\n".join([*([aligned(short, left=3)] if short else []), *long])


def words(value: Any) -> str:
    """Return a value of a context as text; the entries of a list with blanks between."""
    return (" ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def comparison_text(found: Mapping[str, Any]) -> str:
    """Return a comparison as text."""
    rows: list[tuple[str, ...]] = [("", found["a"], found["b"], "difference")]
    for name, values in found["metrics"].items():
        change = values["difference"]
        shown = "" if change is None or change == 0 else ("+" if change > 0 else "") + metric_words(name, change)
        rows.append((label(name), metric_words(name, values["a"]), metric_words(name, values["b"]), shown))
    parts = [aligned(rows)]
    if found["differing"]:
        parts.append("asked differently\n" + asked_text(found["differing"]))
    first = found["first_differing_order"]
    if first is None:
        parts.append("orders: identical")
    else:
        parts.append(f"first differing order, line {first['line']} of orders.csv\n  a: {first['a']}\n  b: {first['b']}")
    return "\n\n".join(parts)
