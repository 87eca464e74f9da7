"""The canonical text of a tree in the default dialect: parsing it gives the same tree. Trees are compared by it."""

from __future__ import annotations

from collections.abc import Iterator

from Backtest.data.dsl.nodes import Call, Keyword, Name, Number, Param, Tree, Word

TIGHT = 9
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
