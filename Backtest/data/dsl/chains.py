"""Steps that follow each other, as one call of `kernels.chain`: values that only they read never leave it.

A chain has elementwise steps and sums over short windows.

1. `write_chain` gives every step its instructions, and every operand and result a place: a number, an array of the
   tile, a strip that goes on from tile to tile, or a scrap that is free again after its last reader (`_Places`).
2. `Chain.run` puts in the addresses that change with the tile and calls the compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.chain import ADDRESS, AGE, FLOAT, ONE, PIECE, PUBLISH, STRIP, WINDOW, run
from ..kernels.context import Floats
from ..kernels.elementwise import Loop
from ..kernels.rolling import Sums
from ..kernels.rows import aligned
from .steps import Step

Numbers = NDArray[np.int64]
Instruction = tuple[int, ...]
Moving = tuple[str, str | int]
"""What lies somewhere else for every tile: ``("source", step)``, ``("out", factor)``, ``("exists", "")``,
``("age", "")``."""


@dataclass(slots=True)
class Chain:
    """A chain made ready; see `kernels.chain.run`.

    Attributes
    ----------
    owners
        Step of each instruction.
    moving
        Place and what lies there, for those that change with the tile.
    held
        Arrays whose addresses are in the table: they must live as long.
    """

    code: Numbers
    places: Numbers
    windows: Numbers
    carried: Numbers
    columns: int
    owners: Numbers
    moving: tuple[tuple[int, Moving], ...]
    held: tuple[NDArray[Any], ...]
    counts: Numbers

    def run(self, address: Callable[[Moving], int], rows: int, seen: int, first_bar: int, undefined: Numbers) -> None:
        """Compute a tile of `rows` rows from `first_bar` on, after `seen` others."""
        for place, what in self.moving:
            self.places[ADDRESS, place] = address(what)
        height = strip_height(self.columns) if len(self.windows) else rows
        tables = (self.code, self.places, self.windows, self.carried)
        if run(*tables, height, rows, self.columns, seen, first_bar, self.counts):
            np.add.at(undefined, self.owners, self.counts)
            self.counts[:] = 0


def strip_height(columns: int) -> int:
    """Return the rows of a strip in a chain with windows."""
    return max(1, STRIP // columns)


class _Places:
    """Hands out places."""

    def __init__(self, columns: int, front: int) -> None:
        """`front`: rows in front of a scrap, for the longest window; 0: there is none, and scraps are pieces."""
        self.rows: list[tuple[int, int, int]] = []
        self.moving: list[tuple[int, Moving]] = []
        self.held: list[NDArray[Any]] = []
        self._columns, self._front = columns, front
        self._numbers: dict[str, int] = {}
        self._sources: dict[Moving, int] = {}
        self._free: list[int] = []

    def _add(self, address: int, inside: int, between: int) -> int:
        self.rows.append((address, inside, between))
        return len(self.rows) - 1

    def array(self, values: Floats) -> int:
        """Return the place of an array of the tile's own values."""
        self.held.append(values)
        return self._add(values.ctypes.data, FLOAT, FLOAT)

    def strip(self, values: Floats, front: int) -> int:
        """Return the place of a strip with `front` rows in front of it."""
        self.held.append(values)
        return self._add(values.ctypes.data + front * self._columns * FLOAT, FLOAT, 0)

    def number(self, value: float) -> int:
        """Return the place of a number."""
        return self._piece(repr(value), np.full(PIECE, value))

    def always(self) -> int:
        """Return the place of flags that are set."""
        return self._piece("always", np.ones(PIECE, dtype=np.uint8))

    def _piece(self, key: str, values: NDArray[Any]) -> int:
        if key not in self._numbers:
            self.held.append(values)
            self._numbers[key] = self._add(values.ctypes.data, 0, 0)
        return self._numbers[key]

    def elsewhere(self, what: Moving) -> int:
        """Return the place of what moves from tile to tile."""
        if what not in self._sources:
            size = {"exists": 1, "age": AGE}.get(what[0], FLOAT)
            self._sources[what] = self._add(0, size, size)
            self.moving.append((self._sources[what], what))
        return self._sources[what]

    def scrap(self) -> int:
        """Return the place of a piece, or of a strip in a chain with windows, that nothing else uses now."""
        if self._free:
            return self._free.pop()
        if self._front:
            return self.strip(aligned(self._front + strip_height(self._columns), self._columns), self._front)
        self.held.append(aligned(1, PIECE))
        return self._add(self.held[-1].ctypes.data, 0, 0)

    def release(self, place: int) -> None:
        """Take a scrap back."""
        self._free.append(place)


