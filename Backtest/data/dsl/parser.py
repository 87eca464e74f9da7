"""From text to tree: limits first, then the LALR grammar, then errors in words a user can act on.

1. `_check_limits` scans the text once: length, number of nodes, nesting and pairing of brackets, number sizes.
2. lark's LALR parser calls `_Build` as it reduces, so that no second walk over the text exists that could recurse.
3. `_explain` turns lark's error into one sentence and a place.
"""

from __future__ import annotations

import math
import re
import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...errors import ExpressionError
from .dialects.interface import DEFAULT, Dialect
from .nodes import Call, Keyword, Name, Number, Param, Tree, Word, infix_rows
from .operators import OPERATORS

if TYPE_CHECKING:
    from lark import Lark, Token

LENGTH_LIMIT = 65_536
NODE_LIMIT = 10_000
DEPTH_LIMIT = 100
"""Brackets and operators inside each other. Published factor libraries stay below 20."""
NUMBER_LENGTH_LIMIT = 40

SCAN = re.compile(
    r"""(?P<word>"[^"\n]*"|'[^'\n]*')|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"""
    r"""|(?P<name>\$?[A-Za-z_][A-Za-z0-9_]*)|(?P<open>\()|(?P<close>\))"""
    r"""|(?P<operator>\*\*|\|\||&&|[<>=!]=|[-+*/%<>&|^?:])"""
)
"""Tokens of all dialects, for counting and for places; the grammar decides which are allowed."""
INSTEAD = {
    "&": "write 'and'", "|": "write 'or'", "!": "write 'not', or '!=' for not equal", "^": "write '**' for a power",
    "=": "write '==' to compare", "?": "write where(condition, a, b)", ":": "write where(condition, a, b)",
    "[": "use round brackets; the value d bars ago is shift(x, d)", "]": "use round brackets",
    ".": "names have no dots", "{": "a param is {name}: a letter or '_', then letters, digits and '_'",
    "}": "a param is {name}", '"': "a quoted word must end on its line", "'": "a quoted word must end on its line",
    ";": "one expression a factor", "@": "operators are listed by --list-operators", "~": "write 'not'",
    "$": "fields are plain names: close, volume", "#": "comments go into the recipe's description",
}  # fmt: skip
KEYWORDS = frozenset(("and", "or", "not"))
CHOICE = "?:"
"""Name of the call that ``condition ? a : b`` is, in dialects that have it."""
OPERAND_NEEDED = "a number, field, factor, {param}, call or '(' is expected"


