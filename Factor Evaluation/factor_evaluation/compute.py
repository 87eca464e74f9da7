"""Step 3: a recipe and klines in, factor columns out, the same bits as Stage A.

1. `recipe_from`: ``--dsl "NAME = expression"`` or a recipe file, checked alike.
2. `open_compute`: the plan, the symbols, what is there already; every error of the command line's is found here.
3. `klines.load_bars`: each symbol's bars and what lies beside them.
4. `_values`: blocks of symbols -> panel -> factor values, as Stage A's workers do it.
5. `Store.write_factor`: into every store, when all is computed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from Backtest.data.bars import SymbolBars
from Backtest.data.clock import window
from Backtest.data.dsl.plan import Plan, PlannedFactor
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.fields import Fields, klines_of, open_fields
from Backtest.data.panel import Floats, Panel
from Backtest.data.recipe import load_recipe, recipe_of
from Backtest.data.recipe_spec import Recipe
from Backtest.data.universe import require_symbols
from Backtest.documents import Document, Keys, Place
from Backtest.errors import DataError, RecipeError, RunError, SettingsError
from Backtest.logs import LOGGER
from Backtest.names import check_case
from Backtest.settings import CoreSettings, with_flags

from .klines import Klines, Window, load_bars, open_klines, panel_of, require_any
from .layout import ALL, RunLayout
from .manifest import read_manifest
from .parquet_store import own_rows
from .progress import progress
from .store import FactorColumns, Store

DEFINITION = re.compile(r"\s*([^=<>!]*?)\s*=(?!=)\s*(.*\S)\s*", re.DOTALL)
"""``NAME = expression``; a comparison has no single equals sign."""

BLOCK_SYMBOLS = 8
"""Symbols that are computed at a time where nothing is compared across them."""

DECISIVE = ("last_bar", "episode_gap", "max_bad_rows", "gap_tolerance", "quote")
"""Settings that decide about the values."""


@dataclass(frozen=True)
class ComputeRequest:
    """One run of Step 3.

    Attributes
    ----------
    core
        Data root, rules for klines, limits.
    data_root_given
        False takes the data root of the run's manifest, where there is one.
    recipe
        What to compute.
    symbols, start, end
        As typed; None: as in the run's manifest.
    overwrite
        Replace factors that are there.
    """

    core: CoreSettings
    data_root_given: bool
    recipe: Recipe
    symbols: tuple[str, ...] | None = None
    start: str | None = None
    end: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class _Job:
    klines: Klines
    plan: Plan
    fields: Fields
    request: ComputeRequest


def recipe_from(expressions: Sequence[str] | None, path: Path | None) -> Recipe:
    """Return the recipe of ``--dsl`` options or of a recipe file; one of them must be given."""
    if (path is None) == (not expressions):
        raise SettingsError('give factors: --dsl "NAME = expression", once or several times, or --dsl-path FILE')
    if path is not None:
        return load_recipe(path)
    entries, places = [], {}
    for number, text in enumerate(expressions or ()):
        match = DEFINITION.fullmatch(text)
        if match is None or not match[1]:
            raise RecipeError(f'--dsl {text[:80]!r} has no name; write --dsl "NAME = expression"')
        entries.append({"name": match[1], "type": "expression", "expression": match[2]})
        keys: Keys = ("factors", number)
        places[keys] = Place(number + 1, 1)
    content = "\n".join(expressions or ()).encode("utf-8", "surrogatepass")
    return recipe_of(Document(Path("--dsl"), {"factors": entries}, content, places))


def open_compute(request: ComputeRequest, layout: RunLayout) -> _Job:
    """Find and check everything that does not need the klines' content."""
    core, start, end, symbols = request.core, request.start, request.end, request.symbols
    if layout.manifest.exists():
        manifest = read_manifest(layout, complete=False)
        start, end = start or manifest.start, end or manifest.end
        symbols = symbols or tuple(manifest.symbols)
        core = core if request.data_root_given else with_flags(core, data_root=manifest.data_root)
    fields = open_fields(core, request.recipe)
    plan = compile_recipe(
        request.recipe,
        allow_modules=core.allow_modules,
        max_window=core.max_window,
        timeframe=layout.timeframe,
        fields=fields,
    )
    names = [factor.name for factor in plan.factors]
    if ALL in names:
        raise RecipeError(f"factor name {ALL!r} is taken: in Step 4 it means every factor; choose another")
    check_case("factor", {*names, *layout.factor_names()})
    there = [name for name in names if layout.factor_metadata(name).exists()]
    if there and not request.overwrite:
        raise RunError(f"factor {there[0]!r} is in {layout.folder('factors')} already; add --overwrite")
    klines = open_klines(core, layout.timeframe, symbols=symbols, start=start, end=end)
    require_symbols(klines.root, plan.extra_symbols)
    return _Job(klines, plan, fields, request)


