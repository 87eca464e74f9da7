"""The expression as written: a tree of numbers, names, params, quoted words and calls, and its canonical text.

Infix operators are calls of the table's rows (``a + b`` is ``add``), so the tree has one kind of inner node. A long sum
is a deep tree (its left spine), so nothing here walks by recursion, and trees are compared by their text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

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
    symbol: str | None = field(default=None)


Tree = Number | Name | Param | Word | Call

LOOSE, TIGHT = 0, 9
INFIX_LEVEL = {"or": 1, "and": 2, "<": 4, "<=": 4, ">": 4, ">=": 4, "==": 4, "!=": 4, "+": 5, "-": 5,
               "*": 6, "/": 6, "%": 6, "**": 8}  # fmt: skip
PREFIX_LEVEL = {"not": 3, "-": 7}


def level(tree: Tree) -> int:
    """Return how tightly the outermost operator of `tree` binds."""
    if not isinstance(tree, Call) or tree.symbol is None:
        return TIGHT
    return (INFIX_LEVEL if len(tree.arguments) == 2 else PREFIX_LEVEL)[tree.symbol]


def to_text(tree: Tree) -> str:
    """Return the canonical text: fewest brackets, one space around infix symbols; parsing it gives the same tree."""
    words: list[str] = []
    todo: list[Tree | Keyword | str] = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            words.append(item)
        else:
            todo.extend(reversed(list(_pieces(item))))
    return "".join(words)


def _pieces(item: Tree | Keyword) -> Iterator[Tree | Keyword | str]:
    if isinstance(item, Number):
        yield repr(item.value)
    elif isinstance(item, Name):
        yield item.name
    elif isinstance(item, Param):
        yield f"{{{item.name}}}"
    elif isinstance(item, Word):
        yield f"'{item.value}'" if '"' in item.value else f'"{item.value}"'
    elif isinstance(item, Keyword):
        yield f"{item.name}="
        yield item.value
    elif item.symbol is not None:
        yield from _operator_pieces(item, item.symbol)
    else:
        yield f"{item.name}("
        for place, argument in enumerate((*item.arguments, *item.keywords)):
            yield from (", ", argument) if place else (argument,)
        yield ")"


def _operator_pieces(call: Call, symbol: str) -> Iterator[Tree | str]:
    own = level(call)
    if len(call.arguments) == 1:
        yield symbol + (" " if symbol.isalpha() else "")
        yield from _bracketed(call.arguments[0], own)
        return
    # Left-associative except **, whose right operand may be a unary minus; comparisons do not chain on either side.
    left, right = (own, own + 1) if symbol != "**" else (own + 1, PREFIX_LEVEL["-"])
    if own == INFIX_LEVEL["<"]:
        left = own + 1
    yield from _bracketed(call.arguments[0], left)
    yield f" {symbol} "
    yield from _bracketed(call.arguments[1], right)


def _bracketed(tree: Tree, least: int) -> Iterator[Tree | str]:
    if level(tree) >= least:
        yield tree
    else:
        yield from ("(", tree, ")")


def infix_rows(operators: dict[str, Operator]) -> tuple[dict[str, str], dict[str, str]]:
    """Return symbol -> row name, for infix and for prefix operators."""
    rows = [row for row in operators.values() if row.symbol is not None]
    infix = {str(row.symbol): row.name for row in rows if len(row.arguments) == 2}
    return infix, {str(row.symbol): row.name for row in rows if len(row.arguments) == 1}
