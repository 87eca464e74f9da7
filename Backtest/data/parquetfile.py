"""Parquet files of the user: plain columns of numbers, times or text, nothing that runs code on reading."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, TypeVar

import numpy as np

from ..errors import DataError
from .arrow import to_numpy, to_scalar
from .cells import NAIVE, ZONED, Numbers, Times, epoch_times, parse_numbers, parse_times
from .rows import RawRows
from .schema import BY_NAME, Header, Match, match_header

FIRST_ROW = 1
ROWS_LIMIT = 2**25
"""Rows of one file: more than the largest text file has; repeated values make a small file of any number of them."""
MAGIC = b"PAR1"
Cells = TypeVar("Cells", Numbers, Times)


def read_parquet(data: bytes) -> RawRows:
    """Read the bytes of a kline Parquet file; raise DataError for a damaged file or a column of another type."""
    times = frozenset(name for name, column in BY_NAME.items() if column.kind == "time")
    columns, header = read_parquet_columns(data, match_header, times=times)
    return RawRows(
        {name: read_times(name, cells) for name, cells in columns.items() if name in times},
        {name: read_numbers(name, cells) for name, cells in columns.items() if name not in times},
        header.ignored,
        FIRST_ROW,
    )


def read_parquet_columns(data: bytes, match: Match, *, times: Collection[str]) -> tuple[dict[str, Any], Header]:
    """Return the columns that `match` finds in the bytes of a Parquet file, as Arrow arrays; `times` may be times."""
    import pyarrow as pa
    from pyarrow import parquet

    if data[:4] != MAGIC or data[-4:] != MAGIC:
        raise DataError("not a whole Parquet file (it does not begin and end with PAR1)")
    try:
        # types are looked at in the schema before any value is read
        file = parquet.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        if file.metadata.num_rows > ROWS_LIMIT:
            raise DataError(f"has {file.metadata.num_rows} rows; at most {ROWS_LIMIT} are read")
        names = file.schema_arrow.names
        header = match(list(names))
        for name, place in header.positions.items():
            _check_type(name, file.schema_arrow.field(place).type, name in times)
        table = file.read(columns=[names[place] for place in header.positions.values()])
        columns = {name: _plain(table.column(names[place])) for name, place in header.positions.items()}
        if table.num_rows == 0:
            raise DataError("has columns and no rows")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"not a whole Parquet file ({_first_line(error)})") from None
    return columns, header


def read_times(name: str, cells: Any) -> Times:
    """Return a column of times; raise DataError beyond what a time can be."""
    return _read(name, cells, _times)


def read_numbers(name: str, cells: Any) -> Numbers:
    """Return a column of numbers."""
    return _read(name, cells, _numbers)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["unknown damage"])[0][:120]


def _read(name: str, cells: Any, read: Callable[[Any], Cells]) -> Cells:
    import pyarrow as pa

    try:
        return read(cells)
    except pa.ArrowInvalid as error:  # whole, but beyond what a time can be
        raise DataError(f"column {name} cannot be read: {_first_line(error)}") from None


def _check_type(name: str, kind: Any, is_time: bool) -> None:
    from pyarrow import types

    plain = types.is_integer(kind) or types.is_floating(kind) or types.is_string(kind) or types.is_large_string(kind)
    if is_time:
        own = types.is_timestamp(kind) or types.is_date(kind)
    else:
        own = types.is_decimal(kind)
    allowed = plain or own or types.is_null(kind)  # null: a column without a value
    if not allowed:
        raise DataError(f"column {name} holds {kind}; numbers, times or text are allowed")


def _plain(chunked: Any) -> Any:
    import pyarrow as pa

    whole = chunked.combine_chunks()
    return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole


def _numbers(cells: Any) -> Numbers:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    kind = cells.type
    if types.is_decimal(kind) or types.is_string(kind) or types.is_large_string(kind):
        # a decimal goes through its text: that is the one reading which is correctly rounded
        return parse_numbers(pc.fill_null(pc.cast(cells, pa.string()), to_scalar("")))
    values = to_numpy(pc.fill_null(pc.cast(cells, pa.float64(), safe=False), to_scalar(np.nan)), np.float64)
    return Numbers(values, np.zeros(len(values), np.bool_))


def _times(cells: Any) -> Times:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    kind = cells.type
    if types.is_string(kind) or types.is_large_string(kind):
        return parse_times(pc.fill_null(pc.cast(cells, pa.string()), to_scalar("")))
    if types.is_floating(kind) or types.is_null(kind):
        # whole numbers with gaps come as floats out of many tools
        values = to_numpy(pc.fill_null(pc.cast(cells, pa.float64()), to_scalar(np.nan)), np.float64)
        whole = (np.abs(values) < 2.0**63) & (values == np.floor(values))
        return epoch_times(np.where(whole, values, 0.0).astype(np.int64), np.isnan(values))
    empty = to_numpy(pc.is_null(cells), np.bool_)
    if types.is_integer(kind):
        return epoch_times(to_numpy(pc.fill_null(pc.cast(cells, pa.int64()), to_scalar(0)), np.int64), empty)
    zone = getattr(kind, "tz", None)
    stamps = pc.fill_null(pc.cast(pc.cast(cells, pa.timestamp("ns", zone)), pa.int64()), to_scalar(0))
    unit = np.where(empty, -1, ZONED if zone else NAIVE).astype(np.int8)
    # Parquet keeps the instant in UTC beside the zone's name, so one column is one zone
    return Times(to_numpy(stamps, np.int64), ~empty, empty, unit, {0: 0} if zone else {})
