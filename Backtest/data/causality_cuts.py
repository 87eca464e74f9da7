"""Where `causality` cuts a panel: bars drawn from a fixed seed, and those at which a leak would show.

A random cut finds what every bar gives away. What only a gap or a rare bar gives away shows nowhere else: so half of
the cuts lie at gaps, and a function is cut at the values that stand out in what it returned.
"""

from __future__ import annotations

import random
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from .panel import Bools, Floats, Panel

SEED = 20


def truncations(panel: Panel, count: int) -> list[int]:
    """Return the rows that a panel is cut before: any, and by turns one at a bar that some symbol lacks.

    Of these, that bar is by turns the last one that is there, which shows who fills gaps backwards, and the first one
    that is cut off, which shows who knows of a gap to come.
    """
    rows, least = panel.shape[0], panel.warmup + 1
    draw = random.Random(SEED)
    last, first = (_lacking(panel, least, rows, behind) for behind in (1, 0))
    cuts = []
    for number in range(count):
        share = draw.random()
        gaps = (last, first)[number // 2 % 2]
        inside = number % 2 == 1 and gaps.size
        cuts.append(int(gaps[int(share * gaps.size)]) if inside else least + int(share * (rows - least)))
    return cuts


def starts(panel: Panel, least: int, count: int, lookback: int | None) -> list[int]:
    """Return first rows of later starts, none before `least`: any, and by turns one whose look-back begins at a gap."""
    rows = panel.shape[0]
    draw = random.Random(SEED + 1)
    gaps = _lacking(panel, least, rows, lookback or 0)
    found = []
    for number in range(count):
        share = draw.random()
        inside = number % 2 == 1 and gaps.size
        found.append(int(gaps[int(share * gaps.size)]) if inside else least + int(share * (rows - least)))
    return found


def changes(panel: Panel, names: Collection[str], count: int) -> list[int]:
    """Return rows that a panel is cut before, each after a bar on which one of these fields has another value."""
    least, changed = panel.warmup + 1, np.zeros(panel.shape[0], np.bool_)
    for name in names:
        bits = np.ascontiguousarray(panel.fields[name]).view(np.uint64)
        changed[1:] |= (bits[1:] != bits[:-1]).any(axis=1)
    cuts = np.flatnonzero(changed) + 1
    cuts = cuts[(cuts >= least) & (cuts < panel.shape[0])]
    draw = random.Random(SEED + 2)
    return [int(cuts[int(draw.random() * cuts.size)]) for _ in range(count if cuts.size else 0)]


def outstanding(values: Floats, exists: Bools, count: int) -> list[int]:
    """Return the rows on which some symbol's value stands out most among its own, or is lost from one bar to the next.

    A mark on the bar before a jump, a mean that is blanked before a crash: what is rare is what stands out.
    """
    score = np.zeros(values.shape)
    for column in range(values.shape[1]):
        own = values[:, column]
        there = np.isfinite(own)
        if there.any():
            apart = np.abs(own - np.median(own[there]))
            usual = np.median(apart[there]) or np.mean(apart[there]) or 1.0
            score[there, column] = apart[there] / usual
    score[1:][np.isnan(values[1:]) & exists[1:] & np.isfinite(values[:-1])] = np.inf
    most = score.max(axis=1, initial=0.0)
    order = np.argsort(-most, kind="stable")[:count]
    return [int(row) for row in order if most[row] > 0.0]


def _lacking(panel: Panel, least: int, end: int, behind: int) -> NDArray[np.intp]:
    """Return the rows least..end-1 that lie so far behind a bar that some symbol lacks inside its listing."""
    rows = np.flatnonzero((~panel.exists & (panel.age > 0)).any(axis=1)) + behind
    return rows[(rows >= least) & (rows < end)]
