"""``--explain``: what a recipe demands, with the memory that a run on the given klines would take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..data.clock import parse_time
from ..data.dsl.explain import PanelSize, explain
from ..data.dsl.plan import Plan
from ..data.factors import compile_recipe
from ..data.fields import open_fields
from ..data.recipe import load_recipe
from ..data.root import open_root
from ..data.timeframe import Timeframe, parse_timeframe
from ..data.universe import require_symbols, resolve_symbols
from ..errors import DataError
from ..settings import resolve
from .blocks import chunk_rows, cut_tasks, largest_block, largest_file, panel_rows, task_memory, worker_count
from .tasks import Job

if TYPE_CHECKING:
    from ..prepare import PrepareSettings


def explain_recipe(settings: PrepareSettings) -> str:
    """Return the explanation; without a timeframe or klines for it, memory is left out and the text says why."""
    core = settings.core
    timeframe = parse_timeframe(settings.timeframe) if settings.timeframe else None
    recipe = load_recipe(settings.dsl_path)
    plan = compile_recipe(
        recipe,
        allow_modules=core.allow_modules,
        max_window=core.max_window,
        timeframe=timeframe,
        fields=open_fields(core, recipe, read=False),
    )
    if timeframe is None:
        return explain(plan) + "\nmemory: give --timeframe and --data-root\n"
    try:
        panel = panel_size(settings, plan, timeframe)
    except DataError as error:
        return explain(plan, timeframe=timeframe) + f"\nmemory: {error}\n"
    return explain(plan, timeframe=timeframe, panel=panel, memory_limit=core.memory_limit_gb * 1e9)


def panel_size(settings: PrepareSettings, plan: Plan, timeframe: Timeframe) -> PanelSize:
    """Return the largest panel that one worker would hold, from the size of the largest file; none is parsed."""
    root = open_root(resolve(settings.core.data_root), timeframe, settings.core)
    symbols = resolve_symbols(root, settings.symbols)
    require_symbols(root, plan.extra_symbols)
    start, end = (None if text is None else parse_time(text) for text in (settings.start, settings.end))
    size = largest_file(root, symbols)
    if size is None:
        raise DataError(f"{root.folder} holds no file of {symbols[0]} or another symbol that can be measured")
    rows = panel_rows(size, root, plan, start_ns=start, end_ns=end)
    hub = resolve(settings.core.datahub_root)
    job = Job(plan, settings.core, root, timeframe, hub, hub, start, end, settings.on_missing)
    workers = worker_count(settings.core.workers, len(symbols))
    blocks = [symbols]
    if not plan.cross_symbol:
        blocks = cut_tasks(symbols, plan=plan, workers=workers, largest=largest_block(job, symbols))
    widest = max(map(len, blocks))
    count = max(len({*block, *plan.extra_symbols}) for block in blocks)
    chunk = chunk_rows(job, rows, count)
    cut = (
        f"limit      {settings.core.memory_limit_gb:g} GB for the arrays of each process (--memory-limit)",
        f"cut        symbols: {len(symbols)}, in a task at most {widest}; tasks: {len(blocks)}; "
        f"processes: {min(workers, len(blocks))}; bars: {rows:,}, in a chunk of time at most {chunk:,}",
    )

    def memory(part: Plan) -> int:
        return task_memory(replace(job, plan=part), rows, count, size.reading)

    return PanelSize(rows, count, size.reading, f"the size of {size.name}", cut, memory)
