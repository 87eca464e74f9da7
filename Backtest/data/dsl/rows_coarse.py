"""The row of the operator table whose operand is computed on other bars than the run's."""

from __future__ import annotations

from .row_words import no_lookback
from .signature import Argument, Operator

BARS = Operator(
    "bars", (Argument("timeframe", "timeframe"), Argument("x", "any")), "series", "coarse", no_lookback, "",
    "x computed on coarser bars, made of the run's own: windows in x count those. x may name kline fields only.",
    "x of the last coarser bar whose close is not later than the close of t",
    "where x is; where none of that bar's own bars exists; before the listing episode's first coarser bar has closed; "
    "outside episodes",
    'bars("4h", ts_mean(close, 14))',
)  # fmt: skip
