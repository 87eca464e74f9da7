"""Stage A in order: klines and a recipe in, a verified factor set out.

1. `open_inputs`: the timeframe's folder, the symbols, the recipe's plan; every error of the user's is found here.
2. `manifest`, `open_build`: the lock, and what an interrupted run of the same arguments has finished; with ``--append``
   `stage_a.append.open_base` before it: the published set, if these arguments can extend it.
3. `stage_a.run.build_symbols`: with cross-sections every symbol is read once, to know who takes part.
4. `stage_a.run.build_blocks`: workers read, compute and write the unfinished symbols (`stage_a.workers.work`).
5. `check_thresholds`: factors with too many missing values.
6. `publish`: files in place, metadata last.
7. `summary`: what the command prints.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .data.clock import parse_time
from .data.demo_market import is_synthetic
from .data.hub import Hub
from .data.hub_write import Build, check_target, new_build, open_build, require_free
from .data.recipe import load_recipe
from .data.root import KlineRoot, open_root
from .data.timeframe import parse_timeframe
from .data.universe import require_symbols, resolve_symbols
from .errors import DataError, FactorError, SettingsError
from .logs import LOGGER, log_path, run_log
from .process import interrupts_held_back
from .settings import CoreSettings, resolve
from .stage_a.append import Base, open_base
from .stage_a.blocks import worker_count
from .stage_a.metadata import dropped, findings, manifest, metadata, shorter
from .stage_a.pool import WORK, Pool
from .stage_a.run import Run, build_symbols
from .stage_a.tasks import Inputs, Job

KLINES_CACHE = "klines"

OUTSIDE = re.compile(r"no bar inside the window; it has bars from (\S+) to (\S+)$")
"""What `stage_a.workers` says of a symbol without bars in the window."""

SHOWN = 5
"""Items of a list in a message; the log has all."""


@dataclass(frozen=True)
class PrepareSettings:
    """One run of Stage A.

    Attributes
    ----------
    core
        Roots, rules for klines, limits. Relative roots are relative to the project root.
    timeframe, factor_set, dsl_path
        Bar length, name of the result, recipe file.
    symbols
        Names, ``@file`` or ``all``; None: all.
    start, end
        Window of bar open times, half-open, as typed; None: as far as the data reach.
    on_missing
        What a factor above its `na_threshold` does: ``fail`` the run, or ``drop`` it for that symbol.
    overwrite
        Replace what is there.
    append
        Extend what is there to a later end.
    dry_run
        Check everything that can be checked without reading klines; write nothing.
    started
        `time.monotonic` at which the process began; None: now.
    """

    core: CoreSettings
    timeframe: str
    factor_set: str
    dsl_path: Path
    symbols: tuple[str, ...] | None = None
    start: str | None = None
    end: str | None = None
    on_missing: Literal["fail", "drop"] = "fail"
    overwrite: bool = False
    append: bool = False
    dry_run: bool = False
    started: float | None = None


def prepare(
    settings: PrepareSettings,
    *,
    pool: Pool | None = None,
    on_stop: Callable[[dict[str, Any]], None] | None = None,
    on_published: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Make a factor set and return the summary that the command prints; see the steps at the top.

    `pool` is one that has been started already; None: one of its own. `on_stop` takes the summary of a run that Ctrl-C
    or SIGTERM ends; the exception goes on. `on_published` is called when the factor set is in place.

    Raises
    ------
    FactorError
        One line that says what is wrong; what is finished stays for a later run.
    """
    run = Run(time.monotonic() if settings.started is None else settings.started)
    check_target(_hub(settings), parse_timeframe(settings.timeframe), settings.factor_set)
    if settings.dry_run:
        return _dry_run(settings, run)
    log = log_path(resolve(settings.core.log_root), f"prepare_{settings.factor_set}")
    with run_log(log, settings.core.log_level):
        LOGGER.info("started: %s", settings)
        try:
            with pool or Pool(WORK) as workers:  # they import what they need while this process reads the recipe
                return _prepare(settings, run, workers, on_stop, on_published)
        except FactorError as error:
            LOGGER.info("stopped: %s", error)  # the command prints it: only the file needs it here
            raise
        except KeyboardInterrupt:
            LOGGER.info("interrupted")
            raise


