"""Cross-sections inside groups: the population of one bar, group by group; a member without a group takes no part.

A row's groups get numbers 0, 1, ... in ascending order of their codes, and every statistic is one pass over the
symbols that adds to its group's place, so the time does not grow with the number of groups.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand
from .finish import blank_infinite
from .flat import over
from .ordered import below, up_to
from .population import population_of

DEMEAN, ZSCORE, SCALE, MEAN, STD, SUM, COUNT = range(7)
RANK, MEDIAN = range(2)
FEW = 32
"""Groups of at most so many are sorted by insertion and ranked by counting: a call of the sort costs more than that."""


@compiled
def _number_groups(codes, place, held):
    """Put every symbol's group number into `place`, -1 without a group; return how many groups there are."""
    n = 0
    for s in range(codes.size):
        if codes[s] == codes[s]:
            held[n] = codes[s]
            n += 1
    held[:n].sort()
    count = 0
    for i in range(n):
        if i == 0 or held[i] != held[count - 1]:
            held[count] = held[i]
            count += 1
    for s in range(codes.size):
        place[s] = below(held, count, codes[s]) if codes[s] == codes[s] else -1
    return count


@compiled
def _same(codes, before):
    """Return whether two rows of codes are equal; most tables never change a symbol's group."""
    for s in range(codes.size):
        if codes[s] != before[s] and (codes[s] == codes[s] or before[s] == before[s]):
            return False
    return True


@compiled
def _members(x, place, population, own):
    """Put the group number of every member with a value into `own`, -1 for all others."""
    for s in range(x.size):
        own[s] = place[s] if population[s] and x[s] == x[s] else -1


@compiled
def _sums(x, own, n, first, rel, total, absolute, m2):
    """Fill each group's count, first value, mean - first, sum, sum |x| and squared deviations.

    Two passes about the first value, whose difference to equal values is exactly 0.
    """
    n[:], rel[:], total[:], absolute[:], m2[:] = 0, 0.0, 0.0, 0.0, 0.0
    for s in range(x.size):
        k = own[s]
        if k >= 0:
            first[k] = x[s] if n[k] == 0 else first[k]
            n[k] += 1
            rel[k] += x[s] - first[k]
            total[k] += x[s]
            absolute[k] += abs(x[s])
    for k in range(n.size):
        rel[k] /= max(n[k], 1)
    for s in range(x.size):
        k = own[s]
        if k >= 0:
            m2[k] += (x[s] - first[k] - rel[k]) ** 2


@compiled
def statistics(x, codes, population, out, mode, parameter, ddof):
    """Fill `out` from the counts, sums and moments of each row's groups."""
    rows, columns = x.shape
    place, own, held = np.empty(columns, np.int64), np.empty(columns, np.int64), np.empty(columns)
    n = np.empty(columns, np.int64)
    first, rel, total, absolute, m2 = (np.empty(columns), np.empty(columns), np.empty(columns), np.empty(columns),
                                       np.empty(columns))  # fmt: skip
    count = 0
    for t in range(rows):
        if t == 0 or not _same(codes[t], codes[t - 1]):
            count = _number_groups(codes[t], place, held)
        _members(x[t], place, population[t], own)
        _sums(x[t], own, n[:count], first[:count], rel[:count], total[:count], absolute[:count], m2[:count])
        for s in range(columns):
            k = own[s]
            r = np.nan
            if k >= 0:
                if mode == SUM:
                    r = total[k]
                elif mode == COUNT:
                    r = float(n[k])
                elif mode == MEAN:
                    r = first[k] + rel[k]
                elif mode == SCALE:
                    r = over(x[t, s], absolute[k], 0.0) * parameter
                elif mode == DEMEAN:
                    r = x[t, s] - first[k] - rel[k]
                elif n[k] > ddof:
                    r = math.sqrt(m2[k] / (n[k] - ddof))
                    if mode == ZSCORE:
                        r = over(x[t, s] - first[k] - rel[k], r, first[k])
            out[t, s] = r


