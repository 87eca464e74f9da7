"""Futures worked out by hand: the exchange's published liquidation prices, funding on a made clock, tiers, margins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.engine.backtrader import run as run_reference
from Backtest.engine.numba import run
from Backtest.errors import RunError, SettingsError
from Backtest.portfolio import parse_overlays
from Backtest.strategies import build_strategy
from Backtest.strategies.base import FLIP
from Backtest.tests.engine.futures.made import HOUR_NS, PLAIN, fees, funding, table, terms
from Backtest.tests.engine.market import costs, panel_of, random_walk

GONE = math.nan

BTC_2020 = table(
    (0, 0.004, 125), (50_000, 0.005, 100), (250_000, 0.01, 50), (1_000_000, 0.025, 20), (5_000_000, 0.05, 10)
)
ETH_2020 = table(
    (0, 0.005, 100), (10_000, 0.0065, 75), (100_000, 0.01, 50), (500_000, 0.02, 25), (1_000_000, 0.05, 10),
    (2_000_000, 0.1, 5), (5_000_000, 0.125, 4),
)  # fmt: skip
"""The tiers behind the exchange's published examples: 2.5 % with cum 16,300, and 10 % with cum 135,365."""


class Stated:
    """A strategy that trades stated weights: row -> weights; NaN leaves a position alone."""

    factor, rebalance, volatility_days, wanted = "x", "1", 0.0, 0

    def __init__(self, rows):
        self.rows, self.row = rows, -1

    def target_weights(self, cross_section):
        self.row += 1
        return np.array(self.rows.get(self.row, [GONE] * len(cross_section.symbols)), dtype=float)


def traded(panel, rows, made, *, cash=1000.0, overlays=(), **charges):
    """The record of stated weights."""
    scores = np.zeros((panel.shape[0] - panel.warmup, panel.shape[1]))
    rules = parse_overlays(overlays)
    return run(panel, scores, Stated(rows), costs=costs(**charges), initial_cash=cash, futures=made, overlays=rules)


def flat(prices, **bars):
    """A panel of constant prices; `bars`: symbol -> {row: (open, high, low, close)}."""
    rows = bars.pop("rows", 4)
    values = np.array([[[price] * 4 for price in prices.values()] for _ in range(rows)], dtype=float)
    names = list(prices)
    for symbol, changes in bars.items():
        for row, bar in changes.items():
            values[row, names.index(symbol)] = bar
    opens, highs, lows, closes = (values[:, :, place] for place in range(4))
    return panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols=names)


def reasons(record):
    return [order.reason for order in record.orders if order.reason != "rebalance"]


# The exchange's examples: WB 1,535,443.01; BTCUSDT 109.488 at 32,481.98, ETHUSDT 3,683.979 at 1,456.84, both long.

WB = 1_535_443.01
BTC, ETH = (109.488, 32_481.98), (3_683.979, 1_456.84)


def isolated_case(position, tiers, low):
    """One isolated position whose margin is all of WB, and a bar that goes down to `low`."""
    size, entry = position
    panel = flat({"A": entry}, A={2: (entry, entry, low, entry)})
    leverage = size * entry / WB
    made = terms(["A"], mode="isolated", leverage=leverage, tiers={"A": (tiers,)})
    return traded(panel, {0: [leverage]}, made, cash=WB, lot_step=1e-9)


@pytest.mark.parametrize("position, tiers, price", [(BTC, BTC_2020, 18_778.73), (ETH, ETH_2020, 1_114.78)])
def test_isolated_liquidation_prices_of_the_exchange(position, tiers, price):
    assert reasons(isolated_case(position, tiers, price + 0.01)) == []
    record = isolated_case(position, tiers, price - 0.01)
    (struck,) = [order for order in record.orders if order.reason == "liquidation"]
    assert struck.size == pytest.approx(position[0], rel=1e-9)
    assert struck.price == pytest.approx(price, abs=0.005)
    assert (struck.side, struck.status, struck.created_bar, struck.filled_bar) == ("sell", "filled", 2, 2)


