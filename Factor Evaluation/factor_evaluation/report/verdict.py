"""The verdict: what the numbers of an evaluation say in words, and how sure they are.

1. Each horizon's p-value: the exact permutation p where there is one, else Newey-West's.
2. Holm's correction over the horizons, because the best of several is shown.
3. The best horizon's evidence, size and direction; then money; then how steady it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..measures.evaluation import Evaluation, Floats, HorizonResult, SeriesSummary

Level = Literal["strong", "some", "none", "unknown"]

FEWEST_PERIODS = 30
"""Horizons that must fit into the data one after the other; below it neither t nor interval can be trusted."""

EVIDENCE: tuple[tuple[float, str, Level], ...] = (
    (0.001, "Very strong evidence", "strong"),
    (0.01, "Strong evidence", "strong"),
    (0.05, "Some evidence", "some"),
)
"""Corrected p-value below which the words hold."""

SIZES = ((0.01, "tiny"), (0.03, "small"), (0.06, "moderate"), (0.2, "large"))
"""|rank IC| below which the word holds: cross-sectional factors that people trade lie between 0.01 and 0.06."""

SUSPICIOUS = "suspiciously large: look for a value that is known only later"


@dataclass(frozen=True)
class Verdict:
    """What a reader takes away.

    Attributes
    ----------
    level
        Colour of the box.
    headline
        One sentence.
    details
        Further sentences: direction and uncertainty, money, steadiness.
    horizon
        Key of the horizon that is spoken of; empty when there is none.
    p_corrected
        Its p-value after Holm's correction; NaN when there is none.
    """

    level: Level
    headline: str
    details: tuple[str, ...] = ()
    horizon: str = ""
    p_corrected: float = np.nan


def verdict_of(evaluation: Evaluation) -> Verdict:
    """Return the verdict on a factor."""
    corrected = corrected_p_values(evaluation.horizons)
    known = {key: p for key, p in corrected.items() if np.isfinite(p)}
    if not known:
        return Verdict("unknown", "There is nothing to judge: no horizon has a rank IC with an uncertainty.")
    best = min(known, key=lambda key: (known[key], p_value(evaluation.horizons[key].rank_ic_summary)))
    result, p = evaluation.horizons[best], known[best]
    details = (
        _uncertainty(result, p, len(known)), *_money(evaluation, result), *_steadiness(evaluation, result),
    )  # fmt: skip
    periods = result.rank_ic_summary.count / max(result.bars, 1)
    if periods < FEWEST_PERIODS:
        found = f"{periods:.0f} periods of {best} do not overlap; {FEWEST_PERIODS} are needed."
        return Verdict("unknown", f"Too little data to judge: {found}", details, best, p)
    words, level = next(((words, level) for limit, words, level in EVIDENCE if p < limit), ("", "none"))
    if level == "none":
        return Verdict("none", "No evidence that this factor predicts returns.", details, best, p)
    size = size_words(result.rank_ic_summary.mean)
    but, level = _reservation(evaluation, result, level)
    return Verdict(level, f"{words} that this factor predicts returns; the effect is {size}{but}.", details, best, p)


def _reservation(evaluation: Evaluation, result: HorizonResult, level: Level) -> tuple[str, Level]:
    """Return what the money says against a factor with evidence, and the level that is left."""
    if evaluation.kind == "time_series":
        return "", level
    if not np.isfinite(result.spread_summary.mean):
        return ", but no bar has both a highest and a lowest quantile", "some"
    if result.spread_summary.mean * result.rank_ic_summary.mean < 0:
        return ", but the highest and lowest quantiles do not bear it out", "some"
    if not result.spread_summary.p_value <= EVIDENCE[-1][0]:
        return ", but the spread of mean returns cannot be told from zero", "some"
    if evaluation.cost is not None and result.net_spread <= 0:
        return ", and it does not earn its cost", "some"
    return "", level


def corrected_p_values(horizons: Mapping[str, HorizonResult]) -> dict[str, float]:
    """Return each horizon's p-value after Holm's correction over the horizons; NaN where it has none."""
    raw = {key: p_value(result.rank_ic_summary) for key, result in horizons.items()}
    ascending = sorted((p, key) for key, p in raw.items() if np.isfinite(p))
    corrected = dict.fromkeys(raw, np.nan)
    least = 0.0
    for place, (p, key) in enumerate(ascending):
        least = max(least, min(1.0, p * (len(ascending) - place)))
        corrected[key] = least
    return corrected


def p_value(summary: SeriesSummary) -> float:
    """Return the exact permutation p where there is one, else Newey-West's."""
    return summary.permutation_p if np.isfinite(summary.permutation_p) else summary.p_value


