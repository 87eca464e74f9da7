"""Maintenance-margin tiers: a yaml file of dated tables per symbol, checked on load.

Maintenance margin = notional * rate - cum, and the cum of each tier is the one that makes it continuous at the tier's
floor (ENGINE.md section 9).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.clock import time_words
from ...errors import SettingsError
from ...files import sha256
from .dated import date_of, in_order, number_of

DEFAULT = "default"
"""Entry of the file for every symbol without its own."""

MAX_LEVERAGE = 125
COLUMNS = ("notional from", "rate", "highest leverage", "cum")


@dataclass(frozen=True)
class TierTable:
    """The tiers of one symbol from a date on; one entry per tier, ascending.

    Attributes
    ----------
    since
        Nanoseconds since the epoch.
    floors
        Notional from which a tier applies, quote currency; the first is 0.
    rates, caps, cums
        Maintenance margin rate, highest leverage, and what is subtracted.
    """

    since: int
    floors: tuple[float, ...]
    rates: tuple[float, ...]
    caps: tuple[float, ...]
    cums: tuple[float, ...]

    def tier(self, notional: float) -> int:
        """Return the tier of a notional; a floor belongs to the tier that begins there."""
        return max(place for place, floor in enumerate(self.floors) if notional >= floor)

    def maintenance(self, notional: float) -> float:
        """Return the maintenance margin of a notional, quote currency."""
        place = self.tier(notional)
        return notional * self.rates[place] - self.cums[place]


@dataclass(frozen=True)
class TierFile:
    """What a tier file holds, and its hash."""

    path: str
    sha256: str
    tables: Mapping[str, tuple[TierTable, ...]]

    def of(self, symbol: str) -> tuple[TierTable, ...]:
        """Return the dated tables of a symbol: its own, else the default."""
        return self.tables.get(symbol, self.tables[DEFAULT])


def load_tiers(path: Path) -> TierFile:
    """Read a tier file.

    Raises
    ------
    SettingsError
        One line: what is no table, or a cum that is not continuous, with symbol, date and tier.
    """
    from ...settings import read_mapping

    if not path.is_file():
        raise SettingsError(f"{path}: there is no such tier file (setting um_tiers)")
    tables = {}
    for symbol, dated in read_mapping(path).items():
        where = f"{path}: {symbol}"
        if not isinstance(dated, list):
            raise SettingsError(f"{where} is {str(dated)[:40]!r}; a list of tables with from and tiers is allowed")
        tables[symbol] = in_order([table_of(row, where) for row in dated], where)
    if DEFAULT not in tables:
        raise SettingsError(f"{path}: has no entry {DEFAULT!r}, which symbols without their own need")
    return TierFile(str(path), sha256(path), tables)


def table_of(row: Any, where: str) -> TierTable:
    """Return one dated table, checked."""
    since = date_of(row, where)
    where = f"{where} from {time_words(since)[:10]}"
    rows = row.get("tiers")
    if set(row) != {"from", "tiers"} or not isinstance(rows, list) or not rows:
        raise SettingsError(f"{where}: holds {', '.join(map(str, row))}; from and a list of tiers is allowed")
    read = []
    for place, cells in enumerate(rows, 1):
        if not isinstance(cells, list | tuple) or len(cells) != len(COLUMNS):
            raise SettingsError(f"{where}, tier {place} is {str(cells)[:60]}; allowed: [{', '.join(COLUMNS)}]")
        read.append(
            [number_of(cell, f"{where}, tier {place}: {name}") for cell, name in zip(cells, COLUMNS, strict=True)]
        )
    table = TierTable(since, *(tuple(column) for column in zip(*read, strict=True)))
    check_table(table, where)
    return table


def check_table(table: TierTable, where: str) -> None:
    """Refuse tiers that do not ascend, rates and leverages out of range, and a cum that is not continuous."""
    floor, rate, cap, cum = 0.0, 0.0, float(MAX_LEVERAGE), 0.0
    for place in range(len(table.floors)):
        tier = f"{where}, tier {place + 1}"
        now, own, most = table.floors[place], table.rates[place], table.caps[place]
        if (place == 0 and now != 0) or (place > 0 and not now > floor):
            raise SettingsError(f"{tier}: notional from is {now:g}; the first is 0 and they ascend")
        if not (rate < own < 1 if place else 0 < own < 1):
            raise SettingsError(f"{tier}: rate is {own:g}; a fraction above {rate:g} and below 1 is allowed")
        if not 1 <= most <= cap or own > 1 / most:
            raise SettingsError(f"{tier}: highest leverage is {most:g}; 1 to {cap:g} is allowed, and rate <= 1 / it")
        cum = cum + now * (own - rate)
        if not math.isclose(table.cums[place], cum, rel_tol=1e-9, abs_tol=1e-6):
            raise SettingsError(
                f"{tier}: cum is {table.cums[place]:g}, continuity asks for {cum:g}: the file is corrupt"
            )
        floor, rate, cap = now, own, most
