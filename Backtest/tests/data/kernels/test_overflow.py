"""Operands near the largest number: a kernel leaves finite values or the one missing value, and counts the overflow."""

from __future__ import annotations

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context, apply

FAR = 1.7e308


@pytest.mark.parametrize("columns", [1, 12], ids=["one symbol at a time", "side by side"])
@pytest.mark.parametrize("name, literals", [("ts_median", {"d": 2}), ("ts_quantile", {"d": 2, "q": 0.4})])
def test_a_quantile_between_values_too_far_apart(name, literals, columns):
    x = np.repeat([[-FAR], [FAR], [FAR]], columns, axis=1)
    age = np.repeat(np.arange(1, 4, dtype=np.int32)[:, None], columns, axis=1)
    values, undefined = apply(OPERATORS[name], [x], literals, Context(age=age, first_bar=0))
    assert np.isnan(values[:2]).all()
    assert (values[2] == FAR).all()
    assert undefined == columns


def test_a_cross_section_too_wide_for_its_quantiles():
    x = np.array([[-FAR, FAR, 1e308], [1.0, 2.0, 30.0]])
    context = Context(age=np.ones((2, 3), dtype=np.int32), first_bar=0, population=np.ones((2, 3), dtype=bool))
    values, undefined = apply(OPERATORS["cs_winsorize"], [x], {"q": 0.3}, context)
    assert not np.isinf(values).any()
    assert undefined == np.isnan(values[0]).sum() > 0
    assert np.allclose(values[1], [1.6, 2.0, 13.2], rtol=1e-14)  # positions 0.6 and 1.4 of 1, 2, 30


def test_a_log_return_of_prices_whose_sum_overflows():
    x = np.array([[1e308], [1.7e308]])
    context = Context(age=np.array([[1], [2]], dtype=np.int32), first_bar=0)
    values, undefined = apply(OPERATORS["logret"], [x], {"d": 1}, context)
    assert values[1, 0] == pytest.approx(np.log(1.7), rel=1e-12)
    assert undefined == 0
