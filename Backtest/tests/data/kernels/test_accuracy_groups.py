"""Moments inside groups and across all symbols against exact rational arithmetic: within 1e-9 of the natural scale."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context

from .series import run

ROWS, SYMBOLS, GROUPS = 3, 42, 3
LIMIT = 1e-9


def _values() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(17)
    shape = (ROWS, SYMBOLS)
    fine = 6e4 + 1e-3 * rng.standard_normal(shape)
    spiked, last, holes = fine.copy(), fine.copy(), fine.copy()
    spiked[:, 0] = 1e12  # the first value, which a shift by it would spread over the others
    last[:, -1] = 1e12
    holes[rng.random(shape) < 0.2] = np.nan
    return {
        "price 6e4, noise 1e-3": fine,
        "the first a 1e12 spike": spiked,
        "the last a 1e12 spike": last,
        "holes": holes,
        "price 1e-8, noise 1e-13": 1e-8 + 1e-13 * rng.standard_normal(shape),
        "price 1e12, noise 1e-3": 1e12 + 1e-3 * rng.standard_normal(shape),
        "zero mean": rng.standard_normal(shape),
        "eighteen orders of magnitude": 10.0 ** rng.uniform(-9, 9, shape) * rng.choice([-1.0, 1.0], shape),
    }


VALUES = _values()


def _root(value: Fraction) -> float:
    """Return the square root of a fraction of any size, to float precision."""
    shift = 2 * max(0, 80 + (value.denominator.bit_length() - value.numerator.bit_length()) // 2)
    return float(Fraction(math.isqrt(int(value * 2**shift)), 2 ** (shift // 2)))


def _exact(name: str, one: Fraction, all_of: list[Fraction]) -> tuple[float, float]:
    """Return what a member of value `one` has, and the natural scale."""
    n, total = len(all_of), sum(all_of, Fraction(0))
    mean = total / n
    sizes = sum(map(abs, all_of), Fraction(0))
    variance = sum(((x - mean) ** 2 for x in all_of), Fraction(0)) / (n - 1)
    std = _root(variance)
    distance = one - mean
    score = math.copysign(_root(distance * distance / variance), distance)
    if std <= 1e-12 * float(max(map(abs, all_of))):
        score = math.nan  # flat
    return {
        "sum": (float(total), float(sizes)),
        "mean": (float(mean), std),
        "demean": (float(distance), std),
        "std": (std, std),
        "zscore": (score, 1.0),
        "scale": (float(one / sizes), 1.0),
    }[name]


@pytest.mark.parametrize("case", VALUES)
@pytest.mark.parametrize("name", ["sum", "mean", "demean", "std", "zscore", "scale"])
@pytest.mark.parametrize("groups", [GROUPS, 0], ids=["grp", "cs"])
def test_moments_across_symbols_are_exact(name: str, case: str, groups: int) -> None:
    x = VALUES[case]
    rng = np.random.default_rng(3)
    codes = rng.integers(0, groups, x.shape).astype(np.float64) if groups else np.zeros(x.shape)
    context = Context(age=np.ones(x.shape, np.int32), first_bar=77, population=np.ones(x.shape, np.bool_))
    operands = [x, codes] if groups else [x]
    got = run(OPERATORS[f"{'grp' if groups else 'cs'}_{name}"], operands, {}, context)
    for row, code in np.ndindex(ROWS, max(1, groups)):
        there = np.flatnonzero((codes[row] == code) & ~np.isnan(x[row]))
        assert len(there) > 5
        exact = [Fraction(float(x[row, column])) for column in there]
        for column, one in zip(there, exact, strict=True):
            want, scale = _exact(name, one, exact)
            if math.isnan(want):
                assert math.isnan(got[row, column])
                continue
            assert abs(got[row, column] - want) <= LIMIT * max(abs(want), scale), (row, column, got[row, column], want)
