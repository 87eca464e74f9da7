"""Slow twins of the operators about data beside the klines; see `reference`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from Backtest.data.dsl.operators import Context

from .twins import NAN, Twin, column, everywhere, lagged, windowed

TOTAL = windowed(lambda rows, t: math.fsum(column(rows)))


def funding(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
    total, settled = (TOTAL([operand], literals, context) for operand in operands)
    if literals["how"] == "sum":
        return total
    return everywhere(lambda x, n: x / n if n else NAN)([total, settled], literals, context)


JOINED: dict[str, Twin] = {
    "funding": funding,
    "oi_change": lagged(lambda now, ago: now / ago - 1),
    "asof": everywhere(lambda x: x),
}
"""Operator name -> twin."""
