"""Recursive averages that begin with a simple average: Wilder's smoothing and the EMA of the indicator books."""

from __future__ import annotations

import numpy as np

from ...machine_code import compiled


@compiled
def seeded_average(x, out, d, skip, alpha):  # type: ignore[no-untyped-def]
    """Write into `out` the average a += alpha * (x - a) of each column, seeded with the mean of d valid values.

    Valid values are counted per column from row 0: the first `skip` are passed over, the next d are averaged, and the
    average goes on from there. A missing bar gets NaN and leaves the state as it is. x, out: float64 [T, S].
    """
    rows, columns = x.shape
    seen = np.zeros(columns, np.int64)
    state = np.zeros(columns)
    for t in range(rows):
        for s in range(columns):
            value = x[t, s]
            out[t, s] = np.nan
            if np.isnan(value):
                continue
            seen[s] += 1
            if seen[s] > skip + d:
                state[s] += alpha * (value - state[s])
            elif seen[s] > skip:
                state[s] += value
                if seen[s] == skip + d:
                    state[s] /= d
            if seen[s] >= skip + d:
                out[t, s] = state[s]
