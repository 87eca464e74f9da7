"""The short form of an evaluation has the long one's numbers, and the benchmark's peers agree with it."""

from __future__ import annotations

import numpy as np
import pytest
from factor_evaluation.benchmarks.evaluation_peers import PEERS, numpy_numbers
from factor_evaluation.measures import evaluate_factor
from factor_evaluation.measures.screen import screen_factor

from .cases import clock, names, rough

HORIZONS = {"1": 1, "2": 2, "6h": 6, "8": 8, "9": 9}


def test_screened_numbers_are_the_evaluations():
    factor, _ = rough(1, 200, 12)
    labels = {key: rough(seed, 200, 12)[1] for seed, key in enumerate(HORIZONS)}
    short = screen_factor(factor, labels, HORIZONS)
    long = evaluate_factor(factor, clock(200), names(12), labels=labels, horizons=HORIZONS, max_loss=0.9)
    assert short.rank_autocorrelation == pytest.approx(long.rank_autocorrelation, rel=1e-13)
    for key, result in long.horizons.items():
        mine = short.horizons[key]
        for one, other in ((mine.ic, result.ic_summary), (mine.rank_ic, result.rank_ic_summary)):
            assert (one.mean, one.t_newey_west, one.p_value) == (other.mean, other.t_newey_west, other.p_value)
        assert mine.spread.t_newey_west == result.spread_summary.t_newey_west
        np.testing.assert_allclose(mine.quantile_mean, result.quantile_mean, rtol=1e-12)
        np.testing.assert_array_equal(mine.quantile_std_error, result.quantile_std_error)
        np.testing.assert_array_equal(mine.turnover, result.turnover)


@pytest.mark.parametrize("name", PEERS)
def test_the_peers_of_the_benchmark_measure_the_same(name):
    module, call = PEERS[name]
    pytest.importorskip(module)
    draw = np.random.default_rng(1)
    factor = draw.standard_normal((60, 10))
    labels = {key: draw.standard_normal((60, 10)) for key in HORIZONS}
    made = screen_factor(factor, labels, HORIZONS)
    expected = [made.horizons[key].rank_ic.mean for key in HORIZONS]
    np.testing.assert_allclose(call(factor, labels, HORIZONS), expected, rtol=0, atol=1e-12)


def test_the_peer_to_beat_does_all_the_work():
    """NumPy + scipy on gaps, ties, constant bars and names that come and go: every number is ours."""
    factor, _ = rough(2, 300, 14)
    labels = {key: rough(seed, 300, 14)[1] for seed, key in enumerate(HORIZONS)}
    made, theirs = screen_factor(factor, labels, HORIZONS), numpy_numbers(factor, labels, HORIZONS)
    assert made.rank_autocorrelation == pytest.approx(theirs["autocorrelation"], rel=1e-12)
    for key, mine in made.horizons.items():
        for one, other in zip((mine.ic, mine.rank_ic), theirs[key], strict=False):
            np.testing.assert_allclose((one.mean, one.t_newey_west, one.icir), other, rtol=1e-10, err_msg=key)
        means, turnover = np.array(theirs[key][2]), theirs[key][3]
        np.testing.assert_allclose(mine.quantile_mean, means[:, 0], rtol=1e-10)
        np.testing.assert_allclose(mine.quantile_mean / mine.quantile_std_error, means[:, 1], rtol=1e-10)
        np.testing.assert_allclose(mine.turnover, turnover, rtol=1e-10)


@pytest.mark.parametrize("values", [7 * 200 * 2, 1])
def test_horizons_measured_in_rounds_and_chunks_are_the_same(monkeypatch, values):
    factor, _ = rough(3, 200, 12)
    labels = {key: rough(seed, 200, 12)[1] for seed, key in enumerate(HORIZONS)}
    whole = screen_factor(factor, labels, HORIZONS)
    monkeypatch.setattr("factor_evaluation.measures.ranked.CHUNK_VALUES", 1)
    monkeypatch.setattr("factor_evaluation.measures.screen.CHUNKS_AT_ONCE", 1)
    monkeypatch.setattr("factor_evaluation.measures.screen.SERIES_VALUES", values)
    parts = screen_factor(factor, labels, HORIZONS)
    assert parts.rank_autocorrelation == whole.rank_autocorrelation
    for key, mine in parts.horizons.items():
        theirs = whole.horizons[key]
        assert repr((mine.ic, mine.rank_ic, mine.spread)) == repr((theirs.ic, theirs.rank_ic, theirs.spread))
        for name in ("quantile_mean", "quantile_std_error", "turnover"):
            assert getattr(mine, name).tobytes() == getattr(theirs, name).tobytes()
