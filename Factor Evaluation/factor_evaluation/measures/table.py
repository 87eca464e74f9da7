"""MEASURES: one row for every number of an evaluation; the explanations in the report are read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """One row of the table: what a key of a horizon (or of the evaluation) in evaluation.json means.

    `better` is ``high`` or ``low`` where one end is the better one, ``size`` where a larger distance from zero is.
    """

    name: str
    title: str
    formula: str
    unit: Literal["correlation", "fraction", "ratio", "t", "probability", "count", "bars"]
    better: Literal["high", "low", "size", ""] = ""
    function: str = ""


_ROWS = (
    Measure("ic_mean", "IC", "mean over bars of the Pearson correlation across symbols of factor and forward return; "
            "a bar with fewer than 3 pairs or a constant side has none", "correlation", "size", "cross_sections"),
    Measure("ic_std", "IC deviation", "standard deviation (ddof 1) of the bars' ICs", "correlation", "", "summarise"),
    Measure("icir", "ICIR", "ic_mean / ic_std, per bar, not annualised", "ratio", "size", "summarise"),
    Measure("ic_t_newey_west", "t", "ic_mean / its Newey-West standard error; Bartlett weights, lag 2 (bars - 1), "
            "times n / (n - 1)", "t", "size", "newey_west_error"),
    Measure("ic_p_value", "p", "two-sided, Student t with min(n - 1, 1.5 n / (lag + 1)) degrees of freedom",
            "probability", "low", "student_p"),
    Measure("ic_hit_rate", "hit rate", "share of the bars' ICs with the sign of the mean, zeros left out", "fraction",
            "high", "summarise"),
    Measure("rank_ic_mean", "rank IC", "as ic_mean, of ranks (Spearman, ties average)", "correlation", "size",
            "cross_sections"),
    Measure("rank_ic_std", "rank IC deviation", "as ic_std", "correlation", "", "summarise"),
    Measure("rank_icir", "rank ICIR", "rank_ic_mean / rank_ic_std, per bar, not annualised", "ratio", "size",
            "summarise"),
    Measure("rank_ic_t_newey_west", "rank t", "as ic_t_newey_west", "t", "size", "newey_west_error"),
    Measure("rank_ic_p_value", "rank p", "as ic_p_value", "probability", "low", "student_p"),
    Measure("rank_ic_hit_rate", "rank hit rate", "as ic_hit_rate", "fraction", "high", "summarise"),
    Measure("rank_ic_permutation_p", "permutation p", "exact, two-sided, of the summed rank products of every bars-th "
            "bar when names are permuted within bars; up to 8 symbols", "probability", "low", "permutation_p"),
    Measure("rank_ic_interval", "interval", "95 % circular block bootstrap of the mean", "correlation", "",
            "bootstrap_interval"),
    Measure("quantile_mean_return", "quantile return", "mean over bars of the equal-weighted forward return of the "
            "quantile's names", "fraction", "", "cross_sections"),
    Measure("quantile_std_error", "standard error", "Newey-West standard error of quantile_mean_return", "fraction", "",
            "newey_west_error"),
    Measure("spread_mean", "spread", "mean of top minus bottom quantile return, not halved", "fraction", "size",
            "summarise"),
    Measure("spread_t", "spread t", "as ic_t_newey_west, of the spread", "t", "size", "newey_west_error"),
    Measure("spread_bars", "bars with a spread", "bars whose lowest and highest quantile both hold a name with a "
            "forward return", "count", "", "summarise"),
    Measure("monotonicity", "monotonicity", "Spearman correlation of quantile number and quantile_mean_return",
            "correlation", "size", "monotonicity"),
    Measure("monotonicity_p", "monotonicity p", "two-sided p that the trend (sum of quantile number, centred, times "
            "return) is zero, t as for the spread", "probability", "low", "monotonicity"),
    Measure("turnover", "turnover", "mean share of a quantile's names that are not in it one step later; a name that "
            "left the universe counts as sold", "fraction", "low", "cross_sections"),
    Measure("rank_autocorrelation", "rank autocorrelation", "mean correlation of factor ranks one step apart, over the "
            "names present at both", "correlation", "high", "cross_sections"),
    Measure("break_even_cost", "break-even cost", "|spread_mean| / (2 (turnover of top + turnover of bottom)), per "
            "unit of traded value; missing over time, where quantiles are known only at the end", "fraction", "high",
            "break_even_cost"),
    Measure("net_spread", "net spread", "|spread_mean| - cost x 2 (turnover of top + turnover of bottom), per "
            "rebalance; missing over time", "fraction", "high", "net_spread"),
    Measure("alpha", "alpha", "(1 + a) ^ (periods of the horizon in 365 days) - 1, a the intercept of the "
            "factor-weighted portfolio's return (weights (f - mean) / sum |f - mean|) on the equal-weighted universe's",
            "fraction", "high", "alpha_beta"),
    Measure("beta", "beta", "slope of the same line", "ratio", "", "alpha_beta"),
    Measure("stability", "stability", "share of the parts of a split whose mean rank IC has the sign of the whole",
            "fraction", "high", "stability"),
    Measure("half_life", "half-life", "bars from the horizon of the largest |rank IC| until it is half of that",
            "bars", "high", "decay_of"),
)  # fmt: skip

MEASURES = {row.name: row for row in _ROWS}
