"""What a dialect states: how its calls, names and symbols are made of rows of THE operator table.

A call of a dialect is a `Form`: arguments that are matched and checked like those of a row, and a meaning that makes
rows of them through a `Maker`. Rules of another system are thus literals (``min_periods=1``), compositions of rows, or
rows that exist for the dialect only (``Operator.dialect``); kernels, plan and engine know nothing of dialects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..bound import Bound
from ..signature import Argument, signature_words

Values = Mapping[str, Any]
"""Arguments of a form by name: `Bound` for data (a tuple where variadic), numbers and words for literals."""


class Refused(Exception):
    """A meaning's complaint; the binder adds the text and, without an offset, the place of the call."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.offset = offset


class Maker(Protocol):
    """What meanings make values with."""

    @property
    def fields(self) -> Collection[str]:
        """Panel fields."""
        ...

    def row(self, name: str, *values: Any, **literals: Any) -> Bound:
        """Return a row of the table applied to values in its positional order (data are `Bound`) and literals.

        Kinds are not checked again: a mask counts as 1.0, 0.0 or missing where a series stands.
        """
        ...

    def field(self, name: str) -> Bound:
        """Return a panel field."""
        ...

    def number(self, value: float) -> Bound:
        """Return a number."""
        ...


Meaning = Callable[[Maker, Values], Bound]


@dataclass(frozen=True)
class Form:
    """One way of writing a call.

    Attributes
    ----------
    name
        As users write it.
    arguments
        In positional order.
    meaning
        Makes the value.
    """

    name: str
    arguments: tuple[Argument, ...]
    meaning: Meaning

    def signature(self) -> str:
        """Return the call as users write it."""
        return signature_words(self.name, self.arguments)


Overload = Callable[[Sequence[Bound]], Form]
"""Chooses the form by what was given (positional arguments first); raises `Refused`."""


def form(name: str, row: str, *arguments: Argument, **literals: Any) -> Form:
    """Return the form that is one row: its arguments in the row's order, `literals` fixed."""

    def meaning(make: Maker, values: Values) -> Bound:
        given = (item for value in values.values() for item in (value if isinstance(value, tuple) else (value,)))
        return make.row(row, *given, **literals)

    return Form(name, arguments, meaning)


def plain_name(make: Maker, name: str) -> Bound | None:
    """Return the field of that name."""
    return make.field(name) if name in make.fields else None


@dataclass(frozen=True, eq=False)
class Dialect:
    """A language of expressions.

    Attributes
    ----------
    name
        As in a recipe's ``dialect``.
    ladder
        Grammar file beside this module: the infix operators by precedence, on top of ``grammar.lark``.
    forms
        Call -> form, or a choice between forms; None: the rows of the table by their own names.
    refused
        Calls and names that the other system has and this dialect will not reproduce -> why.
    infix, prefix
        Symbol -> form; None: the rows that have the symbol.
    name_of
        What a name that is no factor means; None for a name that means nothing.
    spell
        Writes a field the dialect's way, for "did you mean".
    names
        Names that `name_of` knows besides the fields, for "did you mean".
    ignore_case
        Calls and names mean the same in any case.
    instead
        Character -> what to write instead, where it differs from the default dialect's advice.
    both
        How two comparisons are joined, for messages; ``{}`` is the second one.
    """

    name: str
    ladder: str
    forms: Mapping[str, Form | Overload] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    infix: Mapping[str, str] | None = None
    prefix: Mapping[str, str] | None = None
    name_of: Callable[[Maker, str], Bound | None] = plain_name
    spell: Callable[[str], str] = str
    names: tuple[str, ...] = ()
    ignore_case: bool = False
    instead: Mapping[str, str] = field(default_factory=dict)
    both: str = "a < b and {}"

    def key(self, name: str) -> str:
        """Return a name as the tables hold it."""
        return name.lower() if self.ignore_case else name


DEFAULT = Dialect("default", "default.lark")
