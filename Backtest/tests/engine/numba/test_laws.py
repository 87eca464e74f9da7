"""The compiled pieces against the Python they stand for, and runs in chunks against runs in one piece."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Backtest.engine import orders
from Backtest.engine.decisions import Decisions
from Backtest.engine.episodes import checked_episodes
from Backtest.engine.numba import kernel, layout, weights
from Backtest.engine.numba.engine import run_rows
from Backtest.engine.numba.layout import Market, Plan, State
from Backtest.engine.numba.market import market_of, terms_of
from Backtest.engine.numba.overlays import Watch, volatility_of, watch_of
from Backtest.engine.numba.plans import plan_of, stated_weights
from Backtest.engine.volatility import portfolio_volatility
from Backtest.portfolio import parse_overlays
from Backtest.strategies import CrossSection, build_strategy, portfolio
from Backtest.strategies.longshort import LongShort
from Backtest.tests.engine.engines import ENGINES
from Backtest.tests.engine.market import costs, panel_of, random_walk
from Backtest.tests.engine.test_replay import CASH, case, overlays_of

ODD = st.floats(min_value=1e-12, max_value=1e12)


@settings(max_examples=60)
@given(st.integers(0, 5000), st.integers(0, 2**32 - 1))
def test_sums_have_numpy_s_roundings(n, seed):
    draw = np.random.default_rng(seed)
    values = draw.standard_normal(n) * 10.0 ** draw.integers(-8, 8, n)
    assert weights.pairwise_sum(values, 0, n) == values.sum()
    assert weights.pairwise_sum(np.r_[1e9, values], 1, n) == values.sum()


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 127, 128, 129, 136, 137, 256, 257, 1025, 8192])
def test_sums_at_the_edges_of_numpy_s_blocks(n):
    values = np.random.default_rng(n).standard_normal(n)
    assert weights.pairwise_sum(values, 0, n) == values.sum()


@settings(max_examples=200)
@given(ODD, st.sampled_from([1e-8, 1e-3, 0.1, 0.3, 1.0, 25.0]), st.booleans(), st.integers(-2, 2))
def test_whole_lots(size, step, sells, bits):
    near = round(size / step) * step  # sizes on and just beside a whole lot as well
    for amount in (size, near, near * (1 + bits * 2.0**-52), near + bits * 1e-9 * step):
        signed = -amount if sells else amount
        if math.isfinite(signed):
            assert kernel.whole_lots(signed, step) == orders.whole_lots(signed, step)


@settings(max_examples=150)
@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 3), st.floats(1e-6, 1.5)
)  # fmt: skip
def test_the_cap_pours_as_the_strategies_do(shares, budget, max_weight):
    values = np.array([7.0, *shares])
    n = len(shares)
    poured, free, space = np.full(n, 5.0), np.ones(n, dtype=bool), np.empty(n)
    weights.capped(values, 1, n, budget, max_weight, poured, free, space)
    assert poured.tolist() == portfolio.capped(values[1:], budget, max_weight=max_weight).tolist()


@settings(max_examples=120)
@given(st.integers(0, 2**32 - 1), st.sampled_from(weights.WEIGHTINGS), st.booleans(), st.booleans(), st.integers(1, 9))
def test_legs_are_those_of_the_strategies(seed, weighting, ascending, both, k):
    """Scores with ties and holes; the strategy's own ranking is Python over numpy."""
    draw = np.random.default_rng(seed)
    rows, width = 3, int(draw.integers(1, 12))
    scores = np.round(draw.standard_normal((rows, width)), int(draw.integers(0, 4)))
    tradable = draw.random((rows, width)) < 0.8
    scores[draw.random((rows, width)) < 0.1] = np.nan
    risk = np.abs(draw.standard_normal((rows, width))) + 0.01
    symbols = tuple(f"S{column}" for column in range(width))
    needs = weighting == "inverse_vol"
    sections = [
        CrossSection(symbols, scores[r], tradable[r], np.zeros(width), risk[r] if needs else None) for r in range(rows)
    ]
    choosable = np.array([section.choosable for section in sections])
    strategy = LongShort("x", k=k, ascending=ascending, weighting=weighting)
    counts = np.array([strategy.leg_size(int(found)) if both else k for found in choosable.sum(axis=1)])
    starts, columns, shares = weights.ranked_legs(
        scores, choosable, risk, np.minimum(counts, width), both, ascending, weights.WEIGHTINGS.index(weighting)
    )
    for r, section in enumerate(sections):
        strengths = portfolio.strengths(section, ascending=ascending)
        for leg, side in enumerate((1, -1)[: 1 + both]):
            expected = portfolio.leg(section, strengths, int(counts[r]), weighting=weighting, side=side)
            begin, end = starts[r, leg], starts[r, leg + 1]
            assert columns[begin:end].tolist() == expected[0].tolist()
            assert shares[begin:end].tolist() == expected[1].tolist()
        assert both or starts[r, 1] == starts[r, 2]


