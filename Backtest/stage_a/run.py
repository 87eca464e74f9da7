"""Stage A's work, shared among processes: blocks of symbols out, finished files in, whoever is lost found out.

1. `build_symbols` gives the workers all that is not finished; this process holds no data.
2. With cross-sections, or where a published set is extended, `_known_tasks` reads every symbol first and settles who
   takes part and which published rows stand.
3. `build_blocks` gives out blocks, accepts their files, and tries the symbols of a lost block one by one.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ..data.hub_journal import Source
from ..data.hub_write import Build
from ..errors import DataError, FactorError, HubError, RecipeError, SettingsError
from ..files import sweep_of
from ..logs import LOGGER
from .append import Base, damaged, nothing_new, require_unchanged, tail_tasks, whole_reason
from .blocks import cut_blocks, cut_tasks, largest_block, worker_count
from .pool import Outcome, Pool
from .tasks import BuildTask, Inputs, ReadTask, Report, Standing

READ_SYMBOLS = 8
"""Symbols of a task that only reads."""

FAILURES = 3
"""Symbols one by one that a recipe's own function fails on, none having succeeded, before the run gives up on it."""


@dataclass
class Run:
    """What has happened so far.

    Attributes
    ----------
    begun
        `time.monotonic` of the process's start.
    refused
        Symbol -> reason, its data's or its worker's.
    unlucky
        Those of `refused` whose data are not to blame: the same command tries them again.
    nothing_new
        The published set that was to be extended is what this run would write: it stays as it is.
    shares
        Seconds that the workers spent on each part of the work, all together.
    seconds
        Wall time of each part.
    """

    begun: float
    refused: dict[str, str] = field(default_factory=dict)
    unlucky: set[str] = field(default_factory=set)
    nothing_new: bool = False
    shares: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("read", "compute", "write"), 0.0))
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("load", "read", "compute", "write"), 0.0))

    def note(self, report: Report) -> None:
        """Take what a task reports besides its results."""
        self.refused.update(report.refused)
        for level, text in report.log:
            LOGGER.log(level, "%s", text)
        for part, seconds in report.seconds.items():
            self.shares[part] += seconds

    @contextmanager
    def worked(self) -> Iterator[None]:
        """Share out the block's wall time as the workers spent theirs: side by side they take less than their sum."""
        begin = time.monotonic()
        try:
            yield
        finally:
            wall, total = time.monotonic() - begin, sum(self.shares.values())
            for part, seconds in self.shares.items():
                self.seconds[part] += wall * (seconds / total if total else part == "read")


def build_symbols(inputs: Inputs, build: Build, run: Run, pool: Pool, base: Base | None = None) -> None:
    """Build what is not finished yet; of symbols of `base` only what its files do not have."""
    count = worker_count(inputs.job.core.workers, len(inputs.symbols))
    unfinished = [symbol for symbol in inputs.symbols if symbol not in build.records]
    if not unfinished and not inputs.plan.cross_symbol and not base:
        run.seconds["load"] = time.monotonic() - run.begun
        return
    try:
        pool.wait_ready()
        run.seconds["load"] = time.monotonic() - run.begun
        with run.worked():
            if base or inputs.plan.cross_symbol:
                tasks = _known_tasks(inputs, build, run, pool, count, base)
            else:
                largest = largest_block(inputs.job, unfinished)
                blocks = cut_tasks(unfinished, plan=inputs.plan, workers=count, largest=largest)
                tasks = deque(BuildTask(inputs.job, block) for block in blocks)
            build_blocks(inputs, build, run, pool, tasks)
    finally:
        sweep_of(inputs.job.klines, pool.stop())  # the caller sweeps the factor set, when nobody writes there any more


def _known_tasks(
    inputs: Inputs, build: Build, run: Run, pool: Pool, workers: int, base: Base | None
) -> deque[BuildTask]:
    """Read every symbol, settle who takes part and which published rows stand, and return the tasks that are left."""
    plan, job = inputs.plan, inputs.job
    sources, standings, outside = _read_all(inputs, run, pool, workers, base)
    members = tuple(symbol for symbol in inputs.symbols if symbol in sources and symbol not in outside)
    company = _company(inputs, standings, outside)
    inside = {symbol: standing for symbol, standing in standings.items() if symbol not in outside}
    tail = base is not None and _takes_over(inputs, build, run, base, inside, company)
    if base is not None and tail and not build.blocks:
        run.nothing_new = nothing_new(base, build.generation, sources, inside, run.refused)
        if run.nothing_new:
            return deque()
    if plan.cross_symbol:
        refused = {symbol: reason for symbol, reason in run.refused.items() if symbol in inputs.symbols}
        if not build.settle_population({**refused, **{symbol: source.sha256 for symbol, source in sources.items()}}):
            LOGGER.info("computed anew: the klines that the cross-sections rest on have changed")
    last_bars = {symbol: source.last_bar for symbol, source in sources.items()}
    todo = tuple(symbol for symbol in members if symbol not in build.records)
    if not todo:
        return deque()
    if base is not None and tail:
        return tail_tasks(plan, base, job, members if plan.cross_symbol else todo, last_bars, workers=workers)
    if plan.cross_symbol:
        return deque([BuildTask(job, members, last_bars, company=company)])
    blocks = cut_tasks(todo, plan=plan, workers=workers, largest=largest_block(job, todo))
    return deque(BuildTask(job, block, last_bars) for block in blocks)


