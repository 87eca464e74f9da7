"""The plain store: hashed Parquet files, written by the same writer as Stage A's factor sets.

A folder of inputs, labels or factor values counts only with its JSON index beside it, which is removed before the
files are replaced and written after them: a killed run leaves no index, and the next one writes everything again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from Backtest import files
from Backtest.data.hub_file import FileDamaged, FileFacts, SymbolValues, read_symbol_file
from Backtest.data.hub_writer import write_symbol_file
from Backtest.data.panel import Bools, Floats, Panel
from Backtest.errors import RunError, did_you_mean

from .layout import STEPS, RunLayout, StoreName, require, require_factor
from .progress import counted
from .store import Difference, FactorColumns, Inputs

AGE = "age"
"""Column of the inputs that keeps `Panel.age`."""

REDO = {"inputs": f"{STEPS['manifest']} --overwrite", "factor": f"{STEPS['factor']} --overwrite"}
"""What writes a damaged file again."""


@dataclass(frozen=True)
class ParquetStore:
    """Inputs under ``golden/``, factors under ``factors/``."""

    layout: RunLayout
    name: StoreName = "parquet"
    dtype: type[np.float64] = np.float64

    def exists(self) -> bool:
        """Return whether the inputs have been written."""
        return self.layout.store_index.exists()

    def write_inputs(self, inputs: Inputs) -> None:
        """Replace the inputs and labels; every file covers the whole clock, so that all have the same rows."""
        panel, layout = inputs.panel, self.layout
        layout.store_index.unlink(missing_ok=True)
        for folder in (layout.inputs, layout.labels):
            _clear(folder)
        ages = panel.age.astype(np.float64)
        written: dict[str, dict[str, Any]] = {}
        for column, symbol in enumerate(counted(panel.symbols)):
            fields = {name: values[:, column] for name, values in panel.fields.items()} | {AGE: ages[:, column]}
            labels = {name: values[:, column] for name, values in inputs.labels.items()}
            for kind, path, columns in (
                ("inputs", layout.input_file(symbol), fields),
                ("labels", layout.label_file(symbol), labels),
            ):
                values = SymbolValues(panel.first_bar, columns, panel.tradable[:, column])
                written.setdefault(kind, {})[symbol] = asdict(_write(path, values, layout))
        index = {
            "bar_freq": layout.bar_freq,
            "symbols": list(panel.symbols),
            "fields": list(panel.fields),
            "labels": list(inputs.labels),
            "first_bar": panel.first_bar,
            "rows": len(panel.age),
            "files": written,
        }
        files.write_json(layout.store_index, index)

    def read_inputs(self, symbols: Sequence[str] | None = None, *, verify: bool = True) -> Inputs:
        """Return the inputs of some or all symbols, every byte verified."""
        index = self._index()
        chosen = _chosen(symbols, index["symbols"])
        shape = (index["rows"], len(chosen))
        fields: dict[str, Floats] = {name: np.empty(shape) for name in [*index["fields"], AGE]}
        labels: dict[str, Floats] = {name: np.empty(shape) for name in index["labels"]}
        tradable = np.zeros(shape, np.bool_)
        for column, symbol in enumerate(counted(chosen)):
            for kind, path, columns in (
                ("inputs", self.layout.input_file(symbol), fields),
                ("labels", self.layout.label_file(symbol), labels),
            ):
                try:
                    values = self._read(path, index["files"][kind][symbol], tuple(columns), verify=verify)
                except FileDamaged as damage:
                    raise RunError(f"{path} {damage}; run {REDO['inputs']}") from None
                for name, array in columns.items():
                    array[:, column] = values.factors[name]
                tradable[:, column] = values.tradable
        age = fields.pop(AGE).astype(np.int32)
        exists = np.isfinite(fields["close"])
        member = np.ones(shape, np.bool_)
        panel = Panel(self.layout.timeframe, index["first_bar"], chosen, fields, exists, tradable, age, member, 0)
        return Inputs(panel, labels)

    def factor_names(self) -> tuple[str, ...]:
        """Return the factors that are complete."""
        return self.layout.factor_names()

    def write_factor(self, factor: FactorColumns, panel: Panel) -> None:
        """Replace a factor's files: each symbol's rows from its first to its last bar, as Stage A writes them."""
        layout = self.layout
        folder = layout.factor_folder(factor.name)
        layout.factor_metadata(factor.name).unlink(missing_ok=True)
        _clear(folder)
        written: dict[str, Any] = {}
        for column, symbol in enumerate(factor.symbols):
            rows = own_rows(panel.exists[:, column])
            values = {factor.name: factor.values[rows, column]}
            part = SymbolValues(factor.first_bar + rows.start, values, panel.tradable[rows, column])
            written[symbol] = asdict(_write(layout.factor_file(factor.name, symbol), part, layout))
        content = {"factor": factor.name, "bar_freq": layout.bar_freq, "symbols": list(factor.symbols)}
        files.write_json(layout.factor_metadata(factor.name), {**content, **factor.facts, "files": written})

    def read_factor(self, name: str) -> FactorColumns:
        """Return a factor, every byte verified, on the clock from the first to the last bar of any symbol."""
        metadata = _json(require_factor(self.layout, name), "factor")
        parts: dict[str, SymbolValues] = {}
        for symbol in metadata["symbols"]:
            path = self.layout.factor_file(name, symbol)
            try:
                parts[symbol] = self._read(path, metadata["files"][symbol], (name,))
            except FileDamaged as damage:
                raise RunError(f"{path} {damage}; run {REDO['factor']}") from None
        first = min(part.first_bar for part in parts.values())
        after = max(part.first_bar + len(part.tradable) for part in parts.values())
        values = np.full((after - first, len(parts)), np.nan)
        for column, part in enumerate(parts.values()):
            values[part.first_bar - first : part.first_bar - first + len(part.tradable), column] = part.factors[name]
        return FactorColumns(name, self.layout.timeframe, tuple(parts), first, values, metadata)

    def notes(self, factor: str, columns: Mapping[str, str], *, cross_section: bool) -> tuple[str, ...]:
        """Return nothing: every value is as it was computed."""
        return ()

    def verify(self) -> list[Difference]:
        """Check every file of the inputs and of the factors against its index."""
        index = self._index()
        found: list[Difference] = []
        for kind, file_of in (("inputs", self.layout.input_file), ("labels", self.layout.label_file)):
            columns = tuple(index["labels"]) if kind == "labels" else (*index["fields"], AGE)
            found += self._verified(index["files"][kind], file_of, columns, str(self.layout.store_index))
        for name in self.factor_names():
            metadata = _json(self.layout.factor_metadata(name), "factor")

            def file_of_factor(symbol: str, name: str = name) -> Path:
                return self.layout.factor_file(name, symbol)

            found += self._verified(metadata["files"], file_of_factor, (name,), metadata["factor"])
        return found

    def _verified(
        self, facts: Mapping[str, Any], file_of: Callable[[str], Path], columns: tuple[str, ...], told_by: str
    ) -> list[Difference]:
        found = []
        for symbol, one in facts.items():
            try:
                self._read(file_of(symbol), one, columns)
            except FileDamaged as damage:
                found.append(Difference(str(file_of(symbol)), str(damage), f"the file that {told_by} describes"))
        return found

    def _index(self) -> dict[str, Any]:
        return _json(require(self.layout.store_index, "manifest", "the index of the inputs"), "inputs")

    def _read(
        self, path: Path, facts: Mapping[str, Any], columns: tuple[str, ...], *, verify: bool = True
    ) -> SymbolValues:
        """Read a file that has just these columns; FileDamaged where anything differs."""
        told = FileFacts(**facts)
        if not verify and path.is_file():
            told = FileFacts(files.sha256(path), told.rows, told.start, told.end)
        kept = dict.fromkeys(columns, "float64")
        return read_symbol_file(path, told, timeframe=self.layout.timeframe, columns=kept, wanted=columns)  # type: ignore[arg-type]


def own_rows(exists: Bools) -> slice:
    """Return the rows from a symbol's first to its last bar; it has at least one."""
    rows = np.flatnonzero(exists)
    return slice(int(rows[0]), int(rows[-1]) + 1)


