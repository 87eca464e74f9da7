"""The clock: times in words, and the panel of several symbols on the regular grid of one timeframe.

1. `window`: which rows the asked window has, by the bars that exist.
2. `ages`: each symbol's listing episodes, over its whole history.
3. `warmup_begin`: where loading must begin for the plan's look-back.
4. `build_panel`: the arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, SettingsError
from .bars import SymbolBars, require_fields
from .cells import Integers, parse_time_cell
from .panel import Floats, Panel
from .reach import LISTING, Reach
from .timeframe import Timeframe


def parse_time(text: str) -> int:
    """Return ``2021-01-01`` or ``2021-01-01T04:00[:00][Z|+08:00]`` as ns since the epoch; without a zone it is UTC."""
    parsed = parse_time_cell(text)
    if parsed is None or parsed[0] == "epoch":
        raise SettingsError(f"time {text!r} is not known; write 2021-01-01 or 2021-01-01T04:00 (UTC, or with its zone)")
    return parsed[1]


def time_words(ns: int) -> str:
    """Return a time as ISO 8601 UTC with Z."""
    return f"{np.datetime64(ns // 1_000_000_000, 's')}Z"


@dataclass(frozen=True)
class Episodes:
    """Listing episodes of one symbol: first bar of each, and the last row that still belongs to it."""

    first: Integers
    last: Integers

    def alive_at(self, index: int) -> int | None:
        """Return the first bar of the episode that row `index` belongs to."""
        number = int(np.searchsorted(self.first, index, side="right")) - 1
        return int(self.first[number]) if number >= 0 and index <= self.last[number] else None


def episodes(index: Integers, *, timeframe: Timeframe, episode_gap_ns: int) -> Episodes:
    """Split ascending bar indices where the missing time exceeds `episode_gap_ns`.

    A row after a bar belongs to its episode while at most `episode_gap_ns` is missing: that a symbol is gone is
    known only once the gap is proven, so the rows before that still count.
    """
    spare = episode_gap_ns // timeframe.ns
    begins = np.flatnonzero(np.diff(index) - 1 > spare) + 1
    first = index[np.concatenate(([0], begins))]
    ends = index[np.concatenate((begins - 1, [len(index) - 1]))]
    return Episodes(first, ends + spare)


def window(
    bars: Sequence[SymbolBars], *, timeframe: Timeframe, start_ns: int | None, end_ns: int | None
) -> tuple[int, int]:
    """Return the first row and the row after the last of the asked window, as absolute bar indices."""
    first = min(int(one.index[0]) for one in bars)
    after = max(int(one.index[-1]) for one in bars) + 1
    begin = first if start_ns is None else timeframe.first_at_or_after(start_ns)
    end = after if end_ns is None else min(after, timeframe.first_at_or_after(end_ns))
    if begin >= end:
        have = f"{time_words(timeframe.open_ns(first))} to {time_words(timeframe.open_ns(after))}"
        asked = " to ".join("open" if ns is None else time_words(ns) for ns in (start_ns, end_ns))
        raise DataError(f"the window {asked} holds no bar; the data reach from {have}")
    return begin, end


def warmup_begin(alive: Sequence[Episodes], *, begin: int, reach: Reach) -> int:
    """Return the first row to load for values from `begin` on."""

    def oldest(row: int) -> int:
        return min((first for one in alive if (first := one.alive_at(row)) is not None), default=row)

    return reach.begin(begin, first=min(int(one.first[0]) for one in alive), oldest=oldest)


def first_row(
    bars: Sequence[SymbolBars], *, timeframe: Timeframe, begin: int, reach: Reach, episode_gap_ns: int
) -> int:
    """Return the absolute index of the first row to load for a window that begins with row `begin`."""
    alive = [episodes(one.index, timeframe=timeframe, episode_gap_ns=episode_gap_ns) for one in bars]
    return warmup_begin(alive, begin=begin, reach=reach)


def build_panel(
    bars: Sequence[SymbolBars],
    *,
    timeframe: Timeframe,
    start_ns: int | None,
    end_ns: int | None,
    lookback: int | None,
    fields: Iterable[str],
    members: Iterable[str],
    episode_gap_ns: int,
    reach: Reach = LISTING,
) -> Panel:
    """Put symbols on one clock.

    Parameters
    ----------
    bars
        One item per symbol; one whose file lacks a field raises SymbolRefused.
    start_ns, end_ns
        Window of bar open times, half-open; None is the first and after the last bar of any symbol. The end is
        never later than the close of the last bar of any symbol, the start is as asked.
    lookback
        Bars before the window that the plan needs; None: as `reach` says.
    fields
        Names of the arrays to make.
    members
        Symbols that take part in ``cs_*``.
    episode_gap_ns
        Missing time after which a later bar is a new listing.
    reach
        How far back the plan's values rest on bars, where `lookback` is None.

    Returns
    -------
    Panel
        Columns sorted by symbol; `age` and `tradable` do not depend on the window.
    """
    ordered = sorted(bars, key=lambda one: one.symbol)
    begin, end = window(ordered, timeframe=timeframe, start_ns=start_ns, end_ns=end_ns)
    alive = [episodes(one.index, timeframe=timeframe, episode_gap_ns=episode_gap_ns) for one in ordered]
    load = warmup_begin(alive, begin=begin, reach=reach if lookback is None else Reach((lookback,)))
    shape = (end - load, len(ordered))
    values: dict[str, Floats] = {name: np.full(shape, np.nan) for name in sorted(set(fields))}
    exists, tradable = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    age = np.zeros(shape, np.int32)
    for column, (one, spans) in enumerate(zip(ordered, alive, strict=True)):
        require_fields(one, values)
        low, high = np.searchsorted(one.index, (load, end))
        rows = one.index[low:high] - load
        exists[rows, column] = True
        tradable[rows, column] = one.tradable[low:high]
        for name, array in values.items():
            array[rows, column] = one.fields[name][low:high]
        for first, last in zip(spans.first.tolist(), spans.last.tolist(), strict=True):
            top, bottom = max(first, load), min(last + 1, end)
            if top < bottom:
                age[top - load : bottom - load, column] = np.arange(top - first + 1, bottom - first + 1)
    chosen = frozenset(members)
    symbols = tuple(one.symbol for one in ordered)
    member = np.repeat(np.array([[symbol in chosen for symbol in symbols]]), shape[0], axis=0)
    return Panel(timeframe, load, symbols, values, exists, tradable, age, member, begin - load)
