"""Slow twins of the operators about the market; see `reference`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from Backtest.data.dsl.operators import Context

from .twins import NAN, Twin, across, column, everywhere, windowed

MEAN = windowed(lambda rows, t: math.fsum(column(rows)) / len(rows))


def age(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
    out = np.full(context.age.shape, NAN)
    for place in np.ndindex(out.shape):
        if context.age[place] > 0:
            out[place] = context.age[place] - 1
    return out


def most(values: list[float], n: int) -> list[float]:
    order = sorted(range(len(values)), key=lambda k: (-values[k], k))
    return [float(order.index(k) < n) for k in range(len(values))]


def adv_rank(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
    return across(most, "n")([MEAN(operands, literals, context)], literals, context)


MARKET: dict[str, Twin] = {
    "vwap": everywhere(lambda quote, base: quote / base),
    "adv": MEAN,
    "taker_imbalance": everywhere(lambda bought, volume: (bought - (volume - bought)) / volume),
    "premium": everywhere(lambda premium_close: premium_close),
    "basis": everywhere(lambda perp, spot: perp / spot - 1),
    "age": age,
    "adv_rank": adv_rank,
}
