"""One symbol's clean bars, and what was found on the way to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import SymbolRefused, did_you_mean
from .cells import Integers
from .panel import Bools, Floats
from .timeframe import Timeframe

LastBar = Literal["keep", "drop"]


@dataclass(frozen=True)
class Finding:
    """One kind of irregularity of a symbol's data, as the metadata's ``qc`` lists it.

    Attributes
    ----------
    kind
        A row of `quality.KINDS`, or of `stamped.KINDS`.
    count
        How many rows, bars or columns.
    first
        Open time of the first one, ISO 8601 UTC; empty where no time applies.
    detail
        What was done, and where in the file.
    """

    kind: str
    count: int
    first: str
    detail: str


@dataclass(frozen=True)
class Fingerprint:
    """Which bytes a symbol's bars come from."""

    path: str
    size: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class SymbolBars:
    """The bars of one symbol; missing bars are absent, missing optional values are NaN.

    Attributes
    ----------
    symbol, timeframe
        Whose bars, and how long.
    index
        int64 [N], absolute bar indices (`Timeframe.index` of the open time), strictly ascending, N >= 1.
    fields
        Field name -> float64 [N]: those asked for that the file has.
    tradable
        bool [N]: the volume is above zero. Every bar here is closed and has finite positive prices.
    findings
        What was found and done, in the order of `quality.KINDS`.
    source
        The file.
    last_bar
        The decision about the file's last bar: ``drop`` where it was left out as still forming, else ``keep``.
        Given back to `source.load_symbol`, it makes the same bars whatever the file's modification time became.
    columns
        All fields that the file has, loaded or not.
    """

    symbol: str
    timeframe: Timeframe
    index: Integers
    fields: Mapping[str, Floats]
    tradable: Bools
    findings: tuple[Finding, ...]
    source: Fingerprint
    last_bar: LastBar
    columns: tuple[str, ...]


def require_fields(bars: SymbolBars, fields: Iterable[str]) -> None:
    """Raise SymbolRefused for the first of `fields` that the symbol's file does not have."""
    for name in sorted(fields):
        if name not in bars.columns:
            hint = did_you_mean(name, bars.columns)
            raise SymbolRefused(
                bars.symbol,
                f"{bars.source.path}: a factor needs column {name}, the file has {', '.join(bars.columns)}{hint}",
            )
