"""Building a factor set: all in ``<factor_set>.partial/``, then put in place in one pass, metadata last.

The partial folder holds finished Parquet files and their journal (`hub_journal`). A later run with the same manifest
takes over the finished symbols whose klines are unchanged and whose files still have the noted hash.

1. `open_build`: the lock, the rules about what is there already, the journal of an interrupted run.
2. `Build.accept`: a worker's temporary files get their names, then their line in the journal.
3. `Build.publish`: files replaced, files that the new set does not have removed, metadata renamed into place.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .. import files
from ..errors import HubError, NameRefused
from ..names import check_case, check_name
from .hub import PARTIAL, SEAL, Hub, sealed
from .hub_journal import JOURNAL, Block, Journal, Record, journal_line, read_journal
from .timeframe import Timeframe

BESIDE = "fields"
"""Entry of the manifest with place -> hash of what lies beside the klines."""

BESIDE_WORDS = {"symbols_table": "the symbols table"}
"""Places that are no path, in words."""


@dataclass
class Build:
    """A factor set under construction; the lock is held.

    Attributes
    ----------
    partial, final, metadata_path
        Where it is built, where it goes.
    manifest
        Whatever decides the bytes of the files.
    blocks
        Finished symbols, as they were computed together.
    population
        Cross-sections only: every symbol's kline file hash, or why it was refused. The values depend on all of them.
    base
        Where a published set is extended: ``seal``, the hash of its metadata, and ``taken``, whether its rows are taken
        over (``tail``) or all are computed (``whole``); empty until that is settled.
    """

    partial: Path
    final: Path
    metadata_path: Path
    manifest: Mapping[str, Any]
    blocks: list[Block] = field(default_factory=list)
    population: dict[str, str] | None = None
    base: dict[str, str] | None = None

    @property
    def generation(self) -> str:
        """Hash of the manifest: two builds with the same one make the same files from the same klines."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    @property
    def records(self) -> dict[str, Record]:
        """Finished symbols by name."""
        return {record.symbol: record for block in self.blocks for record in block.records}

    def accept(self, block: Block, temporary: Mapping[str, Path]) -> None:
        """Give a worker's finished files their names and note them; only the parent does so, so no orphan can."""
        for record in block.records:
            files.rename(temporary[record.symbol], self.partial / f"{record.symbol}.parquet")
        files.sync_directory(self.partial)
        self.blocks.append(block)
        with open(self.partial / JOURNAL, "ab") as journal:
            journal.write(journal_line(asdict(block)))

    def settle_population(self, population: Mapping[str, str]) -> bool:
        """Note what the cross-sections rest on; return False, and drop what is finished, when it was another."""
        same = not self.blocks or self.population == population
        if not same:
            self.blocks.clear()
        self.population = dict(population)
        self.write_journal()
        return same

    def settle_base(self, taken: str) -> None:
        """Note whether published rows are taken over; what is finished counts only if that was decided the same."""
        assert self.base is not None
        if self.base.get("taken", taken) != taken:
            self.blocks.clear()
        self.base = {**self.base, "taken": taken}
        self.write_journal()

    def write_journal(self) -> None:
        """Write the journal anew: manifest, population, base and finished blocks."""
        head = {"manifest": self.manifest, "population": self.population, "base": self.base}
        lines = [journal_line(head)] + [journal_line(asdict(block)) for block in self.blocks]
        files.write_bytes(self.partial / JOURNAL, b"".join(lines))

    def publish(self, metadata: Mapping[str, Any], *, keep_journal: bool) -> None:
        """Put the set in place: the metadata's bytes are on the disk before a file moves, its name comes last."""
        self.final.mkdir(parents=True, exist_ok=True)
        self.metadata_path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in self.metadata_path.parent.glob(f"{self.metadata_path.name}.*{files.TEMPORARY}"):
            leftover.unlink(missing_ok=True)
        with files.atomic_writer(self.metadata_path) as stream:
            stream.write(files.json_text(sealed(metadata)).encode("utf-8"))
            stream.flush()
            os.fsync(stream.fileno())
            for symbol in sorted(self.records):
                built = self.partial / f"{symbol}.parquet"
                if built.exists():
                    files.rename(built, self.final / built.name)
            files.sync_directory(self.final)
            for path in self.final.iterdir():
                if path.suffix == ".parquet" and path.stem not in self.records:
                    path.unlink()
        if not keep_journal:
            shutil.rmtree(self.partial)

    def discard(self) -> None:
        """Remove what was built."""
        self.blocks.clear()
        self.tidy()

    def tidy(self) -> None:
        """Remove what a later run could not take over: temporary files, and the whole when nothing is finished."""
        if self.partial.exists() and not self.blocks:
            shutil.rmtree(self.partial)
        elif self.partial.exists():
            files.sweep(self.partial)


