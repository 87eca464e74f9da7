"""Overlays, compiled: the twin of engine/watch.py and of the rules in portfolio/, in the same arithmetic order."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np

from ...data.panel import Bools, Floats
from ...data.timeframe import Timeframe
from ...machine_code import compiled
from ...portfolio.exits import TIE, AccountRule, PositionRule
from ...portfolio.limits import VolTarget
from ...portfolio.overlays import Overlay, name_of
from ..decisions import Decisions
from ..volatility import MIN_KNOWN, MIN_WEIGHT, window_of
from ..watch import unknown_words
from .layout import CLOSE, EQUITY, REASONS, Codes, Ints
from .weights import pairwise_sum

STOP_LOSS, TAKE_PROFIT, TRAILING_STOP, DRAWDOWN_STOP = (
    REASONS.index(name) for name in ("stop_loss", "take_profit", "trailing_stop", "drawdown_stop")
)
STAYS = 0
"""In `Watch.leaving`: no exit has fired."""
NEVER = 2**62
"""A row beyond every run."""
LEAVING, HALTED, HALTED_UNTIL, MEASURED, UNKNOWN = range(5)
"""Places in `Watch.counts`: columns that leave; whether all is closed, and the row from which on it is not; rebalances
whose volatility was asked for, and was not known."""


class Rules(NamedTuple):
    """Every parameter of every overlay, as ``<name>_<parameter>``; the default is what changes nothing."""

    stop_loss_pct: float = np.inf
    stop_loss_cooldown: int = 0
    take_profit_pct: float = np.inf
    take_profit_cooldown: int = 0
    trailing_stop_pct: float = np.inf
    trailing_stop_after: float = 0.0
    trailing_stop_cooldown: int = 0
    drawdown_stop_pct: float = np.inf
    drawdown_stop_cooldown: int = 0
    vol_target_annual: float = np.inf
    vol_target_days: float = 0.0
    vol_target_max_scale: float = 1.0
    max_position_cap: float = np.inf
    max_gross_cap: float = np.inf
    max_net_cap: float = np.inf
    max_turnover_cap: float = np.inf


class Watch(NamedTuple):
    """Overlays and what they remember. Arrays are changed in place, and go on to the next chunk.

    Attributes
    ----------
    rules
        The parameters.
    looks
        Whether an exit looks at every row.
    window, root
        Rows of returns behind the volatility target, 0 without one; the root of the bars of a year.
    lead, returns
        float64 [lead + n, S]: the returns of the chunk's rows and of `lead` rows before, window - 1 where there are so
        many; NaN where not known. [0, S] without a volatility target.
    side, best, out_until, leaving
        Per column: 1, -1, 0 at the last row; the trailing stop's reference; the row from which on it may be opened;
        the reason code of the exit that fired, `STAYS` for none.
    peak
        float64 [1].
    counts
        Numbers at the places named above.
    now, wish, movable, parts, held, moves
        Working space.
    """

    rules: Rules
    looks: bool
    window: int
    root: float
    lead: int
    returns: Floats
    side: Codes
    best: Floats
    out_until: Ints
    leaving: Codes
    peak: Floats
    counts: Ints
    now: Floats
    wish: Floats
    movable: Bools
    parts: Floats
    held: Ints
    moves: Floats


def rules_of(overlays: tuple[Overlay, ...]) -> Rules:
    """Return the parameters of these overlays, and what changes nothing for the others."""
    given: dict[str, Any] = {}
    for overlay in overlays:
        for field in fields(overlay):  # type: ignore[arg-type]
            name, value = f"{name_of(overlay)}_{field.name}", getattr(overlay, field.name)
            given[name] = NEVER if value is None else type(Rules._field_defaults[name])(value)
    return Rules(**given)


def watch_of(overlays: tuple[Overlay, ...], decisions: Decisions, *, initial_cash: float) -> Watch | None:
    """Return the overlays of a whole run before row 0; None where there are none."""
    columns, timeframe = len(decisions.symbols), decisions.timeframe
    watch = new_watch(overlays, timeframe, columns=columns, initial_cash=initial_cash)
    if watch is None or not watch.window:
        return watch
    return watch._replace(lead=decisions.warmup, returns=decisions.returns)


def new_watch(
    overlays: tuple[Overlay, ...], timeframe: Timeframe, *, columns: int, initial_cash: float
) -> Watch | None:
    """Return overlays before row 0 that still lack the returns; None where there are no overlays."""
    if not overlays:
        return None
    days = next((overlay.days for overlay in overlays if isinstance(overlay, VolTarget)), 0.0)
    window = window_of(days, timeframe.bars_per_day) if days else 0
    return Watch(
        rules=rules_of(overlays),
        looks=any(isinstance(overlay, PositionRule | AccountRule) for overlay in overlays),
        window=window,
        root=float(np.sqrt(timeframe.bars_per_year)),
        lead=0,
        returns=np.empty((0, columns)),
        side=np.zeros(columns, dtype=np.int8),
        best=np.zeros(columns),
        out_until=np.zeros(columns, dtype=np.int64),
        leaving=np.zeros(columns, dtype=np.int8),
        peak=np.array([initial_cash]),
        counts=np.zeros(5, dtype=np.int64),
        now=np.zeros(columns),
        wish=np.zeros(columns),
        movable=np.zeros(columns, dtype=np.bool_),
        parts=np.zeros(columns),
        held=np.zeros(columns, dtype=np.int64),
        moves=np.zeros(window),
    )


def own_watch(watch: Watch) -> Watch:
    """Return the same overlays with arrays of their own, but for the returns."""
    own: dict[str, Any] = {name: part.copy() for name, part in watch._asdict().items() if isinstance(part, np.ndarray)}
    return watch._replace(**{**own, "returns": watch.returns})


def words_of(watch: Watch | None) -> tuple[str, ...]:
    """Return what the log must say of the overlays at the end of the run."""
    return () if watch is None else unknown_words(int(watch.counts[UNKNOWN]), int(watch.counts[MEASURED]))


@compiled(_nrt=False)
def forget(watch, initial_cash):
    """Take the overlays back to before row 0."""
    for column in range(len(watch.side)):
        watch.side[column], watch.best[column], watch.out_until[column], watch.leaving[column] = 0, 0.0, 0, STAYS
    for place in range(len(watch.counts)):
        watch.counts[place] = 0
    watch.peak[0] = initial_cash


@compiled(_nrt=False)
def check_exits(market, state, watch, average, t):
    """Take the close of a row into account: `Watch.leaving` then has what is to be closed.

    average: [S], the average prices paid.
    """
    size, holder, equity = state.size, state.holder, state.money[EQUITY]
    close, tradable, proven, row = market.close, market.tradable, market.proven, market.first + t
    rules, sides, best, leaving, out_until = watch.rules, watch.side, watch.best, watch.leaving, watch.out_until
    n = 0
    for column in range(len(size)):
        held = size[column]
        side = 1 if held > 0 else -1 if held < 0 else 0
        if side != sides[column]:
            sides[column], best[column] = side, average[column]
            if side == 0:
                leaving[column] = STAYS
        if side == 0:
            continue
        n += leaving[column] != STAYS
        if not tradable[t, column] or row >= proven[holder[column]]:
            continue
        price, paid = close[t, column], average[column]
        best[column] = max(best[column], price) if side > 0 else min(best[column], price)
        if leaving[column] != STAYS:
            continue
        gain = side * (price / paid - 1.0)
        if gain <= -rules.stop_loss_pct + TIE:
            leaving[column], out_until[column] = STOP_LOSS, row + 1 + rules.stop_loss_cooldown
        elif gain >= rules.take_profit_pct - TIE:
            leaving[column], out_until[column] = TAKE_PROFIT, row + 1 + rules.take_profit_cooldown
        elif side * (price / best[column] - 1.0) <= -rules.trailing_stop_pct + TIE:
            after = rules.trailing_stop_after
            if after == 0 or side * (best[column] / paid - 1.0) >= after - TIE:
                leaving[column], out_until[column] = TRAILING_STOP, row + 1 + rules.trailing_stop_cooldown
        n += leaving[column] != STAYS
    watch.counts[LEAVING] = n
    check_drawdown(watch, equity, row)


@compiled(_nrt=False)
def check_drawdown(watch, equity, row):
    """Halt or go on; while halted, everything that is held leaves."""
    counts, peak, leaving, rules = watch.counts, watch.peak, watch.leaving, watch.rules
    if counts[HALTED] != 0 and row >= counts[HALTED_UNTIL]:
        counts[HALTED], peak[0] = 0, equity
    peak[0] = max(peak[0], equity)
    if counts[HALTED] == 0 and equity / peak[0] - 1.0 <= -rules.drawdown_stop_pct + TIE:
        counts[HALTED], counts[HALTED_UNTIL] = 1, row + 1 + rules.drawdown_stop_cooldown
    if counts[HALTED] != 0:
        for column in range(len(leaving)):
            if watch.side[column] != 0 and leaving[column] == STAYS:
                leaving[column] = DRAWDOWN_STOP
                counts[LEAVING] += 1


@compiled(_nrt=False)
def limit_targets(market, state, watch, t, n, asked):
    """Change the target weights of a row as `watch.Watch.limited` does; they are then those of all columns.

    n: how many columns `State.listed` names; the others are left alone. `asked`: whether the row is a rebalance;
    where it is not, no weight is wanted. Return the number of columns, all of which are listed now.
    """
    target, size, holder, equity = state.target, state.size, state.holder, state.money[EQUITY]
    close, tradable, proven, last, row = market.close, market.tradable, market.proven, market.last, market.first + t
    leaving, out_until, halted = watch.leaving, watch.out_until, watch.counts[HALTED] != 0
    now, wish, movable = watch.now, watch.wish, watch.movable
    if asked:
        spread(state, watch, n)
    for column in range(len(size)):
        state.listed[column] = column
        if not asked:
            target[column] = np.nan
        held = size[column]
        over = held != 0 and row >= proven[holder[column]]
        price = last[holder[column]] if over else close[t, column]
        out = halted or leaving[column] != STAYS or row < out_until[column]
        if leaving[column] != STAYS or (out and asked):
            target[column] = 0.0
        weight, fixed = target[column], over or not tradable[t, column]
        now[column] = held * price / equity
        movable[column] = not (fixed or out or weight != weight)
        if fixed or weight != weight:
            wish[column] = now[column]
        else:
            wish[column] = -now[column] if weight == np.inf else weight
    if asked:
        shrink(watch, t)
        for column in range(len(size)):
            weight = target[column]
            if movable[column] and wish[column] != (-now[column] if weight == np.inf else weight):
                target[column] = wish[column]
    return len(size)


@compiled(_nrt=False)
def spread(state, watch, n):
    """Write NaN as the target of every column that is not among the first n of `State.listed`: none of them trades."""
    target, listed, wish = state.target, state.listed, watch.wish
    for column in range(len(target)):
        wish[column] = np.nan
    for i in range(n):
        wish[listed[i]] = target[listed[i]]
    for column in range(len(target)):
        target[column] = wish[column]


@compiled(_nrt=False)
def shrink(watch, t):
    """Apply the weight rules to `Watch.wish`, in the order of the table."""
    rules, wish, now, movable, parts = watch.rules, watch.wish, watch.now, watch.movable, watch.parts
    columns = len(wish)
    if watch.window > 0:
        scale_to_volatility(watch, t)
    cap = rules.max_position_cap
    if cap != np.inf:
        for column in range(columns):
            if movable[column]:
                wish[column] = min(max(wish[column], -cap), cap)
    cap = rules.max_gross_cap
    if cap != np.inf:
        for column in range(columns):
            parts[column] = abs(wish[column])
        excess = pairwise_sum(parts, 0, columns) - cap
        if excess > 0:
            take(watch, 0.0, excess)
    cap = rules.max_net_cap
    if cap != np.inf:
        net = pairwise_sum(wish, 0, columns)
        excess = abs(net) - cap
        if excess > 0:
            take(watch, net, excess)
    cap = rules.max_turnover_cap
    if cap != np.inf:
        for column in range(columns):
            parts[column] = abs(wish[column] - now[column]) if movable[column] else 0.0
        total = pairwise_sum(parts, 0, columns)
        if total > cap:
            for column in range(columns):
                if movable[column]:
                    wish[column] = now[column] + cap / total * (wish[column] - now[column])


@compiled(_nrt=False)
def take(watch, net, excess):
    """Shrink what is movable, where `net` is not 0 on its side only, in proportion until `excess` is gone."""
    wish, movable, parts = watch.wish, watch.movable, watch.parts
    for column in range(len(wish)):
        chosen = movable[column] and (net == 0 or wish[column] * net > 0)
        parts[column] = abs(wish[column]) if chosen else 0.0
    total = pairwise_sum(parts, 0, len(wish))
    if total > 0:
        factor = max(0.0, total - excess) / total
        for column in range(len(wish)):
            if movable[column] and (net == 0 or wish[column] * net > 0):
                wish[column] *= factor


@compiled(_nrt=False)
def scale_to_volatility(watch, t):
    """Scale what is movable to the volatility target; to 0 where the volatility is not known."""
    wish, movable, held, rules = watch.wish, watch.movable, watch.held, watch.rules
    n = 0
    for column in range(len(wish)):
        if wish[column] != 0:
            held[n] = column
            n += 1
    if n == 0:
        return
    volatility = volatility_of(watch, t + watch.lead, n) * watch.root
    watch.counts[MEASURED] += 1
    if volatility != volatility:
        watch.counts[UNKNOWN] += 1
        factor = 0.0
    elif volatility == 0:
        factor = rules.vol_target_max_scale
    else:
        factor = min(rules.vol_target_max_scale, rules.vol_target_annual / volatility)
    for column in range(len(wish)):
        if movable[column]:
            wish[column] *= factor


@compiled(_nrt=False)
def volatility_of(watch, row, n):
    """Return the volatility per bar of the weights of the first n of `Watch.held`; see `portfolio_volatility`."""
    returns, wish, held, parts, moves = watch.returns, watch.wish, watch.held, watch.parts, watch.moves
    for i in range(n):
        parts[i] = abs(wish[held[i]])
    total = pairwise_sum(parts, 0, n)
    count = 0
    for r in range(max(0, row + 1 - watch.window), row + 1):
        for i in range(n):
            parts[i] = abs(wish[held[i]]) if np.isfinite(returns[r, held[i]]) else 0.0
        weighed = pairwise_sum(parts, 0, n)
        if weighed >= MIN_WEIGHT * total:
            for i in range(n):
                value = returns[r, held[i]]
                parts[i] = value * wish[held[i]] if np.isfinite(value) else 0.0
            moves[count] = pairwise_sum(parts, 0, n) * (total / weighed)
            count += 1
    if count < MIN_KNOWN * watch.window or count < 2:
        return np.nan
    mean = pairwise_sum(moves, 0, count) / count
    for i in range(count):
        moves[i] = (moves[i] - mean) * (moves[i] - mean)
    return np.sqrt(pairwise_sum(moves, 0, count) / (count - 1))


@compiled(_nrt=False)
def name_exits(state, watch, n):
    """Give the closing orders of columns that leave the exit's name as their reason; all n columns are listed."""
    why, leaving = state.why, watch.leaving
    for column in range(n):
        if leaving[column] != STAYS and why[column] == CLOSE:
            why[column] = leaving[column]
