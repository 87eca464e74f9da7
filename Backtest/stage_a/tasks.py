"""What Stage A's processes tell each other: the tasks out, the reports back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..data.bars import LastBar
from ..data.dsl.plan import Plan
from ..data.fields import Fields
from ..data.hub import Hub
from ..data.hub_file import FileFacts
from ..data.hub_journal import Block, Source
from ..data.recipe_spec import Recipe
from ..data.root import KlineRoot
from ..data.timeframe import Timeframe
from ..settings import CoreSettings


@dataclass(frozen=True)
class Job:
    """What every task of a run shares.

    Attributes
    ----------
    plan, core, root, timeframe
        What to compute, by which settings, from which klines, on which clock.
    klines, partial
        Folders of the klines cache and of the unfinished factor set.
    start_ns, end_ns
        Window of bar open times, half-open; None: as far as the data reach.
    on_missing
        ``drop`` writes a factor above its `na_threshold` as missing; ``fail`` leaves it to the parent.
    fields
        What fills the fields that klines do not have.
    """

    plan: Plan
    core: CoreSettings
    root: KlineRoot
    timeframe: Timeframe
    klines: Path
    partial: Path
    start_ns: int | None
    end_ns: int | None
    on_missing: Literal["fail", "drop"]
    fields: Fields = field(default_factory=Fields)


@dataclass(frozen=True)
class Inputs:
    """What is known before any klines are read."""

    hub: Hub
    root: KlineRoot
    timeframe: Timeframe
    symbols: tuple[str, ...]
    recipe: Recipe
    plan: Plan
    manifest: dict[str, Any]
    job: Job


@dataclass(frozen=True)
class Kept:
    """A symbol's file of the published factor set, to be extended.

    Attributes
    ----------
    path, file
        Where it lies, and what the metadata say of it.
    last
        Absolute index of its last bar.
    missing
        Factor -> bars without a value.
    history_sha256
        Digest of all its bars up to the last (`bars_digest.history_sha256`).
    """

    path: Path
    file: FileFacts
    last: int
    missing: Mapping[str, int]
    history_sha256: str


@dataclass(frozen=True)
class Standing:
    """First bar of a symbol, its last (inside the window, if it has any), and whether those used are as they were."""

    first: int
    last: int
    same: bool


@dataclass(frozen=True)
class ReadTask:
    """Parse these symbols' klines into the cache, and compare those of `kept` with what was used before."""

    job: Job
    symbols: tuple[str, ...]
    kept: Mapping[str, Kept] = field(default_factory=dict)


@dataclass(frozen=True)
class BuildTask:
    """Compute these symbols.

    Attributes
    ----------
    last_bars
        The decisions about last bars that an earlier pass made.
    kept
        Files that are extended; all rows before `begin` are theirs.
    begin
        Absolute index of the first row to compute; None: the first bar.
    company
        Symbols of the run without a bar inside the window: their bars before it are part of cross-sections there.
    """

    job: Job
    symbols: tuple[str, ...]
    last_bars: dict[str, LastBar] = field(default_factory=dict)
    kept: Mapping[str, Kept] = field(default_factory=dict)
    begin: int | None = None
    company: tuple[str, ...] = ()


@dataclass
class Report:
    """What a task did.

    Attributes
    ----------
    refused
        Symbol -> reason in its data.
    sources
        Symbol -> kline file that was read, and path -> file beside it (`read` only).
    standings
        Symbol -> where its bars begin and end (`read` only).
    outside
        Those of `refused` that can be read and have no bar inside the window (`read` only).
    block, temporary
        What `Build.accept` takes (`build` only).
    seconds
        Where the time went: read, compute, write.
    log
        Level and text of what was logged here, for the parent's log file.
    """

    refused: dict[str, str] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)
    block: Block | None = None
    temporary: dict[str, Path] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    log: list[tuple[int, str]] = field(default_factory=list)

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Count the block's wall time as `what`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - begin
