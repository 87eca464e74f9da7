"""The symbols table: what is known of each coin whatever the bar, from a yaml, JSON or CSV file.

1. `_mapping_cells` or `_csv_cells` read the file strictly: symbol -> column -> `_Cell`.
2. `_column` finds out what a column is (text, numbers or dates; one of them) and makes numbers of it.
3. `SymbolsTable.fill` puts a column on a panel: it is one of the fillers of `fields.Fields`.

A row stands for the symbol of its name, or for a coin: ``BTC`` is every ``BTC`` + quote currency that has no row.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Literal

import numpy as np

from ..documents import SIZE_LIMIT, load_document
from ..errors import FactorError, SettingsError
from ..files import text_sha1
from ..names import check_case, check_name
from .clock import parse_time, time_words
from .panel import Floats, Panel
from .recipe_names import NAME, NAME_RULE, reserved_names
from .schema import FieldSource

DAY_NS = 86_400_000_000_000
SYMBOL = "symbol"
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
Kind = Literal["text", "number", "date"]


@dataclass(frozen=True)
class _Cell:
    value: str | float
    where: str

    @property
    def kind(self) -> Kind:
        if isinstance(self.value, float):
            return "number"
        return "date" if DATE.fullmatch(self.value) else "text"


Cells = Mapping[str, Mapping[str, _Cell]]


@dataclass(frozen=True)
class TableColumn:
    """One column.

    Attributes
    ----------
    name, kind
        As written; what all its cells are.
    labels
        Of a text column: its texts, sorted. A label's place is its code, whichever symbols a run is about.
    values
        Row -> code, number, or the date's first nanosecond (UTC).
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    values: Mapping[str, float]


@dataclass(frozen=True)
class SymbolsTable:
    """A symbols table that was read, or the place where none is.

    Attributes
    ----------
    path
        The file.
    quote
        Quote currency that completes a coin's name.
    sha1
        Of the file's bytes with CRLF as LF; empty where there is no file.
    columns
        In the file's order.
    """

    path: str
    quote: str
    sha1: str = ""
    columns: tuple[TableColumn, ...] = ()

    @property
    def sources(self) -> tuple[FieldSource, ...]:
        """Text columns are groups, numbers and dates are series."""
        return tuple(
            FieldSource(column.name, "group" if column.kind == "text" else "series", "the symbols table", steady=True)
            for column in self.columns
        )

    @property
    def hint(self) -> str:
        """Where more columns go."""
        if self.sha1:
            return f"more columns can be written into the symbols table {self.path}"
        example = "'BTC: {sector: layer-1, supply: 19800000}'"
        return f"there is no symbols table {self.path} (setting symbols_table): a row of it is {example}"

    def fill(self, name: str, panel: Panel) -> Floats:
        """Return a column as float64 [T, S]: NaN where a symbol has no row, no cell or no bar.

        A date is the days since its first moment at the bar's close, and missing on bars that close before it:
        nobody knew it then.
        """
        column = next(one for one in self.columns if one.name == name)
        row = np.array([column.values.get(self.row_of(symbol, column), np.nan) for symbol in panel.symbols])
        if column.kind == "date":
            close = panel.timeframe.open_ns(panel.first_bar) + panel.timeframe.ns * (np.arange(panel.shape[0]) + 1.0)
            values: Floats = (close[:, None] - row) / DAY_NS
            values[values < 0] = np.nan
        else:
            values = np.repeat(row[None, :], panel.shape[0], axis=0)
        values[~panel.exists] = np.nan
        return values

    def cells(self, symbol: str, names: Collection[str]) -> dict[str, str | float]:
        """Return column -> what the symbol's row holds, for those of `names` that it has: text, a number or a time."""
        found: dict[str, str | float] = {}
        for column in self.columns:
            value = column.values.get(self.row_of(symbol, column))
            if column.name not in names or value is None:
                continue
            found[column.name] = value
            if column.kind == "text":
                found[column.name] = column.labels[int(value)]
            elif column.kind == "date":
                found[column.name] = time_words(int(value))
        return found

    def row_of(self, symbol: str, column: TableColumn) -> str:
        """Return the row of a symbol: its own, else its coin's."""
        coin = symbol.removesuffix(self.quote)
        return coin if symbol not in column.values and coin in column.values else symbol

    def fingerprint(self, names: Collection[str]) -> Mapping[str, str]:
        """Return the file's hash."""
        return {"symbols_table": self.sha1}


def load_symbols_table(path: Path, *, quote: str) -> SymbolsTable:
    """Return the table in a yaml, JSON or CSV file; one without columns where there is no file.

    Raises
    ------
    SettingsError
        Not readable as a table; names the file and the line.
    """
    if not path.exists():
        return SymbolsTable(str(path), quote)
    if path.suffix.lower() == ".csv":
        content, cells = _csv_cells(path)
    else:
        content, cells = _mapping_cells(path)
    try:
        check_case("symbol", cells)
    except FactorError as error:
        raise SettingsError(f"{path}: {error}") from None
    names = dict.fromkeys(name for row in cells.values() for name in row)
    columns = tuple(
        _column(name, {symbol: row[name] for symbol, row in cells.items() if name in row}) for name in names
    )
    return SymbolsTable(str(path), quote, text_sha1(content), columns)


