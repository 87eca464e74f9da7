"""Cross-sections: every symbol of one bar, population only; the others get NaN and are not noticed."""

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
from .population import population_of

ZSCORE, DEMEAN, SCALE = range(3)


@compiled
def sums_of_row(x, population, t):
    """Return n, the first value, mean - first, squared deviations, sum x and sum |x| of row t's population.

    Two passes about the first value, whose difference to equal values is exactly 0.
    """
    n, first, mean, total, absolute = 0, np.nan, 0.0, 0.0, 0.0
    for s in range(x.shape[1]):
        v = x[t, s]
        if population[t, s] and v == v:
            if n == 0:
                first = v
            n += 1
            mean += v - first
            total += v
            absolute += abs(v)
    mean /= max(n, 1)
    m2 = 0.0
    for s in range(x.shape[1]):
        v = x[t, s]
        if population[t, s] and v == v:
            m2 += (v - first - mean) ** 2
    return n, first, mean, m2, total, absolute


@compiled
def moments(x, population, out, mode, parameter):
    """z-score, distance from the mean, or share of sum |x| times `parameter`, row by row."""
    rows, columns = x.shape
    for t in range(rows):
        n, first, mean, m2, _, absolute = sums_of_row(x, population, t)
        divisor, beside = 1.0, 0.0
        if mode == ZSCORE:
            beside = first
            divisor = math.sqrt(m2 / (n - parameter)) if n > parameter else 0.0
        elif mode == SCALE:
            divisor = absolute
        for s in range(columns):
            v = x[t, s]
            r = np.nan
            if population[t, s] and v == v:
                r = over(v, divisor, 0.0) * parameter if mode == SCALE else over(v - first - mean, divisor, beside)
            out[t, s] = r


def _moments(mode: int, parameter: float, operands: Sequence[Operand], context: Context, out: Floats) -> int:
    moments(operands[0], population_of(context), out, mode, parameter)
    return blank_infinite(out, context)


def cs_zscore(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance from the population's mean in standard deviations."""
    return _moments(ZSCORE, float(literals["ddof"]), operands, context, out)


def cs_demean(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Distance from the population's mean."""
    return _moments(DEMEAN, 0.0, operands, context, out)


def cs_scale(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Scale so that the population's sum of absolute values is a."""
    return _moments(SCALE, float(literals["a"]), operands, context, out)