def cross_case(btc_low=31_967.27, eth_low=1_335.18):
    """Both positions in cross margin; on bar 2 the marks are 31,967.27 and 1,335.18, on bar 3 the lows are tried."""
    values = BTC[0] * BTC[1] / WB, ETH[0] * ETH[1] / WB
    marks = (31_967.27, 1_335.18)
    panel = flat(
        {"A": BTC[1], "B": ETH[1]},
        A={2: (marks[0],) * 4, 3: (marks[0], marks[0], btc_low, marks[0])},
        B={2: (marks[1],) * 4, 3: (marks[1], marks[1], eth_low, marks[1])},
    )
    made = terms("AB", leverage={"A": 20.0, "B": 4.0}, tiers={"A": (BTC_2020,), "B": (ETH_2020,)})
    return traded(panel, {0: list(values)}, made, cash=WB, lot_step=1e-9)


@pytest.mark.parametrize("symbol, name, price", [("A", "btc_low", 26_316.89), ("B", "eth_low", 1_153.26)])
def test_cross_liquidation_prices_of_the_exchange(symbol, name, price):
    assert reasons(cross_case(**{name: price + 0.02})) == []
    record = cross_case(**{name: price - 0.02})
    struck = [order for order in record.orders if order.reason == "liquidation"]
    assert struck[0].symbol == symbol
    assert struck[0].price == pytest.approx(price, abs=0.01)


def test_a_liquidated_leg_raises_the_liquidation_price_of_the_other():
    """A wallet of 1000, A and B each 100 long at 50, half a percent maintenance.

    With the other at 50 either goes at 1000 + 100 (p - 50) = 0.5 p + 25: p = 4025 / 99.5 = 40.45. A's liquidation
    there costs 954.77 of the wallet; then B goes at 1000 - 954.77 + 100 (p - 50) = 0.5 p: p = 4954.77 / 99.5 = 49.80.
    """
    lp = (5000 + 25 - 1000) / 99.5
    for falls, b_low, expected in (
        (lp + 0.01, 50.0, []),
        (50.0, 41.0, []),
        (lp - 0.01, 50.0, ["A"]),
        (lp - 0.01, 49.81, ["A"]),
        (lp - 0.01, 49.79, ["A", "B"]),
        (50.0, 49.79, []),
    ):
        panel = flat({"A": 50.0, "B": 50.0}, rows=5, A={2: (50, 50, falls, 50)}, B={3: (50, 50, b_low, 50)})
        record = traded(panel, {0: [5.0, 5.0]}, terms("AB", leverage=10))
        struck = [order for order in record.orders if order.reason == "liquidation"]
        assert [order.symbol for order in struck] == expected, (falls, b_low)
        if expected == ["A", "B"]:
            assert struck[0].price == pytest.approx(lp, rel=1e-12)
            assert struck[1].price == pytest.approx((5000 - 1000 + 100 * (50 - lp)) / 99.5, rel=1e-12)


# Funding on a made clock: bars of 8 h, then of a day


def bars_from(panel, *hours):
    """Moments so many hours after the panel's first open, nanoseconds."""
    return [int(panel.timestamp.astype(np.int64)[0]) + round(hour * HOUR_NS) for hour in hours]


def daily(rows=4, price=100.0):
    return panel_of({"A": [price] * rows}, timeframe="1d", first_bar=19_723)


def test_a_daily_bar_settles_three_stamps_and_the_one_on_an_open_before_its_fills():
    """Decided on bar 0, filled at the open of bar 1 (24 h): the stamp at 24 h is before it; 32 h and 40 h are paid."""
    panel = daily()
    settled = {"A": funding(bars_from(panel, 0, 8, 16, 24, 32, 40, 48, 56, 64, 72), [0.001] * 10)}
    record = traded(panel, {0: [1.0], 1: [0.0]}, terms("A", settled=settled))
    paid = [order for order in record.orders if order.reason == "funding"]
    assert [order.filled_bar for order in paid] == [1, 1, 2]  # 32 h, 40 h, and 48 h: closed at that open, still held
    assert [(order.size, order.price, order.value, order.side) for order in paid] == [(0.0, 100.0, -1.0, "buy")] * 3
    assert record.equity.tolist() == [1000.0, 998.0, 997.0, 997.0]
    assert record.cash.tolist() == record.equity.tolist()


def test_a_position_opened_after_a_stamp_pays_nothing_and_one_held_over_it_pays():
    panel = daily()
    for hour, value in ((23.99, 0), (24.0, 0), (24.01, -1.0), (47.99, -1.0), (48.0, -1.0), (48.01, 0.0)):
        settled = {"A": funding(bars_from(panel, hour), [0.001])}
        record = traded(panel, {0: [1.0], 1: [0.0]}, terms("A", settled=settled))
        assert sum(order.value for order in record.orders if order.reason == "funding") == value, hour
        assert record.equity[-1] == 1000.0 + value


