"""The fast path: everything that is measured bar by bar, for all horizons, from arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .orderkeys import Floats, column_mask
from .ranked import FactorRows, chunk_rows
from .return_rows import finish, moments, prepare, turn_factor


@dataclass(frozen=True)
class BarSeries:
    """One horizon bar by bar: `ic`, `rank_ic` [T], `quantile_return` [T, Q] and `pairs` int32 [T]."""

    ic: Floats
    rank_ic: Floats
    quantile_return: Floats
    pairs: NDArray[np.int32]


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
    bars, columns = factor.shape
    quantiles = rows.members.shape[1]
    made = [
        BarSeries(np.empty(bars), np.empty(bars), np.empty((quantiles, bars)).T, np.empty(bars, np.int32))
        for _ in labels
    ]
    step = min(chunk_rows(columns), max(bars, 1))
    scratch = _Scratch.of(step, columns, quantiles)
    for first in range(0, bars, step):
        here = slice(first, min(first + step, bars))
        n = here.stop - here.start
        inner = scratch if n == step else _Scratch.of(n, columns, quantiles)
        turn_factor(factor[here], rows.quantile[here], rows.mean[here], inner.off, inner.label)
        for label, series in zip(labels, made, strict=True):
            _one(label[here], factor[here], rows, here, inner, series)
    return made


@dataclass(frozen=True)
class _Scratch:
    single: NDArray[np.float32]
    bits: NDArray[np.int32]
    turned: Floats
    off: Floats
    label: NDArray[np.int8]
    keys: NDArray[np.int32]
    sums: Floats
    cross: Floats
    own: Floats
    middle: Floats

    @classmethod
    def of(cls, rows: int, columns: int, quantiles: int) -> _Scratch:
        single = np.empty((rows, columns), np.float32)
        return cls(
            single=single,
            bits=single.view(np.int32),
            turned=np.empty((columns, rows)),
            off=np.empty((columns, rows)),
            label=np.empty((columns, rows), np.int8),
            keys=np.empty((rows, columns), np.int32),
            sums=np.empty((quantiles, rows)),
            cross=np.empty(rows),
            own=np.empty(rows),
            middle=np.empty(rows),
        )


def _one(label: Floats, factor: Floats, rows: FactorRows, here: slice, work: _Scratch, series: BarSeries) -> None:
    """Measure one horizon on one chunk: the four steps of `return_rows`."""
    mask, pairs = column_mask(label.shape[1]), series.pairs[here]
    quantile = rows.quantile[here]
    prepare(label, quantile, mask, work.single, work.bits, work.keys, pairs, work.turned)
    work.keys.sort(axis=1)
    moments(work.turned, work.label, work.off, pairs, work.sums, work.cross, work.own, work.middle)
    finish(
        work.keys,
        label,
        mask,
        factor,
        quantile,
        rows.ranks[here],
        rows.count[here],
        rows.held[:, here],
        rows.rank_squares[here],
        rows.rank_size[here],
        rows.squares[here],
        pairs,
        work.sums,
        work.cross,
        work.own,
        series.ic[here],
        series.rank_ic[here],
        series.quantile_return.T[:, here],
    )
