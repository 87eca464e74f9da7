"""The two verbs of the factor core: `compile_recipe` makes a plan of a recipe, `compute` makes values of a plan.

Compiling reads no data and finds every error of the recipe; computing only finds those of a user's own functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, ExpressionError, RecipeError
from .dsl.arguments import EXTERNAL_HINT
from .dsl.bind import bind
from .dsl.blocks import Blocks, choose_blocks, held_bytes
from .dsl.dialects.table import DIALECTS
from .dsl.nodes import Tree
from .dsl.parser import parse
from .dsl.plan import Plan, PlannedFactor, reachable
from .dsl.scope import Scope
from .dsl.steps import LibraryCall, StepTable
from .fields import Fields
from .library_source import plan_library_call
from .panel import Panel
from .recipe_spec import LIBRARY_FUNCTION, PLACEHOLDER, FactorSpec, Recipe
from .timeframe import Timeframe

Floats = NDArray[np.float64]

RECIPE_STEP_LIMIT = 50_000
"""Distinct computations of a recipe; the largest published factor libraries have about 5,000."""


@dataclass(frozen=True)
class FactorValues:
    """What `compute` returns.

    Attributes
    ----------
    names
        Factors in the recipe's order.
    values
        Factor -> float64 [T - warmup, S], finite or NaN, NaN where the symbol has no bar.
    counts
        Factor -> what was made missing although its inputs were there, where not zero: ``undefined`` (x/0, log of a
        non-positive number, overflow, counted in every sub-expression) and ``infinite`` (returned by a function).
    """

    names: tuple[str, ...]
    values: Mapping[str, Floats]
    counts: Mapping[str, Mapping[str, int]]


def compile_recipe(
    recipe: Recipe,
    *,
    allow_modules: Collection[str],
    max_window: int,
    timeframe: Timeframe | None = None,
    fields: Fields | None = None,
) -> Plan:
    """Return the plan of a recipe.

    Parameters
    ----------
    recipe
        From `load_recipe`.
    allow_modules
        Modules whose functions the recipe may name; nothing else is imported.
    max_window
        Longest window and longest total look-back, bars.
    timeframe
        Of the run's bars. None where it is not known: messages do not tell how long a window is, and ``bars`` is
        refused.
    fields
        What the recipe may name besides kline columns; None: nothing.

    Raises
    ------
    ExpressionError
        A syntax or type error, with the place.
    RecipeError
        A library function that is not allowed or does not fit its params.
    """
    table = StepTable()
    planned: list[PlannedFactor] = []
    earlier: dict[str, int] = {}
    trees: dict[str, Tree] = {}
    entries = (*recipe.definitions, *recipe.factors)
    names = frozenset(spec.name for spec in entries)
    known = fields or Fields()
    groups = frozenset(name for name, source in known.sources.items() if source.kind == "group")
    steady = frozenset(name for name, source in known.sources.items() if source.steady or name in groups)
    _refuse_taken(entries, known)
    dialect = DIALECTS[recipe.dialect]
    skipped: dict[str, str] = {}
    for spec in entries:
        unfilled = [name for name in spec.needs if name not in known.sources]
        if unfilled:
            skipped[spec.name] = f"it needs {', '.join(unfilled)}, and nothing fills that{known.hint}"
            continue
        if spec.type == LIBRARY_FUNCTION:
            call = _library_call(spec, recipe, allow_modules, max_window, known)
            step, params = table.library(call), dict(call.params)
        else:
            params = {**recipe.params, **spec.params}
            scope = Scope(
                known.names, earlier, spec.name, names, params, max_window, timeframe, spec.what, dialect,
                groups, known.hint, steady=steady, skipped=skipped, externals=known.externals,
            )  # fmt: skip
            step, params = _expression_step(spec, scope, table, trees), dict(spec.params)
        if len(table.steps) + sum(len(one.steps) for one in table.coarse.values()) > RECIPE_STEP_LIMIT:
            raise RecipeError(f"{spec.where}: the recipe has more than {RECIPE_STEP_LIMIT:,} distinct steps; split it")
        planned.append(_planned(spec, step, params, table))
        earlier[spec.name] = step
    defined = len(recipe.definitions)
    if skipped and len(planned) == defined:
        name, reason = next(iter(skipped.items()))
        raise RecipeError(f"{recipe.path}: every factor is left out; {name}: {reason}")
    coarse = {timeframe: tuple(one.steps) for timeframe, one in table.coarse.items()}
    return Plan(tuple(table.steps), tuple(planned[defined:]), tuple(planned[:defined]), recipe.dialect, coarse, skipped)


def _refuse_taken(entries: Iterable[FactorSpec], fields: Fields) -> None:
    """Refuse an entry with the name of a field, which later expressions could mean as well."""
    taken = {name.casefold(): source for name, source in fields.sources.items()}
    for spec in entries:
        source = taken.get(spec.name.casefold())
        if source is not None:
            raise RecipeError(f"{spec.where}: {source.name!r} is a column of {source.filled_by}; choose another name")


def _expression_step(spec: FactorSpec, scope: Scope, table: StepTable, trees: dict[str, Tree]) -> int:
    text = spec.expression or ""
    if text not in trees:  # the factors of a grid share theirs
        trees[text] = parse(text, where=spec.where, dialect=scope.dialect)
    bound = bind(trees[text], text, scope=scope, table=table, where=spec.where)
    if bound.kind == "external":
        raise ExpressionError(f"{bound.words} is no series yet{EXTERNAL_HINT}", text, bound.offset, spec.where)
    if bound.kind in ("number", "word"):
        advice = "use a series" if spec.what == "factor" else "'params' is for numbers"
        raise RecipeError(f"{spec.where}: the expression is {bound.words}, the same on every bar; {advice}")
    if bound.kind == "group" and spec.what == "factor":
        raise RecipeError(f"{spec.where}: the expression is a group, which has no size; use it in grp_mean(x, group)")
    return int(bound.value)


def _library_call(
    spec: FactorSpec, recipe: Recipe, allow_modules: Collection[str], max_window: int, fields: Fields
) -> LibraryCall:
    return plan_library_call(
        spec.source or "",
        {name: _filled(value, recipe, spec) for name, value in spec.params.items()},
        allow_modules=allow_modules,
        fields=fields.names,
        max_window=max_window,
        where=spec.where,
    )


def _filled(value: Any, recipe: Recipe, spec: FactorSpec) -> Any:
    """Return a library param, ``"{name}"`` replaced by the recipe's param, inside a list too."""
    if isinstance(value, tuple):
        return tuple(_filled(item, recipe, spec) for item in value)
    match = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    if match[1] not in recipe.params:
        raise RecipeError(f"{spec.where}: param {value} is not among the recipe's params")
    return recipe.params[match[1]]


