"""Run many strategies on one market, compiled: what they share is made once, a trial costs its simulation and measures.

1. `ground_of`      market, costs and comparison curves: once
2. `choices_of`     what each rebalance row can choose from: once for each factor, rebalance and volatility window
3. `Rankings`       the rows ranked: once for each of these and each direction, as deep as the deepest trial wants
4. `Bench.trial`    plan, account and measures of one trial; threads side by side, for the compiled code frees the GIL

A trial has the very numbers that a run of the same strategy has, whatever the number of workers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ..data.panel import Bools, Floats, Panel
from ..engine.costs import Costs
from ..engine.decisions import Decisions
from ..engine.episodes import Episode, checked_episodes
from ..engine.futures.terms import FuturesTerms
from ..engine.numba.kernel import advance
from ..engine.numba.layout import (
    ASK,
    CASH,
    DONE,
    EQUITY,
    FULL,
    ROW,
    RUINED,
    Market,
    Plan,
    State,
    Terms,
    grown,
    new_curves,
    new_log,
    new_state,
)
from ..engine.numba.market import market_of, terms_of
from ..engine.numba.overlays import Watch, forget, own_watch, watch_of
from ..engine.numba.plans import DEPTHS, Choice, Ranking, choice_of, plan_for, ranking_of
from ..engine.numba.um_layout import Futures, own_account
from ..engine.numba.um_run import open_account
from ..engine.orders import refuse_unfit
from ..errors import RunError
from ..machine_code import compiled
from ..portfolio import Overlay
from ..strategies.base import Strategy
from .margin_measures import measure_margin
from .measures import FINAL, MARGIN_MEASURED, MEASURED, Facts, facts_of, measure, new_scratch

FIRST_ORDERS = 1024
"""Entries of a log to begin with; it doubles, and the next trial of the thread has the room."""

BATCH = 16
"""Trials that a thread takes at a time."""

ChoiceKey = tuple[str, str, float]
"""(factor, rebalance, days of volatility)."""


@dataclass(frozen=True)
class Sweep:
    """What the trials gave, in the sequence of the strategies.

    Attributes
    ----------
    measures
        float64 [N, len(names)], NaN where a measure has no value.
    ruined
        bool [N].
    """

    measures: Floats
    ruined: Bools

    @property
    def names(self) -> tuple[str, ...]:
        """The measures: MEASURED, on futures those of MARGIN_MEASURED as well."""
        return (*MEASURED, *MARGIN_MEASURED)[: self.measures.shape[1]]


@dataclass(frozen=True)
class Ground:
    """What all trials share."""

    panel: Panel
    factors: Mapping[str, Floats]
    costs: Costs
    initial_cash: float
    episodes: tuple[Episode, ...]
    market: Market
    terms: Terms
    facts: Facts
    watch: Watch | None
    account: Futures | None


def sweep(
    panel: Panel,
    factors: Mapping[str, Floats],
    strategies: Sequence[Strategy],
    *,
    costs: Costs,
    initial_cash: float,
    benchmark: Floats | None = None,
    equal_weight: Floats | None = None,
    risk_free: float = 0.0,
    workers: int = 1,
    overlays: tuple[Overlay, ...] = (),
    futures: FuturesTerms | None = None,
    done: Callable[[int], object] = lambda trials: None,
) -> Sweep:
    """Return the measures of every strategy run over the panel's window.

    Parameters
    ----------
    panel, costs, initial_cash
        As for the engines' `run`.
    factors
        Factor name -> float64 [T - warmup, S] on the window's rows.
    strategies
        Frozen dataclasses, one a trial; topk, longshort and signal are compiled, others are asked at each rebalance.
    benchmark, equal_weight, risk_free
        As for `compute_metrics`.
    workers
        Threads; the result does not depend on it.
    overlays
        Those of every trial, in the order of their table.
    futures
        None is spot; else every trial's account is one of USDT-M futures.
    done
        Called with the number of trials that were finished, as they are.

    Raises
    ------
    RunError
        As for a run; a trial whose equity is not a number is named.
    """
    width = len(MEASURED) + (0 if futures is None else len(MARGIN_MEASURED))
    found = Sweep(np.full((len(strategies), width), np.nan), np.zeros(len(strategies), dtype=np.bool_))
    if not strategies:
        return found
    ground = ground_of(
        panel, factors, strategies, costs=costs, initial_cash=initial_cash,
        curves=(benchmark, equal_weight), risk_free=risk_free, overlays=overlays, futures=futures,
    )  # fmt: skip
    choices = choices_of(ground, strategies)
    rankings = Rankings(choices, strategies)
    benches = threading.local()

    def batch(begin: int) -> int:
        if not hasattr(benches, "own"):
            benches.own = Bench(ground, rankings)
        end = min(begin + BATCH, len(strategies))
        for number in range(begin, end):
            strategy = strategies[number]
            found.ruined[number] = benches.own.trial(strategy, choices[key_of(strategy)], found.measures[number])
        return end - begin

    with ThreadPoolExecutor(workers) as pool:
        for count in pool.map(batch, range(0, len(strategies), BATCH)):
            done(count)
    wrong = np.flatnonzero(~np.isfinite(found.measures[:, FINAL]))
    if len(wrong):
        raise RunError(f"equity of trial {wrong[0] + 1} ({strategies[wrong[0]]}) is not a number")
    return found


def ground_of(
    panel: Panel,
    factors: Mapping[str, Floats],
    strategies: Sequence[Strategy],
    *,
    costs: Costs,
    initial_cash: float,
    curves: tuple[Floats | None, Floats | None],
    risk_free: float,
    overlays: tuple[Overlay, ...],
    futures: FuturesTerms | None,
) -> Ground:
    """Return what all trials share; the window and prices are checked as for a run."""
    first = strategies[0]
    scores = factors[first.factor]
    episodes = checked_episodes(panel, scores, haircut=costs.delisting_haircut, initial_cash=initial_cash)
    decisions = Decisions(
        panel, scores, first, episodes=episodes, costs=costs, initial_cash=initial_cash, overlays=overlays
    )
    capped = costs.slippage_capped or futures is not None
    market = market_of(episodes, decisions.alive, decisions.tradable, panel=panel, capped=capped)
    window = panel.rows(panel.warmup, len(panel.age))
    facts = facts_of(
        window.timestamp.astype("datetime64[ns]").astype(np.int64),
        panel.timeframe,
        benchmark=curves[0],
        equal_weight=curves[1],
        initial_cash=initial_cash,
        risk_free=risk_free,
    )
    terms = terms_of(costs, decisions.symbols, rows=len(market.close))
    watch = watch_of(overlays, decisions, initial_cash=initial_cash)
    account = None if futures is None else open_account(futures, decisions.symbols, window, market)
    return Ground(panel, factors, costs, initial_cash, episodes, market, terms, facts, watch, account)


def key_of(strategy: Strategy) -> ChoiceKey:
    """Return what the choice of a strategy's rebalance rows depends on."""
    return strategy.factor, strategy.rebalance, strategy.volatility_days


