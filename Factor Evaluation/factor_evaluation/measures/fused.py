"""The fast path: everything that is measured bar by bar, for all horizons, from arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .blocks import BLOCK, Floats, aligned
from .factor_rows import turn_factor
from .orderkeys import column_mask
from .ranked import FactorRows, chunk_rows
from .return_rows import measure_returns, sort_apart

WIDE = 1_280
"""Names above which NumPy sorts faster than the network; a chunk is then one block."""


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
    shape = (-(-step // BLOCK), columns, BLOCK)
    off, quantile = aligned(shape, np.float64), aligned(shape, np.int8)
    bands = np.empty((shape[0], quantiles, 2), np.int64)
    keys = aligned(shape[1:], np.int32)
    room = (
        column_mask(columns),
        aligned(shape[1:], np.float64),
        keys.view(np.float32),
        keys,
        np.empty((BLOCK, columns), np.int32),
        aligned((quantiles + 3, BLOCK), np.float64),
    )
    there, apart = np.empty(BLOCK, np.int32), columns > WIDE
    for first in range(0, bars, step):
        here = slice(first, min(first + step, bars))
        blocks = slice(first // BLOCK, -(-here.stop // BLOCK))
        few = slice(blocks.stop - blocks.start)
        mine = factor[here], rows.ranks[here], rows.count[here], rows.rank_squares[here], rows.squares[here]
        held, turned = rows.held[:, here], (rows.column[blocks], off[few], quantile[few], bands[few])
        turn_factor(factor[here], rows.mean[here], held, *turned)
        for label, series in zip(labels, made, strict=True):
            written = series.pairs[here], series.ic[here], series.rank_ic[here], series.quantile_return.T[:, here]
            if apart:
                sort_apart(label[here], turned[0], turned[2], *room[:5], there)
            measure_returns(label[here], *mine, held, *turned, *room, there, apart, *written)
