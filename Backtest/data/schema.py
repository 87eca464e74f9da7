"""The kline columns: what a user's file may hold, what each is called, and how coarser bars combine it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ..errors import DataError, did_you_mean

Kind = Literal["time", "price", "amount", "rate"]
Combine = Literal["first", "max", "min", "last", "sum"]


@dataclass(frozen=True)
class Column:
    """One column of a kline file.

    Attributes
    ----------
    name
        As in a file's header, a recipe and a panel.
    kind
        ``time``; ``price``: finite and above zero; ``amount``: finite and not below zero; ``rate``: finite, any sign.
    combine
        How the bars of a finer timeframe make one of a coarser.
    required
        A file without it is refused; an optional one may be absent or hold empty cells (missing values).
    aliases
        Names of the same column in Binance's own archives.
    """

    name: str
    kind: Kind
    combine: Combine
    required: bool = False
    aliases: tuple[str, ...] = ()


COLUMNS: tuple[Column, ...] = (
    Column("open_time", "time", "first", required=True),
    Column("open", "price", "first", required=True),
    Column("high", "price", "max", required=True),
    Column("low", "price", "min", required=True),
    Column("close", "price", "last", required=True),
    Column("volume", "amount", "sum", required=True),
    Column("close_time", "time", "last"),
    Column("quote_asset_volume", "amount", "sum", aliases=("quote_volume",)),
    Column("number_of_trades", "amount", "sum", aliases=("count",)),
    Column("taker_buy_base_volume", "amount", "sum", aliases=("taker_buy_volume", "taker_buy_base_asset_volume")),
    Column("taker_buy_quote_volume", "amount", "sum", aliases=("taker_buy_quote_asset_volume",)),
    Column("premium_open", "rate", "first"),
    Column("premium_high", "rate", "max"),
    Column("premium_low", "rate", "min"),
    Column("premium_close", "rate", "last"),
    Column("premium_close_time", "time", "last"),
)
BY_NAME = {column.name: column for column in COLUMNS}
FIELDS = tuple(column.name for column in COLUMNS if column.kind != "time")
"""Columns that a panel can hold and a recipe can name."""
REQUIRED = tuple(column.name for column in COLUMNS if column.required)
PRICES = tuple(column.name for column in COLUMNS if column.kind == "price")
ALIASES = {alias: column.name for column in COLUMNS for alias in (column.name, *column.aliases)}


@dataclass(frozen=True)
class FieldSource:
    """One name that a recipe may use as a field; `fields.Fields` has all of a run.

    Attributes
    ----------
    name
        As a recipe writes it.
    kind
        ``series``, ``group``: codes, equal ones make members of one group, or ``external``: a series with a delay.
    filled_by
        Who has the values, for messages: ``klines``, ``the symbols table`` ...
    steady
        A state that holds until it changes (a group, a supply), not an amount of its bar: the last one of the run's
        bars in a coarser bar is the coarser bar's. ``bars`` takes kline columns and these.
    """

    name: str
    kind: Literal["series", "group", "external"] = "series"
    filled_by: str = "klines"
    steady: bool = False


@dataclass(frozen=True)
class Header:
    """Where the known columns stand in a file.

    Attributes
    ----------
    positions
        Column name -> 0-based position in the file.
    width
        Number of columns, unknown ones included.
    ignored
        Names of unknown columns, in file order.
    """

    positions: dict[str, int]
    width: int
    ignored: tuple[str, ...]


Match = Callable[[list[str]], Header]
"""Finds the wanted columns among the names of a header; raises DataError."""


def column_of(written: str) -> str | None:
    """Return the column that a header's cell names, however it is written, or None."""
    return ALIASES.get(written.strip().lower().replace(" ", "_"))


def match_header(names: list[str]) -> Header:
    """Find the known columns among `names`; raise DataError for absent, repeated or nameless ones."""
    positions: dict[str, int] = {}
    ignored: list[str] = []
    for place, raw in enumerate(names):
        written = raw.strip()
        if not written:
            raise DataError(f"column {place + 1} has no name; every column needs one")
        name = column_of(written)
        if name is None:
            ignored.append(written)
        elif name in positions:
            raise DataError(f"columns {positions[name] + 1} and {place + 1} are both {name}; one is allowed")
        else:
            positions[name] = place
    if not positions:
        raise DataError(f"no header: the first row is {','.join(names)[:60]!r}; it must name {', '.join(REQUIRED)}")
    for name in REQUIRED:
        if name not in positions:
            hint = did_you_mean(name, ignored)
            raise DataError(f"column {name} is absent; required are {', '.join(REQUIRED)}{hint}")
    return Header(positions, len(names), tuple(ignored))