def test_shorts_get_what_longs_pay_at_the_mark_where_the_data_have_it():
    panel = daily()
    stamps = bars_from(panel, 30, 31)
    settled = {"A": funding(stamps, [0.01, -0.02], [104.0, GONE])}
    for weight, values in ((1.0, [-10.4, 20.0]), (-1.0, [10.4, -20.0])):
        record = traded(panel, {0: [weight]}, terms("A", settled=settled))
        paid = [order for order in record.orders if order.reason == "funding"]
        assert [order.value for order in paid] == pytest.approx(values)
        assert [order.price for order in paid] == [104.0, 100.0]
        assert [order.side for order in paid] == ["buy" if weight > 0 else "sell"] * 2


def test_isolated_funding_is_paid_from_the_position_s_margin():
    """100 at 10x: margin 100, liquidated at (1000 - 100 + m) / 9.95; a funding of 30 raises it by 30 / 9.95."""
    for rate, low, struck in ((0.0, 90.5, False), (0.0, 90.44, True), (0.03, 93.47, False), (0.03, 93.45, True)):
        panel = panel_of({"A": [100.0] * 4}, timeframe="1d", first_bar=19_723, lows=[[100], [100], [low], [100]])
        settled = {"A": funding(bars_from(panel, 30), [rate])}
        made = terms("A", mode="isolated", leverage=10, settled=settled)
        record = traded(panel, {0: [1.0]}, made)
        assert ("liquidation" in reasons(record)) == struck, (rate, low)


def test_nobody_pays_more_funding_than_he_has():
    panel = daily()
    settled = {"A": funding(bars_from(panel, 30), [0.9])}
    record = traded(panel, {0: [5.0]}, terms("A", leverage=5, settled=settled))
    assert [order.value for order in record.orders if order.reason == "funding"] == [-1000.0]
    assert record.equity[-1] == 0.0
    assert record.ruined


# Tiers


def test_the_tier_of_the_notional_decides_the_maintenance():
    """Tiers of 1 % below 5,000 and 10 % above: at 5,000 both ask for 50, above it 10 % of the rest more."""
    steep = table((0, 0.01, 20), (5000, 0.1, 5))
    assert steep.maintenance(5000) == pytest.approx(50)
    assert steep.maintenance(4999) == pytest.approx(49.99)
    assert steep.maintenance(5010) == pytest.approx(51)
    for high, struck in ((109.0, False), (117.26, False), (117.28, True)):
        # short 50: 1000 - 50 (p - 100) meets 0.1 * 50 p - 450 at p = 6450 / 55 = 117.27; at 1 % it would be 118.8
        panel = flat({"A": 100.0}, A={2: (100, high, 100, 100)})
        record = traded(panel, {0: [-5.0]}, terms("A", leverage=5, tiers={"A": (steep,)}))
        assert ("liquidation" in reasons(record)) == struck, high


def test_a_tier_s_highest_leverage_bounds_the_notional():
    steep = table((0, 0.01, 20), (5000, 0.1, 5))
    panel = flat({"A": 100.0})
    for weight, detail in ((4.99, ""), (5.0, "margin")):  # the floor belongs to the tier that begins there
        record = traded(panel, {0: [weight]}, terms("A", leverage=20, tiers={"A": (steep,)}))
        assert record.orders[0].detail == detail
        refused = [words for words in record.warnings if words.startswith("rejected")]
        # an equity of 1,000 has margin for 5,000 at 20: shrinking to the free margin would change nothing
        assert refused == detail.count("margin") * [
            "rejected orders: 1 margin; 1 of these for leverage: their position's tier allows less than was asked"
        ]
    with pytest.raises(SettingsError, match=r"leverage of A is 21; 1 to 20 is allowed"):
        traded(panel, {0: [1.0]}, terms("A", leverage=21, tiers={"A": (steep,)}))


@pytest.mark.parametrize("slippage", [0.0, 0.001])
def test_an_order_beyond_all_numbers_is_never_filled(slippage):
    """At a price of 1e-300 a weight of 100 is more units than a float64 can count."""
    panel = flat({"A": 1e-300, "B": 100.0})
    record = traded(panel, {0: [100.0, 1.0]}, terms("AB", leverage=20), cash=1e12, slippage=slippage)
    assert [order.symbol for order in record.orders if order.status == "filled"] == ["B"]
    assert np.isfinite(record.equity).all()


