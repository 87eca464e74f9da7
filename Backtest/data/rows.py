"""The rows of one kline file as they stand in it: columns read as numbers and times, nothing judged yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .cells import Numbers, Times, parse_numbers, parse_times
from .schema import BY_NAME, Header


@dataclass(frozen=True)
class RawRows:
    """A file's rows, in file order.

    Attributes
    ----------
    times, numbers
        Column name -> its N cells.
    ignored
        Unknown columns, not read.
    first_row
        What people call row 0: 2 in a text file (1 is the header), 1 in a Parquet file.
    unterminated
        True if the last line of a text file has no line break, as a cut file has.
    """

    times: Mapping[str, Times]
    numbers: Mapping[str, Numbers]
    ignored: tuple[str, ...]
    first_row: int
    unterminated: bool = False

    def __len__(self) -> int:
        return len(self.times["open_time"].ns)


def parse_text_rows(columns: Mapping[str, Any], header: Header, *, first_row: int, unterminated: bool) -> RawRows:
    """Read Arrow string arrays, one per known column."""
    return RawRows(
        {name: parse_times(cells) for name, cells in columns.items() if BY_NAME[name].kind == "time"},
        {name: parse_numbers(cells) for name, cells in columns.items() if BY_NAME[name].kind != "time"},
        header.ignored,
        first_row,
        unterminated,
    )
