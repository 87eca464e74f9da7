"""Many factors at once: how alike they are, what each adds to the others, p-values that know how many were tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .blocks import Bools
from .evaluation import Floats, SeriesSummary
from .fused import cross_sections
from .quantiles import mean_of_bars
from .ranked import MIN_NAMES, factor_rows
from .significance import summarise

SAME = 0.7
"""Mean |rank correlation| from which on two factors are in one cluster: half their variance is common."""

CELLS = 2_000_000
"""Values of the standardised factors held at once while factors are made orthogonal."""


@dataclass(frozen=True)
class Family:
    """Several factors against one forward return.

    Attributes
    ----------
    names
        The factors, as given.
    correlation
        [F, F] mean over bars of the Spearman correlation across symbols.
    clusters
        Cluster number of each factor, numbered by first member.
    incremental
        Factor -> summary of the rank IC of what the other factors do not explain.
    pairs
        (bar, symbol) pairs that have every factor and the return: those that `incremental` is of.
    """

    names: tuple[str, ...]
    correlation: Floats
    clusters: tuple[int, ...]
    incremental: Mapping[str, SeriesSummary]
    pairs: int


def compare_factors(factors: Mapping[str, Floats], label: Floats, bars: int) -> Family:
    """Return correlations, clusters and incremental rank ICs of `factors` (name -> [T, S]) against `label` [T, S]."""
    names = tuple(factors)
    correlation = rank_correlation(factors)
    held = _shared(factors, label)
    return Family(names, correlation, clusters(correlation), incremental_ic(factors, label, bars), int(held.sum()))


def rank_correlation(factors: Mapping[str, Floats]) -> Floats:
    """Return [F, F]: the mean over bars of the rank correlation across the symbols that have both factors."""
    arrays = list(factors.values())
    made = np.eye(len(arrays))
    for i, factor in enumerate(arrays[:-1]):
        rows = factor_rows(factor, 1)
        for j, series in enumerate(cross_sections(factor, rows, arrays[i + 1 :]), start=i + 1):
            made[i, j] = made[j, i] = mean_of_bars(series.rank_ic)
    return made


def clusters(correlation: Floats, same: float = SAME) -> tuple[int, ...]:
    """Join the two groups with the largest mean |correlation| until none reaches `same` (average linkage).

    A correlation that is missing counts as none.
    """
    near = np.abs(np.nan_to_num(correlation))
    groups = [[place] for place in range(len(near))]
    while len(groups) > 1:
        pairs = [
            (float(near[np.ix_(groups[i], groups[j])].mean()), -i, -j)
            for i in range(len(groups))
            for j in range(i + 1, len(groups))
        ]
        closest, i, j = max(pairs)
        if closest < same:
            break
        groups[-i] += groups.pop(-j)
    number = {place: rank for rank, group in enumerate(sorted(groups, key=min)) for place in group}
    return tuple(number[place] for place in range(len(near)))


def incremental_ic(factors: Mapping[str, Floats], label: Floats, bars: int) -> dict[str, SeriesSummary]:
    """Return per factor the summary of its orthogonalised rank IC.

    In every bar, over the symbols that have all factors and the return, ranks of each factor are regressed on those of
    the others (least squares, minimum norm where these are dependent); the residual's correlation with the ranks of the
    return is the bar's value. Missing where nothing is left of the factor: it is a copy of others.
    """
    held = _shared(factors, label)
    target = _rank_scores(label, held)
    scores = [_rank_scores(factor, held) for factor in factors.values()]
    return {
        name: summarise(_residual_correlation(scores[i], scores[:i] + scores[i + 1 :], target), bars)
        for i, name in enumerate(factors)
    }


def _shared(factors: Mapping[str, Floats], label: Floats) -> Bools:
    """Return bool [T, S]: the pairs that have every factor and the return."""
    return np.logical_and.reduce([np.isfinite(label), *(np.isfinite(factor) for factor in factors.values())])


def _rank_scores(values: Floats, held: Bools) -> Floats:
    """Return centred ranks of unit length per bar; zero where not `held` and in bars without a usable cross-section."""
    rows = factor_rows(values, 1, held)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = rows.centred_ranks / np.sqrt(rows.rank_squares.astype(np.float64))[:, None]
    return np.where(rows.usable[:, None], scores, 0.0)


def _residual_correlation(mine: Floats, others: list[Floats], target: Floats) -> Floats:
    out = np.full(len(mine), np.nan)
    step = max(1, CELLS // (mine.shape[1] * (len(others) + 1)))
    for first in range(0, len(mine), step):
        here = slice(first, first + step)
        left = mine[here]
        if others:
            basis = np.stack([other[here] for other in others], axis=2)  # [t, S, F - 1]
            gram = np.einsum("tsf,tsg->tfg", basis, basis)
            weights = (
                np.linalg.pinv(gram, rcond=1e-12, hermitian=True) @ np.einsum("tsf,ts->tf", basis, left)[..., None]
            )
            left = left - (basis @ weights)[..., 0]
        size = np.sqrt((left * left).sum(axis=1) * (target[here] * target[here]).sum(axis=1))
        names = (target[here] != 0.0).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (left * target[here]).sum(axis=1) / size
        out[here] = np.where((size > 1e-6) & (names >= MIN_NAMES - 1), value, np.nan)
    return out


def benjamini_hochberg(p_values: Floats) -> Floats:
    """Return p-values adjusted for the false discovery rate (Benjamini and Hochberg 1995): independent trials.

    NaN stays NaN and counts for nothing.
    """
    return _step_up(p_values, 1.0)


def benjamini_yekutieli(p_values: Floats) -> Floats:
    """Return p-values adjusted for the false discovery rate under any dependence (Benjamini and Yekutieli 2001)."""
    count = int(np.isfinite(p_values).sum())
    return _step_up(p_values, float((1.0 / np.arange(1, count + 1)).sum()))


def _step_up(p_values: Floats, price: float) -> Floats:
    out = np.full(len(p_values), np.nan)
    places = np.flatnonzero(np.isfinite(p_values))
    order = places[np.argsort(p_values[places], kind="stable")]
    scaled = p_values[order] * price * order.size / np.arange(1, order.size + 1)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return out
