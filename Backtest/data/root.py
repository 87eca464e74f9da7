"""The user's data root: the folder of a timeframe, and which file is which symbol's."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, NameRefused, SettingsError
from ..names import check_name, inside
from ..settings import CoreSettings
from .timeframe import LABEL, Timeframe, parse_timeframe

SUFFIXES = (".csv.gz", ".csv", ".parquet")


@dataclass(frozen=True)
class KlineRoot:
    """Where the klines of one run lie.

    Attributes
    ----------
    data_root, folder
        The user's data root, and the timeframe folder in it.
    timeframe
        Timeframe of the files; finer than `wanted` when bars are resampled.
    wanted
        Timeframe that was asked for.
    files
        Symbol -> file.
    clashes
        Symbols that several files claim equally.
    skipped
        File names that cannot be a symbol's.
    quote
        Quote currency that completes short names.
    richer
        When bars are resampled: name and symbols of a folder that would do too and has more symbols, or None.
    """

    data_root: Path
    folder: Path
    timeframe: Timeframe
    wanted: Timeframe
    files: Mapping[str, Path]
    clashes: Mapping[str, tuple[Path, ...]]
    skipped: tuple[str, ...]
    quote: str
    richer: tuple[str, int] | None = None

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols that have a file, sorted."""
        return tuple(sorted(self.files))

    @property
    def resampled(self) -> bool:
        """Whether the files' bars must be combined."""
        return self.timeframe != self.wanted

    def alias(self, symbol: str) -> Path | None:
        """Return the file named ``{symbol}-*`` when exactly one is."""
        near = [name for name in self.files if name.startswith(symbol + "-")]
        return self.files[near[0]] if len(near) == 1 and near[0] not in self.clashes else None

    def path(self, symbol: str) -> Path:
        """Return the symbol's file, inside the data root; raise DataError where there is none or more than one."""
        clash = self.clashes.get(symbol)
        if clash:
            raise DataError(f"{len(clash)} files match: {', '.join(str(path) for path in clash)}; keep one")
        found = self.files.get(symbol) or self.alias(symbol)
        if found is None:
            raise DataError(f"has no klines in {self.folder}")
        return inside(self.data_root, str(found.relative_to(self.data_root)))


def open_root(data_root: Path, timeframe: Timeframe, settings: CoreSettings) -> KlineRoot:
    """Find the folder of `timeframe`, or the finest that divides it, and the symbols' files in it."""
    klines = data_root / settings.klines_folder
    if not klines.is_dir():
        what = "has no folder" if data_root.is_dir() else "does not exist; it should have a folder"
        raise DataError(f"data root {data_root} {what} {settings.klines_folder!r} (setting klines_folder)")
    inside(data_root, settings.klines_folder)
    folders = _timeframe_folders(klines)
    have = folders.get(timeframe) or _finest(folders, timeframe)
    if have is None:
        found = ", ".join(label.label for label in sorted(folders, key=lambda one: one.seconds)) or "none"
        raise DataError(f"{klines} has no folder for {timeframe.label} nor a finer one that divides it; found: {found}")
    folder, of_files = have
    inside(data_root, settings.klines_folder, folder.name)
    files, clashes, skipped = _files(folder, of_files, settings.file_pattern)
    if not files:
        raise DataError(f"{folder} holds no klines: no {', '.join('*' + suffix for suffix in SUFFIXES)}")
    richer = None if of_files == timeframe else _richer(folders, timeframe, len(files), settings.file_pattern)
    return KlineRoot(data_root, folder, of_files, timeframe, files, clashes, skipped, settings.quote, richer)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} cannot be listed: {error.strerror}") from None


def _timeframe_folders(klines: Path) -> dict[Timeframe, tuple[Path, Timeframe]]:
    folders: dict[Timeframe, tuple[Path, Timeframe]] = {}
    for entry in _entries(klines):
        if not LABEL.fullmatch(entry.name) or not os.path.isdir(entry.path):
            continue
        try:
            timeframe = parse_timeframe(entry.name)
        except SettingsError:
            continue  # a folder of the user's that is no timeframe, such as 1M
        if timeframe in folders:
            both = f"{folders[timeframe][0].name!r} and {entry.name!r}"
            raise DataError(f"{klines}: folders {both} are one timeframe; keep one")
        folders[timeframe] = (klines / entry.name, timeframe)
    return folders


