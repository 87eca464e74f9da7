"""The Qlib store: the run's inputs, labels and factors as a Qlib provider, written by us, read through Qlib.

What is written is checked by `qlib_manifest`, for Qlib takes a torn bin for a short series. A store of inputs is built
beside the old one and put in its place with its manifest; a killed run leaves none, or the old one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Backtest import files
from Backtest.data.panel import Floats, Panel
from Backtest.errors import RunError, did_you_mean
from Backtest.logs import LOGGER
from Backtest.names import check_case

from .layout import STEPS, RunLayout, StoreName, require
from .parquet_store import ParquetStore
from .progress import counted
from .qlib_bins import (
    bin_path,
    bins_of,
    calendar_text,
    encode_bin,
    instruments_text,
    qlib_frequency,
    spans_of,
    stamp_words,
    tell_lost,
)
from .qlib_check import check_factor, check_inputs, check_texts, clock_of, differences_of_qlib
from .qlib_manifest import (
    BinFacts,
    FactorManifest,
    StoreManifest,
    bin_facts,
    factor_path,
    manifest_path,
    manifest_text,
    read_factor_manifest,
    read_manifest,
    text_facts,
)
from .qlib_reader import Provider, open_provider
from .qlib_rounding import rounding_notes, tied_bars
from .store import Difference, FactorColumns, Inputs

AGE, TRADABLE = "age", "tradable_flag"
"""Columns beside the fields: what a panel knows of its bars."""

REDO = STEPS["qlib"]
"""What writes a damaged store again."""


@dataclass(frozen=True)
class QlibStore:
    """Bins under ``qlib/<bar_freq>/``; every value is rounded to float32."""

    layout: RunLayout
    name: StoreName = "qlib"
    dtype: type[np.float32] = np.float32

    @property
    def folder(self) -> Path:
        """The provider."""
        return self.layout.qlib

    def exists(self) -> bool:
        """Return whether the inputs have been written."""
        return manifest_path(self.folder).exists()

    def require_current(self) -> None:
        """Raise RunError where the store is missing, damaged in its manifest, or made from other inputs."""
        self._manifest()

    def require_writable(self) -> None:
        """Raise RunError where a factor could not be added: besides, where calendar or instruments are damaged."""
        _refuse(check_texts(self.folder, self._manifest()))

    def write_inputs(self, inputs: Inputs) -> None:
        """Replace the whole store by these inputs, and by the factors that the plain store has."""
        check_case("symbol", inputs.panel.symbols)
        partial = self.folder.with_name(f"{self.folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        frequency = qlib_frequency(self.layout.timeframe)
        stamps = inputs.panel.timestamp
        texts = {
            Path("calendars") / f"{frequency}.txt": calendar_text(stamps),
            Path("instruments") / "all.txt": instruments_text(spans_of(inputs.panel), stamp_words(stamps)),
        }
        for place, text in texts.items():
            _write_new(partial / place, text.encode("utf-8"))
        bins: dict[str, dict[str, BinFacts]] = {}
        columns: dict[str, NDArray[Any]] = {
            **inputs.panel.fields,
            AGE: inputs.panel.age,
            TRADABLE: inputs.panel.tradable,
            **inputs.labels,
        }
        for symbol, field, content in bins_of(inputs.panel, columns):
            _write_new(bin_path(partial, symbol, field, frequency), content)
            bins.setdefault(symbol, {})[field] = bin_facts(content)
        calendar, instruments = map(text_facts, texts.values())
        manifest = StoreManifest(
            frequency,
            inputs.panel.first_bar,
            len(stamps),
            tuple(inputs.panel.fields),
            (AGE, TRADABLE),
            tuple(inputs.labels),
            calendar,
            instruments,
            bins,
            {name: tied_bars(values) for name, values in inputs.labels.items()},
            _source(self.layout.store_index),
        )
        _write_new(manifest_path(partial), manifest_text(manifest).encode("utf-8"))
        self._put_in_place(partial)
        self.copy_factors(inputs.panel)

    def copy_factors(self, panel: Panel) -> list[str]:
        """Write the plain store's factors that this one lacks or has from an earlier run; return their names."""
        plain = ParquetStore(self.layout)
        stale = [name for name in plain.factor_names() if not self._has_current(name)]
        for name in stale:
            self.write_factor(plain.read_factor(name), panel)
        return stale

    def _has_current(self, name: str) -> bool:
        path = factor_path(self.folder, name)
        return path.exists() and read_factor_manifest(path).source == _source(self.layout.factor_metadata(name))

    def _put_in_place(self, partial: Path) -> None:
        manifest_path(self.folder).unlink(missing_ok=True)  # from here on the old store is none
        if self.folder.exists():
            shutil.rmtree(self.folder)
        files.replace(partial, self.folder)

    def read_inputs(self, symbols: Sequence[str] | None = None, *, verify: bool = True) -> Inputs:
        """Return the inputs of some or all symbols as Qlib reads them, after every bin was checked."""
        manifest = self._manifest()
        if verify:
            _refuse(check_inputs(self.folder, manifest))
        chosen = _chosen(symbols, manifest.symbols)
        names = (*manifest.fields, *manifest.flags, *manifest.labels)
        arrays: dict[str, Floats] = {name: np.full((manifest.rows, len(chosen)), np.nan) for name in names}
        provider = open_provider(self.folder, manifest.frequency)
        for column, symbol in enumerate(counted(chosen)):
            rows, values = self._columns(provider, manifest, symbol, names)
            for place, name in enumerate(names):
                arrays[name][rows, column] = values[:, place]
        labels = {name: arrays[name] for name in manifest.labels}
        fields = {name: arrays[name] for name in manifest.fields}
        return Inputs(_panel(self.layout, manifest.first_bar, chosen, fields, arrays), labels)

    def factor_names(self) -> tuple[str, ...]:
        """Return the factors that are complete."""
        return tuple(sorted(path.stem for path in factor_path(self.folder, "*").parent.glob("*.json")))

    def write_factor(self, factor: FactorColumns, panel: Panel) -> None:
        """Replace a factor's bins, each over the rows of its symbol's inputs, and read them back through Qlib.

        The bars of `panel` are not asked for: a factor copied later must give the same bytes as one written by Step 3.
        """
        manifest = self._manifest()
        self._check_factor_name(factor.name, manifest)
        factor_path(self.folder, factor.name).unlink(missing_ok=True)  # until the new bins are there
        begin = factor.first_bar - manifest.first_bar
        whole = np.full((manifest.rows, len(factor.symbols)), np.nan)
        top, end = max(begin, 0), min(begin + len(factor.values), manifest.rows)
        if top < end:
            whole[top:end] = factor.values[top - begin : end - begin]
        rows = max(end - top, 0)
        _tell_outside(factor, len(factor.values) - rows, manifest)
        bins: dict[str, BinFacts] = {}
        kept = np.full(whole.shape, np.nan)
        for column, symbol in enumerate(factor.symbols):
            if symbol not in manifest.bins:
                continue
            facts = manifest.bins[symbol][AGE]
            own = slice(facts.start, facts.start + facts.rows)
            kept[own, column] = whole[own, column]
            content, lost = encode_bin(whole[own, column], facts.start)
            tell_lost(lost, factor.name, symbol)
            files.write_bytes(bin_path(self.folder, symbol, factor.name, manifest.frequency), content)
            bins[symbol] = bin_facts(content)
        source = _source(self.layout.factor_metadata(factor.name))
        part = FactorManifest(
            factor.name, manifest.first_bar + min(top, manifest.rows), rows, bins, tied_bars(kept), source
        )
        _refuse(self._differences_of_qlib(manifest, {symbol: {factor.name: one} for symbol, one in bins.items()}))
        place = factor_path(self.folder, factor.name)
        place.parent.mkdir(exist_ok=True)
        files.write_text(place, manifest_text(part))

    def read_factor(self, name: str) -> FactorColumns:
        """Return a factor as Qlib reads it, after its bins were checked."""
        manifest = self._manifest()
        part = self._factor_manifest(name)
        _refuse(check_factor(self.folder, part, manifest.frequency))
        values = np.full((manifest.rows, len(part.bins)), np.nan)
        provider = open_provider(self.folder, manifest.frequency)
        for column, symbol in enumerate(part.bins):
            rows, read = self._columns(provider, manifest, symbol, (name,))
            values[rows, column] = read[:, 0]
        top = part.first_bar - manifest.first_bar
        own = values[top : top + part.rows]
        return FactorColumns(name, self.layout.timeframe, tuple(part.bins), part.first_bar, own, self._facts(name))

    def _facts(self, name: str) -> dict[str, Any]:
        """Return what Step 3 says of a factor; the store remembers which words those were."""
        path = self.layout.factor_metadata(name)
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}

    def notes(self, factor: str, columns: Mapping[str, str], *, cross_section: bool) -> tuple[str, ...]:
        """Return what float32 does to an evaluation."""
        tied, label_tied = self._factor_manifest(factor).tied, self._manifest().tied
        return rounding_notes(tied, label_tied, columns, cross_section=cross_section)

    def verify(self) -> list[Difference]:
        """Check every file against the manifests, and that Qlib reads from the bins what is in them."""
        manifest = self._manifest()
        parts = [self._factor_manifest(name) for name in self.factor_names()]
        found = check_inputs(self.folder, manifest)
        for part in parts:
            found += check_factor(self.folder, part, manifest.frequency)
        if found:
            return found
        bins = {symbol: dict(columns) for symbol, columns in manifest.bins.items()}
        for part in parts:
            for symbol, facts in part.bins.items():
                bins[symbol][part.factor] = facts
        return self._differences_of_qlib(manifest, bins)

    def _differences_of_qlib(
        self, manifest: StoreManifest, bins: Mapping[str, Mapping[str, BinFacts]]
    ) -> list[Difference]:
        provider = open_provider(self.folder, manifest.frequency)
        clock = clock_of(manifest, self.layout.timeframe)
        return list(differences_of_qlib(self.folder, bins, provider, clock))

    def _columns(
        self, provider: Provider, manifest: StoreManifest, symbol: str, names: tuple[str, ...]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the calendar rows and values [n, F] that Qlib has of one symbol."""
        try:
            read = provider.columns(symbol, names)
        except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
            raise RunError(f"Qlib cannot read {symbol} in {self.folder} ({error}); run {REDO}") from None
        opened = read.timestamp.astype(np.int64)
        rows = (opened - self.layout.timeframe.open_ns(manifest.first_bar)) // self.layout.timeframe.ns
        inside = (rows >= 0) & (rows < manifest.rows)
        return rows[inside], read.values[inside]

    def _manifest(self) -> StoreManifest:
        path = require(manifest_path(self.folder), "qlib", f"the Qlib store of run {self.layout.run_id}")
        manifest = read_manifest(path)
        if manifest.source != _source(self.layout.store_index):
            raise RunError(f"{self.folder} was made from other inputs than {self.layout.inputs} now holds; run {REDO}")
        return manifest

    def _factor_manifest(self, name: str) -> FactorManifest:
        path = factor_path(self.folder, name)
        if not path.exists():
            names = self.factor_names()
            have = did_you_mean(name, names) or (f"; there are {', '.join(names[:10])}" if names else "")
            made = "copies it" if name in self.layout.factor_names() else f"and {STEPS['factor']} make it"
            raise RunError(f"factor {name!r} is not in the Qlib store {self.folder}{have}; {REDO} {made}")
        part = read_factor_manifest(path)
        if part.source != _source(self.layout.factor_metadata(name)):
            raise RunError(f"factor {name!r} in {self.folder} is not the one of {STEPS['factor']}; run {REDO}")
        return part

    def _check_factor_name(self, name: str, manifest: StoreManifest) -> None:
        if not name.isidentifier() or not name.isascii():
            raise RunError(f"factor {name!r} cannot be kept for Qlib: its columns are letters, digits and _")
        columns = (*manifest.fields, *manifest.flags, *manifest.labels)
        if name.lower() in {column.lower() for column in columns}:
            raise RunError(f"factor {name!r} cannot be kept for Qlib: its store has such a column; rename it")
        check_case("factor", [*(other for other in self.factor_names() if other != name), name])


def _panel(
    layout: RunLayout, first_bar: int, symbols: tuple[str, ...], fields: dict[str, Floats], arrays: dict[str, Floats]
) -> Panel:
    """Return the panel of what was read: a bar is where there is a close."""
    exists = np.isfinite(arrays["close"])
    age = np.nan_to_num(arrays[AGE], nan=0.0).astype(np.int32)
    tradable = arrays[TRADABLE] == 1.0
    return Panel(layout.timeframe, first_bar, symbols, fields, exists, tradable, age, np.ones_like(exists), 0)


def _chosen(symbols: Sequence[str] | None, have: tuple[str, ...]) -> tuple[str, ...]:
    if symbols is None:
        return have
    for symbol in symbols:
        if symbol not in have:
            raise RunError(f"symbol {symbol!r} is not in the Qlib store{did_you_mean(symbol, have)}; {REDO} makes it")
    return tuple(sorted(set(symbols)))


def _refuse(differences: Sequence[Difference]) -> None:
    """Raise RunError for the first difference; reading on would give numbers of something else."""
    if differences:
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise RunError(f"{differences[0]}{more}; run {REDO}")


def _tell_outside(factor: FactorColumns, bars: int, manifest: StoreManifest) -> None:
    unknown = sorted(set(factor.symbols) - set(manifest.symbols))
    if bars or unknown:
        words = f"{bars} bars" + (f" and the symbols {', '.join(unknown)}" if unknown else "")
        LOGGER.warning("factor %s: %s are not in the inputs, and so not in the Qlib store", factor.name, words)


def _source(path: Path) -> str:
    return files.sha256(path) if path.exists() else ""


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that no one reads yet: its folder is put in place whole, later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
