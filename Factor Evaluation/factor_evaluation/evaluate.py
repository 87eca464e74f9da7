"""Step 4: factors and forward returns in, evaluations and their reports out.

1. `open_evaluate`: factors, horizons; every error of the command line's is found here.
2. `Store.read_inputs`: prices and the labels that Step 0 wrote.
3. `subject.subject_of`: a factor on the bars and symbols it has, beside its forward returns; those that Step 0 did not
   write are computed by the same function.
4. `measures.evaluate_factor`: all the numbers, of which `report.write.report_of` keeps what the report shows. One of
   several factors that loses too much (setting max_loss) is left out and named.
5. `trials.recorded`: their p-values among those of everything ever evaluated in this output root.
6. `report.write.write_report`: evaluation.json, evaluation.html, pictures.
7. `report.comparison.write_comparison`: several factors side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from Backtest.data.symbols_table import load_symbols_table
from Backtest.errors import DataError, RunError, SettingsError, did_you_mean
from Backtest.logs import LOGGER
from Backtest.settings import CoreSettings, resolve

from .labels import WORDS, LabelKind, label_name, measured_kind, parse_horizons
from .layout import ALL, STEPS
from .manifest import Manifest, read_manifest
from .measures import Evaluation, evaluate_factor
from .measures.family import compare_factors
from .measures.ledger import Corrected
from .measures.time_series import MIN_SYMBOLS
from .progress import counted
from .report.comparison import Compared, write_comparison
from .report.write import Report, Source, report_of, write_report
from .store import FactorColumns, Inputs, Store
from .subject import Subject, label_of, single, subject_of
from .trials import identity_of, other_klines, recorded

TimeSplit = Literal["month", "quarter", "year", "regime"]
GROUP_COLUMN = "sector"
"""Text column of the symbols table by which symbols are grouped."""

QUANTILES = range(2, 101)
MOST_COST = 0.5
"""Of the traded value; a larger number was meant as percent."""

BOUGHT_TOO_EARLY = (
    "forward returns begin at the close of the bar that the factor already knows: nobody who decides there buys at it"
)

Attach = Callable[[Evaluation, Subject, Source], Source]
"""Adds further pages to a report: nothing is written before everything is computed."""


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

    @property
    def kind(self) -> LabelKind:
        """Which forward returns are measured against."""
        return measured_kind(self.manifest.label_kinds)


def evaluate(request: EvaluateRequest, store: Store, *, attach: Attach | None = None) -> dict[str, Any]:
    """Run Step 4 and return what the command prints; the caller holds the run's lock."""
    job = open_evaluate(request, store)
    layout, inputs = store.layout, store.read_inputs()
    reports: dict[str, Report] = {}
    refused: dict[str, str] = {}
    for name in counted(job.names, "factor"):
        try:
            reports[name] = _report(job, inputs, store.read_factor(name), attach)
        except DataError as error:
            if len(job.names) == 1:
                raise
            refused[name] = str(error).removeprefix(f"{name}: ")
            LOGGER.warning("factor %s is left out: %s", name, refused[name])
    if not reports:
        raise DataError(f"no factor can be evaluated: {next(iter(refused.values()))}")
    trials = recorded(reports, layout.output_root)
    for name, report in counted(reports.items(), "report"):
        write_report(report, layout.report_folder(name, store.name), trials=trials[name], html=request.html)
        LOGGER.info("%s: %s", name, report.verdict.headline)
    page = None
    if len(reports) > 1:
        compared = _compared(job, inputs, reports, trials)
        page = write_comparison(compared, layout.reports(store.name), html=request.html)
    return {
        "status": "incomplete" if refused else "ok",
        "run_id": layout.run_id,
        "bar_freq": layout.bar_freq,
        "store": store.name,
        "path": str(layout.reports(store.name)),
        "comparison": page and str(page),
        "refused": refused,
        "factors": {
            name: {
                "path": str(layout.report_folder(name, store.name)),
                "verdict": report.verdict.headline,
                "rank_ic_mean": {key: one["rank_ic_mean"] for key, one in report.document["horizons"].items()},
            }
            for name, report in reports.items()
        },
    }


