"""The fixed columns of a run's tables, and reading them back bit for bit."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest

from Backtest.engine.ledger import Order
from Backtest.errors import RunError
from Backtest.files import json_text
from Backtest.results import Run
from Backtest.returns import drawdown
from Backtest.runs.outcome import exposures, number, read_table, result_texts
from Backtest.runs.reread import reread
from Backtest.tests.fake_run import outcome_of, panel_of, record_of, simulated

HEADERS = {
    "equity_curve.csv": "timestamp,equity,cash,gross_exposure,net_exposure,drawdown,benchmark,equal_weight",
    "orders.csv": "order_id,created_at,filled_at,symbol,side,size,price,value,commission,slippage,reason,status,detail",
    "positions.csv": "timestamp,symbol,size,price,value,weight",
}
TRADE_KEYS = (
    "trade_id symbol side status opened_at closed_at bars size entry_price exit_price gross_pnl commission slippage "
    "net_pnl return exit_reason orders"
).split()


@pytest.fixture(scope="module")
def outcome():
    return outcome_of(*simulated(400, 5))


@pytest.fixture(scope="module")
def texts(outcome):
    return result_texts(outcome)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize("name, header", HEADERS.items())
def test_columns_are_the_design_s(texts, name, header):
    assert texts[name].startswith(header + "\n")
    assert "\r" not in texts[name]
    assert texts[name].endswith("\n")


def test_equity_curve(outcome, texts):
    rows = rows_of(texts["equity_curve.csv"])
    record = outcome.record
    assert len(rows) == 400
    assert rows[1]["timestamp"] == "2024-01-01T04:00:00Z"
    assert [float(row["equity"]) for row in rows] == record.equity.tolist()
    assert [float(row["drawdown"]) for row in rows] == drawdown(record.equity, 1e5).tolist()
    held = np.where(record.sizes != 0, record.sizes * record.marks, 0)
    assert [float(row["gross_exposure"]) for row in rows] == pytest.approx(np.abs(held).sum(1) / record.equity)
    assert [float(row["net_exposure"]) for row in rows] == pytest.approx(held.sum(1) / record.equity)
    assert float(rows[0]["benchmark"]) == float(rows[0]["equal_weight"]) == 1e5


def test_equity_is_cash_plus_positions(texts):
    held: dict[str, float] = {}
    for row in rows_of(texts["positions.csv"]):
        held[row["timestamp"]] = held.get(row["timestamp"], 0.0) + float(row["value"])
    for row in rows_of(texts["equity_curve.csv"]):
        assert float(row["cash"]) + held.get(row["timestamp"], 0.0) == pytest.approx(float(row["equity"]), rel=1e-12)


def test_orders(outcome, texts):
    rows = rows_of(texts["orders.csv"])
    assert len(rows) == len(outcome.record.orders) > 50
    first, order = rows[0], outcome.record.orders[0]
    assert (first["order_id"], first["symbol"], first["side"]) == ("1", order.symbol, order.side)
    assert (first["created_at"], first["filled_at"]) == ("2024-01-01T20:00:00Z", "2024-01-02T00:00:00Z")
    assert float(first["size"]) * float(first["price"]) == pytest.approx(float(first["value"]), rel=1e-12)
    assert {row["side"] for row in rows} == {"buy", "sell"}


def test_rejected_orders_without_a_price_have_empty_cells():
    order = Order(1, 0, 1, "AUSDT", "buy", 2.0, math.nan, math.nan, 0.0, 0.0, "rebalance", "rejected", "untradable")
    panel = panel_of([[1.0], [1.0]], symbols=["AUSDT"])
    text = result_texts(outcome_of(panel, record_of([1e5, 1e5], orders=[order])))["orders.csv"]
    assert text.splitlines()[1] == (
        "1,2024-01-01T00:00:00Z,2024-01-01T04:00:00Z,AUSDT,buy,2.0,,,0.0,0.0,rebalance,rejected,untradable"
    )


def test_positions_hold_no_flat_symbol_and_are_sorted(texts):
    rows = rows_of(texts["positions.csv"])
    assert all(float(row["size"]) != 0 for row in rows)
    keys = [(row["timestamp"], row["symbol"]) for row in rows]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_trades_have_their_keys(texts):
    trades = json.loads(texts["trades.json"])
    assert all(list(trade) == TRADE_KEYS for trade in trades)


def test_a_missing_benchmark_is_an_empty_column():
    panel, record = simulated(30, 3)
    rows = rows_of(result_texts(outcome_of(panel, record, benchmark=False))["equity_curve.csv"])
    assert {row["benchmark"] for row in rows} == {""}
    assert "" not in {row["equal_weight"] for row in rows}


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-300, 5e-324, 1.7976931348623157e308, 123456789.123456789, -0.0, 1e22])
def test_numbers_read_back_to_the_same_bits(value):
    assert float(number(value)) == value
    assert number(value) != "-0.0"


def test_ruin_has_no_infinite_exposure():
    sizes = [[1.0], [1.0], [0.0]]
    record = record_of([100.0, 0.0, 0.0], sizes=sizes, marks=[[100.0], [50.0], [np.nan]])
    gross, net = exposures(record)
    assert gross[2] == net[2] == 0


def test_a_run_reads_back_bit_for_bit(tmp_path, outcome, texts):
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    again = reread(Run(tmp_path, {"symbols": list(outcome.record.symbols), "timeframe": "4h"}, outcome.metrics))
    assert result_texts(again) == texts
    assert again.record.orders == outcome.record.orders
    for name in ("timestamp", "equity", "cash", "sizes", "marks"):
        np.testing.assert_array_equal(getattr(again.record, name), getattr(outcome.record, name))


@pytest.mark.parametrize(
    "name, damage, message",
    [
        ("orders.csv", lambda text: text.replace("order_id", "id", 1), "columns are"),
        ("equity_curve.csv", lambda text: text.replace("1", "x", 40), "damaged"),
        ("positions.csv", lambda text: text[:-45], "cells"),
        ("positions.csv", lambda text: text.replace("S00USDT", "OTHER"), "not in another"),
        ("equity_curve.csv", lambda text: text.splitlines()[0] + "\n", "holds no bar"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_named(tmp_path, outcome, texts, name, damage, message):
    for file, text in texts.items():
        (tmp_path / file).write_text(damage(text) if file == name else text, encoding="utf-8", newline="")
    with pytest.raises(RunError, match=message):
        reread(Run(tmp_path, {"symbols": list(outcome.record.symbols), "timeframe": "4h"}, outcome.metrics))


def test_columns_added_at_the_end_are_read(tmp_path):
    path = tmp_path / "positions.csv"
    path.write_text(
        "timestamp,symbol,size,price,value,weight,note\n2024-01-01T00:00:00Z,A,1,2,2,1,\n", encoding="utf-8"
    )
    assert read_table(path)["size"].tolist() == [1.0]


def test_json_never_holds_nan():
    with pytest.raises(ValueError):
        json_text({"value": math.nan})