@pytest.mark.parametrize("on_rejected", ["count", "scale"])
def test_more_lots_than_an_int64_holds(on_rejected):
    """A coin at 1e-9 in steps of 1e-8 is 1e22 lots of a holding of 100,000."""
    opens, highs, lows, closes = (1e-11 * prices for prices in random_walk(4, 40, 3))
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABC")
    strategy = build_strategy("topk", {}, {"factor": "x", "k": 2, "invest": 1.0, "rebalance": "2"})
    terms = costs(commission=0.001, slippage=0.001, on_rejected=on_rejected)
    scores = np.random.default_rng(4).standard_normal((40, 3))
    records = [run(panel, scores, strategy, costs=terms, initial_cash=1e5) for run in ENGINES.values()]
    assert max(order.size for order in records[0].orders) / 1e-8 > 2**63
    assert [repr(order) for order in records[0].orders] == [repr(order) for order in records[1].orders]
    assert len(records[0].orders) > 20


def prepared(seed, share):
    """Market, terms, plan, a function that gives weights where the plan cannot, and one that makes the overlays."""
    panel, scores, kind, values, terms = case(seed)
    overlays = parse_overlays(overlays_of(seed, panel.timeframe.bars_per_day, share=share))
    episodes = checked_episodes(panel, scores, haircut=terms["delisting_haircut"], initial_cash=CASH)
    decisions = Decisions(
        panel, scores, build_strategy(kind, {}, values), episodes=episodes, costs=costs(**terms), initial_cash=CASH,
        overlays=overlays,
    )  # fmt: skip
    market = market_of(episodes, decisions.alive, decisions.tradable, panel=panel, capped=terms["slippage_capped"])

    def ask(row: int, state: State):
        cash, equity = state.money.tolist()
        book, _ = decisions.book(row, cash=cash, equity=equity, sizes=state.size, holder=state.holder)
        return decisions.weights(row, book)

    def watch():
        return watch_of(overlays, decisions, initial_cash=CASH)

    rows = terms_of(costs(**terms), decisions.symbols, rows=len(market.close))
    return market, rows, plan_of(decisions)[0], ask, watch


def chunk(market: Market, plan: Plan, watch: Watch | None, begin: int, end: int) -> tuple[Market, Plan, Watch | None]:
    names = ("open", "high", "low", "close", "tradable", "alive")
    cut = {name: getattr(market, name)[begin:end] for name in names}
    if watch is not None and watch.window:
        first = max(0, begin + 1 - watch.window)
        watch = watch._replace(returns=watch.returns[first:end], lead=begin - first)
    return market._replace(first=begin, **cut), plan._replace(place=plan.place[begin:end]), watch