def _planned(spec: FactorSpec, step: int, params: Mapping[str, Any], table: StepTable) -> PlannedFactor:
    return PlannedFactor(
        name=spec.name,
        step=step,
        kind=table.steps[step].kind,
        lookback=table.steps[step].lookback,
        fields=tuple(sorted(table.fields[step])),
        operators=tuple(sorted(table.operators[step])),
        type=spec.type,
        expression=spec.expression,
        source=spec.source,
        params=params,
        na_threshold=spec.na_threshold,
        description=spec.description,
    )


def compute(
    plan: Plan,
    panel: Panel,
    *,
    gap_tolerance: float,
    block_rows: int | None = None,
    block_symbols: int | None = None,
    memory_limit: float | None = None,
    function_timeout: float | None = None,
    threads: int = 1,
) -> FactorValues:
    """Compute every factor of a plan.

    Parameters
    ----------
    plan
        From `compile_recipe`.
    panel
        The plan's fields with ``panel.warmup`` rows of look-back. For a plan with ``cross_symbol`` all symbols of the
        run and ``plan.extra_symbols``; for any other plan any of them, and ``plan.extra_symbols``.
    gap_tolerance
        Fraction of a window that may be missing.
    block_rows, block_symbols
        Block size; None: chosen for the cache. The values do not depend on it.
    memory_limit
        Bytes for the panel, the result and the engine's own arrays; None: no limit.
    function_timeout
        Seconds for each library function; None: no limit.
    threads
        Parts of time, or blocks of symbols, computed side by side. The values do not depend on it.

    Returns
    -------
    FactorValues
        Start-independent bit for bit: the same bars give the same bits whatever the panel's first row, as long as
        the look-back is there.

    Raises
    ------
    DataError
        The panel lacks a field or a symbol that the plan names.
    RecipeError
        A library function failed.
    SettingsError
        The memory limit is too small.
    """
    from .coarse import coarse_values  # compiled code: only where something is computed

    check_panel(plan, panel)
    rows, columns = panel.shape
    budget = None if memory_limit is None else memory_limit - held_bytes(plan, rows, columns)
    chosen = choose_blocks(plan, rows, columns, budget=budget, threads=threads)
    blocks = Blocks(block_rows or chosen.rows, block_symbols or chosen.symbols)
    library, infinite = _library(plan, panel, function_timeout)
    given, coarse = coarse_values(plan, panel, gap_tolerance=gap_tolerance, memory_limit=budget)
    out, undefined = _evaluated(
        plan, panel, {**library, **given}, gap_tolerance=gap_tolerance, blocks=blocks, threads=threads
    )
    counts = {factor.name: made_missing(plan, factor, undefined, infinite, coarse) for factor in plan.factors}
    return FactorValues(tuple(out), out, {name: count for name, count in counts.items() if count})


