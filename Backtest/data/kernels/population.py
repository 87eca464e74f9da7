"""The population of a cross-section, as the kernels take it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .context import Context


def population_of(context: Context) -> NDArray[np.bool_]:
    """Return bool [T, S], C-ordered and writable (a read-only array would compile a kernel anew)."""
    if context.population is None:
        raise ValueError("cross-section operators need Context.population")
    return np.require(context.population, dtype=np.bool_, requirements=["C", "W"])
