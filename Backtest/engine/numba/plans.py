"""From a strategy to the kernel's plan: topk and longshort are ranked and signal is compared once, compiled.

A strategy of another class is asked at each of its rebalances, with what is held then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...data.panel import Bools, Floats
from ...strategies.base import Strategy
from ...strategies.longshort import LongShort
from ...strategies.signal import Signal
from ...strategies.topk import TopK
from ..decisions import Decisions
from .layout import ASKED, LEGS, SIGNAL, WEIGHTS, Ints, Places, Plan
from .weights import WEIGHTINGS, pour, ranked_legs


def plan_of(decisions: Decisions) -> tuple[Plan, Ints]:
    """Return the plan of a run's strategy, and how many symbols each rebalance row can choose from, int64 [R]."""
    rows = np.flatnonzero(decisions.due[:-1])
    make = PLANS.get(type(decisions.strategy), asked)
    choosable, volatility = choice(decisions, rows)
    plan = make(decisions, rows, choosable=choosable, volatility=volatility)
    return plan, choosable.sum(axis=1)


def choice(decisions: Decisions, rows: Ints) -> tuple[Bools, Floats]:
    """Return (whether a symbol can be chosen, its volatility), both [R, S], while no old listing is held."""
    choosable = decisions.tradable[rows] & np.isfinite(decisions.scores[rows])
    if not decisions.volatility_window:
        return choosable, np.empty((0, choosable.shape[1]))
    volatility = np.array([decisions.volatility(row) for row in rows.tolist()]).reshape(choosable.shape)
    with np.errstate(invalid="ignore"):
        return choosable & (volatility > 0), volatility


def places(rows: Ints, length: int) -> Places:
    """Return the index of each row of the clock among the rebalance rows, -1 where it is none."""
    place = np.full(length, -1, dtype=np.int32)
    place[rows] = np.arange(len(rows))
    return place


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
    held = np.ascontiguousarray(weights, dtype=np.float64)
    return empty_plan(places(rows, length), held.shape[1], mode=WEIGHTS, weights=held)


def asked(decisions: Decisions, rows: Ints, *, choosable: Bools, volatility: Floats) -> Plan:
    """Return the plan of a strategy that only itself can tell its weights."""
    return empty_plan(places(rows, len(decisions.due)), choosable.shape[1])


def topk(decisions: Decisions, rows: Ints, *, choosable: Bools, volatility: Floats) -> Plan:
    """Return the plan of `TopK`."""
    strategy = of(decisions.strategy, TopK)
    counts = np.full(len(rows), strategy.k, dtype=np.int64)
    return legs(decisions, rows, counts, choosable=choosable, volatility=volatility, both=False, budget=strategy.invest)


def longshort(decisions: Decisions, rows: Ints, *, choosable: Bools, volatility: Floats) -> Plan:
    """Return the plan of `LongShort`."""
    strategy = of(decisions.strategy, LongShort)
    found = choosable.sum(axis=1).tolist()
    counts = np.array([strategy.leg_size(count) for count in found], dtype=np.int64)
    half = strategy.gross_leverage / 2
    return legs(decisions, rows, counts, choosable=choosable, volatility=volatility, both=True, budget=half)


def legs(
    decisions: Decisions,
    rows: Ints,
    counts: Ints,
    *,
    choosable: Bools,
    volatility: Floats,
    both: bool,
    budget: float,
) -> Plan:
    """Rank the rebalance rows and return the plan of their legs of `counts` columns."""
    strategy: Any = decisions.strategy
    width = choosable.shape[1]
    starts, columns, shares = ranked_legs(
        np.ascontiguousarray(decisions.scores[rows]),
        choosable,
        volatility,
        np.minimum(counts, width),
        both,
        strategy.ascending,
        WEIGHTINGS.index(strategy.weighting),
    )
    budgets = np.array([float(budget), float(budget) if both else 0.0])
    poured = np.empty(len(shares))
    pour(starts, shares, budgets, float(strategy.max_weight), poured)
    return empty_plan(
        places(rows, len(decisions.due)),
        width,
        mode=LEGS,
        starts=starts,
        columns=columns,
        shares=shares,
        poured=poured,
        budgets=budgets,
        max_weight=float(strategy.max_weight),
    )


def signal(decisions: Decisions, rows: Ints, *, choosable: Bools, volatility: Floats) -> Plan:
    """Return the plan of `Signal`."""
    strategy = of(decisions.strategy, Signal)
    width = choosable.shape[1]
    return empty_plan(
        places(rows, len(decisions.due)),
        width,
        mode=SIGNAL,
        wanted=strategy.wanted_side(decisions.scores[rows]).astype(np.int8),
        size=float(strategy.size_of(width)),
    )


def of(strategy: Strategy, kind: type[Any]) -> Any:
    """Return the strategy as the class that the table found it to be."""
    if type(strategy) is not kind:
        raise TypeError(f"{type(strategy).__name__} is planned as {kind.__name__}")
    return strategy


PLANS: dict[type[Any], Callable[..., Plan]] = {TopK: topk, LongShort: longshort, Signal: signal}
"""By the very class: a subclass may have other weights."""