def open_evaluate(request: EvaluateRequest, store: Store) -> _Job:
    """Find and check everything that does not need the values."""
    if request.quantiles not in QUANTILES:
        raise SettingsError(f"--group is {request.quantiles}; allowed are {QUANTILES[0]} to {QUANTILES[-1]} quantiles")
    if request.cost is not None and not 0 <= request.cost <= MOST_COST:
        raise SettingsError(f"--cost is {request.cost:g}; it is a fraction of the traded value, 0 to {MOST_COST}")
    manifest = read_manifest(store.layout)
    benchmark = _benchmark(request)
    if benchmark is not None and benchmark not in manifest.symbols:
        raise RunError(f"regimes are {benchmark}'s, which is not in this run; add it in Step 0 (setting benchmark)")
    horizons = parse_horizons(request.horizons or tuple(manifest.horizons), store.layout.timeframe)
    return _Job(request, store, manifest, chosen_factors(request.factors, store), horizons)


def chosen_factors(words: Sequence[str], store: Store) -> tuple[str, ...]:
    """Return the factors that are meant, sorted for ``all``; RunError names what there is instead."""
    there = store.factor_names()
    if not there:
        raise RunError(f"there is no factor in {store.layout.folder('factors')}; run {STEPS['factor']} first")
    if not words:
        raise SettingsError(f"no factor is named; write --factor-name {there[0]}, or --factor-name {ALL} for every one")
    if ALL in words:
        return there
    for name in words:
        if name not in there:
            hint = did_you_mean(name, there) or f"; there are {', '.join(there[:10])}"
            raise RunError(
                f"factor {name!r} is not in the {store.name} store of this run{hint}; {STEPS['factor']} makes it"
            )
    return tuple(dict.fromkeys(words))


def _report(job: _Job, inputs: Inputs, factor: FactorColumns, attach: Attach | None) -> Report:
    request, layout = job.request, job.store.layout
    subject = subject_of(inputs, factor, job.horizons, _benchmark(request), job.kind)
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
        max_loss=request.core.max_loss,
    )
    columns = {key: label_name(job.kind, bars) for key, bars in job.horizons.items()}
    told = (
        *((BOUGHT_TOO_EARLY,) if job.kind == "close" else ()),
        *other_klines(factor, job.manifest),
        *job.store.notes(columns),
    )
    evaluation = replace(evaluation, notes=(*evaluation.notes, *told))
    source = Source(
        layout.run_id,
        job.store.name,
        synthetic=job.manifest.synthetic,
        expression=str(factor.facts.get("expression") or factor.facts.get("source") or ""),
        identity=identity_of(factor),
        label=WORDS[job.kind],
    )
    return report_of(evaluation, attach(evaluation, subject, source) if attach else source)


def _compared(
    job: _Job, inputs: Inputs, reports: Mapping[str, Report], trials: Mapping[str, Mapping[str, Corrected]]
) -> Compared:
    """Return the factors side by side, on all bars and symbols of the run; the first horizon decides what one adds."""
    panel, horizon = inputs.panel, next(iter(job.horizons))
    needed = panel.age.size * 8 * (len(reports) + 2)
    limit = job.request.core.memory_limit_gb * 1e9
    if panel.shape[1] < MIN_SYMBOLS:
        return Compared(reports, trials, None, why_not=f"Factors are compared across {MIN_SYMBOLS} symbols or more.")
    if needed > limit:
        why_not = f"Comparing {len(reports)} factors needs {needed / 1e9:.1f} GB; memory_limit_gb is {limit / 1e9:g}."
        LOGGER.warning(why_not)
        return Compared(reports, trials, None, why_not=why_not)
    values = {
        name: np.where(panel.tradable, single(job.store.read_factor(name).aligned(panel)), np.nan) for name in reports
    }
    label = label_of(inputs, job.horizons[horizon], job.kind)
    return Compared(reports, trials, compare_factors(values, label, job.horizons[horizon]), horizon)


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
