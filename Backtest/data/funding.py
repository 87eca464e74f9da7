"""Funding of perpetual contracts: rates, and mark prices where files have them, from the setting ``funding_folder``.

The files are those that `stamped_fields` joins to factors. A stamp is rounded to the minute: exchanges stamp
settlements with some milliseconds of jitter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import DataError
from . import joins
from .cells import Integers
from .clock import time_words
from .panel import Bools, Floats
from .stamped import MINUTE_NS, Absent, Stamped, load_stamped, merge_stamped
from .stamped_fields import COLUMNS, FUNDING, file_of

MARK = ("mark_price", "markprice", "mark")
"""Names under which the exchange's archive and its API have the price of a settlement."""


@dataclass(frozen=True)
class Funding:
    """Settlements of one contract.

    Attributes
    ----------
    rates
        What a long position pays, as a fraction of its value; negative: what it gets.
    marks
        Prices that the position was valued at, at some of the same stamps; None where no file has any.
    """

    rates: Stamped
    marks: Stamped | None

    def settlements(self, begin_ns: int, end_ns: int) -> tuple[Integers, Floats, Floats]:
        """Return (stamps, rates, marks or NaN) with begin <= stamp < end, each [n]."""
        low, high = np.searchsorted(self.rates.stamps, (begin_ns, end_ns), side="left").tolist()
        stamps = self.rates.stamps[low:high]
        marks = np.full(len(stamps), np.nan)
        if self.marks is not None:
            place = np.searchsorted(self.marks.stamps, stamps)
            there = place < len(self.marks.stamps)
            there[there] = self.marks.stamps[place[there]] == stamps[there]
            marks[there] = self.marks.values[place[there]]
        return stamps, self.rates.values[low:high], marks

    def covered(self, bars: joins.Bars, *, valid_ns: int) -> Bools:
        """Return whether all settlements of each bar are known, bool [T]: see `joins.settled`."""
        _, counts = joins.settled(self.rates, bars, valid_ns=valid_ns)
        return np.isfinite(counts)

    def digest(self, begin_ns: int, end_ns: int) -> str:
        """Return the SHA-256 of the settlements of a window: files that only grew keep it."""
        content = b"".join(values.tobytes() for values in self.settlements(begin_ns, end_ns))
        return hashlib.sha256(content).hexdigest()

    @property
    def span(self) -> str:
        """First and last settlement, in words."""
        return f"{time_words(int(self.rates.stamps[0]))} to {time_words(int(self.rates.stamps[-1]))}"


def load_funding(symbol: str, places: Sequence[Path]) -> Funding | None:
    """Return a symbol's funding from the folders and files of `places`; None where none of them has any.

    Raises
    ------
    DataError
        A file cannot be used, or two contradict each other; mark prices must be positive.
    """
    paths = [path for place in places if (path := file_of(place, symbol))]
    if not paths:
        return None
    rates = merge_stamped([_load(path, symbol, COLUMNS[FUNDING]) for path in paths])
    marks = [found for path in paths if (found := _marks(path, symbol)) is not None]
    if not marks:
        return Funding(rates, None)
    merged = merge_stamped(marks)
    if (merged.values <= 0).any():
        when = time_words(int(merged.stamps[np.argmax(merged.values <= 0)]))
        raise DataError(f"{merged.sources[0].path}: the mark price of {when} is not positive")
    return Funding(rates, replace(merged, sources=()))


def _load(path: Path, symbol: str, value: Sequence[str]) -> Stamped:
    return load_stamped(path, value=value, symbol=symbol, round_ns=MINUTE_NS)


def _marks(path: Path, symbol: str) -> Stamped | None:
    try:
        return _load(path, symbol, MARK)
    except Absent:
        return None