def test_tiers_in_force_at_the_bar_are_used():
    """From bar 3 on maintenance is 20 %: at equity 250 of a notional of 1250 a long of 10 at 100 does not hold."""
    panel = flat({"A": 100.0}, rows=6, A={2: (100, 100, 92, 100), 4: (100, 100, 92, 100)})
    later = int(panel.timestamp.astype(np.int64)[3])
    tables = (PLAIN, table((0, 0.2, 5), since=later))
    record = traded(panel, {0: [5.0]}, terms("A", leverage=5, tiers={"A": tables}), cash=200.0)
    struck = [order for order in record.orders if order.reason == "liquidation"]
    assert [order.filled_bar for order in struck] == [3]  # at the open already: 200 <= 0.2 * 1000
    assert struck[0].price == 100.0


# Fees, margins, wallets


def test_fees_are_those_of_the_bar():
    panel = flat({"A": 100.0}, rows=6)
    later = int(panel.timestamp.astype(np.int64)[3])
    record = traded(
        panel, {0: [0.9], 3: [0.0]}, terms("A", fees=fees((0, 0.001, 0.0), (later, 0.002, 0.0))), lot_step=1.0
    )
    assert [order.commission for order in record.orders] == pytest.approx([0.9, 1.8])


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_an_opening_needs_notional_over_leverage_and_its_fee(mode):
    """1000 at 5x with a fee of 0.1 %: 4,975 binds 995 and costs 4.975."""
    panel = flat({"A": 1.0})
    for weight, filled in ((4.975, True), (4.976, False)):
        made = terms("A", mode=mode, leverage=5, taker=0.001)
        record = traded(panel, {0: [weight]}, made, lot_step=1.0)
        assert (record.orders[0].status == "filled") == filled, weight
        if filled:
            assert record.used_margin.tolist() == pytest.approx([0.0, 995.0, 995.0, 995.0])
    scaled = traded(
        panel, {0: [9.0]}, terms("A", mode=mode, leverage=5, taker=0.001), lot_step=1.0, on_rejected="scale"
    )
    assert [order.size for order in scaled.orders] == [4975.0]


def test_a_reversal_closes_first_and_opens_with_what_that_frees():
    panel = flat({"A": 100.0}, rows=5, A={2: (110, 110, 110, 110), 3: (110,) * 4, 4: (110,) * 4})
    for mode in ("cross", "isolated"):
        record = traded(panel, {0: [5.0], 1: [FLIP]}, terms("A", mode=mode, leverage=5))
        assert [(order.side, order.size, order.status) for order in record.orders] == [
            ("buy", 50.0, "filled"), ("sell", 100.0, "filled")]  # fmt: skip
        assert record.equity.tolist() == [1000.0, 1000.0, 1500.0, 1500.0, 1500.0]
        assert record.sizes[2:, 0].tolist() == [-50.0] * 3


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_a_liquidation_pays_its_fee_and_slippage_out_of_what_is_left(mode):
    """50 long at 100 with 1000 at 5x: gone at 4000 / 49.75 = 80.402, where 20.10 is left.

    A fee of 1.25 % of 4,020 would be 50.25: it takes the 20.10. With 0.1 % both slippage (4.02) and fee (4.016) are
    paid, and the rest stays.
    """
    price = 4000 / 49.75
    panel = flat({"A": 100.0}, A={2: (100, 100, 70, 90)})
    record = traded(panel, {0: [5.0]}, terms("A", mode=mode, leverage=5, liquidation=0.0125))
    assert record.orders[-1].commission == pytest.approx(1000 - 50 * (100 - price), rel=1e-9)
    assert record.cash[-1] == record.equity[-1] == 0.0
    assert record.ruined
    made = terms("A", mode=mode, leverage=5.1, liquidation=0.001)
    record = traded(panel, {0: [5.0]}, made, slippage=0.001)
    last = record.orders[-1]
    entry = 100 * 1.001
    if mode == "isolated":  # its margin is what was paid over 5.1
        trigger = (50 * entry - 50 * entry / 5.1) / 49.75
    else:
        trigger = (50 * entry - 1000) / 49.75
    assert last.price == pytest.approx(trigger * 0.999)
    assert last.slippage == pytest.approx(50 * trigger * 0.001)
    assert last.commission == pytest.approx(50 * last.price * 0.001)
    assert record.cash[-1] == pytest.approx(1000 + 50 * (last.price - entry) - last.commission)
    assert not record.ruined