def check_panel(plan: Plan, panel: Panel) -> None:
    """Refuse a panel that lacks a field or a symbol that the plan names."""
    absent = sorted(plan.fields - set(panel.fields))
    if absent:
        raise DataError(f"the panel has no {', '.join(absent)}; the recipe needs it")
    lost = sorted(set(plan.extra_symbols) - set(panel.symbols))
    if lost:
        raise DataError(f"the panel has no {', '.join(lost)}; the recipe names it")


def evaluated(plan: Plan, panel: Panel, library: Mapping[int, Floats], *, gap_tolerance: float) -> dict[str, Floats]:
    """Return every factor's values, given those of the library calls [T, S]."""
    from .coarse import coarse_values

    given, _ = coarse_values(plan, panel, gap_tolerance=gap_tolerance)
    blocks = choose_blocks(plan, *panel.shape)
    return _evaluated(plan, panel, {**library, **given}, gap_tolerance=gap_tolerance, blocks=blocks)[0]


def _evaluated(
    plan: Plan, panel: Panel, given: Mapping[int, Floats], *, gap_tolerance: float, blocks: Blocks, threads: int = 1
) -> tuple[dict[str, Floats], NDArray[np.int64]]:
    """Return every factor's values and the undefined ones of each step, given those of both kinds of calls."""
    from .dsl.engine import evaluate

    rows, columns = panel.shape
    out = empty_values(plan, rows - panel.warmup, columns)
    more: dict[str, Any] = {"blocks": blocks, "gap_tolerance": gap_tolerance, "threads": threads}
    return out, evaluate(plan, panel, library=given, out=out, **more)


def empty_values(plan: Plan, rows: int, symbols: int) -> dict[str, Floats]:
    """Return an array for each factor's values, all of them in one piece of memory.

    The first touch of memory costs more than computing what is put there. NumPy asks the system for large pages where
    an array has some megabytes, which makes it cheap; a single factor's array seldom has as many.
    """
    whole = np.empty((len(plan.factors), rows, symbols))
    return {factor.name: values for factor, values in zip(plan.factors, whole, strict=True)}


def _library(plan: Plan, panel: Panel, timeout: float | None) -> tuple[dict[int, Floats], dict[int, int]]:
    """Return the values of every library call, and how many of them were infinite."""
    from .library_run import library_values

    values: dict[int, Floats] = {}
    infinite: dict[int, int] = {}
    for number, call in plan.library_calls.items():
        values[number], infinite[number] = library_values(
            call, panel, where=plan.title(number), function_timeout=timeout
        )
    return values, infinite


def made_missing(
    plan: Plan,
    factor: PlannedFactor,
    undefined: NDArray[np.int64],
    infinite: Mapping[int, int],
    coarse: Mapping[Timeframe, NDArray[np.int64]],
) -> dict[str, int]:
    """Return what of a factor was made missing although its inputs were there, by kind, where not zero."""
    below = reachable(plan.steps, factor.step)
    count = int(undefined[list(below)].sum())
    for timeframe, part in plan.only(factor).coarse_plans.items():
        count += int(coarse[timeframe][list(part.needed)].sum())
    found = {"undefined": count, "infinite": sum(infinite.get(step, 0) for step in below)}
    return {name: count for name, count in found.items() if count}
