"""When a strategy is asked for weights: which rows of the clock are rebalance rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..data.panel import Bools
from ..data.timeframe import DAY_SECONDS, FIRST_MONDAY_SECONDS, SECOND_NS, WEEK_SECONDS, Timeframe


def rebalance_rows(rebalance: str, timeframe: Timeframe, *, first_bar: int, rows: int) -> Bools:
    """Return bool [rows]: True where the close of the row decides.

    A number N: rows 0, N, 2N ... ; ``1d``, ``1w``, ``1M``: the last bar that opens before UTC midnight, Monday, the
    1st, so that the order fills at the first open after it.
    """
    if rebalance.isdigit():
        return np.arange(rows) % int(rebalance) == 0
    opens = timeframe.open_ns(first_bar) + timeframe.ns * np.arange(rows + 1, dtype=np.int64)
    periods = PERIODS[rebalance](opens)
    return np.asarray(periods[1:] != periods[:-1])


def days(opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the UTC day of each time (nanoseconds since the epoch)."""
    return opens // (DAY_SECONDS * SECOND_NS)


def weeks(opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the week, from Monday 00:00 UTC, of each time."""
    return (opens - FIRST_MONDAY_SECONDS * SECOND_NS) // (WEEK_SECONDS * SECOND_NS)


def months(opens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the calendar month of each time."""
    return opens.view("datetime64[ns]").astype("datetime64[M]").astype(np.int64)


PERIODS = {"1d": days, "1w": weeks, "1M": months}
