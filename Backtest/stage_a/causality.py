"""``--check-causality N``: the recipe on the klines, cut again and again; what peeks or looks back too far is named.

1. The recipe's plan, the symbols and their klines, as Stage A reads them; nothing but the klines cache is written.
2. `data.causality.check_causality` on one panel of all symbols, in this process.
3. `summary`: what the command prints; no clock in it, so the same klines give the same bytes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..data.bars import SymbolBars, require_fields
from ..data.causality import SEED, Verdict, check_causality
from ..data.clock import build_panel, parse_time, time_words
from ..data.factors import compile_recipe
from ..data.fields import Fields, klines_of, open_fields
from ..data.panel import Panel
from ..data.recipe import load_recipe
from ..data.root import open_root
from ..data.source import load_symbol
from ..data.stamped import Stamped
from ..data.timeframe import parse_duration, parse_timeframe
from ..data.universe import require_symbols, resolve_symbols
from ..errors import DataError, SettingsError, SymbolRefused
from ..settings import resolve

if TYPE_CHECKING:
    from ..data.dsl.plan import Plan
    from ..prepare import PrepareSettings

MOST = 10_000
"""Cuts of either kind: each recomputes the recipe on up to the whole panel."""


def check_recipe(settings: PrepareSettings, count: int) -> dict[str, Any]:
    """Check the recipe of `settings` and return the summary; its status is ``ok``, ``incomplete`` or ``failed``.

    Raises
    ------
    FactorError
        `count` is out of range, the recipe or the klines cannot be used, or a function fails on the whole panel.
    """
    if not 1 <= count <= MOST:
        raise SettingsError(f"--check-causality is {count}; allowed is 1 to {MOST:,}")
    core = settings.core
    timeframe = parse_timeframe(settings.timeframe)
    recipe = load_recipe(settings.dsl_path)
    fields = open_fields(core, recipe)
    plan = compile_recipe(
        recipe, allow_modules=core.allow_modules, max_window=core.max_window, timeframe=timeframe, fields=fields
    )
    panel, refused, fields = load_panel(settings, plan, fields)
    verdict = check_causality(
        plan, panel, count=count, gap_tolerance=core.gap_tolerance, function_timeout=core.function_timeout,
        fields=fields,
    )  # fmt: skip
    return summary(settings, plan, panel, count, refused, verdict)


def load_panel(settings: PrepareSettings, plan: Plan, fields: Fields) -> tuple[Panel, dict[str, str], Fields]:
    """Return one panel of every symbol that can be used, symbol -> reason of the others, and what filled the panel."""
    core, timeframe = settings.core, parse_timeframe(settings.timeframe)
    root = open_root(resolve(core.data_root), timeframe, core)
    symbols = resolve_symbols(root, settings.symbols)
    require_symbols(root, plan.extra_symbols)
    columns = klines_of(plan.fields)
    bars: dict[str, SymbolBars] = {}
    series: dict[str, dict[str, Stamped]] = {}
    refused: dict[str, str] = {}
    for symbol in sorted({*symbols, *plan.extra_symbols}):
        try:
            one = load_symbol(
                root, symbol, settings=core, cache_root=resolve(core.datahub_root) / "klines", fields=columns
            )
            require_fields(one, columns)
            series[symbol] = fields.load(symbol, plan.fields)
            bars[symbol] = one
        except SymbolRefused as error:
            refused[symbol] = error.reason
    lost = sorted(set(plan.extra_symbols) & set(refused))
    if lost:
        raise DataError(f"a factor needs {lost[0]}, whose klines are refused: {refused[lost[0]]}")
    if not bars:
        symbol, reason = next(iter(refused.items()))
        raise DataError(f"no symbol can be used: {symbol}: {reason}")
    start, end = (None if text is None else parse_time(text) for text in (settings.start, settings.end))
    panel = build_panel(
        list(bars.values()),
        timeframe=timeframe,
        start_ns=start,
        end_ns=end,
        lookback=plan.lookback,
        reach=plan.reach,
        fields=columns,
        members=set(symbols),
        episode_gap_ns=parse_duration(core.episode_gap),
    )
    fields = fields.with_series(series)
    return fields.filled(panel, plan.fields), refused, fields


def summary(
    settings: PrepareSettings, plan: Plan, panel: Panel, count: int, refused: dict[str, str], verdict: Verdict
) -> dict[str, Any]:
    """Return what the command prints."""
    rows = panel.shape[0]
    bounds = (panel.first_bar + panel.warmup, panel.first_bar + rows)
    known = {**dict.fromkeys(verdict.untested, "untested"), **dict.fromkeys(_affected(verdict), "failed")}
    clean = "incomplete" if refused or verdict.untested else "ok"
    return {
        "status": "failed" if verdict.violations else clean,
        "recipe": str(settings.dsl_path),
        "timeframe": panel.timeframe.label,
        "start": time_words(panel.timeframe.open_ns(bounds[0])),
        "end": time_words(panel.timeframe.open_ns(bounds[1])),
        "symbols": list(panel.symbols),
        "refused": refused,
        "rows": rows - panel.warmup,
        "truncations": count,
        "starts": count,
        "seed": SEED,
        "factors": {factor.name: known.get(factor.name, "ok") for factor in plan.factors},
        "skipped": dict(plan.skipped),
        "untested": verdict.untested,
        "violations": [{**asdict(one), "words": one.words} for one in verdict.violations],
    }


def _affected(verdict: Verdict) -> set[str]:
    return {name for one in verdict.violations for name in one.affects}
