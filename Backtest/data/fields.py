"""Which names a recipe may use as fields, of which kind, and who fills them: klines first, then every `Filler`.

1. `open_fields` opens what the settings name; the result travels to worker processes.
2. `Fields.sources` is what `factors.compile_recipe` looks names up in.
3. Klines fill their own columns (`source.load_symbol`, `clock.build_panel`), those of `klines_of(plan.fields)`.
4. `Fields.load` reads what other fillers have in a file of each symbol, beside its klines; without it the symbol is
   refused, as for a missing column.
5. `Fields.filled` adds the others to the panel, in the process that computes.
6. `Fields.fingerprints` goes into the manifest and the metadata, so that a resumed run never mixes two versions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from ..errors import DataError, RecipeError
from ..settings import CoreSettings, resolve
from .delays import asof_parts
from .external_fields import ExternalFields, open_external
from .panel import Floats, Panel
from .recipe_spec import Recipe
from .schema import FIELDS, FieldSource
from .stamped import Stamped
from .stamped_fields import Series, StampedFields, open_stamped, places_of
from .symbols_table import SymbolsTable, load_symbols_table

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

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Fields that a recipe writes by their name alone."""
        return tuple(name for name, source in self.sources.items() if source.kind != "external")

    @cached_property
    def externals(self) -> tuple[str, ...]:
        """Series that become a field with a delay."""
        return tuple(name for name, source in self.sources.items() if source.kind == "external")

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
        lost = [name for name in wanted if _source_of(name) not in owners]
        if lost:
            raise DataError(f"nothing fills the field {lost[0]}")
        added = {
            name: np.ascontiguousarray(owners[_source_of(name)].fill(name, panel), dtype=np.float64) for name in wanted
        }
        return replace(panel, fields={**panel.fields, **added})

    def fingerprints(self, names: Collection[str]) -> dict[str, str]:
        """Return file -> hash of what these fields rest on, klines apart."""
        table: dict[str, str] = {}
        for filler in self.fillers:
            known = {source.name for source in filler.sources}
            used = known.intersection(map(_source_of, names))
            if used:
                table.update(filler.fingerprint(used))
        return dict(sorted(table.items()))

    def load(self, symbol: str, names: Collection[str]) -> dict[str, Stamped]:
        """Return column -> series of those of `names` that are in files of each symbol; raise SymbolRefused."""
        loaded: dict[str, Stamped] = {}
        for filler in self.fillers:
            if isinstance(filler, StampedFields):
                loaded.update(filler.load(symbol, names))
        return loaded

    def constants(self, symbol: str, names: Collection[str]) -> dict[str, str | float]:
        """Return those of `names` that are the same on every bar of a symbol -> its cell in the symbols table."""
        tables = (filler for filler in self.fillers if isinstance(filler, SymbolsTable))
        return {name: cell for table in tables for name, cell in table.cells(symbol, names).items()}

    @cached_property
    def constant_names(self) -> frozenset[str]:
        """Fields that the symbols table fills."""
        tables = (filler for filler in self.fillers if isinstance(filler, SymbolsTable))
        return frozenset(source.name for table in tables for source in table.sources)

    def with_series(self, series: Series) -> Fields:
        """Return the fields that can fill panels of the symbols that `load` was called for."""
        return Fields(tuple(one.with_series(series) if isinstance(one, StampedFields) else one for one in self.fillers))

    def known_at(self, time_ns: int) -> Fields:
        """Return the fields as they could have been filled at a time, from the stamps known then."""
        stamped = (StampedFields, ExternalFields)
        return Fields(tuple(one.known_at(time_ns) if isinstance(one, stamped) else one for one in self.fillers))


def _source_of(name: str) -> str:
    """Return the source that a panel field rests on: its own name, or that of the external series."""
    parts = asof_parts(name)
    return parts[0] if parts else name


def klines_of(names: Iterable[str]) -> frozenset[str]:
    """Return those of `names` that are columns of klines."""
    return frozenset(names) & KLINES.keys()


def open_fields(core: CoreSettings, recipe: Recipe | None = None, *, read: bool = True) -> Fields:
    """Return the fields that the settings and the recipe provide; without `read` external series by name only.

    Raises
    ------
    RecipeError
        An external series has the name of a field, or no usable file.
    """
    own = Fields((load_symbols_table(resolve(core.symbols_table), quote=core.quote), *open_stamped(core)))
    if recipe is None or not recipe.externals:
        return own
    for spec in recipe.externals:
        if spec.name in own.sources:
            filled_by = own.sources[spec.name].filled_by
            raise RecipeError(f"{spec.place}: {spec.name!r} is a column of {filled_by}; choose another name")
    roots = (recipe.path.parent, *places_of(core, core.external_folder))
    return Fields((*own.fillers, open_external(recipe.externals, roots, read=read)))
