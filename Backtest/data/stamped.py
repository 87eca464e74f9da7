"""Stamped series: files of (time, value) rows that are no klines, such as funding, open interest, supply of a coin.

1. `_content`: the bytes of a .csv, .csv.gz or .parquet file and their SHA-256.
2. `_match`: the time column, the value column and, where rows name one, the symbol.
3. `_rows`: cells to times (seconds to nanoseconds by magnitude, ISO, dates; without a zone UTC) and numbers.
4. `_clean`: rows without a value are dropped and counted, anything unreadable refuses the file by row.
5. `_in_order`: stamps are rounded and sorted; of rows that are one then, one is kept and the others are counted, by
   whether they were one before; contradictory ones refuse.
6. `merge_stamped`: several files of one series; where they overlap they must agree, and the overlap is counted.

A stamp is when the row became known, as far as the file says: who joins it adds any publication delay. Nothing here
knows bars.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, did_you_mean
from . import csvfile, parquetfile
from .arrow import to_scalar
from .bars import Finding, Fingerprint
from .cells import Integers, Numbers, Times, parse_numbers, parse_times
from .clock import time_words
from .panel import Bools, Floats
from .schema import Header, Match
from .timeframe import SECOND_NS

MINUTE_NS = 60 * SECOND_NS
SUFFIXES = (".csv.gz", ".csv", ".parquet")
TIME_COLUMNS = (
    "timestamp", "time", "datetime", "date", "open_time", "funding_time", "fundingtime", "calc_time", "create_time",
)  # fmt: skip
"""Names of a time column, in the order in which one is taken where the caller names none."""

KINDS = {
    "stamped_no_value": "rows of a stamped file without a value; dropped",
    "stamped_unsorted": "rows of a stamped file that stand after a later one; sorted",
    "stamped_duplicates": "rows of a stamped file equal to another in stamp and value; dropped",
    "stamped_close": "rows of a stamped file equal to another in value and in the rounded stamp only; dropped",
    "stamped_overlap": "rows of a stamped file that another file of the series has too; dropped",
    "stamped_open_time": "rows stamped with a bar's open, whose values may not be known before its close; used as they "
    "are",
}
"""Kinds of findings and their rules, in the order they are reported."""

OPEN_TIME = "open_time"
OPEN_WORDS = "the time column is open_time, but what a bar holds is known at its close: use that, or a lag of one bar"


class Absent(DataError):
    """A file has no such column, or no value in it."""


@dataclass(frozen=True)
class Stamped:
    """One series of stamped values.

    Attributes
    ----------
    stamps
        int64 [n], nanoseconds since the epoch UTC, strictly ascending, n >= 1.
    values
        float64 [n], finite.
    findings
        What was found and done.
    sources
        The files, in the order they were merged in.
    sha256
        Of the file's bytes; of several files, of their hashes in order.
    """

    stamps: Integers
    values: Floats
    findings: tuple[Finding, ...]
    sources: tuple[Fingerprint, ...]
    sha256: str

    def known_at(self, time_ns: int, *, lag_ns: int = 0) -> Stamped:
        """Return the rows whose stamp + `lag_ns` is not after `time_ns`: what could be known then, maybe none."""
        count = int(np.searchsorted(self.stamps, time_ns - lag_ns, side="right"))
        return Stamped(self.stamps[:count], self.values[:count], self.findings, self.sources, self.sha256)


def load_stamped(
    path: Path,
    *,
    value: str | Sequence[str],
    time: str | None = None,
    symbol: str | None = None,
    round_ns: int = 1,
) -> Stamped:
    """Read one stamped series.

    Parameters
    ----------
    path
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file with a header.
    value
        Name of the value column, or several names of which the file has one; case and blanks do not matter.
    time
        Name of the time column; None: the first of TIME_COLUMNS that the file has.
    symbol
        Rows of another symbol, where the file has a column ``symbol``, refuse the file.
    round_ns
        Stamps are rounded to the nearest multiple of this: exchanges stamp settlements with some milliseconds of
        jitter.

    Returns
    -------
    Stamped
        Strictly ascending stamps, finite values.

    Raises
    ------
    DataError
        One line that names file, row and rule; Absent where there is no such column or no value.
    """
    try:
        data, source = _content(path)
        names: list[str] = []
        match = partial(_match, value=(value,) if isinstance(value, str) else tuple(value), time=time, taken=names)
        times, numbers, symbols, first_row = _rows(path.name.lower(), data, match)
        del data
        if symbol is not None and symbols is not None:
            _check_symbol(symbols, symbol, first_row)
        stamps, values, findings = _clean(times, numbers, first_row)
        stamps, values, more = _in_order(stamps, values, round_ns)
        if OPEN_TIME in names:
            more.append(Finding("stamped_open_time", len(stamps), time_words(int(stamps[0])), OPEN_WORDS))
    except DataError as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise type(error)(f"{where}{error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    return Stamped(stamps, values, (*findings, *more), (source,), source.sha256)


def merge_stamped(parts: Sequence[Stamped]) -> Stamped:
    """Return one series of several; a stamp that two of them have must have one value, else DataError."""
    if len(parts) == 1:
        return parts[0]
    stamps = np.concatenate([part.stamps for part in parts])
    values = np.concatenate([part.values for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part.stamps) for part in parts])
    order = np.argsort(stamps, kind="stable")
    stamps, values, owner = stamps[order], values[order], owner[order]
    same = np.diff(stamps) == 0
    _check_same(stamps, values, same, lambda row: f" in {parts[owner[row]].sources[0].path}")
    overlap = _dropped("stamped_overlap", stamps, same, "in two files, with one value")
    keep = np.concatenate(([True], ~same))
    sources = tuple(source for part in parts for source in part.sources)
    digest = hashlib.sha256("\n".join(part.sha256 for part in parts).encode()).hexdigest()
    return Stamped(stamps[keep], values[keep], _summed((*(part.findings for part in parts), overlap)), sources, digest)


def stamped_file(folder: Path, name: str) -> Path | None:
    """Return ``<name>.csv.gz``, ``.csv`` or ``.parquet`` in a folder, None where there is none; two are refused."""
    found = [path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").exists()]
    if len(found) > 1:
        raise DataError(f"{len(found)} files match: {', '.join(map(str, found))}; keep one")
    return found[0] if found else None


def _summed(lists: Iterable[Iterable[Finding]]) -> tuple[Finding, ...]:
    """Return one finding of each kind for several files."""
    table: dict[str, Finding] = {}
    for finding in (finding for findings in lists for finding in findings):
        seen = table.setdefault(finding.kind, finding)
        if seen is not finding:
            first = min(filter(None, (seen.first, finding.first)), default="")
            table[finding.kind] = Finding(finding.kind, seen.count + finding.count, first, seen.detail)
    return tuple(table[kind] for kind in KINDS if kind in table)


def _content(path: Path) -> tuple[bytes, Fingerprint]:
    if not path.name.lower().endswith(SUFFIXES):
        raise DataError(f"is not one of {', '.join('*' + suffix for suffix in SUFFIXES)}")
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its writer
        raise DataError("is not a file but a folder, a pipe or a device")
    with open(path, "rb") as stream:
        facts = os.fstat(stream.fileno())
        data = stream.read(csvfile.TEXT_LIMIT + 1)
    if len(data) > csvfile.TEXT_LIMIT:
        raise DataError(f"has more than {csvfile.TEXT_LIMIT} bytes, the most that is read")
    return data, Fingerprint(str(path), len(data), facts.st_mtime_ns, hashlib.sha256(data).hexdigest())


def _plain(written: str) -> str:
    return written.strip().lower().replace(" ", "_")


def _match(names: list[str], *, value: tuple[str, ...], time: str | None, taken: list[str]) -> Header:
    """Find the wanted columns, and note the name of the time column in `taken`; the others' names do not matter."""
    plain = [_plain(name) for name in names]
    wanted = {
        "time": _place(plain, TIME_COLUMNS if time is None else (time,), "time"),
        "value": _place(plain, value, "value"),
    }
    if wanted["time"] == wanted["value"]:
        raise DataError(f"column {names[wanted['time']].strip()} cannot be both time and value")
    taken.append(plain[wanted["time"]])
    if plain.count("symbol") == 1:
        wanted["symbol"] = plain.index("symbol")
    return Header(wanted, len(names), ())


