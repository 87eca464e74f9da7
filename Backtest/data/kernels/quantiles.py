"""Quantiles of a window: the sorted windows of many symbols side by side, or of one symbol after the other."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from . import sortedrows
from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite
from .ordered import insert, quantile, remove, replace
from .rows import NO_LIMIT, over_columns


@compiled
def windows(x, age, out, d, min_valid, min_age, q):
    """Quantile q of each window."""
    rows, columns = x.shape
    held, column = np.empty(min(d, rows) + 1), np.empty(rows)
    for b in range(columns):
        n = 0
        column[:] = x[:, b]
        for t in range(rows):
            v, a, gone = column[t] + 0.0, age[t, b], np.nan
            if a <= 1:
                n = 0
            elif t >= d and a > d:
                gone = column[t - d] + 0.0
            comes = a > 0 and v == v
            if comes and gone == gone:
                replace(held, n, gone, v)
            elif gone == gone:
                n = remove(held, n, gone)
            elif comes:
                n = insert(held, n, v)
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            enough = a >= min_age and a <= oldest and n >= min_valid
            out[t, b] = quantile(held, n, q) if enough else np.nan


def _windows(q: float, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of(literals, context)
    if w.bars <= sortedrows.SHORT and out.shape[1] >= sortedrows.NARROW:
        over_columns(sortedrows.quantiles, operands, context, out, w.bars, w.min_valid, w.min_age, q)
    else:
        windows(operands[0], context.age, out, w.bars, w.min_valid, w.min_age, q)
    return blank_infinite(out, context)  # between neighbours further apart than the largest number


def ts_median(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Median of the valid values."""
    return _windows(0.5, operands, literals, context, out)


def ts_quantile(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Quantile q of the valid values, linear interpolation."""
    return _windows(float(literals["q"]), operands, literals, context, out)
