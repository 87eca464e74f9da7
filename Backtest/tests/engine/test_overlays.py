"""Overlays in a run: exits worked out by hand on every engine, and nothing that sees the future.

The strategy's scores are its weights, so that a test writes down what is asked at each close: NaN leaves a position
alone, FLIPPED reverses it. The account begins with 10,000 and pays nothing, and a bar opens at its close unless stated.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from Backtest.portfolio import parse_overlays
from Backtest.strategies import build_strategy
from Backtest.tests.engine.engines import ENGINES
from Backtest.tests.engine.market import costs, panel_of, random_walk
from Backtest.tests.engine.numba.test_parity import same_records
from Backtest.tests.engine.test_replay import CASH, case, overlays_of

FLIPPED = 9.0
NAN = np.nan


@dataclass(frozen=True)
class Scripted:
    """Asks for its scores as weights at every bar."""

    factor: str = "x"
    rebalance: str = "1"
    volatility_days: float = 0.0
    wanted: int = 0

    def target_weights(self, cross_section):
        return np.where(cross_section.scores == FLIPPED, np.inf, cross_section.scores)


@pytest.fixture(params=sorted(ENGINES))
def engine(request):
    return ENGINES[request.param]


def orders(engine, prices, script, *overlays, opens=None, tradable=None, warmup=0, **terms):
    """(row that decided, symbol, signed size, price, reason, detail) of each order."""
    panel = panel_of(
        closes=np.array(list(prices.values()), dtype=float).T,
        opens=None if opens is None else np.array(list(opens.values()), dtype=float).T,
        symbols=tuple(prices),
        tradable=tradable,
        warmup=warmup,
    )
    scores = np.array(list(script.values()), dtype=float).T
    record = engine(panel, scores, Scripted(), costs=costs(**terms), initial_cash=10_000.0,
                    overlays=parse_overlays(overlays))  # fmt: skip
    return record, [
        (order.created_bar, order.symbol, order.size if order.side == "buy" else -order.size, order.price,
         order.reason, order.detail)
        for order in record.orders
    ]  # fmt: skip


ONCE = [0.5, NAN, NAN, NAN, NAN, NAN, NAN, NAN]


def test_a_stop_loss_fires_at_a_close_and_fills_at_the_next_open(engine):
    prices = {"A": [100, 100, 94, 93, 95, 95, 95, 95]}
    record, found = orders(engine, prices, {"A": ONCE}, "stop_loss:pct=0.07")
    assert found == [(0, "A", 50.0, 100.0, "rebalance", ""), (3, "A", -50.0, 95.0, "stop_loss", "")]
    # 5,000 left at the purchase, 50 x 95 back
    assert record.equity.tolist() == [10_000.0, 10_000.0, 9_700.0, 9_650.0, 9_750.0, 9_750.0, 9_750.0, 9_750.0]


def test_shorts_are_mirrored(engine):
    prices = {"A": [100, 100, 106, 107, 110, 95, 95, 95]}
    _, found = orders(engine, prices, {"A": [-0.5, *ONCE[1:]]}, "stop_loss:pct=0.07")
    assert found == [(0, "A", -50.0, 100.0, "rebalance", ""), (3, "A", 50.0, 110.0, "stop_loss", "")]
    _, found = orders(engine, {"A": [100, 100, 94, 93, 95, 95, 95, 95]}, {"A": [-0.5, *ONCE[1:]]},
                      "take_profit:pct=0.07")  # fmt: skip
    assert found[1] == (3, "A", 50.0, 95.0, "take_profit", "")


def test_the_reference_is_the_average_price_with_slippage(engine):
    """50 bought at 110 and 26 at 55 are 76 at 91.18 on average: the stop of 10 % is at 82.06, not at 99."""
    prices = {"A": [100, 100, 100, 95, 82.1, 82, 82, 82]}
    opens = {"A": [100, 100, 100, 50, 82.1, 82, 82, 82]}
    script = {"A": [0.5, NAN, 0.8, NAN, NAN, NAN, NAN, NAN]}  # 0.8 x 9,500 / 100
    _, found = orders(engine, prices, script, "stop_loss:pct=0.1", opens=opens, slippage=0.1)
    assert [(row[0], row[2], row[4]) for row in found] == [
        (0, 50.0, "rebalance"), (2, 26.0, "rebalance"), (5, -76.0, "stop_loss"),
    ]  # fmt: skip


def test_a_trailing_stop_begins_at_the_opening_price_and_follows_the_best_close(engine):
    prices = {"A": [100, 98, 95, 95, 95, 95, 95, 95]}
    opens = {"A": [100, 100, 98, 95, 95, 95, 95, 95]}
    _, found = orders(engine, prices, {"A": ONCE}, "trailing_stop:pct=0.05", opens=opens)
    assert found[1][:2] == (2, "A")  # 95 is 5 % under the fill at 100, 3 % under the best close
    prices = {"A": [100, 100, 110, 120, 115, 114, 114, 114]}
    _, found = orders(engine, prices, {"A": ONCE}, "trailing_stop:pct=0.05")
    assert found[1] == (5, "A", -50.0, 114.0, "trailing_stop", "")
    _, found = orders(engine, prices, {"A": ONCE}, "trailing_stop:pct=0.05,after=0.21")
    assert len(found) == 1
    short = {"A": [100, 100, 90, 80, 83, 84, 84, 84]}
    _, found = orders(engine, short, {"A": [-0.5, *ONCE[1:]]}, "trailing_stop:pct=0.05,after=0.2")
    assert found[1] == (5, "A", 50.0, 84.0, "trailing_stop", "")


def test_a_change_of_size_keeps_the_best_price_and_a_flip_begins_anew(engine):
    prices = {"A": [100, 100, 120, 110, 110, 109, 108, 108]}
    script = {"A": [0.4, NAN, NAN, 0.3, NAN, NAN, NAN, NAN]}
    _, found = orders(engine, prices, script, "trailing_stop:pct=0.1")
    assert [row[:2] + row[4:5] for row in found] == [(0, "A", "rebalance"), (3, "A", "rebalance"),
                                                     (6, "A", "trailing_stop")]  # fmt: skip
    script = {"A": [0.4, NAN, NAN, FLIPPED, NAN, NAN, NAN, NAN]}  # short from 110, best 108: 118.8 would be the stop
    _, found = orders(engine, prices, script, "trailing_stop:pct=0.1")
    assert [row[4] for row in found] == ["rebalance", "flip"]
    prices["A"][6] = 120
    _, found = orders(engine, prices, script, "trailing_stop:pct=0.1")
    assert [row[4] for row in found] == ["rebalance", "flip", "trailing_stop"]
    # reversed at 140 after a best of 120: 135 is no 10 % above 140, and would be above 120
    prices, opens = {"A": [100, 100, 120, 120, 135, 135, 135, 135]}, {"A": [100, 100, 120, 120, 140, 135, 135, 135]}
    _, found = orders(engine, prices, script, "trailing_stop:pct=0.1", opens=opens)
    assert [row[4] for row in found] == ["rebalance", "flip"]


def test_a_stopped_symbol_stays_out_for_its_cooldown_and_its_weight_is_not_given_away(engine):
    prices = {"A": [100, 100, 90, 90, 90, 90, 90, 90], "B": [50.0] * 8}
    script = {"A": [0.5] * 8, "B": [0.4] * 8}
    for cooldown, back in ((0, 3), (2, 5), (100, None)):
        _, found = orders(engine, prices, script, f"stop_loss:pct=0.1,cooldown={cooldown}")
        of_a = [(row[0], row[4]) for row in found if row[1] == "A"]
        # at row 2 the strategy wants 0.5 and the stop wants out; the purchase of row 1 is not there: it was at 100
        assert of_a == [(0, "rebalance"), (2, "stop_loss"), *([(back, "rebalance")] if back else [])]
        assert all(abs(row[2]) < 10 for row in found if row[1] == "B" and row[0] > 0)  # drifts only


def test_an_exit_that_no_bar_fills_is_sent_again(engine):
    prices = {"A": [100, 100, 90, 99, 99, 99, 99, 99]}
    tradable = np.array([[True, True, True, False, False, True, True, True]]).T
    _, found = orders(engine, prices, {"A": ONCE}, "stop_loss:pct=0.1", tradable=tradable)
    assert [(row[0], row[4], row[5]) for row in found[1:]] == [
        (2, "stop_loss", "untradable"),  # not at rows 3 and 4, whose closes cannot be traded at
        (5, "stop_loss", ""),
    ]


def test_a_bar_that_cannot_be_traded_fires_nothing(engine):
    prices = {"A": [100, 100, 80, 99, 99, 99, 99, 99]}
    tradable = np.array([[True, True, False, True, True, True, True, True]]).T
    _, found = orders(engine, prices, {"A": ONCE}, "stop_loss:pct=0.1", tradable=tradable)
    assert len(found) == 1


def test_a_drawdown_stop_closes_everything_waits_and_counts_from_a_new_peak(engine):
    """0.5 and -0.4: A falls from 100 to 80, equity from 10,000 to 9,000; B is flat."""
    prices = {"A": [100, 100, 80, 80, 80, 80, 80, 73, 71, 71], "B": [50.0] * 10}
    script = {"A": [0.5] * 10, "B": [-0.4] * 10}
    _, found = orders(engine, prices, script, "drawdown_stop:pct=0.1,cooldown=2", no_trade_band=0.1)
    assert [(row[0], row[1], row[4]) for row in found] == [
        (0, "B", "rebalance"), (0, "A", "rebalance"),
        (2, "A", "drawdown_stop"), (2, "B", "drawdown_stop"),  # nothing at 3 and 4
        (5, "B", "rebalance"), (5, "A", "rebalance"),
    ]  # fmt: skip
    # the peak is 9,000 from row 5 on: 71 instead of 80 is 506.25 less, 5.6 %; from 10,000 it would be 15 %
    _, found = orders(engine, prices, script, "drawdown_stop:pct=0.05,cooldown=2", no_trade_band=0.1)
    assert [(row[0], row[4]) for row in found if row[1] == "A"] == [
        (0, "rebalance"), (2, "drawdown_stop"), (5, "rebalance"), (8, "drawdown_stop"),
    ]  # fmt: skip
    _, found = orders(engine, prices, script, "drawdown_stop:pct=0.1", no_trade_band=0.1)
    assert max(row[0] for row in found) == 2


def test_ruin_comes_before_every_overlay(engine):
    prices = {"A": [100, 100, 400, 400, 400, 400, 400, 400]}
    record, found = orders(engine, prices, {"A": [-0.5, *ONCE[1:]]}, "stop_loss:pct=0.1", "drawdown_stop:pct=0.1")
    assert record.ruined
    assert [(row[0], row[4]) for row in found] == [(0, "rebalance"), (2, "ruin")]


def test_an_exit_below_the_smallest_notional_is_not_sent(engine):
    prices = {"A": [100, 100, 10, 10, 10, 10, 20, 20]}
    _, found = orders(engine, prices, {"A": ONCE}, "stop_loss:pct=0.5", min_notional=600.0)
    assert [(row[0], row[4]) for row in found] == [(0, "rebalance"), (6, "stop_loss")]  # 50 x 10 is too little


def test_the_turnover_cap_goes_part_of_the_way_and_leaves_exits_alone(engine):
    prices = {"A": [100.0] * 8, "B": [100, 100, 100, 50, 50, 50, 50, 50]}
    script = {"A": [0.6, 0.6, NAN, FLIPPED, NAN, NAN, NAN, NAN], "B": [0.2, 0.2, 0.2, 0.2, NAN, NAN, NAN, NAN]}
    _, found = orders(engine, prices, script, "max_turnover:cap=0.4", "stop_loss:pct=0.5", min_notional=1.0)
    # row 0: 0.8 wanted, half of it; row 1: the rest; row 3: B lost half of 20 and goes, A flips from 60 of 90
    assert found[:4] == [(0, "A", 30.0, 100.0, "rebalance", ""), (0, "B", 10.0, 100.0, "rebalance", ""),
                         (1, "A", 30.0, 100.0, "rebalance", ""), (1, "B", 10.0, 100.0, "rebalance", "")]  # fmt: skip
    # -60/90 - 60/90 is 1.333: 0.3 of it is allowed, A goes from 60 to 24 pieces; the sale of B is not counted
    assert found[4:] == [(3, "A", -36.0, 100.0, "rebalance", ""), (3, "B", -20.0, 50.0, "stop_loss", "")]


def test_the_volatility_target_measures_the_portfolio_that_is_asked_for(engine):
    """A moves by +-1 % in turn, B against it: half and half moves a hundredth of what A alone does."""
    rows, warmup = 30, 24
    turn = 1.01 ** (np.arange(rows) % 2)
    prices = {"A": 100 * turn, "B": 100 / turn}
    script = {"A": [0.8, 0.4, NAN, 0.8, NAN, NAN], "B": [0.0, 0.4, NAN, 0.0, NAN, NAN]}
    overlay = "vol_target:annual=0.5,days=1"
    record, _ = orders(engine, prices, script, overlay, warmup=warmup)
    returns = np.diff(prices["A"]) / prices["A"][:-1]
    alone = 0.5 / (np.std(returns[:24], ddof=1) * np.sqrt(24 * 365))  # of A; the rows up to the first close
    assert 0 < alone < 0.8
    weights = record.sizes[1:, :] * np.vstack([prices["A"], prices["B"]]).T[warmup + 1 :] / record.equity[1:, None]
    at_close = record.sizes[1, 0] * prices["A"][warmup] / record.equity[0]
    assert at_close == pytest.approx(alone, rel=1e-6)
    assert weights[1] == pytest.approx([0.4, 0.4], abs=0.02)
    record, _ = orders(engine, {name: values[:6] for name, values in prices.items()}, script, overlay)
    assert record.orders == ()  # no history, no measure, no position
    assert any("the volatility was not known at 3 of 3 rebalances" in words for words in record.warnings)


def decided(record, last):
    return [repr(order) for order in record.orders if order.filled_bar <= last]


@pytest.mark.parametrize("part", range(4))
def test_no_overlay_sees_the_future(engine, part):
    """Cut the market after a row, or scramble what comes after: what was decided until then stays."""
    for seed in range(part * 8, part * 8 + 8):
        panel, scores, kind, values, terms = case(seed)
        draw = np.random.default_rng(seed)
        overlays = parse_overlays(overlays_of(seed, panel.timeframe.bars_per_day, share=0.7))
        strategy, more = build_strategy(kind, {}, values), {"costs": costs(**terms), "initial_cash": CASH}
        whole = engine(panel, scores, strategy, overlays=overlays, **more)
        last = int(draw.integers(len(scores) // 2, len(scores) - 1))
        if panel.tradable[: last + 1].any():
            cut = engine(panel.rows(0, last + 1), scores[: last + 1], strategy, overlays=overlays, **more)
            assert decided(cut, last) == decided(whole, last), seed
            assert cut.equity.tobytes() == whole.equity[: last + 1].tobytes()
        factors = np.exp(0.3 * draw.standard_normal(panel.shape))
        factors[: last + 1] = 1.0
        other = dataclasses.replace(panel, fields={name: field * factors for name, field in panel.fields.items()})
        wild = np.where(np.arange(len(scores))[:, None] <= last, scores, -scores)
        scrambled = engine(other, wild, strategy, overlays=overlays, **more)
        assert decided(scrambled, last) == decided(whole, last), seed
        sent = [{(order.symbol, order.side, order.reason) for order in record.orders if order.created_bar == last}
                for record in (whole, scrambled)]  # fmt: skip
        assert sent[0] == sent[1], seed


def test_no_overlays_and_overlays_that_never_bind_are_the_same_run(engine):
    opens, highs, lows, closes = random_walk(5, 80, 4)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABCD")
    scores = np.random.default_rng(5).standard_normal((80, 4))
    strategy = build_strategy("longshort", {}, {"factor": "x", "k": 2, "rebalance": "3"})
    loose = ["stop_loss:pct=50", "take_profit:pct=50", "trailing_stop:pct=50", "drawdown_stop:pct=1",
             "max_position:cap=9", "max_gross:cap=9", "max_net:cap=9", "max_turnover:cap=99"]  # fmt: skip
    records = [
        engine(panel, scores, strategy, costs=costs(commission=0.001), initial_cash=CASH, overlays=parse_overlays(some))
        for some in ([], loose)
    ]
    assert len(records[0].orders) > 50
    same_records(*records)
