"""The population of a cross-section, as the kernels take it, and how they cut its rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .context import Context, Floats

PIECE = 1 << 15
"""Values sorted in one go: they and what they come from stay in a core's L2."""


def population_of(context: Context) -> NDArray[np.bool_]:
    """Return bool [T, S], C-ordered and writable (a read-only array would compile a kernel anew)."""
    if context.population is None:
        raise ValueError("cross-section operators need Context.population")
    return np.require(context.population, dtype=np.bool_, requirements=["C", "W"])


def pieces(values: Floats) -> Iterator[slice]:
    """Yield ranges of rows that hold about `PIECE` values; none where there are no columns."""
    rows, columns = values.shape
    if columns == 0:
        return
    step = max(1, PIECE // columns)
    for begin in range(0, rows, step):
        yield slice(begin, min(begin + step, rows))
