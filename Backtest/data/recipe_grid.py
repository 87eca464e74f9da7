"""``grid:`` of a factor: one entry of a recipe becomes one factor for every combination of the grid's values.

1. Every key takes each of its values; of several keys the last varies fastest, as nested loops in the order written.
2. ``{key}`` in the factor's name becomes the value; a key that the name does not hold is appended as ``_key<value>``.
   ``mom_{window}`` and 7 make ``mom_7``; ``mom`` and ``window: 7, lag: 2`` make ``mom_window7_lag2``.
3. A number is written as in the recipe with ``p`` for the point and ``m`` for the minus sign: 0.5 is ``0p5``, -1 is
   ``m1``. A word or a truth value stands for itself.
4. The values become params of the factor, beside those under ``params``; ``{key}`` in the description is filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import Any

from ..errors import did_you_mean

GRID_LIMIT = 1_000
"""Factors that one entry may expand to: more columns than that are a mistake in a list, or a search, not a recipe."""

WORD = re.compile(r"[A-Za-z0-9_]{1,64}", re.ASCII)
HOLE = re.compile(r"\{ *([^{}]*?) *\}")
KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)

Grid = Mapping[str, tuple[Any, ...]]


class GridRefused(Exception):
    """What is wrong with a grid; `keys` lead from the factor's entry to the place."""

    def __init__(self, message: str, *keys: str | int) -> None:
        super().__init__(message)
        self.keys = keys


def check_grid(entry: Mapping[str, Any]) -> Grid | None:
    """Return the grid of a factor's entry, None where it has none.

    Raises
    ------
    GridRefused
        It is no mapping of lists, a value may not stand in a name or stands twice, a key stands in ``params`` too or is
        used nowhere, the name asks for another key, or there are more than GRID_LIMIT combinations.
    """
    given = entry.get("grid")
    if given is None:
        return None
    if not isinstance(given, dict) or not given:
        raise GridRefused(f"'grid' is {_shown(given)}; a mapping of param: list of values is allowed", "grid")
    params = entry.get("params")
    for key, values in given.items():
        _check_key(key, values)
        if isinstance(params, dict) and key in params:
            raise GridRefused(f"param '{key}' stands in 'params' and in 'grid'; leave one", "grid", key)
    count = prod(len(values) for values in given.values())
    if count > GRID_LIMIT:
        raise GridRefused(f"the grid makes {count:,} factors; {GRID_LIMIT:,} are allowed", "grid")
    _check_use(entry, given)
    return {key: tuple(values) for key, values in given.items()}


def _check_key(key: str, values: Any) -> None:
    if not KEY.fullmatch(key):
        raise GridRefused(
            f"{key[:80]!r} is no name of a param: a letter or '_', then letters, digits and '_'", "grid", key
        )
    if not isinstance(values, list) or not values:
        raise GridRefused(f"'{key}' of the grid is {_shown(values)}; a list of values is allowed", "grid", key)
    seen: set[str] = set()
    for place, value in enumerate(values):
        word = value_word(value)
        if word is None:
            allowed = "a number, a truth value or a word of letters, digits and '_' is allowed"
            raise GridRefused(f"'{key}' of the grid holds {_shown(value)}; {allowed}", "grid", key, place)
        if word in seen:
            raise GridRefused(f"'{key}' of the grid holds {_shown(value)} twice", "grid", key, place)
        seen.add(word)


def _check_use(entry: Mapping[str, Any], grid: Mapping[str, Any]) -> None:
    """Refuse a name that asks for a key that is not there, and a key that the expression does not use."""
    name, expression = entry.get("name"), entry.get("expression")
    for key in HOLE.findall(name) if isinstance(name, str) else ():
        if key not in grid:
            hint = did_you_mean(key, grid) or f"; the grid has {', '.join(grid)}"
            raise GridRefused(f"name {str(name)[:80]!r}: {{{key}}} is not in the grid{hint}", "name")
    used = HOLE.findall(expression) if isinstance(expression, str) else list(grid)
    for key in grid:
        if key not in used:
            hint = did_you_mean(key, used) or f"; write {{{key}}} in it"
            raise GridRefused(f"the expression does not use '{key}' of the grid{hint}", "grid", key)


def expand(name: str, description: str, grid: Grid) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, description and params of every factor of a grid."""
    for values in product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        words = {key: str(value_word(value)) for key, value in chosen.items()}
        appended = "".join(f"_{key}{word}" for key, word in words.items() if key not in HOLE.findall(name))
        yield _filled(name, words) + appended, _filled(description, chosen), chosen


def value_word(value: Any) -> str | None:
    """Return a grid value as it stands in a name, or None where it may not be one."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value).replace("+", "").replace(".", "p").replace("-", "m")
    return value if isinstance(value, str) and WORD.fullmatch(value) else None


def _filled(text: str, words: Mapping[str, Any]) -> str:
    """Return `text` with the ``{key}`` of the grid filled in; other braces stay."""
    return HOLE.sub(lambda match: str(words.get(match[1], match[0])), text)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "a mapping" if isinstance(value, dict) else repr(value)[:80]