def _place(plain: list[str], wanted: Sequence[str], what: str) -> int:
    for name in map(_plain, wanted):
        count = plain.count(name)
        if count > 1:
            raise DataError(f"{count} columns are named {name}; one is allowed")
        if count:
            return plain.index(name)
    hint = did_you_mean(wanted[0], plain) or f"; the file has {', '.join(plain)[:120]}"
    raise Absent(f"has no {what} column {' or '.join(wanted)}{hint}")


def _rows(name: str, data: bytes, match: Match) -> tuple[Times, Numbers, Any | None, int]:
    """Return times, numbers, symbols as Arrow text (None: no such column), and what people call row 0."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name.endswith(".parquet"):
        columns, _ = parquetfile.read_parquet_columns(data, match, times=("time",))
        times = parquetfile.read_times("time", columns["time"])
        symbols = columns.get("symbol")
        words = None if symbols is None else pc.fill_null(pc.cast(symbols, pa.string()), to_scalar(""))
        return times, parquetfile.read_numbers("value", columns["value"]), words, parquetfile.FIRST_ROW
    text = csvfile.read_text_columns(csvfile.gunzip(data) if name.endswith(".gz") else data, match)
    cells = {column: chunks.combine_chunks() for column, chunks in text.cells.items()}
    return parse_times(cells["time"]), parse_numbers(cells["value"]), cells.get("symbol"), csvfile.FIRST_ROW


def _check_symbol(symbols: Any, symbol: str, first_row: int) -> None:
    for row, found in enumerate(symbols.to_pylist()):
        if found.strip() != symbol:
            raise DataError(f"row {first_row + row} is of symbol {found.strip()[:40]!r}; the file is {symbol}'s")


def _clean(times: Times, numbers: Numbers, first_row: int) -> tuple[Integers, Floats, list[Finding]]:
    """Return the rows that have a time and a value; refuse what is neither there nor absent."""
    for wrong, words in (
        (~times.valid, "has no time that can be read"),
        (numbers.text, "holds a value that is no number"),
        (np.isinf(numbers.values), "holds an infinite value"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            more = f" ({int(wrong.sum())} such rows)" if wrong.sum() > 1 else ""
            raise DataError(f"row {first_row + row} {words}{more}")
    empty = np.isnan(numbers.values)
    findings = []
    if empty.any():
        row = int(np.flatnonzero(empty)[0])
        words = f"no value, first in row {first_row + row}"
        findings.append(Finding("stamped_no_value", int(empty.sum()), time_words(int(times.ns[row])), words))
    if empty.all():
        raise Absent("has no row with a value")
    return times.ns[~empty], numbers.values[~empty], findings


def _in_order(stamps: Integers, values: Floats, round_ns: int) -> tuple[Integers, Floats, list[Finding]]:
    exact, stamps = stamps, (stamps + round_ns // 2) // round_ns * round_ns
    findings = []
    later = np.flatnonzero(stamps[1:] < np.maximum.accumulate(stamps)[:-1])
    if len(later):
        first = time_words(int(stamps[later[0] + 1]))
        findings.append(Finding("stamped_unsorted", len(later), first, "sorted by time"))
    order = np.lexsort((exact, stamps))
    exact, stamps, values = exact[order], stamps[order], values[order]
    same, equal = np.diff(stamps) == 0, np.diff(exact) == 0
    _check_same(
        stamps, values, same, lambda row: f" at {np.datetime64(int(exact[row]), 'ns')}Z" if round_ns > 1 else ""
    )
    findings += _dropped("stamped_duplicates", stamps, same & equal, "equal in stamp and value")
    findings += _dropped("stamped_close", stamps, same & ~equal, "equal in value, stamps apart by less than is rounded")
    keep = np.concatenate(([True], ~same))
    return stamps[keep], values[keep], findings


def _check_same(stamps: Integers, values: Floats, same: Bools, place: Callable[[int], str]) -> None:
    """Refuse neighbours that have one stamp and two values; `place` says where or when a row stands."""
    wrong = np.flatnonzero(same & (values[1:] != values[:-1]))
    if len(wrong):
        row = int(wrong[0])
        said = " and ".join(f"{float(values[at])!r}{place(at)}" for at in (row, row + 1))
        raise DataError(f"{len(wrong)} stamps have two values, first {time_words(int(stamps[row]))}: {said}")


def _dropped(kind: str, stamps: Integers, gone: Bools, detail: str) -> list[Finding]:
    """Return the finding about rows that go because the one before them is the same."""
    first = np.flatnonzero(gone)
    return [Finding(kind, len(first), time_words(int(stamps[first[0]])), detail)] if len(first) else []
