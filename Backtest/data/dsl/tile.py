"""What a program works on: rows of a panel, the outputs they go to, and arrays for what lies between."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.context import Floats
from ..kernels.rows import aligned
from ..panel import Bools, Panel
from .plan import Plan


@dataclass(frozen=True)
class Tile:
    """Rows begin..end-1 of a panel.

    Attributes
    ----------
    seen
        Rows before `begin` that count: as many as there are, or as the tiles before had.
    library
        Step of every library call -> its values, of the panel's shape.
    out
        Factor -> array to be filled, whose row 0 is the panel's row `panel.warmup`.
    lendable
        The panel's fields and the library values that kernels can be given as they are.
    is_flat
        True where rows of every output lie next to each other.
    part
        Number of the panel: tiles of another one have their arrays elsewhere.
    """

    panel: Panel
    begin: int
    end: int
    seen: int
    library: Mapping[int, Floats]
    out: Mapping[str, Floats]
    lendable: frozenset[int]
    is_flat: bool
    part: int

    @property
    def is_output(self) -> bool:
        """False for rows that only others look back to."""
        return self.begin >= self.panel.warmup


class Arrays:
    """Flat arrays by number, made at first use and then reused: fresh memory costs a page fault every 4 kB."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._flat: dict[int, Floats] = {}
        self._addresses: dict[int, int] = {}
        self._scratch: dict[Hashable, tuple[NDArray[Any], int]] = {}

    def take(self, number: int, shape: tuple[int, int]) -> Floats:
        """Return array `number` as a C-ordered array of `shape`, which holds at most `size` values."""
        if number not in self._flat:
            self._flat[number] = aligned(1, self.size)[0]
        return self._flat[number][: shape[0] * shape[1]].reshape(shape)

    def address(self, number: int) -> int:
        """Return where array `number` begins."""
        if number not in self._addresses:
            self._addresses[number] = int(self.take(number, (1, 1)).ctypes.data)
        return self._addresses[number]

    def scratch(self, key: Hashable, make: Callable[[], NDArray[Any]]) -> int:
        """Return where what chains write or read at will begins: the same array for all of them.

        One after the other they then find it in a core's cache.
        """
        if key not in self._scratch:
            values = make()
            self._scratch[key] = values, int(values.ctypes.data)
        return self._scratch[key][1]


def publish(values: Floats, names: Iterable[str], tile: Tile, column: int, exists: Bools) -> None:
    """Copy the tile's own rows of some columns to the outputs of some factors."""
    from ..kernels.finish import publish as copy  # compiled code: only where something is computed

    for name in names:
        copy(values, exists, tile.out[name], tile.begin - tile.panel.warmup, column)


def given(plan: Plan, panel: Panel, library: Mapping[int, Floats], number: int) -> Floats:
    """Return a field or a library value."""
    what = plan.steps[number].source
    return panel.fields[what] if isinstance(what, str) else library[number]


def lendable(plan: Plan, panel: Panel, library: Mapping[int, Floats]) -> frozenset[int]:
    """Return the fields and library values that lie as kernels want them: to numba another layout is another type."""
    return frozenset(
        number
        for number in plan.needed
        if not plan.steps[number].is_computed and is_plain(given(plan, panel, library, number))
    )


def is_plain(values: NDArray[Any]) -> bool:
    """Return whether kernels can be given an array of floats as it is."""
    flags = values.flags
    return flags.c_contiguous and flags.writeable and values.dtype == np.float64


def plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array of any kind as kernels want it: C-ordered and writable, the same one where it is."""
    flags = values.flags
    return values if flags.c_contiguous and flags.writeable else np.require(values, requirements=["C", "W"])
