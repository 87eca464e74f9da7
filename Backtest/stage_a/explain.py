"""``--explain``: what a recipe demands, with the memory that a run on the given klines would take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..data.clock import parse_time
from ..data.dsl.explain import explain
from ..data.dsl.plan import Plan
from ..data.factors import compile_recipe
from ..data.recipe import load_recipe
from ..data.root import KlineRoot, open_root
from ..data.source import load_symbol
from ..data.timeframe import Timeframe, parse_timeframe
from ..data.universe import resolve_symbols
from ..errors import DataError
from ..settings import resolve
from .blocks import largest_block, most_bars
from .tasks import Job

if TYPE_CHECKING:
    from ..prepare import PrepareSettings


def explain_recipe(settings: PrepareSettings) -> str:
    """Return the explanation; without a timeframe or klines for it, memory is left out and the text says why."""
    core = settings.core
    timeframe = parse_timeframe(settings.timeframe) if settings.timeframe else None
    plan = compile_recipe(
        load_recipe(settings.dsl_path),
        allow_modules=core.allow_modules,
        max_window=core.max_window,
        timeframe=timeframe,
    )
    if timeframe is None:
        return explain(plan) + "\nmemory: give --timeframe and --data-root\n"
    try:
        rows, symbols = panel_size(settings, plan, timeframe)
    except DataError as error:
        return explain(plan, timeframe=timeframe) + f"\nmemory: {error}\n"
    limit = core.memory_limit_gb * 1e9
    return explain(plan, rows=rows, symbols=symbols, timeframe=timeframe, memory_limit=limit)


def panel_size(settings: PrepareSettings, plan: Plan, timeframe: Timeframe) -> tuple[int, int]:
    """Return rows (look-back included) and symbols of the largest panel that one worker would hold."""
    root = open_root(resolve(settings.core.data_root), timeframe, settings.core)
    symbols = resolve_symbols(root, settings.symbols)
    start, end = (None if text is None else parse_time(text) for text in (settings.start, settings.end))
    rows = _rows(settings, plan, root, symbols, start, end)
    if plan.cross_symbol:
        return rows, len({*symbols, *plan.extra_symbols})
    hub = resolve(settings.core.datahub_root)
    job = Job(plan, settings.core, root, timeframe, hub, hub, start, end, settings.on_missing)
    return rows, min(len(symbols), largest_block(job, symbols))


def _rows(
    settings: PrepareSettings, plan: Plan, root: KlineRoot, symbols: tuple[str, ...], start: int | None, end: int | None
) -> int:
    """Return the bars of the symbol with the largest file inside the window, and the look-back before it."""
    largest = max(symbols, key=lambda symbol: most_bars(root, symbol))
    bars = load_symbol(root, largest, settings=settings.core, cache_root=None, fields=())
    clock = root.wanted
    first, after = int(bars.index[0]), int(bars.index[-1]) + 1
    begin = first if start is None else max(first, clock.first_at_or_after(start))
    if plan.lookback is None:
        begin = first
    else:
        begin = max(first, begin - plan.lookback)
    return max(1, (after if end is None else min(after, clock.first_at_or_after(end))) - begin)
