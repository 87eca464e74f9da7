"""What a reader has to know before the numbers: too few symbols, values that tie, horizons without an IC."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .aligned import Aligned
from .evaluation import HorizonResult
from .time_series import MIN_SYMBOLS


def notes_on(data: Aligned, symbols: tuple[str, ...], results: Mapping[str, HorizonResult]) -> tuple[str, ...]:
    """Return the sentences, none where all is as usual."""
    notes = []
    wide = len(symbols) >= MIN_SYMBOLS
    if not wide:
        notes.append(
            f"{len(symbols)} symbol{'s' if len(symbols) > 1 else ''} (a cross-section needs {MIN_SYMBOLS}): IC and "
            "quantiles are over time, symbol by symbol; where a quantile begins is known only at the end, nobody could "
            "have held it, and so break-even cost and net spread are missing"
        )
    if wide and data.rows.constant.any():
        notes.append(f"{int(data.rows.constant.sum()):,} bars have the same factor for every symbol: no IC there")
    held = data.factor[np.isfinite(data.factor)]
    if held.size and held.min() == held.max():
        notes.append("the factor has the same value everywhere: no correlation exists")
    elif wide and 2 * data.rows.both_ends < data.rows.usable.sum():
        notes.append(
            f"{data.rows.both_ends:,} of {int(data.rows.usable.sum()):,} bars have both a lowest and a highest of "
            f"{data.rows.held.shape[0]} quantiles, because values tie or names are few: spread and costs are of those "
            "bars only, and the mean returns of the quantiles of different bars; fewer quantiles (--group) change that"
        )
    without = [key for key, result in results.items() if not result.rank_ic_summary.count]
    if without:
        notes.append(f"no bar has an IC at horizon {', '.join(without)}")
    return tuple(notes)
