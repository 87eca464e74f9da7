"""Coarser bars from finer ones: labels at bar open, each column combined as `schema` says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from .bars import Finding
from .cells import Integers
from .clock import time_words
from .panel import Floats
from .quality import CleanBars, in_order
from .schema import BY_NAME, Combine
from .timeframe import Timeframe

COMBINE: dict[Combine, Callable[[Floats, Integers], Floats]] = {
    "first": lambda values, begins: values[begins],
    "last": lambda values, begins: values[np.append(begins[1:], len(values)) - 1],
    "max": np.maximum.reduceat,
    "min": np.minimum.reduceat,
    "sum": np.add.reduceat,
}
"""Column of N finer bars, first row of each coarser bar -> column of coarser bars. A missing value inside a maximum,
minimum or sum makes it missing; a missing bar does not (`partial_bars` tells)."""


def combine(columns: Mapping[str, Floats], labels: Integers) -> tuple[dict[str, Floats], Integers]:
    """Return the columns of coarser bars, and the first row of each.

    Parameters
    ----------
    columns
        Field name -> float64 [N], the finer bars that exist, N >= 1. One that is no kline column is a state: the
        last one counts.
    labels
        int64 [N], ascending: which coarser bar a row belongs to.
    """
    begins = np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))
    rules: dict[str, Combine] = {name: BY_NAME[name].combine if name in BY_NAME else "last" for name in columns}
    return {name: COMBINE[rules[name]](values, begins) for name, values in columns.items()}, begins


def resample(bars: CleanBars, source: Timeframe, target: Timeframe) -> tuple[CleanBars, bool]:
    """Return the bars of `target`, whose length `source` divides, and whether the last one has its last finer bar.

    Every coarser bar with at least one finer bar exists; those with fewer than all of them are a finding.
    """
    opened = source.origin_ns + bars.index * source.ns
    labels = (opened - target.origin_ns) // target.ns
    columns, begins = combine(bars.columns, labels)
    index = labels[begins]
    counts = np.diff(np.append(begins, len(labels)))
    partial = np.flatnonzero(counts < target.ns // source.ns)
    findings = list(bars.findings)
    if len(partial):
        first = time_words(target.open_ns(int(index[partial[0]])))
        words = f"{int((target.ns // source.ns - counts[partial]).sum())} bars of {source.label} missing inside"
        findings.append(Finding("partial_bars", len(partial), first, words))
    complete = int(opened[-1]) + source.ns == target.open_ns(int(index[-1]) + 1)
    return replace(bars, index=index, columns=columns, findings=in_order(findings)), complete