def choices_of(ground: Ground, strategies: Sequence[Strategy]) -> dict[ChoiceKey, Choice]:
    """Return the choice of each key that the strategies have."""
    found: dict[ChoiceKey, Choice] = {}
    for strategy in strategies:
        if key_of(strategy) not in found:
            found[key_of(strategy)] = choice_of(decisions_of(ground, strategy))
    return found


def decisions_of(ground: Ground, strategy: Strategy) -> Decisions:
    """Return the decisions of one trial."""
    scores = ground.factors[strategy.factor]
    return Decisions(ground.panel, scores, strategy, episodes=ground.episodes, costs=ground.costs)


class Rankings:
    """Ranks each choice once for all strategies, as deep as the deepest of them wants."""

    def __init__(self, choices: Mapping[ChoiceKey, Choice], strategies: Sequence[Strategy]) -> None:
        self.depths: dict[int, int] = {}
        self.kept: dict[tuple[int, bool, bool], Ranking] = {}
        self.lock = threading.Lock()
        for strategy in strategies:
            choice, depth = choices[key_of(strategy)], DEPTHS.get(type(strategy))
            if depth is not None:
                deepest = max(self.depths.get(id(choice), 1), depth(strategy, choice.width))
                self.depths[id(choice)] = deepest

    def __call__(self, choice: Choice, both: bool, ascending: bool, depth: int) -> Ranking:
        """Return the ranking; see `plans.ranking_of`."""
        key = (id(choice), both, ascending)
        with self.lock:
            if key not in self.kept:
                self.kept[key] = ranking_of(choice, both, ascending, max(depth, self.depths[id(choice)]))
            return self.kept[key]


