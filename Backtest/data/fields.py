"""Which names a recipe may use as fields, of which kind, and who fills them: klines first, then every `Filler`.

1. `open_fields` opens what the settings name; the result travels to worker processes.
2. `Fields.sources` is what `factors.compile_recipe` looks names up in.
3. Klines fill their own columns (`source.load_symbol`, `clock.build_panel`), those of `klines_of(plan.fields)`.
4. `Fields.filled` adds the others to the panel, in the process that computes.
5. `Fields.fingerprints` goes into the manifest and the metadata, so that a resumed run never mixes two versions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from ..errors import DataError
from ..settings import CoreSettings, resolve
from .panel import Floats, Panel
from .schema import FIELDS, FieldSource
from .symbols_table import load_symbols_table

KLINES = {name: FieldSource(name) for name in FIELDS}
"""What every run has."""


class Filler(Protocol):
    """Has values for fields that are no kline columns. Plain data, as it is sent to worker processes."""

    @property
    def sources(self) -> tuple[FieldSource, ...]:
        """What it fills."""

    @property
    def hint(self) -> str:
        """What to say about itself when a name is unknown."""

    def fill(self, name: str, panel: Panel) -> Floats:
        """Return float64 [T, S] for the panel's bars and symbols: finite or NaN, known at the close of each bar."""

    def fingerprint(self, names: Collection[str]) -> Mapping[str, str]:
        """Return file -> hash of what the values of these fields rest on."""


@dataclass(frozen=True)
class Fields:
    """The fields of one run."""

    fillers: tuple[Filler, ...] = ()

    @cached_property
    def sources(self) -> Mapping[str, FieldSource]:
        """Every field by name; klines first."""
        return KLINES | {source.name: source for filler in self.fillers for source in filler.sources}

    @property
    def hint(self) -> str:
        """What the fillers say when a name is unknown."""
        return "".join(f"; {filler.hint}" for filler in self.fillers if filler.hint)

    def filled(self, panel: Panel, names: Iterable[str]) -> Panel:
        """Return the panel with those of `names` that are no kline columns, read-only."""
        wanted = sorted(set(names) - set(KLINES))
        if not wanted:
            return panel
        owners = {source.name: filler for filler in self.fillers for source in filler.sources}
        lost = [name for name in wanted if name not in owners]
        if lost:
            raise DataError(f"nothing fills the field {lost[0]}")
        added = {name: np.ascontiguousarray(owners[name].fill(name, panel), dtype=np.float64) for name in wanted}
        return replace(panel, fields={**panel.fields, **added})

    def fingerprints(self, names: Collection[str]) -> dict[str, str]:
        """Return file -> hash of what these fields rest on, klines apart."""
        table: dict[str, str] = {}
        for filler in self.fillers:
            used = [source.name for source in filler.sources if source.name in names]
            if used:
                table.update(filler.fingerprint(used))
        return dict(sorted(table.items()))


def klines_of(names: Iterable[str]) -> frozenset[str]:
    """Return those of `names` that are columns of klines."""
    return frozenset(names) & KLINES.keys()


def open_fields(core: CoreSettings) -> Fields:
    """Return the fields that the settings provide."""
    return Fields((load_symbols_table(resolve(core.symbols_table), quote=core.quote),))
