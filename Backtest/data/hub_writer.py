"""Writing one symbol's Parquet file of a factor set, piece by piece, always to the same bytes.

The bytes follow from the values alone: row groups end at fixed places of the clock wherever a piece ends, one encoding
per type, one NaN, no statistics, no pandas metadata, no time of writing. So it does not matter in which pieces a file
was computed, nor whether its first rows were taken over from an older file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .arrow import to_arrow
from .hub_file import TIMESTAMP, TRADABLE, Dtype, FileFacts, SymbolValues, schema, stored
from .panel import Bools
from .timeframe import Timeframe

if TYPE_CHECKING:
    import pyarrow.parquet as pq

ROW_GROUP = 16_384
"""A row group ends where the absolute bar index is a multiple of this. Larger ones are 4 % faster to write and read,
and all symbols of a cross-section have an unfinished one in memory: at this size 500 symbols x 20 factors take 1.3 GB.
"""

COMPRESSION = "lz4"
"""With byte-stream split. Measured on 158 factors like Alpha158 (17,520 bars, one thread): bytes a value, then ns a
value to write and to read with checksums:

========== ====================  ====================
encoding   float64               float32
========== ====================  ====================
none       8.01   5.6   3.5      4.01   2.9   1.9
lz4        5.83   8.4   4.0      2.95   5.6   2.5
snappy     6.05   8.1   6.2      3.09   4.8   3.8
zstd-1     5.53  13.4   5.6      2.66   9.6   4.6
zstd-3     5.48  14.6   5.4      2.63  10.8   4.4
lz4 alone  6.65   6.4   3.8      3.37   3.7   2.1
========== ====================  ====================

A byte costs 0.5 ns to hash besides and more on most disks, which pays for lz4; zstd's last 5 % cost more than a byte.
"""


class HashingStream:
    """Passes bytes on to a file and hashes them on the way, so that nothing is read twice."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.digest, self.closed = stream, hashlib.sha256(), False
        self.dropped = False

    def write(self, content: Any) -> int:
        """Write and hash `content`."""
        if self.dropped:
            return len(content)
        self.digest.update(content)
        return self.stream.write(content)

    def tell(self) -> int:
        """Return the position."""
        return self.stream.tell()

    def flush(self) -> None:
        """Flush the file."""
        self.stream.flush()

    def close(self) -> None:
        """Leave the file open: its owner closes it."""


class SymbolWriter:
    """Writes a file from consecutive pieces: `write` them, then `finish`, or `abort`.

    Parameters
    ----------
    path
        A temporary name: the file is whole only after `finish`.
    timeframe
        Its clock.
    factors
        Factor -> how it is kept.
    """

    def __init__(self, path: Path, *, timeframe: Timeframe, factors: dict[str, Dtype]) -> None:
        self.path, self.timeframe, self.factors = path, timeframe, factors
        self.rows = self.first_bar = 0
        self._layout = schema(factors)
        self._pieces: list[dict[str, NDArray[Any]]] = []
        self._waiting = 0
        self._stream: BinaryIO | None = None
        self._hashing: HashingStream | None = None
        self._file: pq.ParquetWriter | None = None

    def write(self, part: SymbolValues) -> None:
        """Take the next rows; what fills a row group is written, the rest is kept."""
        kept = {name: stored(part.factors[name], dtype) for name, dtype in self.factors.items()}
        self.write_stored(part.first_bar, kept, part.tradable)

    def write_stored(
        self, first_bar: int, factors: Mapping[str, NDArray[Any]], tradable: Bools, *, last: bool = False
    ) -> None:
        """Take the next rows as `hub_file.stored` gives them.

        What has to wait for its row group is copied; the `last` rows wait for nothing.
        """
        rows = len(tradable)
        if not self.rows:
            self.first_bar = first_bar
        elif first_bar != self.first_bar + self.rows:
            raise ValueError(f"rows from bar {first_bar} cannot follow bar {self.first_bar + self.rows - 1}")
        done = 0
        while done < rows:
            bar = first_bar + done
            taken = min(rows - done, ROW_GROUP - bar % ROW_GROUP)
            whole = (bar + taken) % ROW_GROUP == 0 or (last and done + taken == rows)
            piece = {name: factors[name][done : done + taken] for name in self.factors}
            piece[TRADABLE] = tradable[done : done + taken]
            self._pieces.append(piece if whole else {name: values.copy() for name, values in piece.items()})
            self._waiting += taken
            self.rows += taken
            done += taken
            if whole:
                self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        pieces, rows = self._pieces, self._waiting
        self._pieces, self._waiting = [], 0
        first = self.timeframe.open_ns(self.first_bar + self.rows - rows)
        stamps = first + self.timeframe.ns * np.arange(rows, dtype=np.int64)
        columns = [to_arrow(stamps, pa.timestamp("ns", "UTC"))]
        for name in (*self.factors, TRADABLE):
            parts = [piece.pop(name) for piece in pieces]
            columns.append(to_arrow(parts[0] if len(parts) == 1 else np.concatenate(parts)))
        self._opened().write_table(pa.Table.from_arrays(columns, schema=self._layout), row_group_size=rows)

    def _opened(self) -> pq.ParquetWriter:
        import pyarrow.parquet as pq

        if self._file is None:
            self._stream = open(self.path, "wb")
            self._hashing = HashingStream(self._stream)
            self._file = pq.ParquetWriter(
                self._hashing,
                self._layout,
                compression=COMPRESSION,
                use_dictionary=False,
                column_encoding=_encodings(self.factors),
                write_statistics=False,
                write_page_checksum=True,
                store_schema=False,
                write_batch_size=ROW_GROUP,  # a column at once: 1,024 values at a time take 1 ns more each
            )
        return self._file

    def finish(self) -> FileFacts:
        """Write what is left, flush it to the disk, and return what the metadata says of the file."""
        self._flush()
        file = self._opened()
        file.close()
        assert self._stream is not None
        assert self._hashing is not None
        with self._stream as stream:
            stream.flush()
            os.fsync(stream.fileno())
        ends = (self.first_bar, self.first_bar + self.rows - 1)
        first, last = (f"{np.datetime64(self.timeframe.open_ns(bar) // 1_000_000_000, 's')}Z" for bar in ends)
        return FileFacts(self._hashing.digest.hexdigest(), self.rows, first, last)

    def abort(self) -> None:
        """Close and remove the unfinished file, whatever the disk says."""
        if self._hashing is not None:
            self._hashing.dropped = True  # a Parquet writer writes its footer when it goes, if only as garbage
        for one in (self._file, self._stream):
            if one is not None:
                with suppress(OSError):
                    one.close()
        self.path.unlink(missing_ok=True)


def _encodings(factors: dict[str, Dtype]) -> dict[str, str]:
    """Return each column's encoding: regular times take next to nothing as differences, 8 bytes a row otherwise."""
    return {TIMESTAMP: "DELTA_BINARY_PACKED", **dict.fromkeys(factors, "BYTE_STREAM_SPLIT"), TRADABLE: "PLAIN"}


def write_symbol_file(path: Path, values: SymbolValues, *, timeframe: Timeframe, dtype: Dtype = "float64") -> FileFacts:
    """Write one symbol's rows to `path` and flush them to the disk; the caller gives a temporary name."""
    writer = SymbolWriter(path, timeframe=timeframe, factors=dict.fromkeys(values.factors, dtype))
    try:
        writer.write(values)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise
