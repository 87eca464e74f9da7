"""The headline table: one row per horizon, one column per measure, in words; headings explain themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..measures.evaluation import Evaluation, HorizonResult
from ..measures.table import MEASURES

MISSING = "–"


@dataclass(frozen=True)
class Column:
    """A column: its measure, heading, and how a horizon's value is told."""

    title: str
    formula: str
    words: Callable[[HorizonResult], str]


def _column(measure: str, words: Callable[[HorizonResult], str], title: str = "") -> Column:
    row = MEASURES[measure]
    return Column(title or row.title, row.formula, words)


def fixed(value: float, digits: int) -> str:
    """Return a number with fixed decimals; a dash where it is missing."""
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else MISSING


def share(value: float, digits: int = 3) -> str:
    """Return a fraction as percent; a dash where it is missing."""
    return f"{100 * value:.{digits}g} %".replace("-", "−") if math.isfinite(value) else MISSING


def p_cell(value: float) -> str:
    """Return a p-value: ``0.034``, ``< 0.0001``."""
    return MISSING if not math.isfinite(value) else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def _interval(result: HorizonResult) -> str:
    low, high = result.rank_ic_summary.interval
    return f"{fixed(low, 4)} … {fixed(high, 4)}" if math.isfinite(low) and math.isfinite(high) else MISSING


def _ends(result: HorizonResult) -> str:
    """Return the mean of the turnover of the two quantiles that the spread trades."""
    return share(float(result.turnover[[0, -1]].mean())) if len(result.turnover) else MISSING


COLUMNS: tuple[Column, ...] = (
    Column("horizon", "as typed; a bare number counts bars", lambda result: result.key),
    _column("ic_mean", lambda result: fixed(result.ic_summary.mean, 4)),
    _column("rank_ic_mean", lambda result: fixed(result.rank_ic_summary.mean, 4)),
    _column("rank_ic_interval", _interval, "its interval"),
    _column("rank_icir", lambda result: fixed(result.rank_ic_summary.icir, 3)),
    _column("rank_ic_t_newey_west", lambda result: fixed(result.rank_ic_summary.t_newey_west, 2)),
    _column("rank_ic_p_value", lambda result: p_cell(result.rank_ic_summary.p_value)),
    _column("rank_ic_permutation_p", lambda result: p_cell(result.rank_ic_summary.permutation_p)),
    _column("rank_ic_hit_rate", lambda result: share(result.rank_ic_summary.hit_rate)),
    _column("spread_mean", lambda result: share(result.spread_summary.mean)),
    _column("spread_t", lambda result: fixed(result.spread_summary.t_newey_west, 2)),
    _column("monotonicity_p", lambda result: p_cell(result.monotonicity_p)),
    _column("turnover", _ends, "turnover of the ends"),
    _column("break_even_cost", lambda result: share(result.break_even_cost)),
    _column("net_spread", lambda result: share(result.net_spread)),
    Column("pairs", "(bar, symbol) pairs with a factor and a forward return", lambda result: f"{result.rows:,}"),
)  # fmt: skip


def headline_table(evaluation: Evaluation, best: str) -> tuple[list[Column], list[dict[str, Any]]]:
    """Return the columns that have a value for some horizon, and a row per horizon; `best` is marked."""
    results = list(evaluation.horizons.values())
    told = [[column.words(result) for result in results] for column in COLUMNS]
    kept = [place for place, words in enumerate(told) if place == 0 or any(word != MISSING for word in words)]
    rows = [
        {"best": result.key == best and len(results) > 1, "cells": [told[place][number] for place in kept]}
        for number, result in enumerate(results)
    ]
    return [COLUMNS[place] for place in kept], rows
