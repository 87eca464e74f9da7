"""Slow twins of the rows that exist for the qlib dialect; see `reference`. `test_qlib` holds them to pyqlib itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from Backtest.data.dsl.operators import Context

from .twins import NAN, Twin, episode, everywhere, missing


def raw_window(function: Callable[[list[float]], float]) -> Twin:
    """Twin of a statistic of the window's rows, missing ones among them; at least one is valid."""

    def twin(operands: Any, literals: dict[str, Any], context: Context) -> np.ndarray:
        (x,), d = operands, literals["d"]
        out = np.full(x.shape, NAN)
        for t, b in np.ndindex(x.shape):
            rows = min(int(context.age[t, b]), d)
            values = [float(v) for v in x[max(t - rows + 1, 0) : t + 1, b]] if 0 < rows <= t + 1 else []
            if not all(map(missing, values)):
                out[t, b] = function(values)
        return out

    return twin


def first_place(values: list[float], best: float) -> float:
    gaps = [place for place, value in enumerate(values, 1) if missing(value)]
    return gaps[0] if gaps else values.index(best) + 1


def twice_averaged(values: list[float]) -> float:
    total = len(values) * (len(values) + 1) / 2
    terms = [place * value / total for place, value in enumerate(values, 1) if not missing(value)]
    return math.fsum(terms) / len(terms)


def adjusted(operands: Any, literals: dict[str, Any], context: Context) -> np.ndarray:
    (x,), faded = operands, 1 - literals["alpha"]
    out = np.full(x.shape, NAN)
    for t, b in np.ndindex(x.shape):
        valid = [(faded ** (t - row), float(x[row, b])) for row in episode(context, t, b) if not missing(x[row, b])]
        if not valid or not context.age[t, b]:
            continue
        total = math.fsum(weight for weight, _ in valid)
        # With every weight faded to nothing the newest value is all there is.
        out[t, b] = math.fsum(weight * value for weight, value in valid) / total if total else valid[-1][1]
    return out


OF_QLIB: dict[str, Twin] = {
    "qlib_idxmax": raw_window(lambda values: first_place(values, max(values))),
    "qlib_idxmin": raw_window(lambda values: first_place(values, min(values))),
    "qlib_wma": raw_window(twice_averaged),
    "qlib_ewm": adjusted,
    "qlib_definite": everywhere(lambda c: c == 1, strict=False),
    "qlib_only": everywhere(lambda x, c: x if c == 1 else NAN),
}
"""Operator name -> twin."""
