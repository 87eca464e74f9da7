"""Values of coarser bars on the rows of finer ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...machine_code import compiled
from .context import Floats


@compiled
def join_closed(
    values: Floats,
    listed: NDArray[np.int64],
    known: NDArray[np.int64],
    age: NDArray[np.int32],
    first_bar: int,
    out: Floats,
) -> None:
    """Put at each row the coarser bar known there.

    Parameters
    ----------
    values, listed
        float64 and int64 [N, S]: the coarser bars, and the absolute index of the finer bar with which the listing
        episode alive at each one's close began (-1 where none is).
    known
        int64 [T]: the last coarser bar that has closed by the row's close, -1 before the first.
    age, first_bar
        int32 [T, S] and the absolute index of row 0, as in `Panel`.
    out
        float64 [T, S]: finite or NaN; NaN outside listing episodes, and where the bar is of another one.
    """
    rows, symbols = age.shape
    for t in range(rows):
        bar = known[t]
        for s in range(symbols):
            began = first_bar + t - age[t, s] + 1
            ours = bar >= 0 and age[t, s] > 0 and listed[bar, s] == began
            out[t, s] = values[bar, s] if ours else np.nan
