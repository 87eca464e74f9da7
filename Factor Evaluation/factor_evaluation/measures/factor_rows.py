"""A factor's cross-sections in their own sorted order, block by block: what `return_rows` gathers the returns into."""

from __future__ import annotations

import numpy as np

from Backtest.machine_code import compiled

from .blocks import BLOCK, Columns, Floats, gather
from .orderkeys import Int8s, Int16s, Ints


@compiled
def turn_factor(
    factor: Floats, mean: Floats, held: Int16s, column: Columns, off: Floats, label: Int8s, bands: Ints
) -> None:
    """Bring a chunk of the factor [C, S] into its own order, which `column` says (as in `FactorRows`).

    By place, `BLOCK` bars side by side, both [B, S, BLOCK]: `off`, the factor less its bar's mean; `label`, its
    quantile, -1 beyond the last place and in lanes without a bar. `bands` [B, Q, 2]: the places that a quantile has in
    any bar of the block.
    """
    rows = factor.shape[0]
    middle = np.zeros(BLOCK)
    for b in range(label.shape[0]):
        start = b * BLOCK
        bars = min(BLOCK, rows - start)
        _label(held, start, bars, label[b], bands[b])
        gather(factor, start, bars, column[b], off[b])
        middle[:bars] = mean[start : start + bars]
        for p in range(off.shape[1]):
            for j in range(BLOCK):
                off[b, p, j] = off[b, p, j] - middle[j] if label[b, p, j] >= 0 else 0.0


@compiled
def _label(held: Int16s, start: int, bars: int, label: Int8s, bands: Ints) -> None:
    """Write the quantile of every place [S, BLOCK] of a block, -1 beyond the last, and the quantiles' `bands`."""
    below, above = np.zeros(BLOCK, np.int16), np.zeros(BLOCK, np.int16)
    label[:] = -1
    for q in range(held.shape[0]):
        low, high = label.shape[0], 0
        for j in range(bars):
            here = held[q, start + j]
            above[j] = below[j] + here
            low = min(low, below[j]) if here else low
            high = max(high, above[j]) if here else high
        bucket = np.int8(q)
        for p in range(low, high):
            place = np.int16(p)
            for j in range(BLOCK):
                label[p, j] = bucket if below[j] <= place < above[j] else label[p, j]
        below[:] = above
        bands[q, 0], bands[q, 1] = low, high
