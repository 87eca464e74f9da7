"""Step 4: factors and forward returns in, evaluations and their reports out.

1. `open_evaluate`: factors, horizons; every error of the command line's is found here.
2. `Store.read_inputs`: prices and the labels that Step 0 wrote.
3. `subject_of`: a factor on the bars and symbols it has, beside its forward returns; those that Step 0 did not write
   are computed by the same function.
4. `measures.evaluate_factor`: all the numbers.
5. `report.write.write_report`: evaluation.json, evaluation.html, pictures.
6. `compare.write_comparison`: several factors at once, and the ledger of everything ever evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from Backtest.data.demo_market import is_synthetic
from Backtest.data.panel import Floats, Panel
from Backtest.data.symbols_table import load_symbols_table
from Backtest.errors import RunError, SettingsError, did_you_mean
from Backtest.logs import LOGGER
from Backtest.settings import CoreSettings, resolve

from .klines import progress
from .labels import forward_return, label_name, parse_horizons
from .layout import STEPS
from .manifest import Manifest, read_manifest
from .measures import Evaluation, evaluate_factor
from .report.write import Source, write_report
from .store import FactorColumns, Inputs, Store

TimeSplit = Literal["month", "quarter", "year", "regime"]
ALL = "all"

GROUP_COLUMN = "sector"
"""Text column of the symbols table by which symbols are grouped."""

QUANTILES = range(2, 101)
MOST_COST = 0.5
"""Of the traded value; a larger number was meant as percent."""

Attach = Callable[[Evaluation, Path], Sequence[tuple[str, str]]]
"""Writes further pages into a report's folder and returns their (title, file name)."""


@dataclass(frozen=True)
class EvaluateRequest:
    """One run of Step 4.

    Attributes
    ----------
    core
        Benchmark whose regimes are meant, symbols table.
    factors
        Names, or ``all``.
    horizons
        As typed; empty: those of Step 0.
    quantiles
        Number of quantiles.
    splits
        Parts of the time that are also measured.
    html
        False writes evaluation.json only.
    cost
        Fraction of the traded value; None: no net numbers.
    """

    core: CoreSettings
    factors: tuple[str, ...]
    horizons: tuple[str, ...] = ()
    quantiles: int = 5
    splits: tuple[TimeSplit, ...] = ()
    html: bool = True
    cost: float | None = None


@dataclass(frozen=True)
class _Job:
    request: EvaluateRequest
    store: Store
    manifest: Manifest
    names: tuple[str, ...]
    horizons: Mapping[str, int]


@dataclass(frozen=True)
class Subject:
    """A factor on its bars and symbols, beside its forward returns.

    Attributes
    ----------
    panel
        Prices on the same bars and symbols.
    values
        float64 [T, S].
    labels
        Horizon key -> float64 [T, S].
    market
        Close [T] of the benchmark whose regimes are meant; None where they were not asked for.
    """

    panel: Panel
    values: Floats
    labels: Mapping[str, Floats]
    market: Floats | None


def evaluate(request: EvaluateRequest, store: Store, *, attach: Attach | None = None) -> dict[str, Any]:
    """Run Step 4 and return what the command prints; the caller holds the run's lock."""
    job = open_evaluate(request, store)
    inputs = store.read_inputs()
    done: dict[str, dict[str, Any]] = {}
    with progress(len(job.names), "factor") as advance:
        for name in job.names:
            done[name] = _evaluate_one(job, inputs, store.read_factor(name), attach)
            advance(1)
    return {
        "status": "ok",
        "run_id": store.layout.run_id,
        "bar_freq": store.layout.bar_freq,
        "store": store.name,
        "path": str(store.layout.reports(store.name)),
        "factors": done,
    }


def open_evaluate(request: EvaluateRequest, store: Store) -> _Job:
    """Find and check everything that does not need the values."""
    if request.quantiles not in QUANTILES:
        raise SettingsError(f"--group is {request.quantiles}; allowed are {QUANTILES[0]} to {QUANTILES[-1]} quantiles")
    if request.cost is not None and not 0 <= request.cost <= MOST_COST:
        raise SettingsError(f"--cost is {request.cost:g}; it is a fraction of the traded value, 0 to {MOST_COST}")
    manifest = read_manifest(store.layout)
    horizons = parse_horizons(request.horizons or tuple(manifest.horizons), store.layout.timeframe)
    return _Job(request, store, manifest, chosen_factors(request.factors, store), horizons)