@compiled
def _sort(group):
    """Sort the values of one group in place."""
    if group.size > FEW:
        group.sort()
        return
    for i in range(1, group.size):
        v, j = group[i], i
        while j > 0 and group[j - 1] > v:
            group[j] = group[j - 1]
            j -= 1
        group[j] = v


@compiled
def _rank(group, v):
    """Return the average rank of v in a sorted group, over its size."""
    n = group.size
    if n > FEW:
        return (below(group, n, v) + up_to(group, n, v) + 1.0) / 2.0 / n
    less, same = 0, 0
    for i in range(n):
        less += group[i] < v
        same += group[i] == v
    return (2 * less + same + 1.0) / 2.0 / n


@compiled
def _sort_groups(x, own, n, begin, held):
    """Lay the members' values out group after group, each sorted; fill each group's count and first place."""
    n[:] = 0
    for s in range(x.size):
        if own[s] >= 0:
            n[own[s]] += 1
    at = 0
    for k in range(n.size):
        begin[k] = at
        at += n[k]
    for s in range(x.size):
        k = own[s]
        if k >= 0:
            held[begin[k]] = x[s] + 0.0
            begin[k] += 1
    for k in range(n.size):
        begin[k] -= n[k]
        _sort(held[begin[k] : begin[k] + n[k]])


@compiled
def orders(x, codes, population, out, mode):
    """Fill `out` with the average rank over n, or the median, of each row's groups."""
    rows, columns = x.shape
    place, own, held = np.empty(columns, np.int64), np.empty(columns, np.int64), np.empty(columns)
    n, begin = np.empty(columns, np.int64), np.empty(columns, np.int64)
    count = 0
    for t in range(rows):
        if t == 0 or not _same(codes[t], codes[t - 1]):
            count = _number_groups(codes[t], place, held)
        _members(x[t], place, population[t], own)
        _sort_groups(x[t], own, n[:count], begin[:count], held)
        for s in range(columns):
            k = own[s]
            r = np.nan
            if k >= 0:
                group = held[begin[k] : begin[k] + n[k]]
                if mode == RANK:
                    r = _rank(group, x[t, s])
                else:
                    middle = n[k] // 2
                    r = group[middle]
                    if n[k] % 2 == 0:
                        r = group[middle - 1] + 0.5 * (group[middle] - group[middle - 1])
            out[t, s] = r


def _statistics(
    mode: int, operands: Sequence[Operand], context: Context, out: Floats, *, parameter: float = 0.0, ddof: int = 1
) -> int:
    x, codes = operands
    statistics(x, codes, population_of(context), out, mode, parameter, ddof)
    return blank_infinite(out, context)


def _orders(mode: int, operands: Sequence[Operand], context: Context, out: Floats) -> int:
    x, codes = operands
    orders(x, codes, population_of(context), out, mode)
    return blank_infinite(out, context)


def grp_demean(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance from the group's mean."""
    return _statistics(DEMEAN, operands, context, out)


def grp_zscore(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance from the group's mean in standard deviations."""
    return _statistics(ZSCORE, operands, context, out, ddof=int(literals["ddof"]))


def grp_scale(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Scale so that the group's sum of absolute values is a."""
    return _statistics(SCALE, operands, context, out, parameter=float(literals["a"]))


def grp_mean(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean of the group."""
    return _statistics(MEAN, operands, context, out)


def grp_std(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Standard deviation of the group."""
    return _statistics(STD, operands, context, out, ddof=int(literals["ddof"]))


def grp_sum(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Sum of the group."""
    return _statistics(SUM, operands, context, out)


def grp_count(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Number of the group's members with a value."""
    return _statistics(COUNT, operands, context, out)


def grp_rank(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Average rank in the group over n."""
    return _orders(RANK, operands, context, out)


def grp_median(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Median of the group."""
    return _orders(MEDIAN, operands, context, out)
