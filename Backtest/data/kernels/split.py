"""Sums over the bars of a window where another series is largest or smallest."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, window_of
from .finish import blank_infinite
from .rows import NO_LIMIT

DIFFERENCE, TOP, BOTTOM = range(3)
PARTS = {"diff": DIFFERENCE, "top": TOP, "bottom": BOTTOM}


@compiled
def _place(keys, places, n, key, place):
    """Return how many of the n pairs, sorted by key and then by row, come before (key, place)."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key or (keys[middle] == key and places[middle] < place):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _total(x, b, places, first, last):
    total = 0.0
    for i in range(first, last):
        total += x[places[i], b]
    return total


@compiled
def splits(x, by, age, out, d, min_valid, min_age, k, mode):
    """Sum of x over the k rows with the largest `by`, over the k with the smallest, or the difference."""
    rows, columns = x.shape
    keys, places = np.empty(min(d, rows) + 1), np.empty(min(d, rows) + 1, np.int64)
    for b in range(columns):
        n = 0
        for t in range(rows):
            v, w, a = x[t, b], by[t, b], age[t, b]
            if a <= 1:
                n = 0
            elif t >= d and a > d and x[t - d, b] == x[t - d, b] and by[t - d, b] == by[t - d, b]:
                n -= 1
                for i in range(_place(keys, places, n + 1, by[t - d, b], t - d), n):
                    keys[i], places[i] = keys[i + 1], places[i + 1]
            if a > 0 and v == v and w == w:
                at = _place(keys, places, n, w, t)
                for i in range(n, at, -1):
                    keys[i], places[i] = keys[i - 1], places[i - 1]
                keys[at], places[at] = w, t
                n += 1
            oldest = t + 1 if t < d - 1 else NO_LIMIT
            r = np.nan
            if a >= min_age and a <= oldest and n >= min_valid and n >= k:
                r = 0.0
                if mode != BOTTOM:
                    r += _total(x, b, places, n - k, n)
                if mode != TOP:
                    r = _total(x, b, places, 0, k) if mode == BOTTOM else r - _total(x, b, places, 0, k)
            out[t, b] = r


def sum_split_by(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Sum of x over the k bars with the largest or smallest `by`, or the difference."""
    w = window_of(literals, context)
    x, by = operands
    splits(x, by, context.age, out, w.bars, w.min_valid, w.min_age, int(literals["k"]), PARTS[literals["part"]])
    return blank_infinite(out, context)
