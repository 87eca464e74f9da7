"""The table of a sweep's trials, as text and as Parquet."""

from __future__ import annotations

import numpy as np

from ..metrics import Value
from ..runs.outcome import csv_text, number

Columns = dict[str, list[Value]]
"""Column -> a value for each trial; None: a measure has none."""


def plain(value: float, *, whole: bool) -> Value:
    """Return a measure as metrics.json has it."""
    if not np.isfinite(value):
        return None
    return int(value) if whole else value


def trials_csv(columns: Columns) -> str:
    """Return the table as CSV; a measure without a value is an empty cell."""
    return csv_text(tuple(columns), zip(*(map(cell, values) for values in columns.values()), strict=True))


def cell(value: Value) -> str:
    """Return a value as text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return number(value) if isinstance(value, float) else str(value)


def trials_parquet(columns: Columns) -> bytes:
    """Return the table as Parquet; a measure without a value is null."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), sink)
    return sink.getvalue()
