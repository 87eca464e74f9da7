"""Where a factor has values, and which: coverage, missing by time, distribution, outliers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .blocks import Bools
from .evaluation import Coverage, Distribution, Floats, Times
from .ranked import FactorRows

OUTLIER_MADS = 10.0
"""Scaled median absolute deviations from the median; a normal law has one value in 10^23 beyond."""

MAD_SCALE = 1.4826
"""Makes the median absolute deviation of a normal law its standard deviation."""

BINS = 60
TAIL = 0.005
LEVELS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


def coverage_of(factor: Floats, alive: Bools, timestamp: Times, symbols: tuple[str, ...]) -> Coverage:
    """Return the shares of the alive cells [T, S] that have a finite factor: by bar, symbol, and month and symbol."""
    held = np.isfinite(factor) & alive
    month = timestamp.astype("datetime64[M]")
    names, first = np.unique(month, return_index=True)
    if names.size:
        cells, filled = (np.add.reduceat(mask.astype(np.int64), first, axis=0) for mask in (alive, held))
    else:
        cells = filled = np.zeros((0, len(symbols)), np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        by_bar = held.sum(axis=1) / alive.sum(axis=1)
        by_symbol = held.sum(axis=0) / alive.sum(axis=0)
        by_month = filled / cells
    return Coverage(
        by_bar,
        dict(zip(symbols, by_symbol.tolist(), strict=True)),
        tuple(str(name) for name in names),
        by_month,
        tuple(int(count) for count in (cells - filled).sum(axis=1)),
    )


def distribution_of(factor: Floats, rows: FactorRows | None = None) -> Distribution:
    """Return the moments, quantiles, outliers and histogram of the finite values; moments are two-pass."""
    values = np.sort(factor[np.isfinite(factor)])
    n = values.size
    constant = int(rows.constant.sum()) if rows is not None else 0
    if not n:
        nothing = {f"{level:g}": float("nan") for level in LEVELS}
        nan = float("nan")
        return Distribution(0, nan, nan, nan, nan, nothing, 0, 0, 0, constant, np.zeros(0), np.zeros(0, np.int64))
    mean = float(values.mean())
    away = values - mean
    flat = values[0] == values[-1]
    second = 0.0 if flat else float(np.mean(away**2))
    median = float(np.median(values))
    scale = MAD_SCALE * float(np.median(np.abs(values - median)))
    edges, counts = _histogram(values)
    return Distribution(
        count=n,
        mean=mean,
        std=float(np.sqrt(second * n / (n - 1))) if n > 1 else float("nan"),
        skewness=float(np.mean(away**3) / second**1.5) if second > 0 else float("nan"),
        kurtosis_excess=float(np.mean(away**4) / second**2 - 3.0) if second > 0 else float("nan"),
        quantiles={
            f"{level:g}": float(value) for level, value in zip(LEVELS, np.quantile(values, LEVELS), strict=True)
        },
        outliers=int((np.abs(values - median) > OUTLIER_MADS * scale).sum()) if scale > 0 else 0,
        zeros=int((values == 0.0).sum()),
        distinct=1 + int((np.diff(values) > 0).sum()),
        constant_bars=constant,
        edges=edges,
        counts=counts,
    )


def _histogram(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    low, high = (float(value) for value in np.quantile(values, (TAIL, 1.0 - TAIL)))
    if not low < high:  # nearly all values are one: of a sparse factor the few others are what there is to see
        low, high = float(values[0]), float(values[-1])
    if not low < high:
        return np.array([values[0], values[-1]]), np.array([values.size], dtype=np.int64)
    edges = np.linspace(low, high, BINS + 1).astype(np.float64)
    counts, _ = np.histogram(np.clip(values, low, high), edges)
    return edges, counts.astype(np.int64)
