"""From ``--param key=1,2,3`` to the strategies of a sweep: every combination, the last parameter turning fastest."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from ..errors import SettingsError

MOST_TRIALS = 1_000_000
"""Beyond it a grid is a slip of the hand: at a thousand trials a second it takes a quarter of an hour."""

Grid = Mapping[str, tuple[str, ...]]
"""Parameter -> its values, as text."""


def grid_of(params: Mapping[str, str]) -> Grid:
    """Return the values of each parameter of ``key -> "1,2,3"``; an empty or repeated one is refused."""
    grid = {}
    for key, text in params.items():
        values = tuple(value.strip() for value in text.split(","))
        if len(values) > 1 and "" in values:
            raise SettingsError(f"--param {key}={text}: a value between commas is empty")
        twice = next((value for place, value in enumerate(values) if value in values[:place]), None)
        if twice is not None:
            raise SettingsError(f"--param {key}={text}: {twice!r} stands twice")
        grid[key] = values
    return grid


def combinations(grid: Grid) -> list[dict[str, str]]:
    """Return the parameters of every trial."""
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST_TRIALS:
        raise SettingsError(f"the grid has {count:,} trials; at most {MOST_TRIALS:,} are allowed")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def varied(grid: Grid) -> Sequence[str]:
    """Return the parameters with more than one value."""
    return [key for key, values in grid.items() if len(values) > 1]
