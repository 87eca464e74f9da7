"""The factor's side of an evaluation, made once for all horizons: ranks, quantiles, moments of every cross-section."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from Backtest.machine_code import compiled

from .blocks import BLOCK, Bools, Columns, Floats, aligned, turn
from .orderkeys import LAST, Int16s, Int32s, Ints, Keys, Singles, column_mask, make_keys, settle, settle_row, sort

Words = NDArray[np.uint64]

CHUNK_VALUES = 81_920
"""Values per pass: in its own order a chunk of the factor, 9 bytes a value, stays in the second-level cache."""

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
    column
        uint16 [B, S, `BLOCK`], `BLOCK` bars side by side: whose name is at a place, the lowest at 0, tied names in the
        order of their columns; any beyond the last.
    """

    ranks: Int16s
    count: NDArray[np.int32]
    rank_squares: Ints
    mean: Floats
    squares: Floats
    constant: Bools
    held: Int16s
    members: Words
    column: Columns

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
        column=np.empty((-(-rows // BLOCK), columns, BLOCK), np.uint16),
    )
    turned, keys = aligned((columns, BLOCK), np.float64), aligned((columns, BLOCK), np.int32)
    _rank_rows(
        factor,
        np.broadcast_to(np.True_, factor.shape) if wanted is None else wanted,
        column_mask(columns),
        turned,
        keys.view(np.float32),
        keys,
        made.count,
        made.ranks,
        made.rank_squares,
        made.mean,
        made.squares,
        made.constant,
        made.held,
        made.members,
        made.column,
    )
    return made


@compiled
def _rank_rows(
    values: Floats,
    wanted: Bools,
    mask: np.int32,
    turned: Floats,
    single: Singles,
    keys: Keys,
    count: Int32s,
    ranks: Int16s,
    rank_squares: Ints,
    mean: Floats,
    squares: Floats,
    constant: Bools,
    held: Int16s,
    members: Words,
    column: Columns,
) -> None:
    rows, columns = values.shape
    quantiles = held.shape[0]
    there, ties, order = np.empty(BLOCK, np.int32), np.empty(BLOCK, np.bool_), np.empty(columns, np.int32)
    middle, deviation, held_values = np.empty(BLOCK), np.empty(BLOCK), np.empty(columns)
    names, places, limits = 0, np.empty(quantiles + 1, np.int16), np.empty((quantiles + 1, BLOCK), np.int16)
    for start in range(0, rows, BLOCK):
        bars = min(BLOCK, rows - start)
        turn(values, wanted, start, bars, turned)
        make_keys(turned, mask, single, keys, there)
        _moments(turned, keys, there, mask, middle, deviation)
        sort(keys)
        settle(keys, turned, there, mask, ties)
        for j in range(bars):
            if ties[j]:
                ties[j] = _settle_lane(keys, j, values[start + j], there[j], mask, order, held_values)
        for p in range(columns):
            for j in range(BLOCK):
                column[start // BLOCK, p, j] = keys[p, j] & mask
        limits[:] = 0
        for j in range(bars):
            t, n = start + j, there[j]
            count[t] = n
            if n < MIN_NAMES:
                continue
            if turned[keys[0, j] & mask, j] == turned[keys[n - 1, j] & mask, j]:
                constant[t] = True
                continue
            mean[t], squares[t] = middle[j], deviation[j]
            if ties[j]:
                for i in range(n):
                    order[i] = keys[i, j]
                rank_squares[t] = _rank_ties(order, values[t], n, mask, ranks[t], held[:, t], members[t])
                continue
            rank_squares[t] = squares_of_ranks(n)
            if n != names:
                names = n
                for q in range(quantiles + 1):
                    places[q] = first_place(q, quantiles, n)
            for q in range(quantiles):
                held[q, t] = places[q + 1] - places[q]
            for q in range(quantiles + 1):
                limits[q, j] = places[q]
        _enter(keys, limits, start, bars, mask, ranks, members)


@compiled
def _settle_lane(keys: Keys, j: int, row: Floats, n: int, mask: np.int32, order: Keys, held: Floats) -> bool:
    """Do `settle_row`'s work on one bar of a block; `order` and `held` [S] are room."""
    for i in range(n):
        order[i] = keys[i, j]
    ties = settle_row(order, row, n, mask, held)
    for i in range(n):
        keys[i, j] = order[i]
    return bool(ties)


@compiled
def squares_of_ranks(n: int) -> int:
    """Return the sum of squares of n ranks without ties, doubled and centred: n (n^2 - 1) / 3."""
    return int(np.int64(n) * (np.int64(n) * n - 1) // 3)


@compiled
def first_place(bucket: int, buckets: int, n: int) -> int:
    """Return the lowest place p (from 0) of n names without ties with floor(Q (2 p + 1) / (2 n)) = `bucket`."""
    return (2 * n * bucket + buckets - 1) // buckets // 2


@compiled
def _enter(keys: Keys, limits: Int16s, start: int, bars: int, mask: np.int32, ranks: Int16s, members: Words) -> None:
    """Give the names of a block's bars their ranks and enter them in their quantiles.

    `limits` [Q + 1, BLOCK] are the first places of the quantiles; all are 0 for bars that have been dealt with.
    """
    quantiles = limits.shape[0] - 1
    for p in range(limits[quantiles].max()):
        rank = np.int16(2 * p + 2)
        for j in range(bars):
            if p < limits[quantiles, j]:
                ranks[np.uint64(start + j), np.uint32(keys[p, j] & mask)] = rank
    word = np.empty(BLOCK, np.uint64)
    for q in range(quantiles):
        low, high = limits[q, :bars].min(), limits[q + 1].max()
        for w in range(members.shape[2]):
            word[:] = 0
            for p in range(low, high):
                place = np.int16(p)
                for j in range(BLOCK):
                    s = keys[p, j] & mask
                    here = limits[q, j] <= place < limits[q + 1, j] and s >> 6 == w
                    word[j] |= np.uint64(1) << np.uint64(s & 63) if here else np.uint64(0)
            for j in range(bars):
                members[start + j, q, w] |= word[j]


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
def _moments(turned: Floats, keys: Keys, count: Int32s, mask: np.int32, mean: Floats, squares: Floats) -> None:
    """Write every bar's mean and centred sum of squares (two passes); `make_keys` made what is missing 0."""
    mean[:] = 0.0
    squares[:] = 0.0
    for s in range(turned.shape[0]):
        for j in range(BLOCK):
            mean[j] += turned[s, j]
    for j in range(BLOCK):
        mean[j] = mean[j] / count[j]
    for s in range(turned.shape[0]):
        for j in range(BLOCK):
            away = turned[s, j] - mean[j] if keys[s, j] < (LAST & ~mask) else 0.0
            squares[j] += away * away
