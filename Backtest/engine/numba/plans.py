"""From a strategy to the kernel's plan: topk and longshort are ranked and signal is compared once, compiled.

A strategy of another class is asked at each of its rebalances, with what is held then.

1. `choice_of`    Decisions -> what each rebalance row can choose from
2. `ranking_of`   its columns, best first: once for all strategies that want the same rows, factor and direction
3. `legs_of`      the legs of one k (or quantile) and weighting, and their shares
4. `plan_for`     one strategy's plan: budget and cap
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data.panel import Bools, Floats
from ...strategies.base import Strategy
from ...strategies.longshort import LongShort
from ...strategies.signal import Signal
from ...strategies.topk import TopK
from ..decisions import Decisions
from .layout import ASKED, LEGS, SIGNAL, WEIGHTS, Columns, Ints, Places, Plan
from .weights import WEIGHTINGS, pour, ranked_rows, shared_legs


@dataclass(frozen=True)
class Choice:
    """What R rebalance rows can choose from, while no old listing is held.

    Attributes
    ----------
    place
        int32 [T]: index of each row of the clock among the rebalance rows, -1 where it is none.
    scores
        float64 [R, S].
    choosable
        bool [R, S].
    volatility
        float64 [R, S]; [0, S] where it is not asked for.
    """

    place: Places
    scores: Floats
    choosable: Bools
    volatility: Floats

    @property
    def width(self) -> int:
        """S."""
        return int(self.scores.shape[1])


@dataclass(frozen=True)
class Ranking:
    """The rebalance rows ranked, see `weights.ranked_rows`."""

    order: Columns
    found: Ints
    ascending: bool


@dataclass(frozen=True)
class Legs:
    """Columns and shares of the legs, see `layout.Plan`."""

    starts: Ints
    columns: Columns
    shares: Floats


Ranked = Callable[[Choice, bool, bool, int], Ranking]
"""`ranking_of`, or what remembers its answers."""


def plan_of(decisions: Decisions) -> tuple[Plan, Ints]:
    """Return the plan of a run's strategy, and how many symbols each rebalance row can choose from, int64 [R]."""
    choice = choice_of(decisions)
    return plan_for(decisions.strategy, choice), choice.choosable.sum(axis=1)


def choice_of(decisions: Decisions) -> Choice:
    """Return what the rebalance rows of `decisions` can choose from."""
    rows = np.flatnonzero(decisions.due[:-1])
    volatility = [decisions.volatility(row) for row in rows.tolist()] if decisions.volatility_window else None
    return choice_at(rows, len(decisions.due), decisions.scores, decisions.tradable, volatility)


def choice_at(
    rows: Ints, length: int, scores: Floats, tradable: Bools, volatility: Sequence[Floats | None] | None
) -> Choice:
    """Return what these rows of a clock of `length` can choose from.

    scores, tradable: [length, S]. volatility: [S] of each of the rows; None where it is not asked for.
    """
    place = np.full(length, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows))
    seen = np.ascontiguousarray(scores[rows])
    choosable = tradable[rows] & np.isfinite(seen)
    if volatility is None:
        return Choice(place, seen, choosable, np.empty((0, choosable.shape[1])))
    risk = np.array(volatility, dtype=np.float64).reshape(choosable.shape)
    with np.errstate(invalid="ignore"):
        return Choice(place, seen, choosable & (risk > 0), risk)


def ranking_of(choice: Choice, both: bool, ascending: bool, depth: int) -> Ranking:
    """Return the best `depth` columns of each row; `both`: from either end."""
    order, found = ranked_rows(choice.scores, choice.choosable, depth, both, ascending)
    return Ranking(order, found, ascending)


def legs_of(choice: Choice, ranking: Ranking, counts: Ints, weighting: str) -> Legs:
    """Return the legs of `counts` [R] columns."""
    code = WEIGHTINGS.index(weighting)
    parts = (ranking.order, ranking.found, choice.scores, choice.volatility, counts, ranking.ascending, code)
    return Legs(*shared_legs(*parts))


