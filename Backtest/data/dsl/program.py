"""One segment of a plan made ready for some columns: a list of calls to go through, tile of rows after tile of rows.

Looking up kernels, completing literals and cutting arrays costs as much as computing a small tile, so all of it is done
once (`Program._prepare`), again only where the shape of a tile changes. What a tile leaves for the next one:

* an array in `_history` of the last rows of each step that later rows look back to. A kernel is given the look-back of
  its operands in front of the tile's own rows and leaves rubbish there in its result; `_Keep` puts the true rows back;
* the state of each recursive operator (`Memory`).

Windows are cut at absolute bar indices, so that no value depends on the tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..kernels.context import Context, Floats, Kernel, Memory, Operand
from ..kernels.elementwise import Loop
from ..kernels.rolling import Sums
from ..kernels.rows import aligned
from ..panel import Panel
from .blocks import FLOAT, Segment, places, reaches, read_outside, runs
from .chains import Chain, Moving, strip_height, write_chain
from .operators import Operator
from .plan import Plan
from .signature import kernel_of
from .steps import Step

Bools = NDArray[np.bool_]


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
    bases
        Addresses of the panel's arrays and the outputs, found once for all tiles.
    """

    panel: Panel
    begin: int
    end: int
    seen: int
    library: Mapping[int, Floats]
    out: Mapping[str, Floats]
    lendable: frozenset[int]
    is_flat: bool
    bases: dict[Moving, int]

    @property
    def is_output(self) -> bool:
        """False for rows that only others look back to."""
        return self.begin >= self.panel.warmup


class Arrays:
    """Flat arrays by number, made at first use and then reused: fresh memory costs a page fault every 4 kB."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._flat: dict[int, Floats] = {}

    def take(self, number: int, shape: tuple[int, int]) -> Floats:
        """Return array `number` as a C-ordered array of `shape`, which holds at most `size` values."""
        if number not in self._flat:
            self._flat[number] = aligned(1, self.size)[0]
        return self._flat[number][: shape[0] * shape[1]].reshape(shape)


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


class _Action(Protocol):
    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None: ...


@dataclass(slots=True)
class _Load:
    """Copy a source into an array of the columns."""

    number: int
    lookback: int
    target: Floats

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        np.copyto(self.target, program.source(tile, self.number, self.lookback)[:, program.columns])


@dataclass(slots=True)
class _Call:
    """Apply an operator."""

    number: int
    kernel: Kernel
    operands: list[Operand]
    literals: dict[str, Any]
    lookback: int
    memory: Memory | None
    out: Floats

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        context = program.contexts[self.lookback]
        if self.memory is not None:
            context = replace(context, memory=self.memory)
        if found := self.kernel(self.operands, self.literals, context, self.out):
            undefined[self.number] += found


@dataclass(slots=True)
class _Chain:
    """Apply operators that follow each other strip by strip."""

    chain: Chain

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        first_bar, rows = tile.panel.first_bar + tile.begin, tile.end - tile.begin
        self.chain.run(lambda what: program.address(tile, what), rows, tile.seen, first_bar, undefined)


@dataclass(slots=True)
class _Copy:
    """Copy rows: those in front of a tile back, its last ones for the next tile, all for later segments."""

    values: Floats
    target: Floats

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        self.target[...] = self.values


@dataclass(slots=True)
class _Publish:
    """Copy a factor to its output: NaN where there is no bar and for anything not finite."""

    values: Floats
    names: tuple[str, ...]

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        publish(self.values, self.names, tile, program.columns.start, program.exists)


def publish(values: Floats, names: Iterable[str], tile: Tile, column: int, exists: Bools) -> None:
    """Copy the tile's own rows of some columns to the outputs of some factors."""
    from ..kernels.finish import publish as copy  # compiled code: only where something is computed

    for name in names:
        copy(values, exists, tile.out[name], tile.begin - tile.panel.warmup, column)


