"""The calls that a program goes through for every tile: operators, chains of them, and copies between their arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..kernels.context import Floats, Kernel, Memory, Operand
from .chains import Chain
from .tile import Tile, publish

if TYPE_CHECKING:
    from .program import Program


class Action(Protocol):
    """One call of the list."""

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        """Do it for a tile; add to `undefined` how many values each step left undefined."""
        ...


@dataclass(slots=True)
class Load:
    """Copy a source into an array of the columns."""

    number: int
    lookback: int
    target: Floats

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        np.copyto(self.target, program.source(tile, self.number, self.lookback)[:, program.columns])


@dataclass(slots=True)
class Call:
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
class RunChain:
    """Apply operators that follow each other strip by strip."""

    chain: Chain

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        first_bar, rows = tile.panel.first_bar + tile.begin, tile.end - tile.begin
        self.chain.run(program.addresses, rows, tile.seen, first_bar, undefined)


@dataclass(slots=True)
class Copy:
    """Copy rows: those in front of a tile back, its last ones for the next tile, all for later segments."""

    values: Floats
    target: Floats

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        self.target[...] = self.values


@dataclass(slots=True)
class Publish:
    """Copy a factor to its output: NaN where there is no bar and for anything not finite."""

    values: Floats
    names: tuple[str, ...]

    def run(self, program: Program, tile: Tile, undefined: NDArray[np.int64]) -> None:
        publish(self.values, self.names, tile, program.columns.start, program.exists)
