"""The rows of one kline file as they stand in it: columns read as numbers and times, nothing judged yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

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


def parse_text_rows(columns: dict[str, Any], header: Header, *, first_row: int, unterminated: bool) -> RawRows:
    """Read chunked Arrow string arrays, one per known column; each is taken out of `columns` and its text let go."""
    import pyarrow as pa

    pool = pa.default_memory_pool()
    times: dict[str, Times] = {}
    numbers: dict[str, Numbers] = {}
    for name in list(columns):
        cells = columns.pop(name)
        if BY_NAME[name].kind == "time":
            times[name] = parse_times(cells.combine_chunks())
        else:
            numbers[name] = _numbers(cells)
        del cells
        pool.release_unused()  # Arrow would keep the memory of the text, beside all that follows
    return RawRows(times, numbers, header.ignored, first_row, unterminated)


def _numbers(cells: Any) -> Numbers:
    """Read a column chunk by chunk: what is read of a cell does not depend on the others."""
    parts = [parse_numbers(chunk) for chunk in cells.chunks]
    return Numbers(
        np.concatenate([part.values for part in parts]) if parts else np.empty(0),
        np.concatenate([part.text for part in parts]) if parts else np.empty(0, np.bool_),
    )
