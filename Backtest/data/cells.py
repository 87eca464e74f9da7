"""Text cells to numbers and times, exactly: a whole column at once where it is clean, cell by cell where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .arrow import to_numpy, to_scalar, to_texts
from .panel import Bools, Floats

Integers = NDArray[np.int64]
TimeKind = Literal["epoch", "naive", "zoned"]

EPOCH_SCALES = ((100_000_000, 1_000_000_000), (100_000_000_000, 1_000_000), (10**14, 1_000), (10**17, 1))
"""Smallest magnitude -> nanoseconds: seconds, milliseconds, microseconds, nanoseconds since the epoch.

Each unit covers 1973-03-03 to 2262-04-11: no two share a magnitude, and 20210101 (a date written as a number) is none.
"""
EPOCH_UNITS = ("s", "ms", "us", "ns")
LAST_NS = 2**63 - 1

ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)? ?(Z|UTC|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)?)?",
    re.ASCII,
)
EPOCH = re.compile(r"(\d{1,19})(?:\.0*)?", re.ASCII)
NO_TIME = ("", "nan", "nat")
"""Cells, in lower case, that hold no time and no error: what writers put where a value is missing."""
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,4})?|inf|infinity|nan)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Numbers:
    """A column of numbers: `values` float64 [N] (NaN where there is none), `text` bool [N]: not a number at all."""

    values: Floats
    text: Bools


@dataclass(frozen=True)
class Times:
    """A column of times.

    Attributes
    ----------
    ns
        int64 [N], nanoseconds since the epoch, UTC; 0 where there is none.
    valid
        bool [N].
    empty
        bool [N]: a cell of NO_TIME.
    unit
        int8 [N]: 0..3 for an epoch number in s, ms, us, ns; 4 for ISO without a zone; 5 for ISO with one; -1 for none.
    zones
        Distinct offsets of the zoned times, minutes east of UTC, and the first row of each.
    """

    ns: Integers
    valid: Bools
    empty: Bools
    unit: NDArray[np.int8]
    zones: dict[int, int]


NAIVE, ZONED = 4, 5


def parse_numbers(cells: Any) -> Numbers:
    """Read an Arrow string array without nulls as float64, each correctly rounded; empty and ``nan`` cells are NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        full = pc.if_else(pc.equal(cells, to_scalar("")), to_scalar("nan"), cells)
        values = to_numpy(pc.cast(full, pa.float64()), np.float64)
        return Numbers(values, np.zeros(len(values), np.bool_))
    except pa.ArrowInvalid:
        return _numbers_by_cell(cells.to_pylist())


def _numbers_by_cell(cells: Iterable[str | None]) -> Numbers:
    values: list[float] = []
    text: list[bool] = []
    for raw in cells:
        cell = (raw or "").strip()
        good = NUMBER.fullmatch(cell) is not None
        values.append(float(cell) if good else np.nan)
        text.append(not good and cell != "")
    return Numbers(np.array(values, np.float64), np.array(text, np.bool_))


def parse_times(cells: Any) -> Times:
    """Read Arrow text without nulls as times: epoch numbers by magnitude, ISO without a zone as UTC, ISO with one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    no_time = pc.is_in(pc.utf8_lower(cells), to_texts(NO_TIME))
    empty = to_numpy(no_time, np.bool_)
    # a whole-number column with gaps comes as 1609459200000.0 out of many tools
    digits = pc.if_else(no_time, to_scalar("0"), pc.replace_substring_regex(cells, r"\.0*$", ""))
    full = pc.if_else(no_time, pa.nulls(1, pa.string())[0], cells)
    try:
        if pc.all(pc.ascii_is_decimal(digits)).as_py():
            return epoch_times(to_numpy(pc.cast(digits, pa.int64()), np.int64), empty)
        return _iso_times(pc.cast(full, pa.timestamp("ns")), empty, NAIVE, {})
    except pa.ArrowInvalid:
        pass  # not all of them are of one kind: the next reading, in the end the one by cell, decides
    try:
        zoned = pc.cast(full, pa.timestamp("ns", "UTC"))
        return _iso_times(zoned, empty, ZONED, _zones(pc.extract_regex(full, r"(?P<zone>Z|[+-]\d\d:?(?:\d\d)?)$")))
    except pa.ArrowInvalid:
        return _times_by_cell(cells.to_pylist())


def epoch_times(numbers: Integers, empty: Bools) -> Times:
    """Scale epoch numbers to nanoseconds by the magnitude of each; `empty` ones are 0."""
    ns = np.zeros(len(numbers), np.int64)
    unit = np.full(len(numbers), -1, np.int8)
    for code, (low, scale) in enumerate(EPOCH_SCALES):
        fits = (numbers >= low) & (numbers <= LAST_NS // scale)
        ns[fits] = numbers[fits] * scale
        unit[fits] = code
    return Times(ns, unit >= 0, empty, unit, {})


def _iso_times(stamps: Any, empty: Bools, unit: int, zones: dict[int, int]) -> Times:
    import pyarrow.compute as pc

    ns = to_numpy(pc.fill_null(stamps.cast("int64"), to_scalar(0)), np.int64)
    return Times(ns, ~empty, empty, np.where(empty, -1, unit).astype(np.int8), zones)


def _zones(found: Any) -> dict[int, int]:
    first: dict[str, int] = {}
    for row, suffix in enumerate(found.to_pylist()):
        if suffix is not None:  # a cell without a time
            first.setdefault(suffix["zone"], row)
    zones: dict[int, int] = {}
    for suffix, row in first.items():
        zones.setdefault(_minutes(suffix), row)
    return zones


def _minutes(zone: str) -> int:
    if zone in ("Z", "UTC"):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    return (-1 if zone[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:]))


def _times_by_cell(cells: Iterable[str | None]) -> Times:
    rows = [(raw or "").strip() for raw in cells]
    parsed = [parse_time_cell(cell) for cell in rows]
    zones: dict[int, int] = {}
    for row, item in enumerate(parsed):
        if item is not None and item[0] == "zoned":
            zones.setdefault(item[2], row)
    ns = np.array([0 if item is None else item[1] for item in parsed], np.int64)
    unit = np.array([-1 if item is None else _unit(item) for item in parsed], np.int8)
    return Times(ns, unit >= 0, np.array([cell.lower() in NO_TIME for cell in rows], np.bool_), unit, zones)


def _unit(item: tuple[TimeKind, int, int]) -> int:
    return {"epoch": item[2], "naive": NAIVE, "zoned": ZONED}[item[0]]


def parse_time_cell(cell: str) -> tuple[TimeKind, int, int] | None:
    """Return a cell's kind, nanoseconds and (epoch) unit code or (zoned) offset in minutes; None if it is no time."""
    number = EPOCH.fullmatch(cell)
    if number:
        count = int(number[1])
        for code, (low, scale) in enumerate(EPOCH_SCALES):
            if low <= count <= LAST_NS // scale:
                return ("epoch", count * scale, code)
        return None
    match = ISO.fullmatch(cell)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except ValueError:
        return None
    offset = _minutes(match[8]) if match[8] else 0
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc) - timedelta(minutes=offset)
    ns = (since.days * 86_400 + since.seconds) * 1_000_000_000 + int((match[7] or "").ljust(9, "0"))
    if not -LAST_NS <= ns <= LAST_NS:
        return None
    return ("zoned", ns, offset) if match[8] else ("naive", ns, 0)
