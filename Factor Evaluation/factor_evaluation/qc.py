"""Quality of the inputs in numbers: each check counts bars, for every symbol and month. Pure functions of a panel.

1. `CHECKS`: the table of checks: name, what it counts, which setting limits its share.
2. `quality`: the counts of every check, the gaps and the coverage.
3. `violations`: what lies above the settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from Backtest.data.panel import Bools, Floats, Panel
from Backtest.data.timeframe import parse_duration
from Backtest.settings import CoreSettings

Counts = NDArray[np.int64]

NORMAL_MAD = 1.4826
"""Median absolute deviation of a normal distribution -> its standard deviation."""
NORMAL_MEAN = 1.2533
"""Mean absolute deviation -> standard deviation; stands in where more than half of the returns are equal."""

AROUND_BARS = 96
"""A volume is compared with the median of its block of so many bars and of both blocks beside it."""


@dataclass(frozen=True)
class Check:
    """One check: `marks` returns the bool [T, S] of the bars that it counts; `words` names settings in braces."""

    name: str
    words: str
    limit: str
    marks: Callable[[Panel, CoreSettings], Bools]


@dataclass(frozen=True)
class Quality:
    """What was counted, M months and S symbols.

    Attributes
    ----------
    symbols, months
        Columns and rows, months as ``2025-01``.
    expected, present
        int64 [M, S]: bars from the symbol's first to its last, and those that exist.
    counts
        Check -> int64 [M, S].
    gaps, longest_gap
        int64 [S]: runs of missing bars, and the bars of the longest.
    """

    symbols: tuple[str, ...]
    months: tuple[str, ...]
    expected: Counts
    present: Counts
    counts: dict[str, Counts]
    gaps: Counts
    longest_gap: Counts

    @property
    def coverage(self) -> Floats:
        """Share of the expected bars that exist [M, S]; NaN where none is expected."""
        shares: Floats = np.full(self.present.shape, np.nan)
        np.divide(self.present, self.expected, out=shares, where=self.expected > 0)
        return shares

    def shares(self, counts: Counts, column: int) -> float:
        """Return a count as a share of a symbol's bars."""
        bars = int(self.present[:, column].sum())
        return float(counts[:, column].sum()) / bars if bars else 0.0


@dataclass(frozen=True)
class Violation:
    """A symbol above a threshold."""

    symbol: str
    check: str
    value: float
    limit: float

    def __str__(self) -> str:
        return f"{self.symbol}: {self.check} is {self.value:.6g}; at most {self.limit:.6g} is allowed"


def stale(panel: Panel, core: CoreSettings) -> Bools:
    """Return the bars in a run of `qc_stale_bars` or more bars with one close; a missing bar ends a run."""
    close = panel.fields["close"]
    out = np.zeros(close.shape, np.bool_)
    for column in range(close.shape[1]):
        values = close[:, column]
        begins = np.flatnonzero(np.concatenate(([True], values[1:] != values[:-1])))
        lengths = np.diff(np.append(begins, len(values)))
        runs = np.repeat(lengths >= core.qc_stale_bars, lengths)
        out[:, column] = runs & panel.exists[:, column]
    return out


def outliers(panel: Panel, core: CoreSettings) -> Bools:
    """Return the bars whose log return from the bar before is `qc_outlier_deviations` robust deviations off."""
    close = panel.fields["close"]
    out = np.zeros(close.shape, np.bool_)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.diff(np.log(close), axis=0)
    for column in range(close.shape[1]):
        there = np.isfinite(change[:, column])
        if not there.any():
            continue
        away = np.abs(change[:, column] - np.median(change[there, column]))
        spread = NORMAL_MAD * np.median(away[there]) or NORMAL_MEAN * away[there].mean()
        out[1:, column] = there & (away > core.qc_outlier_deviations * spread)
    return out