class Bench:
    """One thread's account and working space."""

    def __init__(self, ground: Ground, rankings: Rankings) -> None:
        rows, width = ground.market.close.shape
        self.ground, self.rankings = ground, rankings
        self.state = new_state(width, len(ground.episodes), initial_cash=ground.initial_cash)
        self.log, self.curves = new_log(FIRST_ORDERS), new_curves(rows, width, positions=False)
        self.answer, self.scratch = np.empty(width), new_scratch(len(ground.facts.days), width)
        self.watch = None if ground.watch is None else own_watch(ground.watch)
        self.account = None if ground.account is None else own_account(ground.account)

    def trial(self, strategy: Strategy, choice: Choice, out: Floats) -> bool:
        """Write the measures of one strategy into `out`; return whether it was ruined."""
        plan = plan_for(strategy, choice, self.rankings)
        asked: Decisions | None = None
        status = self.run(plan, out, True)
        while status != DONE:
            if status == ASK:
                asked = asked or decisions_of(self.ground, strategy)
                weights = weights_of(asked, self.state)
                refuse_unfit(weights, choice.width)
                self.answer[:] = weights
            elif status == FULL:
                self.log = grown(self.log, 2 * len(self.log.size) + 2 * choice.width)
            status = self.run(plan, out, False)
        return bool(self.state.counts[RUINED])

    def run(self, plan: Plan, out: Floats, fresh: bool) -> int:
        """Go on with a trial, or begin one; return the kernel's status."""
        ground = self.ground
        own = (self.state, self.log, self.curves, self.answer, self.scratch)
        rules = (self.watch, self.account)
        return int(run_trial(ground.market, ground.terms, plan, *own, ground.facts, out, fresh, *rules))


def weights_of(decisions: Decisions, account: State) -> Floats:
    """Return the strategy's weights [S] at the row that the kernel asks about."""
    row, cash, equity = int(account.counts[ROW]), float(account.money[CASH]), float(account.money[EQUITY])
    book, _ = decisions.book(row, cash=cash, equity=equity, sizes=account.size, holder=account.holder)
    return decisions.weights(row, book)


@compiled
def run_trial(  # type: ignore[no-untyped-def]
    market, terms, plan, state, log, curves, answer, scratch, facts, out, fresh, watch, futures
):
    """Run a trial on, from the beginning where `fresh`; once it is DONE write its measures. Return the status."""
    if fresh:
        state.money[:] = facts.initial_cash
        state.counts[:] = 0
        state.size[:] = 0.0
        state.average[:] = 0.0
        state.refused[:] = False
        state.touch[:] = 0
        if watch is not None:
            forget(watch, facts.initial_cash)
        if futures is not None:
            futures.margin[:] = 0.0
            futures.bought[:] = 0.0
    status = advance(market, terms, plan, state, log, curves, answer, watch, futures)
    if status == DONE:
        measure(curves.equity, state, log, facts, scratch, out)
        if futures is not None:
            measure_margin(market, state, log, curves.equity, futures.used, scratch, out)
    return status
