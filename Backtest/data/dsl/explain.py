"""Plans and the operator table in words: ``--explain`` and ``--list-operators``. Imports no kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..timeframe import Timeframe
from .blocks import estimate_memory
from .operators import APART, LISTED, Operator
from .plan import Plan, PlannedFactor, reachable
from .row_words import FLAT_WORDS, MIN_PERIODS_WORDS, SQUARES_WORDS
from .scope import length_words
from .steps import BarsCall, LibraryCall, Step

TEXT_LIMIT = 120
"""Characters of a sub-expression that are shown."""

EPISODE_START = "from the listing episode's first bar"
FAMILIES = {
    "elementwise": "Elementwise", "time": "Along time", "recursive": "Along time, recursive",
    "cross": "Across symbols (the population: universe members that are tradable)",
    "named": "Of a named symbol", "coarse": "On coarser bars",
}  # fmt: skip


@dataclass(frozen=True)
class PanelSize:
    """What one process works on.

    Attributes
    ----------
    rows, symbols
        Bars (look-back included) and symbols.
    reading
        Bytes for parsing a file.
    source
        What they were taken from.
    cut
        Lines that tell how the work is cut to keep to the memory limit.
    memory
        Plan -> peak bytes; None: all rows are computed at once.
    """

    rows: int
    symbols: int
    reading: int
    source: str
    cut: tuple[str, ...] = ()
    memory: Callable[[Plan], int] | None = None


def explain(
    plan: Plan,
    *,
    timeframe: Timeframe | None = None,
    panel: PanelSize | None = None,
    memory_limit: float | None = None,
) -> str:
    """Return what a plan demands, factor by factor.

    Parameters
    ----------
    plan
        From `compile_recipe`.
    timeframe
        For telling how long a look-back is.
    panel
        What one process holds; None: memory is left out.
    memory_limit
        Bytes, as in `compute`.
    """
    texts = _Texts(
        step_texts(plan), {bars: step_texts(Plan(part.steps, ())) for bars, part in plan.coarse_plans.items()}
    )
    lines = [
        f"{len(plan.factors)} factors, {len(plan.needed)} distinct steps"
        + "".join(f", {len(part.needed)} on {bars.label} bars" for bars, part in plan.coarse_plans.items())
        + (f", {len(plan.definitions)} definitions" if plan.definitions else "")
        + (", compares symbols" if plan.cross_symbol else ", each symbol on its own"),
        f"dialect    {plan.dialect}",
        f"fields     {', '.join(sorted(plan.fields)) or 'none'}",
        f"look-back  {_lookback_words(plan.lookback, timeframe)}",
    ]
    if plan.extra_symbols:
        lines.append(f"symbols    {', '.join(plan.extra_symbols)} besides the run's own")
    if panel is not None:
        size = f"for {panel.rows:,} bars x {panel.symbols} symbols in one process, bars by {panel.source}"
        lines.append(f"memory     {_megabytes(plan, panel, memory_limit)} at the peak of a first run, {size}")
        lines += panel.cut
    for definition in plan.definitions:
        used = definition.step in plan.needed
        head = f"{definition.name}  (definition, not stored{'' if used else ', and no factor uses it'})"
        lines += ["", head, *_factor_lines(plan, definition, texts, timeframe)]
    lines += [line for name, reason in plan.skipped.items() for line in ("", f"{name}  (left out)", f"  {reason}")]
    for factor in plan.factors:
        lines += ["", factor.name, *_factor_lines(plan, factor, texts, timeframe)]
        if panel is not None:
            lines.append(f"  memory     {_megabytes(plan.only(factor), panel, memory_limit)} on its own")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class _Texts:
    """Step -> its text, of a plan and of its parts on coarser bars."""

    own: Mapping[int, str]
    coarse: Mapping[Timeframe, Mapping[int, str]]


def _factor_lines(plan: Plan, factor: PlannedFactor, texts: _Texts, timeframe: Timeframe | None) -> list[str]:
    params = ", ".join(f"{name}={value!r}" for name, value in factor.params.items())
    what = factor.expression if factor.expression is not None else f"{factor.source}({params})"
    lines = [
        f"  {'expression' if factor.expression is not None else 'function  '} {' '.join((what or '').split())}",
        *([f"  params     {params}"] if factor.expression is not None and params else []),
        f"  fields     {', '.join(factor.fields) or 'none'}",
        f"  look-back  {_lookback_words(factor.lookback, timeframe)}",
        f"  operators  {', '.join(factor.operators) or 'none'}",
    ]
    shared = [f"{texts.own[number]}  (used {plan.users[number]} times)" for number in plan.shared(factor)]
    shared += _shared_on_coarse_bars(plan, factor, texts)
    return lines + [f"  {'' if place else 'shared':<10} {words}" for place, words in enumerate(shared or ["none"])]


def _shared_on_coarse_bars(plan: Plan, factor: PlannedFactor, texts: _Texts) -> list[str]:
    """Return what a factor shares with others inside `bars`."""
    words = []
    below = {str(number) for number in reachable(plan.steps, factor.step)}
    for timeframe, part in plan.coarse_plans.items():
        calls = [call for call in part.factors if call.name in below]
        numbers = sorted({number for call in calls for number in part.shared(call)})
        found = texts.coarse[timeframe]
        words += [f"{found[n]} on {timeframe.label} bars  (used {part.users[n]} times)" for n in numbers]
    return words


def _lookback_words(lookback: int | None, timeframe: Timeframe | None) -> str:
    if lookback is None:
        return EPISODE_START
    return length_words(lookback, timeframe) if lookback else "none"


def _megabytes(plan: Plan, panel: PanelSize, memory_limit: float | None) -> str:
    if panel.memory is not None:
        needed = panel.memory(plan)
    else:
        needed = estimate_memory(plan, panel.rows, panel.symbols, memory_limit=memory_limit, reading=panel.reading)
    return f"{needed / 1e6:,.0f} MB"


def step_texts(plan: Plan) -> dict[int, str]:
    """Return a short text for every step; definitions and factors inside others stand by their names."""
    texts: dict[int, str] = {}
    inside: dict[int, str] = {}
    coarse = {timeframe: step_texts(Plan(steps, ())) for timeframe, steps in plan.coarse.items()}
    for number in range(len(plan.steps)):
        step = plan.steps[number]
        names = plan.titles.get(number, ())
        if isinstance(step.source, BarsCall):
            call = step.source
            texts[number] = _short(f'bars("{call.timeframe.label}", {coarse[call.timeframe][call.step]})')
        elif isinstance(step.source, LibraryCall):
            texts[number] = names[0] if names else step.source.source
        else:
            texts[number] = _step_text(step, inside, plan)
        inside[number] = names[0] if names and not step.is_field else texts[number]
    return texts


def _step_text(step: Step, inside: Mapping[int, str], plan: Plan) -> str:
    if isinstance(step.source, str):
        return step.source
    operator = step.source
    assert isinstance(operator, Operator)
    parts = [
        _operand_text(plan.steps[item], inside[item], operator) if isinstance(item, int) else repr(item)
        for item in step.operands[: len(step.operands) - len(operator.implicit)]
    ]
    if operator.symbol is not None and len(parts) == 2:
        left, right = (f"({part})" if part.startswith("-") else part for part in parts)
        text = f"{left} {operator.symbol} {right}"
    elif operator.symbol is not None:
        text = operator.symbol + (" " if operator.symbol.isalpha() else "") + parts[0]
    else:
        places = {argument.name for argument in operator.arguments if argument.kind == "symbol"}
        symbols = [f'"{value}"' for name, value in step.literals if name in places]
        literals = [f"{name}={value!r}" for name, value in step.literals if value is not None and name not in places]
        inside_words = ", ".join([*symbols, *parts, *literals])
        text = f"{operator.name}({inside_words})" if inside_words else operator.name
    return _short(text)


def _short(text: str) -> str:
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 3] + "..."


def _operand_text(operand: Step, text: str, user: Operator) -> str:
    """Bracket an infix operand of an infix operator; which brackets could go does not matter here."""
    source = operand.source
    infix = isinstance(source, Operator) and source.symbol is not None and len(operand.operands) == 2
    return f"({text})" if user.symbol is not None and infix and " " in text else text


def operator_page() -> str:
    """Return the operator table as text, from its rows."""
    lines = [
        "Operators. W: the last d bars of the grid; n: valid values in W. A value is finite or missing (NaN).",
        "In front of '=' stands a default; arguments after '*' are given by name.",
        MIN_PERIODS_WORDS,
        FLAT_WORDS,
        SQUARES_WORDS,
    ]
    for family, title in FAMILIES.items():
        lines += ["", title, "-" * len(title)]
        for operator in (*LISTED.values(), *APART.values()):
            if operator.family == family:
                lines += _operator_lines(operator)
    return "\n".join(lines) + "\n"


def _operator_lines(operator: Operator) -> list[str]:
    head = operator.example if operator.symbol is not None else operator.signature()
    also = f"  [{', '.join(operator.aliases)}]" if operator.aliases else ""
    facts = {
        "value": f"{operator.formula}{' (mask)' if operator.result == 'mask' else ''}",
        "missing": operator.missing,
        "ties": operator.ties,
        "ddof": operator.ddof,
        "fields": ", ".join(operator.implicit),
        "look-back": rule_words(operator),
        "example": "" if operator.symbol is not None else operator.example,
    }
    return [f"{head}{also}", f"    {operator.doc}", *(f"    {name:<10} {text}" for name, text in facts.items() if text)]


def rule_words(operator: Operator) -> str:
    """Return the look-back rule in words, found by asking the rule itself."""
    probe = {argument.name: argument.default for argument in operator.literal_arguments}
    argument = next((a for a in operator.literal_arguments if a.kind in ("window", "lag")), None)
    if argument is None:
        lookback = operator.lookback(probe)
        return EPISODE_START if lookback is None else (f"{lookback} bar" if lookback else "")
    one, two = (operator.lookback({**probe, argument.name: bars}) for bars in (1000, 2000))
    if one is None or two is None:
        return EPISODE_START
    if two - one != 1000:
        return (operator.lookback.__doc__ or "").strip(".")
    words = f"{argument.name} - {1000 - one} bars" if one < 1000 else f"{argument.name} bars"
    endless = not argument.required and argument.default is None
    return f"{words}; without {argument.name}, {EPISODE_START}" if endless else words
