"""A published run read back from its files: the record and the outcome as they were, for plots and comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.panel import Floats
from ..data.timeframe import parse_timeframe
from ..engine.ledger import Order, RunRecord
from ..errors import RunError
from ..files import write_bytes, write_text
from ..report.html import report_html
from ..report.plots import Subject, draw_all
from ..results import Run, was_ruined
from .outcome import MARGIN_COLUMN, Outcome, read_table


def reread(run: Run) -> Outcome:
    """Return the outcome of a run from its folder, bit for bit as it was written.

    Raises
    ------
    RunError
        A file is missing or damaged, or two files do not belong together.
    """
    curve = read_table(run.folder / "equity_curve.csv")
    stamps = moments(curve["timestamp"])
    if not len(stamps):
        raise RunError(f"{run.folder / 'equity_curve.csv'} holds no bar; the run folder is damaged")
    symbols = tuple(run.context["symbols"])
    try:
        sizes, marks = _holdings(run.folder / "positions.csv", stamps, symbols)
        orders = _orders(run.folder / "orders.csv", stamps)
    except KeyError as error:
        raise RunError(
            f"{run.folder}: {error.args[0]} is in one file and not in another; the folder is damaged"
        ) from None
    record = RunRecord(
        timestamp=stamps,
        symbols=symbols,
        equity=_numbers(curve, "equity"),
        cash=_numbers(curve, "cash"),
        sizes=sizes,
        marks=marks,
        orders=orders,
        ruined=was_ruined(run.context),
        used_margin=_numbers(curve, MARGIN_COLUMN) if MARGIN_COLUMN in curve else None,
    )
    benchmark = _numbers(curve, "benchmark")
    return Outcome(
        record=record,
        timeframe=parse_timeframe(run.context["timeframe"]),
        initial_cash=float(run.metrics["initial_cash"]),
        benchmark=None if np.isnan(benchmark).all() else benchmark,
        equal_weight=_numbers(curve, "equal_weight"),
        metrics=run.metrics,
    )


def redraw(run: Run) -> list[Path]:
    """Draw the plots and the report of a run again from its files, and return their paths."""
    outcome = reread(run)
    plots = draw_all(outcome, subject_of(run.context))
    trades = json.loads((run.folder / "trades.json").read_text(encoding="utf-8"))
    for name, content in plots.items():
        write_bytes(run.folder / name, content)
    page = report_html(run.context, outcome.metrics, plots=plots, trades=trades, notes=run.context["warnings"])
    write_text(run.folder / "report.html", page)
    return [run.folder / name for name in (*plots, "report.html")]


def subject_of(context: dict[str, Any]) -> Subject:
    """Return what the titles of a run's plots say."""
    return Subject(
        strategy=context["strategy"]["name"],
        factor_set=context["factor_set"],
        run_id=context["run_id"],
        benchmark=context["inputs"]["benchmark"] or "",
        synthetic=context["synthetic"],
    )


def moments(texts: Any) -> NDArray[np.datetime64]:
    """Return ISO 8601 times with Z as datetime64[ns]."""
    return np.array([text.removesuffix("Z") for text in texts], dtype="datetime64[ns]")


def _numbers(table: dict[str, Any], name: str) -> Floats:
    return np.asarray(table[name], dtype=np.float64)


def _holdings(path: Path, stamps: NDArray[np.datetime64], symbols: tuple[str, ...]) -> tuple[Floats, Floats]:
    table = read_table(path)
    row_of = {stamp: row for row, stamp in enumerate(stamps.astype(np.int64).tolist())}
    column_of = {symbol: column for column, symbol in enumerate(symbols)}
    rows = [row_of[stamp] for stamp in moments(table["timestamp"]).astype(np.int64).tolist()]
    columns = [column_of[str(symbol)] for symbol in table["symbol"]]
    sizes, marks = np.zeros((len(stamps), len(symbols))), np.full((len(stamps), len(symbols)), np.nan)
    sizes[rows, columns] = table["size"]
    marks[rows, columns] = table["price"]
    return sizes, marks


def _orders(path: Path, stamps: NDArray[np.datetime64]) -> tuple[Order, ...]:
    table: dict[str, Any] = read_table(path)
    row_of = {stamp: row for row, stamp in enumerate(stamps.astype(np.int64).tolist())}
    created, filled = (
        [row_of[stamp] for stamp in moments(table[name]).astype(np.int64).tolist()]
        for name in ("created_at", "filled_at")
    )
    numbers = [table[name].tolist() for name in ("size", "price", "value", "commission", "slippage")]
    ids = (int(order_id) for order_id in table["order_id"])
    words = [table[name] for name in ("reason", "status", "detail")]
    rows = zip(ids, created, filled, table["symbol"], table["side"], *numbers, *words, strict=True)
    return tuple(Order(*row) for row in rows)
