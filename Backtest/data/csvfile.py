"""Text files, read strictly: whatever is not exactly one header and full rows is refused by its row number.

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
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .rows import RawRows, parse_text_rows
from .schema import Header, Match, column_of, match_header

TEXT_LIMIT = 2**31 - 1
"""Bytes of text in one file. A minute file of ten years has 0.6 GB; more is a compression bomb or not klines."""

MARKS = (
    (b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"),
    (b"\xef\xbb\xbf", "UTF-8 with a byte order mark"),
)  # fmt: skip
BARE_RETURN = re.compile(rb"\r(?!\n)")
ARROW_WIDTH = re.compile(r"Row #(\d+): Expected \d+ columns, got (\d+)")
CUT_NUMBER = re.compile(rb"[+-]?(?:\d+\.|(?:\d+\.?\d*|\.\d+)[eE][+-]?|\.|[+-])")
"""A number that ends in its decimal point, or in an exponent without digits, or a bare sign: nobody writes it so."""
LINE_FEED = ord("\n")
FIRST_ROW = 2
ROWS_FOR_DECIMALS = 100
TAIL = 1 << 16
PIECE = 1 << 22
"""Bytes of text that are checked at once."""


def gunzip(data: bytes) -> bytes:
    """Return the content of a .gz file; its length and CRC-32 must be right."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            text = stream.read(TEXT_LIMIT + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"not a whole .gz file ({error}); nothing of it was read") from None
    return text


@dataclass(frozen=True)
class TextColumns:
    """The wanted columns of a text file as Arrow strings, its header, and whether the last line has no line break."""

    cells: dict[str, Any]
    header: Header
    unterminated: bool


def read_csv(data: bytes) -> RawRows:
    """Read the bytes of a kline text file; raise DataError naming the row of what it cannot be."""
    text = read_text_columns(data, match_header)
    del data  # from here on the cells are enough
    opened = text.cells["open_time"]
    rows = parse_text_rows(text.cells, text.header, first_row=FIRST_ROW, unterminated=text.unterminated)
    _check_repeated_header(rows, opened)
    return rows


def read_text_columns(data: bytes, match: Match) -> TextColumns:
    """Read the columns that `match` finds in the bytes of a text file; raise DataError naming the row that is wrong."""
    if len(data) > TEXT_LIMIT:
        raise DataError(f"holds more than {TEXT_LIMIT} bytes of text, the most that is read")
    _check_encoding(data)
    end = len(data) - _blank_end(data)
    text = memoryview(data)[:end]  # no copies: a minute file has a gigabyte
    header_end = data.find(b"\n", 0, end)
    first = data[: end if header_end < 0 else header_end]
    if not first.strip():
        raise DataError("is empty" if not end else "row 1 is empty; it must be the header")
    header = _header(first, match)
    if header_end < 0:
        raise DataError("has a header and no rows")
    _check_widths(np.frombuffer(text, np.uint8), header)
    unterminated = end == len(data)
    if unterminated:
        _check_last_cell(data, header_end + 1)
    return TextColumns(_read_cells(text, header), header, unterminated)


def _blank_end(data: bytes) -> int:
    """Return how many line break characters end the file."""
    tail = min(len(data), 1 << 16)
    while True:
        blank = tail - len(data[len(data) - tail :].rstrip(b"\r\n"))
        if blank < tail or tail == len(data):
            return blank
        tail = min(len(data), tail * 16)


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


def _header(line: bytes, match: Match) -> Header:
    text = line.rstrip(b"\r").decode("utf-8")
    for other in (";", "\t", "|"):
        if "," not in text and other in text:
            raise DataError(f"row 1: columns are separated by {other!r}; a comma is allowed")
    try:
        return match([name.strip('"') for name in text.split(",")])
    except DataError as error:
        raise type(error)(f"row 1: {error}") from None


def _check_widths(text: np.ndarray[Any, np.dtype[np.uint8]], header: Header) -> None:
    """Check every row's cells, some megabytes at a time: the places of all commas take as much memory as the text."""
    row = begin = 0
    while begin < len(text):
        after = min(len(text), begin + PIECE)
        if after < len(text):
            breaks = np.flatnonzero(text[begin:after] == LINE_FEED)
            # a row longer than a piece is no kline: it is looked at together with all that follows
            after = begin + int(breaks[-1]) + 1 if len(breaks) else len(text)
        row += _check_piece(text[begin:after], header, row)
        begin = after


def _check_piece(piece: np.ndarray[Any, np.dtype[np.uint8]], header: Header, row: int) -> int:
    """Check whole rows of which `row` come before, and return how many they are."""
    ends = np.flatnonzero(piece == LINE_FEED)
    if piece[-1] != LINE_FEED:
        ends = np.append(ends, len(piece))
    counts = np.diff(np.searchsorted(np.flatnonzero(piece == ord(",")), ends), prepend=0) + 1
    wrong = np.flatnonzero(counts != header.width)
    if len(wrong):
        place = int(wrong[0])
        begin = ends[place - 1] + 1 if place else 0
        content = bytes(piece[begin : ends[place]]).strip()
        found = f"has {counts[place]} columns" if content else "is empty"
        raise DataError(f"row {row + place + 1} {found}; the header has {header.width} columns, one comma between two")
    quotes = np.flatnonzero(piece == ord('"'))
    odd = np.flatnonzero(np.diff(np.searchsorted(quotes, ends), prepend=0) % 2)
    if len(odd):
        raise DataError(f"row {row + int(odd[0]) + 1} holds a quotation mark that is not closed")
    return len(ends)


def _check_last_cell(data: bytes, body: int) -> None:
    """Refuse a last line, without line break, that was cut inside its last cell, as far as the cell shows it."""
    begin = max(body, len(data) - TAIL)
    lines = data[begin:].split(b"\n")[-ROWS_FOR_DECIMALS:]
    cells = [line.rstrip(b"\r").rpartition(b",")[2].strip(b'" ') for line in lines]
    row = data.count(b"\n") + 1
    if CUT_NUMBER.fullmatch(cells[-1]):
        shown = cells[-1].decode("utf-8", "replace")
        raise DataError(f"row {row} is cut: no line break after it, and its last cell {shown!r} is half a number")
    decimals = [len(cell.partition(b".")[2]) for cell in cells]
    usual = set(decimals[1 if begin > body else 0 : -1])  # the first line may begin before the tail
    if len(usual) == 1 and len(decimals) > 2 and decimals[-1] < usual.pop():
        raise DataError(f"row {row} is cut: no line break after it, fewer decimals in its last cell than in all others")


def _read_cells(text: memoryview, header: Header) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv

    names = [str(place) for place in range(header.width)]
    wanted = {name: str(place) for name, place in header.positions.items()}
    try:
        table = csv.read_csv(
            pa.BufferReader(pa.py_buffer(text)),
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
    return {name: table.column(place) for name, place in wanted.items()}


def _check_repeated_header(rows: RawRows, cells: Any) -> None:
    for row in np.flatnonzero(~rows.times["open_time"].valid).tolist():
        if column_of(cells[row].as_py()) == "open_time":
            raise DataError(f"row {row + FIRST_ROW} repeats the header; one header, in row 1, is allowed")
