"""Tables of an exchange that change over time: each holds from its date until the next one's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...data.clock import parse_time, time_words
from ...errors import FactorError, SettingsError

DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Dated(Protocol):
    """A table with the moment from which it holds, nanoseconds since the epoch."""

    @property
    def since(self) -> int: ...


Table = TypeVar("Table", bound=Dated)


def date_of(row: Any, where: str) -> int:
    """Return the moment of a row's ``from``: a date, 00:00 UTC."""
    text = row.get("from") if isinstance(row, dict) else None
    if not isinstance(text, str) or not DATE.fullmatch(text):
        raise SettingsError(f"{where}: from is {text!r}; a date such as 2024-10-24 is allowed")
    try:
        return parse_time(text)
    except FactorError as error:
        raise SettingsError(f"{where}: from: {error}") from None


def in_order(tables: Sequence[Table], where: str) -> tuple[Table, ...]:
    """Return the tables; refuse none at all, and dates that do not ascend."""
    if not tables:
        raise SettingsError(f"{where}: holds no table")
    for before, after in pairwise(tables):
        if after.since <= before.since:
            raise SettingsError(f"{where}: {time_words(after.since)} follows {time_words(before.since)}; dates ascend")
    return tuple(tables)


def first_rows(tables: Sequence[Dated], opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row at which each table holds, int64: that of the first bar that opens on its date or later."""
    rows = np.searchsorted(opens, [table.since for table in tables], side="left").astype(np.int64)
    rows[0] = 0  # before its date the first one holds as well
    return rows


def numbers_of(row: dict[str, Any], names: Sequence[str], where: str) -> list[float]:
    """Return the named entries of a row as floats; refuse others, missing ones, and what is no number."""
    for name in row:
        if name not in (*names, "from"):
            raise SettingsError(f"{where}: {name!r} is not known; allowed: from, {', '.join(names)}")
    return [number_of(row.get(name), f"{where}: {name}") for name in names]


def number_of(value: Any, where: str) -> float:
    """Return a number of a yaml file as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{where} is {value!r}; a number is allowed")
    return float(value)
