"""Seeded averages against a plain-Python twin."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.data.kernels.seeded import seeded_average


def twin(values: list[float], d: int, skip: int, alpha: float) -> list[float]:
    """Return one column: of the valid values `skip` are passed over, d averaged, and the average goes on."""
    result, valid, state = [], [], math.nan
    for value in values:
        if math.isnan(value):
            result.append(math.nan)
            continue
        valid.append(value)
        if len(valid) == skip + d:
            state = sum(valid[skip:]) / d
        elif len(valid) > skip + d:
            state = (1 - alpha) * state + alpha * value
        result.append(state)
    return result


@pytest.mark.parametrize("d,skip,alpha", [(1, 0, 1.0), (3, 0, 1 / 3), (5, 4, 2 / 6), (14, 0, 1 / 14), (60, 0, 0.1)])
def test_equals_its_twin(d: int, skip: int, alpha: float) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(10, 1, (50, 4))
    x[rng.random(x.shape) < 0.2] = np.nan
    x[:20, 2], x[:, 3] = np.nan, np.nan
    out = np.empty_like(x)
    seeded_average(x, out, d, skip, alpha)
    expected = np.column_stack([twin(column.tolist(), d, skip, alpha) for column in x.T])
    np.testing.assert_allclose(out, expected, rtol=1e-13)
