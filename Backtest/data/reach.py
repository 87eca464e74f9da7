"""Where loading must begin for values that look back to the start of a listing, through other symbols too.

A recursive value needs its own symbol from the first bar of its listing on. A window over a cross-section of it needs
that of every symbol that was listed anywhere in the window, also of those that are gone by its end; and so on, once for
each time that a value looks across symbols. `Reach.begin` goes that way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest

Hop = int | None
"""Bars back; None: to the first bar of every listing that is alive there."""


@dataclass(frozen=True)
class Reach:
    """How far back values rest on bars.

    Attributes
    ----------
    hops
        From the sources to the values: the look-back inside each symbol, once more each time symbols are compared.
    whole
        Everything that any symbol has: nobody knows which symbols a function compares, and how far back.
    """

    hops: tuple[Hop, ...] = (0,)
    whole: bool = False

    def begin(self, row: int, *, first: int, oldest: Callable[[int], int]) -> int:
        """Return the first row that values from `row` on rest on, never one before `first` unless `row` is.

        `oldest` gives for a row the first bar of the oldest listing that is alive there; the row itself where none is.
        """
        least = min(first, row)
        if self.whole:
            return least
        for hop in reversed(self.hops):
            row = max(least, oldest(row) if hop is None else row - hop)
        return row

    def further(self, hop: Hop) -> Reach:
        """Return the reach of a value that looks back `hop` on top of this one, inside its symbol."""
        return Reach((*self.hops[:-1], add_hops(self.hops[-1], hop)), self.whole)

    def across(self, hop: Hop) -> Reach:
        """Return the reach of a value that looks back `hop` on top of this one, at other symbols too."""
        return Reach((*self.hops, hop), self.whole)


LISTING = Reach((None,))
"""From the first bar of each listing."""


def add_hops(first: Hop, second: Hop) -> Hop:
    """Return the look-back of one computation on top of another."""
    return None if first is None or second is None else first + second


def join_reaches(reaches: Iterable[Reach]) -> Reach:
    """Return a reach that covers all of them: hop by hop, counted from the values, the longer one."""
    hops: tuple[Hop, ...] = (0,)
    whole = False
    for one in reaches:
        pairs = list(zip_longest(reversed(hops), reversed(one.hops), fillvalue=0))
        hops = tuple(None if None in pair else max(pair) for pair in reversed(pairs))  # type: ignore[type-var]
        whole |= one.whole
    return Reach(hops, whole)
