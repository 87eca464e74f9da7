"""The rows of a kline file as Python's csv module sees them: slow, plain, and independent of the project's reader.

Only the names of columns (`schema.column_of`) and the rule of each (`schema.BY_NAME`) are shared with the reader.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from Backtest.data.schema import BY_NAME, FIELDS, PRICES, REQUIRED, column_of
from Backtest.data.timeframe import Timeframe

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass
class RawBar:
    """One bar of the run: the rows of the file inside it, each as (open time in ns, place in the file, cells)."""

    rows: list[tuple[int, int, dict[str, str]]] = field(default_factory=list)

    def values(self) -> dict[str, float | None]:
        """Return the bar's fields, combined as `schema` says; None for an empty cell, no field without a good row."""
        good = {ns: numbers for ns, _, cells in reversed(self.rows) if (numbers := good_numbers(cells)) is not None}
        ordered = [good[ns] for ns in sorted(good)]
        names = [name for name in FIELDS if ordered and name in ordered[0]]
        return {name: combined(name, [row[name] for row in ordered]) for name in names}


def combined(name: str, values: list[float | None]) -> float | None:
    """Return one field of a bar from its finer bars: first, max, min, last or the correctly rounded sum."""
    rule = BY_NAME[name].combine
    if rule in ("first", "last"):
        return values[0 if rule == "first" else -1]
    there = [value for value in values if value is not None]
    if len(there) < len(values):
        return None
    return max(there) if rule == "max" else min(there) if rule == "min" else math.fsum(there)


def good_numbers(cells: dict[str, str]) -> dict[str, float | None] | None:
    """Return a row's numbers, None for an empty optional cell; None for a row that the stated rules drop."""
    numbers: dict[str, float | None] = {}
    for name in FIELDS:
        if name not in cells:
            continue
        try:
            value = float(cells[name].strip() or "nan")
        except ValueError:
            return None
        if math.isinf(value) or (math.isnan(value) and name in REQUIRED):
            return None
        if BY_NAME[name].kind == "amount" and value < 0:
            return None
        numbers[name] = None if math.isnan(value) else value
    opened, high, low, close = (numbers[name] or 0.0 for name in PRICES)
    return numbers if 0 < low <= min(opened, close) and max(opened, close) <= high else None


def read_raw(
    path: Path, *, source: Timeframe, target: Timeframe, wanted: Collection[int]
) -> tuple[dict[int, RawBar], list[int]]:
    """Return the rows of the `wanted` bars of `target`, and the indices of all bars that have a row, sorted."""
    bars: dict[int, RawBar] = {}
    seen: set[int] = set()
    chosen = frozenset(wanted)
    rows = _rows(path)
    _, names = next(rows)
    stamp = names.index("open_time")
    for place, cells in rows:
        ns = time_ns(cells[stamp])
        if ns is None or (ns - source.origin_ns) % source.ns:
            continue
        bar = (ns - target.origin_ns) // target.ns
        seen.add(bar)
        if bar in chosen:
            named = {name: cell for name, cell in zip(names, cells, strict=True) if name}
            bars.setdefault(bar, RawBar()).rows.append((ns, place, named))
    return bars, sorted(seen)


def time_ns(cell: str) -> int | None:
    """Return a time as ns since the epoch; epoch numbers by their magnitude, ISO without a zone is UTC."""
    text = cell.strip()
    whole = text.split(".")[0]
    if whole.isascii() and whole.isdigit():
        number = int(whole)
        scale = next(
            (scale for above, scale in ((10**17, 1), (10**14, 10**3), (10**11, 10**6)) if number >= above), 10**9
        )
        return number * scale
    try:
        time = datetime.fromisoformat(text.replace("UTC", "+00:00").replace("Z", "+00:00").replace(" +", "+"))
    except ValueError:
        return None
    return ((time if time.tzinfo else time.replace(tzinfo=timezone.utc)) - EPOCH) // timedelta(microseconds=1) * 1000


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the columns' names ("" for an unknown one), then (place, cells) of every row.

    The place is a text file's line, a Parquet file's row.
    """
    if path.name.lower().endswith(".parquet"):
        yield from _parquet_rows(path)
        return
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else open(path, "rb") as stream:
        reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
        names = [column_of(cell) or "" for cell in next(reader)]
        yield 0, names
        for cells in reader:
            if len(cells) == len(names):
                yield reader.line_num, cells


def _parquet_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    import pyarrow.parquet as pq

    file, place = pq.ParquetFile(path), 0
    yield 0, [column_of(name) or "" for name in file.schema_arrow.names]
    for batch in file.iter_batches():
        for row in batch.to_pylist():
            place += 1
            yield place, [_text(cell) for cell in row.values()]


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return str(cell.isoformat()) if hasattr(cell, "isoformat") else repr(cell)
