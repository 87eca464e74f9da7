"""Steps that follow each other, as one call of `kernels.chain`: values that only they read never leave it.

A chain has elementwise steps and sums over short windows.

1. `write_chain` gives every step its instructions, and every operand and result a place: a number, an array of the
   tile, a strip that goes on from tile to tile, or a scrap that is free again after its last reader. What is written
   holds no address, so that a plan has it once (`Plan.once`) for all blocks of symbols and all threads.
2. `place_chain` puts in the addresses of one program's arrays.
3. `Chain.run` calls the compiled loop with the addresses that change with the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels.chain import ADDRESS, AGE, JOINT, ONE, PUBLISH, STRIP, TWO, WINDOW, run
from ..kernels.context import FLOAT
from ..kernels.elementwise import Loop
from ..kernels.joint_loops import code_after
from ..kernels.rolling import Sums
from .steps import Step

Numbers = NDArray[np.int64]
Instruction = tuple[int, ...]
What = tuple[str, Any]
"""What lies at a place: ``("array", step)``, the tile's own values; ``("strip", step)``; ``("scrap", k)``; ``("number",
value)``, ``("number", True)`` for flags that are set; or one of `MOVING`."""

MOVING = {"source": FLOAT, "out": FLOAT, "exists": 1, "age": AGE}
"""Bytes of a value of what lies somewhere else for every tile: ``("source", step)``, ``("out", factor)``, ``("exists",
"")``, ``("age", "")``."""


@dataclass(frozen=True, slots=True)
class Written:
    """A chain without addresses; see `kernels.chain.run`.

    Attributes
    ----------
    places
        Their addresses are still 0.
    contents
        What lies at each place.
    front
        Rows in front of a scrap, for the longest window; 0: there is none, and scraps are pieces.
    owners
        Step of each instruction.
    """

    code: Numbers
    places: Numbers
    contents: tuple[What, ...]
    windows: Numbers
    carried: Numbers
    front: int
    owners: Numbers


@dataclass(slots=True)
class Chain:
    """A chain made ready.

    Attributes
    ----------
    moving
        [m, 2], a place and the number of what lies there, for those that move.
    sources
        [s], places of fields and library values that are read where they lie.
    """

    written: Written
    places: Numbers
    moving: Numbers
    sources: Numbers
    columns: int
    counts: Numbers

    def run(self, addresses: Numbers, rows: int, seen: int, first_bar: int, undefined: Numbers) -> None:
        """Compute a tile of `rows` rows from `first_bar` on, after `seen` others; `addresses` of what moves."""
        own = self.written
        height = strip_height(self.columns) if len(own.windows) else rows
        tables = (own.code, self.places, own.windows, own.carried, self.moving, self.sources, addresses)
        if run(*tables, height, rows, self.columns, seen, first_bar, self.counts):
            np.add.at(undefined, own.owners, self.counts)
            self.counts[:] = 0


def strip_height(columns: int) -> int:
    """Return the rows of a strip in a chain with windows."""
    return max(1, STRIP // columns)


def place_chain(
    written: Written, columns: int, find: Callable[[What, int], int], number: Callable[[What], int]
) -> Chain:
    """Return a chain for so many columns.

    Parameters
    ----------
    find
        The address of a place, given what lies there and the chain's `front`: of an array that lives as long.
    number
        Where among the addresses of a tile that of something is that moves.
    """
    places = written.places.copy()
    moving: list[tuple[int, int]] = []
    for place, what in enumerate(written.contents):
        if what[0] in MOVING:
            moving.append((place, number(what)))
        else:
            places[ADDRESS, place] = find(what, written.front)
    table = np.array(moving, dtype=np.int64).reshape(-1, 2)
    sources = np.array([place for place, what in enumerate(written.contents) if what[0] == "source"], dtype=np.int64)
    return Chain(written, places, table, sources, columns, np.zeros(len(written.code), dtype=np.int64))


class _Places:
    """Hands out places."""

    def __init__(self, front: int) -> None:
        """`front`: see `Written`."""
        self.contents: list[What] = []
        self.rows: list[tuple[int, int, int]] = []
        self._front = front
        self._found: dict[tuple[str, str], int] = {}
        self._free: list[int] = []
        self._scraps = 0

    def of(self, what: What) -> int:
        """Return the place of something, the same one whenever it is asked for."""
        key = (what[0], repr(what[1]))  # repr tells 0.0 from -0.0
        if key not in self._found:
            self._found[key] = len(self.rows)
            self.contents.append(what)
            self.rows.append((0, *self._steps(what[0])))
        return self._found[key]

    def _steps(self, kind: str) -> tuple[int, int]:
        """Return the bytes per value inside a strip and from strip to strip."""
        if kind == "array":
            return FLOAT, FLOAT
        if kind == "strip" or (kind == "scrap" and self._front):
            return FLOAT, 0
        return MOVING.get(kind, 0), MOVING.get(kind, 0)

    def scrap(self) -> int:
        """Return the place of a piece, or of a strip in a chain with windows, that nothing else uses now."""
        if self._free:
            return self._free.pop()
        self._scraps += 1
        return self.of(("scrap", self._scraps - 1))

    def release(self, place: int) -> None:
        """Take a scrap back."""
        self._free.append(place)


def write_chain(
    chained: Sequence[tuple[Step, Loop | Sums]],
    *,
    arrays: Collection[int],
    strips: Mapping[int, int],
    names: Mapping[int, Sequence[str]],
    gap_tolerance: float,
) -> Written:
    """Return a chain of steps, each with its kernel.

    Parameters
    ----------
    arrays
        Steps with an array of the tile's own values: operands computed before, and results that others read. An
        operand that is not among them is a source, read where it lies; such a result is read in the chain only.
    strips
        Step -> rows that windows of the chain, and nothing else, look back to in it; then come those of a strip
        (`strip_height`).
    names
        Step -> factors that go to their output from here.
    """
    writer = _Writer(chained, arrays, strips, gap_tolerance)
    for step, kernel in chained:
        writer.write(step, kernel, names.get(step.number, ()))
    places, carried = writer.places, [(writer.found[number], back) for number, back in strips.items()]
    return Written(
        np.array(writer.code, dtype=np.int64),
        np.array(places.rows, dtype=np.int64).T.copy(),
        tuple(places.contents),
        np.array(writer.windows, dtype=np.int64).reshape(-1, 3),
        np.array(carried, dtype=np.int64).reshape(-1, 2),
        writer.front,
        np.array(writer.owners, dtype=np.int64),
    )


class _Writer:
    """Writes the instructions of a chain.

    Attributes
    ----------
    found
        Step -> place of its values.
    front, owners
        See `Written`.
    """

    def __init__(
        self,
        chained: Sequence[tuple[Step, Loop | Sums]],
        arrays: Collection[int],
        strips: Collection[int],
        gap_tolerance: float,
    ) -> None:
        self.front = max((step.own_lookback or 0 for step, kernel in chained if isinstance(kernel, Sums)), default=0)
        self.places = _Places(self.front)
        self.found = {number: self.places.of(("array", number)) for number in arrays}
        self.found |= {number: self.places.of(("strip", number)) for number in strips}
        self.code: list[Instruction] = []
        self.owners: list[int] = []
        self.windows: list[tuple[int, int, int]] = []
        self._gap_tolerance = gap_tolerance
        self._scraps = {step.number for step, _ in chained}.difference(self.found)
        self._leaving: list[int] = []
        self._last = {used: step.number for step, _ in chained for used in (*step.inputs, step.number)}

    def write(self, step: Step, kernel: Loop | Sums, names: Sequence[str]) -> None:
        """Write a step, and the way of its values to the outputs of the factors `names`."""
        before = len(self.code)
        if isinstance(kernel, Sums):
            self._sum(step, kernel)
        else:
            if names and step.number in self._scraps and self._last[step.number] == step.number:
                # nobody else reads it: it is written where it is published
                self.found[step.number] = self.places.of(("out", names[0]))
                self._scraps.remove(step.number)
            self._elementwise(step, kernel)
            self._join(step)
        for name in names:
            self._publish(self.found[step.number], ("exists", ""), self.places.of(("out", name)))
        self.owners += [step.number] * (len(self.code) - before)
        # One step late: where two steps go in one loop, the second must not write over what the first reads.
        for place in self._leaving:
            self.places.release(place)
        self._leaving = [self.found[used] for used in self._leaves(step)]

    def _leaves(self, step: Step) -> set[int]:
        """Return the steps whose scraps nobody reads after `step`."""
        return {one for one in (*step.inputs, step.number) if one in self._scraps and self._last[one] == step.number}

    def _place(self, operand: float) -> int:
        if not isinstance(operand, int):
            return self.places.of(("number", operand))
        if operand not in self.found:
            self.found[operand] = self.places.of(("source", operand))
        return self.found[operand]

    def _publish(self, values: int, there: What, out: int) -> None:
        self.code.append((PUBLISH, 0, values, self.places.of(there), 0, out))

    def _sum(self, step: Step, kernel: Sums) -> None:
        result, ages = self.places.scrap(), self.places.of(("age", ""))
        self.code.append((WINDOW, kernel.mode, self._place(step.operands[0]), len(self.windows), ages, result))
        self.windows.append(kernel.needs(step.complete_literals, self._gap_tolerance))
        if step.number in self.found:
            # The rows in front of a window's result are overwritten, which must not be where others look back to.
            self._publish(result, ("number", True), self.found[step.number])
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

    def _join(self, step: Step) -> None:
        """Let the last two instructions go in one loop, if only that of `step` reads what the other gives."""
        if len(self.code) < 2 or (len(self.code) > 2 and self.code[-3][0] == JOINT):
            return
        (kind, first, x, y, _, between), (other, second, u, v, _, out) = self.code[-2:]
        if (kind, other) != (TWO, TWO) or out in (x, y) or (u == between) == (v == between):
            return
        after = code_after(first, second, reverse=v == between)
        if after is not None and between in [self.found[used] for used in self._leaves(step)]:
            self.code[-2] = (JOINT, first, x, y, after, between)
