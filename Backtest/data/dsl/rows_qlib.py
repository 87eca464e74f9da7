"""Rows of the operator table that exist for the qlib dialect only; `dialects.qlib` names them."""

from __future__ import annotations

from typing import Any

from .row_words import CONDITION, SERIES, D, episode_lookback, no_lookback, window_lookback
from .signature import Argument, Literals, Operator

ANY_VALUE = "where no value of W is valid; rows before the episode are not part of W"


def check_alpha(literals: Literals) -> str | None:
    """Refuse a weight that no exponential mean has."""
    alpha = literals["alpha"]
    return None if 0 < alpha <= 1 else f"the weight of the present value must be above 0 and at most 1; found {alpha:g}"


def _place(name: str, what: str, example: str) -> Operator:
    return Operator(
        name, (SERIES, D), "series", "time", window_lookback, f"qlib:{name}", f"Place of the {what} value in W.",
        f"1 + rows of W before the first {what} value; before the first missing row where W has one", ANY_VALUE,
        example, ties="the oldest wins", sign="positive", dialect="qlib",
    )  # fmt: skip


def _choice(name: str, kernel: str, arguments: tuple[Argument, ...], *words: str, **more: Any) -> Operator:
    doc, formula, missing, example = words
    return Operator(
        name, arguments, more.pop("result", "series"), "elementwise", no_lookback, f"elementwise:{kernel}", doc,
        formula, missing, example, dialect="qlib",
    )  # fmt: skip


QLIB = (
    _place("qlib_idxmax", "largest", "IdxMax($high, 5)"),
    _place("qlib_idxmin", "smallest", "IdxMin($low, 5)"),
    Operator("qlib_wma", (SERIES, D), "series", "time", window_lookback, "qlib:qlib_wma",
             "Linear weights that sum to 1 over all rows, then the mean over the valid ones (Qlib's issue 1993).",
             "sum w x / (k (k + 1) / 2) / n, w = 1 (oldest row) .. k (now), k rows of W in the episode", ANY_VALUE,
             "WMA($close, 5)", dialect="qlib"),
    Operator("qlib_ewm", (SERIES, Argument("alpha", "number")), "series", "recursive", episode_lookback,
             "qlib:qlib_ewm", "Exponential mean of the episode with weights that a missing bar fades, too.",
             "sum (1 - alpha)^k x[t-k] / sum (1 - alpha)^k over the valid rows since the episode's first bar",
             "before the first valid value", "EMA($close, 9)", check=check_alpha, dialect="qlib"),
    _choice("qlib_definite", "definite", (CONDITION,), "Mask without missing places.", "c, false where it is missing",
            "never", "$close > $open", result="mask"),
    _choice("qlib_only", "only", (SERIES, Argument("c", "mask")), "Keep values by a mask.", "x where c",
            "where x is, and where c is not true", "Rsquare($close, 5)"),
)  # fmt: skip
