"""The factor sets of a DataHub: where they lie, listing, and reading with every byte verified.

1. `Hub.read_metadata`: the JSON that Stage A wrote last; present means complete.
2. `read_generation`: each file's SHA-256 is compared before a byte of it is believed, then its columns and rows.
3. `Hub.read` retries for RETRY_SECONDS while a Stage A run puts another generation in place.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from .. import files
from ..errors import FactorError, HubError, did_you_mean
from ..names import NAME, check_name, inside
from .hub_file import Dtype, FileDamaged, FileFacts, SymbolValues, read_symbol_file
from .panel import Bools, Floats
from .timeframe import Timeframe, parse_timeframe

PARTIAL = ".partial"
"""Ends the folder in which a factor set is built; no factor set may be named so."""

RETRY_SECONDS = 5.0
"""Putting a thousand files in place takes about a second; a reader waits this long for it."""

AGAIN = "run Stage A again with --overwrite"

SEAL = "metadata_sha256"
"""Key of the metadata's own hash: over their JSON without this key, keys sorted, no blanks, ASCII."""

METADATA_KEYS: dict[str, type | tuple[type, ...]] = {
    "factor_set": str, "timeframe": str, "data_root": str, "start": str, "end": str, "symbols": list, "rows": int,
    "factors": dict, "dsl_sha1": str, "files": dict, "qc": dict, "refused": dict, "synthetic": bool, "software": dict,
    "created_at": str,
}  # fmt: skip
"""What the metadata of every factor set holds; Stage A writes more (`stage_a.metadata`)."""

FILE_KEYS: dict[str, type] = {
    "path": str, "sha256": str, "rows": int, "start": str, "end": str, "source_sha256": str,
}  # fmt: skip


@dataclass(frozen=True)
class FactorSet:
    """The values of a factor set on the regular clock, from the first to the last bar of any of its symbols.

    Attributes
    ----------
    metadata
        As Stage A wrote it.
    timeframe
        Bar length.
    symbols
        Columns, sorted.
    first_bar
        Absolute bar index (`Timeframe.index`) of row 0.
    factors
        Factor name -> float64 [T, S]; NaN where missing and outside a symbol's own rows.
    tradable
        bool [T, S]; False outside a symbol's own rows.
    """

    metadata: Mapping[str, Any]
    timeframe: Timeframe
    symbols: tuple[str, ...]
    first_bar: int
    factors: Mapping[str, Floats]
    tradable: Bools


class MixedGeneration(Exception):
    """Files and metadata do not belong together. ``str(error)`` says which file and why."""


