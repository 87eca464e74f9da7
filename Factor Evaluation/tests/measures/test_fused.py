"""The fused pass against pandas, bar by bar, and against values worked out by others or by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from factor_evaluation.measures.fused import cross_sections
from factor_evaluation.measures.orderkeys import column_mask
from factor_evaluation.measures.quantiles import mean_of_bars
from factor_evaluation.measures.ranked import chunk_rows, factor_rows
from factor_evaluation.measures.steps import mean_turnover, quantile_turnover, rank_autocorrelation

from .cases import rough

NAN = np.nan


def measured(factor, labels, quantiles=5, wanted=None):
    factor = np.asarray(factor, dtype=np.float64)
    rows = factor_rows(factor, quantiles, wanted)
    return rows, cross_sections(factor, rows, [np.asarray(label, dtype=np.float64) for label in labels])


def slow_bar(factor, label, quantiles):
    """The same bar by pandas: ranks average ties, pairs are dropped, constant sides have no correlation."""
    held = pd.Series(factor).replace([np.inf, -np.inf], NAN)
    paid = pd.Series(label).replace([np.inf, -np.inf], NAN)
    n = held.count()
    empty = (NAN, NAN, [NAN] * quantiles)
    if n < 3 or held.min() == held.max():
        return empty
    bucket = np.floor(quantiles * (held.rank() - 0.5) / n + 1e-9)
    means = [paid[bucket == q].mean() for q in range(quantiles)]
    both = held.notna() & paid.notna()
    a, b = held[both], paid[both]
    if both.sum() < 3 or a.min() == a.max() or b.min() == b.max():
        return NAN, NAN, means
    return a.corr(b), a.rank().corr(b.rank()), means


@pytest.mark.parametrize(
    "symbols, quantiles", [(3, 2), (5, 5), (8, 3), (23, 5), (64, 5), (65, 10), (130, 4), (1_300, 5)]
)
def test_every_bar_equals_pandas(symbols, quantiles):
    factor, label = rough(symbols, 150, symbols)
    _, (series,) = measured(factor, [label], quantiles)
    expected = [slow_bar(factor[t], label[t], quantiles) for t in range(150)]
    np.testing.assert_allclose(series.ic, [row[0] for row in expected], rtol=0, atol=1e-12)
    np.testing.assert_allclose(series.rank_ic, [row[1] for row in expected], rtol=0, atol=1e-12)
    np.testing.assert_allclose(series.quantile_return, [row[2] for row in expected], rtol=1e-12, atol=1e-15)


def test_a_long_horizon_never_changes_a_short_one():
    factor, label = rough(1, 200, 12)
    other = label.copy()
    other[50:] = NAN
    _, (alone,) = measured(factor, [label])
    _, (beside, _) = measured(factor, [label, other])
    assert alone.ic.tobytes() == beside.ic.tobytes()


def test_same_bits_for_any_chunking(monkeypatch):
    factor, label = rough(2, 300, 9)
    whole_rows, (whole,) = measured(factor, [label])
    for cells in (80, 9 * 37, 10**6):
        monkeypatch.setattr("factor_evaluation.measures.ranked.CHUNK_VALUES", cells)
        rows, (series,) = measured(factor, [label])
        assert series.ic.tobytes() == whole.ic.tobytes()
        assert series.rank_ic.tobytes() == whole.rank_ic.tobytes()
        assert series.quantile_return.tobytes() == whole.quantile_return.tobytes()
        assert rows.ranks.tobytes() == whole_rows.ranks.tobytes()
    assert chunk_rows(1) % 8 == 0


@pytest.mark.parametrize("scale, shift", [(1e-3, 1e6), (1e-9, 1.0), (1e-300, 0.0), (1e150, 0.0), (1.0, -1e9)])
def test_values_that_float32_cannot_tell_apart(scale, shift):
    """Keys are rounded to 32 bits less the column: order and ties must come from the true values."""
    draw = np.random.default_rng(3)
    factor, label = shift + scale * draw.standard_normal((40, 50)), shift + scale * draw.standard_normal((40, 50))
    _, (series,) = measured(factor, [label])
    expected = [pd.Series(a).rank().corr(pd.Series(b).rank()) for a, b in zip(factor, label, strict=True)]
    np.testing.assert_allclose(series.rank_ic, expected, rtol=0, atol=1e-12)
    if 1e-100 < scale < 1e100:
        a, b = [[Fraction(value) for value in row] for row in (factor[0].tolist(), label[0].tolist())]
        mine, theirs = (sum(row) / len(row) for row in (a, b))
        cross = sum((x - mine) * (y - theirs) for x, y in zip(a, b, strict=True))
        size = float(sum((x - mine) ** 2 for x in a) * sum((y - theirs) ** 2 for y in b) / cross**2) ** -0.5
        assert series.ic[0] == pytest.approx(size if cross > 0 else -size, abs=1e-9)


def test_many_names_do_not_overflow():
    """The sum of products of 2,500 places is beyond 2^31: with the returns in the factor's order it is largest."""
    factor = np.random.default_rng(4).standard_normal((3, 2_500))
    _, (same, other) = measured(factor, [factor, -factor])
    assert same.rank_ic.tolist() == [1.0] * 3
    assert other.rank_ic.tolist() == [-1.0] * 3


