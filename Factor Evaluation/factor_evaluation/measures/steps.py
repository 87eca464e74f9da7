"""What changes from one cross-section of a factor to a later one: turnover of the quantiles, rank autocorrelation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from Backtest.machine_code import compiled

from .blocks import Floats
from .orderkeys import Ints
from .ranked import FactorRows, Memberships, Words


def quantile_turnover(rows: FactorRows, bars: int) -> Floats:
    """Return [T, Q]: share of the quantile's names at t - `bars` that are not in it at t.

    A name without a factor at t has left and counts as sold. Missing where the quantile was empty at t - `bars`, and
    where the whole bar has no cross-section (an outage sells nothing): `bars` are rows of the clock, so a hole in the
    data never shortens the step.
    """
    out = np.full((rows.count.size, rows.members.shape[1]), np.nan)
    _turnover(rows.members, rows.usable, bars, out)
    return out


def mean_turnover(rows: FactorRows | Memberships, bars: int) -> Floats:
    """Return [Q]: the mean of `quantile_turnover` over the bars that have one."""
    out = np.empty(rows.members.shape[1])
    _mean_turnover(rows.members, rows.usable, bars, out)
    return out


def rank_autocorrelation(rows: FactorRows, bars: int) -> Floats:
    """Return [T]: correlation of the factor's ranks at t - `bars` and t over the names ranked at both.

    Ranks are those within each bar's own cross-section. Missing below `MIN_NAMES` common names.
    """
    out = np.full(rows.count.size, np.nan)
    _autocorrelation(rows.ranks, rows.count, rows.rank_squares, rows.members, rows.usable, bars, out)
    return out


@compiled
def _ones(word: np.uint64) -> np.uint64:
    """Return how many bits of `word` are set (the usual sums of neighbouring bit fields)."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def _sold(before: Words, after: Words) -> float:
    held = np.uint64(0)
    gone = np.uint64(0)
    for w in range(before.size):
        held += _ones(before[w])
        gone += _ones(before[w] & ~after[w])
    return float(gone) / float(held) if held else np.nan


@compiled
def _turnover(members: Words, usable: NDArray[np.bool_], bars: int, out: Floats) -> None:
    for t in range(bars, members.shape[0]):
        if usable[t] and usable[t - bars]:
            for q in range(members.shape[1]):
                out[t, q] = _sold(members[t - bars, q], members[t, q])


@compiled
def _mean_turnover(members: Words, usable: NDArray[np.bool_], bars: int, out: Floats) -> None:
    quantiles = members.shape[1]
    found = np.zeros(quantiles, np.int64)
    out[:] = 0.0
    for t in range(bars, members.shape[0]):
        if usable[t] and usable[t - bars]:
            for q in range(quantiles):
                share = _sold(members[t - bars, q], members[t, q])
                if share == share:
                    out[q] += share
                    found[q] += 1
    for q in range(quantiles):
        out[q] = out[q] / found[q] if found[q] else np.nan


@compiled
def _autocorrelation(
    ranks: NDArray[np.int16],
    count: NDArray[np.int32],
    rank_squares: Ints,
    members: Words,
    usable: NDArray[np.bool_],
    bars: int,
    out: Floats,
) -> None:
    rows, columns = ranks.shape
    for t in range(bars, rows):
        if not (usable[t] and usable[t - bars]):
            continue
        before, after = ranks[t - bars], ranks[t]
        if count[t] == count[t - bars] and _same_names(members[t - bars], members[t]):
            total = np.int64(0)
            for s in range(columns):
                total += np.int64(np.int32(before[s]) * np.int32(after[s]))
            total -= np.int64(count[t]) * np.int64(count[t] + 1) ** 2  # the means are n + 1
            out[t] = total / np.sqrt(float(rank_squares[t]) * float(rank_squares[t - bars]))
        else:
            out[t] = _common(before, after)


@compiled
def _same_names(before: Words, after: Words) -> bool:
    differ = np.uint64(0)
    for w in range(before.shape[1]):
        one = np.uint64(0)
        other = np.uint64(0)
        for q in range(before.shape[0]):
            one |= before[q, w]
            other |= after[q, w]
        differ |= one ^ other
    return differ == 0


@compiled
def _common(before: NDArray[np.int16], after: NDArray[np.int16]) -> float:
    """Return the correlation of the ranks over the names ranked at both bars, in integers."""
    n = a = b = aa = bb = ab = np.int64(0)
    for s in range(before.size):
        if before[s] and after[s]:
            x, y = np.int64(before[s]), np.int64(after[s])
            n += 1
            a += x
            b += y
            aa += x * x
            bb += y * y
            ab += x * y
    one, other = n * aa - a * a, n * bb - b * b
    if n < 3 or one == 0 or other == 0:
        return np.nan
    return (n * ab - a * b) / np.sqrt(float(one) * float(other))
