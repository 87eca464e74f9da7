"""Operands near the largest number: a kernel leaves finite values or the one missing value, and counts the overflow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context, Operator, apply
from Backtest.data.kernels.rows import WIDTH
from Backtest.tests.data.kernels.series import literal_cases

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


@pytest.mark.parametrize("columns", [1, 12], ids=["one symbol at a time", "side by side"])
def test_a_place_in_a_range_that_overflows(columns):
    x = np.repeat([[-FAR], [FAR], [FAR / 2], [-FAR]], columns, axis=1)
    age = np.repeat(np.arange(1, 5, dtype=np.int32)[:, None], columns, axis=1)
    values, undefined = apply(OPERATORS["ts_scale"], [x], {"d": 3}, Context(age=age, first_bar=0))
    np.testing.assert_allclose(values[2:], np.repeat([[0.75], [0.0]], columns, axis=1), rtol=1e-15)
    assert undefined == 0


def test_a_cross_section_whose_range_overflows():
    x = np.array([[-FAR, 0.0, FAR / 2, FAR]])
    context = Context(age=np.ones(x.shape, np.int32), first_bar=0, population=np.ones(x.shape, bool))
    values, undefined = apply(OPERATORS["cs_minmax"], [x], {}, context)
    np.testing.assert_allclose(values[0], [0.0, 0.5, 0.75, 1.0], rtol=1e-15)
    assert undefined == 0


FREE = (
    "ts_zscore", "ts_ir", "ts_skew", "ts_kurt", "ts_scale", "ts_rsquare", "ts_corr", "ts_co_skew", "ts_co_kurt",
    "ts_partial_corr", "cs_zscore", "cs_scale", "cs_minmax", "cs_robust_zscore", "cs_corr", "grp_zscore", "grp_scale",
)  # fmt: skip
"""Operators whose value does not depend on the unit of their operands."""


@pytest.mark.parametrize("size", [1e155, 1e200, 1e306, 1e-80, 1e-110, 1e-200])
@pytest.mark.parametrize("name", FREE)
def test_squares_beyond_the_range_make_no_number(name, size):
    """Dividing by an infinite std would give 0, which looks like a value, and fourth powers of 1e-80 have no digits."""
    operator = OPERATORS[name]
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal((40, 40)) for _ in operator.array_arguments]
    if name.startswith("grp_"):
        arrays[1] = np.zeros_like(arrays[1])
    age = np.repeat(np.arange(1, 41, dtype=np.int32)[:, None], 40, axis=1)
    context = Context(age=age, first_bar=3, population=np.ones(age.shape, bool))
    literals = {"d": 9} if name.startswith("ts_") else {}
    want, _ = apply(operator, arrays, literals, context)
    far = [array * size if argument.kind != "group" else array
           for array, argument in zip(arrays, operator.array_arguments, strict=True)]  # fmt: skip
    got, _ = apply(operator, far, literals, context)
    there = np.isfinite(got)
    np.testing.assert_allclose(got[there], want[there], rtol=1e-9, atol=1e-9)
    assert not np.isinf(got).any()


@pytest.mark.parametrize("born", [-500, 7], ids=["plain", "an episode begins"])
@pytest.mark.parametrize("name, far", [("ts_sum", FAR), ("ts_sum", -FAR), ("ts_mean", FAR)])
def test_a_sum_that_overflows_is_counted(name, far, born):
    """The largest of numbers once in a window is a sum, twice is none."""
    x = np.ones((60, 3))
    x[[21, 25, 40, 57], 1] = far
    age = np.repeat(np.maximum(np.arange(60) - born + 1, 0).astype(np.int32)[:, None], 3, axis=1)
    context = Context(age=age, first_bar=3, own_row=26)
    values, undefined = apply(OPERATORS[name], [x], {"d": 9}, context)
    assert np.flatnonzero(np.isnan(values[20:, 1])).tolist() == [5, 6, 7, 8, 9]  # rows 25 to 29 see 21 and 25
    assert undefined == 4
    scale = 9 if name == "ts_mean" else 1
    assert values[[30, 45, 59], 1].tolist() == pytest.approx([far / scale] * 3, rel=1e-15)
    assert values[20:, [0, 2]].tolist() == [[9 / scale] * 2] * 40


SQUARED: dict[str, dict[str, Any]] = {
    "ts_var": {}, "ts_std": {}, "ts_zscore": {}, "ts_ir": {}, "ts_skew": {}, "ts_kurt": {}, "ts_moment": {"k": 4},
    "ts_corr": {}, "ts_cov": {}, "ts_beta": {}, "ts_regression": {"out": "r2"}, "ts_rsquare": {}, "ts_co_skew": {},
    "ts_co_kurt": {}, "ts_partial_corr": {}, "ts_moment 5": {"k": 5}, "ts_regression se_beta": {"out": "se_beta"},
    "ts_weighted_mean": {},
}  # fmt: skip
"""Window operators that add up squares or products, with literals."""


@pytest.mark.parametrize("size", [1e155, 1e200, 1e306])
@pytest.mark.parametrize("gap", [False, True], ids=["plain", "mixed"])
@pytest.mark.parametrize("name", SQUARED)
def test_each_value_that_an_overflow_takes_is_counted(name, gap, size):
    """One operand is huge, the others are not; what is left of the values is right."""
    operator, literals = OPERATORS[name.partition(" ")[0]], {"d": 9, **SQUARED[name]}
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal((60, WIDTH + 6)) for _ in operator.array_arguments]
    for array in arrays:
        array[30 if gap else 60 :, 3] = np.nan
    age = np.repeat(np.arange(1, 61, dtype=np.int32)[:, None], WIDTH + 6, axis=1)
    context = Context(age=age, first_bar=3, own_row=11)
    want, none = apply(operator, arrays, literals, context)
    assert none == 0
    for k, array in enumerate(arrays):
        got, undefined = apply(operator, [*arrays[:k], array * size, *arrays[k + 1 :]], literals, context)
        assert undefined == (np.isnan(got) & np.isfinite(want))[context.own_row :].sum()
        if name in FREE:
            there = np.isfinite(got)
            np.testing.assert_allclose(got[there], want[there], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("far", [(1e155, 1.0), (1.0, 1e155), (1e160, 1e160), (1.0, 1e200)])
@pytest.mark.parametrize("out", ["beta", "r2", "resid", "fitted", "se_beta", "alpha"])
def test_a_line_through_values_whose_squares_overflow(out, far):
    rng = np.random.default_rng(9)
    y, x = rng.standard_normal((2, 40, 3))
    age = np.repeat(np.arange(1, 41, dtype=np.int32)[:, None], 3, axis=1)
    context, literals = Context(age=age, first_bar=3), {"d": 9, "out": out}
    unit = {"beta": far[0] / far[1], "se_beta": far[0] / far[1], "r2": 1.0}.get(out, far[0])
    want, _ = apply(OPERATORS["ts_regression"], [y, x], literals, context)
    got, _ = apply(OPERATORS["ts_regression"], [y * far[0], x * far[1]], literals, context)
    there = np.isfinite(got)
    np.testing.assert_allclose(got[there] / unit, want[there], rtol=1e-9, atol=1e-9)
    assert not np.isinf(got).any()


@pytest.mark.parametrize("size", [1e-300, 1e-170, 1e160, 1e300])
@pytest.mark.parametrize("name", ["cs_resid", "cs_vector_neut", "cs_corr"])
def test_what_a_series_takes_out_does_not_depend_on_its_size(name, size):
    y, x = np.random.default_rng(10).standard_normal((2, 4, 12))
    context = Context(age=np.ones(y.shape, np.int32), first_bar=0, population=np.ones(y.shape, bool))
    want, _ = apply(OPERATORS[name], [y, x], {}, context)
    got, undefined = apply(OPERATORS[name], [y, x * size], {}, context)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    assert np.isfinite(want).all()
    assert undefined == 0


@pytest.mark.filterwarnings("error")
def test_a_mean_of_means_that_overflow_is_quiet():
    x = np.where(np.arange(40) % 7 < 3, FAR, -FAR)[:, None].copy()
    context = Context(age=np.arange(1, 41, dtype=np.int32)[:, None].copy(), first_bar=0)
    values, _ = apply(OPERATORS["hull"], [x], {"d": 9}, context)
    assert not np.isinf(values).any()


def _operands(operator: Operator, rng: np.random.Generator, shape: tuple[int, int]) -> list[np.ndarray]:
    """Return values from -1 to 1 with gaps; masks and two groups where those are wanted."""
    made = []
    for argument in operator.operands:
        x = rng.uniform(-1.0, 1.0, shape)
        if argument.kind in ("mask", "group"):
            x = (x > 0.0).astype(np.float64)
        x[rng.random(shape) < 0.03] = np.nan
        made.append(x)
    return made


@pytest.mark.parametrize("size", [1e60, 1e100, 1e150])
@pytest.mark.parametrize("name", [name for name, row in OPERATORS.items() if name != "of"])
def test_whatever_is_lost_below_the_stated_size_is_counted(name: str, size: float) -> None:
    """A value that is there for small operands and not for these was lost on the way: no row may keep that to itself.

    More may be counted: what an operator is made of counts, too.
    """
    operator, rng, shape = OPERATORS[name], np.random.default_rng(5), (60, 5)
    age = np.repeat(np.arange(1, shape[0] + 1, dtype=np.int32)[:, None], shape[1], axis=1)
    symbols = tuple(f"S{number}" for number in range(shape[1]))
    context = Context(age=age, first_bar=3, population=np.ones(shape, np.bool_), own_row=11, symbols=symbols)
    small = _operands(operator, rng, shape)
    far = [x if argument.kind in ("mask", "group") else x * size
           for x, argument in zip(small, operator.operands, strict=True)]  # fmt: skip
    for literals in literal_cases(operator):
        want, _ = apply(operator, small, literals, context)
        got, undefined = apply(operator, far, literals, context)
        assert not np.isinf(got).any()
        assert undefined >= (np.isnan(got) & np.isfinite(want))[context.own_row :].sum(), literals


@pytest.mark.parametrize("size", [1e155, 1e200, 1e300])
def test_weights_times_values_that_overflow_are_counted(size: float) -> None:
    x, w = np.random.default_rng(11).uniform(0.5, 1.5, (2, 40, 3))
    context = Context(age=np.repeat(np.arange(1, 41, dtype=np.int32)[:, None], 3, axis=1), first_bar=3)
    values, undefined = apply(OPERATORS["ts_weighted_mean"], [x * size, w * size], {"d": 9}, context)
    assert np.isnan(values).all()
    assert undefined == (40 - 8) * 3
