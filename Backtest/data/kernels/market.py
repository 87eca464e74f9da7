"""What the market itself says: price and flow ratios of a bar, the age of a listing, who trades most."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from . import rolling
from .context import Context, Floats, Operand
from .population import population_of


@compiled
def relative(x, step_x, y, step_y, factor, out, own):
    """(factor x - y) / y, flat; an operand that is a number has step 0. Return the undefined ones from `own` on."""
    undefined = 0
    for i in range(out.size):
        v, w = x[i * step_x], y[i * step_y]
        # the difference first: x / y - 1 would lose the digits that a small basis is made of
        r = (factor * v - w) / w
        if r - r != 0.0:
            undefined += (i >= own) & (v == v) & (w == w)
            r = np.nan
        out[i] = r
    return undefined


@compiled
def largest(x, population, out, n):
    """1 for the n largest of each row's population, else 0; of equal ones the earlier column."""
    rows, columns = x.shape
    held = np.empty(columns)
    for t in range(rows):
        count = 0
        for s in range(columns):
            if population[t, s] and x[t, s] == x[t, s]:
                held[count] = x[t, s]
                count += 1
        held[:count].sort()
        least = held[count - n] if count > n else -np.inf
        spare = n  # places left for those that equal the least
        for s in range(columns):
            spare -= population[t, s] and x[t, s] > least
        for s in range(columns):
            v = x[t, s]
            r = np.nan
            if population[t, s] and v == v:
                r = 1.0 if v > least else 0.0
                if v == least and spare > 0:
                    r = 1.0
                    spare -= 1
            out[t, s] = r


def _relative(x: Operand, y: Operand, factor: float, context: Context, out: Floats) -> int:
    flat = [(value.reshape(-1), 1) if isinstance(value, np.ndarray) else (np.array([value]), 0) for value in (x, y)]
    own = context.own_row * context.age.shape[1]
    return int(relative(*flat[0], *flat[1], factor, out.reshape(-1), own))


def taker_imbalance(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Bought less sold by takers, as a share of the volume: (2 bought - volume) / volume."""
    return _relative(operands[0], operands[1], 2.0, context, out)


def basis(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """How much dearer the first is than the second."""
    return _relative(operands[0], operands[1], 1.0, context, out)


def premium(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """The field itself."""
    out[...] = operands[0]
    return 0


def age(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Bars since the episode's first."""
    out[...] = np.where(context.age > 0, context.age - 1.0, np.nan)
    return 0


def adv_rank(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """True for the n members with the largest mean over the window."""
    means = np.empty_like(out)
    undefined = rolling.ts_mean(operands, literals, context, means)
    largest(means, population_of(context), out, int(literals["n"]))
    return undefined
