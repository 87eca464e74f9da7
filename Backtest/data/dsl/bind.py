"""From tree to typed steps: names are looked up, arguments matched to the table's rows, numbers folded.

Nothing here reads data or walks by recursion. Every complaint names the place, what was found and what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NoReturn, TypeVar

from ...errors import ExpressionError, NameRefused, SettingsError, did_you_mean
from ...names import check_name
from ..delays import asof_field, parse_delay
from ..schema import FIELDS
from ..timeframe import Timeframe, parse_timeframe
from .bound import Bound
from .dialects.interface import DEFAULT, Dialect, Form, Refused
from .nodes import Call, Keyword, Name, Number, Param, Tree, Word
from .operators import ALIASES, APART, LISTED, OPERATORS, Argument, Operator, constant
from .steps import StepTable

YEAR_DAYS = 365
Given = TypeVar("Given", Bound, Tree)

WANTED = {
    "series": "a series", "operand": "a series or a number", "mask": "a mask", "any": "a series or a mask",
    "group": "a group or a series of group numbers",
    "number": "a number", "window": "a whole number of bars, 1 or more, written as a literal",
    "lag": "a whole number of bars, 1 or more, written as a literal",
    "count": "a whole number, written as a literal", "choice": "a quoted word", "symbol": "a symbol's name in quotes",
    "value": "a series, a mask or a number", "timeframe": "a bar length in quotes, e.g. \"4h\"",
    "external": "the name of an external series", "delay": 'a duration in quotes, such as "1d"',
}  # fmt: skip
ACCEPTED = {
    "series": ("series",), "operand": ("series", "number"), "mask": ("mask",), "any": ("series", "mask"),
    "group": ("group", "series"),
    "value": ("series", "mask", "number"), "external": ("external",),
}  # fmt: skip
FOLDS: dict[str, Callable[[float, float], float]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y if y else math.nan,
}
"""Folded without the kernels: one IEEE operation each, so the bits are the same."""


@dataclass(frozen=True)
class Scope:
    """The names an expression may use.

    Attributes
    ----------
    fields, groups
        Panel fields, and those of them that are groups.
    factors
        Definitions and earlier factors: name -> step number.
    own, later
        This entry's name, and those of entries that may not be used yet.
    params
        Values of ``{name}``.
    max_window
        Longest window and longest total look-back, bars.
    timeframe
        Of the bars; None where it is not known: messages do not tell how long a window is, and `bars` is refused.
    what
        What the expression is: ``factor``, or ``definition`` (which knows no factor).
    dialect
        The language it is written in.
    hidden
        Inside `bars`: names that mean something outside and nothing there. None outside.
    steady
        Fields besides kline columns that coarser bars have too (`FieldSource.steady`).
    skipped
        Factors that were left out -> why.
    hint
        What to add when a name is unknown: where more fields come from.
    externals
        Names of the recipe's external series.
    """

    fields: Collection[str]
    factors: Mapping[str, int] = field(default_factory=dict)
    own: str = ""
    later: Collection[str] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    max_window: int = 1_000_000
    timeframe: Timeframe | None = None
    what: str = "factor"
    dialect: Dialect = DEFAULT
    groups: Collection[str] = ()
    hint: str = ""
    hidden: Collection[str] | None = None
    steady: Collection[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    externals: Collection[str] = ()


def bind(tree: Tree, text: str, *, scope: Scope, table: StepTable, where: str) -> Bound:
    """Add the steps of an expression to `table` and return what it comes to; raise ExpressionError."""
    return _Binder(text, scope, table, where).run(tree)


def length_words(bars: int, timeframe: Timeframe | None) -> str:
    """Return a number of bars, with its length in days or years where the timeframe is known."""
    if timeframe is None:
        return f"{bars:,} bars"
    days = bars * timeframe.seconds / 86_400
    length = f"{days / YEAR_DAYS:,.1f} years" if days > YEAR_DAYS else f"{days:,.1f} days"
    return f"{bars:,} bars ({length} of {timeframe.label})"


class _Binder:
    def __init__(self, text: str, scope: Scope, table: StepTable, where: str) -> None:
        self.text, self.scope, self.table, self.where = text, scope, table, where
        self.dialect = scope.dialect

    def fail(self, message: str, offset: int) -> NoReturn:
        raise ExpressionError(message, self.text, offset, self.where)

    def run(self, tree: Tree) -> Bound:
        """Bind operands before the calls that use them, on a stack of our own."""
        todo: list[tuple[Tree, bool]] = [(tree, False)]
        done: list[Bound] = []
        while todo:
            item, ready = todo.pop()
            if not isinstance(item, Call):
                done.append(self.leaf(item))
            elif ready:
                count = len(item.arguments) + len(item.keywords)
                given = done[len(done) - count :]
                del done[len(done) - count :]
                done.append(self.call(item, given))
            elif self.dialect.forms is None and item.symbol is None and item.name in APART:
                done.append(self.bars(item))
            else:
                todo.append((item, True))
                parts = (*item.arguments, *(keyword.value for keyword in item.keywords))
                todo.extend((part, False) for part in reversed(parts))
        return done[0]

    # ---- leaves ----

    def leaf(self, tree: Number | Name | Param | Word) -> Bound:
        if isinstance(tree, Number):
            return Bound("number", tree.value, tree.offset, literal=True)
        if isinstance(tree, Word):
            return Bound("word", tree.value, tree.offset, literal=True)
        return self.name(tree) if isinstance(tree, Name) else self.param(tree)

    def name(self, tree: Name) -> Bound:
        name, scope = tree.name, self.scope
        if name in scope.factors:
            step = self.table.steps[scope.factors[name]]
            return Bound(step.kind, step.number, tree.offset)
        if name in scope.externals:
            return Bound("external", name, tree.offset)
        made = self.dialect_name(tree) or self.bare(tree)
        if made is not None:
            return made
        if scope.hidden is not None and name in scope.hidden:
            known = f"inside bars() these are known: {', '.join(scope.fields)}"
            self.fail(f"{name!r} is of the run's own bars; {known}", tree.offset)
        if name == scope.own:
            self.fail(f"{scope.what} {name!r} refers to itself", tree.offset)
        if name in scope.skipped:
            self.fail(f"{name!r} is left out of this run: {scope.skipped[name]}", tree.offset)
        if name in scope.later:
            self.fail(f"{name!r} is defined further down; a {scope.what} can use earlier ones only", tree.offset)
        signature = self.signature(name)
        if signature:
            self.fail(f"{name!r} is an operator; write {signature}", tree.offset)
        if name in scope.params:
            self.fail(f"{name!r} is a param; write {{{name}}}", tree.offset)
        fields = [*map(self.dialect.spell, scope.fields), *self.dialect.names]
        bare = [row.name for row in LISTED.values() if row.bare] if self.dialect.forms is None else []
        hint = did_you_mean(name, [*fields, *scope.factors, *bare]) or f"; fields are {', '.join(fields)}"
        self.fail(f"{name!r} is neither a field nor an earlier factor or definition{hint}{scope.hint}", tree.offset)

    def dialect_name(self, tree: Name) -> Bound | None:
        """Return what the dialect makes of a name that is no factor."""
        call = Call(tree.name, (), offset=tree.offset)
        try:
            made = self.dialect.name_of(_Maker(self, call), tree.name)
        except Refused as refused:
            self.fail(str(refused), tree.offset)
        return None if made is None else replace(made, offset=tree.offset)

    def bare(self, tree: Name) -> Bound | None:
        """Return the value of a row that needs no argument, by its name alone."""
        row = LISTED.get(ALIASES.get(tree.name, tree.name)) if self.dialect.forms is None else None
        return self.call(Call(tree.name, (), offset=tree.offset), []) if row is not None and row.bare else None

    def signature(self, name: str) -> str:
        """Return how a call of that name is written, empty where there is none."""
        forms = self.dialect.forms
        if forms is None:
            row = {**LISTED, **APART}.get(ALIASES.get(name, name))
            return row.signature() if row else ""
        found = forms.get(self.dialect.key(name))
        return found.signature() if isinstance(found, Form) else f"{name}(...)" if found else ""

    def param(self, tree: Param) -> Bound:
        params = self.scope.params
        if tree.name not in params:
            known = did_you_mean(tree.name, params) or f"; params are {', '.join(params) or 'not given'}"
            self.fail(f"param {{{tree.name}}} is not defined{known}", tree.offset)
        value = params[tree.name]
        if isinstance(value, str):
            return Bound("word", value, tree.offset, literal=True)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"param {{{tree.name}}} is {value!r}; a number or a word is allowed", tree.offset)
        return Bound("number", value, tree.offset, literal=True)

    # ---- calls ----

    def call(self, call: Call, given: list[Bound]) -> Bound:
        form = self.form(call, given)
        if form is not None:
            return self.meaning(call, form, given)
        operator = self.operator(call)
        arguments = self.match(call, operator, given)
        operands: list[Bound] = []
        literals: dict[str, Any] = {}
        for argument, values in arguments:
            for value in values:
                self.check(call, operator, argument, value)
            if argument.is_array:
                operands.extend(values)
            elif argument.variadic:
                literals[argument.name] = tuple(self.literal(argument, value) for value in values)
            else:
                literals[argument.name] = self.literal(argument, values[0])
        joined = [self.delayed(one, literals) if one.kind == "external" else one for one in operands]
        return self.apply(call, operator, joined, literals)

    def form(self, call: Call, given: list[Bound]) -> Form | None:
        """Return the dialect's form of a call, None where rows go by their own names."""
        dialect = self.dialect
        if dialect.forms is None or (call.symbol is not None and call.name not in dialect.forms):
            return None
        key = dialect.key(call.name)
        if key in dialect.refused:
            self.fail(f"{call.name!r}: {dialect.refused[key]}", call.offset)
        found = dialect.forms.get(key)
        if found is None:
            hint = did_you_mean(key, dialect.forms)
            if not hint and (key in LISTED or key in ALIASES):
                hint = "; it is an operator of the default dialect"
            self.fail(f"dialect {dialect.name} has no operator {call.name[:60]!r}{hint}", call.offset)
        if isinstance(found, Form):
            return found
        try:
            return found(given)
        except Refused as refused:
            self.fail(str(refused), call.offset if refused.offset is None else refused.offset)

    def meaning(self, call: Call, form: Form, given: list[Bound]) -> Bound:
        """Return what a call of a dialect comes to."""
        values: dict[str, Any] = {}
        for argument, found in self.match(call, form, given):
            for value in found:
                self.check(call, form, argument, value)
            ready = found if argument.is_array else [self.literal(argument, value) for value in found]
            values[argument.name] = tuple(ready) if argument.variadic else ready[0]
        try:
            made = form.meaning(_Maker(self, call), values)
        except Refused as refused:
            self.fail(str(refused), call.offset if refused.offset is None else refused.offset)
        return replace(made, offset=call.offset)

    def operator(self, call: Call) -> Operator:
        name = ALIASES.get(call.name, call.name)
        if name in LISTED:
            return LISTED[name]
        if name in self.scope.fields or name in self.scope.factors:
            self.fail(f"{name!r} is a series, not an operator; its value d bars ago is shift({name}, d)", call.offset)
        hint = did_you_mean(name, [*LISTED, *APART, *ALIASES]) or "; --list-operators prints all"
        self.fail(f"there is no operator {name[:60]!r}{hint}", call.offset)

    def match(self, call: Call, operator: Operator | Form, given: list[Given]) -> list[tuple[Argument, list[Given]]]:
        """Pair the row's arguments with what was given, positional first."""
        taken: dict[str, list[Given]] = {}
        positional = [argument for argument in operator.arguments if not argument.keyword_only]
        queue = given[: len(call.arguments)]
        for argument in positional:
            if queue:
                count = len(queue) if argument.variadic else 1
                taken[argument.name], queue = queue[:count], queue[count:]
        if queue:
            self.fail(f"{call.name} takes {len(positional)} arguments: {operator.signature()}", queue[0].offset)
        for keyword, value in zip(call.keywords, given[len(call.arguments) :], strict=True):
            self.check_keyword(operator, keyword, taken)
            taken[keyword.name] = [value]
        for argument in operator.arguments:
            if argument.required and argument.name not in taken:
                self.fail(f"{call.name} needs {argument.name!r}: {operator.signature()}", call.offset)
        return [(argument, taken[argument.name]) for argument in operator.arguments if argument.name in taken]

    def check_keyword(self, operator: Operator | Form, keyword: Keyword, taken: Mapping[str, object]) -> None:
        names = [argument.name for argument in operator.arguments]
        if keyword.name not in names:
            hint = did_you_mean(keyword.name, names) or f": {operator.signature()}"
            self.fail(f"{operator.name} has no argument {keyword.name!r}{hint}", keyword.offset)
        if keyword.name in taken:
            self.fail(f"argument {keyword.name!r} of {operator.name} is given twice", keyword.offset)

    # ---- coarser bars ----

    def bars(self, call: Call) -> Bound:
        """Bind a call of `bars`: its operand goes to the table of the coarser timeframe, the join to ours."""
        row, scope = APART[call.name], self.scope
        if scope.hidden is not None:
            self.fail("bars() inside bars(); one timeframe beside the run's own is allowed in a call", call.offset)
        parts = [*call.arguments, *(keyword.value for keyword in call.keywords)]
        given = {argument.name: found[0] for argument, found in self.match(call, row, parts)}
        timeframe, ratio = self.coarser(given["timeframe"])
        known = tuple(name for name in scope.fields if name in FIELDS or name in scope.steady)
        outside = {*scope.fields, *scope.factors, *scope.later, scope.own}.difference(known)
        inside = replace(scope, fields=known, factors={}, own="", later=(), timeframe=timeframe, hidden=outside)
        table = self.table.coarse.setdefault(timeframe, StepTable())
        value = _Binder(self.text, inside, table, self.where).run(given["x"])
        self.check(call, row, row.arguments[1], value)
        step = self.table.bars(timeframe, int(value.value), ratio)
        return self.joined(call, step)

    def coarser(self, tree: Tree) -> tuple[Timeframe, int]:
        """Return the timeframe that an argument names, and how many of the run's bars make one of its."""
        what, own = "'timeframe' of bars", self.scope.timeframe
        value = None if isinstance(tree, Call | Name) else self.leaf(tree)
        if value is None or value.kind != "word":
            found = f"; found {value.words}" if value else ""
            self.fail(f"{what} must be {WANTED['timeframe']}{found}", tree.offset)
        try:
            timeframe = parse_timeframe(str(value.value))
        except SettingsError as refused:
            self.fail(str(refused), tree.offset)
        if own is None:
            self.fail("bars() rests on the run's timeframe, which is not given; give --timeframe", tree.offset)
        if timeframe.ns % own.ns or (timeframe.origin_ns - own.origin_ns) % own.ns:
            self.fail(f"{what} is {timeframe.label}, no multiple of the run's {own.label}", tree.offset)
        return timeframe, timeframe.ns // own.ns

    # ---- arguments ----

    def check(self, call: Call, operator: Operator | Form, argument: Argument, value: Bound) -> None:
        """Refuse a value whose kind or size the argument does not take."""
        what = _what(call, operator, argument)
        if argument.is_array:
            if value.kind not in ACCEPTED[argument.kind]:
                hint = _kind_hint(argument.kind, value.kind)
                if argument.kind == "external":
                    names = ", ".join(self.scope.externals)
                    hint = f"; the recipe has {names or 'none: it lists them under external'}"
                self.fail(f"{what} must be {WANTED[argument.kind]}; found {value.words}{hint}", value.offset)
            return
        if argument.kind == "choice":
            if value.kind != "word" or value.value not in argument.choices:
                allowed = ", ".join(f'"{choice}"' for choice in argument.choices)
                self.fail(f"{what} must be one of {allowed}; found {value.words}", value.offset)
            return
        if argument.kind == "symbol" and value.kind == "word":
            self.check_symbol(str(value.value), value.offset)
            return
        if argument.kind == "delay" and value.kind == "word":
            self.delay(what, value)
            return
        if value.kind != "number" or argument.kind in ("symbol", "delay"):
            self.fail(f"{what} must be {WANTED[argument.kind]}; found {value.words}", value.offset)
        if argument.kind != "number":
            self.check_whole(what, argument, value)
        self.check_bounds(what, argument, value)

    def check_symbol(self, name: str, offset: int) -> None:
        try:
            check_name("symbol", name)
        except NameRefused as refused:
            self.fail(str(refused), offset)

    def delay(self, what: str, value: Bound) -> int:
        try:
            return parse_delay(str(value.value), what)
        except SettingsError as refused:
            self.fail(str(refused), value.offset)

    def check_whole(self, what: str, argument: Argument, value: Bound) -> None:
        number, kind = value.value, argument.kind
        if kind == "lag" and float(number) <= 0:
            self.fail(f"{what} is {number!r}: look-ahead; it must be 1 or more, as {WHY_LAG}", value.offset)
        if not value.literal or not isinstance(number, int):
            self.fail(f"{what} must be {WANTED[kind]}; found {_computed(value)}", value.offset)
        if number < (0 if kind == "count" else 1):
            self.fail(f"{what} must be {WANTED[kind]}; found {number}", value.offset)
        if kind in ("window", "lag") and number > self.scope.max_window:
            length = length_words(number, self.scope.timeframe)
            self.fail(f"{what} is {length}; max_window allows {self.scope.max_window:,}", value.offset)

    def check_bounds(self, what: str, argument: Argument, value: Bound) -> None:
        low, high, number = argument.low, argument.high, float(value.value)
        if (low is not None and number < low) or (high is not None and number > high):
            allowed = f"{low:g} to {high:g}" if low is not None and high is not None else (
                f"{low:g} or more" if low is not None else f"{high:g} or less"
            )  # fmt: skip
            self.fail(f"{what} is {number:g}; allowed is {allowed}", value.offset)

    def literal(self, argument: Argument, value: Bound) -> Any:
        if argument.kind == "delay":
            return self.delay(argument.name, value)
        return float(value.value) if argument.kind == "number" else value.value

    def delayed(self, value: Bound, literals: Mapping[str, Any]) -> Bound:
        """Return the field that an external series is with the delay of the call."""
        return Bound("series", self.table.field(asof_field(str(value.value), literals["lag"])), value.offset)

    # ---- results ----

    def apply(self, call: Call, operator: Operator, operands: list[Bound], literals: dict[str, Any]) -> Bound:
        """Return a row applied to operands and literals that fit it."""
        complaint = operator.check(operator.complete(literals))
        if complaint:
            self.fail(complaint, call.offset)
        if operands and all(operand.kind == "number" for operand in operands):
            return self.fold(call, operator, [float(operand.value) for operand in operands], literals, operands)
        return self.step(call, operator, operands, literals)

    def fold(
        self, call: Call, operator: Operator, numbers: list[float], literals: dict[str, Any], operands: list[Bound]
    ) -> Bound:
        """Compute a call of numbers now."""
        shown = call.symbol or call.name
        if not operator.folds:
            self.fail(f"{shown!r} of numbers alone is the same on every bar; use a series", call.offset)
        if operator.name == "neg":
            return Bound("number", -operands[0].value, call.offset, operands[0].literal)  # type: ignore[operator]
        known = FOLDS.get(operator.name)
        value = known(numbers[0], numbers[1]) if known else constant(operator, numbers, literals)
        if not math.isfinite(value):
            self.fail(f"{shown!r} of these numbers has no finite value", call.offset)
        return Bound("number", value, call.offset)

    def step(self, call: Call, operator: Operator, operands: list[Bound], literals: dict[str, Any]) -> Bound:
        for name in operator.implicit:
            if name not in self.scope.fields:
                self.fail(f"{call.name} needs the field {name}, which there is not{self.scope.hint}", call.offset)
        values = tuple(float(operand.value) if operand.kind == "number" else int(operand.value) for operand in operands)
        return self.joined(call, self.table.operator(operator, values, tuple(literals.items())))

    def joined(self, call: Call, number: int) -> Bound:
        """Return a step, if it does not look back too far."""
        step = self.table.steps[number]
        if step.lookback is not None and step.lookback > self.scope.max_window:
            length = length_words(step.lookback, self.scope.timeframe)
            self.fail(f"needs {length} of look-back in total; max_window allows {self.scope.max_window:,}", call.offset)
        return Bound(step.kind, step.number, call.offset)


