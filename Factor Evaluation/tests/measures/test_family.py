"""Many factors: correlation, clusters, what each adds, corrections, and the ledger under many writers."""

from __future__ import annotations

import math
import multiprocessing

import numpy as np
import pandas as pd
import pytest
from factor_evaluation.measures.family import (
    benjamini_hochberg,
    benjamini_yekutieli,
    clusters,
    compare_factors,
    incremental_ic,
    rank_correlation,
)
from factor_evaluation.measures.fused import cross_sections
from factor_evaluation.measures.ledger import FILE_NAME, read_ledger, record_trials, trial_key
from factor_evaluation.measures.quantiles import mean_of_bars
from factor_evaluation.measures.ranked import factor_rows

from Backtest.errors import DataError

from .cases import rough


def three_factors(bars=400, symbols=25):
    draw = np.random.default_rng(0)
    first, second = draw.standard_normal((bars, symbols)), draw.standard_normal((bars, symbols))
    label = 0.2 * first + draw.standard_normal((bars, symbols))
    return {"a": first, "copy": first + 0.1 * draw.standard_normal((bars, symbols)), "other": second}, label


def test_rank_correlation_equals_pandas():
    factors = {"x": rough(0, 60, 12)[0], "y": rough(1, 60, 12)[0]}
    frames = [pd.DataFrame(values).replace([np.inf, -np.inf], np.nan) for values in factors.values()]
    per_bar = []
    for t in range(60):
        both = pd.concat([frame.iloc[t] for frame in frames], axis=1).dropna()
        full = frames[0].iloc[t].dropna()
        if len(both) >= 3 and full.nunique() > 1:
            per_bar.append(both.corr("spearman").iloc[0, 1])
    assert rank_correlation(factors)[0, 1] == pytest.approx(np.nanmean(per_bar), abs=1e-12)


def test_what_each_factor_adds():
    factors, label = three_factors()
    made = compare_factors(factors, label, 1)
    assert made.clusters == (0, 0, 1)
    assert made.pairs == np.isfinite(label + sum(factors.values())).sum()
    alone = mean_of_bars(cross_sections(factors["copy"], factor_rows(factors["copy"], 5), [label])[0].rank_ic)
    assert alone > 0.15
    assert abs(made.incremental["copy"].mean) < 0.03
    assert abs(made.incremental["other"].mean) < 0.03


def test_incremental_ic_equals_least_squares():
    factors, label = three_factors(20, 15)
    made = incremental_ic(factors, label, 1)
    expected = []
    for t in range(20):
        ranks = {name: pd.Series(values[t]).rank().to_numpy() for name, values in factors.items()}
        design = np.column_stack([np.ones(15), ranks["copy"], ranks["other"]])
        left = ranks["a"] - design @ np.linalg.lstsq(design, ranks["a"], rcond=None)[0]
        expected.append(np.corrcoef(left, pd.Series(label[t]).rank())[0, 1])
    assert made["a"].mean == pytest.approx(np.mean(expected), abs=1e-12)


def test_a_perfect_copy_adds_nothing():
    factors, label = three_factors(30, 10)
    made = incremental_ic({"a": factors["a"], "same": 3 * factors["a"] + 1}, label, 1)
    assert made["a"].count == made["same"].count == 0


def test_clusters_average():
    near = np.eye(4)
    near[0, 1] = near[1, 0] = -0.9
    near[2, 3] = near[3, 2] = 0.8
    near[0, 3] = near[3, 0] = np.nan
    assert clusters(near) == (0, 0, 1, 1)
    assert clusters(np.eye(3)) == (0, 1, 2)


def test_corrections_by_hand():
    """p 0.01 0.02 0.03 0.5 of four: times 4/1, 4/2, 4/3, 4/4, then the least of what follows."""
    p = np.array([0.5, 0.01, math.nan, 0.03, 0.02])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.5, 0.04, math.nan, 0.04, 0.04])
    price = 1 + 1 / 2 + 1 / 3 + 1 / 4
    np.testing.assert_allclose(benjamini_yekutieli(p), [1.0, 0.04 * price, math.nan, 0.04 * price, 0.04 * price])


def test_corrections_equal_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(1).random(40) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), multitest.multipletests(p, method="fdr_bh")[1], rtol=1e-12)
    np.testing.assert_allclose(benjamini_yekutieli(p), multitest.multipletests(p, method="fdr_by")[1], rtol=1e-12)


def test_the_ledger_counts_every_trial_once(tmp_path):
    first = trial_key("mom", "5", bar_freq="1h")
    assert record_trials(tmp_path, {first: 0.03})[first].benjamini_hochberg == 0.03
    more = {trial_key(f"noise{place}", "5", bar_freq="1h"): 0.5 for place in range(9)}
    record_trials(tmp_path, {**more, trial_key("flat", "5", bar_freq="1h"): math.nan})
    again = record_trials(tmp_path, {first: 0.03})[first]
    assert again.trials == 10
    assert again.benjamini_hochberg == pytest.approx(0.3)
    assert len(read_ledger(tmp_path)) == 11


@pytest.mark.parametrize("text", ["{", "[]", '{"trials": {"a": 2}}', '{"trials": {"a": "x"}}', '{"trials": []}'])
def test_a_damaged_ledger_is_refused_and_left_alone(tmp_path, text):
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(DataError, match="is not a ledger"):
        record_trials(tmp_path, {"a": 0.1})
    assert (tmp_path / FILE_NAME).read_text() == text


def write_trials(root, who):
    for place in range(10):
        record_trials(root, {trial_key(f"{who}-{place}", "1", bar_freq="1h"): 0.5})


def test_many_writers_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_trials, args=(tmp_path, who)) for who in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(read_ledger(tmp_path)) == 30
