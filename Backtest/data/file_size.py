"""How much a kline file holds, from its size and its first lines: for planning memory before anything is read."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from .cells import parse_time_cell

HEAD = 1 << 16
"""Bytes from which the length of a line is taken: hundreds of lines."""

TEXT_COPIES = 2
"""The text itself and its cells as strings, both there when the last cell has been cut out."""

CELL = 13
"""Bytes of a cell besides its text: offset of the string 4, number 8, flag 1."""

PARQUET_CELL = 24
"""Bytes of a cell of a Parquet file: decoded, as a number, and sorted."""


@dataclass(frozen=True)
class FileSize:
    """What a file is expected to hold.

    Attributes
    ----------
    name
        File name.
    bars, columns
        Rows of the table and cells of a row; of a text file they are estimated from its first lines.
    first_ns
        Open time of the first row; None where it is not read.
    reading
        Bytes of memory that parsing it takes at the peak.
    """

    name: str
    bars: int
    columns: int
    first_ns: int | None
    reading: int


def file_size(path: Path) -> FileSize | None:
    """Return the expected content of a kline file; None where it cannot be told, which reading it will explain."""
    try:
        if path.name.lower().endswith(".parquet"):
            return _parquet_size(path)
        return _text_size(path)
    except (OSError, ValueError, zlib.error):
        return None


def _text_size(path: Path) -> FileSize | None:
    size = packed = path.stat().st_size
    with open(path, "rb") as stream:
        head = stream.read(HEAD)
        if head[:2] == b"\x1f\x8b":
            head = zlib.decompressobj(wbits=31).decompress(head, HEAD)
            stream.seek(-4, os.SEEK_END)
            # the last four bytes of a .gz file are the length of its content
            size = max(packed, int.from_bytes(stream.read(4), "little"))
    header, _, body = head.partition(b"\n")
    lines = body.split(b"\n")
    whole = lines[:-1] if len(lines) > 1 else lines
    length = sum(len(line) + 1 for line in whole) / len(whole)
    bars = max(1, round((size - len(header)) / length))
    columns = header.count(b",") + 1
    first = parse_time_cell(whole[0].partition(b",")[0].decode("utf-8").strip('" '))
    reading = TEXT_COPIES * size + bars * columns * CELL
    return FileSize(path.name, bars, columns, first[1] if first else None, reading)


def _parquet_size(path: Path) -> FileSize:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        facts = parquet.read_metadata(path)
    except pa.ArrowException as error:
        raise ValueError(str(error)) from None
    reading = path.stat().st_size + facts.num_rows * facts.num_columns * PARQUET_CELL
    return FileSize(path.name, max(1, facts.num_rows), facts.num_columns, None, reading)
