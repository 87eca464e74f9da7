"""Fields from stamped files of each symbol: funding and open interest, in folders beside the klines.

1. `open_stamped` finds the folders that the settings name, relative to the data root.
2. `StampedFields.load` reads one symbol's files, in the process that computes; without any the symbol is refused.
3. `StampedFields.with_series` takes what was loaded, `fill` joins it to the bars of a panel (`joins`).

A folder setting is a list: files of one symbol in several folders are merged and must agree where they overlap. An
entry may also be one file, which belongs to the symbol that is a part of its name (``funding_BTCUSDT_2021.csv.gz``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import DataError, NameRefused, SymbolRefused
from ..settings import CoreSettings, resolve
from . import joins
from .panel import Floats, Panel
from .schema import FieldSource
from .stamped import MINUTE_NS, SUFFIXES, Stamped, load_stamped, merge_stamped, stamped_file
from .timeframe import parse_duration

Series = Mapping[str, Mapping[str, Stamped]]
"""Symbol -> column -> its series."""

FUNDING, INTEREST, INTEREST_VALUE = "funding_rate", "sum_open_interest", "sum_open_interest_value"
COLUMNS: dict[str, tuple[str, ...]] = {
    FUNDING: (FUNDING, "last_funding_rate", "fundingrate"),
    INTEREST: (INTEREST, "sumopeninterest", "open_interest"),
    INTEREST_VALUE: (INTEREST_VALUE, "sumopeninterestvalue", "open_interest_value"),
}
"""Column -> names under which the exchange's archive and its API have it."""


@dataclass(frozen=True)
class StampedField:
    """A field and where it comes from.

    Attributes
    ----------
    setting
        Setting that names the folders.
    column
        A key of COLUMNS.
    settles
        True: something is settled at each stamp, which counts from the bar that opens at or before it; stamps are
        rounded to the minute. False: a value that holds until the next, known at its stamp to the nanosecond.
    """

    setting: str
    column: str
    settles: bool


FIELDS = {
    "funding_sum": StampedField("funding_folder", FUNDING, settles=True),
    "funding_count": StampedField("funding_folder", FUNDING, settles=True),
    "open_interest": StampedField("open_interest_folder", INTEREST, settles=False),
    "open_interest_value": StampedField("open_interest_folder", INTEREST_VALUE, settles=False),
}
"""Field name -> where it comes from."""
FILLED_BY = {"funding_folder": "the funding files", "open_interest_folder": "the open interest files"}


@dataclass(frozen=True)
class StampedFields:
    """Fills the fields of one setting's folders.

    Attributes
    ----------
    setting
        Which one.
    places
        Its folders and files.
    valid_ns
        How long a stamp holds where no other follows.
    series
        What was loaded.
    known_ns
        Stamps that could not be known at this time are left out; None: all are there.
    """

    setting: str
    places: tuple[Path, ...]
    valid_ns: int
    series: Series = field(default_factory=dict)
    known_ns: int | None = None

    @property
    def sources(self) -> tuple[FieldSource, ...]:
        """What it fills."""
        return tuple(FieldSource(name, filled_by=FILLED_BY[self.setting]) for name in self._names(FIELDS))

    @property
    def hint(self) -> str:
        """Nothing to say: its names are always there."""
        return ""

    def fingerprint(self, names: Collection[str]) -> dict[str, str]:
        """Return place -> hash of which files are there: what is in them is noted symbol by symbol.

        Raises
        ------
        DataError
            A place does not exist.
        """
        return {
            str(place): hashlib.sha256("\n".join(self._listed(place)).encode()).hexdigest() for place in self.places
        }

    def load(self, symbol: str, names: Collection[str]) -> dict[str, Stamped]:
        """Return column -> series of those of `names` that are filled here.

        Raises
        ------
        SymbolRefused
            The symbol has no file, or one that cannot be used.
        """
        used = {FIELDS[name].column: name for name in self._names(names)}
        return {column: self._load(symbol, column, name) for column, name in sorted(used.items())}

    def with_series(self, series: Series) -> StampedFields:
        """Return what can fill panels of these symbols."""
        return replace(self, series=series)

    def known_at(self, time_ns: int) -> StampedFields:
        """Return what could have been filled at a time."""
        return replace(self, known_ns=time_ns)

    def fill(self, name: str, panel: Panel) -> Floats:
        """Return a field for the panel's bars and symbols."""
        one, bars = FIELDS[name], joins.bars_of(panel)
        columns = []
        for symbol in panel.symbols:
            series = self.series[symbol][one.column]
            if self.known_ns is not None:
                # what is settled as the bar closes belongs to the next one
                series = series.known_at(self.known_ns - 1 if one.settles else self.known_ns)
            if one.settles:
                columns.append(joins.settled(series, bars, valid_ns=self.valid_ns)[name == "funding_count"])
            else:
                columns.append(joins.last_known(series, bars, valid_ns=self.valid_ns))
        return np.stack(columns, axis=1)

    def _names(self, names: Collection[str]) -> list[str]:
        return sorted(name for name in names if name in FIELDS and FIELDS[name].setting == self.setting)

    def _listed(self, place: Path) -> list[str]:
        if place.is_file():
            return [place.name]
        if not place.is_dir():
            raise DataError(f"there is no folder {place} (setting {self.setting}), which a factor needs")
        return sorted(entry.name for entry in place.iterdir() if entry.name.lower().endswith(SUFFIXES))

    def _load(self, symbol: str, column: str, name: str) -> Stamped:
        try:
            paths = [path for place in self.places if (path := file_of(place, symbol))]
            if not paths:
                where = ", ".join(map(str, self.places))
                raise DataError(f"a factor needs {name}, {where} (setting {self.setting}) has no file of {symbol}")
            round_ns = MINUTE_NS if FIELDS[name].settles else 1
            parts = [load_stamped(path, value=COLUMNS[column], symbol=symbol, round_ns=round_ns) for path in paths]
            return merge_stamped(parts)
        except (DataError, NameRefused) as error:
            raise SymbolRefused(symbol, str(error)) from None


def file_of(place: Path, symbol: str) -> Path | None:
    """Return the file of a symbol that a place of a folder setting holds, or is; None where it has none."""
    if place.is_dir():
        return stamped_file(place, symbol)
    stem = place.name[: -len(next((suffix for suffix in SUFFIXES if place.name.lower().endswith(suffix)), ""))]
    # BTCUSDT_240628 is a delivery contract with a name of its own, not a file of BTCUSDT
    named = rf"(?:^|[_.-]){re.escape(symbol)}(?!_\d{{6}}(?:[_.-]|$))(?:[_.-]|$)"
    return place if re.search(named, stem) else None


def open_stamped(core: CoreSettings) -> tuple[StampedFields, ...]:
    """Return what fills the fields of funding and open interest."""
    return (
        StampedFields("funding_folder", places_of(core, core.funding_folder), parse_duration(core.funding_valid)),
        StampedFields(
            "open_interest_folder", places_of(core, core.open_interest_folder), parse_duration(core.open_interest_valid)
        ),
    )


def places_of(core: CoreSettings, setting: str | tuple[str, ...]) -> tuple[Path, ...]:
    """Return the places that a folder setting names: a list, or text with commas; relative to the data root."""
    names = setting.split(",") if isinstance(setting, str) else setting
    root = resolve(core.data_root)
    return tuple(resolve(name.strip(), root) for name in names if name.strip())
