"""Cross-sections of one series by its order: ranges, robust scores, groups, normal scores, and plain statistics."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand
from .crosssection import sums_of_row
from .finish import blank_infinite
from .flat import over, place
from .normal import normal_score
from .ordered import below, up_to
from .population import pieces, population_of

MINMAX, ROBUST, CLIP_MAD, CLIP_STD, QCUT, SCORE, MEAN, MEDIAN, STD, SUM, COUNT = range(11)
ORDERED = frozenset((MINMAX, ROBUST, CLIP_MAD, QCUT, SCORE, MEDIAN))
"""Modes that look at the members in order."""

MAD_TO_STD = 1.4826
"""1 / the 0.75 quantile of the normal distribution: what makes a MAD estimate the standard deviation."""


@compiled
def _middle(held, n):
    """Return a member and how far the median lies above it: their sum rounds to the size of the values."""
    base = held[(n - 1) // 2]
    return base, 0.5 * (held[n // 2] - base)


@compiled
def _median(held, n):
    base, above = _middle(held, n)
    return base + above


@compiled
def _mad(held, n, base, above, away):
    """Return the median distance from the median; `away` is scratch."""
    for i in range(n):
        away[i] = abs((held[i] - base) - above)
    away[:n].sort()
    return _median(away, n)


@compiled
def _of_row(mode, held, n, mean, total, std):
    """Return the value that every member of the row gets."""
    if mode == MEAN:
        return mean
    if mode == MEDIAN:
        return _median(held, n)
    if mode == STD:
        return std
    return total if mode == SUM else float(n)


@compiled
def _of_member(mode, held, n, v, low, high, above, k):
    """Return the value of member v; low and high are the bounds of the row, or the width and what `_middle` says."""
    if mode == MINMAX:
        return place(v, low, high)
    if mode == ROBUST:
        return over((v - low) - above, high, low)
    if mode == QCUT:
        less = below(held, n, v)
        # Edge j lies at position j (n - 1) / k of the sorted row: it is below v where that is below v's place.
        return float(-(-less * k // (n - 1)) - 1) if less > 0 else 0.0
    if mode == SCORE:
        return normal_score((below(held, n, v) + up_to(held, n, v)) / 2.0 / n)
    if not (low == low):
        return np.nan
    return low if v < low else (high if v > high else v)


@compiled
def _gather(x, population, held):
    """Copy the members' values to `held`, infinity for the others: sorted, they stand last."""
    for t in range(x.shape[0]):
        v, there, r = x[t], population[t], held[t]
        for s in range(v.size):
            r[s] = v[s] + 0.0 if there[s] & (v[s] == v[s]) else np.inf


@compiled
def _bounds(mode, held, n, mean, std, parameter, away):
    """Return the bounds of a row and 0; for scores a member, the width, how far the centre lies above the member."""
    if n == 0:
        return np.nan, np.nan, 0.0
    if mode == MINMAX:
        return held[0], held[n - 1], 0.0
    if mode == ROBUST or mode == CLIP_MAD:
        base, above = _middle(held, n)
        width = MAD_TO_STD * _mad(held, n, base, above, away)
        if mode == ROBUST:
            return base, width, above
        return base + (above - parameter * width), base + (above + parameter * width), 0.0
    return mean - parameter * std, mean + parameter * std, 0.0


@compiled
def values(x, population, out, mode, parameter, ddof):
    """Fill `out`, which holds the sorted members where the mode is one of `ORDERED`, row by row."""
    rows, columns = x.shape
    held, away = np.empty(columns), np.empty(columns)
    for t in range(rows):
        held[:] = out[t]
        n, first, rel, m2, total, _ = sums_of_row(x, population, t)
        mean, std = first + rel, math.sqrt(m2 / (n - ddof)) if n > ddof else np.nan
        low, high, above = _bounds(mode, held, n, mean, std, parameter, away)
        for s in range(columns):
            v = x[t, s]
            r = np.nan
            if population[t, s] and v == v:
                if mode >= MEAN:
                    r = _of_row(mode, held, n, mean, total, std)
                else:
                    r = _of_member(mode, held, n, v + 0.0, low, high, above, int(parameter))
            out[t, s] = r


def _values(
    mode: int, operands: Sequence[Operand], context: Context, out: Floats, *, parameter: float = 0.0, ddof: int = 1
) -> int:
    x, population = operands[0], population_of(context)
    assert isinstance(x, np.ndarray)
    for rows in pieces(out):
        if mode in ORDERED:
            _gather(x[rows], population[rows], out[rows])
            out[rows].sort(axis=1)  # NumPy's sort has vector code, Numba's has none
        values(x[rows], population[rows], out[rows], mode, parameter, ddof)
    return blank_infinite(out, context)


def cs_minmax(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Place between the smallest (0) and the largest (1)."""
    return _values(MINMAX, operands, context, out)


def cs_robust_zscore(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance from the median in scaled median absolute deviations."""
    return _values(ROBUST, operands, context, out)


def cs_clip_mad(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Clip to k scaled median absolute deviations about the median."""
    return _values(CLIP_MAD, operands, context, out, parameter=float(literals["k"]))


def cs_clip_std(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Clip to k standard deviations about the mean."""
    return _values(CLIP_STD, operands, context, out, parameter=float(literals["k"]), ddof=int(literals["ddof"]))


def cs_qcut(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Number of the quantile group."""
    return _values(QCUT, operands, context, out, parameter=float(literals["q"]))


def cs_quantile(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Normal score of the rank."""
    return _values(SCORE, operands, context, out)


def cs_mean(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Mean of the members."""
    return _values(MEAN, operands, context, out)


def cs_median(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Median of the members."""
    return _values(MEDIAN, operands, context, out)


def cs_std(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Standard deviation of the members."""
    return _values(STD, operands, context, out, ddof=int(literals["ddof"]))


def cs_sum(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Sum of the members."""
    return _values(SUM, operands, context, out)


def cs_count(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Number of the members."""
    return _values(COUNT, operands, context, out)