class Program:
    """A segment for the symbols of `columns`.

    Attributes
    ----------
    contexts
        Look-back -> what kernels are told about the tile's rows with that look-back in front.
    exists
        The columns' part of ``panel.exists`` for the tile's own rows.
    """

    contexts: dict[int, Context]
    exists: Bools
    _exists_address: int
    _age_address: int

    def __init__(self, setup: Setup, segment: Segment, columns: slice, arrays: Arrays) -> None:
        self.setup, self.segment, self.columns = setup, segment, columns
        self.across = segment.number % 2 == 1
        self.width = columns.stop - columns.start
        self._places, _ = places(setup.plan, segment)
        self._reaches = reaches(setup.plan)
        self._arrays = arrays
        self._all = self.width == setup.symbols
        steps = segment.steps
        self._history = {n: np.empty((self._reaches[n], self.width)) for n in steps if self._reaches[n]}
        self._strips: dict[int, Floats] = {}
        self._chains: dict[object, Chain] = {}
        self._memory = {n: Memory() for n in steps if setup.plan.steps[n].own_lookback is None}
        self._prepared: tuple[object, ...] = ()
        self._actions: list[_Action] = []
        self._direct: list[tuple[list[Operand], int, int, int]] = []
        self._lookbacks: set[int] = set()

    def run(self, tile: Tile, undefined: NDArray[np.int64]) -> None:
        """Compute the tile's rows and add to `undefined` how many values each step left undefined."""
        rows, seen = tile.end - tile.begin, min(tile.seen, self.setup.depth)
        shape = (rows, seen, tile.is_output, tile.lendable, tile.is_flat)
        if shape != self._prepared:
            self._prepare(tile)
            self._prepared = shape
        self._look(tile)
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

    def address(self, tile: Tile, what: Moving) -> int:
        """Return where the tile's own rows of a source, an output or the ages begin."""
        kind, name = what
        if kind == "exists":
            return self._exists_address
        if kind == "age":
            return self._age_address
        if what not in tile.bases:
            array = tile.out[str(name)] if kind == "out" else self._whole(tile, int(name))
            tile.bases[what] = int(array.ctypes.data)
        row: int = tile.begin - tile.panel.warmup if kind == "out" else tile.begin
        return int(tile.bases[what] + row * self.width * FLOAT)

    def _whole(self, tile: Tile, number: int) -> Floats:
        """Return a field or a library value."""
        return given(self.setup.plan, tile.panel, tile.library, number)

    def _lent(self, tile: Tile) -> set[int]:
        """Return the sources that kernels are given as they are."""
        steps = self.setup.plan.steps
        return {n for n in self.segment.sources if self._all and (steps[n].is_computed or n in tile.lendable)}

    def _look(self, tile: Tile) -> None:
        """Cut out what is not a step: ages, who takes part, which bars are there."""
        across = self.across
        own = slice(tile.begin, tile.end)
        # writable also where the panel is read-only: to numba those are two types, and it would compile anew
        self.exists = _plain(tile.panel.exists[own, self.columns])
        self._exists_address = self.exists.ctypes.data
        deepest = max(self._lookbacks, default=0)
        looked = slice(tile.begin - deepest, tile.end), self.columns
        ages = _plain(tile.panel.age[looked])
        self._age_address = ages.ctypes.data + ages.strides[0] * deepest
        population = tile.panel.member[looked] & tile.panel.tradable[looked] if across else None
        self.contexts = {
            lookback: Context(
                age=ages[deepest - lookback :],
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
        kernels = {number: kernel_of(_operator(steps[number])) for number in self.segment.steps}
        loaded = set(lent)
        for chained, numbers in runs(self.setup.plan, self.segment):
            for number in numbers:
                for used in steps[number].inputs:
                    if used in self.segment.sources and used not in loaded:
                        loaded.add(used)
                        deepest = min(tile.seen, self._reaches[used])
                        self._actions.append(_Load(used, deepest, self._view(tile, used, deepest)))
                if not chained:
                    self._actions.append(self._call(tile, number, kernels[number], lent))
                    self._actions += [*self._before(tile, number), *self._afterwards(tile, number)]
            if chained:
                self._actions += self._chain(tile, numbers, kernels, lent)

    def _lookback(self, tile: Tile, number: int) -> int:
        """Return the rows in front of the tile that a step is given; a recursive one remembers what it needs."""
        return min(tile.seen, self.setup.plan.steps[number].own_lookback or 0)

    def _call(self, tile: Tile, number: int, kernel: Kernel, lent: set[int]) -> _Call:
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
        return _Call(number, kernel, operands, step.complete_literals, lookback, self._memory.get(number), out)

    def _chain(
        self, tile: Tile, numbers: tuple[int, ...], kernels: Mapping[int, Kernel], lent: set[int]
    ) -> list[_Action]:
        """Return the chain of some steps, and what comes after those whose values others read."""
        plan = self.setup.plan
        names = {number: plan.names[number] for number in numbers if self._publishes(tile, number)}
        inside = names if self._all and tile.is_flat else {}
        read = read_outside(plan, numbers)
        # What windows look back to lies in one place for all tiles: factors are not published from look-back rows.
        stored = [n for n in numbers if n in read or (n in plan.names and (self._reaches[n] or n not in inside))]
        key = (numbers, tile.is_output, tile.is_flat, tile.lendable)
        if key not in self._chains:
            self._chains[key] = self._write(tile, {n: kernels[n] for n in numbers}, stored, inside, lent)
        actions: list[_Action] = [action for number in stored for action in self._before(tile, number)]
        actions.append(_Chain(self._chains[key]))
        for number in stored:
            actions += self._afterwards(tile, number, published=number in inside)
        return actions

    def _write(
        self,
        tile: Tile,
        kernels: Mapping[int, Kernel],
        stored: Sequence[int],
        names: Mapping[int, tuple[str, ...]],
        lent: set[int],
    ) -> Chain:
        """Return the chain of some steps: the same whatever the rows of a tile."""
        steps = self.setup.plan.steps
        outside = {used for number in kernels for used in steps[number].inputs}.difference(kernels)
        lying = {used for used in outside if used in lent and not steps[used].is_computed}
        inside = [number for number in kernels if number not in stored]
        return write_chain(
            [(steps[number], cast(Loop | Sums, kernel)) for number, kernel in kernels.items()],
            arrays={number: self._view(tile, number, 0) for number in (*stored, *sorted(outside - lying))},
            strips={number: self._strip(number) for number in inside if self._reaches[number]},
            names=names,
            columns=self.width,
            gap_tolerance=self.setup.gap_tolerance,
        )

    def _strip(self, number: int) -> Floats:
        """Return what windows in the same chain read of a step: it goes on from tile to tile."""
        if number not in self._strips:
            self._strips[number] = aligned(self._reaches[number] + strip_height(self.width), self.width)
        return self._strips[number]

    def _before(self, tile: Tile, number: int) -> list[_Action]:
        """Return what puts back the rows in front of a step's own."""
        kept, have = self._history.get(number), min(tile.seen, self._reaches[number])
        if kept is None or not have:
            return []
        return [_Copy(kept[len(kept) - have :], self._view(tile, number, have)[:have])]

    def _afterwards(self, tile: Tile, number: int, *, published: bool = False) -> list[_Action]:
        """Return what happens to a step's values: rows kept for the next tile, copies to where others find them."""
        actions: list[_Action] = []
        kept = self._history.get(number)
        have = min(tile.seen, self._reaches[number])
        if kept is not None:
            keep = min(tile.seen + tile.end - tile.begin, len(kept))
            actions.append(_Copy(self._view(tile, number, have)[-keep:], kept[len(kept) - keep :]))
        if number in self.segment.exports and not self._all:
            depth = self.setup.depth
            target = self.setup.full[number][depth - have : depth + tile.end - tile.begin, self.columns]
            actions.append(_Copy(self._view(tile, number, have), target))
        if self._publishes(tile, number) and not published:
            actions.append(_Publish(self._view(tile, number, 0), self.setup.plan.names[number]))
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


def given(plan: Plan, panel: Panel, library: Mapping[int, Floats], number: int) -> Floats:
    """Return a field or a library value."""
    what = plan.steps[number].source
    return panel.fields[what] if isinstance(what, str) else library[number]


def lendable(plan: Plan, panel: Panel, library: Mapping[int, Floats]) -> frozenset[int]:
    """Return the fields and library values that lie as kernels want them: to numba another layout is another type."""
    return frozenset(
        number
        for number in plan.needed
        if not plan.steps[number].is_computed and _is_plain(given(plan, panel, library, number))
    )


def _operator(step: Step) -> Operator:
    assert isinstance(step.source, Operator)
    return step.source


def _is_plain(values: NDArray[Any]) -> bool:
    flags = values.flags
    return flags.c_contiguous and flags.writeable and values.dtype == np.float64


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    flags = values.flags
    return values if flags.c_contiguous and flags.writeable else np.require(values, requirements=["C", "W"])
