"""The factor's side of an evaluation, made once for all horizons: ranks, quantiles, moments of every cross-section."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from .orderkeys import Bools, Floats, Ints, Keys, column_mask, in_order, pack

CHUNK_VALUES = 32_768
"""Values per pass: with its keys, ranks and copies a chunk stays in the second-level cache."""

MIN_NAMES = 3
"""Names below which a cross-section has no IC: two names correlate at plus or minus one whatever they hold."""

MAX_SYMBOLS = 16_000
"""Twice a centred rank has to fit an int16."""


@dataclass(frozen=True)
class FactorRows:
    """Cross-sections of a factor.

    Attributes
    ----------
    ranks
        int16 [T, S]: twice the rank minus (n + 1), ties averaged (so an integer, zero mean); 0 where missing.
    quantile
        int8 [T, S]: 0 the lowest; -1 where missing, in bars with fewer than `MIN_NAMES` names and in constant bars.
    count
        int32 [T]: names with a usable factor.
    rank_squares
        int64 [T]: sum of squares of `ranks`.
    rank_size
        [T]: the divisor that makes a product with ranks of n returns without ties a correlation.
    mean, squares
        [T]: mean and centred sum of squares of the factor.
    constant
        bool [T]: at least `MIN_NAMES` names, all with the same value.
    held
        int16 [Q, T]: names per quantile.
    members
        uint64 [T, Q, W]: bit s of word s // 64 says that symbol s is in the quantile.
    """

    ranks: NDArray[np.int16]
    quantile: NDArray[np.int8]
    count: NDArray[np.int32]
    rank_squares: Ints
    rank_size: Floats
    mean: Floats
    squares: Floats
    constant: Bools
    held: NDArray[np.int16]
    members: NDArray[np.uint64]

    @property
    def usable(self) -> Bools:
        """bool [T]: the bar has a cross-section to correlate."""
        return np.asarray((self.count >= MIN_NAMES) & ~self.constant)


def chunk_rows(columns: int) -> int:
    """Return how many rows of `columns` values make a chunk."""
    return max(8, CHUNK_VALUES // max(columns, 1) // 8 * 8)


def factor_rows(factor: Floats, quantiles: int, wanted: Bools | None = None) -> FactorRows:
    """Rank every cross-section of `factor` and put it into `quantiles` buckets.

    Parameters
    ----------
    factor
        float64 [T, S]; NaN and infinite values are missing.
    quantiles
        Buckets, 1 to 127. A name of rank r (1 to n, ties averaged) is in bucket floor(Q (r - 1/2) / n): equal values
        share a bucket, and for n divisible by Q without ties these are `pandas.qcut`'s buckets.
    wanted
        bool [T, S]: the population; all when None.
    """
    rows, columns = factor.shape
    if not 0 < columns <= MAX_SYMBOLS:
        raise ValueError(f"{columns} symbols; 1 to {MAX_SYMBOLS} can be ranked")
    made = FactorRows(
        ranks=np.zeros((rows, columns), np.int16),
        quantile=np.full((rows, columns), -1, np.int8),
        count=np.zeros(rows, np.int32),
        rank_squares=np.zeros(rows, np.int64),
        rank_size=np.full(rows, np.nan),
        mean=np.full(rows, np.nan),
        squares=np.full(rows, np.nan),
        constant=np.zeros(rows, np.bool_),
        held=np.zeros((quantiles, rows), np.int16),
        members=np.zeros((rows, quantiles, (columns + 63) // 64), np.uint64),
    )
    step, mask = min(chunk_rows(columns), max(rows, 1)), column_mask(columns)
    keys, single = np.empty((step, columns), np.int32), np.empty((step, columns), np.float32)
    bits = single.view(np.int32)
    every = np.zeros((step, columns), np.int8)
    for first in range(0, rows, step):
        here = slice(first, min(first + step, rows))
        n = here.stop - here.start
        if wanted is not None:
            np.subtract(wanted[here], 1, out=every[:n], dtype=np.int8)
        pack(factor[here], every[:n], mask, single[:n], bits[:n], keys[:n], made.count[here])
        keys[:n].sort(axis=1)
        _rank_rows(
            keys[:n],
            factor[here],
            mask,
            quantiles,
            made.count[here],
            made.ranks[here],
            made.quantile[here],
            made.rank_squares[here],
            made.rank_size[here],
            made.mean[here],
            made.squares[here],
            made.constant[here],
            made.held[:, here],
            made.members[here],
        )
    return made


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _rank_rows(
    keys: Keys,
    values: Floats,
    mask: np.int32,
    quantiles: int,
    count: NDArray[np.int32],
    ranks: NDArray[np.int16],
    quantile: NDArray[np.int8],
    rank_squares: Ints,
    rank_size: Floats,
    mean: Floats,
    squares: Floats,
    constant: Bools,
    held: NDArray[np.int16],
    members: NDArray[np.uint64],
) -> None:
    for t in range(keys.shape[0]):
        n, order, row = count[t], keys[t], values[t]
        if n < MIN_NAMES:
            continue
        ties = in_order(order, row, n, mask)
        if row[order[0] & mask] == row[order[n - 1] & mask]:
            constant[t] = True
            continue
        total = np.int64(0)
        i = 0
        while i < n:
            j = i
            if ties:
                while j + 1 < n and row[order[j + 1] & mask] == row[order[i] & mask]:
                    j += 1
            doubled = i + j + 1 - n
            bucket = quantiles * (i + j + 1) // (2 * n)
            for p in range(i, j + 1):
                s = np.uint32(order[p] & mask)
                ranks[t, s] = doubled
                quantile[t, s] = bucket
                members[t, bucket, s >> 6] |= np.uint64(1) << np.uint64(s & 63)
            held[bucket, t] += j - i + 1
            total += (j - i + 1) * doubled * doubled
            i = j + 1
        rank_squares[t] = total
        rank_size[t] = np.sqrt(float(total) * (float(n) * (float(n) * n - 1.0) / 3.0))
        mean[t], squares[t] = _moments(row, quantile[t], n)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _moments(values: Floats, quantile: NDArray[np.int8], n: int) -> tuple[float, float]:
    """Return mean and centred sum of squares of the values that have a quantile (two passes)."""
    total = 0.0
    for s in range(values.size):
        total += values[s] if quantile[s] >= 0 else 0.0
    middle = total / n
    squares = 0.0
    for s in range(values.size):
        off = values[s] - middle if quantile[s] >= 0 else 0.0
        squares += off * off
    return middle, squares