def _prepare(
    settings: PrepareSettings,
    run: Run,
    pool: Pool,
    on_stop: Callable[[dict[str, Any]], None] | None,
    on_published: Callable[[], None] | None,
) -> dict[str, Any]:
    workers = settings.core.workers
    inputs = open_inputs(settings, on_symbols=lambda count: pool.grow(worker_count(workers, count)))
    base = _base(settings, inputs)
    tell_richer(inputs.root)
    for name, reason in inputs.plan.skipped.items():
        LOGGER.warning("factor %s is left out: %s", name, reason)
    with open_build(
        inputs.hub,
        inputs.timeframe,
        settings.factor_set,
        manifest=inputs.manifest,
        symbols=inputs.symbols,
        overwrite=settings.overwrite,
        write=LOGGER.info,
        base=base.seal if base else None,
    ) as build:
        try:
            build_symbols(inputs, build, run, pool, base)
            if base and run.nothing_new:
                LOGGER.info("nothing is new: %s stays as it is", build.metadata_path)
                build.discard()
                return published_summary(inputs, build, run, base)
            check_thresholds(inputs, build, settings.on_missing)
            _publish(inputs, build, run, base)
            if on_published:
                on_published()
        except KeyboardInterrupt:
            if on_stop:
                on_stop(summary(inputs, build, run, "interrupted"))
            raise
        done = summary(inputs, build, run, "ok")
        if base:
            done["new_rows"] = done["rows"] - base.metadata["rows"]
        return {**done, "status": "incomplete" if done["refused"] or done["dropped"] else "ok"}


def open_inputs(settings: PrepareSettings, *, on_symbols: Callable[[int], None] | None = None) -> Inputs:
    """Find and check everything that a run needs, klines apart.

    `on_symbols` is told how many symbols there are before the recipe is compiled.
    """
    with interrupts_held_back():
        from .data.factors import compile_recipe
        from .data.fields import open_fields

    core = settings.core
    if settings.append and settings.overwrite:
        raise SettingsError("--append extends what is there and --overwrite replaces it; give one of them")
    timeframe = parse_timeframe(settings.timeframe)
    start_ns, end_ns = (None if text is None else parse_time(text) for text in (settings.start, settings.end))
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise SettingsError(f"--start {settings.start} is not before --end {settings.end}")
    data_root = resolve(core.data_root)
    root = open_root(data_root, timeframe, core)
    symbols = resolve_symbols(root, settings.symbols)
    if on_symbols:
        on_symbols(len(symbols))
    recipe = load_recipe(settings.dsl_path)
    fields = open_fields(core, recipe)
    plan = compile_recipe(
        recipe, allow_modules=core.allow_modules, max_window=core.max_window, timeframe=timeframe, fields=fields
    )
    require_symbols(root, plan.extra_symbols)
    hub = _hub(settings)
    partial = hub.partial_folder(timeframe, settings.factor_set)
    job = Job(
        plan, core, root, timeframe, hub.root / KLINES_CACHE, partial, start_ns, end_ns, settings.on_missing, fields
    )
    decides = manifest(
        plan=plan, dsl_sha1=recipe.sha1, core=core, timeframe=timeframe, data_root=data_root,
        start_ns=start_ns, end_ns=end_ns, symbols=symbols, on_missing=settings.on_missing,
        fields=fields.fingerprints(plan.fields),
    )  # fmt: skip
    return Inputs(hub, root, timeframe, symbols, recipe, plan, decides, job)


def _base(settings: PrepareSettings, inputs: Inputs) -> Base | None:
    """Return the published set that is to be extended, if one is."""
    return open_base(inputs.hub, inputs.timeframe, settings.factor_set, inputs) if settings.append else None


def tell_richer(root: KlineRoot) -> None:
    """Warn when resampling from the finest folder leaves out symbols that another folder has."""
    if root.richer:
        name, count = root.richer
        LOGGER.warning(
            "%s is resampled from %s, the finest folder, with %d symbols; %s would do too and has %d",
            root.wanted.label, root.folder.name, len(root.symbols), name, count,
        )  # fmt: skip


def _hub(settings: PrepareSettings) -> Hub:
    return Hub(resolve(settings.core.datahub_root))


def _dry_run(settings: PrepareSettings, run: Run) -> dict[str, Any]:
    inputs = open_inputs(settings)
    base = _base(settings, inputs)
    build = new_build(
        inputs.hub, inputs.timeframe, settings.factor_set, inputs.manifest, base=base.seal if base else None
    )
    journal = require_free(build, overwrite=settings.overwrite)
    build.blocks = list(journal.blocks) if journal else []
    run.seconds["load"] = time.monotonic() - run.begun
    return summary(inputs, build, run, "dry_run")


