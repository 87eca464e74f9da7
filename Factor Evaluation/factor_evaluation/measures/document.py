"""An evaluation as the JSON document `evaluation.json`: fixed names, null where there is no value, no NaN."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .evaluation import Evaluation, HorizonResult, SeriesSummary, Split, SplitPart


def to_json(evaluation: Evaluation, figures: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the document of `evaluation`; `figures` are the report's, JSON already."""
    horizons = {key: _horizon(result) for key, result in evaluation.horizons.items()}
    decay = evaluation.decay
    return {
        "factor": evaluation.factor,
        "bar_freq": evaluation.bar_freq,
        "start": iso(evaluation.start),
        "end": iso(evaluation.end),
        "symbols": list(evaluation.symbols),
        "rows": evaluation.rows,
        "dropped": dict(evaluation.dropped),
        "horizons": horizons,
        "turnover": numbers(evaluation.turnover),
        "rank_autocorrelation": number(evaluation.rank_autocorrelation),
        "decay": {
            "horizon": list(decay.horizon),
            "rank_ic": numbers(decay.rank_ic),
            "half_life": number(decay.half_life),
            "net_spread_per_bar": numbers(decay.net_spread_per_bar),
            "best_horizon": decay.best_horizon or None,
        },
        "splits": {name: _split(split) for name, split in evaluation.splits.items()},
        "figures": dict(figures or {}),
        "kind": evaluation.kind,
        "quantiles": evaluation.quantiles,
        "cost": evaluation.cost,
        "groups": _split(evaluation.groups) if evaluation.groups else None,
        "coverage": _coverage(evaluation),
        "distribution": _distribution(evaluation),
        "notes": list(evaluation.notes),
    }


def number(value: float) -> float | None:
    """Return `value` as a JSON number, None where it is not finite."""
    return float(value) if math.isfinite(value) else None


def numbers(values: Iterable[float]) -> list[float | None]:
    """Return `values` as JSON numbers."""
    return [number(value) for value in values]


def iso(moment: np.datetime64 | None) -> str | None:
    """Return `moment` as ISO 8601 UTC with Z, to the second."""
    return None if moment is None else f"{np.datetime_as_string(moment, unit='s')}Z"


def _horizon(result: HorizonResult) -> dict[str, Any]:
    return {
        "bars": result.bars,
        **_summary(result.ic_summary, "ic"),
        **_summary(result.rank_ic_summary, "rank_ic"),
        "quantile_mean_return": numbers(result.quantile_mean),
        "quantile_std_error": numbers(result.quantile_std_error),
        "spread_mean": number(result.spread_summary.mean),
        "spread_t": number(result.spread_summary.t_newey_west),
        "monotonicity_p": number(result.monotonicity_p),
        "break_even_cost": number(result.break_even_cost),
        "spread_p_value": number(result.spread_summary.p_value),
        "spread_bars": result.spread_summary.count,
        "monotonicity": number(result.monotonicity),
        "net_spread": number(result.net_spread),
        "alpha": number(result.alpha),
        "beta": number(result.beta),
        "turnover": numbers(result.turnover),
        "rank_autocorrelation": number(result.rank_autocorrelation),
        "ic_interval": numbers(result.ic_summary.interval),
        "rank_ic_interval": numbers(result.rank_ic_summary.interval),
        "rank_ic_permutation_p": number(result.rank_ic_summary.permutation_p),
        "newey_west_lag": result.rank_ic_summary.lag,
        "ic_bars": result.rank_ic_summary.count,
        "rows": result.rows,
        "dropped": dict(result.dropped),
    }


def _summary(summary: SeriesSummary, name: str) -> dict[str, float | None]:
    return {
        f"{name}_mean": number(summary.mean),
        f"{name}_std": number(summary.std),
        f"{name.removesuffix('ic')}icir": number(summary.icir),
        f"{name}_t_newey_west": number(summary.t_newey_west),
        f"{name}_p_value": number(summary.p_value),
        f"{name}_hit_rate": number(summary.hit_rate),
    }


def _split(split: Split) -> dict[str, Any]:
    return {
        "parts": {part.label: _part(part) for part in split.parts},
        "stability": {key: number(value) for key, value in split.stability.items()},
    }


def _part(part: SplitPart) -> dict[str, Any]:
    horizons = {
        key: {
            **_summary(part.ic[key], "ic"),
            **_summary(part.rank_ic[key], "rank_ic"),
            "spread_mean": number(part.spread_mean[key]),
        }
        for key in part.rank_ic
    }
    return {"bars": part.bars, "horizons": horizons}


def _coverage(evaluation: Evaluation) -> dict[str, Any]:
    coverage = evaluation.coverage
    finite = coverage.by_bar[np.isfinite(coverage.by_bar)]
    return {
        "mean": number(float(finite.mean())) if finite.size else None,
        "by_symbol": {symbol: number(share) for symbol, share in coverage.by_symbol.items()},
        "months": list(coverage.months),
        "missing_by_month": list(coverage.missing_by_month),
    }


def _distribution(evaluation: Evaluation) -> dict[str, Any]:
    shape = evaluation.distribution
    return {
        "count": shape.count,
        "mean": number(shape.mean),
        "std": number(shape.std),
        "skewness": number(shape.skewness),
        "kurtosis_excess": number(shape.kurtosis_excess),
        "quantiles": {name: number(value) for name, value in shape.quantiles.items()},
        "outliers": shape.outliers,
        "zeros": shape.zeros,
        "distinct": shape.distinct,
        "constant_bars": shape.constant_bars,
    }
