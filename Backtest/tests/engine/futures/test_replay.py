"""Random futures markets: the compiled account equals the plain-Python replay, order by order and bar by bar."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Backtest.data import joins
from Backtest.engine.decisions import owners
from Backtest.engine.episodes import checked_episodes
from Backtest.engine.numba import run
from Backtest.engine.numba.engine import run_rows
from Backtest.engine.numba.layout import LIQUIDATION, LOGGED, Log, new_log, new_state
from Backtest.engine.numba.market import market_of, terms_of
from Backtest.engine.numba.plans import stated_weights
from Backtest.engine.numba.um_layout import futures_of
from Backtest.portfolio import parse_overlays
from Backtest.strategies import build_strategy
from Backtest.tests.engine.futures.made import fees, funding, table, terms
from Backtest.tests.engine.futures.replay import replay
from Backtest.tests.engine.market import costs, panel_of, random_walk
from Backtest.tests.engine.test_replay import (
    CASH,
    due_rows,
    overlays_of,
    plain,
    plain_overlays,
    random_costs,
    random_market,
    random_strategy,
    same,
)

CASES = 300
LONG_CASES = 5000
AT_LEAST = 8
FEATURES = {
    "a long liquidated", "a short liquidated", "liquidated inside a bar", "bankrupt", "a higher tier",
    "an older tier table", "another leg survives a liquidation", "a liquidation fee in full", "the margin refuses",
    "a tier refuses the leverage", "a reversal", "openings scaled", "funding at an open", "funding inside a bar",
    "funding paid by a short", "slippage ends at the bankruptcy price", "cross",
    "isolated", "a relisting traded", "a long settled", "a short settled",
}  # fmt: skip
UNDER_OVERLAYS = {
    "a long liquidated", "a short liquidated", "stop_loss of a long", "stop_loss of a short", "take_profit of a long",
    "take_profit of a short", "trailing_stop of a long", "trailing_stop of a short", "drawdown_stop", "vol_target",
    "max_position", "max_gross", "max_net", "max_turnover", "cross", "isolated",
}  # fmt: skip


def random_tiers(draw, since):
    """One or two dated tables of three tiers, low enough for the account of the tests to climb."""
    tables = []
    for moment in [0, since] if draw.random() < 0.4 else [0]:
        first = float(draw.choice([0.004, 0.01, 0.02]))
        floors = np.cumsum(draw.integers(500, 20_000, size=2)).tolist()
        tables.append(table((0, first, 25), (floors[0], 2 * first, 20), (floors[1], 5 * first, 5), since=moment))
    return tuple(tables)


def random_funding(draw, opens, timeframe_ns):
    """Settlements at opens and inside bars, some with a mark; rates large enough to matter."""
    count = int(draw.integers(1, 2 * len(opens)))
    inside = draw.random(count) < 0.5
    stamps = draw.choice(opens, size=count) + np.where(inside, draw.integers(1, 6, size=count) * (timeframe_ns // 8), 0)
    stamps = np.unique(stamps)
    rates = draw.normal(0, float(draw.choice([0.0003, 0.003])), len(stamps))
    marks = np.where(draw.random(len(stamps)) < 0.3, 100 * np.exp(draw.normal(0, 0.2, len(stamps))), np.nan)
    return stamps, rates, marks


def case(seed):
    """(panel, scores, strategy's name and values, costs, terms for the engine, terms for the replay) of one seed."""
    draw = np.random.default_rng(seed)
    panel, scores = random_market(draw, seed)
    kind, values = random_strategy(draw, panel.timeframe.bars_per_day)
    wide = float(draw.choice([1.0, 2.0, 5.0]))
    for name in ("invest", "gross_leverage", "weight", "max_weight"):
        if values.get(name) is not None:
            values[name] *= wide
    charges = random_costs(draw) | {"commission": 0.0}
    opens = panel.timestamp.astype(np.int64)
    leverage = {symbol: float(draw.choice([1, 2, 5, 10, 20])) for symbol in panel.symbols}
    middle = int(opens[len(opens) // 2])
    tiers = {symbol: random_tiers(draw, middle) for symbol in panel.symbols}
    rows = [(0, float(draw.choice([0.0, 0.0005, 0.01])), float(draw.choice([0.0, 0.0125])))]
    rows += [(middle + 1, 0.002, 0.03)] if draw.random() < 0.3 else []
    settled = {
        symbol: random_funding(draw, opens, panel.timeframe.ns) for symbol in panel.symbols if draw.random() < 0.8
    }
    mode = str(draw.choice(["cross", "isolated"]))
    made = terms(
        panel.symbols, mode=mode, leverage=leverage, tiers=tiers, fees=fees(*rows),
        settled={symbol: funding(*events) for symbol, events in settled.items()},
    )  # fmt: skip
    row_of = {int(stamp): t for t, stamp in enumerate(opens)}
    listed: dict[str, dict[int, list]] = {symbol: {} for symbol in panel.symbols}
    for symbol, (stamps, rates, marks) in settled.items():
        for stamp, rate, mark in zip(stamps.tolist(), rates.tolist(), marks.tolist(), strict=True):
            moment = (stamp - int(opens[0])) % panel.timeframe.ns
            t = row_of[stamp - moment]
            listed[symbol].setdefault(t, []).append((moment, rate, None if mark != mark else mark))
    plain_tiers = {
        symbol: [
            (0 if n == 0 else int(np.searchsorted(opens, one.since)),
             list(zip(one.floors, one.rates, one.caps, one.cums, strict=True)))
            for n, one in enumerate(tables)
        ]
        for symbol, tables in tiers.items()
    }  # fmt: skip
    per_row = [max(row for row in rows if row[0] <= max(0, int(stamp))) for stamp in opens]
    simple = {
        "mode": mode, "leverage": leverage, "tiers": plain_tiers, "taker": [row[1] for row in per_row],
        "liquidation": [row[2] for row in per_row], "funding": listed,
    }  # fmt: skip
    return panel, scores, kind, values, charges, made, simple


def check(seed, seen, *, overlays=False):
    """Compare one case; return the record."""
    panel, scores, kind, values, charges, made, simple = case(seed)
    texts = overlays_of(seed, panel.timeframe.bars_per_day, share=0.3) if overlays else []
    record = run(
        panel, scores, build_strategy(kind, {}, values), costs=costs(**charges), initial_cash=CASH, futures=made,
        overlays=parse_overlays(texts),
    )  # fmt: skip
    market, listed = plain(panel, scores, due_rows(values["rebalance"], panel))
    asked = {"kind": kind, "window": 12, "overlays": plain_overlays(texts, panel.timeframe.seconds), **values}
    orders, equity, wallet, margins, ruined = replay(market, listed, asked, charges, CASH, simple, seen)
    for got, want in zip(record.orders, orders, strict=False):
        where = f"order {got} against {want}"
        assert (got.created_bar, got.filled_bar, got.symbol, got.side) == (
            want["created"], want["filled"], want["symbol"], want["side"]), where  # fmt: skip
        assert (got.reason, got.status, got.detail) == (want["reason"], want["status"], want["detail"]), where
        assert same(got.size, want["size"], want["size"] + 1), where
        assert got.price != got.price if want["price"] is None else same(got.price, want["price"]), where
        for name in ("commission", "slippage"):
            assert same(getattr(got, name), want[name], CASH), where
        if want["reason"] == "funding":
            assert same(got.value, want["value"], CASH), where
    assert len(record.orders) == len(orders)
    assert record.used_margin is not None
    for mine, theirs in ((record.equity, equity), (record.cash, wallet), (record.used_margin, margins)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-8 * CASH)
    assert record.ruined == ruined
    return record


def identity_error(record):
    """Largest |change in equity - (price P&L + funding - fees - slippage)| over the account, from orders and marks."""
    sizes, worst, before = np.zeros(len(record.symbols)), 0.0, CASH
    values: np.ndarray = np.zeros(len(record.symbols))
    flows = np.zeros(len(record.timestamp))
    for order in record.orders:
        if order.status == "filled":
            signed = 1.0 if order.side == "buy" else -1.0
            fair = order.price - signed * order.slippage / order.size if order.size else 0.0
            spent = order.value if order.reason == "funding" else -signed * order.size * fair
            flows[order.filled_bar] += spent - order.commission - order.slippage
            sizes[record.symbols.index(order.symbol)] += signed * order.size
    for t in range(len(record.timestamp)):
        now: np.ndarray = np.where(record.sizes[t] != 0, record.sizes[t] * record.marks[t], 0.0)
        change = float((now - values).sum()) + flows[t]
        worst = max(worst, abs(record.equity[t] - before - change) / max(abs(before), CASH))
        before, values = record.equity[t], now
    np.testing.assert_allclose(sizes, record.sizes[-1], atol=1e-6 * (1 + np.abs(sizes).max()))
    return worst


@pytest.mark.parametrize("overlays, cases, features", [(False, CASES, FEATURES), (True, CASES // 2, UNDER_OVERLAYS)])
def test_random_markets_equal_the_replay(long_run, overlays, cases, features):
    counted: Counter[str] = Counter()
    count = LONG_CASES if long_run else cases

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(min_value=0, max_value=2**32 - 1))
    def one(seed):
        seen: Counter[str] = Counter()
        record = check(seed, seen, overlays=overlays)
        assert identity_error(record) < 1e-9
        assert np.isfinite(record.equity).all()
        counted.update({name for name, times in seen.items() if times})
        counted[case(seed)[5].margin_mode] += bool(record.orders)

    one()
    rare = {name: counted[name] for name in sorted(features) if counted[name] < AT_LEAST}
    assert not rare, f"in fewer than {AT_LEAST} of {count} markets: {rare}"


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_time_chunks_are_the_run_in_one_piece_bit_for_bit(mode):
    """With liquidations, and settlements on the edges of the chunks."""
    rows, symbols = 400, tuple("ABCD")
    opens, highs, lows, closes = random_walk(8, rows, 4, volatility=0.03)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols=symbols)
    stamps = panel.timestamp.astype(np.int64)[::8]
    rates = np.random.default_rng(1).normal(0, 1e-3, len(stamps))
    made = terms(symbols, mode=mode, leverage=20, taker=0.0005, liquidation=0.001,
                 settled={symbol: funding(stamps, rates) for symbol in symbols})  # fmt: skip
    episodes = checked_episodes(panel, closes, haircut=0.0, initial_cash=CASH)
    alive, tradable = owners(episodes, panel)
    market = market_of(episodes, alive, tradable, panel=panel, capped=True)
    weights = np.random.default_rng(2).uniform(-5, 5, (rows // 20, 4))
    plan = stated_weights(weights, np.arange(0, rows, 20), rows)
    limits = terms_of(costs(slippage=0.001), symbols, rows=rows)

    def run_through(edges):
        account = futures_of(made, symbols, joins.bars_of(panel), market)
        state, log = new_state(4, 4, initial_cash=CASH), new_log(4)
        for begin, end in pairwise(edges):
            cut = {
                name: getattr(market, name)[begin:end] for name in ("open", "high", "low", "close", "tradable", "alive")
            }
            part = {
                name: getattr(account, name)[begin:end] for name in ("taker", "liquidation", "move", "inner", "used")
            }
            result = run_rows(
                market._replace(first=begin, **cut), limits, plan._replace(place=plan.place[begin:end]), state=state,
                log=log, futures=account._replace(starts=account.starts[begin : end + 1], **part),
            )  # fmt: skip
            log = result.log
        n = int(state.counts[LOGGED])
        return state, [getattr(log, name)[:n] for name in Log._fields], account

    whole, entries, account = run_through([0, rows])
    assert np.count_nonzero(entries[Log._fields.index("reason")] == LIQUIDATION) > 3
    for edges in ([0, 1, 2, 8, 9, 77, rows], [0, 200, rows]):
        state, others, again = run_through(edges)
        for mine, theirs in zip(entries, others, strict=True):
            assert mine.tobytes() == theirs.tobytes()
        for name in ("money", "counts", "size", "average"):
            assert getattr(state, name).tobytes() == getattr(whole, name).tobytes()
        assert again.margin.tobytes() == account.margin.tobytes()
        assert again.bought.tobytes() == account.bought.tobytes()
        assert again.used.tobytes() == account.used.tobytes()
