"""Random factors and returns with everything that real ones have: gaps, ties, constants, infinities, late listings."""

from __future__ import annotations

import numpy as np


def rough(seed: int, bars: int, symbols: int, *, gaps: float = 0.1, ties: bool = True):
    """Return a factor and a label [T, S] with missing values, tied values, constant bars and empty bars."""
    draw = np.random.default_rng(seed)
    factor = draw.standard_normal((bars, symbols))
    label = 0.01 * draw.standard_normal((bars, symbols)) + 0.002 * factor
    if ties:
        factor[::3] = np.round(factor[::3], 1)
        label[::4] = np.round(label[::4], 2)
        factor[5::31] = 1.5
        label[7::29] = 0.0
        factor[2::11, : symbols // 2] = -0.0
        factor[2::11, symbols // 2 : symbols // 2 + 2] = 0.0
    factor[draw.random(factor.shape) < gaps] = np.nan
    label[draw.random(label.shape) < gaps] = np.nan
    label[13::37] = np.nan
    factor[17::41, 0] = np.inf
    label[19::43, symbols - 1] = -np.inf
    factor[: bars // 4, 1] = np.nan
    return factor, label


def clock(bars: int, hours: int = 4):
    """Return `bars` open times."""
    return np.datetime64("2023-01-01", "ns") + np.arange(bars) * np.timedelta64(hours, "h")


def names(count: int) -> tuple[str, ...]:
    """Return S00, S01, ..."""
    return tuple(f"S{place:02d}" for place in range(count))
