"""One segment of a plan made ready for some columns: a list of calls to go through, tile of rows after tile of rows.

Looking up kernels, completing literals and cutting arrays costs as much as computing a small tile, so all of it is done
once (`Program._prepare`), again only where the shape of a tile changes. What a tile leaves for the next one:

* an array in `_history` of the last rows of each step that later rows look back to. A kernel is given the look-back of
  its operands in front of the tile's own rows and leaves rubbish there in its result; `_before` puts the true rows
  back;
* the state of each recursive operator (`Memory`).

Windows are cut at absolute bar indices, so that no value depends on the tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..kernels.chain import PIECE
from ..kernels.context import FLOAT, Context, Floats, Kernel, Memory, Operand
from ..kernels.elementwise import Loop
from ..kernels.rolling import Sums
from ..kernels.rows import aligned
from ..panel import Bools
from .actions import Action, Call, Copy, Load, Publish, RunChain
from .chains import Chain, Numbers, What, Written, place_chain, strip_height, write_chain
from .operators import Operator
from .plan import Plan
from .segments import Segment, places, reaches, read_outside, runs
from .signature import kernel_of
from .tile import Arrays, Tile, given, plain


@dataclass(frozen=True)
class Setup:
    """What the programs of a plan share.

    Attributes
    ----------
    symbols
        Columns of the panel.
    depth
        Rows that arrays have in front of a tile: the longest look-back of one step.
    rows
        Rows of a tile at most.
    full
        Step -> [depth + rows, symbols], what a segment leaves for later ones.
    """

    plan: Plan
    symbols: int
    depth: int
    rows: int
    gap_tolerance: float
    full: Mapping[int, Floats]


class Program:
    """A segment for the symbols of `columns`.

    Attributes
    ----------
    contexts
        Look-back -> what kernels are told about the tile's rows with that look-back in front.
    exists, ages
        The columns' part of ``panel.exists`` for the tile's own rows, of ``panel.age`` with the look-back in front.
    addresses
        Where the tile's own rows of what chains find somewhere else for every tile begin.
    """

    contexts: dict[int, Context]
    exists: Bools
    ages: NDArray[np.int32]
    addresses: Numbers

    def __init__(self, setup: Setup, segment: Segment, columns: slice, arrays: Arrays) -> None:
        self.setup, self.segment, self.columns = setup, segment, columns
        self.across = segment.number % 2 == 1
        self.width: int = columns.stop - columns.start
        self._places, _ = places(setup.plan, segment, setup.full)
        self._reaches = reaches(setup.plan)
        self._arrays = arrays
        self._all = self.width == setup.symbols
        steps = segment.steps
        self._history = {n: np.empty((self._reaches[n], self.width)) for n in steps if self._reaches[n]}
        self._strips = Arrays(0)
        self._chains: dict[object, Chain] = {}
        self._memory = {n: Memory() for n in steps if setup.plan.steps[n].own_lookback is None}
        self._prepared: tuple[object, ...] = ()
        self._actions: list[Action] = []
        self._direct: list[tuple[list[Operand], int, int, int]] = []
        self._lookbacks: set[int] = set()
        self._moving: dict[What, int] = {("exists", ""): 0, ("age", ""): 1}
        self._part = 0
        self._starts = np.zeros(0, dtype=np.int64)

    def run(self, tile: Tile, undefined: NDArray[np.int64]) -> None:
        """Compute the tile's rows and add to `undefined` how many values each step left undefined."""
        rows, seen = tile.end - tile.begin, min(tile.seen, self.setup.depth)
        shape = (rows, seen, tile.is_output, tile.lendable, tile.is_flat)
        if shape != self._prepared:
            self._prepare(tile)
            self._prepared = shape
        self._look(tile)
        self._move(tile)
        for operands, place, number, lookback in self._direct:
            operands[place] = self.source(tile, number, lookback)
        for action in self._actions:
            action.run(self, tile, undefined)

    def source(self, tile: Tile, number: int, lookback: int) -> Floats:
        """Return a field, a library value or an earlier segment's value, `lookback` rows and the tile's own."""
        what = self.setup.plan.steps[number].source
        if isinstance(what, Operator):
            depth = self.setup.depth
            return self.setup.full[number][depth - lookback : depth + tile.end - tile.begin]
        return self._whole(tile, number)[tile.begin - lookback : tile.end]

    def _move(self, tile: Tile) -> None:
        """Find out where a tile's own rows of what moves begin."""
        row = self.width * FLOAT
        if self._part != tile.part or len(self._starts) != len(self._moving):
            self._part = tile.part
            self._starts = np.zeros(len(self._moving), dtype=np.int64)
            for what, number in self._moving.items():
                if what[0] == "out":
                    self._starts[number] = tile.out[what[1]].ctypes.data - tile.panel.warmup * row
                elif what[0] == "source":
                    self._starts[number] = self._whole(tile, what[1]).ctypes.data
        self.addresses = self._starts + tile.begin * row
        ages = self.ages[len(self.ages) - (tile.end - tile.begin) :]
        self.addresses[:2] = self.exists.ctypes.data, ages.ctypes.data

    def _whole(self, tile: Tile, number: int) -> Floats:
        """Return a field or a library value."""
        return given(self.setup.plan, tile.panel, tile.library, number)

    def _lent(self, tile: Tile) -> set[int]:
        """Return the sources that kernels are given as they are."""
        steps = self.setup.plan.steps
        return {n for n in self.segment.sources if self._all and (steps[n].is_computed or n in tile.lendable)}

    def _look(self, tile: Tile) -> None:
        """Cut out what is not a step: ages, who takes part, which bars are there. Chains hold their addresses."""
        across = self.across
        own = slice(tile.begin, tile.end)
        # writable also where the panel is read-only: to numba those are two types, and it would compile anew
        self.exists = plain(tile.panel.exists[own, self.columns])
        deepest = max(self._lookbacks, default=0)
        looked = slice(tile.begin - deepest, tile.end), self.columns
        self.ages = plain(tile.panel.age[looked])
        population = tile.panel.member[looked] & tile.panel.tradable[looked] if across else None
        self.contexts = {
            lookback: Context(
                age=self.ages[deepest - lookback :],
                first_bar=tile.panel.first_bar + tile.begin - lookback,
                population=None if population is None else population[deepest - lookback :],
                gap_tolerance=self.setup.gap_tolerance,
                own_row=lookback,
                symbols=tile.panel.symbols if across else (),
            )
            for lookback in self._lookbacks
        }

    def _prepare(self, tile: Tile) -> None:
        """Make the calls for tiles of this shape."""
        lent = self._lent(tile)
        self._actions, self._direct = [], []
        self._lookbacks = {self._lookback(tile, number) for number in self.segment.steps}
        steps = self.setup.plan.steps
        kernels = {number: kernel_of(steps[number].operator) for number in self.segment.steps}
        loaded = set(lent)
        for chained, numbers in runs(self.setup.plan, self.segment):
            for number in numbers:
                for used in steps[number].inputs:
                    if used in self.segment.sources and used not in loaded:
                        loaded.add(used)
                        deepest = min(tile.seen, self._reaches[used])
                        self._actions.append(Load(used, deepest, self._view(tile, used, deepest)))
                if not chained:
                    self._actions.append(self._call(tile, number, kernels[number], lent))
                    self._actions += [*self._before(tile, number), *self._afterwards(tile, number)]
            if chained:
                self._actions += self._chain(tile, numbers, kernels, lent)

    def _lookback(self, tile: Tile, number: int) -> int:
        """Return the rows in front of the tile that a step is given; a recursive one remembers what it needs."""
        return min(tile.seen, self.setup.plan.steps[number].own_lookback or 0)

    def _call(self, tile: Tile, number: int, kernel: Kernel, lent: set[int]) -> Call:
        step, lookback = self.setup.plan.steps[number], self._lookback(tile, number)
        operands: list[Operand] = []
        for place, operand in enumerate(step.operands):
            if not isinstance(operand, int):
                operands.append(operand)
            elif operand in lent:
                self._direct.append((operands, place, operand, lookback))
                operands.append(0.0)
            else:
                operands.append(self._view(tile, operand, lookback))
        out = self._view(tile, number, lookback)
        return Call(number, kernel, operands, step.complete_literals, lookback, self._memory.get(number), out)

    def _chain(
        self, tile: Tile, numbers: tuple[int, ...], kernels: Mapping[int, Kernel], lent: set[int]
    ) -> list[Action]:
        """Return the chain of some steps, and what comes after those whose values others read."""
        plan = self.setup.plan
        names = {number: plan.names[number] for number in numbers if self._publishes(tile, number)}
        inside = names if self._all and tile.is_flat else {}
        read = read_outside(plan, numbers)
        # What windows look back to lies in one place for all tiles: factors are not published from look-back rows.
        stored = [n for n in numbers if n in read or (n in plan.names and (self._reaches[n] or n not in inside))]
        key = (numbers, tile.is_output, tile.is_flat, tile.lendable)
        if key not in self._chains:
            written = self._write({n: kernels[n] for n in numbers}, tuple(stored), inside, lent)
            self._chains[key] = place_chain(written, self.width, self._find, self._number)
        actions: list[Action] = [action for number in stored for action in self._before(tile, number)]
        actions.append(RunChain(self._chains[key]))
        for number in stored:
            actions += self._afterwards(tile, number, published=number in inside)
        return actions

    def _write(
        self,
        kernels: Mapping[int, Kernel],
        stored: tuple[int, ...],
        names: Mapping[int, tuple[str, ...]],
        lent: set[int],
    ) -> Written:
        """Return the chain of some steps: the same whatever the rows of a tile."""
        plan = self.setup.plan
        steps = plan.steps
        outside = {used for number in kernels for used in steps[number].inputs}.difference(kernels)
        lying = {used for used in outside if used in lent and not steps[used].is_computed}
        arrays = (*stored, *sorted(outside - lying))
        strips = {number: self._reaches[number] for number in kernels if number not in stored}
        return plan.once(
            ("chain", tuple(kernels), arrays, tuple(names), self.setup.gap_tolerance),
            lambda: write_chain(
                [(steps[number], cast(Loop | Sums, kernel)) for number, kernel in kernels.items()],
                arrays=arrays,
                strips={number: reach for number, reach in strips.items() if reach},
                names=names,
                gap_tolerance=self.setup.gap_tolerance,
            ),
        )

    def _find(self, what: What, front: int) -> int:
        """Return the address of a place of a chain."""
        kind, name = what
        setup, row = self.setup, self.width * FLOAT
        if kind == "array":
            whole = self._all and name in setup.full
            begin = setup.full[name].ctypes.data if whole else self._arrays.address(self._places[name])
            return int(begin + setup.depth * row)
        if kind == "strip":
            reach, rows = self._reaches[name], strip_height(self.width)
            return self._strips.scratch(name, lambda: aligned(reach + rows, self.width)) + reach * row
        if kind == "scrap" and front:
            shape = front + strip_height(self.width), self.width
            return self._arrays.scratch((kind, name, shape), lambda: aligned(*shape)) + front * row
        if kind == "scrap":
            return self._arrays.scratch(what, lambda: aligned(1, PIECE))
        # repr tells 0.0 from -0.0
        return self._arrays.scratch((kind, repr(name)), lambda: np.full(PIECE, name))

    def _number(self, what: What) -> int:
        """Return which of the addresses is that of something that moves."""
        return self._moving.setdefault(what, len(self._moving))

    def _before(self, tile: Tile, number: int) -> list[Action]:
        """Return what puts back the rows in front of a step's own."""
        kept, have = self._history.get(number), min(tile.seen, self._reaches[number])
        if kept is None or not have:
            return []
        return [Copy(kept[len(kept) - have :], self._view(tile, number, have)[:have])]

    def _afterwards(self, tile: Tile, number: int, *, published: bool = False) -> list[Action]:
        """Return what happens to a step's values: rows kept for the next tile, copies to where others find them."""
        actions: list[Action] = []
        kept = self._history.get(number)
        have = min(tile.seen, self._reaches[number])
        if kept is not None:
            keep = min(tile.seen + tile.end - tile.begin, len(kept))
            actions.append(Copy(self._view(tile, number, have)[-keep:], kept[len(kept) - keep :]))
        if number in self.segment.exports and not self._all:
            depth = self.setup.depth
            target = self.setup.full[number][depth - have : depth + tile.end - tile.begin, self.columns]
            actions.append(Copy(self._view(tile, number, have), target))
        if self._publishes(tile, number) and not published:
            actions.append(Publish(self._view(tile, number, 0), self.setup.plan.names[number]))
        return actions

    def _publishes(self, tile: Tile, number: int) -> bool:
        return tile.is_output and number in self.setup.plan.names

    def _view(self, tile: Tile, number: int, lookback: int) -> Floats:
        """Return `lookback` rows and the tile's own of a step's array."""
        setup, end = self.setup, self.setup.depth + tile.end - tile.begin
        if self._all and number in setup.full:
            return setup.full[number][setup.depth - lookback : end]
        array = self._arrays.take(self._places[number], (setup.depth + setup.rows, self.width))
        return array[setup.depth - lookback : end]
