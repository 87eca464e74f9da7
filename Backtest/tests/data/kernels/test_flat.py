"""One rule for what is flat: a spread of at most 1e-12 of the largest size is rounding, whoever divides by it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context

from .series import run

ROWS, D = 60, 13
DIVIDED = (
    "ts_zscore", "ts_ir", "ts_skew", "ts_kurt", "ts_scale", "ts_rsquare", "ts_corr", "ts_beta", "ts_co_skew",
    "ts_co_kurt", "cs_zscore", "cs_minmax", "cs_robust_zscore", "cs_corr", "grp_zscore",
)  # fmt: skip
"""Operators that divide by a std, a range or a median distance."""


def values_of(name: str, noise: float, level: float) -> np.ndarray:
    """Return what the operator makes of `level` with relative noise, along time and across symbols."""
    operator = OPERATORS[name]
    rng = np.random.default_rng(4)
    x = level * (1 + noise * rng.uniform(-1, 1, (ROWS, ROWS)))
    others = {"group": np.zeros_like(x), "series": rng.standard_normal(x.shape)}
    operands = [x] + [others[argument.kind] for argument in operator.array_arguments[1:]]
    if name.startswith("ts_") and len(operands) == 2:
        operands.reverse()  # flat in what the slope divides by
    age = np.repeat(np.arange(1, ROWS + 1, dtype=np.int32)[:, None], ROWS, axis=1)
    context = Context(age=age, first_bar=5, population=np.ones(x.shape, bool))
    literals: dict[str, Any] = {"d": D} if any(one.name == "d" for one in operator.literal_arguments) else {}
    return run(operator, operands, literals, context)[ROWS // 2 :]


@pytest.mark.parametrize("level", [1.0, -6e4, 1e-8, 1e300, 3e-200])
@pytest.mark.parametrize("name", DIVIDED)
def test_rounding_is_flat(name: str, level: float) -> None:
    assert np.isnan(values_of(name, 3e-15, level)).all()


@pytest.mark.parametrize("level", [1.0, -6e4, 1e-8])
@pytest.mark.parametrize("name", DIVIDED)
def test_noise_of_1e_10_is_movement(name: str, level: float) -> None:
    assert np.isfinite(values_of(name, 1e-10, level)).all()


def test_an_outlier_does_not_make_the_median_distance_flat() -> None:
    x = np.array([[1.0, 1.1, 0.9, 1.2, 1e13]])
    context = Context(age=np.ones(x.shape, np.int32), first_bar=0, population=np.ones(x.shape, bool))
    got = run(OPERATORS["cs_robust_zscore"], [x], {}, context)
    np.testing.assert_allclose(got[0, :2], [-1 / 1.4826, 0], rtol=1e-12, atol=1e-12)  # median 1.1, MAD 0.1


def test_the_entropy_of_rounding_is_none() -> None:
    x = (1 + 3e-15 * np.random.default_rng(1).uniform(-1, 1, (ROWS, 1))).copy()
    age = np.arange(1, ROWS + 1, dtype=np.int32)[:, None].copy()
    got = run(OPERATORS["ts_entropy"], [x], {"d": D}, Context(age=age, first_bar=0))
    assert (got[D:] == 0).all()


def test_weights_that_cancel_but_for_rounding_have_no_mean() -> None:
    weights, x = np.array([[0.1], [0.2], [-0.3]]), np.array([[1.0], [2.0], [3.0]])
    assert weights.sum() != 0.0
    context = Context(age=np.arange(1, 4, dtype=np.int32)[:, None].copy(), first_bar=0)
    assert np.isnan(run(OPERATORS["ts_weighted_mean"], [x, weights], {"d": 3}, context)[2, 0])


@pytest.mark.parametrize(
    "name, literals",
    [("ts_corr", {"d": 5}), ("ts_regression", {"d": 5, "out": "r2"}), ("ts_rsquare", {"d": 5}), ("cs_corr", {})],
)
def test_no_correlation_is_beyond_one(name: str, literals: dict[str, Any]) -> None:
    """Of straight lines, whose rounding would be."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((400, 8)) if name != "ts_rsquare" else np.arange(400.0)[:, None] * rng.random(8)
    y = x * rng.uniform(-3, 3, 8) if name != "cs_corr" else x * rng.uniform(-3, 3, (400, 1))
    age = np.arange(1, 401, dtype=np.int32)[:, None].repeat(8, axis=1)
    context = Context(age=age, first_bar=3, population=np.ones(x.shape, bool))
    operands = [y, x][: len(OPERATORS[name].array_arguments)]
    got = run(OPERATORS[name], operands, literals, context)[5:]
    assert (abs(got) <= 1.0).all()
    assert (abs(got) > 1.0 - 1e-12).all()
