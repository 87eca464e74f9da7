"""Arguments of a call: paired with a row's own, then each checked for kind and size; complaints name the place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from ...errors import ExpressionError, NameRefused, SettingsError, did_you_mean
from ...names import check_name
from ..delays import parse_delay
from .bound import Bound
from .dialects.interface import Form
from .nodes import Call, Keyword, Tree
from .operators import Argument, Operator
from .scope import Scope, length_words

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
EXTERNAL_HINT = '; write asof(name, "1d") with the delay after which its values are known, "0h" if at their stamp'
COUNT_LIMIT = 1_000_000_000
"""Of a ``count``: more than any data hold, and inside the integers of the kernels."""
WHY_LAG = "a factor knows only what was known at its bar"


@dataclass(frozen=True)
class Site:
    """An expression, where it was written, and what it may use."""

    text: str
    where: str
    scope: Scope

    def fail(self, message: str, offset: int) -> NoReturn:
        """Raise the complaint with its place."""
        raise ExpressionError(message, self.text, offset, self.where)


def match(site: Site, call: Call, operator: Operator | Form, given: list[Given]) -> list[tuple[Argument, list[Given]]]:
    """Pair the row's arguments with what was given, positional first."""
    taken: dict[str, list[Given]] = {}
    positional = [argument for argument in operator.arguments if not argument.keyword_only]
    queue = given[: len(call.arguments)]
    for argument in positional:
        if queue:
            count = len(queue) if argument.variadic else 1
            taken[argument.name], queue = queue[:count], queue[count:]
    if queue:
        most = f"{len(positional) or 'no'} argument{'' if len(positional) == 1 else 's'}"
        named = " without a name" if len(positional) < len(operator.arguments) else ""
        site.fail(f"{call.name} takes {most}{named}: {operator.signature()}", queue[0].offset)
    for keyword, value in zip(call.keywords, given[len(call.arguments) :], strict=True):
        check_keyword(site, operator, keyword, taken)
        taken[keyword.name] = [value]
    for argument in operator.arguments:
        if argument.required and argument.name not in taken:
            site.fail(f"{call.name} needs {argument.name!r}: {operator.signature()}", call.offset)
    return [(argument, taken[argument.name]) for argument in operator.arguments if argument.name in taken]


def check_keyword(site: Site, operator: Operator | Form, keyword: Keyword, taken: Mapping[str, object]) -> None:
    names = [argument.name for argument in operator.arguments]
    if keyword.name not in names:
        hint = did_you_mean(keyword.name, names) or f": {operator.signature()}"
        site.fail(f"{operator.name} has no argument {keyword.name!r}{hint}", keyword.offset)
    if keyword.name in taken:
        site.fail(f"argument {keyword.name!r} of {operator.name} is given twice", keyword.offset)


def check(site: Site, call: Call, operator: Operator | Form, argument: Argument, value: Bound) -> None:
    """Refuse a value whose kind or size the argument does not take."""
    what = _what(call, operator, argument)
    if argument.is_array:
        if value.kind not in ACCEPTED[argument.kind]:
            hint = _kind_hint(argument.kind, value.kind)
            if argument.kind == "external":
                names = ", ".join(site.scope.externals)
                hint = f"; the recipe has {names or 'none: it lists them under external'}"
            site.fail(f"{what} must be {WANTED[argument.kind]}; found {value.words}{hint}", value.offset)
        return
    if argument.kind == "choice":
        if value.kind != "word" or value.value not in argument.choices:
            allowed = ", ".join(f'"{choice}"' for choice in argument.choices)
            site.fail(f"{what} must be one of {allowed}; found {value.words}", value.offset)
        return
    if argument.kind == "symbol" and value.kind == "word":
        check_symbol(site, str(value.value), value.offset)
        return
    if argument.kind == "delay" and value.kind == "word":
        delay(site, what, value)
        return
    if value.kind != "number" or argument.kind in ("symbol", "delay"):
        site.fail(f"{what} must be {WANTED[argument.kind]}; found {value.words}", value.offset)
    if argument.kind != "number":
        check_whole(site, what, argument, value)
    check_bounds(site, what, argument, value)


def check_symbol(site: Site, name: str, offset: int) -> None:
    try:
        check_name("symbol", name)
    except NameRefused as refused:
        site.fail(str(refused), offset)


def delay(site: Site, what: str, value: Bound) -> int:
    try:
        return parse_delay(str(value.value), what)
    except SettingsError as refused:
        site.fail(str(refused), value.offset)


def check_whole(site: Site, what: str, argument: Argument, value: Bound) -> None:
    number, kind = value.value, argument.kind
    if kind == "lag" and float(number) <= 0:
        site.fail(f"{what} is {number!r}: look-ahead; it must be 1 or more, as {WHY_LAG}", value.offset)
    if not value.literal or not isinstance(number, int):
        site.fail(f"{what} must be {WANTED[kind]}; found {_computed(value)}", value.offset)
    if number < (0 if kind == "count" else 1):
        site.fail(f"{what} must be {WANTED[kind]}; found {number}", value.offset)
    if kind == "count" and number > COUNT_LIMIT:
        site.fail(f"{what} is {number:,}; at most {COUNT_LIMIT:,} is allowed", value.offset)
    if kind in ("window", "lag") and number > site.scope.max_window:
        length = length_words(number, site.scope.timeframe)
        site.fail(f"{what} is {length}; max_window allows {site.scope.max_window:,}", value.offset)


def check_bounds(site: Site, what: str, argument: Argument, value: Bound) -> None:
    low, high, number = argument.low, argument.high, float(value.value)
    if (low is not None and number < low) or (high is not None and number > high):
        allowed = f"{low:g} to {high:g}" if low is not None and high is not None else (
            f"{low:g} or more" if low is not None else f"{high:g} or less"
        )  # fmt: skip
        site.fail(f"{what} is {number:g}; allowed is {allowed}", value.offset)


def literal(site: Site, argument: Argument, value: Bound) -> Any:
    if argument.kind == "delay":
        return delay(site, argument.name, value)
    return float(value.value) if argument.kind == "number" else value.value


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
