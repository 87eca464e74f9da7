"""The headline table: one row per horizon, one column per measure, in words; headings explain themselves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..measures.evaluation import Evaluation, HorizonResult
from ..measures.ledger import Corrected
from ..measures.table import MEASURES
from .verdict import percent

MISSING = "–"


@dataclass(frozen=True)
class Heading:
    """What stands over a column, and what explains it."""

    title: str
    formula: str


@dataclass(frozen=True)
class Column(Heading):
    """A column of the headline table: how a horizon's value is told."""

    words: Callable[[HorizonResult], str]


def _column(measure: str, words: Callable[[HorizonResult], str], title: str = "") -> Column:
    row = MEASURES[measure]
    return Column(title or row.title, row.formula, words)


def fixed(value: float, digits: int) -> str:
    """Return a number with fixed decimals; a dash where it is missing."""
    return f"{value:,.{digits}f}".replace("-", "−") if math.isfinite(value) else MISSING


def share(value: float) -> str:
    """Return a fraction as percent; a dash where it is missing."""
    return percent(value) if math.isfinite(value) else MISSING


def p_cell(value: float) -> str:
    """Return a p-value: ``0.034``, ``< 0.0001``."""
    return MISSING if not math.isfinite(value) else "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def _interval(result: HorizonResult) -> str:
    low, high = result.rank_ic_summary.interval
    return f"{fixed(low, 4)} … {fixed(high, 4)}" if math.isfinite(low) and math.isfinite(high) else MISSING


def _ends(result: HorizonResult) -> str:
    """Return the mean of the turnover of the two quantiles that the spread trades."""
    return share(float(result.turnover[[0, -1]].mean())) if len(result.turnover) else MISSING


KEY = Column("horizon", "as typed; a bare number counts bars", lambda result: result.key)

INFORMATION: tuple[Column, ...] = (
    KEY,
    _column("ic_mean", lambda result: fixed(result.ic_summary.mean, 4)),
    _column("rank_ic_mean", lambda result: fixed(result.rank_ic_summary.mean, 4)),
    _column("rank_ic_interval", _interval, "its interval"),
    _column("rank_icir", lambda result: fixed(result.rank_ic_summary.icir, 3)),
    _column("rank_ic_t_newey_west", lambda result: fixed(result.rank_ic_summary.t_newey_west, 2)),
    _column("rank_ic_p_value", lambda result: p_cell(result.rank_ic_summary.p_value)),
    _column("rank_ic_permutation_p", lambda result: p_cell(result.rank_ic_summary.permutation_p)),
    _column("rank_ic_hit_rate", lambda result: share(result.rank_ic_summary.hit_rate)),
    Column("pairs", "(bar, symbol) pairs with a factor and a forward return", lambda result: f"{result.rows:,}"),
)
MONEY: tuple[Column, ...] = (
    KEY,
    _column("spread_mean", lambda result: share(result.spread_summary.mean)),
    _column("spread_t", lambda result: fixed(result.spread_summary.t_newey_west, 2)),
    _column("monotonicity", lambda result: fixed(result.monotonicity, 2)),
    _column("monotonicity_p", lambda result: p_cell(result.monotonicity_p)),
    _column("turnover", _ends, "turnover of highest and lowest"),
    _column("rank_autocorrelation", lambda result: fixed(result.rank_autocorrelation, 3)),
    _column("break_even_cost", lambda result: share(result.break_even_cost)),
    _column("net_spread", lambda result: share(result.net_spread)),
)


@dataclass(frozen=True)
class Table:
    """A table of the report's head.

    Attributes
    ----------
    title
        What it is about.
    headings
        Of the columns that have a value for some horizon.
    rows
        Words of each horizon, its key first.
    """

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]


def headline_tables(evaluation: Evaluation) -> tuple[Table, Table]:
    """Return what the factor knows about returns, and what that is worth, a row per horizon."""
    results = list(evaluation.horizons.values())
    return _table("Does it predict?", INFORMATION, results), _table("What is it worth?", MONEY, results)


def _table(title: str, columns: Sequence[Column], results: Sequence[HorizonResult]) -> Table:
    told = [[column.words(result) for result in results] for column in columns]
    kept = [place for place, words in enumerate(told) if place == 0 or any(word != MISSING for word in words)]
    rows = tuple(tuple(told[place][row] for place in kept) for row in range(len(results)))
    return Table(title, tuple(columns[place] for place in kept), rows)


def with_trials(table: Table, trials: Mapping[str, Corrected] | None) -> Table:
    """Return the table with two more columns: the p-values among all trials in the ledger."""
    if not trials:
        return table
    count = max(found.trials for found in trials.values())
    headings = (
        Heading("p, BH", f"p-value adjusted for {count:,} trials (Benjamini-Hochberg: independent trials)"),
        Heading("p, BY", f"p-value adjusted for {count:,} trials (Benjamini-Yekutieli: any dependence)"),
    )
    rows = []
    for row in table.rows:
        found = trials.get(row[0])
        values = (found.benjamini_hochberg, found.benjamini_yekutieli) if found else (math.nan, math.nan)
        rows.append((*row, *(p_cell(value) for value in values)))
    return Table(table.title, (*table.headings, *headings), tuple(rows))
