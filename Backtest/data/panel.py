"""The panel: the only in-memory table. Fields are float64 [T, S] on the regular clock of one timeframe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .timeframe import Timeframe

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Panel:
    """Klines of several symbols on one clock. Missing is NaN; every array is C-ordered and read-only by custom.

    Attributes
    ----------
    timeframe
        Bar length.
    first_bar
        Absolute bar index (`Timeframe.index`) of row 0; the clock has no holes.
    symbols
        Column names, sorted.
    fields
        Field name -> float64 [T, S].
    exists
        bool [T, S]: the symbol has a bar (after bad rows were dropped) at t.
    tradable
        bool [T, S]: the bar exists, is closed, its prices are finite and positive, its volume is above zero.
    age
        int32 [T, S]: 1 on the first bar of the listing episode that t belongs to, 2 on the next row of the clock,
        and so on, counted over the symbol's whole history whatever the window; 0 outside every episode. A row after
        a bar belongs to its episode until the missing time exceeds `episode_gap` (known at that row, never earlier).
    member
        bool [T, S]: the symbol belongs to the population of ``cs_*`` at t (before `tradable` is asked). Columns that
        were loaded only because a factor names them (a benchmark) are False throughout.
    warmup
        Rows before the asked window: look-back only, never output.
    """

    timeframe: Timeframe
    first_bar: int
    symbols: tuple[str, ...]
    fields: Mapping[str, Floats]
    exists: Bools
    tradable: Bools
    age: NDArray[np.int32]
    member: Bools
    warmup: int

    @property
    def shape(self) -> tuple[int, int]:
        """(T, S)."""
        rows, columns = self.age.shape
        return rows, columns

    @property
    def timestamp(self) -> NDArray[np.datetime64]:
        """Open times, datetime64[ns] [T], UTC."""
        first = self.timeframe.open_ns(self.first_bar)
        stamps = first + self.timeframe.ns * np.arange(len(self.age), dtype=np.int64)
        return stamps.view("datetime64[ns]")

    def rows(self, begin: int, end: int, *, warmup: int = 0) -> Panel:
        """Return rows begin..end-1 as a panel of views."""
        cut = slice(begin, end)
        return replace(
            self,
            first_bar=self.first_bar + begin,
            fields={name: values[cut] for name, values in self.fields.items()},
            exists=self.exists[cut],
            tradable=self.tradable[cut],
            age=self.age[cut],
            member=self.member[cut],
            warmup=warmup,
        )

    def columns(self, symbols: tuple[str, ...]) -> Panel:
        """Return the panel with these symbols only (contiguous copies)."""
        where = [self.symbols.index(symbol) for symbol in symbols]
        return replace(
            self,
            symbols=symbols,
            fields={name: _take(values, where) for name, values in self.fields.items()},
            exists=_take(self.exists, where),
            tradable=_take(self.tradable, where),
            age=_take(self.age, where),
            member=_take(self.member, where),
        )


def _take(values: NDArray[Any], where: list[int]) -> NDArray[Any]:
    return np.ascontiguousarray(values[:, where])
