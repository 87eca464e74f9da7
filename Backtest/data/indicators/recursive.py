"""What recursive library factors share: bars that count, changes between them, averages seeded with a simple mean.

Missing rule of recursive factors: a missing bar is passed over. It gets a missing value, and the recursion goes on from
the last valid bar as if the missing one had not been there; it starts at the array's first valid bar. Hence their
look-back reaches to the episode's first bar.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .windows import Floats


def from_first_bar(*_checked: Any) -> Any:
    """Return None, the look-back of recursive factors; its arguments are params that a rule has checked."""
    return None


def before(values: Floats) -> Floats:
    """Return the last valid value before each row, per column; missing where there is none. Shape [T, S]."""
    rows = np.arange(len(values))[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(values), -1, rows), axis=0)
    earlier = np.vstack([np.full_like(last[:1], -1), last[:-1]])[: len(values)]
    taken = np.take_along_axis(values, np.maximum(earlier, 0), axis=0)
    return np.where(earlier < 0, np.nan, taken)


def wilder(values: Floats, window: int) -> Floats:
    """Return Wilder's average: the mean of the first `window` valid values, then a += (x - a) / window."""
    return _seeded(values, window, 0, 1.0 / window)


def seeded_ema(values: Floats, span: int, *, skip: int = 0) -> Floats:
    """Return the EMA with alpha = 2 / (span + 1) that starts with the mean of `span` values after the first `skip`."""
    return _seeded(values, span, skip, 2.0 / (span + 1))


def _seeded(values: Floats, window: int, skip: int, alpha: float) -> Floats:
    from ..kernels.seeded import seeded_average

    averages = np.empty(values.shape)
    seeded_average(np.ascontiguousarray(values), averages, window, skip, alpha)
    return averages
