"""Round trips by hand, and the sum rule on a random run."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.engine.ledger import Order
from Backtest.tests.fake_run import record_of, simulated
from Backtest.trades import round_trips


def order(number, bar, side, size, price, *, commission=0.0, status="filled", reason="rebalance"):
    return Order(number, bar - 1, bar, "AUSDT", side, size, price, size * price, commission, 0.0, reason, status)


def trips_of(orders, *, rows=10, sizes=None, marks=None):
    return round_trips(record_of(np.full(rows, 100.0), orders=orders, sizes=sizes, marks=marks))


def test_average_cost_by_hand():
    # Buy 1 at 10 and 3 at 14: average 13. Sell 2 at 20 and 2 at 15: (7 x 2) + (2 x 2) = 18, less 4 x 0.5 of fees.
    orders = [
        order(1, 1, "buy", 1, 10, commission=0.5), order(2, 2, "buy", 3, 14, commission=0.5),
        order(3, 3, "buy", 9, 9, status="rejected"),
        order(4, 4, "sell", 2, 20, commission=0.5), order(5, 6, "sell", 2, 15, commission=0.5, reason="close"),
    ]  # fmt: skip
    (trip,) = trips_of(orders)
    assert trip["side"] == "long"
    assert trip["status"] == "closed"
    assert (trip["opened_at"], trip["closed_at"]) == ("2024-01-01T04:00:00Z", "2024-01-02T00:00:00Z")
    assert trip["bars"] == 5
    assert trip["size"] == 4
    assert trip["entry_price"] == pytest.approx(13)
    assert trip["exit_price"] == pytest.approx(17.5)
    assert trip["gross_pnl"] == pytest.approx(18)
    assert trip["net_pnl"] == pytest.approx(16)
    assert trip["return"] == pytest.approx(16 / 52)
    assert trip["exit_reason"] == "close"
    assert trip["orders"] == [1, 2, 4, 5]


def test_a_flip_closes_one_trip_and_opens_the_next_sharing_its_costs():
    orders = [order(1, 1, "buy", 2, 10), order(2, 3, "sell", 6, 12, commission=3.0, reason="flip")]
    sizes = np.zeros((10, 1))
    sizes[1:3], sizes[3:] = 2, -4
    marks = np.where(sizes != 0, 11.0, np.nan)
    long, short = trips_of(orders, sizes=sizes, marks=marks)
    assert (long["gross_pnl"], long["commission"]) == pytest.approx((4, 1))
    assert (short["side"], short["status"], short["closed_at"]) == ("short", "open", None)
    assert (short["gross_pnl"], short["commission"], short["net_pnl"]) == pytest.approx((4, 2, 2))
    assert short["exit_price"] == pytest.approx(11)
    assert short["bars"] == 6


def test_rounding_dust_does_not_open_a_position():
    orders = [order(1, 1, "buy", 0.3, 10), order(2, 2, "sell", 0.1, 10), order(3, 3, "sell", 0.2, 10)]
    (trip,) = trips_of(orders)
    assert trip["status"] == "closed"


@pytest.mark.parametrize("seed", range(4))
def test_net_profits_add_up_to_the_change_of_equity(seed):
    _, record = simulated(900, seed=seed)
    trips = round_trips(record)
    assert math.fsum(trip["net_pnl"] for trip in trips) == pytest.approx(record.equity[-1] - 1e5, abs=1e-5)
    assert math.fsum(trip["commission"] for trip in trips) == pytest.approx(sum(o.commission for o in record.orders))
    assert [trip["trade_id"] for trip in trips] == list(range(1, len(trips) + 1))


def test_no_orders_no_trips():
    assert trips_of([]) == []
