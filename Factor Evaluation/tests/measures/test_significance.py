"""Errors, p-values and intervals against closed forms, brute force and the law they promise."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from factor_evaluation.measures.fused import cross_sections
from factor_evaluation.measures.permutation import permutation_p
from factor_evaluation.measures.ranked import factor_rows
from factor_evaluation.measures.significance import (
    bootstrap_interval,
    errors_to_each_side,
    newey_west_error,
    newey_west_lag,
    student_p,
    summarise,
)

FIVE = np.array([0.0, 1.0, 2.0, 3.0, 4.0])


def slow_error(values, lag):
    """Newey and West (1987) as written, over pairs of bars that both have a value."""
    valid = np.isfinite(values)
    n = valid.sum()
    away = np.where(valid, values - values[valid].mean(), 0.0)
    total = away @ away
    for step in range(1, min(lag, len(values) - 1) + 1):
        total += 2 * (1 - step / (min(lag, len(values) - 1) + 1)) * (away[step:] @ away[:-step])
    return math.sqrt(total * n / (n - 1)) / n


@pytest.mark.parametrize("lag", [0, 1, 4, 30, 500])
def test_newey_west_as_written(lag):
    values = np.random.default_rng(lag).standard_normal(200).cumsum() * 0.01
    values[20:30] = np.nan
    assert newey_west_error(values, lag) == pytest.approx(slow_error(values, lag), rel=1e-11)
    both = newey_west_error(np.stack([values, values[::-1]], axis=1), lag)
    np.testing.assert_allclose(both, [slow_error(values, lag)] * 2, rtol=1e-11)


def test_newey_west_equals_statsmodels():
    api = pytest.importorskip("statsmodels.api")
    values = np.random.default_rng(5).standard_normal(300)
    fit = api.OLS(values, np.ones(300)).fit(cov_type="HAC", cov_kwds={"maxlags": 6, "use_correction": True})
    assert newey_west_error(values, 6) == pytest.approx(fit.bse[0], rel=1e-11)


def test_without_overlap_it_is_the_plain_t():
    values = np.random.default_rng(1).standard_normal(50)
    assert newey_west_lag(1) == 0
    summary = summarise(values, 1)
    assert summary.t_newey_west == pytest.approx(values.mean() / (values.std(ddof=1) / math.sqrt(50)), rel=1e-12)


@pytest.mark.parametrize("freedom, t, expected", [
    (1, 1.0, 0.5),  # Cauchy: 1 - 2 atan(t) / pi
    (1, 12.706204736432095, 0.05),
    (2, math.sqrt(2), 1 - math.sqrt(0.5)),  # 1 - t / sqrt(2 + t^2)
    (10, 2.2281388519649385, 0.05),
    (1e9, 1.959963984540054, 0.05),
    (5, 0.0, 1.0),
])  # fmt: skip
def test_student_p(freedom, t, expected):
    assert student_p(t, freedom) == pytest.approx(expected, rel=1e-7)
    assert student_p(-t, freedom) == student_p(t, freedom)


def test_student_p_equals_scipy():
    stats = pytest.importorskip("scipy.stats")
    for freedom in (0.7, 1, 3, 29.5, 400, 1e5):
        for t in (1e-6, 0.3, 1.0, 2.5, 8.0, 40.0):
            assert student_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9)


@pytest.mark.parametrize("count, lag, freedom", [(2, 0, 1.0), (9, 0, 8.0), (110, 10, 15.0), (10**6, 0, 10**6 - 1.0)])
def test_intervals_have_the_degrees_of_freedom_of_the_p_value(count, lag, freedom):
    stats = pytest.importorskip("scipy.stats")
    width = errors_to_each_side(count, lag)
    assert width == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-8)
    assert student_p(width, freedom) == pytest.approx(0.05, rel=1e-7)


def test_bars_fewer_than_a_horizon_leave_no_interval():
    assert math.isnan(errors_to_each_side(100, 166))
    assert math.isnan(errors_to_each_side(0, 0))


def test_series_without_values():
    for values in (np.full(5, np.nan), np.zeros(0), np.array([0.3, np.nan])):
        summary = summarise(values, 3)
        assert math.isnan(summary.t_newey_west)
        assert math.isnan(summary.p_value)
        assert math.isnan(summary.std)
    flat = summarise(np.full(9, 0.1), 1)
    assert (flat.mean, flat.std) == (0.1, 0.0)
    assert math.isnan(flat.icir)
    assert math.isnan(flat.t_newey_west)


def test_hit_rate_is_of_the_sign_of_the_mean():
    assert summarise(np.array([-1.0, -2.0, 0.0, 1.0]), 1).hit_rate == pytest.approx(2 / 3)


def noise(seed, bars=250, symbols=12, horizon=1):
    draw = np.random.default_rng(seed)
    factor, label = draw.standard_normal((bars, symbols)), draw.standard_normal((bars, symbols))
    if horizon > 1:
        total = np.cumsum(draw.standard_normal((bars + horizon, symbols)), axis=0)
        label = total[horizon:] - total[:-horizon]
        factor = np.cumsum(factor, axis=0)
    return factor, label


def distance_from_uniform(values):
    """Kolmogorov's statistic."""
    held = np.sort(values)
    places = np.arange(held.size + 1) / held.size
    return max(np.abs(held - places[1:]).max(), np.abs(held - places[:-1]).max())


