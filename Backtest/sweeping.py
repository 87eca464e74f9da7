"""A sweep in order: from a verified factor set and a grid of parameters to a published folder.

1. `sweep_settings`: one strategy for every combination of the grid; a wrong one is refused before anything is read.
2. `load_inputs`: as for a run, with every factor and the longest volatility window that a trial needs.
3. `search.sweep`: the trials, on the compiled engine.
4. `trials_table`, `summary_of`: a row for each trial; the best by one measure.
5. `publish`: all files into a hidden folder, renamed in one step.
6. `replace_earlier`: with ``--overwrite``, earlier sweeps of the very same experiment are removed.
"""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .comparison import buy_and_hold, equal_weight
from .data.timeframe import Timeframe
from .engine.costs import costs_from
from .errors import FactorError, SettingsError, did_you_mean
from .files import json_text, sha256, utc_now, write_bytes, write_json, write_text
from .logs import LOGGER, log_path, progress, run_log
from .metrics import METRICS, SPOT_METRICS
from .results import new_run_id, publishing, read_json, remove_run
from .returns import iso_time
from .runs.context import experiment_sha256, run_context
from .runs.futures import notes_of_terms
from .runs.inputs import RunInputs, load_inputs
from .runs.request import (
    SPOT,
    BacktestSettings,
    StrategyChoice,
    check_weights,
    choose_strategy,
    parse_params,
    refuse_strangers,
    settings_of,
    storable,
)
from .search.grid import Grid, combinations, grid_of, varied
from .search.table import Columns, plain, trials_csv, trials_parquet
from .settings import resolve
from .strategies.base import Strategy

SWEEPS = "sweeps"
"""Folder of the results root that sweeps lie in; its folders lack a run's files, so that no run list shows them."""

CONTEXT, SUMMARY, LOG, TRIALS = "sweep_context.json", "summary.json", "logs.txt", "trials"

BEST = 10
"""Trials that summary.json names."""


@dataclass(frozen=True)
class SweepSettings:
    """What ``run_sweep.py`` was asked.

    Attributes
    ----------
    backtest
        As of the first trial's run; `request.others` are the others.
    grid
        Parameter -> values, as typed.
    sort
        Measure that decides which trials are the best.
    format
        csv or parquet.
    workers
        Threads.
    """

    backtest: BacktestSettings
    grid: Grid
    sort: str
    format: str
    workers: int

    @property
    def choices(self) -> tuple[StrategyChoice, ...]:
        """Every trial's strategy."""
        return self.backtest.request.choice, *self.backtest.request.others


def sweep_settings(arguments: Namespace, symbols: Sequence[str] | None) -> SweepSettings:
    """Return the settings of a command line; precedence and paths as for a run."""
    grid = grid_of(parse_params(arguments.param))
    trials = combinations(grid)
    words = [f"{key}={value}" for key, value in trials[0].items()]
    settings = settings_of(Namespace(**{**vars(arguments), "param": words, "engine": None}), symbols)
    dataclass_of(settings.request.choice)
    core = settings.request.core
    others = tuple(choose_strategy(arguments.strategy, trial, allow_modules=core.allow_modules) for trial in trials[1:])
    given = {**settings.arguments, "param": list(arguments.param)}
    del given["engine"]
    for choice in others:
        check_weights(choice, arguments.market)
    request = replace(settings.request, others=others, engine="numba")
    backtest = replace(settings, request=request, arguments=given)
    workers = core.workers if arguments.workers is None else arguments.workers
    if workers < 0:
        raise SettingsError(f"--workers {workers}; 0 (one per core) or more is allowed")
    return SweepSettings(
        backtest,
        grid,
        checked_metric(arguments.sort, arguments.market),
        arguments.format,
        workers or os.cpu_count() or 1,
    )


def checked_metric(name: str, market: str) -> str:
    """Return a measure of the market that has a better end; another name is refused."""
    sortable = [name for name in (SPOT_METRICS if market == SPOT else METRICS) if METRICS[name].better]
    if name not in sortable:
        near = did_you_mean(name, sortable) or ";"
        raise SettingsError(f"--sort is {name!r}{near} allowed: {', '.join(sortable)}")
    return name


