"""Elementwise steps that follow each other, as one call of `kernels.chain`: values that only they read never leave it.

1. `write_chain` gives every step an instruction, and every operand and result a place: a number, an array of the tile,
   or a scrap that is free again after its last reader (`_Places`).
2. `Chain.run` puts in the addresses that change with the tile and calls the compiled loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..kernels.chain import ONE, PIECE, PUBLISH, run
from ..kernels.context import Floats
from ..kernels.elementwise import Loop
from .steps import Step

Numbers = NDArray[np.int64]
FLOAT = 8
Moving = tuple[str, str | int]
"""What lies somewhere else for every tile: ``("source", step)``, ``("out", factor)``, ``("exists", "")``."""


@dataclass(slots=True)
class Chain:
    """A chain made ready.

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
    addresses: Numbers
    steps: Numbers
    owners: Numbers
    moving: tuple[tuple[int, Moving], ...]
    size: int
    held: tuple[Floats, ...]
    counts: Numbers

    def run(self, address: Callable[[Moving], int], undefined: Numbers) -> None:
        """Compute the tile."""
        for place, what in self.moving:
            self.addresses[place] = address(what)
        if run(self.code, self.addresses, self.steps, self.size, self.counts):
            np.add.at(undefined, self.owners, self.counts)
            self.counts[:] = 0


class _Places:
    """Hands out places."""

    def __init__(self) -> None:
        self.addresses: list[int] = []
        self.steps: list[int] = []
        self.moving: list[tuple[int, Moving]] = []
        self.held: list[Floats] = []
        self._numbers: dict[str, int] = {}
        self._sources: dict[Moving, int] = {}
        self._free: list[int] = []

    def _add(self, address: int, step: int) -> int:
        self.addresses.append(address)
        self.steps.append(step)
        return len(self.addresses) - 1

    def array(self, values: Floats) -> int:
        """Return the place of an array of the tile's own values."""
        self.held.append(values)
        return self._add(values.ctypes.data, FLOAT)

    def number(self, value: float) -> int:
        """Return the place of a number."""
        key = repr(value)
        if key not in self._numbers:
            self.held.append(np.full(PIECE, value))
            self._numbers[key] = self._add(self.held[-1].ctypes.data, 0)
        return self._numbers[key]

    def elsewhere(self, what: Moving) -> int:
        """Return the place of what moves from tile to tile."""
        if what not in self._sources:
            self._sources[what] = self._add(0, 1 if what[0] == "exists" else FLOAT)
            self.moving.append((self._sources[what], what))
        return self._sources[what]

    def scrap(self) -> int:
        """Return the place of a piece that nothing else uses now."""
        if not self._free:
            self.held.append(np.zeros(PIECE))
            return self._add(self.held[-1].ctypes.data, 0)
        return self._free.pop()

    def release(self, place: int) -> None:
        """Take a scrap back."""
        self._free.append(place)


def write_chain(
    chained: Sequence[tuple[Step, Loop]],
    *,
    arrays: Mapping[int, Floats],
    names: Mapping[int, Sequence[str]],
    size: int,
) -> Chain:
    """Return a chain of elementwise steps, each with its loop.

    Parameters
    ----------
    arrays
        Step -> the tile's own values, for operands computed before and for results that others read. An operand
        without one is a source, read where it lies; a result without one is read in the chain only.
    names
        Step -> factors that go to their output from here.
    size
        Values of the tile.
    """
    places = _Places()
    found = {number: places.array(values) for number, values in arrays.items()}
    own = {step.number for step, _ in chained}
    last = {used: step.number for step, _ in chained for used in (*step.inputs, step.number)}
    code: list[tuple[int, ...]] = []
    owners: list[int] = []
    for step, loop in chained:

        def place(operand: float) -> int:
            if not isinstance(operand, int):
                return places.number(operand)
            if operand not in found:
                found[operand] = places.elsewhere(("source", operand))
            return found[operand]

        operands = [place(one) for one in loop.all_operands(step.operands, step.complete_literals)]
        if step.number not in found:
            found[step.number] = places.scrap()
        result = found[step.number]
        instructions = _instructions(loop, operands, result, places)
        instructions += [
            (PUBLISH, 0, result, places.elsewhere(("exists", "")), 0, places.elsewhere(("out", name)))
            for name in names.get(step.number, ())
        ]
        code += instructions
        owners += [step.number] * len(instructions)
        for used in {*step.inputs, step.number}:
            if used in own and used not in arrays and last[used] == step.number:
                places.release(found[used])
    return Chain(
        np.array(code, dtype=np.int64),
        np.array(places.addresses, dtype=np.int64),
        np.array(places.steps, dtype=np.int64),
        np.array(owners, dtype=np.int64),
        tuple(places.moving),
        size,
        tuple(places.held),
        np.zeros(len(code), dtype=np.int64),
    )


def _instructions(loop: Loop, operands: Sequence[int], result: int, places: _Places) -> list[tuple[int, ...]]:
    """Return the instructions of a step: one, or one less than its operands where it goes over all of them."""
    kind = ONE + loop.operands - 1
    first, rest = list(operands[: loop.operands]), operands[loop.operands :]
    if not rest:
        return [(kind, loop.code, *first, *[0] * (3 - len(first)), result)]
    scraps = [places.scrap() for _ in rest]
    targets = [*scraps, result]
    code: list[tuple[int, ...]] = [(kind, loop.code, *first, 0, targets[0])]
    code += [(kind, loop.code, targets[k], other, 0, targets[k + 1]) for k, other in enumerate(rest)]
    for scrap in scraps:
        places.release(scrap)
    return code
