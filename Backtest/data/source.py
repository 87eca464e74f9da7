"""One symbol's klines, from its file to clean closed bars.

1. `root.KlineRoot.path`: which file, inside the data root.
2. `_fingerprint`: the hash of its bytes; a CHECKSUM file beside it must agree.
3. `klines_cache.read_cached`: bars parsed before from the very same bytes, else `_content` (the bytes, which must
   still have that hash), `csvfile` or `parquetfile` -> `rows.RawRows` -> `quality.clean`, and into the cache.
4. `quality.check_bad_share`: too many bad rows refuse the symbol.
5. `resample.resample`: coarser bars, where the folder is of a finer timeframe.
6. `_decide_last_bar`: the bar that may still have been forming when the file was written.
7. `gaps.check_gaps`, `gaps.gap_findings`: gaps and listing episodes.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import DataError, NameRefused, SymbolRefused
from ..settings import CoreSettings
from .bars import Finding, Fingerprint, LastBar, SymbolBars, require_fields
from .clock import time_words
from .csvfile import TEXT_LIMIT, gunzip, read_csv
from .gaps import check_gaps, gap_findings
from .klines_cache import cache_path, read_cached, write_cached
from .parquetfile import read_parquet
from .quality import CleanBars, check_bad_share, clean, in_order
from .resample import resample
from .root import KlineRoot, open_root
from .rows import RawRows
from .timeframe import SECOND_NS, Timeframe, parse_duration

__all__ = [
    "Finding", "Fingerprint", "KlineRoot", "LastBar", "SymbolBars", "load_symbol", "open_root", "require_fields",
]  # fmt: skip

GZIP_MAGIC = b"\x1f\x8b"
PIECE = 1 << 20
CHECKSUM_SUFFIX = ".CHECKSUM"
"""Binance's archive puts ``<file>.CHECKSUM`` beside a file: its SHA-256 in hex, blanks and its name."""


def load_symbol(
    root: KlineRoot,
    symbol: str,
    *,
    settings: CoreSettings,
    cache_root: Path | None,
    last_bar: LastBar | None = None,
    end: int | None = None,
    fields: Iterable[str] | None = None,
) -> SymbolBars:
    """Return one symbol's closed bars of the timeframe that `root` was opened for.

    Parameters
    ----------
    root, symbol
        What to load.
    settings
        `last_bar`, `max_bad_rows`, `max_gap`, `min_coverage` and `episode_gap` are used.
    cache_root
        Folder of the klines cache, ``<datahub>/klines``; None: no cache.
    last_bar
        The decision that an earlier load returned; None: by the setting.
    end
        Bars that open at or after this time (ns) are left out, after the last bar was decided: with the `last_bar`
        and the end of an earlier load, a file that has grown since gives the bars of that load.
    fields
        Names to read, those that the file lacks apart (`require_fields`); None: all. The cache reads no others.

    Raises
    ------
    SymbolRefused
        The file is absent, damaged, or breaks a rule; the message names file, row and rule.
    """
    path: Path | str = root.folder
    try:
        path = root.path(symbol)
        return _load(
            root, symbol, path, settings=settings, cache_root=cache_root, last_bar=last_bar, end=end, fields=fields
        )
    except (DataError, NameRefused) as error:
        where = "" if str(path) in str(error) else f"{path}: "
        raise SymbolRefused(symbol, f"{where}{error}") from None
    except OSError as error:
        raise SymbolRefused(symbol, f"{path}: cannot be read: {error.strerror or error}") from None


def _load(
    root: KlineRoot,
    symbol: str,
    path: Path,
    *,
    settings: CoreSettings,
    cache_root: Path | None,
    last_bar: LastBar | None,
    end: int | None,
    fields: Iterable[str] | None,
) -> SymbolBars:
    file = _fingerprint(path)
    wanted = None if fields is None else frozenset(fields)
    read = None if wanted is None else wanted | {"volume"}
    bars = _clean_bars(root, symbol, file, cache_root=cache_root, fields=read)
    check_bad_share(bars, settings.max_bad_rows)
    if not len(bars.index):
        raise DataError("has no good row")
    last_open = root.timeframe.open_ns(int(bars.index[-1]))
    complete = True
    if root.resampled:
        bars, complete = resample(bars, root.timeframe, root.wanted)
    last = int(bars.index[-1])
    forming = _forming(file, root.wanted, index=last, last_open=last_open, complete=complete)
    decision = _decide_last_bar(last_bar, settings.last_bar, forming is not None)
    after = last + (decision == "keep")
    bars = _cut(bars, after if end is None else min(after, root.wanted.first_at_or_after(end)))
    findings = list(bars.findings) + _last_bar_findings(root.wanted.open_ns(last), decision, forming)
    findings += _gaps(bars, root.wanted, settings)
    chosen = {name: values for name, values in bars.columns.items() if wanted is None or name in wanted}
    return SymbolBars(
        symbol, root.wanted, bars.index, chosen, bars.columns["volume"] > 0,
        in_order(findings), file.fingerprint, decision, bars.available,
    )  # fmt: skip


