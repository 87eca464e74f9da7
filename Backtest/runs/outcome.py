"""What a run looks like on disk: the fixed columns and keys of a run folder's tables, as text.

Floats are written with their shortest exact form, so that reading a file back gives the same bits; missing is an
empty cell in CSV and null in JSON; lines end with LF on every system; times are ISO 8601 UTC with Z.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.panel import Floats
from ..data.timeframe import Timeframe
from ..engine.ledger import RunRecord
from ..errors import RunError
from ..files import json_text
from ..metrics import Value
from ..returns import drawdown
from ..trades import round_trips

EQUITY_COLUMNS = (
    "timestamp", "equity", "cash", "gross_exposure", "net_exposure", "drawdown", "benchmark", "equal_weight",
)  # fmt: skip
MARGIN_COLUMN = "initial_margin"
"""Last column of equity_curve.csv of a run on futures: what its positions bind of the equity."""

ORDER_COLUMNS = (
    "order_id", "created_at", "filled_at", "symbol", "side", "size", "price", "value", "commission", "slippage",
    "reason", "status", "detail",
)  # fmt: skip
POSITION_COLUMNS = ("timestamp", "symbol", "size", "price", "value", "weight")

CSV_COLUMNS = {
    "equity_curve.csv": EQUITY_COLUMNS,
    "orders.csv": ORDER_COLUMNS,
    "positions.csv": POSITION_COLUMNS,
}
TEXT_COLUMNS = frozenset(("timestamp", "created_at", "filled_at", "symbol", "side", "reason", "status", "detail"))


@dataclass(frozen=True)
class Outcome:
    """All that a run computed.

    Attributes
    ----------
    record
        What the engine returned.
    timeframe
        Bar length of its clock.
    initial_cash
        Quote currency before the first bar.
    benchmark, equal_weight
        Comparison curves [T]; None for a benchmark without klines.
    metrics
        What `compute_metrics` returned.
    """

    record: RunRecord
    timeframe: Timeframe
    initial_cash: float
    benchmark: Floats | None
    equal_weight: Floats
    metrics: dict[str, Value]


def result_texts(outcome: Outcome) -> dict[str, str]:
    """Return file name -> text of everything that the same inputs must give again byte for byte."""
    return {
        "equity_curve.csv": equity_csv(outcome),
        "orders.csv": orders_csv(outcome.record),
        "positions.csv": positions_csv(outcome.record),
        "trades.json": json_text(round_trips(outcome.record)),
        "metrics.json": json_text(outcome.metrics),
    }


def exposures(record: RunRecord) -> tuple[Floats, Floats]:
    """Return gross and net exposure [T]: position values over equity, absolute and signed; 0 where nothing is held."""
    values = position_values(record)
    gross, net = np.abs(values).sum(axis=1), values.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        held = gross > 0
        return np.where(held, gross / record.equity, 0.0), np.where(held, net / record.equity, 0.0)


def position_values(record: RunRecord) -> Floats:
    """Return size x mark at each close, [T, S], 0 where nothing is held."""
    return np.where(record.sizes != 0, record.sizes * record.marks, 0.0)


def equity_csv(outcome: Outcome) -> str:
    """Return equity_curve.csv: one row a bar, valued at its close."""
    record = outcome.record
    gross, net = exposures(record)
    empty = np.full(len(record.equity), np.nan)
    columns = [
        record.equity, record.cash, gross, net, drawdown(record.equity, outcome.initial_cash),
        empty if outcome.benchmark is None else outcome.benchmark, outcome.equal_weight,
    ]  # fmt: skip
    names = EQUITY_COLUMNS if record.used_margin is None else (*EQUITY_COLUMNS, MARGIN_COLUMN)
    columns += [] if record.used_margin is None else [record.used_margin]
    numbers = (map(number, column.tolist()) for column in columns)
    return csv_text(names, zip(iso_times(record.timestamp), *numbers, strict=True))


def orders_csv(record: RunRecord) -> str:
    """Return orders.csv: every order in the order of creation, the rejected ones included."""
    times = iso_times(record.timestamp)
    rows = (
        (
            str(order.order_id), times[order.created_bar], times[order.filled_bar], order.symbol, order.side,
            number(order.size), number(order.price), number(order.value), number(order.commission),
            number(order.slippage), order.reason, order.status, order.detail,
        )
        for order in record.orders
    )  # fmt: skip
    return csv_text(ORDER_COLUMNS, rows)


def positions_csv(record: RunRecord) -> str:
    """Return positions.csv: each holding at each bar's close, by time, then symbol."""
    times = iso_times(record.timestamp)
    values = position_values(record)
    bars, columns = np.nonzero(record.sizes)
    held = [array[bars, columns] for array in (record.sizes, record.marks, values)]
    numbers = (map(number, array.tolist()) for array in (*held, held[-1] / record.equity[bars]))
    names = (record.symbols[column] for column in columns.tolist())
    return csv_text(POSITION_COLUMNS, zip((times[bar] for bar in bars.tolist()), names, *numbers, strict=True))


def iso_times(timestamp: np.ndarray) -> list[str]:  # type: ignore[type-arg]
    """Return UTC moments as ISO 8601 with Z, to the second."""
    return [f"{moment}Z" for moment in np.datetime_as_string(timestamp.astype("datetime64[s]")).tolist()]


def number(value: float) -> str:
    """Return the shortest text that reads back as the same float64; missing is empty, minus zero is zero."""
    return "" if value != value else repr(float(value) + 0.0)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a header and rows, LF at every end. No value of ours holds a comma, a quote or a line break."""
    return "\n".join([",".join(columns), *(",".join(row) for row in rows)]) + "\n"


def read_table(path: Path) -> dict[str, Any]:
    """Return a run folder's CSV as columns: text as lists, numbers as float64 with NaN for empty cells."""
    expected = CSV_COLUMNS[path.name]
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); the run folder is damaged") from None
    if tuple(header[: len(expected)]) != expected:
        raise RunError(f"{path}: columns are {','.join(header)}; expected {','.join(expected)}")
    for line, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise RunError(f"{path}, line {line}: {len(row)} cells; the header has {len(header)}")
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    try:
        return {
            name: list(column) if name in TEXT_COLUMNS else np.array([float(cell or "nan") for cell in column])
            for name, column in zip(header, cells, strict=True)
        }
    except ValueError as error:
        raise RunError(f"{path}: {error}; the run folder is damaged") from None
