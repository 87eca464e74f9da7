"""From tree to typed steps: names are looked up, arguments matched to the table's rows, numbers folded.

Nothing here reads data or walks by recursion. Every complaint names the place, what was found and what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Literal

from ...errors import SettingsError, did_you_mean
from ..delays import asof_field
from ..schema import FIELDS
from ..timeframe import Timeframe, parse_timeframe
from .arguments import WANTED, Site, check, literal, match
from .bound import Bound
from .dialects.interface import Form, Refused
from .nodes import Call, Name, Number, Param, Tree, Word
from .operators import ALIASES, APART, LISTED, OPERATORS, Operator, constant
from .scope import Scope, length_words
from .steps import StepTable

FOLDS: dict[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y if y else math.nan,
    "sqrt": lambda x: math.sqrt(x) if x >= 0.0 else math.nan,
}
"""Folded without the kernels, which take longer to load than a recipe to compile: one IEEE operation each, so the bits
are the same."""


def bind(tree: Tree, text: str, *, scope: Scope, table: StepTable, where: str) -> Bound:
    """Add the steps of an expression to `table` and return what it comes to; raise ExpressionError."""
    return _Binder(Site(text, where, scope), table).run(tree)


class _Binder:
    def __init__(self, site: Site, table: StepTable) -> None:
        self.site, self.scope, self.table, self.fail = site, site.scope, table, site.fail
        self.dialect = site.scope.dialect

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
                self.refuse(item)
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
        hint = did_you_mean(name, [*fields, *scope.factors, *scope.externals, *bare])
        if not hint:
            quoted = f'; a symbol stands in quotes: "{name}"' if name.isupper() else ""
            hint = f"; fields are {', '.join(fields)}{quoted}"
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
        arguments = match(self.site, call, operator, given)
        operands: list[Bound] = []
        literals: dict[str, Any] = {}
        for argument, values in arguments:
            for value in values:
                check(self.site, call, operator, argument, value)
            if argument.is_array:
                operands.extend(values)
            elif argument.variadic:
                literals[argument.name] = tuple(literal(self.site, argument, value) for value in values)
            else:
                literals[argument.name] = literal(self.site, argument, values[0])
        joined = [self.delayed(one, literals) if one.kind == "external" else one for one in operands]
        return self.apply(call, operator, joined, literals)

    def refuse(self, call: Call) -> None:
        """Refuse what the dialect will not reproduce, before a complaint about its arguments misleads."""
        key = self.dialect.key(call.name)
        if key in self.dialect.refused:
            self.fail(f"{call.name!r}: {self.dialect.refused[key]}", call.offset)

    def form(self, call: Call, given: list[Bound]) -> Form | None:
        """Return the dialect's form of a call, None where rows go by their own names."""
        dialect = self.dialect
        if dialect.forms is None or (call.symbol is not None and call.name not in dialect.forms):
            return None
        key = dialect.key(call.name)
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
        for argument, found in match(self.site, call, form, given):
            for value in found:
                check(self.site, call, form, argument, value)
            ready = found if argument.is_array else [literal(self.site, argument, value) for value in found]
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

    # ---- coarser bars ----

    def bars(self, call: Call) -> Bound:
        """Bind a call of `bars`: its operand goes to the table of the coarser timeframe, the join to ours."""
        row, scope = APART[call.name], self.scope
        if scope.hidden is not None:
            self.fail("bars() inside bars(); one timeframe beside the run's own is allowed in a call", call.offset)
        parts = [*call.arguments, *(keyword.value for keyword in call.keywords)]
        given = {argument.name: found[0] for argument, found in match(self.site, call, row, parts)}
        timeframe, ratio = self.coarser(given["timeframe"])
        known = tuple(name for name in scope.fields if name in FIELDS or name in scope.steady)
        outside = {*scope.fields, *scope.factors, *scope.later, scope.own}.difference(known)
        inside = replace(scope, fields=known, factors={}, own="", later=(), timeframe=timeframe, hidden=outside)
        table = self.table.coarse.setdefault(timeframe, StepTable())
        value = _Binder(replace(self.site, scope=inside), table).run(given["x"])
        check(self.site, call, row, row.arguments[1], value)
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
        value = known(*numbers) if known else constant(operator, numbers, literals)
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
