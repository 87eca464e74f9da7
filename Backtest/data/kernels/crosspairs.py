"""Cross-sections of two and more series: residuals, projections and correlation over members where all are valid."""

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
from .population import population_of
from .rows import FLAT

TINY, HUGE = 1e-100, 1e100
"""Sizes between which squares and their sums stay inside the range of float64."""


@compiled
def _gather(data, population, t, member, held):
    """Copy row t of data [K, T, S] for members where all are valid to held [K, n]; return n."""
    n = 0
    for s in range(data.shape[2]):
        there = population[t, s]
        for k in range(data.shape[0]):
            there = there and data[k, t, s] == data[k, t, s]
        if there:
            member[n] = s
            for k in range(data.shape[0]):
                held[k, n] = data[k, t, s]
            n += 1
    return n


@compiled
def _centre(values):
    """Take the mean out of the values."""
    first, total = values[0], 0.0
    for v in values:
        total += v - first
    mean = total / len(values)
    for i in range(len(values)):
        values[i] = (values[i] - first) - mean


@compiled
def _dot(u, v):
    total = 0.0
    for i in range(len(u)):
        total += u[i] * v[i]
    return total


@compiled
def _largest(values):
    most = 0.0
    for v in values:
        most = max(most, abs(v))
    return most


@compiled
def _bring_near_one(values):
    """Scale values whose squares might leave the range of float64, by a power of two: exact. Return the largest."""
    most = _largest(values)
    if most == 0.0 or TINY < most < HUGE:
        return most
    power = math.frexp(most)[1]
    for i in range(len(values)):
        values[i] = math.ldexp(values[i], -power)
    return math.ldexp(most, -power)


@compiled
def _take_out(held, squares, k, n, used):
    """Take the directions 1..used-1 out of row k, twice: once leaves rounding of what was large (Gram-Schmidt)."""
    for _ in range(2):
        for j in range(1, used):
            if squares[j] > 0.0:
                share = _dot(held[k, :n], held[j, :n]) / squares[j]
                for i in range(n):
                    held[k, i] -= share * held[j, i]


@compiled
def residuals(data, population, out, intercept):
    """What the regression of data[0] on the other series leaves, row by row."""
    count, rows, columns = data.shape
    held, member, squares = np.empty((count, columns)), np.empty(columns, np.int64), np.zeros(count)
    for t in range(rows):
        out[t] = np.nan
        n = _gather(data, population, t, member, held)
        if n == 0 or (intercept and n <= count):
            continue
        for k in range(1, count):
            # What a series takes out does not depend on its size.
            most = _bring_near_one(held[k, :n])
            floor = FLAT * most if intercept else 0.0
            if intercept:
                _centre(held[k, :n])
            _take_out(held, squares, k, n, k)
            squares[k] = _dot(held[k, :n], held[k, :n])
            # A constant series, or one that the others give, takes nothing out.
            if math.sqrt(squares[k] / max(n - 1, 1)) <= floor:
                squares[k] = 0.0
        if intercept:
            _centre(held[0, :n])
        _take_out(held, squares, 0, n, count)
        for i in range(n):
            out[t, member[i]] = held[0, i]


@compiled
def correlations(data, population, out):
    """Pearson correlation of data[0] and data[1] across each row, the same for all members."""
    _, rows, columns = data.shape
    held, member = np.empty((2, columns)), np.empty(columns, np.int64)
    for t in range(rows):
        out[t] = np.nan
        n = _gather(data, population, t, member, held)
        if n < 2:
            continue
        x, y = held[0, :n], held[1, :n]
        most_x, most_y = _bring_near_one(x), _bring_near_one(y)
        _centre(x)
        _centre(y)
        xx, yy = math.sqrt(_dot(x, x)), math.sqrt(_dot(y, y))
        root = math.sqrt(n - 1.0)
        if xx <= FLAT * most_x * root or yy <= FLAT * most_y * root:
            continue
        r = min(max(_dot(x, y) / xx / yy, -1.0), 1.0)
        for i in range(n):
            out[t, member[i]] = r


def cs_resid(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Residual of the regression of y on the others with intercept."""
    residuals(np.stack(operands), population_of(context), out, True)
    return blank_infinite(out, context)


def cs_vector_neut(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """x less its projection on y."""
    residuals(np.stack(operands), population_of(context), out, False)
    return blank_infinite(out, context)


def cs_corr(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Correlation of x and y across the members."""
    correlations(np.stack(operands), population_of(context), out)
    return blank_infinite(out, context)
