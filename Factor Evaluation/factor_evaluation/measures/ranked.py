"""The factor's side of an evaluation, made once for all horizons: ranks, quantiles, moments of every cross-section."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from Backtest.machine_code import compiled

from .orderkeys import Bools, Columns, Floats, Int16s, Ints, Keys, column_mask, pack, scan, settle

Words = NDArray[np.uint64]

CHUNK_VALUES = 40_960
"""Values per pass: with its keys, ranks and copies a chunk stays in the second-level cache."""

BLOCK = 64
"""Bars side by side in the inner loops."""

MIN_NAMES = 3
"""Names below which a cross-section has no IC: two names correlate at plus or minus one whatever they hold."""

MAX_SYMBOLS = 16_000
"""Twice a centred rank has to fit an int16."""


@dataclass(frozen=True)
class Memberships:
    """Who is in which quantile: `members` uint64 [T, Q, W] as in `FactorRows`, `usable` bool [T]."""

    members: Words
    usable: Bools


@dataclass(frozen=True)
class FactorRows:
    """Cross-sections of a factor.

    Attributes
    ----------
    ranks
        int16 [T, S]: twice the rank 1 to n, ties averaged (so an integer); 0 where missing, in bars with fewer than
        `MIN_NAMES` names and in constant bars.
    count
        int32 [T]: names with a usable factor.
    rank_squares
        int64 [T]: sum of squares of `centred_ranks`; 0 where the bar has no ranks.
    mean, squares
        [T]: mean and centred sum of squares of the factor.
    constant
        bool [T]: at least `MIN_NAMES` names, all with the same value.
    held
        int16 [Q, T]: names per quantile.
    members
        uint64 [T, Q, W]: bit s of word s // 64 says that symbol s is in the quantile.
    """

    ranks: Int16s
    count: NDArray[np.int32]
    rank_squares: Ints
    mean: Floats
    squares: Floats
    constant: Bools
    held: Int16s
    members: Words

    @property
    def usable(self) -> Bools:
        """bool [T]: the bar has a cross-section to correlate."""
        return np.asarray((self.count >= MIN_NAMES) & ~self.constant)

    @property
    def both_ends(self) -> int:
        """Bars whose lowest and highest quantile both hold a name."""
        return int(((self.held[0] > 0) & (self.held[-1] > 0)).sum())

    @property
    def centred_ranks(self) -> NDArray[np.int32]:
        """int32 [T, S]: twice the rank less (n + 1), of zero mean; 0 where missing."""
        ranks = self.ranks.astype(np.int32)
        return np.where(ranks > 0, ranks - (self.count[:, None] + 1), 0).astype(np.int32)

    @property
    def quantile(self) -> NDArray[np.int8]:
        """int8 [T, S]: 0 the lowest; -1 where there is no rank."""
        ranks, names = self.ranks.astype(np.int64), np.maximum(self.count, 1)[:, None]
        return np.where(ranks > 0, len(self.held) * (ranks - 1) // (2 * names), -1).astype(np.int8)


def chunk_rows(columns: int) -> int:
    """Return how many rows of `columns` values make a chunk."""
    return max(BLOCK, CHUNK_VALUES // max(columns, 1) // BLOCK * BLOCK)


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
        count=np.zeros(rows, np.int32),
        rank_squares=np.zeros(rows, np.int64),
        mean=np.full(rows, np.nan),
        squares=np.full(rows, np.nan),
        constant=np.zeros(rows, np.bool_),
        held=np.zeros((quantiles, rows), np.int16),
        members=np.zeros((rows, quantiles, (columns + 63) // 64), np.uint64),
    )
    step, mask = min(chunk_rows(columns), max(rows, 1)), column_mask(columns)
    keys, names = np.empty((step, columns), np.int32), np.arange(columns, dtype=np.uint16)
    place = np.broadcast_to(names.astype(np.int16), (step, columns)).copy()
    for first in range(0, rows, step):
        here = slice(first, min(first + step, rows))
        n = here.stop - here.start
        if wanted is not None:
            place[:n] = np.where(wanted[here], names.astype(np.int16), np.int16(-1))
        pack(factor[here], place[:n], mask, keys[:n].view(np.float32), keys[:n], made.count[here])
        keys[:n].sort(axis=1)
        _rank_rows(
            keys[:n],
            factor[here],
            names,
            mask,
            made.count[here],
            made.ranks[here],
            made.rank_squares[here],
            made.mean[here],
            made.squares[here],
            made.constant[here],
            made.held[:, here],
            made.members[here],
        )
    return made


@compiled
def _rank_rows(
    keys: Keys,
    values: Floats,
    names: Columns,
    mask: np.int32,
    count: NDArray[np.int32],
    ranks: Int16s,
    rank_squares: Ints,
    mean: Floats,
    squares: Floats,
    constant: Bools,
    held: Int16s,
    members: Words,
) -> None:
    quantiles = held.shape[0]
    for t in range(keys.shape[0]):
        n = count[t]
        if n < MIN_NAMES:
            continue
        ties = scan(keys, t, n, mask)[0] and settle(keys[t], values[t], names, n, mask)
        if values[t, keys[t, 0] & mask] == values[t, keys[t, n - 1] & mask]:
            constant[t] = True
            continue
        if ties:
            rank_squares[t] = _rank_ties(keys[t], values[t], n, mask, ranks[t], held[:, t], members[t])
        else:
            rank_squares[t] = squares_of_ranks(n)
            for q in range(quantiles):
                first, end = first_place(q, quantiles, n), first_place(q + 1, quantiles, n)
                held[q, t] = end - first
                _enter(keys, t, q, first, end, mask, ranks, members)
        mean[t], squares[t] = _moments(values, ranks, t, n)


@compiled
def squares_of_ranks(n: int) -> int:
    """Return the sum of squares of n ranks without ties, doubled and centred: n (n^2 - 1) / 3."""
    return int(np.int64(n) * (np.int64(n) * n - 1) // 3)


@compiled
def first_place(bucket: int, buckets: int, n: int) -> int:
    """Return the lowest place p (from 0) of n names without ties with floor(Q (2 p + 1) / (2 n)) = `bucket`."""
    return (2 * n * bucket + buckets - 1) // buckets // 2


@compiled
def _enter(keys: Keys, t: int, q: int, first: int, end: int, mask: np.int32, ranks: Int16s, members: Words) -> None:
    """Give the names at the places `first` to `end` of bar `t` their ranks and enter them in quantile `q`; no ties."""
    word = np.uint64(0)
    single = members.shape[2] == 1
    for p in range(first, end):
        s = np.uint32(keys[t, p] & mask)
        ranks[t, s] = 2 * p + 2
        if single:
            word |= np.uint64(1) << np.uint64(s)
        else:
            members[t, q, s >> 6] |= np.uint64(1) << np.uint64(s & 63)
    if single:
        members[t, q, 0] = word


@compiled
def _rank_ties(
    order: Keys, row: Floats, n: int, mask: np.int32, ranks: Int16s, held: Int16s, members: NDArray[np.uint64]
) -> int:
    """Do the same with ties; return the sum of squares."""
    quantiles = held.size
    total = np.int64(0)
    i = 0
    while i < n:
        j = i
        while j + 1 < n and row[order[j + 1] & mask] == row[order[i] & mask]:
            j += 1
        bucket = quantiles * (i + j + 1) // (2 * n)
        for p in range(i, j + 1):
            s = np.uint32(order[p] & mask)
            ranks[s] = i + j + 2
            members[bucket, s >> 6] |= np.uint64(1) << np.uint64(s & 63)
        held[bucket] += j - i + 1
        doubled = np.int64(i + j + 1 - n)
        total += (j - i + 1) * doubled * doubled
        i = j + 1
    return int(total)


@compiled
def _moments(values: Floats, ranks: Int16s, t: int, n: int) -> tuple[float, float]:
    """Return mean and centred sum of squares of the ranked values of bar `t` (two passes, four sums side by side)."""
    sums = (0.0, 0.0, 0.0, 0.0)
    size = values.shape[1]
    for s in range(0, size - 3, 4):
        sums = (
            sums[0] + (values[t, s] if ranks[t, s] else 0.0),
            sums[1] + (values[t, s + 1] if ranks[t, s + 1] else 0.0),
            sums[2] + (values[t, s + 2] if ranks[t, s + 2] else 0.0),
            sums[3] + (values[t, s + 3] if ranks[t, s + 3] else 0.0),
        )
    total = (sums[0] + sums[1]) + (sums[2] + sums[3])
    for s in range(size // 4 * 4, size):
        total += values[t, s] if ranks[t, s] else 0.0
    middle = total / n
    sums = (0.0, 0.0, 0.0, 0.0)
    for s in range(0, size - 3, 4):
        sums = (
            sums[0] + _square(values[t, s], middle, ranks[t, s]),
            sums[1] + _square(values[t, s + 1], middle, ranks[t, s + 1]),
            sums[2] + _square(values[t, s + 2], middle, ranks[t, s + 2]),
            sums[3] + _square(values[t, s + 3], middle, ranks[t, s + 3]),
        )
    squares = (sums[0] + sums[1]) + (sums[2] + sums[3])
    for s in range(size // 4 * 4, size):
        squares += _square(values[t, s], middle, ranks[t, s])
    return middle, squares


@compiled
def _square(value: float, middle: float, rank: int) -> float:
    away = value - middle if rank else 0.0
    return away * away