def plan_for(strategy: Strategy, choice: Choice, ranked: Ranked = ranking_of) -> Plan:
    """Return the plan of one strategy."""
    make = PLANS.get(type(strategy))
    return empty_plan(choice.place, choice.width) if make is None else make(strategy, choice, ranked)


def empty_plan(place: Places, width: int, **stated: Any) -> Plan:
    """Return a plan with what is stated and nothing else."""
    parts: dict[str, Any] = {
        "mode": ASKED,
        "place": place,
        "weights": np.empty((0, width)),
        "wanted": np.empty((0, width), dtype=np.int8),
        "starts": np.empty((0, 3), dtype=np.int64),
        "columns": np.empty(0, dtype=np.uint32),
        "shares": np.empty(0),
        "poured": np.empty(0),
        "budgets": np.zeros(2),
        "max_weight": 0.0,
        "size": 0.0,
    }
    return Plan(**(parts | stated))


def stated_weights(weights: Floats, rows: Ints, length: int) -> Plan:
    """Return the plan of weights [R, S] made beforehand for these rows of a clock of `length` rows."""
    place = np.full(length, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows))
    held = np.ascontiguousarray(weights, dtype=np.float64)
    return empty_plan(place, held.shape[1], mode=WEIGHTS, weights=held)


def topk_depth(strategy: TopK, width: int) -> int:
    """Return how deep `width` columns are ranked for `TopK`: one deeper than its leg."""
    return min(strategy.k, width) + 1


def longshort_depth(strategy: LongShort, width: int) -> int:
    """Return how deep `width` columns are ranked for `LongShort`: one deeper than its legs."""
    return strategy.leg_size(width) + 1


def topk(strategy: TopK, choice: Choice, ranked: Ranked) -> Plan:
    """Return the plan of `TopK`."""
    depth = topk_depth(strategy, choice.width)
    ranking = ranked(choice, False, strategy.ascending, depth)
    counts = np.full(len(choice.scores), depth - 1, dtype=np.int64)
    return poured(strategy, choice, legs_of(choice, ranking, counts, strategy.weighting), (strategy.invest, 0.0))


def longshort(strategy: LongShort, choice: Choice, ranked: Ranked) -> Plan:
    """Return the plan of `LongShort`."""
    ranking = ranked(choice, True, strategy.ascending, longshort_depth(strategy, choice.width))
    counts = np.array([strategy.leg_size(count) for count in ranking.found.tolist()], dtype=np.int64)
    half = strategy.gross_leverage / 2
    return poured(strategy, choice, legs_of(choice, ranking, counts, strategy.weighting), (half, half))


def poured(strategy: TopK | LongShort, choice: Choice, legs: Legs, budgets: tuple[float, float]) -> Plan:
    """Return the plan of legs with these budgets."""
    room, cap = np.array(budgets, dtype=np.float64), float(strategy.max_weight)
    weights = np.empty(len(legs.shares))
    pour(legs.starts, legs.shares, room, cap, weights)
    return empty_plan(
        choice.place,
        choice.width,
        mode=LEGS,
        starts=legs.starts,
        columns=legs.columns,
        shares=legs.shares,
        poured=weights,
        budgets=room,
        max_weight=cap,
    )


def signal(strategy: Signal, choice: Choice, ranked: Ranked) -> Plan:
    """Return the plan of `Signal`."""
    wanted = strategy.wanted_side(choice.scores).astype(np.int8)
    return empty_plan(
        choice.place, choice.width, mode=SIGNAL, wanted=wanted, size=float(strategy.size_of(choice.width))
    )


PLANS: dict[type[Any], Callable[[Any, Choice, Ranked], Plan]] = {TopK: topk, LongShort: longshort, Signal: signal}
"""By the very class: a subclass may have other weights."""

DEPTHS: dict[type[Any], Callable[[Any, int], int]] = {TopK: topk_depth, LongShort: longshort_depth}
"""Of those that rank: how deep."""
