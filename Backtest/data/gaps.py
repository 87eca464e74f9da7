"""Missing bars: how many, where, and whether the settings still allow the symbol."""

from __future__ import annotations

import numpy as np

from ..errors import DataError
from .bars import Finding
from .cells import Integers
from .clock import episodes, time_words
from .quality import duration_words
from .timeframe import Timeframe


def gap_findings(index: Integers, *, timeframe: Timeframe, episode_gap_ns: int) -> list[Finding]:
    """Report runs of missing bars, and listing episodes where there is more than one."""
    missing = np.diff(index) - 1
    gaps = np.flatnonzero(missing > 0)
    if not len(gaps):
        return []
    longest = int(gaps[np.argmax(missing[gaps])])
    starts = [time_words(timeframe.open_ns(int(index[at]) + 1)) for at in (gaps[0], longest)]
    words = f"{int(missing.sum())} bars missing, at most {int(missing[longest])} in a row, from {starts[1]}"
    findings = [Finding("gaps", len(gaps), starts[0], words)]
    spans = episodes(index, timeframe=timeframe, episode_gap_ns=episode_gap_ns)
    if len(spans.first) > 1:
        begins = [time_words(timeframe.open_ns(int(bar))) for bar in spans.first]
        findings.append(Finding("episodes", len(begins), begins[1], "listed from " + ", ".join(begins)))
    return findings


def check_gaps(index: Integers, *, timeframe: Timeframe, max_gap_ns: int | None, min_coverage: float | None) -> None:
    """Raise DataError for a gap over `max_gap_ns`, or less than `min_coverage` of the bars from first to last."""
    missing = np.diff(index) - 1
    if max_gap_ns is not None and len(missing) and int(missing.max()) * timeframe.ns > max_gap_ns:
        at = int(np.argmax(missing))
        start = time_words(timeframe.open_ns(int(index[at]) + 1))
        length = duration_words(int(missing[at]) * timeframe.ns)
        raise DataError(f"{length} of bars are missing from {start} on, max_gap allows {duration_words(max_gap_ns)}")
    share = len(index) / (int(index[-1]) - int(index[0]) + 1)
    if min_coverage is not None and share < min_coverage:
        raise DataError(f"has {share:.4f} of its bars from first to last, min_coverage asks for {min_coverage:g}")
