"""External series of a recipe: one file each, the same values for every symbol, joined with a publication delay.

`open_external` finds and reads the files once, before any worker starts, and warns of what was odd in them; the series
travel with the job, so all workers have the same rows. A recipe is handed on more freely than settings, so its files
must lie beside it or in a folder of the setting ``external_folder``.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import DataError, RecipeError
from ..logs import LOGGER
from . import joins
from .delays import asof_parts
from .panel import Floats, Panel
from .recipe_spec import ExternalSpec
from .schema import FieldSource
from .stamped import KINDS, Stamped, load_stamped
from .timeframe import parse_duration


@dataclass(frozen=True)
class ExternalFields:
    """Fills ``asof(name, lag)``.

    Attributes
    ----------
    specs
        The recipe's entries.
    series
        Name -> rows; empty where only names are needed.
    known_ns
        Rows that could not be known at this time are left out; None: all are there.
    """

    specs: tuple[ExternalSpec, ...]
    series: Mapping[str, Stamped] = field(default_factory=dict)
    known_ns: int | None = None

    @property
    def sources(self) -> tuple[FieldSource, ...]:
        """What it fills, once a delay is given."""
        return tuple(FieldSource(spec.name, "external", "the recipe's external series") for spec in self.specs)

    @property
    def hint(self) -> str:
        """Nothing to say: the recipe lists its names itself."""
        return ""

    def fingerprint(self, names: Collection[str]) -> dict[str, str]:
        """Return file -> SHA-256 of those series that fields of these names rest on."""
        used = [self.series[name] for name in sorted(names)]
        return {source.path: source.sha256 for series in used for source in series.sources}

    def known_at(self, time_ns: int) -> ExternalFields:
        """Return what could have been filled at a time."""
        return replace(self, known_ns=time_ns)

    def fill(self, name: str, panel: Panel) -> Floats:
        """Return ``asof(name, lag)`` for the panel's bars, the same in every column."""
        parts = asof_parts(name)
        if parts is None:
            raise DataError(f"the external series {name} has no delay")
        spec = next(spec for spec in self.specs if spec.name == parts[0])
        series, lag_ns = self.series[spec.name], parts[1]
        if self.known_ns is not None:
            series = series.known_at(self.known_ns, lag_ns=lag_ns)
        valid_ns = None if spec.valid is None else parse_duration(spec.valid)
        values = joins.last_known(series, joins.bars_of(panel), lag_ns=lag_ns, valid_ns=valid_ns)
        return np.repeat(values[:, None], len(panel.symbols), axis=1)


def open_external(specs: Sequence[ExternalSpec], roots: Sequence[Path], *, read: bool) -> ExternalFields:
    """Return what fills the external series; raise RecipeError for a file that is not there or cannot be used."""
    series = {spec.name: _load(spec, roots) for spec in specs} if read else {}
    for name, one in series.items():
        for finding in one.findings:
            LOGGER.warning(
                "external series '%s': %s: %d rows, first %s (%s)",
                name, KINDS[finding.kind], finding.count, finding.first, finding.detail,
            )  # fmt: skip
    return ExternalFields(tuple(specs), series)


def _load(spec: ExternalSpec, roots: Sequence[Path]) -> Stamped:
    try:
        return load_stamped(_found(spec, roots), value=spec.column, time=spec.time)
    except DataError as error:
        raise RecipeError(f"{spec.place}: external series '{spec.name}': {error}") from None


def _found(spec: ExternalSpec, roots: Sequence[Path]) -> Path:
    """Return the one file of that path inside a root."""
    there = {os.path.realpath(path): path for root in roots if (path := root / spec.path).is_file()}
    allowed = {real: path for real, path in there.items() if any(_is_inside(real, root) for root in roots)}
    places = ", ".join(map(str, roots))
    if len(allowed) > 1:
        raise DataError(f"path {spec.path!r} is found {len(allowed)} times, in {places}; keep one")
    if allowed:
        return next(iter(allowed.values()))
    if there:
        raise DataError(f"path {spec.path!r} leads outside {places}; name its folder in the setting external_folder")
    raise DataError(f"there is no file {spec.path!r} in {places} (beside the recipe, and setting external_folder)")


def _is_inside(real: str, root: Path) -> bool:
    return Path(real).is_relative_to(os.path.realpath(root))
