"""Operators inside groups on wide cross-sections: large and small groups, against pandas and against each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context, apply


@pytest.mark.parametrize("groups", [1, 3, 60])
def test_large_and_small_groups_equal_pandas(groups: int) -> None:
    """150 symbols with ties: groups of 150 are sorted and searched, groups of two are counted."""
    rng = np.random.default_rng(groups)
    shape = (12, 150)
    x = rng.integers(-20, 20, shape) / 8.0
    codes = rng.integers(0, groups, shape).astype(np.float64) * 1.5 - 4
    x[rng.random(shape) < 0.1] = np.nan
    codes[rng.random(shape) < 0.1] = np.nan
    population = rng.random(shape) < 0.9
    context = Context(age=np.ones(shape, np.int32), first_bar=0, population=population)
    kept = pd.DataFrame(np.where(population, x, np.nan))
    grouped = [kept.loc[t].groupby(codes[t]) for t in range(len(x))]
    want = {
        "grp_rank": [one.rank(pct=True) for one in grouped],
        "grp_median": [one.transform("median") for one in grouped],
        "grp_mean": [one.transform("mean") for one in grouped],
        "grp_std": [one.transform("std") for one in grouped],
    }
    for name, rows in want.items():
        got = apply(OPERATORS[name], [x, codes], {}, context)[0]
        expected = np.where(np.isnan(kept), np.nan, np.array(rows, dtype=np.float64))
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-15, err_msg=name)


def test_one_group_is_the_whole_cross_section() -> None:
    """The same values as `cs_*`, for the ranks and the medians the same bits."""
    rng = np.random.default_rng(2)
    shape = (40, 70)
    x = rng.standard_normal(shape)
    context = Context(age=np.ones(shape, np.int32), first_bar=0, population=rng.random(shape) < 0.8)
    one = np.zeros(shape)
    for name in ("rank", "median", "count", "demean", "zscore", "scale", "mean", "sum", "std"):
        inside = apply(OPERATORS[f"grp_{name}"], [x, one], {}, context)[0]
        whole = apply(OPERATORS[f"cs_{name}"], [x], {}, context)[0]
        if name in ("rank", "median", "count"):
            np.testing.assert_array_equal(inside, whole)
        np.testing.assert_allclose(inside, whole, rtol=1e-12, atol=1e-14, err_msg=name)
