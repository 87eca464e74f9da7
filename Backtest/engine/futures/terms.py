"""Under which terms a run trades USDT-M futures, and what its log must say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...data import joins
from ...data.clock import time_words
from ...data.funding import Funding
from ...data.panel import Bools
from ...errors import SettingsError
from .fees import FeeFile
from .tiers import DEFAULT, TierFile

MARGIN_MODES = ("cross", "isolated")
MISSING = ("warn", "refuse")
MOST_NAMED = 5
"""Symbols that a line of the log names; of more it says how many."""


@dataclass(frozen=True)
class FuturesTerms:
    """Terms of a run on USDT-M futures.

    Attributes
    ----------
    margin_mode
        ``cross``: one wallet backs all positions. ``isolated``: each position has its own margin, and loses no more.
    leverage
        Notional per margin of every symbol.
    tiers, fees
        Dated tables of the exchange.
    funding
        Symbol -> its settlements; None or absent where no file has them. Empty: funding is off.
    funding_valid_ns
        The longest time between two settlements: after a longer silence funding is unknown.
    missing_funding
        ``warn`` or ``refuse``: what to do where a position was held while funding is unknown.
    """

    margin_mode: str
    leverage: Mapping[str, float]
    tiers: TierFile
    fees: FeeFile
    funding: Mapping[str, Funding | None]
    funding_valid_ns: int
    missing_funding: str = "warn"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("margin_mode", self.margin_mode, MARGIN_MODES),
            ("missing_funding", self.missing_funding, MISSING),
        ):
            if value not in allowed:
                raise SettingsError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


def check_leverage(terms: FuturesTerms, symbols: tuple[str, ...], opens: NDArray[np.int64]) -> None:
    """Refuse a leverage that the lowest tier of a table of the window does not allow."""
    for symbol in symbols:
        wanted, tables = terms.leverage[symbol], terms.tiers.of(symbol)
        for place, table in enumerate(tables):
            used = (place == 0 or table.since <= opens[-1]) and (
                place + 1 == len(tables) or tables[place + 1].since > opens[0]
            )
            if used and not 1 <= wanted <= table.caps[0]:
                entry = symbol if symbol in terms.tiers.tables else DEFAULT
                raise SettingsError(
                    f"leverage of {symbol} is {wanted:g}; 1 to {table.caps[0]:g} is allowed "
                    f"({terms.tiers.path}, {entry} from {time_words(table.since)[:10]})"
                )


def some(names: Sequence[str]) -> str:
    """Return the names, of more than MOST_NAMED the first and how many more."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def table_notes(terms: FuturesTerms, symbols: tuple[str, ...], first_ns: int) -> tuple[str, ...]:
    """Return what the log must say of tables that are not the symbol's own, or not of the time, and of no funding."""
    notes = []
    plain = [symbol for symbol in symbols if symbol not in terms.tiers.tables]
    if plain:
        notes.append(f"margin tiers: {some(plain)} use the entry {DEFAULT!r} of {terms.tiers.path}")
    late: dict[int, list[str]] = {}
    for symbol in symbols:
        since = terms.tiers.of(symbol)[0].since
        if since > first_ns:
            late.setdefault(since, []).append(symbol)
    for since, names in sorted(late.items()):
        notes.append(f"margin tiers of {some(names)} begin {time_words(since)[:10]}; bars before use them as well")
    if terms.fees.rows[0].since > first_ns:
        notes.append(f"fees begin {time_words(terms.fees.rows[0].since)[:10]}; bars before use them as well")
    if not terms.funding:
        notes.append("funding is off: funding_folder names nothing")
    return tuple(notes)


def unknown_funding(
    terms: FuturesTerms, symbols: tuple[str, ...], held: Bools, bars: joins.Bars, *, verb: str = "was held on"
) -> tuple[str, ...]:
    """Return a line on the symbols whose funding is unknown on bars of `held` [T, S], if any; the worst by name."""
    if not terms.funding:
        return ()
    found: list[tuple[int, str, str]] = []
    for column, symbol in enumerate(symbols):
        count = int(held[:, column].sum())
        series = terms.funding.get(symbol)
        unknown = count
        if series is not None and count:
            unknown = int((held[:, column] & ~series.covered(bars, valid_ns=terms.funding_valid_ns)).sum())
        if unknown:
            has = "no funding file has it" if series is None else f"its file has {series.span}"
            found.append((-unknown, symbol, f"on {unknown:,} of the {count:,} bars it {verb} ({has})"))
    if not found:
        return ()
    if len(found) == 1:
        words = f"funding of {found[0][1]} is unknown {found[0][2]}"
    else:
        worst = [f"{symbol} {bars_of}" for _, symbol, bars_of in sorted(found)]
        words = f"funding of {len(found)} symbols is unknown: {some(worst)}"
    return (f"{words}: nothing was settled where no settlement is known",)