def check_thresholds(inputs: Inputs, build: Build, on_missing: str) -> None:
    """Refuse the run when a factor is missing too often; with ``drop`` the workers have dealt with it."""
    limits = {factor.name: factor.na_threshold for factor in inputs.plan.factors if factor.na_threshold is not None}
    above = [
        f"{symbol} {name} is missing on {record.missing[name] / record.bars:.2%} of its bars, {limit:.2%} are allowed"
        for symbol, record in sorted(build.records.items())
        for name, limit in limits.items()
        if record.missing[name] > limit * record.bars
    ]
    if not above:
        return
    if on_missing == "fail":
        build.discard()
        more = f"; and {len(above) - SHOWN} more" if len(above) > SHOWN else ""
        raise DataError(f"na_threshold: {'; '.join(above[:SHOWN])}{more}. --on-missing drop writes them as missing")
    for words in above:
        LOGGER.warning("dropped: %s", words)


def _publish(inputs: Inputs, build: Build, run: Run, base: Base | None) -> None:
    begin = time.monotonic()
    if not build.blocks:
        for symbol, reason in sorted(run.refused.items()):
            LOGGER.info("%s is refused: %s", symbol, reason)
        raise DataError(no_symbol_words(run.refused))
    for symbol, reason in sorted(run.refused.items()):
        LOGGER.warning("%s is refused: %s", symbol, reason)
    earlier = [base.counts] if base and build.base and build.base.get("taken") == "tail" else []
    content = metadata(
        hub=inputs.hub,
        factor_set=build.final.name,
        timeframe=inputs.timeframe,
        plan=inputs.plan,
        manifest=build.manifest,
        generation=build.generation,
        blocks=[*build.blocks, *earlier],
        refused=run.refused,
        fields=inputs.job.fields,
        synthetic=is_synthetic(inputs.root.data_root),
        source_timeframe=inputs.root.timeframe.label,
    )
    for words in shorter(build.records, inputs.timeframe, start_ns=inputs.job.start_ns, end_ns=inputs.job.end_ns):
        LOGGER.warning("%s", words)
    build.publish(content, keep_journal=bool(run.unlucky))
    run.seconds["write"] += time.monotonic() - begin
    LOGGER.info("wrote %s", build.metadata_path)


def no_symbol_words(refused: Mapping[str, str]) -> str:
    """Return why nothing can be made, once: the log has every symbol's own reason."""
    spans = [found.groups() for reason in refused.values() if (found := OUTSIDE.search(reason))]
    if spans and len(spans) == len(refused):
        first, last = min(span[0] for span in spans), max(span[1] for span in spans)
        whose = f"any of {len(spans)} symbols" if len(spans) > 1 else next(iter(refused))
        return f"no bar inside the window in {whose}; the data run from {first} to {last}"
    symbol, reason = min(refused.items())
    more = f"; and {len(refused) - 1} more, each with its reason in the log" if len(refused) > 1 else ""
    return f"no symbol can be used: {symbol}: {reason}{more}"


def summary(inputs: Inputs, build: Build, run: Run, status: str) -> dict[str, Any]:
    """Return what the command prints."""
    records = build.records
    rest = len(inputs.symbols) - len(records) - len(run.refused)
    resume = f"{len(records)} symbols are kept; the same command resumes with the other {rest}"
    return {
        "status": status,
        **({"resume": resume} if status == "interrupted" else {}),
        "factor_set": build.final.name,
        "metadata_path": str(build.metadata_path),
        "timeframe": inputs.timeframe.label,
        "source_timeframe": inputs.root.timeframe.label,
        "symbols": list(inputs.symbols) if status == "dry_run" else sorted(records),
        "refused": dict(sorted(run.refused.items())),
        "dropped": dropped(records),
        "rows": sum(record.rows for record in records.values()),
        "factors": [factor.name for factor in inputs.plan.factors],
        "skipped": dict(inputs.plan.skipped),
        "qc": {symbol: found for symbol in sorted(records) if (found := findings(records[symbol]))},
        "seconds": {
            **{part: round(seconds, 3) for part, seconds in run.seconds.items()},
            "total": round(time.monotonic() - run.begun, 3),
        },
    }


def published_summary(inputs: Inputs, build: Build, run: Run, base: Base) -> dict[str, Any]:
    """Return what the command prints where nothing is new: what is published, and how long it took to find out."""
    told = base.metadata
    return {
        **summary(inputs, build, run, "incomplete" if run.refused else "ok"),
        "symbols": told["symbols"],
        "rows": told["rows"],
        "qc": told["qc"],
        "new_rows": 0,
    }
