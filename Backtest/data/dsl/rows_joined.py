"""Rows of the operator table about data beside the klines: funding, open interest, external series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .row_words import WINDOW, lag_lookback, no_lookback, window
from .rows_time import AGO
from .signature import Argument, Literals, Operator


def _funding(add: Callable[..., Any], operands: Sequence[Any], literals: Literals) -> Any:
    sums, counts = operands
    given = {name: value for name, value in literals.items() if name != "how"}
    total = add("ts_sum", (sums,), given)
    return total if literals["how"] == "sum" else add("div", (total, add("ts_sum", (counts,), given)), {})


def _oi_change(add: Callable[..., Any], operands: Sequence[Any], literals: Literals) -> Any:
    return add("returns", operands, literals)


def _asof(add: Callable[..., Any], operands: Sequence[Any], literals: Literals) -> Any:
    return operands[0]  # joined when the panel is made: the operand is the field that the delay names


JOINED = (
    window("funding", "", 'ts_sum(funding_sum, d); with "mean" that / ts_sum(funding_count, d)',
           "Funding settled inside the window: all of it, or the mean of a settlement.",
           data=(), literals=(Argument("how", "choice", choices=("sum", "mean")),),
           implicit=("funding_sum", "funding_count"), example='funding(6, "sum")', expand=_funding,
           missing=WINDOW + '; with "mean" also where nothing was settled'),
    Operator("oi_change", (Argument("d", "lag"),), "series", "time", lag_lookback, "",
             "Fractional change of the open interest over d bars.", "returns(open_interest, d)",
             AGO.replace("where x is", "where it is") + ", or it was 0",
             "oi_change(6)", implicit=("open_interest",), expand=_oi_change),
    Operator("asof", (Argument("x", "external"), Argument("lag", "delay")), "series", "elementwise", no_lookback, "",
             "Latest value of an external series that is known at the bar's close, the same for every symbol.",
             "x of the last stamp with stamp + lag <= close of t",
             "before the first such stamp, and where that is older than the series is valid",
             'asof(usdt_supply, "1d")', expand=_asof),
)  # fmt: skip
