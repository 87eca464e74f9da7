"""Stage B in order: from a verified factor set and prices to a published run folder.

1. `load_inputs`: the factor set, the prices and the proof that they belong together (steps in runs/inputs.py).
2. `run_engine`: the strategy on the engine that was asked for, giving the record.
3. `compared`: benchmark, equal-weight universe and metrics.
4. `draw_all`, `report_html`: plots and report.
5. `publish`: all files into a hidden folder, renamed in one step.
6. `update_index`: the entry in index.json.
7. `replace_earlier`: with ``--overwrite``, earlier runs of the very same experiment are removed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .comparison import buy_and_hold, equal_weight
from .data.panel import Floats, Panel
from .engine.agreement import first_difference
from .engine.costs import Costs, costs_from
from .engine.futures.terms import FuturesTerms
from .engine.ledger import RunRecord
from .errors import FactorError, RunError
from .files import json_text, sha256, utc_now, write_bytes, write_json, write_text
from .logs import LOGGER, log_path, progress, run_log
from .metrics import compute_metrics
from .portfolio import Overlay
from .report.html import report_html
from .report.plots import draw_all
from .results import CONTEXT, new_run_id, publishing, read_run, remove_run
from .returns import iso_time
from .runs.context import run_context
from .runs.index import update_index
from .runs.inputs import RunInputs, load_inputs
from .runs.outcome import Outcome, result_texts
from .runs.request import BacktestSettings, RunRequest, refuse_strangers
from .runs.reread import subject_of
from .settings import resolve
from .strategies import Strategy
from .trades import round_trips

LOG = "logs.txt"
REPORT = "report.html"
FACTOR_METADATA = "factor_metadata.json"


def simulate(settings: BacktestSettings) -> dict[str, Any]:
    """Run Stage B and return its summary: ``status run_id path metrics``, then ``ruined`` and ``refused`` where so."""
    request = settings.request
    log = log_path(resolve(request.core.log_root), f"backtest_{request.choice.name}")
    with run_log(log, request.core.log_level):
        try:
            return _simulate(settings, log)
        except FactorError as error:
            LOGGER.info("refused: %s", error)
            raise


def _simulate(settings: BacktestSettings, log: Path) -> dict[str, Any]:
    request = settings.request
    run_id = new_run_id()
    LOGGER.info("run %s: %s on factor set %s", run_id, request.choice.name, request.factor_set)
    progress("reading and verifying")
    inputs = load_inputs(request)
    refuse_strangers(settings, [*inputs.symbols, *inputs.refused])
    for note in inputs.notes:
        LOGGER.warning("%s", note)
    rows = inputs.panel.shape[0] - inputs.panel.warmup
    where = f"{request.market}, engine {request.engine}"
    progress(f"running {request.choice.name} on {len(inputs.symbols)} symbols and {rows:,} bars ({where})")
    outcome = compared(run_engine(request, inputs), request, inputs)
    for warning in outcome.record.warnings:
        LOGGER.warning("%s", warning)
    progress("writing the report")
    context = context_of(settings, inputs, outcome, run_id)
    folder = publish(settings, context, inputs, outcome, log)
    update_index(settings.results_root)
    if settings.overwrite:
        replace_earlier(settings.results_root, folder, context["experiment_sha256"])
    LOGGER.info("published %s", folder)
    summary: dict[str, Any] = {"status": "ok", "run_id": run_id, "path": str(folder), "metrics": outcome.metrics}
    if outcome.record.ruined:
        summary |= {"ruined": True}
    return summary | ({"status": "symbols_refused", "refused": dict(inputs.refused)} if inputs.refused else {})


def run_engine(request: RunRequest, inputs: RunInputs) -> RunRecord:
    """Return the record of the strategy on the run's symbols; its equity is finite on every bar."""
    panel = inputs.panel if inputs.panel.symbols == inputs.symbols else inputs.panel.columns(inputs.symbols)
    costs = costs_from(request.core, request.instruments)
    choice, cash = request.choice, request.core.initial_cash
    if choice.strategy is None:
        from .engine.backtrader import run_user_strategy  # only where it runs: Backtrader takes 0.6 s to load

        record = run_user_strategy(
            panel,
            inputs.factors,
            str(choice.source),
            params=choice.params,
            allow_modules=request.core.allow_modules,
            costs=costs,
            initial_cash=cash,
        )
    else:
        scores = inputs.factors[choice.strategy.factor]
        terms = None if inputs.futures is None else inputs.futures.terms
        record = run_on(
            request.engine, panel, scores, choice.strategy, costs=costs, initial_cash=cash, overlays=request.overlays,
            futures=terms,
        )  # fmt: skip
    wrong = np.flatnonzero(~(np.isfinite(record.equity) & np.isfinite(record.cash)))
    if len(wrong):
        when = iso_time(int(record.timestamp[wrong[0]].astype(np.int64)))
        raise RunError(f"equity is not a number from {when} on; the run is not published")
    return record


