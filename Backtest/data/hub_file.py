"""One symbol's Parquet file of a factor set: what it holds, and reading it back verified. `hub_writer` writes it.

1. `schema`: the columns and their types.
2. `stored`: values as a file keeps them, in float64 or float32.
3. `read_symbol_file`: the hash of all bytes first, then the columns, the rows, the clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .arrow import to_numpy
from .panel import Bools, Floats
from .timeframe import Timeframe

if TYPE_CHECKING:
    import pyarrow as pa

TIMESTAMP = "timestamp"
TRADABLE = "tradable_flag"
Dtype = Literal["float64", "float32"]
"""How a factor is kept. Both are read back as float64; float32 keeps 24 bits, 6e-8 of a value."""


class FileDamaged(Exception):
    """A file is not the one that was written. ``str(error)`` says what differs."""


@dataclass(frozen=True)
class FileFacts:
    """What the metadata says of a file: hash of its bytes, rows, first and last bar's open time (ISO 8601 UTC)."""

    sha256: str
    rows: int
    start: str
    end: str


@dataclass(frozen=True)
class SymbolValues:
    """One symbol's rows, from its first to its last bar inside the window.

    Attributes
    ----------
    first_bar
        Absolute bar index of row 0.
    factors
        Factor name -> float64 [T], missing is NaN. Of a float32 file these are the rounded values.
    tradable
        bool [T], False in gaps.
    """

    first_bar: int
    factors: Mapping[str, Floats]
    tradable: Bools


def schema(factors: Mapping[str, Dtype]) -> pa.Schema:
    """Return the columns of a file with these factors."""
    import pyarrow as pa

    types = {"float64": pa.float64(), "float32": pa.float32()}
    return pa.schema(
        [pa.field(TIMESTAMP, pa.timestamp("ns", "UTC"), nullable=False)]
        + [pa.field(name, types[dtype], nullable=False) for name, dtype in factors.items()]
        + [pa.field(TRADABLE, pa.bool_(), nullable=False)]
    )


BEYOND32 = (2 - 2.0**-24) * 2.0**127
"""What float32 rounds to infinity begins here: halfway between its largest number and the next, were there one."""
BEYOND: Mapping[Dtype, float] = {"float64": np.inf, "float32": BEYOND32}
"""Where a type's numbers end; a value is finite or missing."""


def clear_overflow(values: Floats, dtype: Dtype) -> int:
    """Make missing, in place, what a file of `dtype` cannot hold, and return how many values that were."""
    beyond = np.abs(values) >= BEYOND[dtype]
    values[beyond] = np.nan
    return int(np.count_nonzero(beyond))


def stored(values: Floats, dtype: Dtype) -> NDArray[Any]:
    """Return values as a file keeps them.

    Parameters
    ----------
    values
        float64 [T], finite or NaN, none that `clear_overflow` would clear.
    dtype
        ``float32`` rounds to the nearest of its numbers, ties to even; what is nearer to 0 than 7e-46 becomes 0.

    Returns
    -------
    array of `dtype` [T]
        A copy. Every missing value is the same bytes, so that a file follows from its values alone.
    """
    # adding nothing to a NaN keeps its payload; choosing makes every missing value the same bytes
    same = np.where(np.isnan(values), np.nan, values)
    if dtype == "float64":
        return same
    with np.errstate(under="ignore"):
        return same.astype(np.float32)


def read_symbol_file(
    path: Path, facts: FileFacts, *, timeframe: Timeframe, columns: Mapping[str, Dtype], wanted: tuple[str, ...]
) -> SymbolValues:
    """Read the `wanted` factors of a file that has `columns`; FileDamaged when anything differs from `facts`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = read_verified(path, facts.sha256)
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        if not file.schema_arrow.equals(schema(columns)):
            raise FileDamaged(f"has the columns {_words(file.schema_arrow)}; the metadata says others")
        if file.metadata.num_rows != facts.rows:
            raise FileDamaged(f"has {file.metadata.num_rows} rows, the metadata says {facts.rows}")
        table = file.read(columns=[TIMESTAMP, *wanted, TRADABLE], use_threads=False)
        stamps, tradable = to_numpy(table[TIMESTAMP], np.int64), to_numpy(table[TRADABLE], np.bool_)
        factors = {name: to_numpy(table[name], columns[name]).astype(np.float64, copy=False) for name in wanted}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FileDamaged(f"is no readable Parquet file ({str(error).splitlines()[0][:120]})") from None
    _check_clock(stamps, facts, timeframe)
    return SymbolValues(timeframe.index(int(stamps[0])), factors, tradable)


def _words(layout: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in layout)


def read_verified(path: Path, sha256: str) -> bytes:
    """Return the file's bytes if they are those that `sha256` names: what was hashed is what is parsed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FileDamaged(f"cannot be read ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise FileDamaged("is not the file that the metadata describes (SHA-256 differs): damaged, or of another run")
    return content


def _check_clock(stamps: np.ndarray[Any, Any], facts: FileFacts, timeframe: Timeframe) -> None:
    if len(stamps) == 0 or (stamps[0] - timeframe.origin_ns) % timeframe.ns or (np.diff(stamps) != timeframe.ns).any():
        raise FileDamaged(f"has timestamps that are not on the {timeframe.label} clock")
    first, last = (str(stamp) + "Z" for stamp in (stamps[[0, -1]] // 1_000_000_000).view("datetime64[s]"))
    if (first, last) != (facts.start, facts.end):
        raise FileDamaged(f"reaches from {first} to {last}, the metadata says {facts.start} to {facts.end}")
