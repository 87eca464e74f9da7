"""Step 1: is what lies in a store what the files say? Every difference is named, cell by cell where it can be.

1. `complete`: what is absent is written again: plain inputs and golden samples from the klines, a Qlib store from them.
2. `Store.verify`: every file: hash or bins, columns, types, order, spacing, time zone.
3. `contract`: the symbols, columns and labels that the manifest promises, and what must hold in every cell.
4. `golden.compare`: the golden rows, bit for bit, in a float32 store rounded to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from Backtest import files
from Backtest.data.schema import BY_NAME, PRICES
from Backtest.errors import RunError
from Backtest.logs import LOGGER
from Backtest.settings import CoreSettings

from .golden import compare
from .labels import label_name
from .layout import STEPS, RunLayout
from .manifest import Manifest, read_manifest
from .parquet_store import ParquetStore
from .prepare import rewrite
from .store import Difference, Inputs, Store

SHOWN = 100
"""Differences in the summary; the log has all."""


def check(core: CoreSettings, layout: RunLayout, store: Store) -> dict[str, Any]:
    """Run Step 1 and return what the command prints; the caller holds the run's lock."""
    rewritten = complete(core, layout, store)
    manifest = read_manifest(layout)
    golden = read_golden(layout)
    found = list(_recorded(layout, manifest)) + store.verify()
    inputs = _readable(store, found)
    if inputs is not None:
        found += [*contract(inputs, manifest), *compare(golden, inputs, store.dtype)]
    for one in found:
        LOGGER.warning("%s", one)
    return {
        "status": "failed" if found else "ok",
        "run_id": layout.run_id,
        "path": str(layout.root),
        "bar_freq": layout.bar_freq,
        "store": store.name,
        "rewritten": rewritten,
        "golden_rows": len(golden["samples"]),
        "golden_cells": sum(len(sample["inputs"]) + len(sample["labels"]) for sample in golden["samples"]),
        "difference_count": len(found),
        "differences": [{"where": d.where, "found": d.found, "expected": d.expected} for d in found[:SHOWN]],
    }


def complete(core: CoreSettings, layout: RunLayout, store: Store) -> list[str]:
    """Write what is absent and return what that was."""
    plain = ParquetStore(layout)
    manifest = read_manifest(layout)
    needed = [layout.golden, layout.store_index]
    needed += [place(symbol) for symbol in manifest.symbols for place in (layout.input_file, layout.label_file)]
    rewritten = [path.relative_to(layout.root).as_posix() for path in needed if not path.exists()]
    if rewritten:
        LOGGER.warning("%s is absent; the inputs are written again", rewritten[0])
        rewrite(core, layout)
    if store.name != plain.name and not store.exists():
        LOGGER.warning("the %s store is absent; it is written", store.name)
        store.write_inputs(plain.read_inputs())
        rewritten.append(f"{store.name}/{layout.bar_freq}")
    return rewritten


def read_golden(layout: RunLayout) -> dict[str, Any]:
    """Return the golden samples; RunError where they are damaged."""
    try:
        content = json.loads(layout.golden.read_text(encoding="utf-8"))
        for sample in content["samples"]:
            if not {"symbol", "timestamp", "inputs", "labels", "good_rows"} <= sample.keys():
                raise KeyError("a sample is incomplete")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{layout.golden} is damaged ({error}); run {STEPS['manifest']} --overwrite") from None
    return dict(content)


def _recorded(layout: RunLayout, manifest: Manifest) -> Iterator[Difference]:
    """Yield the files that are not those that the manifest names."""
    for name, told in manifest.written.items():
        path = layout.root / name
        found = files.sha256(path) if path.is_file() else "absent"
        if found != told:
            yield Difference(str(path), f"SHA-256 {found}", f"{told}, as the manifest says")


def _readable(store: Store, found: list[Difference]) -> Inputs | None:
    try:
        return store.read_inputs(verify=False)
    except RunError as error:
        if not found:
            found.append(Difference(store.name, str(error), "inputs that can be read"))
        return None


def contract(inputs: Inputs, manifest: Manifest) -> Iterator[Difference]:
    """Yield what breaks the contract of normalised inputs.

    Symbols, fields and labels as promised; prices finite and above zero and amounts not below zero wherever there is
    a bar, with high and low around open and close; nothing where there is no bar; no label across the end.
    """
    panel = inputs.panel
    if list(panel.symbols) != manifest.symbols:
        yield Difference("symbols", ", ".join(panel.symbols), ", ".join(manifest.symbols))
    promised = {label_name(kind, bars) for kind in manifest.label_kinds for bars in manifest.horizons.values()}
    if set(inputs.labels) != promised:
        yield Difference("labels", ", ".join(sorted(inputs.labels)), ", ".join(sorted(promised)))
    fields = panel.fields
    lost = [name for name in (*PRICES, "volume") if name not in fields]
    if lost:
        yield Difference("columns", ", ".join(fields), f"{lost[0]} among them")
        return
    opened, high, low, close = (fields[name] for name in PRICES)
    with np.errstate(invalid="ignore"):
        whole = (low > 0) & (low <= np.minimum(opened, close)) & (high >= np.maximum(opened, close)) & np.isfinite(high)
        rules = [("high, low, open, close of one bar", panel.exists & ~whole, "0 < low <= open, close <= high")]
        for name, values in fields.items():
            rules.append((name, ~panel.exists & ~np.isnan(values), "nothing, for the bar has no close"))
            rules.append((name, np.isinf(values), "a finite value"))
            if name in BY_NAME and BY_NAME[name].kind == "amount":
                rules.append((name, values < 0, "0 or more"))
        for name, values in inputs.labels.items():
            rules.append((name, (values <= -1) | np.isinf(values), "a finite return above -1"))
    clock = panel.timestamp.astype("datetime64[s]")
    for name, cells, expected in rules:
        for row, column in zip(*np.nonzero(cells), strict=True):
            found = repr(float({**fields, **inputs.labels}.get(name, close)[row, column]))
            yield Difference(f"{panel.symbols[column]} {clock[row]}Z {name}", found, expected)
