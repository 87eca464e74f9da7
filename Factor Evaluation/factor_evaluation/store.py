"""What the five verbs ask of a store. A script differs from its ``_qlib_`` sibling by the store that it passes.

`parquet_store.ParquetStore` and `qlib_store.QlibStore` are the two. Both are made from a `RunLayout` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from Backtest.data.panel import Floats, Panel
from Backtest.data.timeframe import Timeframe

from .layout import RunLayout, StoreName


@dataclass(frozen=True)
class Inputs:
    """Normalised inputs of a run.

    Attributes
    ----------
    panel
        Every field of the klines, on the run's whole clock; no warm-up.
    labels
        Label name -> float64 [T, S] (`labels.label_name`).
    """

    panel: Panel
    labels: Mapping[str, Floats]


@dataclass(frozen=True)
class FactorColumns:
    """One factor's values.

    Attributes
    ----------
    name, timeframe
        Which factor, on which bars.
    symbols
        Columns, sorted.
    first_bar
        Absolute bar index of row 0.
    values
        float64 [T, S], missing is NaN.
    facts
        What else is known of it: expression, look-back, missing ratio ... (plain JSON values).
    """

    name: str
    timeframe: Timeframe
    symbols: tuple[str, ...]
    first_bar: int
    values: Floats
    facts: Mapping[str, Any] = field(default_factory=dict)

    def aligned(self, panel: Panel) -> Floats:
        """Return the values on a panel's bars and symbols, NaN where the factor has none."""
        out = np.full(panel.shape, np.nan)
        begin = max(self.first_bar, panel.first_bar)
        end = min(self.first_bar + len(self.values), panel.first_bar + len(out))
        for column, symbol in enumerate(panel.symbols):
            if symbol in self.symbols and begin < end:
                rows = self.values[begin - self.first_bar : end - self.first_bar, self.symbols.index(symbol)]
                out[begin - panel.first_bar : end - panel.first_bar, column] = rows
        return out


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be.

    Attributes
    ----------
    where
        File, symbol, time and column, as far as they apply.
    found, expected
        What stands there, and what should.
    """

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: {self.found}; expected {self.expected}"


class Store(Protocol):
    """Where a run's inputs and factors are kept."""

    @property
    def name(self) -> StoreName:
        """Which store it is; decides where reports go."""

    @property
    def layout(self) -> RunLayout:
        """The run's paths."""

    @property
    def dtype(self) -> type[np.float64] | type[np.float32]:
        """How values are kept: what is read back equals what was written rounded to it."""

    def exists(self) -> bool:
        """Return whether the inputs have been written."""

    def write_inputs(self, inputs: Inputs) -> None:
        """Replace the inputs by these."""

    def read_inputs(self, symbols: Sequence[str] | None = None, *, verify: bool = True) -> Inputs:
        """Return the inputs of some or all symbols; RunError says what is missing or damaged, and the step.

        Without `verify` what can be read at all is read: to name the cells that differ.
        """

    def factor_names(self) -> tuple[str, ...]:
        """Return the factors that are complete."""

    def write_factor(self, factor: FactorColumns, panel: Panel) -> None:
        """Replace a factor's values; `panel` has the same bars and symbols and tells which bars there are."""

    def read_factor(self, name: str) -> FactorColumns:
        """Return a factor; RunError names the step where it is missing."""

    def notes(self, factor: str, columns: Mapping[str, str], *, cross_section: bool) -> tuple[str, ...]:
        """Return what a reader of the factor's evaluation from this store has to know; horizon key -> label name."""

    def verify(self) -> list[Difference]:
        """Check all files: presence, hashes or bins, columns, types, order, spacing, time zone."""