def _finest(folders: Mapping[Timeframe, tuple[Path, Timeframe]], wanted: Timeframe) -> tuple[Path, Timeframe] | None:
    dividing = _dividing(folders, wanted)
    return folders[min(dividing, key=lambda timeframe: timeframe.seconds)] if dividing else None


def _richer(
    folders: Mapping[Timeframe, tuple[Path, Timeframe]], wanted: Timeframe, count: int, pattern: str
) -> tuple[str, int] | None:
    """Return the dividing folder with most symbols, if they are more than `count`."""
    sizes = [(len(_files(*folders[one], pattern)[0]), folders[one][0].name) for one in _dividing(folders, wanted)]
    most, name = max(sizes)
    return (name, most) if most > count else None


def _dividing(folders: Mapping[Timeframe, tuple[Path, Timeframe]], wanted: Timeframe) -> list[Timeframe]:
    # weeks begin on a Monday, which bars of, say, seven hours straddle
    return [
        timeframe
        for timeframe in folders
        if wanted.seconds % timeframe.seconds == 0 and (wanted.origin_ns - timeframe.origin_ns) % timeframe.ns == 0
    ]


def _files(
    folder: Path, timeframe: Timeframe, pattern: str
) -> tuple[dict[str, Path], dict[str, tuple[Path, ...]], tuple[str, ...]]:
    ranked: dict[str, dict[int, list[Path]]] = {}
    skipped = []
    for entry in _entries(folder):
        suffix = next((suffix for suffix in SUFFIXES if entry.name.lower().endswith(suffix)), None)
        if suffix is None or entry.name.startswith((".", "~")):
            continue
        symbol, rank = _symbol_of(entry.name[: -len(suffix)], pattern, timeframe)
        try:
            check_name("symbol", symbol)
        except NameRefused:
            skipped.append(entry.name)
            continue
        ranked.setdefault(symbol, {}).setdefault(rank, []).append(folder / entry.name)
    best = {symbol: ranks[min(ranks)] for symbol, ranks in ranked.items()}
    files = {symbol: paths[0] for symbol, paths in best.items()}
    clashes = {symbol: tuple(paths) for symbol, paths in best.items() if len(paths) > 1}
    return files, clashes, tuple(skipped)


def _symbol_of(stem: str, pattern: str, timeframe: Timeframe) -> tuple[str, int]:
    """Return the symbol a file's name stands for ("" for none), and how far down the list of patterns it was found."""
    for rank, one in enumerate((pattern, "{symbol}_{timeframe}", "{symbol}-{timeframe}-*", "{symbol}-{timeframe}")):
        if one == "{symbol}":
            continue  # fits every name, so it comes last, but ranks first
        match = _compiled(one).fullmatch(stem)
        if match and _names(match.groupdict().get("timeframe"), timeframe):
            return match["symbol"], rank
    return (stem, 0) if pattern == "{symbol}" else ("", 0)


def _compiled(pattern: str) -> re.Pattern[str]:
    holes = {"{symbol}": "(?P<symbol>.+?)", "{timeframe}": "(?P<timeframe>[0-9]+[A-Za-z]+)", "*": ".*"}
    parts = re.split(r"(\{symbol\}|\{timeframe\}|\*)", pattern)
    seen: set[str] = set()
    return re.compile("".join(_hole(part, holes, seen) for part in parts))


def _hole(part: str, holes: Mapping[str, str], seen: set[str]) -> str:
    if part not in holes:
        return re.escape(part)
    if part == "*" or part not in seen:
        seen.add(part)
        return holes[part]
    return f"(?P={part[1:-1]})"


def _names(label: str | None, timeframe: Timeframe) -> bool:
    if label is None:
        return True
    try:
        return parse_timeframe(label) == timeframe
    except SettingsError:
        return False