@pytest.mark.parametrize("share", [0.0, 0.6])
@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_time_chunks_of_any_length_are_the_run_in_one_piece_bit_for_bit(share, seed):
    market, terms, plan, ask, new_watch = prepared(seed, share)
    width, episodes, rows = market.close.shape[1], len(market.proven), len(market.close)
    whole_watch, watch = new_watch(), new_watch()
    whole = run_rows(market, terms, plan, state=layout.new_state(width, episodes, initial_cash=CASH),
                     log=layout.new_log(4), ask=ask, positions=True, watch=whole_watch)  # fmt: skip
    draw = np.random.default_rng(seed)
    edges = [0, *sorted(draw.integers(0, rows, size=draw.integers(0, 6)).tolist()), rows]
    state, log, kept = layout.new_state(width, episodes, initial_cash=CASH), layout.new_log(4), []
    for begin, end in pairwise(edges):
        prices, weighed, watched = chunk(market, plan, watch, begin, end)
        piece = run_rows(prices, terms, weighed, state=state, log=log, ask=ask, positions=True, watch=watched)
        log = piece.log
        kept.append(piece.curves)
    for name in layout.Curves._fields:
        joined = np.concatenate([getattr(curves, name) for curves in kept])
        assert joined.tobytes() == getattr(whole.curves, name).tobytes()
    for name in ("money", "counts", "size", "average", "refused"):
        assert getattr(state, name).tobytes() == getattr(whole.state, name).tobytes(), name
    if watch is not None and whole_watch is not None:
        for name in ("side", "best", "out_until", "leaving", "peak", "counts"):
            assert getattr(watch, name).tobytes() == getattr(whole_watch, name).tobytes(), name
    logged = int(state.counts[layout.LOGGED])
    for name in layout.Log._fields:
        assert getattr(log, name)[:logged].tobytes() == getattr(whole.log, name)[:logged].tobytes(), name


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1))
def test_the_volatility_of_a_portfolio_has_the_bits_of_numpy_s(seed):
    draw = np.random.default_rng(seed)
    rows, width, window = int(draw.integers(2, 300)), int(draw.integers(1, 40)), int(draw.integers(2, 300))
    returns = 0.02 * draw.standard_normal((rows, width))
    returns[draw.random((rows, width)) < draw.choice([0.0, 0.1, 0.4])] = np.nan
    wish = np.where(draw.random(width) < 0.7, draw.standard_normal(width), 0.0)
    wish[0] = 0.3
    held = np.flatnonzero(wish)
    watch = SimpleNamespace(returns=returns, wish=wish, held=held, parts=np.empty(width), moves=np.empty(window),
                            window=window)  # fmt: skip
    row = int(draw.integers(0, rows))
    expected = portfolio_volatility(returns, row, wish, window=window)
    assert np.array_equal(volatility_of.py_func(watch, row, len(held)), expected, equal_nan=True)


def test_weights_made_beforehand_need_no_strategy_and_positions_need_not_be_kept():
    opens, highs, lows, closes = random_walk(3, 60, 3)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABC")
    terms = costs(commission=0.001, slippage=0.001)
    episodes = checked_episodes(panel, closes, haircut=0.0, initial_cash=CASH)
    alive, tradable = np.zeros((60, 3), dtype=np.int32) + np.arange(3, dtype=np.int32), np.ones((60, 3), dtype=bool)
    market = market_of(episodes, alive, tradable, panel=panel, capped=False)
    plan = stated_weights(np.full((60, 3), 0.3), np.arange(60), 60)
    kept = [
        run_rows(market, terms_of(terms, panel.symbols, rows=60), plan, log=layout.new_log(8), positions=positions,
                 state=layout.new_state(3, 3, initial_cash=CASH))
        for positions in (True, False)
    ]  # fmt: skip
    assert kept[0].curves.equity.tobytes() == kept[1].curves.equity.tobytes()
    assert kept[1].curves.sizes.shape == (0, 3)
    assert kept[0].state.counts[layout.LOGGED] == kept[1].state.counts[layout.LOGGED] > 100
    held = kept[0].curves
    np.testing.assert_allclose(held.equity, held.cash + np.nansum(held.sizes * held.marks, axis=1), rtol=1e-12)
    with pytest.raises(TypeError, match="nobody answers"):
        run_rows(market, terms_of(terms, panel.symbols, rows=60), plan._replace(mode=layout.ASKED),
                 log=layout.new_log(8), state=layout.new_state(3, 3, initial_cash=CASH))  # fmt: skip