@dataclass(frozen=True)
class Hub:
    """A DataHub folder.

    It holds ``factors/<timeframe>/<factor_set>/<symbol>.parquet`` and ``metadata/<timeframe>/<factor_set>.json``.
    """

    root: Path

    def label(self, timeframe: Timeframe) -> str:
        """Return the folder name that this hub has for the timeframe's length, else the timeframe's own label."""
        for kind in ("metadata", "factors"):
            for folder in _folders(self.root / kind):
                if _length(folder.name) == timeframe.seconds and _holds_set(folder):
                    return folder.name
        return timeframe.label

    def set_folder(self, timeframe: Timeframe, factor_set: str) -> Path:
        """Return the folder of a factor set's Parquet files."""
        return self._place("factors", timeframe, factor_set)

    def partial_folder(self, timeframe: Timeframe, factor_set: str) -> Path:
        """Return the folder in which the factor set is built."""
        return self._place("factors", timeframe, factor_set, PARTIAL)

    def metadata_path(self, timeframe: Timeframe, factor_set: str) -> Path:
        """Return the metadata file of a factor set."""
        return self._place("metadata", timeframe, factor_set, ".json")

    def lock_path(self, timeframe: Timeframe, factor_set: str) -> Path:
        """Return the lock file; a name begins with a letter or digit, so that no factor set can be called so."""
        check_name("factor set", factor_set)
        return inside(self.root, "factors", self.label(timeframe), f".{factor_set}.lock")

    def _place(self, kind: str, timeframe: Timeframe, factor_set: str, ending: str = "") -> Path:
        return inside(self.root, kind, self.label(timeframe), check_name("factor set", factor_set) + ending)

    def list_factor_sets(self, timeframe: Timeframe) -> tuple[str, ...]:
        """Return the names of the complete factor sets of a timeframe, sorted."""
        folder = self.root / "metadata" / self.label(timeframe)
        return tuple(sorted(path.stem for path in folder.glob("*.json") if NAME.fullmatch(path.stem)))

    def list_symbols(self, timeframe: Timeframe, factor_set: str) -> tuple[str, ...]:
        """Return the symbols of a factor set, sorted."""
        return tuple(self.read_metadata(timeframe, factor_set)["symbols"])

    def read_metadata(self, timeframe: Timeframe, factor_set: str) -> dict[str, Any]:
        """Return the metadata of a complete factor set; HubError when it is absent or damaged."""
        path = self.metadata_path(timeframe, factor_set)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise HubError(self._absent(timeframe, factor_set, path)) from None
        except (OSError, UnicodeDecodeError) as error:
            raise HubError(f"{path}: cannot be read ({error}); {AGAIN}") from None
        return check_metadata(text, path)

    def _absent(self, timeframe: Timeframe, factor_set: str, path: Path) -> str:
        if self.partial_folder(timeframe, factor_set).exists():
            return f"factor set {factor_set!r} is not finished ({path} comes last); run the same Stage A command again"
        have = self.list_factor_sets(timeframe)
        listed = f"; {self.root} has {', '.join(have[:10])}" if have else f"; {self.root} has none of {timeframe.label}"
        return f"factor set {factor_set!r} does not exist ({path}){did_you_mean(factor_set, have) or listed}"

    def read(
        self,
        timeframe: Timeframe,
        factor_set: str,
        *,
        symbols: Iterable[str] | None = None,
        factors: Iterable[str] | None = None,
    ) -> FactorSet:
        """Read a factor set, or some symbols and factors of it, and verify all that is read.

        Values are float64, whatever the files keep; those of a float32 set are the rounded ones (`hub_file.stored`).

        Raises
        ------
        HubError
            A name that the set does not have; a file that is absent, damaged or of another generation.
        """
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            metadata = self.read_metadata(timeframe, factor_set)
            asked = chosen(symbols, metadata["symbols"], f"symbol of factor set {factor_set!r}")
            names = chosen(factors, metadata["factors"], f"factor of factor set {factor_set!r}")
            try:
                return read_generation(self.root, metadata, symbols=asked, factors=names)
            except MixedGeneration as mixed:
                if time.monotonic() > deadline or not self._moving(timeframe, factor_set, metadata):
                    raise HubError(str(mixed)) from None
            time.sleep(0.1)

    def _moving(self, timeframe: Timeframe, factor_set: str, metadata: Mapping[str, Any]) -> bool:
        """Tell a factor set that is being put in place from one that is damaged, so that damage is told at once."""
        if self.partial_folder(timeframe, factor_set).exists():
            return True
        return self.read_metadata(timeframe, factor_set) != metadata


def chosen(wanted: Iterable[str] | None, have: Iterable[str], what: str) -> tuple[str, ...]:
    """Return `wanted` without repeats, sorted as in `have`; all of `have` when None; HubError for unknown names."""
    known = list(have)
    if wanted is None:
        return tuple(known)
    asked = set(wanted)
    for name in sorted(asked.difference(known)):
        raise HubError(f"{name!r} is no {what}{did_you_mean(name, known)}; it has {', '.join(known[:20])}")
    return tuple(name for name in known if name in asked)


def check_metadata(text: str, path: Path) -> dict[str, Any]:
    """Return the metadata in `text`; HubError names the first thing that is not as Stage A writes it."""
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        raise HubError(f"{path}: is not JSON; {AGAIN}") from None
    if not isinstance(metadata, dict):
        raise HubError(f"{path}: holds no mapping; {AGAIN}")
    if metadata.get(SEAL) != sealed(metadata)[SEAL]:
        raise HubError(f"{path}: was changed after Stage A wrote it ({SEAL} differs); {AGAIN}")
    _check_keys(metadata, METADATA_KEYS, path, "")
    for symbol, facts in metadata["files"].items():
        if not isinstance(facts, dict):
            raise HubError(f"{path}: files.{symbol} holds no mapping; {AGAIN}")
        _check_keys(facts, FILE_KEYS, path, f"files.{symbol}.")
    if sorted(metadata["files"]) != metadata["symbols"]:
        raise HubError(f"{path}: 'symbols' and 'files' name different symbols; {AGAIN}")
    return metadata