def size_words(mean: float) -> str:
    """Return how large a rank IC is, in a word."""
    return next((word for limit, word in SIZES if abs(mean) < limit), SUSPICIOUS)


def p_words(p: float) -> str:
    """Return a p-value for people: ``p = 0.034``, ``p < 0.0001``."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}" if p < 0.995 else "p = 1"


def _uncertainty(result: HorizonResult, p: float, horizons: int) -> str:
    summary = result.rank_ic_summary
    low, high = summary.interval
    interval = f"95 % interval {minus(low)} to {minus(high)}, " if np.isfinite(low) and np.isfinite(high) else ""
    correction = f" after correction for {horizons} horizons" if horizons > 1 else ""
    way = "higher" if summary.mean > 0 else "lower"
    reverse = "" if summary.mean > 0 else " (turn its sign before you use it)"
    if p < EVIDENCE[-1][0]:
        follows = f"high values were followed by {way} returns{reverse}"
    elif low > 0 or high < 0:
        follows = "the interval leaves zero out, the p-value does not"
    else:
        follows = "zero is not ruled out"
    return (
        f"At horizon {result.key} the rank IC is {minus(summary.mean)} ({interval}{p_words(p)}{correction}): {follows}."
    )


def _money(evaluation: Evaluation, result: HorizonResult) -> tuple[str, ...]:
    mean, t = result.spread_summary.mean, result.spread_summary.t_newey_west
    if not np.isfinite(mean):
        return ("There is no spread of quantiles: no bar has both a highest and a lowest one.",)
    if evaluation.kind == "time_series":
        return (
            f"Within a symbol's own history the mean return after its highest values less that after its lowest is "
            f"{percent(mean)} per period (t = {minus(t, 2)}); where those begin is known only at the end.",
        )
    said = f"The spread between highest and lowest quantile is {percent(mean)} per period (t = {minus(t, 2)})"
    bars, all_bars = result.spread_summary.count, result.rank_ic_summary.count
    if bars < all_bars / 2:
        said += f", in the {bars:,} of {all_bars:,} bars that have both"
    if mean * result.rank_ic_summary.mean < 0:
        said += ", against the direction of the rank IC"
    if evaluation.cost is not None and np.isfinite(result.net_spread):
        verb = "remain" if result.net_spread > 0 else "are lost"
        rest = percent(abs(result.net_spread))
        return (f"{said}; after a cost of {percent(evaluation.cost)} per unit traded {rest} {verb}.",)
    if np.isfinite(result.break_even_cost):
        return (f"{said}; it is used up by a cost of {percent(result.break_even_cost)} per unit traded.",)
    return (f"{said}.",)


def _steadiness(evaluation: Evaluation, result: HorizonResult) -> tuple[str, ...]:
    means = monthly_means(evaluation.timestamp.astype("datetime64[M]").astype(np.int64), result.rank_ic)
    if len(means) < 3:
        return ()
    same = int((np.sign(means) == np.sign(result.rank_ic_summary.mean)).sum())
    return (f"The monthly rank IC had the sign of the whole in {same} of {len(means)} months.",)


def monthly_means(month_of: NDArray[np.int64], values: Floats) -> Floats:
    """Return the mean of each month that has a value."""
    known = np.isfinite(values)
    _, place = np.unique(month_of[known], return_inverse=True)
    if not place.size:
        return np.empty(0)
    return np.bincount(place, values[known]) / np.bincount(place)


def percent(value: float) -> str:
    """Return a fraction as percent with three significant digits, never with an exponent."""
    return f"{np.format_float_positional(float(f'{100 * value:.3g}'), trim='-')} %".replace("-", "−")


def minus(value: float, digits: int = 4) -> str:
    """Return a number with fixed decimals and a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")