def _last_bar_findings(open_ns: int, decision: LastBar, forming: str | None) -> list[Finding]:
    if decision == "keep" and forming is None:
        return []
    kind = "last_bar_dropped" if decision == "drop" else "last_bar_kept"
    return [Finding(kind, 1, time_words(open_ns), forming or "as set")]


def _gaps(bars: CleanBars, timeframe: Timeframe, settings: CoreSettings) -> list[Finding]:
    max_gap_ns = None if settings.max_gap is None else parse_duration(settings.max_gap)
    check_gaps(bars.index, timeframe=timeframe, max_gap_ns=max_gap_ns, min_coverage=settings.min_coverage)
    return gap_findings(bars.index, timeframe=timeframe, episode_gap_ns=parse_duration(settings.episode_gap))


@dataclass(frozen=True)
class _File:
    """A file, the fingerprint of its bytes, and the earliest times it may have been written, ns."""

    path: Path
    fingerprint: Fingerprint
    stamps: tuple[int, ...]


def _fingerprint(path: Path) -> _File:
    """Hash the file piece by piece: with a cache nobody needs its bytes."""
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its writer
        raise DataError("is not a file but a folder, a pipe or a device")
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        facts = os.fstat(stream.fileno())
        if facts.st_size > TEXT_LIMIT:
            raise DataError(f"has {facts.st_size} bytes; at most {TEXT_LIMIT} are read")
        head = stream.read(8)
        piece = head
        while piece:
            digest.update(piece)
            size += len(piece)
            piece = stream.read(PIECE)
    _check_checksum(path, digest.hexdigest())
    stamps = [facts.st_mtime_ns]
    if head[:2] == GZIP_MAGIC and len(head) >= 8:
        (packed,) = struct.unpack("<I", head[4:8])
        # the time inside survives copying, which the file system's does not; 0 means not recorded
        stamps += [packed * SECOND_NS] if packed else []
    return _File(path, Fingerprint(str(path), size, facts.st_mtime_ns, digest.hexdigest()), tuple(stamps))


def _content(file: _File) -> bytes:
    """Return the bytes that were hashed: what is parsed must be what the fingerprint says."""
    with open(file.path, "rb") as stream:
        data = stream.read(TEXT_LIMIT + 1)
    if hashlib.sha256(data).hexdigest() != file.fingerprint.sha256:
        raise DataError("changed while it was read; run again when nobody writes it")
    return data


def _check_checksum(path: Path, digest: str) -> None:
    beside = path.with_name(path.name + CHECKSUM_SUFFIX)
    if not beside.is_file():
        return
    told = beside.read_text(encoding="utf-8", errors="replace").split()
    if not told or told[0].lower() != digest:
        says = told[0][:64] if told else "nothing"
        raise DataError(f"SHA-256 is {digest}, {beside.name} says {says}; get the file again")


def _clean_bars(
    root: KlineRoot, symbol: str, file: _File, *, cache_root: Path | None, fields: frozenset[str] | None
) -> CleanBars:
    cached = None if cache_root is None else cache_path(cache_root, root.folder.name, symbol)
    if cached is not None:
        bars = read_cached(cached, source=file.fingerprint, timeframe=root.timeframe, fields=fields)
        if bars is not None:
            return bars
    bars = clean(_parse(file), timeframe=root.timeframe, now_ns=time.time_ns())
    if cached is not None:
        write_cached(cached, bars, source=file.fingerprint, timeframe=root.timeframe)
    if fields is None:
        return bars
    return replace(bars, columns={name: values for name, values in bars.columns.items() if name in fields})


def _parse(file: _File) -> RawRows:
    name = file.path.name.lower()
    if name.endswith(".parquet"):
        return read_parquet(_content(file))
    return read_csv(gunzip(_content(file)) if name.endswith(".gz") else _content(file))


def _forming(file: _File, timeframe: Timeframe, *, index: int, last_open: int, complete: bool) -> str | None:
    """Return why the last bar may not have closed when the file was written, or None.

    A stamp earlier than the open time of the file's last row cannot be the time of writing, so it proves nothing.
    """
    close = timeframe.open_ns(index + 1)
    if not complete:
        return f"its last finer bar opens at {time_words(last_open)}, so the bar is not full"
    for stamp in sorted(file.stamps):
        if last_open <= stamp < close:
            return f"it closes at {time_words(close)}, the file was written at {time_words(stamp)}"
    return None


def _decide_last_bar(stored: LastBar | None, setting: str, forming: bool) -> LastBar:
    if stored is not None:
        return stored
    if setting == "auto":
        return "drop" if forming else "keep"
    return "drop" if setting == "drop" else "keep"


def _cut(bars: CleanBars, after: int) -> CleanBars:
    """Return the bars before absolute index `after`."""
    count = int(np.searchsorted(bars.index, after))
    if count == 0:
        raise DataError("has no closed bar in the window")
    if count == len(bars.index):
        return bars
    columns = {name: values[:count] for name, values in bars.columns.items()}
    return replace(bars, index=bars.index[:count], columns=columns)