def sealed(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata with the hash of all that they say, so that an edited file is known."""
    content = {key: value for key, value in metadata.items() if key != SEAL}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return {**content, SEAL: hashlib.sha256(text.encode()).hexdigest()}


def _check_keys(found: Mapping[str, Any], keys: Mapping[str, Any], path: Path, prefix: str) -> None:
    for key, kind in keys.items():
        if not isinstance(found.get(key), kind):
            raise HubError(f"{path}: {prefix}{key} is {str(found.get(key))[:40]!r}, not what Stage A writes; {AGAIN}")


def read_generation(
    root: Path, metadata: Mapping[str, Any], *, symbols: tuple[str, ...], factors: tuple[str, ...]
) -> FactorSet:
    """Read the files that `metadata` describes; MixedGeneration when one is not that file."""
    timeframe = parse_timeframe(metadata["timeframe"])
    columns = {name: _dtype(root, metadata, name) for name in metadata["factors"]}
    parts: list[SymbolValues] = []
    for symbol in symbols:
        listed = metadata["files"][symbol]
        path = inside(root, listed["path"])
        facts = FileFacts(listed["sha256"], listed["rows"], listed["start"], listed["end"])
        try:
            parts.append(read_symbol_file(path, facts, timeframe=timeframe, columns=columns, wanted=factors))
        except FileDamaged as damage:
            raise MixedGeneration(f"{path}: {damage}; {AGAIN}") from None
    first = min((part.first_bar for part in parts), default=0)
    after = max((part.first_bar + len(part.tradable) for part in parts), default=0)
    return _together(metadata, timeframe, symbols, factors, parts, first, after)


def _dtype(root: Path, metadata: Mapping[str, Any], name: str) -> Dtype:
    """Return how a factor is kept; sets from before there was a choice do not say."""
    found = metadata["factors"][name].get("dtype", "float64")
    for dtype in get_args(Dtype):
        if found == dtype:
            return cast(Dtype, dtype)
    have = str(found)[:40]
    raise HubError(f"{root}: factor {name!r} of {metadata['factor_set']!r} is kept as {have!r}, unknown here; {AGAIN}")


def _together(
    metadata: Mapping[str, Any],
    timeframe: Timeframe,
    symbols: tuple[str, ...],
    factors: tuple[str, ...],
    parts: list[SymbolValues],
    first: int,
    after: int,
) -> FactorSet:
    import numpy as np

    shape = (after - first, len(symbols))
    values = {name: np.full(shape, np.nan) for name in factors}
    tradable = np.zeros(shape, np.bool_)
    for column, part in enumerate(parts):
        rows = slice(part.first_bar - first, part.first_bar - first + len(part.tradable))
        tradable[rows, column] = part.tradable
        for name in factors:
            values[name][rows, column] = part.factors[name]
    return FactorSet(metadata, timeframe, symbols, first, values, tradable)


def require_recipe(metadata: Mapping[str, Any], dsl_path: Path) -> None:
    """Refuse a factor set that was made from another recipe than the file at `dsl_path`."""
    try:
        found = files.text_sha1(dsl_path.read_bytes())
    except OSError as error:
        raise HubError(f"{dsl_path}: cannot be read ({error.strerror})") from None
    if found != metadata["dsl_sha1"]:
        name = metadata["factor_set"]
        raise HubError(
            f"factor set {name!r} was made from another recipe (DSL SHA1 {metadata['dsl_sha1'][:12]}) than {dsl_path} "
            f"({found[:12]}); give the recipe it was made from, or {AGAIN}"
        )


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _holds_set(folder: Path) -> bool:
    """Tell whether anything of a factor set is there: a run that failed leaves its lock, which begins with a dot."""
    return any(not path.name.startswith(".") and not path.name.endswith(files.TEMPORARY) for path in folder.iterdir())


def _length(label: str) -> int | None:
    """Return the seconds of a timeframe label, None for a folder that is none."""
    try:
        return parse_timeframe(label).seconds
    except FactorError:
        return None
