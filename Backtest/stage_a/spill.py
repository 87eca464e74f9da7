"""Bars of many symbols beside a computation that takes them chunk of time by chunk: what memory does not take, a file.

A cross-section needs all symbols at once, but only some of their time. Index and flags stay in memory (9 bytes a bar);
the fields go to one temporary file a symbol once all bars together exceed a quarter of the memory limit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import files
from ..data.bars import SymbolBars
from ..data.panel import Floats
from ..errors import HubError

BARS_SHARE = 4
"""Bars may take one part in this of the memory limit."""


@dataclass(frozen=True)
class _Column:
    """Float64 values in a file, read where they are sliced."""

    path: Path
    begin: int
    count: int

    def __getitem__(self, rows: slice) -> Floats:
        first, after, step = rows.indices(self.count)
        assert step == 1
        count = max(0, after - first)
        return np.fromfile(self.path, np.float64, count, offset=8 * (self.begin + first))


@dataclass
class BarStore:
    """The bars of a task's symbols; use `open_store`.

    Attributes
    ----------
    folder
        Where temporary files go.
    budget
        Bytes of bars that may stay in memory; None: all do.
    bars
        To be read by slices of their rows.
    """

    folder: Path
    budget: float | None
    bars: list[SymbolBars] = field(default_factory=list)
    held: int = 0
    spilled: list[Path] = field(default_factory=list)

    def add(self, one: SymbolBars) -> None:
        """Take a symbol's bars."""
        self.bars.append(one)
        self.held += sum(values.nbytes for values in one.fields.values())
        if self.budget is not None and self.held > self.budget:
            self.bars = [self._spill(held) if isinstance(held.fields, dict) else held for held in self.bars]
            self.held = 0

    def _spill(self, one: SymbolBars) -> SymbolBars:
        path = self.folder / f"{one.symbol}.bars.{os.getpid()}{files.TEMPORARY}"
        self.spilled.append(path)
        columns: dict[str, Any] = {}
        try:
            with open(path, "wb") as stream:
                for place, (name, values) in enumerate(one.fields.items()):
                    columns[name] = _Column(path, place * len(one.index), len(one.index))
                    np.ascontiguousarray(values, np.float64).tofile(stream)
        except OSError as error:
            raise HubError(f"{path}: cannot be written: {error.strerror or error}") from None
        return replace(one, fields=cast(Mapping[str, Floats], _Spilled(columns)))

    def clear(self) -> None:
        """Forget the bars and remove their files."""
        self.bars.clear()
        for path in self.spilled:
            path.unlink(missing_ok=True)
        self.spilled.clear()


class _Spilled(Mapping[str, Any]):
    """Fields in a file."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns

    def __getitem__(self, name: str) -> Any:
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)


@contextmanager
def open_store(folder: Path, budget: float | None) -> Iterator[BarStore]:
    """Yield a store; its files are removed at the end."""
    store = BarStore(folder, budget)
    try:
        yield store
    finally:
        store.clear()
