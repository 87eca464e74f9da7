"""Which symbols a run is about: lists, files of lists, `all`, and short names completed with the quote currency."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import DataError, SettingsError, did_you_mean
from ..logs import LOGGER
from ..names import check_case, check_name
from .root import KlineRoot

ALL = "all"
SHOWN = 5
"""File names in a warning."""
SYMBOL_FILE_LIMIT = 1_000_000
"""Bytes of an @file: tens of thousands of names."""


def resolve_symbols(root: KlineRoot, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the sorted symbols that `wanted` means; None or ``all`` is every symbol of the folder.

    Parameters
    ----------
    root
        Where the klines lie.
    wanted
        Items may hold several names separated by commas or spaces; ``@path`` names a text file of them, where
        ``#`` starts a comment. ``BTC`` means ``BTCUSDT`` (setting `quote`) unless a file of exactly that name exists.

    Raises
    ------
    NameRefused
        A name that no file can have, or two that differ in case only.
    DataError
        A symbol without klines, or two names of one file.
    """
    names = [name for item in (wanted if wanted is not None else [ALL]) for name in _expand(item)]
    if not names:
        raise SettingsError(f"no symbol is given; name some, give @file, or {ALL!r}")
    found: set[str] = set()
    for name in names:
        if name.lower() == ALL and name not in root.files:
            found.update(root.symbols)
            _tell_skipped(root)
        else:
            found.add(_resolve(root, name))
    symbols = tuple(sorted(found))
    check_case("symbol", symbols)
    _require_own_files(root, symbols)
    return symbols


def require_symbols(root: KlineRoot, names: Iterable[str]) -> None:
    """Refuse symbols that a recipe names and that have no klines, or that it does not name in full."""
    for name in names:
        full = _resolve(root, name)
        if full != name:
            raise DataError(f"the recipe names symbol {name!r}; a recipe names symbols in full: write {full!r}")


def _tell_skipped(root: KlineRoot) -> None:
    if root.skipped:
        names = ", ".join(ascii(name) for name in root.skipped[:SHOWN]) + (", ..." if len(root.skipped) > SHOWN else "")
        words = "%s: %d files are left out, no symbol can have their name: %s"
        LOGGER.warning(words, root.folder, len(root.skipped), names)


def _require_own_files(root: KlineRoot, symbols: Iterable[str]) -> None:
    owners: dict[Path | None, str] = {}
    for symbol in symbols:
        file = root.files.get(symbol) or root.alias(symbol)
        other = owners.setdefault(file, symbol)
        if other != symbol:
            raise DataError(f"symbols {other!r} and {symbol!r} are one file, {file}; name one of them")


def _expand(item: str) -> Iterable[str]:
    text = item.strip()
    if text.startswith("@") and os.path.isfile(text[1:]):
        return _words(_read(Path(text[1:])))  # a path may hold spaces and commas
    names: list[str] = []
    for part in _words(text):
        names += _words(_read(Path(part[1:]))) if part.startswith("@") else [part]
    return names


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as stream:
            content = stream.read(SYMBOL_FILE_LIMIT + 1)
        if len(content) > SYMBOL_FILE_LIMIT:
            raise SettingsError(f"symbol file {path} is larger than {SYMBOL_FILE_LIMIT} bytes")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"symbol file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"symbol file {path} is not UTF-8 text") from None
    return "\n".join(line.partition("#")[0] for line in text.splitlines())


def _resolve(root: KlineRoot, name: str) -> str:
    check_name("symbol", name)
    pair = name + root.quote
    for candidate in (name, pair):
        if candidate in root.files:
            return candidate
    for candidate in (pair, name):
        if root.alias(candidate) is not None:
            return candidate
    hint = did_you_mean(name, root.symbols) or did_you_mean(pair, root.symbols)
    raise DataError(f"symbol {name!r} has no klines in {root.folder}{hint}")
