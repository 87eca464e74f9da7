"""Array feeds: one per listing episode, all on one shared clock, filled whole in preload.

Backtrader moves every line of every feed at every bar. Here all lines of all feeds read their place from one `Clock`,
which the first feed moves: advancing the others costs one empty call (8.6 s against 45.6 s on 50 x 17,520 bars).
"""

from __future__ import annotations

import datetime as dt
import types
from typing import Any

import backtrader as bt
import numpy as np
from numpy.typing import NDArray

from ..episodes import refuse_unsound_prices

EPOCH_DAY = 719_163
"""Backtrader counts days from 0001-01-01 as day 1."""
DAY_NS = 86_400_000_000_000


class Clock:
    """The row that every line of every feed stands on; -1 before the first bar."""

    def __init__(self, timestamp: NDArray[np.datetime64]) -> None:
        since_epoch = timestamp.astype("datetime64[ns]").astype(np.int64)
        self.numbers: list[float] = (since_epoch / DAY_NS + EPOCH_DAY).tolist()
        self.stamps: list[dt.datetime] = timestamp.astype("datetime64[us]").tolist()
        self.rows = len(self.numbers)
        self.shared = {"datetime": np.array(self.numbers), "openinterest": np.zeros(self.rows)}
        self.home()

    def home(self) -> None:
        """Stand before the first bar."""
        self.place(-1)

    def place(self, row: int) -> None:
        """Stand on `row`."""
        self.row = row
        self.length = row + 1
        self.upcoming = self.numbers[row + 1] if row + 1 < self.rows else float("inf")


class ClockLine(bt.linebuffer.LineBuffer):
    """A line whose place is the clock's, and that refuses to look ahead of it or back beyond its first value."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        super().__init__()

    def __len__(self) -> int:
        return self.clock.length

    def __getitem__(self, ago: int) -> float:
        if ago:
            return float(self.array[self._row(ago)])
        return self.array[self.clock.row]

    def _row(self, ago: int) -> int:
        row = self.clock.row + ago
        if ago > 0 or row < 0:
            raise IndexError(f"line[{ago}] on bar {self.clock.row} is outside the bars seen so far")
        return row

    def get(self, ago: int = 0, size: int = 1) -> Any:
        """Return a list of the `size` values up to `ago`, fewer where they do not reach back so far."""
        end = self._row(ago) + 1
        return self.array[max(0, end - size) : end].tolist()

    idx = property(lambda self: self.clock.row, lambda self, row: None)

    def home(self) -> None:
        """Move the shared clock before the first bar."""
        self.clock.home()

    def _stay(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the clock moves, not the line."""

    forward = backwards = rewind = advance = extend = qbuffer = minbuffer = _stay


class TimeLine(ClockLine):
    """The line of bar open times; its datetimes are made once, not at every call."""

    def datetime(self, ago: int = 0, tz: Any = None, naive: bool = True) -> dt.datetime:
        """Return the open time of a bar as Backtrader does: naive UTC unless a zone is asked for."""
        if tz is None and self._tz is None:
            return self.clock.stamps[self._row(ago)]
        return super().datetime(ago, tz, naive)


class EpisodeFeed(bt.feed.DataBase):
    """One listing episode on the full clock, with a `tradable` line (1.0 or 0.0) and one line per factor given."""

    lines: Any = ("tradable",)
    params: Any = (("clock", None), ("episode", None), ("factors", {}), ("leads", False))

    # The broker asks for these at every order; as class attributes they cost no failed look-up.
    tick_open = tick_high = tick_low = tick_close = None

    def __init__(self) -> None:
        super().__init__()
        self.clock: Clock = self.p.clock
        self.leads: bool = self.p.leads
        self._delivered = -1
        for place, name in enumerate(self.getlinealiases()):
            line = TimeLine(self.clock) if name == "datetime" else ClockLine(self.clock)
            line._owner = self
            self.lines.lines[place] = line
            for alias in (name, f"line_{place}", f"line{place}"):
                setattr(self, alias, line)
        self.line = self.lines.lines[0]

    def preload(self) -> None:
        """Fill every line whole, without copying prices, and stand before the first bar."""
        refuse_unsound_prices(self.p.episode)
        sources = (self.clock.shared, self.p.factors, vars(self.p.episode))
        for name in self.getlinealiases():
            values = next(source[name] for source in sources if name in source)
            getattr(self.lines, name).array = np.asarray(values, dtype=np.float64).data.toreadonly()
        self.home()

    def __len__(self) -> int:
        return self.clock.length

    def advance_peek(self) -> float:
        """Return the time of the next bar, infinity after the last."""
        return self.clock.upcoming

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        """Move the clock; only the first feed does."""
        if self.leads:
            self.clock.place(self.clock.row + 1)

    def next(self, datamaster: Any = None, ticks: bool = True) -> bool:
        """Deliver the next bar where Backtrader runs bar by bar (``runonce=False``)."""
        if self.leads and self.clock.length < self.clock.rows:
            self.clock.place(self.clock.row + 1)
        new = self.clock.row > self._delivered
        self._delivered = self.clock.row
        return new


def feed_class(factors: tuple[str, ...]) -> Any:
    """Return the feed class whose lines end with these factors."""
    if not factors:
        return EpisodeFeed
    return types.new_class("FactorFeed", (EpisodeFeed,), exec_body=lambda body: body.update(lines=factors))