class _Maker:
    """Makes rows for the meaning of one call; see `dialects.interface.Maker`."""

    def __init__(self, binder: _Binder, call: Call) -> None:
        self.binder, self.call = binder, call

    @property
    def fields(self) -> Collection[str]:
        return self.binder.scope.fields

    def row(self, name: str, *values: Any, **literals: Any) -> Bound:
        operator = OPERATORS[name]
        operands: list[Bound] = []
        given: dict[str, Any] = {}
        positional = [argument for argument in operator.arguments if not argument.keyword_only]
        for place, value in enumerate(values):
            argument = positional[min(place, len(positional) - 1)]
            if argument.is_array:
                operands.append(value)
            else:
                given[argument.name] = (*given.get(argument.name, ()), value) if argument.variadic else value
        return self.binder.apply(self.call, operator, operands, {**given, **literals})

    def field(self, name: str) -> Bound:
        kind: Literal["series", "group"] = "group" if name in self.binder.scope.groups else "series"
        return Bound(kind, self.binder.table.field(name, kind), self.call.offset)

    def number(self, value: float) -> Bound:
        return Bound("number", value, self.call.offset)


EXTERNAL_HINT = '; write asof(name, "1d") with the delay after which its values are known, "0h" if at their stamp'
WHY_LAG = "a factor knows only what was known at its bar"


def _what(call: Call, operator: Operator | Form, argument: Argument) -> str:
    if call.symbol is None:
        return f"{argument.name!r} of {call.name}"
    if len(call.arguments) == 1:
        return f"the operand of '{call.symbol}'"
    side = "left" if argument is operator.arguments[0] else "right"
    return f"the {side} operand of '{call.symbol}'"


def _kind_hint(wanted: str, found: str) -> str:
    if found == "mask" and wanted in ("series", "operand"):
        return "; where(mask, 1, 0) makes a series of it"
    if found == "external":
        return EXTERNAL_HINT
    if found == "group":
        return "; a group says who belongs together: grp_mean(x, group)"
    if found == "series" and wanted == "mask":
        return "; compare it, e.g. x > 0"
    return ""


def _computed(value: Bound) -> str:
    return value.words if value.literal else f"a computed number ({value.value!r})"