def test_noise_has_uniform_p_values_over_500_seeds():
    p_values: dict[str, list[float]] = {"ic": [], "rank_ic": []}
    for seed in range(500):
        factor, label = noise(seed)
        (series,) = cross_sections(factor, factor_rows(factor, 5), [label])
        for name, held in p_values.items():
            held.append(summarise(getattr(series, name), 1, bootstrap=False).p_value)
    for held in p_values.values():
        assert distance_from_uniform(held) < 1.63 / math.sqrt(500)  # Kolmogorov, 1 %


def test_overlapping_noise_is_not_rejected_too_often():
    """A slow factor against overlapping returns of 6 bars: a plain t rejects a third of the time, at 5 % asked."""
    plain, ours = 0, 0
    for seed in range(300):
        factor, label = noise(seed, 600, 12, 6)
        (series,) = cross_sections(factor, factor_rows(factor, 5), [label])
        plain += summarise(series.rank_ic, 1, bootstrap=False).p_value < 0.05
        ours += summarise(series.rank_ic, 6, bootstrap=False).p_value < 0.05
    assert plain / 300 > 0.25
    assert 0.02 < ours / 300 < 0.10


@pytest.mark.parametrize("wanted", [0.05, -0.2])
def test_a_planted_ic_lies_in_its_interval(wanted):
    draw = np.random.default_rng(8)
    label = draw.standard_normal((3000, 30))
    factor = wanted * label + math.sqrt(1 - wanted**2) * draw.standard_normal(label.shape)
    (series,) = cross_sections(factor, factor_rows(factor, 5), [label])
    summary = summarise(series.ic, 1)
    low, high = summary.interval
    assert low < wanted < high
    assert high - low == pytest.approx(2 * 1.96 * summary.std / math.sqrt(3000), rel=0.15)
    assert summary.p_value < 1e-20


def test_intervals_cover_as_often_as_they_say():
    draw = np.random.default_rng(9)
    covered = 0
    for _ in range(200):
        steps = draw.standard_normal(405)
        low, high = bootstrap_interval(steps[5:] + steps[4:-1] + steps[3:-2] + steps[2:-3], 20, 299)
        covered += low < 0 < high
    assert 0.87 < covered / 200 <= 0.99


def test_interval_is_the_same_in_every_run():
    values = np.random.default_rng(1).standard_normal(300)
    assert bootstrap_interval(values, 5) == bootstrap_interval(values.copy(), 5)
    low, high = bootstrap_interval(np.where(np.arange(300) % 3, values, np.nan), 5)
    assert low < high


def slow_permutation(factor, label):
    """All orders of all bars."""
    from itertools import product

    held = []
    for mine, theirs in zip(factor, label, strict=True):
        valid = np.isfinite(mine) & np.isfinite(theirs)
        a, b = (np.array([np.sign(x - row).sum() for x in row]) for row in (mine[valid], theirs[valid]))
        held.append([(a @ np.array(order)) for order in permutations(b)] + [a @ b])
    observed = abs(sum(bar[-1] for bar in held))
    sums = [abs(sum(combination)) for combination in product(*(bar[:-1] for bar in held))]
    return np.mean(np.array(sums) >= observed - 1e-9)


def test_one_bar_by_hand():
    """Of 24 orders two have |rank correlation| 1."""
    assert permutation_p(np.array([[1.0, 2, 3, 4]]), np.array([[4.0, 3, 2, 1]])) == pytest.approx(2 / 24)


def test_exact_against_all_orders():
    draw = np.random.default_rng(4)
    factor, label = draw.standard_normal((3, 4)), draw.standard_normal((3, 4))
    factor[0, :2] = 1.0
    label[1, 1:] = 0.5
    label[2, 0] = np.nan
    assert permutation_p(factor, label) == pytest.approx(slow_permutation(factor, label), abs=1e-12)


def test_only_every_hth_bar_takes_part():
    draw = np.random.default_rng(5)
    factor, label = draw.standard_normal((9, 5)), draw.standard_normal((9, 5))
    assert permutation_p(factor, label, 3) == pytest.approx(permutation_p(factor[::3], label[::3]), abs=1e-15)


def test_permutation_needs_a_choice_and_few_names():
    assert math.isnan(permutation_p(np.ones((4, 5)), np.ones((4, 5))))
    assert math.isnan(permutation_p(np.zeros((4, 9)), np.zeros((4, 9))))
    assert math.isnan(permutation_p(np.full((4, 5), np.nan), np.ones((4, 5))))


def test_permutation_nears_the_t_test_over_many_bars():
    draw = np.random.default_rng(6)
    label = draw.standard_normal((2000, 6))
    factor = 0.03 * label + draw.standard_normal(label.shape)
    (series,) = cross_sections(factor, factor_rows(factor, 5), [label])
    assert permutation_p(factor, label) == pytest.approx(summarise(series.rank_ic, 1).p_value, abs=0.02)