def sweep_strategies(settings: SweepSettings) -> dict[str, Any]:
    """Run the sweep and return its summary: ``status sweep_id path trials best``, then ``refused`` where so."""
    core = settings.backtest.request.core
    log = log_path(resolve(core.log_root), f"sweep_{settings.backtest.request.choice.name}")
    with run_log(log, core.log_level):
        try:
            return _sweep(settings, log)
        except FactorError as error:
            LOGGER.info("refused: %s", error)
            raise


def _sweep(settings: SweepSettings, log: Path) -> dict[str, Any]:
    request, sweep_id = settings.backtest.request, new_run_id()
    count = len(settings.choices)
    LOGGER.info("sweep %s: %d trials of %s on factor set %s", sweep_id, count, request.choice.name, request.factor_set)
    progress("reading and verifying")
    inputs = load_inputs(request)
    refuse_strangers(settings.backtest, [*inputs.symbols, *inputs.refused])
    if inputs.futures is not None:
        told_first = notes_of_terms(inputs.futures.terms, inputs.symbols, inputs.panel)
        inputs = replace(inputs, notes=(*inputs.notes, *told_first))
    for note in inputs.notes:
        LOGGER.warning("%s", note)
    progress(f"running {count:,} trials on {len(inputs.symbols)} symbols")
    columns = trials_table(settings, inputs)
    summary = summary_of(settings, inputs, sweep_id, columns)
    if summary["liquidated"]:
        LOGGER.warning("%d of %d trials were liquidated: they are not among the best", summary["liquidated"], count)
    context = context_of(settings, inputs, sweep_id, columns)
    folder = publish(settings, context, summary, columns, log)
    if settings.backtest.overwrite:
        replace_earlier(folder, context["experiment_sha256"])
    LOGGER.info("published %s", folder)
    told = {"status": "ok", "sweep_id": sweep_id, "path": str(folder), "trials": count}
    told |= {"best": summary["best"][0] if summary["best"] else None}
    return told | ({"status": "symbols_refused", "refused": dict(inputs.refused)} if inputs.refused else {})


def trials_table(settings: SweepSettings, inputs: RunInputs) -> Columns:
    """Run the trials and return their table: trial, parameters, ruined, and the keys of metrics.json."""
    from .search import sweep

    request = settings.backtest.request
    panel = inputs.panel if inputs.panel.symbols == inputs.symbols else inputs.panel.columns(inputs.symbols)
    window = inputs.panel.rows(inputs.panel.warmup, inputs.panel.shape[0])
    cash = request.core.initial_cash
    with progress_bar(len(settings.choices)) as done:
        found = sweep(
            panel,
            inputs.factors,
            [dataclass_of(choice) for choice in settings.choices],
            costs=costs_from(request.core, request.instruments),
            initial_cash=cash,
            benchmark=None if inputs.benchmark is None else buy_and_hold(window, inputs.benchmark, cash),
            equal_weight=equal_weight(window, cash),
            risk_free=request.core.risk_free,
            workers=settings.workers,
            overlays=request.overlays,
            futures=None if inputs.futures is None else inputs.futures.terms,
            done=done,
        )
    columns: Columns = {"trial": list(range(1, len(settings.choices) + 1))}
    for name in settings.choices[0].params:
        columns[name] = [choice.params[name] for choice in settings.choices]
    columns["ruined"] = found.ruined.tolist()
    places = {name: place for place, name in enumerate(found.names)}
    times = dict(zip(("start", "end"), window_times(window.timestamp, panel.timeframe), strict=True))
    for name, metric in METRICS.items():
        if name in times:
            columns[name] = [times[name]] * len(settings.choices)
        elif name in places:
            values = found.measures[:, places[name]].tolist()
            columns[name] = [plain(value, whole=metric.unit == "count") for value in values]
    return columns


def dataclass_of(choice: StrategyChoice) -> Strategy:
    """Return a trial's strategy; a Backtrader class has none that the compiled engine can run."""
    if choice.strategy is None:
        raise SettingsError(f"{choice.source} is a backtrader.Strategy; a sweep runs classes of weights only")
    return choice.strategy


def window_times(timestamp: Any, timeframe: Timeframe) -> tuple[str, str]:
    """Return the open of the first and the close of the last bar."""
    opens = timestamp.astype("datetime64[ns]").astype(np.int64)
    return iso_time(int(opens[0])), iso_time(int(opens[-1]) + timeframe.ns)


