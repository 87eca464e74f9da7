"""Parsed klines as Parquet: a second run does not parse text again.

A cached file is taken for good only if it was made from the very bytes of the source (SHA-256 and size) by this
version of the reader for this timeframe, and if the checksums of its facts and of each column are right. Path and
modification time of the source are not asked: the hash says more than they do. Anything else about it means it is made
again.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import TEMPORARY, atomic_writer
from ..logs import LOGGER
from .arrow import to_arrow, to_numpy
from .bars import Finding, Fingerprint
from .quality import CleanBars
from .timeframe import Timeframe

READER = 3
"""Version of the reader: raise it whenever the same file would give other bars or findings."""

FACTS = b"klines"
FACTS_CHECKSUM = b"klines_crc32"
ROW_GROUP = 1 << 20
LEFTOVER_SECONDS = 3600


def cache_path(cache_root: Path, folder: str, symbol: str) -> Path:
    """Return where a symbol's bars are cached; `folder` is the name of its timeframe folder."""
    return cache_root / folder / f"{symbol}.parquet"


def _key(source: Fingerprint, timeframe: Timeframe) -> dict[str, Any]:
    return {"reader": READER, "size": source.size, "sha256": source.sha256, "seconds": timeframe.seconds}


def read_cached(
    path: Path, *, source: Fingerprint, timeframe: Timeframe, fields: Iterable[str] | None
) -> CleanBars | None:
    """Return the cached bars with those of `fields` that there are (None: all), or None if they must be made again."""
    import pyarrow as pa
    from pyarrow import parquet

    if not os.path.exists(path):
        return None
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            facts = _facts(file.schema_arrow.metadata or {})
            if facts["key"] != _key(source, timeframe):
                return None
            available = tuple(facts["available"])
            wanted = [name for name in available if fields is None or name in set(fields)]
            table = file.read(columns=["index", *wanted], use_threads=False)
        arrays = {name: _checked(name, table.column(name), facts["checksums"]) for name in ("index", *wanted)}
        findings = tuple(Finding(**one) for one in facts["findings"])
        return CleanBars(arrays.pop("index"), arrays, findings, facts["rows"], available)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        LOGGER.warning("klines cache %s is damaged (%s); made again from %s", path, _first_line(error), source.path)
        return None


def _facts(stored: Mapping[bytes, bytes]) -> dict[str, Any]:
    if zlib.crc32(stored[FACTS]) != int(stored[FACTS_CHECKSUM]):
        raise ValueError("checksum of the facts differs")
    facts: dict[str, Any] = json.loads(stored[FACTS])
    return facts


def _checked(name: str, column: Any, checksums: Mapping[str, int]) -> NDArray[Any]:
    values = to_numpy(column, np.int64 if name == "index" else np.float64)
    if _checksum(values) != checksums[name]:
        raise ValueError(f"checksum of column {name} differs")
    return values


def _checksum(values: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(values).data)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _sweep(path: Path) -> None:
    """Remove what killed writers of this file left; a writer of now is young."""
    for leftover in path.parent.glob(f"{path.name}.*{TEMPORARY}"):
        with contextlib.suppress(FileNotFoundError):  # its writer has just finished
            if time.time() - leftover.stat().st_mtime > LEFTOVER_SECONDS:
                leftover.unlink()


def write_cached(path: Path, bars: CleanBars, *, source: Fingerprint, timeframe: Timeframe) -> None:
    """Store bars. A cache that cannot be written costs time, not results: it is logged and the run goes on."""
    import pyarrow as pa
    from pyarrow import parquet

    arrays: dict[str, NDArray[Any]] = {"index": bars.index, **bars.columns}
    facts = {
        "key": _key(source, timeframe),
        "source": asdict(source),
        "available": bars.available,
        "findings": [asdict(finding) for finding in bars.findings],
        "rows": bars.rows,
        "checksums": {name: _checksum(values) for name, values in arrays.items()},
    }
    text = json.dumps(facts).encode()
    table = pa.table({name: to_arrow(values) for name, values in arrays.items()})
    table = table.replace_schema_metadata({FACTS: text, FACTS_CHECKSUM: str(zlib.crc32(text))})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        with atomic_writer(path) as stream:
            parquet.write_table(
                table, stream, row_group_size=ROW_GROUP, compression="zstd", compression_level=1,
                use_dictionary=False, write_statistics=False, write_page_checksum=True,
            )  # fmt: skip
    except OSError as error:
        LOGGER.warning("klines cache %s cannot be written (%s); going on without", path, _first_line(error))
