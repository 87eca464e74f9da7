"""One rule of ENGINE.md per test, on markets small enough to read."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass

import numpy as np
import pytest

from Backtest.engine.backtrader import run
from Backtest.errors import RunError
from Backtest.strategies import FLIP, build_strategy
from Backtest.tests.engine.engines import ENGINES
from Backtest.tests.engine.market import costs, panel_of, random_walk

GONE = math.nan


@pytest.fixture(autouse=True, params=sorted(ENGINES))
def engine(request, monkeypatch):
    """Every test of this file runs on every engine."""
    monkeypatch.setitem(globals(), "run", ENGINES[request.param])


@dataclass(frozen=True)
class Weights:
    """Weights stated as the scores: the row of the factor is the row of weights (-9 is NaN, 9 is FLIP)."""

    factor: str = "x"
    rebalance: str = "1"
    volatility_days: float = 0.0
    wanted: int = 0

    def target_weights(self, cross_section):
        scores = np.where(np.isnan(cross_section.scores), 0.0, cross_section.scores)
        return np.where(scores == 9, FLIP, np.where(scores == -9, np.nan, scores))


def trade(prices, weights, *, cash=1000.0, opens=None, gap=3, **terms):
    panel = panel_of(prices, opens=opens, gap=gap)
    return run(panel, np.array(weights, dtype=float), Weights(), costs=costs(**terms), initial_cash=cash)


def brief(record):
    return [
        (order.created_bar, order.symbol, order.side, round(order.size, 9), order.reason, order.status, order.detail)
        for order in record.orders
    ]


def test_orders_are_sent_sells_first_then_closing_first_then_by_name():
    prices = {name: [100.0] * 4 for name in "ABCDEF"}
    first = [0.2, -0.2, 0.2, -0.2, 0.0, 0.0]  # long A C, short B D
    second = [0.1, -0.1, 0.0, 0.1, 0.1, -0.1]  # A less, B less short, C closed, D reversed, E new, F new short
    record = trade(prices, [first, second, second, second])
    assert [(order.symbol, order.side) for order in record.orders if order.created_bar == 0] == [
        ("B", "sell"), ("D", "sell"), ("A", "buy"), ("C", "buy"),
    ]  # fmt: skip
    assert [(order.symbol, order.side) for order in record.orders if order.created_bar == 1] == [
        ("A", "sell"), ("C", "sell"), ("F", "sell"), ("B", "buy"), ("D", "buy"), ("E", "buy"),
    ]  # fmt: skip


def test_lots_are_whole_steps_toward_zero_and_43_tenths_are_43():
    # 0.43 * 1000 / 100 = 4.3 units = 43 steps of 0.1, though 4.3 / 0.1 is 42.99999999999999
    record = trade({"A": [100.0] * 3}, [[0.43], [-0.435], [0]], lot_step=0.1)
    assert record.orders[0].size == pytest.approx(4.3, abs=0)
    assert record.sizes[2, 0] == pytest.approx(-4.3)  # -4.35 is rounded toward zero


def test_a_size_of_whole_lots_is_never_one_lot_short():
    from decimal import Decimal

    from Backtest.engine.orders import whole_lots

    for step in ("0.1", "0.001", "0.00001", "1e-8", "3"):
        for lots in (1, 43, 3_000, 123_456_789, 1_000_000_001, 100_000_000_003):
            size = float(Decimal(step) * lots)
            assert whole_lots(size, float(step)) == -whole_lots(-size, float(step)) == lots
            assert whole_lots(float(Decimal(step) * (lots - Decimal("0.0001"))), float(step)) == lots - 1


def test_orders_below_the_smallest_notional_are_dropped_also_closing_ones_but_not_settlements():
    prices = {"A": [100.0, 100, 100, GONE, GONE, GONE, GONE], "B": [100.0] * 7}
    weights = [[0.05, 0.2], [0.0, 0.21], [0.0, 0.2], *[[0, 0.2]] * 4]
    record = trade(prices, weights, min_notional=51.0, gap=1)
    assert brief(record) == [(0, "B", "buy", 2.0, "rebalance", "filled", "")]
    record = trade(prices, weights, min_notional=50.0, gap=1)
    assert brief(record)[:2] == [
        (0, "A", "buy", 0.5, "rebalance", "filled", ""),
        (0, "B", "buy", 2.0, "rebalance", "filled", ""),
    ]
    record = trade({"A": [100, 100, GONE, GONE, GONE, 10.0], "B": [10.0] * 6}, [[0.1, 0]] * 6, min_notional=60.0, gap=1)
    assert brief(record)[1] == (3, "A", "sell", 1.0, "delisting", "filled", "")


def test_limits_per_symbol_replace_the_setting():
    from Backtest.engine.costs import Instrument

    terms = {"lot_step": 0.1, "instruments": {"B": Instrument(lot_step=1.0, min_notional=500.0)}}
    record = trade({"A": [70.0] * 3, "B": [70.0] * 3}, [[0.3, 0.3], [0.3, 0.6], [0, 0]], **terms)
    assert brief(record)[0] == (0, "A", "buy", 4.2, "rebalance", "filled", "")
    assert brief(record)[1] == (1, "B", "buy", 8.0, "rebalance", "filled", "")  # 300 is too small, 600 is 8 whole lots


def test_no_trade_band_leaves_small_changes_alone_but_closes():
    record = trade({"A": [100.0] * 5}, [[0.5], [0.54], [0.56], [0.02], [0.0]], no_trade_band=0.05)
    assert [(order.created_bar, order.side) for order in record.orders] == [(0, "buy"), (2, "buy"), (3, "sell")]
    record = trade({"A": [100.0] * 4}, [[0.06], [0.0], [0.04], [0.0]], no_trade_band=0.05)
    assert [(order.created_bar, order.reason) for order in record.orders] == [(0, "rebalance"), (1, "close")]


def test_a_change_of_exactly_the_band_is_traded_whatever_the_last_bit_says():
    # 0.35 - 0.3 is 0.04999999999999999, 0.55 - 0.5 is 0.050000000000000044
    for before, after in ((0.3, 0.35), (0.5, 0.55)):
        record = trade({"A": [100.0] * 3}, [[before], [after], [-9]], no_trade_band=0.05)
        assert len(record.orders) == 2


def test_flip_is_one_order_of_exactly_twice_the_size_and_nan_trades_nothing():
    closes = [100.0, 90.0, 113.0, 121.0, 80.0, 80.0]
    record = trade({"A": closes}, [[0.37], [-9], [9], [-9], [9], [0]], commission=0.001, slippage=0.002)
    size = record.orders[0].size
    assert [(order.created_bar, order.side, order.size, order.reason) for order in record.orders] == [
        (0, "buy", size, "rebalance"), (2, "sell", 2 * size, "flip"), (4, "buy", 2 * size, "flip"),
    ]  # fmt: skip
    assert record.sizes[:, 0].tolist() == [0, size, size, -size, -size, size]


def test_a_full_investment_with_a_fee_is_rejected_counted_and_said():
    record = trade({"A": [100.0] * 3}, [[1.0], [0.0], [0.0]], commission=0.001)
    assert brief(record) == [(0, "A", "buy", 10.0, "rebalance", "rejected", "margin")]
    assert record.orders[0].price == 100.0
    assert record.orders[0].commission == record.orders[0].slippage == 0
    assert record.equity.tolist() == [1000.0] * 3
    hint = "the setting on_rejected: scale shrinks opening buys to the cash instead"
    assert record.warnings == (f"rejected orders: 1 margin; {hint}",)


def test_after_one_margin_rejection_all_later_buys_of_the_bar_fail():
    record = trade({name: [100.0] * 3 for name in "ABC"}, [[0.9, 0.2, 0.01], [-9, -9, -9], [0, 0, 0]])
    assert [(order.symbol, order.status) for order in record.orders] == [
        ("A", "filled"), ("B", "rejected"), ("C", "rejected"),
    ]  # fmt: skip


def test_scale_shrinks_the_opening_buys_by_one_factor_until_check_one_passes():
    terms = {"commission": 0.01, "slippage": 0.01, "lot_step": 0.001, "on_rejected": "scale"}
    record = trade({"A": [100.0] * 3, "B": [50.0] * 3}, [[0.75, 0.75], [-9, -9], [0, 0]], **terms)
    # 7.5 A and 15 B cost 1500 * 1.01 * 1.01 = 1530.15; the factor is 1000 / 1530.15 = 0.653530...
    assert [order.size for order in record.orders] == pytest.approx([4.901, 9.802], abs=1e-12)
    assert all(order.status == "filled" for order in record.orders)
    assert record.cash[1] >= 0


def test_scale_counts_sells_and_leaves_them_whole_and_a_gap_can_still_reject():
    terms = {"on_rejected": "scale", "lot_step": 0.01}
    prices = {"A": [100.0] * 4, "B": [100.0] * 4}
    record = trade(prices, [[0.5, 0.0], [-0.5, 1.2], [-9, -9], [0, 0]], **terms)
    # cash 500 + the sale of 10 A = 1500 covers 12 B in full
    assert [(order.side, order.size) for order in record.orders[1:]] == [("sell", 10.0), ("buy", 12.0)]
    opens = [[100, 100], [100, 120], [100, 120], [100, 120]]
    record = trade({"A": [100.0] * 4, "B": [100, 120, 120, 120]}, [[0, 1.0], *[[-9, -9]] * 3], opens=opens, **terms)
    assert brief(record) == [(0, "B", "buy", 10.0, "rebalance", "rejected", "margin")]


def test_no_scaled_buy_is_lost_to_rounding():
    # A lot of such a coin is worth less than a last bit of the cash.
    draw = np.random.default_rng(3)
    for _ in range(20):
        prices = {name: [price] * 3 for name, price in zip("ABC", draw.uniform(1e-6, 2e-6, 3), strict=True)}
        record = trade(prices, [draw.uniform(0.5, 1.0, 3), [-9] * 3, [0] * 3], on_rejected="scale")
        assert [order.status for order in record.orders] == ["filled"] * 3
        assert 0 <= record.cash[1] < 1e-6


def test_a_reversal_that_the_cash_does_not_cover_closes_and_rejects_the_rest():
    # Short 5 at 100 from 1000 (cash 1500). Flip buys 10 at the next open of 160: closing 5 costs 800 -> cash 700,
    # opening 5 more costs 800 > 700.
    opens = [[100.0], [100], [160], [160]]
    record = trade({"A": [100.0, 100, 160, 160]}, [[-0.5], [9], [-9], [-9]], opens=opens)
    assert brief(record)[1:] == [
        (1, "A", "buy", 5.0, "flip", "filled", ""), (1, "A", "buy", 5.0, "flip", "rejected", "margin"),
    ]  # fmt: skip
    assert record.sizes[2, 0] == 0
    assert record.cash[2] == pytest.approx(700.0)


def test_slippage_is_uncapped_by_default_and_capped_as_an_option():
    flat = {"A": [100.0] * 4}  # open = high = low: a capped buy pays nothing
    for capped, price in ((False, 101.0), (True, 100.0)):
        record = trade(flat, [[0.5], [-9], [-9], [0]], slippage=0.01, slippage_capped=capped)
        assert record.orders[0].price == price
        assert record.orders[0].slippage == pytest.approx(record.orders[0].size * (price - 100))


def test_an_order_lives_one_bar_and_never_fills_in_an_outage():
    record = trade(
        {"A": [100.0, GONE, 100, 100, 100], "B": [100.0] * 5}, [[0.5, 0], [-9, -9], [-9, -9], [0.5, 0], [0, 0]]
    )
    assert brief(record) == [
        (0, "A", "buy", 5.0, "rebalance", "rejected", "untradable"), (3, "A", "buy", 5.0, "rebalance", "filled", ""),
    ]  # fmt: skip
    assert math.isnan(record.orders[0].price)
    assert record.orders[0].filled_bar == 1


def test_the_pseudo_debit_of_an_untradable_order_still_counts_in_check_one():
    # A cannot trade at row 1, yet its 600 are reserved: B's 600 fail although 1000 are there.
    record = trade({"A": [100.0, GONE, 100], "B": [100.0] * 3}, [[0.6, 0.6], [-9, -9], [0, 0]])
    assert [(order.symbol, order.detail) for order in record.orders] == [("A", "untradable"), ("B", "margin")]


def test_a_bar_without_volume_is_valued_but_not_traded():
    panel = panel_of({"A": [100.0, 100, 130, 140, 140]})
    tradable = np.array([[True], [True], [False], [True], [True]])
    panel = dataclasses.replace(panel, tradable=tradable)
    weights = np.array([[0.5], [0.0], [0.0], [0.0], [0.0]])
    record = run(panel, weights, Weights(), costs=costs(), initial_cash=1000.0)
    assert brief(record) == [
        (0, "A", "buy", 5.0, "rebalance", "filled", ""), (1, "A", "sell", 5.0, "close", "rejected", "untradable"),
        (3, "A", "sell", 5.0, "close", "filled", ""),
    ]  # fmt: skip
    assert record.equity[2] == pytest.approx(1000 + 5 * 30)


def test_a_held_untradable_symbol_keeps_its_size_and_the_others_share_the_rest():
    prices = {"A": [100.0, 100, GONE, 100, 100], "B": [100.0] * 5, "C": [100.0] * 5}
    panel = panel_of(prices)
    scores = np.array([[3.0, 2, 1]] * 2 + [[1.0, 2, 3]] * 3)
    strategy = build_strategy("topk", {"factor": "x", "k": "2", "invest": "0.8", "rebalance": "2"}, {})
    record = run(panel, scores, strategy, costs=costs(), initial_cash=1000.0)
    # row 0: 4 A and 4 B. row 2: A cannot trade and keeps 400; B and C share 800 - 400.
    assert record.sizes[3].tolist() == [4.0, 2.0, 2.0]


def test_a_held_tradable_symbol_without_score_is_closed():
    panel = panel_of({"A": [100.0] * 4, "B": [100.0] * 4})
    scores = np.array([[2.0, 1], [GONE, GONE], [GONE, GONE], [GONE, GONE]])
    for name in ("topk", "signal"):
        params = {"factor": "x", "k": "1", "rebalance": "1"} if name == "topk" else {"factor": "x"}
        record = run(panel, scores, build_strategy(name, params, {}), costs=costs(), initial_cash=1000.0)
        assert {order.reason for order in record.orders if order.created_bar == 1} == {"close"}
        assert (record.sizes[2] == 0).all()


def test_a_relisting_is_another_feed_and_the_settlement_does_not_disturb_it():
    # gap 2: last bar row 1; rows 2, 3, 4 missing: over at row 4 (any bar after it begins a new listing), which comes
    # at row 5, the very bar that settles the old holding at 100 while the new listing trades at 7.
    prices = {"A": [100.0, 100, GONE, GONE, GONE, 7, 7, 7], "B": [100.0] * 8}
    weights = [[0.5, 0], *[[0.5, 0]] * 7]
    record = trade(prices, weights, gap=2)
    assert brief(record) == [
        (0, "A", "buy", 5.0, "rebalance", "filled", ""),
        (4, "A", "sell", 5.0, "delisting", "filled", ""),
        (5, "A", "buy", 71.42857142, "rebalance", "filled", ""),
    ]
    assert record.orders[1].price == 100.0
    assert record.marks[3, 0] == 100.0  # until then valued at the last close
    assert record.marks[6, 0] == 7.0
    np.testing.assert_allclose(record.equity, 1000.0)


def test_a_bar_that_ends_the_gap_in_time_is_the_same_listing():
    record = trade({"A": [100.0, 100, GONE, GONE, 90, 90], "B": [100.0] * 6}, [[0.5, 0], *[[-9, -9]] * 5], gap=2)
    assert len(record.orders) == 1
    assert record.equity[-1] == pytest.approx(1000 - 5 * 10)


def test_a_short_of_a_dead_coin_is_settled_even_where_the_cash_does_not_cover_it():
    # Short 20 A at 100 (cash 3000), 39 B at 50 (cash 1050). A rises to 145: settlement costs 2900 > 1050 and check 1
    # refuses it once; then it is sent without the check.
    prices = {"A": [100.0, 100, 145, GONE, GONE, GONE, GONE], "B": [50.0] * 7}
    record = trade(prices, [[-2, 0], [-9, 1.95], *[[-9, -9]] * 5], gap=1)
    assert brief(record)[2:] == [
        (4, "A", "buy", 20.0, "delisting", "rejected", "margin"), (5, "A", "buy", 20.0, "delisting", "filled", ""),
    ]  # fmt: skip
    assert record.sizes[-1, 0] == 0
    assert np.isfinite(record.equity).all()


def test_a_relisting_is_not_traded_while_the_dead_holding_is_unsettled():
    # As above, and A is listed again at row 5, where its old short's settlement is refused.
    prices = {"A": [100.0, 100, 145, GONE, GONE, 7, 7, 7], "B": [50.0] * 8}
    record = trade(prices, [[-2, 0], [-9, 1.95], *[[-9, -9]] * 3, [0.5, -9], *[[-9, -9]] * 2], gap=1)
    assert [(order.created_bar, order.reason, order.status) for order in record.orders[2:]] == [
        (4, "delisting", "rejected"), (5, "delisting", "filled"),
    ]  # fmt: skip
    assert record.marks[5, 0] == 145.0


def test_ruin_closes_everything_and_ends_the_run():
    # Short 20 at 100 from 1000; at 160 equity is 3000 - 3200 = -200.
    record = trade({"A": [100.0, 100, 160, 160, 100, 100]}, [[-2.0], [-9], [0.5], [0.5], [0.5], [0.5]])
    assert record.ruined
    assert brief(record)[1:] == [(2, "A", "buy", 20.0, "ruin", "filled", "")]
    assert record.equity.tolist() == [1000, 1000, -200, -200, -200, -200]
    assert any("equity reached zero" in line for line in record.warnings)


def test_ruin_on_the_last_bar_is_ruin():
    record = trade({"A": [100.0, 100, 160]}, [[-2.0], [-9], [-9]])
    assert record.equity.tolist() == [1000, 1000, -200]
    assert record.ruined
    assert any("equity reached zero" in line for line in record.warnings)


def test_the_log_says_once_how_often_too_few_could_be_chosen_and_when_worst():
    # k 3. Rows 0 and 1 are warm-up; the last row decides nothing. Two could be chosen on row 2, all on row 3, one on
    # rows 4 and 5 (B has no bar), two on row 6.
    panel = panel_of({"A": [1.0] * 8, "B": [1.0, 1, 1, 1, GONE, GONE, 1, 1], "C": [1.0] * 8})
    scores = np.array([
        [GONE, GONE, GONE], [GONE, GONE, GONE], [1, 2, GONE], [1, 2, 3], [1, 2, GONE], [GONE, 2, 3], [GONE, 2, 3],
        [GONE, GONE, GONE],
    ])  # fmt: skip
    for name, k, found in (
        ("topk", 3, "4 of 5 rebalances could choose fewer than 3 symbols"),
        ("longshort", 2, "5 of 5 rebalances could choose fewer than 4 symbols"),
    ):
        strategy = build_strategy(name, {"factor": "x", "rebalance": "1", "k": str(k)}, {})
        line, rejected = run(panel, scores, strategy, costs=costs(), initial_cash=1000.0).warnings
        assert line == f"{found} (tradable, with a score); the fewest were 1, on 2024-01-01T04:00:00Z"
        assert rejected.startswith("rejected orders")
    strategy = build_strategy("topk", {"factor": "x", "rebalance": "3", "k": "3"}, {})  # rows 0, 3 and 6
    line = run(panel, scores, strategy, costs=costs(), initial_cash=1000.0).warnings[0]
    assert line.startswith("1 of 2 rebalances")
    enough = build_strategy("topk", {"factor": "x", "rebalance": "3", "k": "2"}, {})
    assert not any(
        "rebalances" in line for line in run(panel, scores, enough, costs=costs(), initial_cash=1e3).warnings
    )


@pytest.mark.parametrize("name", ["topk", "longshort", "signal"])
def test_windows_in_which_nothing_can_happen_run_and_say_why(name):
    strategy, monthly = (build_strategy(name, {"factor": "x", "rebalance": unit}, {}) for unit in ("1", "1M"))
    panel = panel_of({"A": [100.0] * 4})
    without = run(panel, np.full((4, 1), GONE), strategy, costs=costs(), initial_cash=1000.0)
    one_bar = run(panel.rows(0, 1), np.ones((1, 1)), strategy, costs=costs(), initial_cash=1000.0)
    no_month = run(panel, np.ones((4, 1)), monthly, costs=costs(), initial_cash=1000.0)
    assert [record.warnings for record in (without, one_bar, no_month)] == [
        ("no symbol has a score on any bar of the window",),
        ("no rebalance (1) falls before the window's last bar: nothing was decided",),
        ("no rebalance (1M) falls before the window's last bar: nothing was decided",),
    ]
    for record in (without, one_bar, no_month):
        assert record.orders == ()
        assert set(record.equity.tolist()) == {1000.0}


def test_a_symbol_whose_first_bar_is_the_window_s_last_disturbs_nobody():
    record = trade({"A": [100.0] * 4, "B": [GONE, GONE, GONE, 7.0]}, [[0.5, 0.5]] * 4)
    assert brief(record) == [(0, "A", "buy", 5.0, "rebalance", "filled", "")]
    assert np.isnan(record.marks[:, 1]).all()


def test_a_long_run_keeps_neither_copies_of_prices_nor_backtrader_s_orders(monkeypatch):
    from Backtest.engine.backtrader import reference
    from Backtest.engine.backtrader.broker import broker_of

    monkeypatch.setitem(globals(), "run", ENGINES["backtrader"])
    kept = []
    made = broker_of
    monkeypatch.setattr(reference, "broker_of", lambda *args, **kwargs: kept.append(made(*args, **kwargs)) or kept[0])
    record = trade({"A": [100.0] * 6, "B": [50.0] * 6}, [[0.1 * t, 0.5] for t in range(6)])
    assert len(record.orders) == 5
    assert kept[0].orders == []
    (first, second) = kept[0].positions
    for name in ("open", "high", "low", "close"):
        assert np.shares_memory(np.asarray(getattr(first, name).array), getattr(first.p.episode, name))
    assert np.shares_memory(np.frombuffer(first.datetime.array), np.frombuffer(second.datetime.array))


def test_no_score_is_traded_before_the_bar_after_it():
    panel = panel_of({"A": [100.0, 110, 120, 130]}, opens=[[100.0], [105], [115], [125]])
    strategy = build_strategy("topk", {"factor": "x", "k": "1", "rebalance": "1", "invest": "0.5"}, {})
    record = run(panel, np.array([[GONE], [1.0], [1.0], [1.0]]), strategy, costs=costs(), initial_cash=1000.0)
    assert (record.orders[0].created_bar, record.orders[0].filled_bar, record.orders[0].price) == (1, 2, 115.0)


def test_nothing_is_decided_on_the_last_bar():
    record = trade({"A": [100.0] * 3}, [[0.0], [0.0], [0.5]])
    assert record.orders == ()


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
def test_a_tradable_bar_with_an_unsound_price_is_refused(field, bad):
    panel = panel_of({"A": [100.0] * 4, "B": [100.0] * 4})
    panel.fields[field][2, 1] = bad
    with pytest.raises(RunError, match=r"B: the bar of 2024-01-01T02:00:00Z .* finite and positive"):
        run(panel, np.ones((4, 2)), Weights(), costs=costs(), initial_cash=1000.0)


def test_the_feed_itself_refuses_unsound_prices():
    from Backtest.engine.episodes import find_episodes, refuse_unsound_prices

    (episode,) = find_episodes(panel_of({"A": [100.0] * 3}), haircut=0.0)
    refuse_unsound_prices(episode)
    for bad in (math.nan, math.inf, -1.0, 0.0):
        with pytest.raises(RunError, match=r"close is .* at row 1"):
            refuse_unsound_prices(dataclasses.replace(episode, close=np.array([1.0, bad, 1.0])))


def test_warmup_rows_are_not_traded_and_the_window_has_its_own_rows():
    panel = panel_of({"A": [100.0] * 6, "B": [50.0] * 6}, warmup=2)
    record = run(panel, np.full((4, 2), 0.25), Weights(), costs=costs(), initial_cash=1000.0)
    assert len(record.equity) == 4
    assert record.timestamp[0] == np.datetime64("2024-01-01T02:00")
    assert record.orders[0].created_bar == 0


def test_what_cannot_be_run_is_said():
    panel = panel_of({"A": [100.0] * 3})
    with pytest.raises(RunError, match=r"scores have shape \(2, 1\); the window has \(3, 1\)"):
        run(panel, np.ones((2, 1)), Weights(), costs=costs(), initial_cash=1.0)
    with pytest.raises(RunError, match="initial_cash is nan"):
        run(panel, np.ones((3, 1)), Weights(), costs=costs(), initial_cash=math.nan)
    empty = panel_of({"A": [GONE] * 3})
    with pytest.raises(RunError, match="no symbol has a tradable bar"):
        run(empty, np.ones((3, 1)), Weights(), costs=costs(), initial_cash=1.0)
    with pytest.raises(RunError, match=r"weights of shape .* or -inf"):
        run(panel, np.full((3, 1), 7.0), BadWeights(), costs=costs(), initial_cash=1.0)
    for weight in (126.0, -1e308):
        with pytest.raises(RunError, match=rf"returned a weight of {re.escape(f'{weight:g}')}; -125 to 125 is allowed"):
            run(panel, np.full((3, 1), weight), Weights(), costs=costs(), initial_cash=1.0)


class BadWeights(Weights):
    def target_weights(self, cross_section):
        return np.full(len(cross_section.scores), -np.inf)


def test_a_symbol_outside_the_population_is_not_traded():
    panel = panel_of({"A": [100.0] * 4, "B": [100.0] * 4})
    panel = dataclasses.replace(panel, member=np.array([[True, False]] * 4))
    record = run(panel, np.full((4, 2), 0.25), Weights(), costs=costs(), initial_cash=1000.0)
    assert {order.symbol for order in record.orders} == {"A"}


def test_the_same_run_twice_gives_the_same_bits():
    opens, highs, lows, closes = random_walk(5, 200, 6)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABCDEF")
    scores = np.random.default_rng(6).standard_normal((200, 6))
    strategy = build_strategy("topk", {"factor": "x", "k": "2", "rebalance": "3", "weighting": "score"}, {})
    terms = costs(commission=0.001, slippage=0.001)
    first, second = (run(panel, scores, strategy, costs=terms, initial_cash=1e5) for _ in range(2))
    assert first.orders == second.orders
    assert first.equity.tobytes() == second.equity.tobytes()


@pytest.mark.parametrize("name", ["topk", "longshort", "signal"])
def test_truncating_the_data_changes_no_order_before_the_cut(name):
    draw = np.random.default_rng(11)
    opens, highs, lows, closes = random_walk(11, 120, 6, volatility=0.03)
    closes[:40, 0] = closes[60:66, 1] = closes[80:, 2] = closes[[30, 50, 51], 3] = np.nan
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABCDEF")
    scores = np.cumsum(draw.standard_normal((120, 6)), axis=0)
    params = {
        "factor": "x",
        "rebalance": "2",
        **({} if name == "signal" else {"weighting": "inverse_vol", "vol_window": "0.3"}),
    }
    strategy = build_strategy(name, params, {})
    terms = costs(commission=0.001, slippage=0.001, min_notional=1.0)
    whole = run(panel, scores, strategy, costs=terms, initial_cash=1e4)
    assert len(whole.orders) > 20
    for cut in draw.integers(10, len(panel.age), size=20).tolist():
        short = run(panel.rows(0, cut), scores[:cut], strategy, costs=terms, initial_cash=1e4)
        before = [order for order in whole.orders if order.filled_bar < cut]
        assert [repr(order) for order in short.orders] == [repr(order) for order in before]
        assert short.equity.tobytes() == whole.equity[:cut].tobytes()