def trial_of(columns: Columns, row: int, params: Sequence[str]) -> dict[str, Any]:
    """Return a trial's number, parameters and metrics."""
    facts = {name: values[row] for name, values in columns.items()}
    return {
        "trial": facts["trial"],
        "params": storable({name: facts[name] for name in params}),
        "metrics": {name: facts[name] for name in METRICS if name in facts},
        **({"ruined": True} if facts["ruined"] else {}),
    }


def summary_of(settings: SweepSettings, inputs: RunInputs, sweep_id: str, columns: Columns) -> dict[str, Any]:
    """Return summary.json: what was swept, and the best trials; equal ones in the sequence of the grid.

    A trial that was liquidated is never among them, whatever its profit.
    """
    request, values = settings.backtest.request, columns[settings.sort]
    sign = -1.0 if METRICS[settings.sort].better == "high" else 1.0
    known = [row for row, value in enumerate(values) if isinstance(value, int | float)]
    ranked = sorted(known, key=lambda row: (sign * float(values[row] or 0.0), row))
    ranked += [row for row, value in enumerate(values) if value is None]
    struck = {row for row, count in enumerate(columns.get("num_liquidations", ())) if count}
    params = list(settings.choices[0].params)
    return {
        "sweep_id": sweep_id,
        "strategy": request.choice.name,
        "factor_set": request.factor_set,
        "timeframe": request.timeframe.label,
        "market": request.market,
        "start": columns["start"][0],
        "end": columns["end"][0],
        "symbols": list(inputs.symbols),
        "trials": len(values),
        "grid": {name: list(texts) for name, texts in settings.grid.items()},
        "varied": list(varied(settings.grid)),
        "sort": settings.sort,
        "without_value": len(values) - len(known),
        "liquidated": len(struck),
        "best": [trial_of(columns, row, params) for row in ranked if row not in struck][:BEST],
    }


def context_of(settings: SweepSettings, inputs: RunInputs, sweep_id: str, columns: Columns) -> dict[str, Any]:
    """Return sweep_context.json: that of a run, with the grid instead of one strategy's parameters."""
    request = settings.backtest.request
    context = run_context(
        request,
        inputs,
        run_id=sweep_id,
        created_at=utc_now(),
        start=str(columns["start"][0]),
        end=str(columns["end"][0]),
        ruined=any(bool(value) for value in columns["ruined"]),
        arguments=settings.backtest.arguments,
        warnings=inputs.notes,
    )
    params = [storable(choice.params) for choice in settings.choices]
    context["strategy"] = {"name": request.choice.name, "source": request.choice.source, "params": params}
    context["experiment_sha256"] = experiment_sha256(context)
    context["strategy"]["params"] = {name: list(values) for name, values in settings.grid.items()}
    return {"sweep_id": context.pop("run_id"), **context}


def publish(
    settings: SweepSettings, context: dict[str, Any], summary: Mapping[str, Any], columns: Columns, log: Path
) -> Path:
    """Write every file of the sweep into a hidden folder and give it its name; return the folder."""
    root, sweep_id = settings.backtest.results_root, context["sweep_id"]
    with publishing(root, SWEEPS, sweep_id) as partial:
        if settings.format == "csv":
            write_text(partial / f"{TRIALS}.csv", trials_csv(columns))
        else:
            write_bytes(partial / f"{TRIALS}.parquet", trials_parquet(columns))
        write_text(partial / SUMMARY, json_text(summary))
        context["outputs"] = {file.name: sha256(file) for file in sorted(partial.iterdir())}
        write_bytes(partial / LOG, log.read_bytes())
        write_json(partial / CONTEXT, context)
    return root / SWEEPS / str(sweep_id)


def replace_earlier(folder: Path, experiment: str) -> list[str]:
    """Remove the earlier sweeps whose inputs, settings and grid were the very same; return their ids."""
    removed = []
    for other in sorted(folder.parent.iterdir()):
        context = other / CONTEXT
        if other == folder or other.name.startswith(".") or not context.is_file():
            continue
        if read_json(context).get("experiment_sha256") == experiment:
            remove_run(other)
            removed.append(other.name)
            LOGGER.info("removed sweep %s of the same experiment (--overwrite)", other.name)
    return removed


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[int], object]]:
    """Yield what to call with the number of trials that were finished; a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit="trial", file=sys.stderr, leave=False) as bar:
        yield bar.update