# ---- files ----------------------------------------------------------------------------------------------------------


def _mapping_cells(path: Path) -> tuple[bytes, Cells]:
    document = load_document(path)
    table = document.value
    if not isinstance(table, dict) or not table:
        raise SettingsError(f"{path}: a mapping of symbol: {{column: value}} is allowed, e.g. BTC: {{sector: layer-1}}")
    cells: dict[str, dict[str, _Cell]] = {}
    for symbol, row in table.items():
        _check_symbol(symbol, document.where(symbol))
        if not isinstance(row, dict):
            raise SettingsError(f"{document.where(symbol)}: {symbol} needs {{column: value}}, e.g. {{sector: layer-1}}")
        cells[symbol] = {}
        for name, value in row.items():
            where = document.where(symbol, name)
            _check_column(name, where)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (str, int, float)) or value == "":
                raise SettingsError(f"{where}: {name} of {symbol} is {value!r}; text, a number or a date is allowed")
            cells[symbol][name] = _Cell(value if isinstance(value, str) else float(value), where)
    return document.text_bytes, cells


def _csv_cells(path: Path) -> tuple[bytes, Cells]:
    try:
        with open(path, "rb") as stream:
            content = stream.read(SIZE_LIMIT + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: is not UTF-8 text; save it as UTF-8") from None
    if len(content) > SIZE_LIMIT:
        raise SettingsError(f"{path}: is larger than {SIZE_LIMIT:,} bytes; a symbols table may not be")
    rows = _csv_rows(path, text)
    header, where = next(rows, ([], str(path)))
    if not header or header[0] != SYMBOL or len(set(header)) < len(header):
        raise SettingsError(f"{where}: the first line must be '{SYMBOL}' and the names of the columns, each once")
    for name in header[1:]:
        _check_column(name, where)
    cells: dict[str, dict[str, _Cell]] = {}
    for row, where in rows:
        if len(row) != len(header):
            raise SettingsError(f"{where}: has {len(row)} cells, the first line has {len(header)}")
        symbol = row[0]
        _check_symbol(symbol, where)
        if symbol in cells:
            raise SettingsError(f"{where}: {symbol} stands twice")
        cells[symbol] = {name: _csv_cell(cell, where) for name, cell in zip(header[1:], row[1:], strict=True) if cell}
    return content, cells


def _csv_rows(path: Path, text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the cells of every line that is not empty, and where it stands."""
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield [cell.strip() for cell in row], f"{path}, line {reader.line_num}"
    except csv.Error as error:
        raise SettingsError(f"{path}, line {reader.line_num}: {error}") from None


def _csv_cell(text: str, where: str) -> _Cell:
    number = float(text) if NUMBER.fullmatch(text) else None
    if number is not None and not math.isfinite(number):
        raise SettingsError(f"{where}: number {text} is larger than a float64 holds")
    return _Cell(text if number is None else number, where)


# ---- what a table may hold ------------------------------------------------------------------------------------------


def _check_symbol(symbol: str, where: str) -> None:
    try:
        check_name(SYMBOL, symbol)
    except FactorError as error:
        raise SettingsError(f"{where}: {error}") from None


def _check_column(name: str, where: str) -> None:
    if not NAME.fullmatch(name):
        raise SettingsError(f"{where}: column {name[:80]!r} is not allowed: {NAME_RULE}")
    taken = reserved_names().get(name.casefold())
    if taken:
        raise SettingsError(f"{where}: column {name!r} is not allowed: {name.casefold()!r} is {taken}; choose another")


def _column(name: str, cells: Mapping[str, _Cell]) -> TableColumn:
    first = next(iter(cells.values()))
    for symbol, cell in cells.items():
        if cell.kind != first.kind:
            raise SettingsError(
                f"{cell.where}: {name} of {symbol} is {cell.value!r}, a {cell.kind}; "
                f"{name} is a {first.kind} ({first.value!r}) in {first.where}; a column is all text, numbers or dates"
            )
    if first.kind == "number":
        return TableColumn(name, "number", (), {symbol: float(cell.value) for symbol, cell in cells.items()})
    if first.kind == "date":
        return TableColumn(name, "date", (), {symbol: _date(name, cell) for symbol, cell in cells.items()})
    labels = tuple(sorted({str(cell.value) for cell in cells.values()}))
    code = {label: float(place) for place, label in enumerate(labels)}
    return TableColumn(name, "text", labels, {symbol: code[str(cell.value)] for symbol, cell in cells.items()})


def _date(name: str, cell: _Cell) -> float:
    try:
        return float(parse_time(str(cell.value)))
    except SettingsError:
        raise SettingsError(f"{cell.where}: {name} is {cell.value!r}, which is no day of the calendar") from None