def test_alphalens_information_coefficient():
    _, (series,) = measured([[1, 2, 3, 4], [4, 3, 2, 1]], [[[4, 3, 2, 1], [1, 2, 3, 4]]])
    assert series.ic.tolist() == [-1.0, -1.0]
    assert series.rank_ic.tolist() == [-1.0, -1.0]
    _, (series,) = measured([[1, 2, 3, 4], [4, 3, 2, 1]], [[[1, 2, 3, 4], [4, 3, 2, 1]]])
    assert series.ic.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("quantiles, expected", [(4, [[0, 1, 2, 3], [3, 2, 1, 0]]), (2, [[0, 0, 1, 1], [1, 1, 0, 0]])])
def test_alphalens_quantize_factor(quantiles, expected):
    assert factor_rows(np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]]), quantiles).quantile.tolist() == expected


def test_alphalens_mean_return_by_quantile():
    """Two bars of four names in four quantiles: every quantile holds one name, whose mean return is known."""
    _, (series,) = measured([[1, 2, 3, 4], [1, 2, 3, 4]], [[[1, 2, 3, 4], [3, 4, 5, 6]]], 4)
    assert mean_of_bars(series.quantile_return).tolist() == [2, 3, 4, 5]
    _, (series,) = measured([[1, 2, 3, 4], [1, 2, 3, 4]], [[[1, 2, 3, 4], [3, 4, 5, 6]]], 2)
    assert mean_of_bars(series.quantile_return).tolist() == [2.5, 4.5]