def chosen_factors(words: Sequence[str], store: Store) -> tuple[str, ...]:
    """Return the factors that are meant, sorted for ``all``; RunError names what there is instead."""
    there = store.factor_names()
    if not there:
        raise RunError(f"there is no factor in {store.layout.folder('factors')}; run {STEPS['factor']} first")
    if ALL in words and ALL not in there:
        return there
    for name in words:
        if name not in there:
            hint = did_you_mean(name, there) or f"; there are {', '.join(there[:10])}"
            raise RunError(
                f"factor {name!r} is not in the {store.name} store of this run{hint}; {STEPS['factor']} makes it"
            )
    return tuple(dict.fromkeys(words))


def _evaluate_one(job: _Job, inputs: Inputs, factor: FactorColumns, attach: Attach | None) -> dict[str, Any]:
    request, layout = job.request, job.store.layout
    subject = subject_of(inputs, factor, job.horizons, _benchmark(request))
    evaluation = evaluate_factor(
        subject.values,
        subject.panel.timestamp,
        subject.panel.symbols,
        labels=subject.labels,
        horizons=job.horizons,
        name=factor.name,
        bar_freq=layout.bar_freq,
        quantiles=request.quantiles,
        cost=request.cost,
        splits=request.splits,
        groups=_groups(request.core, subject.panel.symbols),
        tradable=subject.panel.tradable,
        alive=subject.panel.exists,
        market=subject.market,
    )
    folder = layout.report_folder(factor.name, job.store.name)
    folder.mkdir(parents=True, exist_ok=True)
    links = tuple(attach(evaluation, folder)) if attach else ()
    source = Source(
        layout.run_id,
        job.store.name,
        synthetic=is_synthetic(resolve(job.manifest.data_root)),
        expression=str(factor.facts.get("expression") or factor.facts.get("source") or ""),
        links=links,
    )
    document = write_report(evaluation, folder, source, html=request.html)
    LOGGER.info("%s: %s", factor.name, document["verdict"]["headline"])
    return {
        "path": str(folder),
        "verdict": document["verdict"]["headline"],
        "rank_ic_mean": {key: one["rank_ic_mean"] for key, one in document["horizons"].items()},
    }


def subject_of(inputs: Inputs, factor: FactorColumns, horizons: Mapping[str, int], benchmark: str | None) -> Subject:
    """Return a factor on the bars and symbols that it shares with the inputs.

    Raises
    ------
    RunError
        It shares none, or the benchmark is not among the inputs.
    """
    panel = inputs.panel
    symbols = tuple(symbol for symbol in panel.symbols if symbol in factor.symbols)
    begin = max(factor.first_bar, panel.first_bar)
    after = min(factor.first_bar + len(factor.values), panel.first_bar + panel.shape[0])
    if not symbols or begin >= after:
        raise RunError(f"factor {factor.name} and the inputs share no symbol or no bar; run {STEPS['factor']} again")
    rows = slice(begin - panel.first_bar, after - panel.first_bar)
    columns = [panel.symbols.index(symbol) for symbol in symbols]
    labels = {}
    for key, bars in horizons.items():
        whole = inputs.labels.get(label_name("open", bars))
        if whole is None:
            whole = forward_return(panel.fields["open"], panel.age, bars)
        labels[key] = np.ascontiguousarray(whole[rows][:, columns])
    market = None
    if benchmark is not None:
        if benchmark not in panel.symbols:
            raise RunError(f"regimes are {benchmark}'s, which is not in this run; add it in Step 0 (setting benchmark)")
        market = panel.fields["close"][rows, panel.symbols.index(benchmark)]
    cut = panel.rows(rows.start, rows.stop).columns(symbols)
    return Subject(cut, np.ascontiguousarray(factor.aligned(cut)), labels, market)


def _benchmark(request: EvaluateRequest) -> str | None:
    return request.core.benchmark if "regime" in request.splits else None


def _groups(core: CoreSettings, symbols: Sequence[str]) -> dict[str, str] | None:
    """Return symbol -> sector where a symbols table knows one."""
    table = load_symbols_table(resolve(core.symbols_table), quote=core.quote)
    column = next((one for one in table.columns if one.name == GROUP_COLUMN and one.kind == "text"), None)
    if column is None:
        return None
    codes = {symbol: column.values.get(table.row_of(symbol, column)) for symbol in symbols}
    return {symbol: column.labels[int(code)] for symbol, code in codes.items() if code is not None} or None