def write_chain(
    chained: Sequence[tuple[Step, Loop | Sums]],
    *,
    arrays: Mapping[int, Floats],
    strips: Mapping[int, Floats],
    names: Mapping[int, Sequence[str]],
    columns: int,
    gap_tolerance: float,
) -> Chain:
    """Return a chain of steps, each with its kernel.

    Parameters
    ----------
    arrays
        Step -> the tile's own values, for operands computed before and for results that others read. An operand
        without one is a source, read where it lies; a result without one is read in the chain only.
    strips
        Step -> what windows of the chain, and nothing else, read of it: the rows that they look back to, then those of
        a strip (`strip_height`).
    names
        Step -> factors that go to their output from here.
    """
    writer = _Writer(chained, arrays, strips, columns, gap_tolerance)
    for step, kernel in chained:
        writer.write(step, kernel, names.get(step.number, ()))
    places, carried = writer.places, [(writer.found[number], back) for number, back in writer.backs.items()]
    return Chain(
        np.array(writer.code, dtype=np.int64),
        np.array(places.rows, dtype=np.int64).T.copy(),
        np.array(writer.windows, dtype=np.int64).reshape(-1, 3),
        np.array(carried, dtype=np.int64).reshape(-1, 2),
        columns,
        np.array(writer.owners, dtype=np.int64),
        tuple(places.moving),
        tuple(places.held),
        np.zeros(len(writer.code), dtype=np.int64),
    )


class _Writer:
    """Writes the instructions of a chain.

    Attributes
    ----------
    found
        Step -> place of its values.
    backs
        Step -> rows in front of its strip.
    owners
        Step of each instruction.
    """

    def __init__(
        self,
        chained: Sequence[tuple[Step, Loop | Sums]],
        arrays: Mapping[int, Floats],
        strips: Mapping[int, Floats],
        columns: int,
        gap_tolerance: float,
    ) -> None:
        front = max((step.own_lookback or 0 for step, kernel in chained if isinstance(kernel, Sums)), default=0)
        self.places = _Places(columns, front)
        self.backs = {number: len(values) - strip_height(columns) for number, values in strips.items()}
        self.found = {number: self.places.array(values) for number, values in arrays.items()}
        self.found |= {number: self.places.strip(values, self.backs[number]) for number, values in strips.items()}
        self.code: list[Instruction] = []
        self.owners: list[int] = []
        self.windows: list[tuple[int, int, int]] = []
        self._gap_tolerance = gap_tolerance
        self._scraps = {step.number for step, _ in chained}.difference(self.found)
        self._last = {used: step.number for step, _ in chained for used in (*step.inputs, step.number)}

    def write(self, step: Step, kernel: Loop | Sums, names: Sequence[str]) -> None:
        """Write a step, and the way of its values to the outputs of the factors `names`."""
        before = len(self.code)
        if isinstance(kernel, Sums):
            self._sum(step, kernel)
        else:
            self._elementwise(step, kernel)
        for name in names:
            self._publish(self.found[step.number], ("exists", ""), self.places.elsewhere(("out", name)))
        self.owners += [step.number] * (len(self.code) - before)
        for used in {*step.inputs, step.number}:
            if used in self._scraps and self._last[used] == step.number:
                self.places.release(self.found[used])

    def _place(self, operand: float) -> int:
        if not isinstance(operand, int):
            return self.places.number(operand)
        if operand not in self.found:
            self.found[operand] = self.places.elsewhere(("source", operand))
        return self.found[operand]

    def _publish(self, values: int, there: Moving | None, out: int) -> None:
        flags = self.places.always() if there is None else self.places.elsewhere(there)
        self.code.append((PUBLISH, 0, values, flags, 0, out))

    def _sum(self, step: Step, kernel: Sums) -> None:
        result, ages = self.places.scrap(), self.places.elsewhere(("age", ""))
        self.code.append((WINDOW, kernel.mode, self._place(step.operands[0]), len(self.windows), ages, result))
        self.windows.append(kernel.needs(step.complete_literals, self._gap_tolerance))
        if step.number in self.found:
            # The rows in front of a window's result are overwritten, which must not be where others look back to.
            self._publish(result, None, self.found[step.number])
            self.places.release(result)
        self.found.setdefault(step.number, result)

    def _elementwise(self, step: Step, loop: Loop) -> None:
        """One instruction, or one less than the operands where the loop goes over all of them."""
        operands = [self._place(one) for one in loop.all_operands(step.operands, step.complete_literals)]
        if step.number not in self.found:
            self.found[step.number] = self.places.scrap()
        first, rest = operands[: loop.operands], operands[loop.operands :]
        scraps = [self.places.scrap() for _ in rest]
        targets = [*scraps, self.found[step.number]]
        kind = ONE + loop.operands - 1
        self.code.append((kind, loop.code, *first, *[0] * (3 - len(first)), targets[0]))
        for k, other in enumerate(rest):
            self.code.append((kind, loop.code, targets[k], other, 0, targets[k + 1]))
        for scrap in scraps:
            self.places.release(scrap)