UP, DOWN = [1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize("bars, quantile, expected", [
    ([UP, DOWN, UP, UP], 3, [NAN, 1, 1, 0]),
    ([UP, UP, UP, UP], 2, [NAN, 0, 0, 0]),
    ([UP, DOWN, UP, DOWN], 1, [NAN, 1, 1, 1]),
])  # fmt: skip
def test_alphalens_quantile_turnover(bars, quantile, expected):
    rows = factor_rows(np.array(bars), 4)
    np.testing.assert_array_equal(quantile_turnover(rows, 1)[:, quantile], expected)


def test_alphalens_rank_autocorrelation():
    swapped = [2.0, 1.0, 4.0, 3.0]
    pattern = [UP, swapped, DOWN, UP, swapped, DOWN, swapped, DOWN, UP, swapped, swapped, DOWN]
    expected = [NAN, NAN, NAN, 1, 1, 1, 0.6, -0.6, -1, 1, -0.6, -1]
    np.testing.assert_allclose(rank_autocorrelation(factor_rows(np.array(pattern), 4), 3), expected, atol=1e-15)
    alternating = rank_autocorrelation(factor_rows(np.array([DOWN, UP, DOWN, UP]), 4), 1)
    np.testing.assert_allclose(alternating, [NAN, -1, -1, -1], atol=1e-15)


def test_turnover_and_autocorrelation_equal_slow_twins():
    factor, _ = rough(4, 120, 70)
    rows = factor_rows(factor, 5)
    usable = rows.usable
    for step in (1, 3):
        turnover, autocorrelation = quantile_turnover(rows, step), rank_autocorrelation(rows, step)
        for t in range(120):
            if t < step or not (usable[t] and usable[t - step]):
                assert np.isnan(turnover[t]).all()
                assert np.isnan(autocorrelation[t])
                continue
            for q in range(5):
                before, after = (set(np.flatnonzero(rows.quantile[place] == q)) for place in (t - step, t))
                expected = len(before - after) / len(before) if before else NAN
                np.testing.assert_equal(turnover[t, q], expected)
            both = (rows.quantile[t - step] >= 0) & (rows.quantile[t] >= 0)
            a, b = (pd.Series(factor[place]).replace([np.inf, -np.inf], NAN).rank()[both] for place in (t - step, t))
            np.testing.assert_allclose(autocorrelation[t], a.corr(b), atol=1e-12)
        np.testing.assert_allclose(mean_turnover(rows, step), np.nanmean(turnover, axis=0), rtol=1e-13)


def test_a_name_that_leaves_counts_as_sold():
    factor = np.array([[1.0, 2, 3, 4, 5, 6], [1.0, 2, 3, 4, 5, NAN]])
    assert quantile_turnover(factor_rows(factor, 3), 1)[1].tolist() == [0.0, 0.5, 0.5]


def test_an_outage_sells_nothing_and_is_no_step():
    factor = np.array([UP, [NAN] * 4, UP])
    rows = factor_rows(factor, 2)
    assert np.isnan(quantile_turnover(rows, 1)).all()
    assert quantile_turnover(rows, 2)[2].tolist() == [0.0, 0.0]


def test_ties_share_a_bucket_and_no_bar_is_lost():
    """A sparse factor, mostly zero: `qcut` has no five edges, alphalens drops the bar."""
    factor = np.zeros((1, 20))
    factor[0, :2], factor[0, 18:] = -1.0, 1.0
    rows = factor_rows(factor, 5)
    assert rows.quantile[0].tolist() == [0, 0] + [2] * 16 + [4, 4]
    _, (series,) = measured(factor, [np.arange(20.0)[None]])
    assert np.isfinite(series.rank_ic[0])
    assert np.isfinite(series.quantile_return[0]).tolist() == [True, False, True, False, True]


@pytest.mark.parametrize("row", [[1.0] * 6, [NAN] * 6, [1.0, 2.0, NAN, NAN, NAN, NAN], [0.0, -0.0] * 3])
def test_constant_and_small_bars_are_missing(row):
    rows, (series,) = measured([row], [[[1.0, 2, 3, 4, 5, 6]]])
    assert np.isnan(series.ic[0])
    assert np.isnan(series.rank_ic[0])
    assert series.pairs[0] == 0
    assert (rows.quantile == -1).all()
    assert bool(rows.constant[0]) == (np.sum(np.isfinite(row)) >= 3)


def test_constant_and_small_bars_among_whole_ones():
    """Every symbol has a factor on every bar of a block, so that nothing but the bar itself says that it has no IC."""
    factor, label = np.random.default_rng(6).standard_normal((2, 64, 5))
    factor[::9] = 2.0
    for columns in (5, 2):
        _, (series,) = measured(factor[:, :columns], [label[:, :columns]])
        expected = [slow_bar(factor[t, :columns], label[t, :columns], 5) for t in range(64)]
        np.testing.assert_allclose(series.rank_ic, [row[1] for row in expected], rtol=0, atol=1e-12)
        np.testing.assert_allclose(series.quantile_return, [row[2] for row in expected], rtol=1e-12, atol=1e-15)
        assert series.pairs.tolist() == [0 if columns == 2 or t % 9 == 0 else 5 for t in range(64)]


def test_constant_returns_have_no_ic_but_a_mean():
    _, (series,) = measured([[1.0, 2, 3, 4]], [[[0.1] * 4]], 2)
    assert np.isnan(series.ic[0])
    assert np.isnan(series.rank_ic[0])
    assert series.quantile_return[0].tolist() == [0.1, 0.1]


def test_the_population_decides():
    factor, label = rough(5, 60, 12)
    wanted = np.random.default_rng(0).random(factor.shape) < 0.7
    _, (masked,) = measured(factor, [label], wanted=wanted)
    _, (blanked,) = measured(np.where(wanted, factor, NAN), [label])
    assert masked.rank_ic.tobytes() == blanked.rank_ic.tobytes()
    np.testing.assert_array_equal(masked.ic, blanked.ic)


def test_column_mask_holds_every_column():
    assert [int(column_mask(n)) for n in (1, 2, 3, 40, 64, 65, 16_000)] == [1, 1, 3, 63, 63, 127, 16_383]
