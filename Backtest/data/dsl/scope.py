"""What an expression may use: the names that mean something, and how far it may look back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..timeframe import Timeframe
from .dialects.interface import DEFAULT, Dialect

YEAR_DAYS = 365

COUNTABLE = 10**12
"""Bars that are written out; of more only the size is told."""


@dataclass(frozen=True)
class Scope:
    """The names an expression may use.

    Attributes
    ----------
    fields, groups
        Panel fields, and those of them that are groups.
    factors
        Definitions and earlier factors: name -> step number.
    own, later
        This entry's name, and those of entries that may not be used yet.
    params
        Values of ``{name}``.
    max_window
        Longest window and longest total look-back, bars.
    timeframe
        Of the bars; None where it is not known: messages do not tell how long a window is, and `bars` is refused.
    what
        What the expression is: ``factor``, or ``definition`` (which knows no factor).
    dialect
        The language it is written in.
    hidden
        Inside `bars`: names that mean something outside and nothing there. None outside.
    steady
        Fields besides kline columns that coarser bars have too (`FieldSource.steady`).
    skipped
        Factors that were left out -> why.
    hint
        What to add when a name is unknown: where more fields come from.
    externals
        Names of the recipe's external series.
    """

    fields: Collection[str]
    factors: Mapping[str, int] = field(default_factory=dict)
    own: str = ""
    later: Collection[str] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    max_window: int = 1_000_000
    timeframe: Timeframe | None = None
    what: str = "factor"
    dialect: Dialect = DEFAULT
    groups: Collection[str] = ()
    hint: str = ""
    hidden: Collection[str] | None = None
    steady: Collection[str] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    externals: Collection[str] = ()


def length_words(bars: int, timeframe: Timeframe | None) -> str:
    """Return a number of bars, with its length in days or years where the timeframe is known."""
    if bars > COUNTABLE:
        return f"{float(bars):g} bars"
    if timeframe is None:
        return f"{bars:,} bars"
    days = bars * timeframe.seconds / 86_400
    length = f"{days / YEAR_DAYS:,.1f} years" if days > YEAR_DAYS else f"{days:,.1f} days"
    return f"{bars:,} bars ({length} of {timeframe.label})"
