"""Exact permutation p-value of the rank IC of small cross-sections: no normal theory, no simulation."""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from .evaluation import Floats

MOST_NAMES = 8
"""8! = 40,320 orders are counted in a moment; larger cross-sections are close to the normal law."""

LONGEST = 1 << 21
"""Values that the summed statistic may take; beyond, thousands of bars have been summed and the t-test is as good."""


def permutation_p(factor: Floats, label: Floats, bars: int = 1) -> float:
    """Return the two-sided p-value that factor and forward return are unrelated within bars.

    Parameters
    ----------
    factor, label
        float64 [T, S], S up to `MOST_NAMES`; pairs with a NaN are left out.
    bars
        Length of the forward return: only every `bars`-th bar takes part, so that returns do not overlap.

    Returns
    -------
    float
        P(|Z| >= |observed|), Z the sum over bars of the products of centred ranks (ties averaged), when in every bar
        the returns are dealt to the names at random. The law of one bar is counted over all n! orders and the laws of
        the bars are convolved. NaN where there are too many names, no bar with a choice, or too many bars.
    """
    if factor.shape[1] > MOST_NAMES:
        return math.nan
    valid = np.isfinite(factor) & np.isfinite(label)
    mine, theirs = (_centred(values[::bars], valid[::bars]) for values in (factor, label))
    observed = int((mine * theirs).sum())
    kinds = Counter(
        (tuple(sorted(a[held].tolist())), tuple(sorted(b[held].tolist())))
        for a, b, held in zip(mine, theirs, valid[::bars], strict=True)
        if a.any() and b.any()
    )
    if not kinds:
        return math.nan
    laws = [(_law(a, b), count) for (a, b), count in kinds.items()]
    step = math.gcd(*(int(value - values[0]) for (values, _), _ in laws for value in values[1:]))
    length = 1 + sum(int(values[-1] - values[0]) // step * count for (values, _), count in laws)
    if length > LONGEST:
        return math.nan
    low = sum(int(values[0]) * count for (values, _), count in laws)
    size = 1 << (length - 1).bit_length() if length > 1 else 1
    spectrum = np.ones(size // 2 + 1, np.complex128)
    for (values, shares), count in laws:
        single = np.zeros(size)
        single[(values - values[0]) // step] = shares
        spectrum *= np.fft.rfft(single) ** count
    law = np.fft.irfft(spectrum, size)[:length]
    places = low + step * np.arange(length)
    return float(min(1.0, max(0.0, law[np.abs(places) >= abs(observed)].sum())))


def _centred(values: Floats, valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return [T, S]: names below minus names above, which is twice the centred rank; 0 where missing."""
    filled = np.where(valid, values, 0.0)
    both = valid[:, :, None] & valid[:, None, :]
    compared = np.sign(filled[:, :, None] - filled[:, None, :]) * both
    return np.asarray(compared.sum(axis=2).astype(np.int64))


def _law(mine: tuple[int, ...], theirs: tuple[int, ...]) -> tuple[NDArray[np.int64], Floats]:
    """Return the values of sum a_i b_p(i) over all orders p, ascending, and their shares."""
    orders = np.array(list(permutations(theirs)), dtype=np.int64)
    values, counts = np.unique(orders @ np.array(mine, dtype=np.int64), return_counts=True)
    return values, counts / counts.sum()