def _chosen(symbols: Iterable[str] | None, have: Sequence[str]) -> tuple[str, ...]:
    if symbols is None:
        return tuple(have)
    chosen = tuple(sorted(set(symbols)))
    for symbol in chosen:
        if symbol not in have:
            raise RunError(f"symbol {symbol!r} is not in the inputs{did_you_mean(symbol, have)}; {STEPS['manifest']}")
    return chosen


def _clear(folder: Path) -> None:
    """Make the folder, without the Parquet files and leftovers of an earlier run."""
    folder.mkdir(parents=True, exist_ok=True)
    files.sweep(folder)
    for old in folder.glob("*.parquet"):
        old.unlink()


def _write(path: Path, values: SymbolValues, layout: RunLayout) -> FileFacts:
    temporary = path.with_name(f"{path.name}{files.TEMPORARY}")
    facts = write_symbol_file(temporary, values, timeframe=layout.timeframe)
    files.replace(temporary, path)
    return facts


def _json(path: Path, kind: str) -> dict[str, Any]:
    """Return the index of a folder; RunError where it is damaged."""
    needed = {"inputs": ("symbols", "fields", "labels", "first_bar", "rows", "files"), "factor": ("symbols", "files")}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = [key for key in needed[kind] if key not in content]
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); run {REDO[kind]}") from None
    if missing:
        raise RunError(f"{path} has no {missing[0]!r}; run {REDO[kind]}")
    return dict(content)
