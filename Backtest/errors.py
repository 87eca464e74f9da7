"""Every error a user can cause, and the words it is told in.

FactorError                  one line for the user, exit code 2
├── SettingsError            a flag or a configuration value
├── NameRefused              a symbol, factor-set, run or strategy name
├── DataError                an input file or what it holds
│   └── SymbolRefused        one symbol's data; the others go on, exit code 1
├── RecipeError              the recipe file: schema, names, sources
│   └── ExpressionError      a place inside a DSL expression, shown with a caret
├── HubError                 a factor set: absent, incomplete, damaged, locked
└── RunError                 a strategy, an engine or a run folder

Anything else that reaches a command's top is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_OK = 0
EXIT_SYMBOLS_REFUSED = 1
EXIT_REFUSED = 2


class FactorError(Exception):
    """Base of the tree. ``str(error)`` is what was found, where, and what is allowed."""

    exit_code = EXIT_REFUSED


class SettingsError(FactorError):
    """A flag or a configuration value is not allowed."""


class NameRefused(FactorError):
    """A name that becomes part of a path is not allowed."""


class DataError(FactorError):
    """An input file cannot be used."""


class SymbolRefused(DataError):
    """One symbol's data cannot be used; the other symbols go on.

    Parameters
    ----------
    symbol
        The symbol that gets no output.
    reason
        One line naming the file, the place and the rule.
    """

    def __init__(self, symbol: str, reason: str) -> None:
        super().__init__(f"{symbol}: {reason}")
        self.symbol = symbol
        self.reason = reason

    def __reduce__(self) -> tuple[type[SymbolRefused], tuple[str, str]]:
        return type(self), (self.symbol, self.reason)


class RecipeError(FactorError):
    """The recipe breaks its schema."""


class ExpressionError(RecipeError):
    """A syntax or type error at one place of an expression.

    Parameters
    ----------
    message
        What was found and what is allowed, in one line.
    text
        The whole expression.
    offset
        0-based character offset of the place in ``text``.
    where
        What the expression belongs to, e.g. ``"factor 'mfi14'"``.
    """

    def __init__(self, message: str, text: str, offset: int, where: str = "expression") -> None:
        self.message, self.text, self.offset, self.where = message, text, offset, where
        super().__init__(f"{where}, column {offset + 1}: {message}\n{caret_lines(text, offset)}")

    def __reduce__(self) -> tuple[type[ExpressionError], tuple[str, str, int, str]]:
        return type(self), (self.message, self.text, self.offset, self.where)


class HubError(FactorError):
    """A factor set in the hub cannot be read or written."""


class RunError(FactorError):
    """A backtest cannot be run or read back."""


CARET_WIDTH = 100
"""Columns of the expression shown around a caret: what an 80 to 120 column terminal holds."""


def caret_lines(text: str, offset: int, width: int = CARET_WIDTH) -> str:
    """Return two lines: the part of `text` around `offset`, and a caret under the place."""
    flat = "".join(character if character.isprintable() else " " for character in text)
    begin = max(0, min(offset - width // 2, len(flat) - width))
    shown = flat[begin : begin + width]
    return f"    {shown}\n    {' ' * (offset - begin)}^"


SHORTEST_PART = 3
"""Letters from which a part of a name tells which name is meant."""


def did_you_mean(name: str, allowed: Iterable[str], limit: int = 3) -> str:
    """Return ``"; did you mean 'a' or 'b'?"`` for the names nearest to `name`, else ``""``.

    Names that begin with `name` come first, then those that hold it, then those spelled alike.
    """
    from difflib import get_close_matches

    by_fold = {candidate.casefold(): candidate for candidate in sorted(allowed)}
    wanted = name.casefold()
    holding = [fold for fold in by_fold if wanted in fold] if len(wanted) >= SHORTEST_PART else []
    holding.sort(key=lambda fold: (not fold.startswith(wanted), len(fold), fold))
    folds = [*holding, *get_close_matches(wanted, by_fold, limit, 0.6)]
    near = [by_fold[fold] for fold in dict.fromkeys(folds)][:limit]
    if not near:
        return ""
    return "; did you mean " + " or ".join(f"'{candidate}'" for candidate in near) + "?"
