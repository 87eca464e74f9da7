"""Values on coarser bars for ``bars(timeframe, x)``: made of the run's own bars, joined where the coarser bar closes.

1. `coarsen`: the panel of the coarser timeframe, by the rules of `resample`; labels stand at bar open.
2. `coarse_values`: the plan's steps on it, in two parts so that undefined values are counted where they are output.
3. `join`: at bar t the last coarser bar whose close is not later than that of t.

Nothing depends on where the panel begins: a coarser bar of a listing episode that is not whole in the panel is missing,
and windows are cut at the absolute index of the coarser bars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .dsl.blocks import choose_blocks
from .dsl.engine import Stream, counted
from .dsl.plan import Plan
from .panel import Floats, Panel
from .resample import combine
from .timeframe import Timeframe

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class CoarseBars:
    """Coarser bars and their place among the finer ones.

    Attributes
    ----------
    panel
        Bars of the coarser timeframe that close inside the finer panel.
    closes
        int64 [T of `panel`]: row of the finer panel with which each closes.
    listed
        int64 [T of `panel`, S]: absolute index of the finer bar with which the listing episode alive at that row
        began; -1 where none is.
    """

    panel: Panel
    closes: Integers
    listed: Integers


def coarsen(panel: Panel, timeframe: Timeframe) -> CoarseBars:
    """Return the bars of a coarser timeframe, whose length that of `panel` divides.

    A coarser bar exists where one of its finer bars of the episode alive at its close does. It is tradable where one
    of them is (volume above zero); a member, and as old in coarser bars, as the symbol is at its close. Bars of an
    episode whose beginning lies before the panel are there only if all their rows are.
    """
    fine, rows = panel.timeframe, panel.shape[0]
    labels = _labels(panel, timeframe)
    after = _closed(panel, timeframe)
    first = int(labels[0]) if rows else after
    index = np.arange(first, max(first, after), dtype=np.int64)
    closes = (timeframe.origin_ns + (index + 1) * timeframe.ns - fine.open_ns(panel.first_bar)) // fine.ns - 1
    age = panel.age[closes]
    alive = age > 0
    listed = np.where(alive, (panel.first_bar + closes)[:, None] - age + 1, -1)
    began = (fine.origin_ns + listed * fine.ns - timeframe.origin_ns) // timeframe.ns
    opens = (timeframe.origin_ns + index * timeframe.ns - fine.origin_ns) // fine.ns  # first finer bar, absolute
    whole = alive & ((opens >= panel.first_bar)[:, None] | (listed >= panel.first_bar))
    shape = (len(index), panel.shape[1])
    coarse = Panel(
        timeframe,
        first,
        panel.symbols,
        {name: np.full(shape, np.nan) for name in panel.fields},
        np.zeros(shape, np.bool_),
        np.zeros(shape, np.bool_),
        np.where(alive, index[:, None] - began + 1, 0).astype(np.int32),
        panel.member[closes],
        int(np.searchsorted(closes, panel.warmup)),
    )
    bars = CoarseBars(coarse, closes, listed)
    for column in range(shape[1]):
        _fill(bars, panel, labels - first, whole, column)
    return bars


def _fill(bars: CoarseBars, panel: Panel, places: Integers, whole: NDArray[np.bool_], column: int) -> None:
    """Combine the finer bars of one symbol; `places` says for each row of theirs which coarser row it is in."""
    rows = np.flatnonzero(panel.exists[: int(np.searchsorted(places, len(bars.closes))), column])
    inside = places[rows]
    ours = whole[inside, column] & (panel.first_bar + rows >= bars.listed[inside, column])
    rows, inside = rows[ours], inside[ours]
    if not len(rows):
        return
    columns, begins = combine({name: values[rows, column] for name, values in panel.fields.items()}, inside)
    there = inside[begins]
    for name, values in columns.items():
        bars.panel.fields[name][there, column] = values
    bars.panel.exists[there, column] = True
    bars.panel.tradable[there, column] = np.logical_or.reduceat(panel.tradable[rows, column], begins)


def _labels(panel: Panel, timeframe: Timeframe) -> Integers:
    """Return the absolute index of the coarser bar that each row lies in."""
    opened = panel.timeframe.open_ns(panel.first_bar) + panel.timeframe.ns * np.arange(panel.shape[0], dtype=np.int64)
    return (opened - timeframe.origin_ns) // timeframe.ns


def _closed(panel: Panel, timeframe: Timeframe) -> int:
    """Return the absolute index of the first coarser bar that is still open when the panel ends."""
    return timeframe.index(panel.timeframe.open_ns(panel.first_bar + panel.shape[0]))


def join(values: Floats, bars: CoarseBars, panel: Panel) -> Floats:
    """Return values of coarser bars [T of them, S] on the rows of the finer panel, float64 [T, S].

    At a row stands the last coarser bar that has closed by the row's close, where that bar's listing episode is the
    row's; NaN before the first one.
    """
    from .kernels.joined import join_closed  # compiled code: only where something is computed

    known = np.searchsorted(bars.closes, np.arange(panel.shape[0]), side="right") - 1
    out = np.empty(panel.shape)
    age = np.require(panel.age, requirements=["C", "W"])
    join_closed(values, bars.listed, known, age, panel.first_bar, out)
    return out


def coarse_values(
    plan: Plan, panel: Panel, *, gap_tolerance: float, memory_limit: float | None = None
) -> tuple[dict[int, Floats], dict[Timeframe, Integers]]:
    """Compute what a plan takes from coarser bars.

    Parameters
    ----------
    plan, panel, gap_tolerance
        As for `factors.compute`.
    memory_limit
        Bytes for the working arrays of each timeframe; None: no limit.

    Returns
    -------
    values
        Step of every `BarsCall` -> float64 [T, S], finite or NaN.
    undefined
        Timeframe -> undefined values of each of its steps, at coarser bars that close in output rows.
    """
    values: dict[int, Floats] = {}
    undefined: dict[Timeframe, Integers] = {}
    for timeframe, part in plan.coarse_plans.items():
        fields = {name: panel.fields[name] for name in part.fields}
        bars = coarsen(replace(panel, fields=fields), timeframe)
        out = {factor.name: np.empty(bars.panel.shape) for factor in part.factors}
        undefined[timeframe] = _evaluate(part, bars.panel, out, gap_tolerance, memory_limit)
        for factor in part.factors:
            values[int(factor.name)] = join(out.pop(factor.name), bars, panel)
    return values, undefined


def _evaluate(
    plan: Plan, panel: Panel, out: Mapping[str, Floats], gap_tolerance: float, memory_limit: float | None
) -> Integers:
    """Fill `out` for every row, look-back included, and return the counts of the rows that are not."""
    rows, own = panel.shape[0], panel.warmup
    blocks = choose_blocks(plan, *panel.shape, budget=memory_limit)
    stream = Stream(plan, counted(panel), blocks=blocks, gap_tolerance=gap_tolerance)
    stream.feed(panel.rows(0, own), library={}, out={name: values[:own] for name, values in out.items()})
    top = max(0, own - stream.overlap)
    later = {name: values[own:] for name, values in out.items()}
    return stream.feed(panel.rows(top, rows, warmup=own - top), library={}, out=later, begin=own - top)
