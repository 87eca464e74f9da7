"""The fast path: everything that is measured bar by bar, for all horizons, from arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .blocks import BLOCK, Columns, Floats, aligned
from .factor_rows import turn_factor
from .orderkeys import column_mask
from .ranked import FactorRows, chunk_rows
from .return_rows import measure_returns


@dataclass(frozen=True)
class BarSeries:
    """One horizon bar by bar: `ic`, `rank_ic` [T], `quantile_return` [T, Q] and `pairs` int32 [T]."""

    ic: Floats
    rank_ic: Floats
    quantile_return: Floats
    pairs: NDArray[np.int32]

    @classmethod
    def room(cls, bars: int, quantiles: int) -> BarSeries:
        """Return unwritten series of `bars` bars."""
        return cls(np.empty(bars), np.empty(bars), np.empty((quantiles, bars)).T, np.empty(bars, np.int32))

    def part(self, here: slice) -> BarSeries:
        """Return the bars `here`; writing there writes here."""
        return BarSeries(self.ic[here], self.rank_ic[here], self.quantile_return[here], self.pairs[here])


def cross_sections(factor: Floats, rows: FactorRows, labels: Sequence[Floats]) -> list[BarSeries]:
    """Measure `factor` against every label, bar by bar.

    Parameters
    ----------
    factor
        float64 [T, S], the array `rows` was made from.
    rows
        `factor_rows(factor, ...)`.
    labels
        Forward returns, one float64 [T, S] per horizon; NaN and infinite values are missing.

    Returns
    -------
    list of BarSeries
        IC (Pearson), rank IC (Spearman, ties averaged) and equal-weighted mean return of every quantile. A pair counts
        for a horizon when it has a factor in a usable cross-section and this horizon's return. IC and rank IC are
        missing below `MIN_NAMES` pairs and where either side is constant. No value depends on the chunking.
    """
    made = [BarSeries.room(len(factor), len(rows.held)) for _ in labels]
    measure(factor, rows, labels, made)
    return made


def measure(factor: Floats, rows: FactorRows, labels: Sequence[Floats], made: Sequence[BarSeries]) -> None:
    """Do `cross_sections`' work into the series `made`, one per label."""
    bars, columns = factor.shape
    quantiles = len(rows.held)
    step = min(chunk_rows(columns), max(bars, 1))
    scratch = _Scratch.of(step, columns, quantiles)
    for first in range(0, bars, step):
        here = slice(first, min(first + step, bars))
        inner = scratch.part(here.stop - here.start)
        column = rows.column[first // BLOCK : -(-here.stop // BLOCK)]
        turn_factor(
            factor[here],
            rows.mean[here],
            rows.held[:, here],
            column,
            inner.off,
            inner.label,
            inner.bands,
        )
        for label, series in zip(labels, made, strict=True):
            _one(label[here], factor[here], rows, here, column, inner, series)


@dataclass(frozen=True)
class _Scratch:
    """A chunk of the factor in its own order, as `turn_factor` writes it, and room for a block of returns."""

    off: Floats
    label: NDArray[np.int8]
    bands: NDArray[np.int64]
    turned: Floats
    keys: NDArray[np.int32]
    lanes: Floats

    @classmethod
    def of(cls, rows: int, columns: int, quantiles: int) -> _Scratch:
        blocks = -(-rows // BLOCK)
        return cls(
            off=aligned((blocks, columns, BLOCK), np.float64),
            label=aligned((blocks, columns, BLOCK), np.int8),
            bands=np.empty((blocks, quantiles, 2), np.int64),
            turned=aligned((columns, BLOCK), np.float64),
            keys=aligned((columns, BLOCK), np.int32),
            lanes=aligned((quantiles + 3, BLOCK), np.float64),
        )

    def part(self, rows: int) -> _Scratch:
        """Return the room that `rows` bars need."""
        few = slice(-(-rows // BLOCK))
        return replace(self, off=self.off[few], label=self.label[few], bands=self.bands[few])


def _one(
    values: Floats, factor: Floats, rows: FactorRows, here: slice, column: Columns, work: _Scratch, series: BarSeries
) -> None:
    """Measure one horizon on one chunk."""
    measure_returns(
        values,
        factor,
        rows.ranks[here],
        rows.count[here],
        rows.rank_squares[here],
        rows.squares[here],
        rows.held[:, here],
        column,
        work.off,
        work.label,
        work.bands,
        column_mask(values.shape[1]),
        work.turned,
        work.keys.view(np.float32),
        work.keys,
        work.lanes,
        series.pairs[here],
        series.ic[here],
        series.rank_ic[here],
        series.quantile_return.T[:, here],
    )