@contextmanager
def open_build(
    hub: Hub,
    timeframe: Timeframe,
    factor_set: str,
    *,
    manifest: Mapping[str, Any],
    symbols: Iterable[str],
    overwrite: bool,
    write: Callable[[str], None],
    base: str | None = None,
) -> Iterator[Build]:
    """Yield the factor set to build, with what an interrupted run of the same manifest finished.

    Parameters
    ----------
    symbols
        Those of this run: what was finished of others is not taken over.
    overwrite
        Permits replacing a complete factor set, or an unfinished one of another manifest.
    write
        Takes lines for the log.
    base
        Hash of the metadata of the published set, if that is to be extended.

    Raises
    ------
    HubError
        Another process builds it; something is there and `overwrite` is False; the published set is another one now.
    """
    check_target(hub, timeframe, factor_set)
    try:
        with files.one_writer(hub.lock_path(timeframe, factor_set)):
            build = new_build(hub, timeframe, factor_set, manifest, base=base)
            if base is not None and hub.read_metadata(timeframe, factor_set)[SEAL] != base:
                raise HubError(f"factor set {factor_set!r} was replaced just now; run the command again")
            _take_over(build, frozenset(symbols), overwrite, write)
            try:
                yield build
            finally:
                build.tidy()
    except files.Locked as locked:
        raise HubError(f"factor set {factor_set!r} is being written: {locked}; wait for it or stop it") from None


def check_target(hub: Hub, timeframe: Timeframe, factor_set: str) -> None:
    """Refuse a name or a timeframe label that would share a folder with another one of this hub."""
    check_name("factor set", factor_set)
    if factor_set.casefold().endswith(PARTIAL):
        raise NameRefused(f"factor set {factor_set!r} is not allowed: names that end in {PARTIAL} are unfinished ones")
    if hub.label(timeframe) != timeframe.label:
        raise HubError(
            f"{hub.root} keeps this timeframe as {hub.label(timeframe)!r}; {timeframe.label!r} would be a second label "
            f"of it; type --timeframe {hub.label(timeframe)} in place of --timeframe {timeframe.label}"
        )
    for kind, ending in (("metadata", ".json"), ("factors", "")):
        folder = hub.root / kind / timeframe.label
        have = [path.name.removesuffix(ending) for path in folder.glob(f"*{ending}")] if folder.is_dir() else []
        check_case("factor set", [factor_set, *(name for name in have if not name.startswith("."))])


def require_free(build: Build, *, overwrite: bool) -> Journal | None:
    """Return the journal of a run that can be taken over, None when there is none; refuse what is in the way."""
    begun = read_journal(build.partial / JOURNAL)
    same = begun is not None and begun.manifest == build.manifest
    matching = begun if same and _seal(begun) == _seal(build) else None
    if overwrite:
        return matching
    extends = build.base is not None
    published = build.metadata_path.exists() and not extends
    if published and not (matching and _generation_of(build.metadata_path) == build.generation):
        raise HubError(f"factor set {build.final.name!r} exists ({build.metadata_path}); --overwrite replaces it")
    if matching:
        return matching
    if _holds_files(build.partial) and not (extends and same):  # of the same aim, from a set that was extended since
        what = f"differs in {_difference(begun.manifest, build.manifest)}" if begun else "has no readable journal"
        raise HubError(
            f"{build.partial} holds an unfinished run that {what}; give the same arguments to finish it, "
            "or --overwrite to discard it"
        )
    if not extends and _holds_files(build.final):
        raise HubError(f"{build.final} holds files without metadata; --overwrite replaces them")
    return None


def _seal(one: Build | Journal | None) -> str | None:
    return None if one is None or one.base is None else one.base.get("seal")


def new_build(
    hub: Hub, timeframe: Timeframe, factor_set: str, manifest: Mapping[str, Any], *, base: str | None = None
) -> Build:
    """Return the build of a factor set; nothing is written."""
    return Build(
        hub.partial_folder(timeframe, factor_set),
        hub.set_folder(timeframe, factor_set),
        hub.metadata_path(timeframe, factor_set),
        json.loads(json.dumps(manifest)),  # as the journal gives it back
        base=None if base is None else {"seal": base},
    )


def _take_over(build: Build, symbols: frozenset[str], overwrite: bool, write: Callable[[str], None]) -> None:
    journal = require_free(build, overwrite=overwrite)
    if journal:
        build.population, build.base = journal.population, journal.base
        build.blocks = [block for block in journal.blocks if _still_good(build, block, symbols, write)]
        if build.blocks:
            write(f"resuming: {len(build.records)} symbols are finished")
    elif build.partial.exists():
        write(f"discarding {build.partial}")
        shutil.rmtree(build.partial)
    build.partial.mkdir(parents=True, exist_ok=True)
    files.sweep(build.partial, write)
    build.write_journal()


def _holds_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _still_good(build: Build, block: Block, symbols: frozenset[str], write: Callable[[str], None]) -> bool:
    """Tell whether a finished block still counts: sources unchanged, its files built or already in place."""
    names = [record.symbol for record in block.records]
    if not symbols.issuperset(names):
        return False
    for record in block.records:
        for symbol, source in record.sources.items():
            if not source.unchanged():
                write(f"computed anew: {', '.join(names)}; the data of {symbol} changed ({source.path})")
                return False
        places = [folder / f"{record.symbol}.parquet" for folder in (build.partial, build.final)]
        if not any(path.exists() and files.sha256(path) == record.sha256 for path in places):
            write(f"computed anew: {', '.join(names)}; the file of {record.symbol} is not the one that was written")
            return False
    return True


def _generation_of(metadata_path: Path) -> str | None:
    try:
        return str(json.loads(metadata_path.read_text(encoding="utf-8"))["generation"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Name the manifest entries that differ; of what lies beside the klines, the file or folder."""
    found = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key) and key != BESIDE]
    old, new = before.get(BESIDE) or {}, now.get(BESIDE) or {}
    beside = [place for place in sorted({*old, *new}) if old.get(place) != new.get(place)]
    return ", ".join(found + [BESIDE_WORDS.get(place, place) for place in beside]) or "nothing"