def zero_volume(panel: Panel, core: CoreSettings) -> Bools:
    """Return the bars without volume."""
    marks: Bools = panel.exists & (panel.fields["volume"] == 0)
    return marks


def volume_anomalies(panel: Panel, core: CoreSettings) -> Bools:
    """Return the bars with `qc_volume_ratio` times the median of the volumes around that are not zero."""
    volume = np.where(panel.fields["volume"] > 0, panel.fields["volume"], np.nan)
    rows, columns = volume.shape
    count = -(-rows // AROUND_BARS)
    padded = np.full(((count + 2) * AROUND_BARS, columns), np.nan)
    padded[AROUND_BARS : AROUND_BARS + rows] = volume
    usual = np.full((count, columns), np.nan)
    for block in range(count):
        around = padded[block * AROUND_BARS : (block + 3) * AROUND_BARS]
        some = np.isfinite(around).any(axis=0)
        usual[block, some] = np.nanmedian(around[:, some], axis=0)
    with np.errstate(invalid="ignore"):
        marks: Bools = volume > core.qc_volume_ratio * np.repeat(usual, AROUND_BARS, axis=0)[:rows]
    return marks


CHECKS: tuple[Check, ...] = (
    Check("stale", "bars in a run of {qc_stale_bars} or more with one and the same close", "qc_max_stale", stale),
    Check(
        "outliers",
        "bars whose return is over {qc_outlier_deviations:g} robust standard deviations off",
        "qc_max_outliers",
        outliers,
    ),
    Check("zero_volume", "bars without volume", "qc_max_zero_volume", zero_volume),
    Check(
        "volume_anomalies",
        "bars with over {qc_volume_ratio:g} times the median volume of the bars around",
        "qc_max_volume_anomalies",
        volume_anomalies,
    ),
)


def quality(panel: Panel, core: CoreSettings) -> Quality:
    """Count everything, for every month and symbol of a panel with the fields ``close`` and ``volume``."""
    months, place = np.unique(panel.timestamp.astype("datetime64[M]"), return_inverse=True)
    life = lives(panel.exists)

    def monthly(marks: Bools) -> Counts:
        out = np.zeros((len(months), marks.shape[1]), np.int64)
        np.add.at(out, place, marks)
        return out

    runs = [_gaps(panel.exists[:, column]) for column in range(len(panel.symbols))]
    return Quality(
        panel.symbols,
        tuple(str(month) for month in months),
        monthly(life),
        monthly(panel.exists),
        {check.name: monthly(check.marks(panel, core)) for check in CHECKS},
        np.array([len(lengths) for lengths in runs], np.int64),
        np.array([lengths.max(initial=0) for lengths in runs], np.int64),
    )


def lives(exists: Bools) -> Bools:
    """Return bool [T, S]: from each symbol's first bar to its last."""
    forward = np.logical_or.accumulate(exists, axis=0)
    backward = np.logical_or.accumulate(exists[::-1], axis=0)[::-1]
    life: Bools = forward & backward
    return life


def _gaps(exists: Bools) -> Counts:
    """Return the lengths of the runs of missing bars between bars."""
    rows = np.flatnonzero(exists)
    steps = np.diff(rows) - 1
    return steps[steps > 0].astype(np.int64)


def violations(found: Quality, core: CoreSettings, bar_ns: int) -> Iterator[Violation]:
    """Yield every symbol and check above its setting."""
    longest = parse_duration(core.qc_max_gap) / bar_ns
    for column, symbol in enumerate(found.symbols):
        expected, present = int(found.expected[:, column].sum()), int(found.present[:, column].sum())
        missing = 1 - present / expected if expected else 1.0
        values = [("missing", missing, core.qc_max_missing)]
        values += [("longest gap in bars", float(found.longest_gap[column]), longest)]
        values += [
            (check.name, found.shares(found.counts[check.name], column), getattr(core, check.limit)) for check in CHECKS
        ]
        for name, value, limit in values:
            if value > limit:
                yield Violation(symbol, name, value, limit)
