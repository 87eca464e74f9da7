"""The verdict: Holm's correction by hand, and words that follow from numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from factor_evaluation.report.headline import share
from factor_evaluation.report.verdict import corrected_p_values, monthly_means, percent, size_words, verdict_of

from .made_evaluation import made


def with_p(**by_key):
    """Three horizons of 1, 6 and 18 bars with these p-values."""
    evaluation = made()
    results = {
        key: replace(result, rank_ic_summary=replace(result.rank_ic_summary, p_value=by_key[f"p{result.bars}"]))
        for key, result in evaluation.horizons.items()
    }
    return replace(evaluation, horizons=results)


def test_holms_correction_by_hand():
    # ascending 0.01, 0.02, 0.04: 3 * 0.01 = 0.03, 2 * 0.02 = 0.04, max(0.04, 1 * 0.04) = 0.04
    corrected = corrected_p_values(with_p(p1=0.02, p6=0.04, p18=0.01).horizons)
    assert corrected == pytest.approx({"1": 0.04, "1d": 0.04, "18": 0.03})
    # a later one never gets less than an earlier one, and none more than 1; a missing p-value counts for nothing
    corrected = corrected_p_values(with_p(p1=0.6, p6=0.7, p18=np.nan).horizons)
    assert corrected == pytest.approx({"1": 1.0, "1d": 1.0, "18": np.nan}, nan_ok=True)


@pytest.mark.parametrize(
    "p,level,words",
    [(0.0001, "strong", "Very strong evidence"), (0.002, "strong", "Strong evidence"), (0.01, "some", "Some evidence"),
     (0.02, "none", "No evidence"), (0.9, "none", "No evidence")],
)  # fmt: skip
def test_words_follow_the_corrected_p_value(p, level, words):
    verdict = verdict_of(with_p(p1=p, p6=0.95, p18=0.99))
    assert (verdict.level, verdict.horizon) == (level, "1")
    assert verdict.headline.startswith(words)
    assert verdict.p_corrected == pytest.approx(min(1.0, 3 * p))


def test_exact_p_is_taken_where_there_is_one():
    evaluation = with_p(p1=0.9, p6=0.9, p18=0.9)
    result = evaluation.horizons["1d"]
    exact = replace(result, rank_ic_summary=replace(result.rank_ic_summary, permutation_p=1e-5))
    verdict = verdict_of(replace(evaluation, horizons={**evaluation.horizons, "1d": exact}))
    assert (verdict.level, verdict.horizon) == ("strong", "1d")


def test_a_negative_factor_is_told_which_way():
    verdict = verdict_of(made(mean=-0.05))
    assert "high values were followed by lower returns (turn its sign" in verdict.details[0]


def test_few_periods_are_no_evidence_however_small_the_p_value():
    verdict = verdict_of(made(rows=100, horizons=(("18", 18),)))
    assert verdict.level == "unknown"
    assert verdict.headline == "Too little data to judge: 5 periods of 18 do not overlap; 30 are needed."


def test_money_is_told_with_and_without_a_cost():
    assert any("used up by a cost of" in sentence for sentence in verdict_of(made()).details)
    assert any("after a cost of 0.1 %" in sentence for sentence in verdict_of(made(cost=0.001)).details)


def test_sizes():
    assert [size_words(value) for value in (0.005, -0.02, 0.05, -0.1)] == ["tiny", "small", "moderate", "large"]
    assert size_words(0.4).startswith("suspiciously large")


def test_monthly_means_leave_out_missing_bars():
    means = monthly_means(np.array([5, 5, 5, 6, 7]), np.array([1.0, np.nan, 3.0, np.nan, -1.0]))
    assert means.tolist() == [2.0, -1.0]


def changed(evaluation, **spread):
    """The evaluation with another spread at each horizon."""
    horizons = {
        key: replace(result, spread_summary=replace(result.spread_summary, **spread))
        for key, result in evaluation.horizons.items()
    }
    return replace(evaluation, horizons=horizons)


def test_ranks_without_money_are_said_to_be_that():
    evaluation = made()
    against = verdict_of(changed(evaluation, mean=-0.001))
    assert against.level == "some"
    assert against.headline.endswith("the highest and lowest quantiles do not bear it out.")
    unsure = verdict_of(changed(evaluation, mean=0.001, p_value=0.4))
    assert unsure.headline.endswith("but the spread of mean returns cannot be told from zero.")
    assert verdict_of(changed(evaluation, mean=0.001, p_value=0.01)).level == "strong"


def test_a_factor_that_costs_more_than_it_earns():
    evaluation = made(cost=0.01)
    assert verdict_of(evaluation).headline.endswith("and it does not earn its cost.")


def test_without_a_spread_the_money_is_said_to_be_unknown():
    verdict = verdict_of(changed(made(), count=0, mean=np.nan, t_newey_west=np.nan, p_value=np.nan))
    assert verdict.level == "some"
    assert verdict.headline.endswith("but no bar has both a highest and a lowest quantile.")
    assert "There is no spread of quantiles: no bar has both a highest and a lowest one." in verdict.details
    unsure = verdict_of(changed(made(), mean=0.001, p_value=np.nan))
    assert unsure.headline.endswith("but the spread of mean returns cannot be told from zero.")


def test_a_spread_of_few_bars_says_how_many():
    told = [sentence for sentence in verdict_of(changed(made(), count=24)).details if "spread" in sentence]
    assert "in the 24 of 899 bars that have both;" in told[0]
    assert "that have both" not in " ".join(verdict_of(made()).details)


def test_percentages_have_no_exponent():
    assert [percent(value) for value in (7.61e-7, -0.000411, 0.118, 4239.3)] == [
        "0.0000761 %", "−0.0411 %", "11.8 %", "424000 %"
    ]  # fmt: skip
    assert [share(value) for value in (7.61e-7, 0.0, 0.5, np.nan)] == ["0.0000761 %", "0 %", "50 %", "–"]


def test_words_do_not_contradict_the_interval_beside_them():
    """Interval and p-value are two estimates, and only the latter is corrected: they may differ."""
    evaluation = with_p(p1=0.07, p6=0.9, p18=0.9)
    result = evaluation.horizons["1"]
    for interval, words in (((0.0044, 0.0525), "the interval leaves zero out, the p-value does not"),
                            ((-0.01, 0.0525), "zero is not ruled out")):  # fmt: skip
        summary = replace(result.rank_ic_summary, interval=interval)
        horizons = {**evaluation.horizons, "1": replace(result, rank_ic_summary=summary)}
        assert verdict_of(replace(evaluation, horizons=horizons)).details[0].endswith(f": {words}.")