def compute_factors(request: ComputeRequest, layout: RunLayout, stores: Sequence[Store]) -> dict[str, Any]:
    """Run Step 3 and return what the command prints; the caller holds the run's lock."""
    job = open_compute(request, layout)
    plan, klines = job.plan, job.klines
    for name, reason in plan.skipped.items():
        LOGGER.warning("factor %s is left out: %s", name, reason)
    series: dict[str, Any] = {}

    def beside(symbol: str) -> None:
        series[symbol] = job.fields.load(symbol, plan.fields)

    everyone = {*klines.symbols, *plan.extra_symbols}
    loaded, refused = load_bars(klines, symbols=everyone, fields=klines_of(plan.fields), beside=beside)
    for symbol in plan.extra_symbols:
        if symbol in refused:
            raise DataError(f"a factor needs {symbol}, whose klines are refused: {refused[symbol]}")
    own = [one for one in loaded if one.symbol in klines.symbols]
    require_any(own, refused)
    job = replace(job, klines=_closed(klines, own), fields=job.fields.with_series(series))
    values, counts = _values(job, own, [one for one in loaded if one.symbol in plan.extra_symbols])
    panel = panel_of(job.klines, own, lookback=0, fields=(), members=())
    held = own_rows(np.asarray(panel.exists.any(axis=1)))
    kept = panel.rows(held.start, held.stop)
    for factor in plan.factors:
        facts = {**_facts(job, factor, panel, values[factor.name], own, refused), "made_missing": counts[factor.name]}
        columns = FactorColumns(
            factor.name, layout.timeframe, kept.symbols, kept.first_bar, values[factor.name][held], facts
        )
        for store in stores:
            store.write_factor(columns, kept)
            LOGGER.info("wrote %s into the %s store", factor.name, store.name)
    made_missing = {name: found for name, found in counts.items() if found}
    return {**_summary(job, layout, panel, values, refused, stores), "made_missing": made_missing}


def _closed(klines: Klines, bars: Sequence[SymbolBars]) -> Klines:
    """Return the klines with the window that the symbols' bars really have."""
    clock, asked = klines.timeframe, klines.window
    first, after = window(bars, timeframe=clock, start_ns=asked.start_ns, end_ns=asked.end_ns)
    return replace(klines, window=Window(clock.open_ns(first), clock.open_ns(after)))


Counts = dict[str, dict[str, int]]
"""Factor -> what was made missing although its inputs were there (`Backtest.data.factors.FactorValues.counts`)."""


def _values(job: _Job, own: Sequence[SymbolBars], extra: Sequence[SymbolBars]) -> tuple[dict[str, Floats], Counts]:
    """Return factor -> float64 [T, S] over the window and the sorted symbols, and what was made missing.

    Symbols that are not compared are computed in blocks: no value depends on who shares one (`Backtest.stage_a`).
    """
    plan, klines = job.plan, job.klines
    clock = klines.timeframe
    assert klines.window.start_ns is not None
    assert klines.window.end_ns is not None
    first, after = clock.index(klines.window.start_ns), clock.index(klines.window.end_ns)
    values: dict[str, Floats] = {factor.name: np.full((after - first, len(own)), np.nan) for factor in plan.factors}
    counts: Counts = {name: {} for name in values}
    held = sum(array.nbytes for array in values.values())
    size = len(own) if plan.cross_symbol else BLOCK_SYMBOLS
    with progress(len(own), "symbol") as advance:
        for begin in range(0, len(own), size):
            block = own[begin : begin + size]
            names = [one.symbol for one in block]
            beside = [one for one in extra if one.symbol not in names]
            panel = panel_of(
                klines, [*block, *beside], lookback=plan.lookback, fields=klines_of(plan.fields), members=names
            )
            done = compute(
                plan,
                job.fields.filled(_ended(plan, panel, names), plan.fields),
                gap_tolerance=klines.core.gap_tolerance,
                memory_limit=klines.core.memory_limit_gb * 1e9 - held,
                function_timeout=klines.core.function_timeout,
            )
            top = panel.first_bar + panel.warmup - first
            where = [panel.symbols.index(name) for name in names]
            for name, array in values.items():
                part = done.values[name][:, where]
                array[top : top + len(part), begin : begin + len(names)] = part
            for name, found in done.counts.items():
                for kind, count in found.items():
                    counts[name][kind] = counts[name].get(kind, 0) + count
            advance(len(names))
    return values, counts


