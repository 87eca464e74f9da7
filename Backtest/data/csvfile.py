"""Kline text files, read strictly: whatever is not exactly one header and full rows is refused by its row number.

1. `gunzip`: a truncated or damaged .gz is refused before anything is parsed.
2. `_check_encoding`: UTF-8 without a byte order mark, no NUL, line breaks LF or CRLF.
3. `_check_widths`: as many cells in every row as in the header.
4. `_read_cells`: the known columns as text, by Arrow.
5. `rows.parse_text_rows`: text to numbers and times.

Row numbers are line numbers of the file; the header is row 1.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from typing import Any

import numpy as np

from ..errors import DataError
from .rows import RawRows, parse_text_rows
from .schema import Header, column_of, match_header

TEXT_LIMIT = 2**31 - 1
"""Bytes of text in one file. A minute file of ten years has 0.6 GB; more is a compression bomb or not klines."""

MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"),
    (b"\xef\xbb\xbf", "UTF-8 with a byte order mark"),
)  # fmt: skip
BARE_RETURN = re.compile(rb"\r(?!\n)")
ARROW_WIDTH = re.compile(r"Row #(\d+): Expected \d+ columns, got (\d+)")
FIRST_ROW = 2
ROWS_FOR_DECIMALS = 100


def gunzip(data: bytes) -> bytes:
    """Return the content of a .gz file; its length and CRC-32 must be right."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            text = stream.read(TEXT_LIMIT + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"not a whole .gz file ({error}); nothing of it was read") from None
    return text


def read_csv(data: bytes) -> RawRows:
    """Read the bytes of a kline text file; raise DataError naming the row of what it cannot be."""
    if len(data) > TEXT_LIMIT:
        raise DataError(f"holds more than {TEXT_LIMIT} bytes of text, the most that is read")
    _check_encoding(data)
    text = data.rstrip(b"\r\n")
    first, _, body = text.partition(b"\n")
    if not first.strip():
        raise DataError("is empty" if not text else "row 1 is empty; it must be the header")
    header = _header(first)
    if not body:
        raise DataError("has a header and no rows")
    buffer = np.frombuffer(text + b"\n", np.uint8)
    _check_widths(buffer, header)
    unterminated = len(text) == len(data)
    if unterminated:
        _check_last_cell(body)
    columns = _read_cells(buffer, header)
    rows = parse_text_rows(columns, header, first_row=FIRST_ROW, unterminated=unterminated)
    _check_repeated_header(rows, columns["open_time"])
    return rows


def _row_of(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _check_encoding(data: bytes) -> None:
    for mark, name in MARKS:
        if data.startswith(mark):
            raise DataError(f"row 1: the file is {name}; save it as plain UTF-8")
    nul = data.find(b"\0")
    if nul >= 0:
        raise DataError(f"row {_row_of(data, nul)} holds a NUL byte; the file is damaged or not UTF-8 text")
    if not data.isascii():
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"row {_row_of(data, error.start)} is not UTF-8 text") from None
    bare = BARE_RETURN.search(data)
    if bare:
        raise DataError(f"row {_row_of(data, bare.start())} holds a bare carriage return; rows end with LF or CRLF")


def _header(line: bytes) -> Header:
    text = line.rstrip(b"\r").decode("utf-8")
    for other in (";", "\t", "|"):
        if "," not in text and other in text:
            raise DataError(f"row 1: columns are separated by {other!r}; a comma is allowed")
    try:
        return match_header([name.strip('"') for name in text.split(",")])
    except DataError as error:
        raise DataError(f"row 1: {error}") from None


def _check_widths(buffer: np.ndarray[Any, np.dtype[np.uint8]], header: Header) -> None:
    ends = np.flatnonzero(buffer == ord("\n"))
    counts = np.diff(np.searchsorted(np.flatnonzero(buffer == ord(",")), ends), prepend=0) + 1
    wrong = np.flatnonzero(counts != header.width)
    if len(wrong):
        row = int(wrong[0])
        content = bytes(buffer[ends[row - 1] + 1 : ends[row]]).strip()
        found = f"has {counts[row]} columns" if content else "is empty"
        raise DataError(f"row {row + 1} {found}; the header has {header.width} columns, one comma between two")
    quotes = np.flatnonzero(buffer == ord('"'))
    odd = np.flatnonzero(np.diff(np.searchsorted(quotes, ends), prepend=0) % 2)
    if len(odd):
        raise DataError(f"row {int(odd[0]) + 1} holds a quotation mark that is not closed")


def _check_last_cell(body: bytes) -> None:
    """Refuse a last line that was cut inside its last cell, as far as the number of decimals shows it."""
    lines = body.rsplit(b"\n", ROWS_FOR_DECIMALS)
    decimals = [len(line.rstrip(b"\r").rpartition(b",")[2].partition(b".")[2]) for line in lines[-ROWS_FOR_DECIMALS:]]
    usual = set(decimals[:-1])
    if len(usual) == 1 and len(decimals) > 2 and decimals[-1] < usual.pop():
        row = body.count(b"\n") + FIRST_ROW
        raise DataError(f"row {row} is cut: no line break after it, fewer decimals in its last cell than in all others")


def _read_cells(buffer: np.ndarray[Any, np.dtype[np.uint8]], header: Header) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv

    names = [str(place) for place in range(header.width)]
    wanted = {name: str(place) for name, place in header.positions.items()}
    try:
        table = csv.read_csv(
            pa.BufferReader(pa.py_buffer(buffer)),
            read_options=csv.ReadOptions(use_threads=False, skip_rows=1, column_names=names, block_size=1 << 24),
            parse_options=csv.ParseOptions(quote_char='"', newlines_in_values=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                include_columns=list(wanted.values()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        found = ARROW_WIDTH.search(str(error))
        if found is None:
            raise DataError(str(error).splitlines()[0][:120]) from None
        words = f"row {found[1]} has {found[2]} columns, a comma between quotation marks being text"
        raise DataError(f"{words}; the header has {header.width}") from None
    return {name: _one_array(table.column(place)) for name, place in wanted.items()}


def _one_array(chunked: Any) -> Any:
    return chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()


def _check_repeated_header(rows: RawRows, cells: Any) -> None:
    for row in np.flatnonzero(~rows.times["open_time"].valid).tolist():
        if column_of(cells[row].as_py()) == "open_time":
            raise DataError(f"row {row + FIRST_ROW} repeats the header; one header, in row 1, is allowed")
