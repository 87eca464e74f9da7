"""Slow twins of the operators about the market and inside groups; see `reference`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from Backtest.data.dsl.operators import Context

from .twins import (
    NAN,
    Twin,
    across,
    average_rank,
    column,
    cross_scale,
    cross_zscore,
    deviations,
    everywhere,
    quantile_of,
    windowed,
)  # fmt: skip
from .twins_more import cross_std, everyone

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


def grouped(function: Callable[..., list[float]], *names: str) -> Twin:
    """Twin of a cross-section inside groups: the twin of the whole cross-section, for each group alone."""
    whole = across(function, *names)

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        x, codes = operands
        assert context.population is not None
        out = np.full(context.age.shape, NAN)
        for code in set(codes[~np.isnan(codes)].tolist()):
            inside = codes == code
            part = replace(context, population=context.population & inside)
            out = np.where(inside, whole([x], literals, part), out)
        return out

    return twin


MARKET: dict[str, Twin] = {
    "vwap": everywhere(lambda quote, base: quote / base),
    "adv": MEAN,
    "taker_imbalance": everywhere(lambda bought, volume: (bought - (volume - bought)) / volume),
    "premium": everywhere(lambda premium_close: premium_close),
    "basis": everywhere(lambda perp, spot: perp / spot - 1),
    "age": age,
    "adv_rank": adv_rank,
    "grp_demean": grouped(deviations),
    "grp_rank": grouped(lambda values: [average_rank(values, value) / len(values) for value in values]),
    "grp_zscore": grouped(cross_zscore, "ddof"),
    "grp_scale": grouped(cross_scale, "a"),
    "grp_mean": grouped(everyone(lambda values: math.fsum(values) / len(values))),
    "grp_median": grouped(everyone(lambda values: quantile_of(values, 0.5))),
    "grp_sum": grouped(everyone(math.fsum)),
    "grp_count": grouped(everyone(len)),
    "grp_std": grouped(everyone(cross_std), "ddof"),
}
