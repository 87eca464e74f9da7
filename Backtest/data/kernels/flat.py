"""Dividing by a spread: missing where that is rounding (`rows.FLAT`), infinite where it overflowed."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from ...machine_code import compiled
from .rows import FLAT


@compiled
def over(value, spread, beside):
    """Return value / spread: NaN where that is flat beside one of the values, infinity where a square overflowed."""
    share = value / spread
    share = share if spread < np.inf else share + np.inf
    return share if spread > FLAT * abs(beside) else np.nan


@compiled
def place(value, low, high):
    """Return where a value lies between low (0) and high (1), NaN where they are the same but for rounding."""
    if high - low == np.inf:
        return (0.5 * value - 0.5 * low) / (0.5 * high - 0.5 * low)
    return over(value - low, high - low, max(abs(low), abs(high)))
