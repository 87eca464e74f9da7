"""What float32, the only type of Qlib's files, does to an evaluation: counted on writing, told in the report.

Rounding to the nearest keeps the order of two values or makes them equal, never the reverse. So all ranks and quantiles
of a bar are those of the plain store, bit for bit, unless names became equal there: `tied_bars` counts those bars. All
else agrees to what seven digits leave of it. Only returns that are computed anew from rounded prices have an error of
their own: `rounding_notes` names them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from Backtest.data.panel import Floats

ROWS = 65_536
"""Bars that are sorted at a time."""


def tied_bars(values: Floats) -> int:
    """Return in how many bars of float64 [T, S] two different finite values are one and the same float32."""
    found = 0
    for begin in range(0, len(values), ROWS):
        ordered = np.sort(values[begin : begin + ROWS], axis=1)
        with np.errstate(over="ignore"):
            single = ordered.astype(np.float32)
        equal = (single[:, 1:] == single[:, :-1]) & np.isfinite(single[:, 1:])
        found += int((equal & (ordered[:, 1:] != ordered[:, :-1])).any(axis=1).sum())
    return found


def rounding_notes(
    factor_tied: int, label_tied: Mapping[str, int], columns: Mapping[str, str], *, cross_section: bool = True
) -> tuple[str, ...]:
    """Return what a report from the Qlib store has to say.

    Parameters
    ----------
    factor_tied, label_tied
        `tied_bars` of the factor, and of each forward return that Step 0 wrote, by its column.
    columns
        Horizon key -> column of its forward return.
    cross_section
        False: ranks are over time, symbol by symbol; bars that became equal there were not counted.
    """
    written = {key: label_tied[column] for key, column in columns.items() if column in label_tied}
    counts = {"the factor": factor_tied, **{f"the returns over {key}": count for key, count in written.items()}}
    places = [f"{count:,} bar{'s' * (count > 1)} of {what}" for what, count in counts.items() if count]
    told = "no two names became equal by that: ranks and quantiles are those of the plain store"
    if places:
        told = f"names became equal in {', '.join(places)}, where ranks and quantiles differ from the plain store's"
    if not cross_section:
        told = "two bars of a symbol may have become equal by that, and ranks over time differ by as much"
    notes = [f"Qlib's files hold seven digits (float32); {told}"]
    anew = [key for key in columns if key not in written]
    if anew:
        notes.append(
            f"the returns over {', '.join(anew)} are not in the store and computed from its prices, each with an error "
            "of about 1e-7; Step 0 with these --horizons writes them exactly"
        )
    return tuple(notes)
