"""Stamped values on the clock of bars: what a bar may know, and since when. Pure: arrays in, arrays out.

A bar knows at its close. A stamp on a bar's open belongs to that bar, one on its close to the next where values are
summed (`settled`); a value that holds on (`last_known`) is known at the close if its stamp is not later than that.
No value depends on the first or last bar asked for: every row is found by its own times in the whole series.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cells import Integers
from .panel import Bools, Floats, Panel
from .stamped import Stamped


@dataclass(frozen=True)
class Bars:
    """Open and close times of consecutive bars, int64 [T] nanoseconds."""

    opens: Integers
    closes: Integers


def bars_of(panel: Panel) -> Bars:
    """Return the times of a panel's rows."""
    opens = panel.timestamp.astype(np.int64)
    return Bars(opens, opens + panel.timeframe.ns)


def last_known(series: Stamped, bars: Bars, *, lag_ns: int = 0, valid_ns: int | None = None) -> Floats:
    """Return the latest value that is known at each bar's close.

    Parameters
    ----------
    series
        Stamps and values.
    bars
        Bars to fill.
    lag_ns
        Publication delay, 0 or more: a value is known at its stamp plus this.
    valid_ns
        A value whose stamp lies longer than this before the close is missing; None: a value never grows old.

    Returns
    -------
    float64 [T]
        The value of the last stamp with stamp + lag <= close; missing before the first.
    """
    out = np.full(len(bars.closes), np.nan)
    rows = np.searchsorted(series.stamps, bars.closes - lag_ns, side="right") - 1
    known = rows >= 0
    if valid_ns is not None and len(series.stamps):
        known &= bars.closes - series.stamps[np.maximum(rows, 0)] <= valid_ns
    out[known] = series.values[rows[known]]
    return out


def settled(series: Stamped, bars: Bars, *, valid_ns: int) -> tuple[Floats, Floats]:
    """Return the sum and the number of the settlements inside each bar.

    Parameters
    ----------
    series
        Stamps and what was settled at each.
    bars
        Bars to fill.
    valid_ns
        The longest time between two settlements: where a stamp is followed by a longer silence, the rest is unknown.

    Returns
    -------
    sums, counts
        float64 [T]: over stamps with open <= stamp < close, added in time order; 0 where there was none to settle.
        Missing where the bar is not wholly inside valid_ns after some stamp: before the first one, and later than
        valid_ns after one that no other follows.
    """
    stamps = series.stamps
    first, after = (np.searchsorted(stamps, edges, side="left") for edges in (bars.opens, bars.closes))
    counts = (after - first).astype(np.float64)
    sums = np.zeros(len(counts))
    for offset in range(int(counts.max(initial=0))):  # a bar has few: one pass for the first of each, and so on
        there = np.flatnonzero(first + offset < after)
        sums[there] += series.values[first[there] + offset]
    covered = _covered(stamps, bars, after, valid_ns)
    sums[~covered] = np.nan
    counts[~covered] = np.nan
    return sums, counts


def _covered(stamps: Integers, bars: Bars, after: Integers, valid_ns: int) -> Bools:
    """Return whether each bar lies inside an unbroken run of stamps, none of them at or after its close."""
    if not len(stamps):
        return np.zeros(len(after), np.bool_)
    broken = np.diff(stamps, prepend=stamps[0]) > valid_ns
    begins = np.maximum.accumulate(np.where(broken, np.arange(len(stamps)), 0))  # first stamp of each stamp's run
    last = np.maximum(after - 1, 0)
    begun = (after > 0) & (stamps[begins[last]] <= bars.opens)
    reaches: Bools = begun & (stamps[last] + valid_ns >= bars.closes)
    return reaches
