"""What a Qlib store holds, kept beside it for `qlib_check`: Qlib has no such record.

``store.json`` tells calendar, instruments and bins of the inputs, ``factors/<FACTOR>.json`` the bins of a factor; each
is written after the files that it tells of. Both follow from the data alone, so equal inputs make equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from Backtest.errors import RunError
from Backtest.files import json_text

from .layout import STEPS
from .qlib_bins import decode_bin

VERSION = 3


@dataclass(frozen=True)
class BinFacts:
    """One bin: calendar row of its first value, number of values, hash of its bytes."""

    start: int
    rows: int
    sha256: str


@dataclass(frozen=True)
class FileFacts:
    """One text file: number of lines, hash of its bytes."""

    lines: int
    sha256: str


@dataclass(frozen=True)
class StoreManifest:
    """The inputs' part of a store.

    Attributes
    ----------
    frequency
        As Qlib calls it.
    first_bar, rows
        Absolute bar index of calendar row 0, and calendar rows.
    fields, flags, labels
        Names of the columns: of the panel, of its masks and ages, of the forward returns.
    calendar, instruments
        The two text files.
    bins
        Symbol -> column -> its bin.
    source
        SHA-256 of Step 0's manifest, so that a store of earlier inputs is noticed; empty without one.
    """

    frequency: str
    first_bar: int
    rows: int
    fields: tuple[str, ...]
    flags: tuple[str, ...]
    labels: tuple[str, ...]
    calendar: FileFacts
    instruments: FileFacts
    bins: Mapping[str, Mapping[str, BinFacts]]
    source: str
    version: int = VERSION

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols, sorted."""
        return tuple(self.bins)


@dataclass(frozen=True)
class FactorManifest:
    """A factor's part of a store.

    Attributes
    ----------
    factor
        Its name.
    first_bar, rows
        Absolute bar index of its first row inside the store's clock, and its rows there.
    bins
        Symbol -> its bin, as long as those of the inputs.
    source
        SHA-256 of what Step 3 says of it; empty without.
    """

    factor: str
    first_bar: int
    rows: int
    bins: Mapping[str, BinFacts]
    source: str
    version: int = VERSION


def manifest_path(folder: Path) -> Path:
    """Return the file that tells of the inputs."""
    return folder / "store.json"


def factor_path(folder: Path, name: str) -> Path:
    """Return the file that tells of a factor."""
    return folder / "factors" / f"{name}.json"


def manifest_text(manifest: StoreManifest | FactorManifest) -> str:
    """Return a manifest as JSON."""
    return json_text(asdict(manifest))


def read_manifest(path: Path) -> StoreManifest:
    """Return the inputs' part; RunError in one line where the file is not one of ours."""
    raw = _load(path)
    try:
        bins = {symbol: _bins(columns) for symbol, columns in raw["bins"].items()}
        texts = {name: FileFacts(**raw[name]) for name in ("calendar", "instruments")}
        names = {part: tuple(raw[part]) for part in ("fields", "flags", "labels")}
        return StoreManifest(**{**raw, **texts, **names, "bins": bins})
    except (TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from None


def read_factor_manifest(path: Path) -> FactorManifest:
    """Return a factor's part; RunError in one line where the file is not one of ours."""
    raw = _load(path)
    try:
        return FactorManifest(**{**raw, "bins": _bins(raw["bins"])})
    except (TypeError, KeyError, AttributeError) as error:
        raise _damaged(path, error) from None


def _load(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(raw, dict):
        raise _damaged(path, "no mapping")
    if raw.get("version") != VERSION:
        raise RunError(f"{path} is of version {raw.get('version')!r}, not {VERSION}; run {STEPS['qlib']} again")
    return raw


def _bins(raw: Mapping[str, Mapping[str, Any]]) -> dict[str, BinFacts]:
    return {name: BinFacts(**facts) for name, facts in raw.items()}


def _damaged(path: Path, reason: object) -> RunError:
    return RunError(f"{path} is damaged ({reason}); run {STEPS['qlib']} again")


def bin_facts(content: bytes) -> BinFacts:
    """Return the facts of a bin that was just made."""
    start, values = decode_bin(content)
    return BinFacts(start, len(values), hashlib.sha256(content).hexdigest())


def text_facts(text: str) -> FileFacts:
    """Return the facts of a text file that was just made."""
    return FileFacts(text.count("\n"), hashlib.sha256(text.encode("utf-8")).hexdigest())
