"""Forward returns: the only place of the project that looks into the future, and never into a factor.

1. `parse_horizons`: what the user typed -> bars.
2. `forward_return`: one label for every bar and symbol.
3. `make_labels`: all of them for a panel, named by `label_name`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from Backtest.data.panel import Floats, Panel
from Backtest.data.timeframe import Timeframe, parse_duration
from Backtest.errors import SettingsError

LabelKind = Literal["open", "close"]
"""``open``: open[t+1+h] / open[t+1] - 1, what can be traded after the close of t.
``close``: close[t+h] / close[t] - 1, which nobody gets who decides at the close of t."""

WORDS: Mapping[LabelKind, str] = {"open": "open[t+1+h] / open[t+1] − 1", "close": "close[t+h] / close[t] − 1"}
"""A label for people."""

DELAY: Mapping[LabelKind, int] = {"open": 1, "close": 0}
"""Bars from t to the price that is bought at."""

LONGEST = 1_000_000
"""Bars of a horizon at most, as of a window."""


def label_name(kind: LabelKind, bars: int) -> str:
    """Return the column of a label: ``label_5`` (open), ``label_close_5``."""
    return f"label_{bars}" if kind == "open" else f"label_{kind}_{bars}"


def measured_kind(kinds: Iterable[LabelKind]) -> LabelKind:
    """Return the kind of a run's labels that factors are measured against: opens, unless closes alone were written."""
    return "open" if "open" in kinds else "close"


def parse_horizons(words: Iterable[str], timeframe: Timeframe) -> dict[str, int]:
    """Return horizon as typed -> bars; a bare number counts bars, ``15min`` or ``1h`` must be whole bars.

    Raises
    ------
    SettingsError
        Not a positive number of bars, or the same horizon twice.
    """
    horizons: dict[str, int] = {}
    for word in (part.strip() for item in words for part in item.split(",")):
        if not word:
            continue
        bars = int(word) if word.isascii() and word.isdigit() and len(word) <= 7 else _bars_of(word, timeframe)
        if not 1 <= bars <= LONGEST:
            raise SettingsError(f"horizon {word!r} is {bars} bars; allowed are 1 to {LONGEST:,}")
        same = next((other for other, count in horizons.items() if count == bars), None)
        if same is not None:
            raise SettingsError(f"horizons {same!r} and {word!r} are both {bars} bars; name one")
        horizons[word] = bars
    if not horizons:
        raise SettingsError("no horizon is given; write e.g. --horizons 5,15,1h")
    return horizons


def _bars_of(word: str, timeframe: Timeframe) -> int:
    length = parse_duration(word, "horizon")
    if length % timeframe.ns:
        raise SettingsError(f"horizon {word!r} is no whole number of {timeframe.label} bars")
    return length // timeframe.ns


def forward_return(prices: Floats, age: NDArray[np.int32], horizon: int, *, kind: LabelKind = "open") -> Floats:
    """Return what a position entered after the close of each bar makes over `horizon` bars.

    Parameters
    ----------
    prices
        float64 [T, S]: opens for ``open``, closes for ``close``; missing is NaN. Nothing is filled.
    age
        int32 [T, S] of a Panel: counts the rows of a listing episode, 0 outside.
    horizon
        Bars, 1 or more.
    kind
        ``open``: prices[t+1+h] / prices[t+1] - 1; ``close``: prices[t+h] / prices[t] - 1.

    Returns
    -------
    float64 [T, S]
        NaN where a price is missing, where t+h (+1) lies beyond the last row, or in another listing episode than t.
    """
    out = np.full(prices.shape, np.nan)
    delay = DELAY[kind]
    last = delay + horizon
    rows = len(prices) - last
    if rows <= 0:
        return out
    same = (age[:rows] > 0) & (age[last:] == age[:rows] + np.int32(last))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        change = prices[last:] / prices[delay : delay + rows] - 1.0
    kept = same & np.isfinite(change)
    out[:rows][kept] = change[kept]
    return out


def make_labels(panel: Panel, horizons: Iterable[int], *, kinds: Iterable[LabelKind] = ("open",)) -> dict[str, Floats]:
    """Return label name -> float64 [T, S] for a panel that holds the fields ``open`` and ``close``."""
    return {
        label_name(kind, bars): forward_return(panel.fields[kind], panel.age, bars, kind=kind)
        for kind in kinds
        for bars in horizons
    }