class _Found(Exception):
    """A fault at an offset; `parse` adds the text."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def parse(text: str, *, where: str = "expression", dialect: Dialect = DEFAULT) -> Tree:
    """Return the tree of an expression.

    Parameters
    ----------
    text
        The expression; line breaks count as spaces.
    where
        What it belongs to, for error messages.
    dialect
        The language it is written in.

    Raises
    ------
    ExpressionError
        Not of the language, or over LENGTH_LIMIT, NODE_LIMIT or DEPTH_LIMIT; shows the place.
    """
    from lark import UnexpectedInput

    try:
        _check_limits(text)
        return cast(Tree, _lark(dialect).parse(text))
    except UnexpectedInput as problem:
        message, offset = _explain(problem, text, dialect)
    except _Found as found:
        message, offset = str(found), found.offset
    raise ExpressionError(message, text, offset, where) from None


@cache
def _lark(dialect: Dialect) -> Lark:
    from lark import Lark

    here = Path(__file__).parent
    files = (here / "grammar.lark", here / "dialects" / dialect.ladder)
    grammar = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return Lark(grammar, parser="lalr", lexer="basic", transformer=_Build(dialect), maybe_placeholders=False)


def _check_limits(text: str) -> None:
    if len(text) > LENGTH_LIMIT:
        raise _Found(f"{len(text):,} characters; at most {LENGTH_LIMIT:,} are allowed", LENGTH_LIMIT)
    if not text.strip():
        raise _Found("the expression is empty", 0)
    nodes, brackets = 0, []
    for token in SCAN.finditer(text):
        nodes += token["open"] is None and token["close"] is None
        if nodes > NODE_LIMIT:
            raise _Found(f"more than {NODE_LIMIT:,} operators and operands; split the factor", token.start())
        if token["number"] is not None:
            _check_number(token[0], token.start())
        elif token["open"] is not None:
            brackets.append(token.start())
            if len(brackets) > DEPTH_LIMIT:
                raise _Found(f"brackets inside each other deeper than {DEPTH_LIMIT}", token.start())
        elif token["close"] is not None:
            if not brackets:
                raise _Found("')' closes nothing", token.start())
            brackets.pop()
    if brackets:
        raise _Found("'(' is never closed", brackets[-1])


def _check_number(word: str, offset: int) -> None:
    if len(word) > NUMBER_LENGTH_LIMIT:
        raise _Found(f"a number of {len(word)} characters; at most {NUMBER_LENGTH_LIMIT} are allowed", offset)
    if not math.isfinite(float(word)):
        raise _Found(f"number {word} is larger than a float64 holds (1.8e308)", offset)


class _Build:
    """The reductions of the grammar, one method a rule."""

    def __init__(self, dialect: Dialect) -> None:
        infix, prefix = infix_rows(OPERATORS)
        self.infix_names = {**infix, **(dialect.infix or {})}
        self.prefix_names = {**prefix, **(dialect.prefix or {})}

    def number(self, children: list[Token]) -> Number:
        word = str(children[0])
        value = int(word) if word.isdecimal() else float(word)
        return Number(value, _offset(children[0]))

    def name(self, children: list[Token]) -> Name:
        return Name(str(children[0]), _offset(children[0]))

    def param(self, children: list[Token]) -> Param:
        return Param(str(children[0])[1:-1].strip(), _offset(children[0]))

    def word(self, children: list[Token]) -> Word:
        return Word(str(children[0])[1:-1], _offset(children[0]))

    def keyword(self, children: list[Any]) -> Keyword:
        return Keyword(str(children[0]), children[1], _offset(children[0]))

    def arguments(self, children: list[Any]) -> list[Any]:
        return children

    def call(self, children: list[Any]) -> Call:
        given = children[1] if len(children) == 2 else []
        offset = _offset(children[0])
        arguments = tuple(item for item in given if not isinstance(item, Keyword))
        keywords = tuple(item for item in given if isinstance(item, Keyword))
        for earlier, later in pairwise(given):
            if isinstance(earlier, Keyword) and not isinstance(later, Keyword):
                raise _Found("a positional argument stands after name=value", later.offset)
        depth = 1 + max((item.depth for item in given), default=0)
        return _checked(Call(str(children[0]), arguments, keywords, offset, depth))

    def infix(self, children: list[Any]) -> Call:
        left, token, right = children
        symbol = str(token)
        spine = isinstance(left, Call) and left.symbol is not None and len(left.arguments) == 2 and symbol != "**"
        depth = max(left.depth if spine else left.depth + 1, right.depth + 1)
        return _checked(Call(self.infix_names[symbol], (left, right), (), _offset(token), depth, symbol))

    def prefix(self, children: list[Any]) -> Call:
        token, operand = children
        symbol = str(token)
        name = self.prefix_names[symbol]
        return _checked(Call(name, (operand,), (), _offset(token), operand.depth + 1, symbol))

    def ternary(self, children: list[Any]) -> Call:
        condition, token, first, _, second = children
        parts = (condition, first, second)
        return _checked(Call(CHOICE, parts, (), _offset(token), 1 + max(part.depth for part in parts)))


def _checked(call: Call) -> Call:
    if call.depth > DEPTH_LIMIT:
        raise _Found(f"operators inside each other deeper than {DEPTH_LIMIT}", call.offset)
    return call


def _offset(token: Token) -> int:
    return int(token.start_pos or 0)


# ---- errors in words ------------------------------------------------------------------------------------------------


def _explain(problem: Exception, text: str, dialect: Dialect) -> tuple[str, int]:
    from lark import UnexpectedCharacters, UnexpectedToken

    if isinstance(problem, UnexpectedCharacters):
        offset: Any = problem.pos_in_stream
        return _explain_character(text, int(offset), dialect)
    if isinstance(problem, UnexpectedToken):
        return _explain_token(problem, text, dialect)
    return "not an expression", 0


def _explain_character(text: str, offset: int, dialect: Dialect) -> tuple[str, int]:
    character = text[offset]
    if character.isascii():
        hint = {**INSTEAD, **dialect.instead}.get(character, "letters, digits, operators and brackets are")
        return f"{character!r} is not allowed here; {hint}", offset
    name = unicodedata.name(character, "no name")
    return f"{character!r} (U+{ord(character):04X}, {name}) is not allowed; names and symbols are plain ASCII", offset


def _explain_token(problem: Any, text: str, dialect: Dialect) -> tuple[str, int]:
    token = problem.token
    if token.type == "$END":
        return f"the expression ends too early; {OPERAND_NEEDED}", len(text.rstrip())
    offset = _offset(token)
    word = str(token)
    if not _ends_operand(text[:offset]):
        return _instead_of_operand(word), offset
    if token.type == "COMPARE":
        return f"comparisons do not chain; write '{dialect.both.format(f'b {word} c')}'", offset
    return _after_operand(word), offset


def _ends_operand(text: str) -> bool:
    """Return whether `text` ends with a complete value."""
    text = text.rstrip()
    if text.endswith("}"):
        return True
    last = None
    for token in SCAN.finditer(text):
        last = token
    if last is None or last.end() < len(text):
        return False
    return bool(last["number"] or last["close"] or last["word"] or (last["name"] and last[0] not in KEYWORDS))


def _after_operand(word: str) -> str:
    if word == "=":
        return "'=' gives an argument its name inside a call; write '==' to compare"
    if word == ",":
        return "',' separates the arguments of a call; this is not inside one"
    if word == "(":
        return "'(' follows something that is no operator's name; put an infix operator between them"
    if word == "not":
        return "'not' stands before a mask; put 'and' or 'or' before it"
    return f"{word[:40]!r} follows a complete value; an infix operator, ',' or ')' is expected"


def _instead_of_operand(word: str) -> str:
    if word == "+":
        return "there is no unary '+'; leave it out"
    if word[0] in "\"'":
        return "a quoted word stands only as an argument of a call"
    if word == "not":
        return "'not' binds looser than the operator before it; put it and its mask in brackets"
    return f"{word[:40]!r} stands where {OPERAND_NEEDED}"