def _ended(plan: Plan, panel: Panel, names: Sequence[str]) -> Panel:
    """Return the panel with none of its own symbols alive after its last bar, as Stage A does: no such row is output.

    What is undefined there would be counted, and how many rows there are depends on the other symbols of a block.
    """
    if plan.cross_symbol:
        return panel
    age = panel.age.copy()
    for column, symbol in enumerate(panel.symbols):
        if symbol in names:
            age[int(np.flatnonzero(panel.exists[:, column])[-1]) + 1 :, column] = 0
    return replace(panel, age=age)


def _facts(
    job: _Job,
    factor: PlannedFactor,
    panel: Panel,
    values: Floats,
    own: Sequence[SymbolBars],
    refused: Mapping[str, str],
) -> dict[str, Any]:
    """Return what factor.json says; the same run gives the same bytes."""
    missing = {
        symbol: float(np.mean(np.isnan(values[panel.exists[:, column], column])))
        for column, symbol in enumerate(panel.symbols)
    }
    stamps = panel.timestamp.astype("datetime64[s]")
    core, request = job.klines.core, job.request
    return {
        "expression": factor.expression,
        "source": factor.source,
        "params": {name: list(one) if isinstance(one, tuple) else one for name, one in factor.params.items()},
        "description": factor.description,
        "dialect": job.plan.dialect,
        "lookback_bars": factor.lookback,
        "dsl_sha1": request.recipe.sha1,
        "data_root": str(job.klines.root.data_root),
        "source_timeframe": job.klines.root.timeframe.label,
        "start": f"{stamps[0]}Z",
        "end": f"{stamps[-1]}Z",
        "rows": int(panel.exists.sum()),
        "missing_ratio": float(np.mean(np.isnan(values[panel.exists]))),
        "missing_ratio_by_symbol": missing,
        "compared": list(job.klines.symbols) if job.plan.cross_symbol else None,
        "sources": {one.symbol: {"path": one.source.path, "sha256": one.source.sha256} for one in own},
        "fields": job.fields.fingerprints(factor.fields),
        "refused": dict(sorted(refused.items())),
        "settings": {name: getattr(core, name) for name in DECISIVE},
    }


def _summary(
    job: _Job,
    layout: RunLayout,
    panel: Panel,
    values: Mapping[str, Floats],
    refused: Mapping[str, str],
    stores: Sequence[Store],
) -> dict[str, Any]:
    missing = {name: float(np.mean(np.isnan(array[panel.exists]))) for name, array in values.items()}
    for name, ratio in missing.items():
        if ratio == 1.0:
            LOGGER.warning("factor %s has no value at all: is its look-back longer than the history?", name)
    limits = {factor.name: factor.na_threshold for factor in job.plan.factors if factor.na_threshold is not None}
    above = {name: ratio for name, ratio in missing.items() if ratio > limits.get(name, 1.0)}
    return {
        "status": "incomplete" if refused or above else "ok",
        "run_id": layout.run_id,
        "path": str(layout.folder("factors")),
        "bar_freq": layout.bar_freq,
        "stores": [store.name for store in stores],
        "factors": list(values),
        "skipped": dict(job.plan.skipped),
        "symbols": list(panel.symbols),
        "refused": dict(sorted(refused.items())),
        "rows": int(panel.exists.sum()),
        "missing_ratio": missing,
        "above_na_threshold": above,
    }