def _read_all(
    inputs: Inputs, run: Run, pool: Pool, workers: int, base: Base | None
) -> tuple[dict[str, Source], dict[str, Standing], set[str]]:
    """Read every symbol and return the files, what their bars are, and who has none inside the window.

    Benchmarks must be there.
    """
    sources: dict[str, Source] = {}
    standings: dict[str, Standing] = {}
    outside: set[str] = set()
    kept = {} if base is None else base.kept
    everyone = sorted({*inputs.symbols, *inputs.plan.extra_symbols})
    tasks = deque(
        ReadTask(inputs.job, block, {symbol: kept[symbol] for symbol in block if symbol in kept})
        for block in cut_blocks(everyone, workers=workers, largest=READ_SYMBOLS)
    )
    for outcome in pool.run(tasks):
        if outcome.error or outcome.lost:
            raise _lost_cross_section(outcome)
        run.note(outcome.value)
        sources.update(outcome.value.sources)
        standings.update(outcome.value.standings)
        outside |= outcome.value.outside
    for symbol in outside.difference(inputs.symbols):
        del run.refused[symbol]  # it is here because the recipe names it: nobody wants a file
    for symbol in set(inputs.plan.extra_symbols).difference(sources):
        raise DataError(f"a factor needs {symbol}, whose klines are refused: {run.refused[symbol]}")
    return sources, standings, outside


def _company(inputs: Inputs, standings: Mapping[str, Standing], outside: set[str]) -> tuple[str, ...]:
    """Return the run's symbols without a bar inside the window that its values may rest on all the same.

    Cross-sections of the look-back have them. Functions that compare symbols see every one, bars or not: how many
    columns there are must not depend on the window.
    """
    plan, job = inputs.plan, inputs.job
    if not plan.cross_symbol:
        return ()
    ours = sorted(outside.intersection(inputs.symbols))
    if any(call.cross for call in plan.library_calls.values()):
        return tuple(ours)
    if job.start_ns is None:
        return ()
    begin = job.timeframe.first_at_or_after(job.start_ns)
    oldest = begin - plan.lookback if plan.lookback is not None else None
    return tuple(
        symbol
        for symbol in ours
        if standings[symbol].first < begin and (oldest is None or standings[symbol].last >= oldest)
    )


def _takes_over(
    inputs: Inputs, build: Build, run: Run, base: Base, inside: Mapping[str, Standing], company: tuple[str, ...]
) -> bool:
    """Tell whether the published rows are taken over, and note it; a run that cannot extend the set ends here."""
    require_unchanged(base, run.refused, inside)
    reason = whole_reason(inputs.plan, base, inside, company) or damaged(base, build.records)
    if reason:
        LOGGER.info("the whole window is computed: %s", reason)
    else:
        LOGGER.info("extending %d symbols from %s", len(base.kept), base.metadata["end"])
    build.settle_base("whole" if reason else "tail")
    return not reason


def build_blocks(inputs: Inputs, build: Build, run: Run, pool: Pool, tasks: deque[BuildTask]) -> None:
    """Run the tasks; a block that is lost is tried again symbol by symbol, to find the one at fault."""
    total = len(inputs.symbols)
    with progress(total, done=len(build.records)) as advance:
        for outcome in pool.run(tasks):
            if not outcome.lost and not outcome.error:
                report: Report = outcome.value
                run.note(report)
                if report.block:
                    build.accept(report.block, report.temporary)
                advance(len(outcome.task.symbols))
            elif isinstance(outcome.error, (HubError, SettingsError)):
                raise outcome.error
            elif inputs.plan.cross_symbol:
                raise _lost_cross_section(outcome)
            elif len(outcome.task.symbols) > 1:
                LOGGER.info("%s: %s; tried one by one", ", ".join(outcome.task.symbols), _words(outcome))
                tasks.extend(replace(outcome.task, symbols=(symbol,)) for symbol in outcome.task.symbols)
            else:
                _refuse(build, run, outcome)
                advance(1)


def _refuse(build: Build, run: Run, outcome: Outcome) -> None:
    (symbol,) = outcome.task.symbols
    run.refused[symbol] = _words(outcome)
    run.unlucky.add(symbol)
    if isinstance(outcome.error, RecipeError) and not build.blocks and len(run.unlucky) >= FAILURES:
        raise outcome.error


def _words(outcome: Outcome) -> str:
    if outcome.lost:
        return outcome.lost
    error = outcome.error
    return str(error) if isinstance(error, FactorError) else f"{type(error).__name__}: {error}"


def _lost_cross_section(outcome: Outcome) -> FactorError:
    if isinstance(outcome.error, FactorError):
        return outcome.error
    return HubError(
        f"nothing is published, because no symbol may silently be absent where they are compared or extended: "
        f"{_words(outcome)}"
    )


@contextmanager
def progress(total: int, *, done: int) -> Iterator[Callable[[int], Any]]:
    """Yield what to call with the number of symbols that were finished; a bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, unit="symbol", file=sys.stderr, leave=False) as bar:
        yield bar.update