@pytest.mark.parametrize("mode", ["cross", "isolated"])
def test_a_gap_beyond_bankruptcy_ends_at_the_bankruptcy_price(mode):
    panel = flat({"A": 100.0}, A={2: (60, 60, 60, 60), 3: (60,) * 4})
    record = traded(panel, {0: [5.0]}, terms("A", mode=mode, leverage=5, liquidation=0.0125), slippage=0.0)
    last = record.orders[-1]
    assert (last.reason, last.price, last.commission, last.slippage) == ("liquidation", pytest.approx(80.0), 0.0, 0.0)
    assert record.cash.tolist()[2:] == [0.0, 0.0]


def test_isolated_positions_lose_no_more_than_their_margin():
    panel = flat({"A": 100.0, "B": 100.0}, A={2: (60, 60, 60, 60), 3: (60,) * 4})
    record = traded(panel, {0: [2.0, 2.0]}, terms("AB", mode="isolated", leverage=5))
    assert record.equity.tolist() == pytest.approx([1000.0, 1000.0, 600.0, 600.0])
    assert record.sizes[-1].tolist() == [0.0, 20.0]
    cross = traded(panel, {0: [2.0, 2.0]}, terms("AB", leverage=5))
    assert cross.equity.tolist() == pytest.approx([1000.0, 1000.0, 200.0, 200.0])  # the wallet bears it


def test_orders_of_what_an_open_liquidates_are_cancelled():
    panel = flat({"A": 100.0}, A={2: (60, 60, 60, 60), 3: (60,) * 4})
    record = traded(panel, {0: [5.0], 1: [0.0]}, terms("A", leverage=5))
    assert [(order.reason, order.status, order.detail) for order in record.orders] == [
        ("rebalance", "filled", ""), ("liquidation", "filled", ""), ("close", "rejected", "margin")]  # fmt: skip


def test_a_loss_beyond_the_wallet_takes_in_the_profits_of_the_others():
    """A is closed with a loss of 1,200 of a wallet of 1,000 while B is 900 ahead: the wallet takes in B's profit."""
    up, down = 118.0, 76.0
    panel = flat(
        {"A": 100.0, "B": 100.0}, rows=5,
        A=dict.fromkeys((2, 3, 4), (down,) * 4), B=dict.fromkeys((2, 3, 4), (up,) * 4),
    )  # fmt: skip
    record = traded(panel, {0: [5.0, 5.0], 2: [0.0, GONE]}, terms("AB", leverage=10))
    assert record.equity.tolist() == pytest.approx([1000.0, 1000.0, 700.0, 700.0, 700.0])
    assert record.cash.tolist() == pytest.approx([1000.0, 1000.0, 1000.0, 700.0, 700.0])


# Parity with spot


@pytest.mark.parametrize(
    "closes, overlay, left",
    [
        ([140, 95, 94], "stop_loss:pct=0.05", (5, "A", 50.0)),  # 95 is 5 % under 100; 140 is 6.7 % under 150
        ([210, 190, 190], "take_profit:pct=1.0", (4, "A", 50.0)),  # 210 is 110 % over 100, 40 % over 150
        ([160, 140, 140], "trailing_stop:pct=0.1,after=0.5", (5, "A", 50.0)),  # 60 % over 100, 7 % over 150
    ],
)
def test_overlays_look_at_the_price_paid_whatever_a_wallet_s_debt_has_done_to_the_entry(closes, overlay, left):
    """B's loss of 1,600 takes the profit of A, bought at 100, into the wallet at 150: there A's entry price moves."""
    prices = np.array([[100, 100, 150, 150, *closes], [100, 100, 60, 60, 60, 60, 60]], dtype=float).T
    panel = panel_of(closes=prices, symbols=("A", "B"))
    made = terms(("A", "B"), leverage=10)
    record = traded(panel, {0: [5.0, 4.0], 2: [GONE, 0.0]}, made, overlays=[overlay], lot_step=1e-3)
    assert record.cash[3] == pytest.approx(1900.0)  # 1,000 - 1,600 + 2,500
    found = [(order.created_bar, order.symbol, order.size) for order in record.orders[3:]]
    assert found == [left]


