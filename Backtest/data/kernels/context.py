"""What every kernel is told besides its operands, and the rule that turns a window into a valid count."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Operand = Floats | float

FLOAT = 8
"""Bytes of a value."""

CEIL_SLACK = 1e-9
"""(1 - 0.1) * d is not exact in binary; without it ceil could ask for one value more than the user's fraction."""


class Memory:
    """What a recursive operator hands from one call to the next, when rows come in several calls.

    Attributes
    ----------
    planes
        float64 [quantities, B] as the kernel laid them out; None before the first call.
    """

    __slots__ = ("planes",)

    def __init__(self) -> None:
        self.planes: Floats | None = None


@dataclass(frozen=True)
class Context:
    """The rows an operator is applied to.

    Attributes
    ----------
    age
        int32 [T, B]: 1 on the first bar of a listing episode, 0 outside (`Panel.age`).
    first_bar
        Absolute bar index of row 0.
    population
        bool [T, B]: who takes part in cross-sections; needed by the ``cross`` family only.
    gap_tolerance
        Fraction of a window that may be missing.
    own_row
        First row that is not look-back. Only rows from here on are counted as undefined, so that the counts do not
        depend on how time was cut.
    symbols
        Names of the B columns; needed by operators that name a symbol only.
    memory
        Where a recursive operator leaves its state for the rows that follow these; None: there are none.
    """

    age: NDArray[np.int32]
    first_bar: int
    population: NDArray[np.bool_] | None = None
    gap_tolerance: float = 0.1
    own_row: int = 0
    symbols: tuple[str, ...] = ()
    memory: Memory | None = None

    def state(self, planes: int) -> Floats:
        """Return the state before row 0, float64 [planes, B], for the kernel to update; zeros where nothing was."""
        memory = self.memory or Memory()
        if memory.planes is None:
            memory.planes = np.zeros((planes, self.age.shape[1]))
        return memory.planes


class Kernel(Protocol):
    """Fill `out`; return how many values from `own_row` on are undefined (x/0, log of 0, overflow)."""

    def __call__(
        self, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats
    ) -> int: ...


@dataclass(frozen=True)
class Window:
    """A window as the kernels take it: bars, valid values needed, age needed, block phase of row 0."""

    bars: int
    min_valid: int
    min_age: int
    phase: int


def needed_values(bars: int, gap_tolerance: float) -> int:
    """Return the number of valid values a window of `bars` bars needs: ceil((1 - gap_tolerance) bars), at least 1."""
    return max(1, math.ceil((1.0 - gap_tolerance) * bars - CEIL_SLACK))


def needs_of(literals: Mapping[str, Any], gap_tolerance: float) -> tuple[int, int, int]:
    """Return bars, valid values and age that a window needs; ``min_periods`` replaces the rules for both."""
    bars, chosen = int(literals["d"]), literals.get("min_periods")
    return (bars, needed_values(bars, gap_tolerance), bars) if chosen is None else (bars, int(chosen), 1)


def window_of(literals: Mapping[str, Any], context: Context) -> Window:
    """Return the window of a call."""
    bars, min_valid, min_age = needs_of(literals, context.gap_tolerance)
    return Window(bars, min_valid, min_age, context.first_bar % bars)
