"""Rows of the operator table that name another symbol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .row_words import D2, MIN_PERIODS, SERIES, check_window, no_lookback, window_lookback
from .rows_time import FLAT_X
from .signature import Argument, Literals, Operator

SYMBOL = Argument("symbol", "symbol")


def _beta_to(add: Callable[..., Any], operands: Sequence[Any], literals: Literals) -> Any:
    (x,) = operands
    window = {name: value for name, value in literals.items() if name != "symbol"}
    return add("ts_beta", (x, add("of", (x,), {"symbol": literals["symbol"]})), window)


NAMED = (
    Operator(
        "of", (SYMBOL, SERIES), "series", "named", no_lookback, "named:of",
        "Another symbol's value, the same for every symbol; it is loaded whether the run names it or not.",
        "x of `symbol` at t", "where x of `symbol` is, and outside the own symbol's listing episodes",
        'of("BTCUSDT", close)',
    ),
    Operator(
        "beta_to", (SYMBOL, SERIES, D2, MIN_PERIODS), "series", "named", window_lookback, "",
        "Slope of the least-squares line of x on another symbol's x.", "ts_beta(x, of(symbol, x), d)",
        FLAT_X.replace("x is flat", "the other symbol's x is flat"), 'beta_to("BTCUSDT", returns(close, 1), 30)',
        ddof="none: it cancels", check=check_window, expand=_beta_to,
    ),
)  # fmt: skip
