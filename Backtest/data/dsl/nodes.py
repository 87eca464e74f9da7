"""The expression as written: a tree of numbers, names, params, quoted words and calls.

Infix operators are calls of the table's rows (``a + b`` is ``add``), so the tree has one kind of inner node. A long sum
is a deep tree (its left spine), so nothing may walk one by recursion, and trees have no ``==``.
"""

from __future__ import annotations

from dataclasses import dataclass

from .signature import Operator


@dataclass(frozen=True, eq=False)
class Number:
    """A number literal; `value` is int where no point or exponent was written."""

    value: int | float
    offset: int
    depth: int = 1


@dataclass(frozen=True, eq=False)
class Name:
    """A field or an earlier factor."""

    name: str
    offset: int
    depth: int = 1


@dataclass(frozen=True, eq=False)
class Param:
    """``{name}``: the recipe's param of that name."""

    name: str
    offset: int
    depth: int = 1


@dataclass(frozen=True, eq=False)
class Word:
    """A quoted word, for arguments with a fixed set of choices."""

    value: str
    offset: int
    depth: int = 1


@dataclass(frozen=True, eq=False)
class Keyword:
    """``name=value`` inside a call."""

    name: str
    value: Tree
    offset: int

    @property
    def depth(self) -> int:
        """Nesting of the value."""
        return self.value.depth


@dataclass(frozen=True, eq=False, repr=False)
class Call:
    """An operator applied to arguments.

    Attributes
    ----------
    name
        As written in a call; the row's name for an infix or prefix operator.
    arguments, keywords
        In the order written.
    offset
        0-based character of the name or of the operator's symbol.
    depth
        Nesting; the left spine of ``a + b + c`` counts once, as people see it.
    symbol
        The infix or prefix symbol, None for a call in brackets.
    """

    name: str
    arguments: tuple[Tree, ...]
    keywords: tuple[Keyword, ...] = ()
    offset: int = 0
    depth: int = 1
    symbol: str | None = None


Tree = Number | Name | Param | Word | Call


def infix_rows(operators: dict[str, Operator]) -> tuple[dict[str, str], dict[str, str]]:
    """Return symbol -> row name, for infix and for prefix operators."""
    rows = [row for row in operators.values() if row.symbol is not None]
    infix = {str(row.symbol): row.name for row in rows if len(row.arguments) == 2}
    return infix, {str(row.symbol): row.name for row in rows if len(row.arguments) == 1}