@pytest.mark.parametrize("mode", ["cross", "isolated"])
@pytest.mark.parametrize("seed", range(6))
def test_leverage_1_without_funding_long_only_and_no_rejection_is_spot(mode, seed):
    opens, highs, lows, closes = random_walk(seed, 400, 6, volatility=0.02)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABCDEF")
    scores = np.random.default_rng(seed).standard_normal((400, 6))
    strategy = build_strategy("topk", {}, {"factor": "x", "k": 1 + seed % 4, "invest": 0.6, "rebalance": str(1 + seed)})
    charges = costs(commission=0.0007, slippage=0.001, lot_step=1e-4)
    made = terms("ABCDEF", mode=mode, taker=0.0007, liquidation=0.01)
    mine = run(panel, scores, strategy, costs=charges, initial_cash=1e5, futures=made)
    theirs = run_reference(panel, scores, strategy, costs=charges, initial_cash=1e5)
    assert not any(order.detail for order in theirs.orders)
    assert len(mine.orders) == len(theirs.orders) > 50
    for left, right in zip(mine.orders, theirs.orders, strict=True):
        assert (left.filled_bar, left.symbol, left.side, left.reason) == (
            right.filled_bar, right.symbol, right.side, right.reason)  # fmt: skip
        assert left.size == pytest.approx(right.size, rel=1e-12)
        assert (left.price, left.commission) == pytest.approx((right.price, right.commission), rel=1e-12)
    np.testing.assert_allclose(mine.equity, theirs.equity, rtol=1e-12)


# What is refused


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 0.0, -3.0])
@pytest.mark.parametrize("field", ["open", "high", "low", "close"])
def test_prices_that_are_not_finite_and_positive_are_refused(wrong, field):
    panel = flat({"A": 100.0})
    panel.fields[field][2, 0] = wrong
    with pytest.raises(RunError, match="prices must be finite and positive"):
        traded(panel, {0: [1.0]}, terms("A"))


def test_unknown_funding_is_stated_or_refused():
    """Settlements from 24 h to 48 h, 8 h apart: of the bars held, those from 24 h on, only the first is known whole."""
    panel = daily(6)
    settled = {"A": funding(bars_from(panel, 24, 32, 40, 48), [0.0] * 4)}
    record = traded(panel, {0: [1.0]}, terms("A", settled=settled))
    (words,) = [line for line in record.warnings if line.startswith("funding of A")]
    assert (
        "unknown on 4 of the 5 bars it was held on (its file has 2024-01-02T00:00:00Z to 2024-01-03T00:00:00Z)" in words
    )
    with pytest.raises(RunError, match="funding of A is unknown on 4 of the 5 bars"):
        traded(panel, {0: [1.0]}, terms("A", settled=settled, missing_funding="refuse"))
    record = traded(panel, {0: [1.0]}, terms("A", settled={"A": None}))
    assert any("unknown on 5 of the 5 bars it was held on (no funding file has it)" in line for line in record.warnings)
    pair = panel_of({"A": [100.0] * 6, "B": [100.0] * 6}, timeframe="1d", first_bar=19_723)
    both = traded(pair, {0: [0.5, 0.4]}, terms("AB", settled={"A": None, "B": None}))
    (line,) = [line for line in both.warnings if line.startswith("funding of 2 symbols is unknown")]
    assert line.count("on 5 of the 5 bars it was held on (no funding file has it)") == 2
    names = tuple("ABCDEFG")
    many = panel_of({name: [100.0] * 6 for name in names}, timeframe="1d", first_bar=19_723)
    of_many = traded(many, {0: [0.1] * 7}, terms(names, settled=dict.fromkeys(names)))
    (line,) = [line for line in of_many.warnings if line.startswith("funding of 7 symbols is unknown")]
    assert "E on 5 of the 5 bars it was held on (no funding file has it) and 2 more: nothing was settled" in line
    assert any(line.startswith("margin tiers: A, B, C, D, E and 2 more use the entry") for line in of_many.warnings)
    late = table((0, 0.005, 125), since=int(many.timestamp[2].astype(np.int64)))
    after = traded(many, {0: [0.1] * 7}, terms(names, tiers=dict.fromkeys("ABCDEF", (late,))))
    assert [line for line in after.warnings if "begin" in line] == [
        "margin tiers of A, B, C, D, E and 1 more begin 2024-01-03; bars before use them as well"
    ]
    record = traded(panel, {0: [1.0]}, terms("A"))
    assert any("funding is off" in line for line in record.warnings)
