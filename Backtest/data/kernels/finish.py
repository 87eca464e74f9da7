"""The last pass of every kernel that sums: a value is finite or missing."""

from __future__ import annotations

import numba
import numpy as np

from .context import Context, Floats


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _blank(out: Floats, own: int) -> int:
    overflowed = 0
    for i in range(out.size):
        r = out[i]
        overflowed += (i >= own) & (abs(r) == np.inf)
        # Also makes every missing value the same NaN: inf - inf carries a sign bit on some processors.
        out[i] = r if r - r == 0.0 else np.nan
    return overflowed


def blank_infinite(out: Floats, context: Context) -> int:
    """Make infinite values missing in place; return how many there were from ``context.own_row`` on."""
    return int(_blank(out.reshape(-1), context.own_row * context.age.shape[1]))
