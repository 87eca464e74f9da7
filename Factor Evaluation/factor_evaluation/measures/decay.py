"""How long a factor's information lasts, and how often it pays to act on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .evaluation import Decay, HorizonResult


def decay_of(horizons: Mapping[str, HorizonResult]) -> Decay:
    """Return rank IC and net spread per bar over horizons, the half-life and the horizon that earns most per bar."""
    results = sorted(horizons.values(), key=lambda result: result.bars)
    bars = tuple(result.bars for result in results)
    rank_ic = tuple(result.rank_ic_summary.mean for result in results)
    per_bar = tuple(result.net_spread / result.bars for result in results)
    earning = [(value, result.key) for value, result in zip(per_bar, results, strict=True) if value > 0]
    best = max(earning, key=lambda pair: pair[0])[1] if earning else ""
    return Decay(bars, rank_ic, per_bar, half_life(bars, rank_ic), best)


def half_life(bars: Sequence[int], rank_ic: Sequence[float]) -> float:
    """Return the bars from the largest |rank IC| until it is half of that, interpolated linearly between horizons.

    NaN when it never is within the horizons given, or when there is no rank IC.
    """
    known = [(b, abs(value)) for b, value in zip(bars, rank_ic, strict=True) if math.isfinite(value)]
    if not known:
        return math.nan
    peak = max(range(len(known)), key=lambda place: known[place][1])
    top_bars, top = known[peak]
    if top == 0.0:
        return math.nan
    for (left, high), (right, low) in zip(known[peak:], known[peak + 1 :], strict=False):
        if low <= top / 2 < high:
            return left + (high - top / 2) / (high - low) * (right - left) - top_bars
    return math.nan
