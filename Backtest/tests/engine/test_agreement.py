"""Two records of a run are compared order by order, then bar by bar, and the first difference is named."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from Backtest.engine.agreement import first_difference
from Backtest.engine.ledger import Order, OrderTable, RunRecord

NAMES = ("one", "two")


def order(**changes) -> Order:
    facts: dict[str, Any] = {
        "order_id": 1, "created_bar": 0, "filled_bar": 1, "symbol": "A", "side": "buy", "size": 2.0, "price": 50.0,
        "value": 100.0, "commission": 0.1, "slippage": 0.05, "reason": "rebalance", "status": "filled", "detail": "",
    }  # fmt: skip
    return Order(**(facts | changes))


def record(*orders: Order, equity=(1000.0, 1001.0, 1002.0), cash=(1000.0, 900.0, 900.0)) -> RunRecord:
    stamps = np.array(["2024-01-01T00", "2024-01-01T01", "2024-01-01T02"], dtype="datetime64[ns]")
    none = np.zeros((3, 1))
    return RunRecord(stamps, ("A",), np.array(equity), np.array(cash), none, none, orders)


def test_the_same_to_a_billionth_is_the_same():
    mine = record(order(), order(order_id=2, price=math.nan, value=math.nan, status="rejected", detail="margin"))
    near = record(
        order(size=2.0 * (1 + 1e-10), slippage=0.05 + 1e-8), mine.orders[1], equity=(1000.0, 1001.0 + 1e-7, 1002.0)
    )
    assert first_difference(mine, mine, names=NAMES) == ""
    assert first_difference(mine, near, names=NAMES) == ""


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"size": 2.1}, "order 2, size: filled buy of 2.0 A at 50.0 (rebalance) decided at 2024-01-01T00:00:00Z on"),
        ({"price": 50.0 + 1e-6}, "order 2, price"),
        ({"commission": 0.1 + 1e-6}, "order 2, commission"),
        ({"slippage": math.nan}, "order 2, slippage"),
        ({"symbol": "B"}, "order 2, symbol"),
        ({"reason": "flip"}, "order 2, reason"),
        ({"detail": "margin"}, "order 2, detail"),
        ({"created_bar": 1}, "order 2, created_bar"),
    ],
)  # fmt: skip
def test_the_first_order_that_differs_is_named(changes, words):
    mine = record(order(), order(order_id=2))
    theirs = record(order(), order(order_id=2, **changes), order(order_id=3))
    assert first_difference(mine, theirs, names=NAMES).startswith(words)
    assert "\n" not in first_difference(mine, theirs, names=NAMES)


def test_an_order_of_one_engine_only_then_ruin_then_bars():
    mine, longer = record(order()), record(order(), order(order_id=2, side="sell"))
    assert first_difference(mine, longer, names=NAMES).startswith("order 2 is on two only: filled sell of 2.0 A")
    assert first_difference(longer, mine, names=NAMES).startswith("order 2 is on one only")
    ruined = dataclasses.replace(mine, ruined=True)
    assert first_difference(mine, ruined, names=NAMES) == "ruined is False on one, True on two"
    other = record(order(), equity=(1000.0, 1001.5, 1002.0))
    words = "equity at the close of 2024-01-01T01:00:00Z: 1001.0 on one, 1001.5 on two"
    assert first_difference(mine, other, names=NAMES) == words
    other = record(order(), cash=(1000.0, 900.0, math.nan))
    assert first_difference(mine, other, names=NAMES).startswith("cash at the close of 2024-01-01T02:00:00Z")


def test_orders_kept_as_columns_are_the_orders():
    columns = {
        field.name: np.array([getattr(one, field.name) for one in (order(), order(size=3.0), order(side="sell"))])
        for field in fields(Order)
    }
    table = OrderTable(columns)
    expected = (order(), order(size=3.0), order(side="sell"))
    assert tuple(table) == expected == (table[0], table[1], table[-1])
    assert [type(value) for value in vars(table[1]).values()] == [type(value) for value in vars(order()).values()]
    assert table == expected
    assert table[1:] == expected[1:]
    assert table.where(columns["side"] == "sell") == expected[2:]
    assert table != expected[:2]
    with pytest.raises(IndexError):
        table[3]