def run_on(
    engine: str,
    panel: Panel,
    scores: Floats,
    strategy: Strategy,
    *,
    costs: Costs,
    initial_cash: float,
    overlays: tuple[Overlay, ...] = (),
    futures: FuturesTerms | None = None,
) -> RunRecord:
    """Return the record of a strategy on one engine; ``both``: that of the reference, once the other one agrees.

    `futures` are the terms of a run on futures, which only the compiled engine knows.

    Raises
    ------
    RunError
        The engines disagree; the first difference is named.
    """
    terms: dict[str, Any] = {"costs": costs, "initial_cash": initial_cash, "overlays": overlays}
    if engine == "backtrader":
        return _run_reference(panel, scores, strategy, **terms)
    from .engine.numba import run as run_compiled

    compiled = run_compiled(panel, scores, strategy, **terms, futures=futures)
    if engine == "numba":
        return compiled
    record = _run_reference(panel, scores, strategy, **terms)
    difference = first_difference(record, compiled, names=("backtrader", "numba"))
    if difference:
        raise RunError(f"the engines disagree, nothing is published: {difference}")
    LOGGER.info("both engines agree on %d orders and %d bars", len(record.orders), len(record.equity))
    return record


def _run_reference(panel: Panel, scores: Floats, strategy: Strategy, **terms: Any) -> RunRecord:
    from .engine.backtrader import run

    return run(panel, scores, strategy, **terms)


def compared(record: RunRecord, request: RunRequest, inputs: RunInputs) -> Outcome:
    """Return the record with its comparison curves and metrics."""
    window = inputs.panel.rows(inputs.panel.warmup, inputs.panel.shape[0])
    cash = request.core.initial_cash
    benchmark = None if inputs.benchmark is None else buy_and_hold(window, inputs.benchmark, cash)
    if inputs.benchmark is not None and benchmark is None:
        LOGGER.warning("the benchmark column is empty: %s has no bar in the window", inputs.benchmark)
    even = equal_weight(window, cash)
    metrics = compute_metrics(
        record,
        benchmark=benchmark,
        equal_weight=even,
        timeframe=request.timeframe,
        initial_cash=cash,
        risk_free=request.core.risk_free,
    )
    return Outcome(record, request.timeframe, cash, benchmark, even, metrics)


def context_of(settings: BacktestSettings, inputs: RunInputs, outcome: Outcome, run_id: str) -> dict[str, Any]:
    """Return run_context.json."""
    return run_context(
        settings.request,
        inputs,
        run_id=run_id,
        created_at=utc_now(),
        start=str(outcome.metrics["start"]),
        end=str(outcome.metrics["end"]),
        ruined=outcome.record.ruined,
        arguments=settings.arguments,
        warnings=(*inputs.notes, *outcome.record.warnings),
    )


def publish(
    settings: BacktestSettings, context: dict[str, Any], inputs: RunInputs, outcome: Outcome, log: Path
) -> Path:
    """Write every file of the run into a hidden folder and give it its name; return the folder."""
    name, run_id = context["strategy"]["name"], context["run_id"]
    plots = draw_all(outcome, subject_of(context))
    trades = round_trips(outcome.record)
    with publishing(settings.results_root, name, run_id) as partial:
        for file, text in result_texts(outcome).items():
            write_text(partial / file, text)
        context["outputs"] = {file.name: sha256(file) for file in sorted(partial.iterdir())}
        for file, content in plots.items():
            write_bytes(partial / file, content)
        page = report_html(context, outcome.metrics, plots=plots, trades=trades, notes=context["warnings"])
        write_text(partial / REPORT, page)
        write_text(partial / FACTOR_METADATA, json_text(inputs.metadata))
        write_bytes(partial / LOG, log.read_bytes())
        write_json(partial / CONTEXT, context)
    return settings.results_root / str(name) / str(run_id)


def replace_earlier(results_root: Path, folder: Path, experiment: str) -> list[str]:
    """Remove the earlier runs of the same strategy whose inputs and settings were the very same; return their ids."""
    removed = []
    for entry in update_index(results_root):
        other = results_root / entry["path"]
        if other == folder or other.parent != folder.parent:
            continue
        if read_run(other).context.get("experiment_sha256") == experiment:
            remove_run(other)
            removed.append(other.name)
            LOGGER.info("removed run %s of the same experiment (--overwrite)", other.name)
    if removed:
        update_index(results_root)
    return removed
