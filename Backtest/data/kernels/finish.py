"""The last pass of every kernel that sums, and of every factor: a value is finite or missing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...machine_code import compiled
from .context import Context, Floats

PIECE = 1024


@compiled(_nrt=False)
def _blank_piece(out: Floats, own: int) -> int:
    """Make one piece finite or the one NaN; most have nothing to do, and finding that out takes one vector loop."""
    strange = 0
    for i in range(out.size):
        strange += 0 if out[i] - out[i] == 0.0 else 1
    if strange == 0:
        return 0
    overflowed = 0
    for i in range(out.size):
        r = out[i]
        overflowed += (i >= own) & (abs(r) == np.inf)
        # Also makes every missing value the same NaN: inf - inf carries a sign bit on some processors.
        out[i] = r if r - r == 0.0 else np.nan
    return overflowed


@compiled(_nrt=False)
def blank(out: Floats, own: int) -> int:
    """Make infinite values of a flat array missing; return how many there were from `own` on."""
    overflowed = 0
    for begin in range(0, out.size, PIECE):
        overflowed += _blank_piece(out[begin : begin + PIECE], own - begin)
    return overflowed


@compiled(_nrt=False)
def publish(values: Floats, exists: NDArray[np.bool_], out: Floats, row: int, column: int) -> None:
    """Copy [R, B] values into `out` from (row, column) on: NaN where there is no bar and for anything not finite.

    One canonical NaN also where a kernel's NaN has another sign or payload: files are compared by bytes.
    """
    for t in range(values.shape[0]):
        v, there, r = values[t], exists[t], out[row + t, column : column + values.shape[1]]
        for b in range(v.size):
            r[b] = v[b] if (v[b] - v[b] == 0.0) & there[b] else np.nan


def blank_infinite(out: Floats, context: Context) -> int:
    """Make infinite values missing in place; return how many there were from ``context.own_row`` on."""
    return int(blank(out.reshape(-1), context.own_row * context.age.shape[1]))
