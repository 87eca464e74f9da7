"""The user's own Backtrader strategy gives the same kind of record, under the same market rules."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.engine.backtrader import load_user_class, run_user_strategy
from Backtest.errors import RunError, SettingsError
from Backtest.tests.engine.backtrader import users
from Backtest.tests.engine.market import costs, panel_of, random_walk

GONE = math.nan
MODULE = "Backtest.tests.engine.backtrader.users"


def user_run(panel, name, *, factors=None, params=None, cash=1000.0, **terms):
    return run_user_strategy(
        panel,
        factors or {},
        f"{MODULE}:{name}",
        params=params or {},
        allow_modules=(MODULE,),
        costs=costs(**terms),
        initial_cash=cash,
    )


def test_an_indicator_strategy_trades_as_replayed_by_hand():
    closes = [100.0, 100, 100, 110, 110, 110, 90, 90, 90, 95]
    panel = panel_of({"A": closes, "B": [1.0] * 10})
    record = user_run(panel, "Cross", params={"period": "3", "share": "0.4", "shout": "true"}, commission=0.01)
    # row 3: 110 > mean 103.33: buy 0.4 * 1000 / 110 at row 4's open 110. row 6: 90 < 103.33: close at row 7's open 90.
    # row 9: 95 > 91.67: an order that no bar is left for.
    size = 0.4 * 1000 / 110
    assert [(o.created_bar, o.filled_bar, o.symbol, o.side, o.reason) for o in record.orders] == [
        (3, 4, "A", "buy", "rebalance"), (6, 7, "A", "sell", "close"),
    ]  # fmt: skip
    assert [o.size for o in record.orders] == pytest.approx([size, size])
    assert record.equity[-1] == pytest.approx(1000 - size * 20 - 0.01 * size * (110 + 90))
    assert record.sizes[5].tolist() == pytest.approx([size, 0])
    assert users.SEEN["names"] == ["A", "B"]
    assert users.SEEN["params"] == {"period": 3, "share": 0.4, "shout": True, "symbol": "A"}
    assert users.SEEN["notified"] == ["Submitted", "Accepted", "Completed"] * 2


def test_indicators_computed_bar_by_bar_give_the_same_record():
    opens, highs, lows, closes = random_walk(8, 100, 3, volatility=0.03)
    closes[40:43, 0] = np.nan
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABC")
    whole, bars = (user_run(panel, name, commission=0.001, slippage=0.001) for name in ("Cross", "CrossBarByBar"))
    assert len(whole.orders) > 10
    assert whole.orders == bars.orders
    assert whole.equity.tobytes() == bars.equity.tobytes()


def test_factors_are_lines_and_late_listings_do_not_silence_the_rest():
    panel = panel_of({"A": [100.0] * 6, "B": [GONE, GONE, 50, 50, GONE, 50]})
    edge = np.array([[1, GONE], [1, GONE], [-1, 1], [-1, 1], [-1, -1], [-1, -1]], dtype=float)
    record = user_run(panel, "FollowFactor", factors={"edge": edge})
    rows = users.SEEN["rows"]
    assert len(rows) == 6  # next() ran from the first bar on
    assert rows[0][1][:2] == (1.0, 0.0)  # B before its listing: a placeholder, not a future price
    assert rows[4][1][:2] == (50.0, 0.0)  # in the gap: the last close
    assert [row[0][2] for row in rows] == [1, 1, -1, -1, -1, -1]
    assert [(o.created_bar, o.filled_bar, o.symbol, o.side) for o in record.orders] == [
        (0, 1, "A", "buy"), (2, 3, "A", "sell"), (2, 3, "B", "buy"), (4, 5, "B", "sell"),
    ]  # fmt: skip


def test_a_holding_that_dies_is_settled_and_the_relisting_is_a_second_feed():
    panel = panel_of({"A": [100.0, 100, GONE, GONE, GONE, 7, 7], "B": [1.0] * 7}, gap=2)
    record = user_run(panel, "Holder")
    assert [(o.created_bar, o.filled_bar, o.side, o.price, o.reason) for o in record.orders] == [
        (0, 1, "buy", 100.0, "rebalance"), (4, 5, "sell", 100.0, "delisting"),
    ]  # fmt: skip
    user_run(panel, "Cross")
    assert users.SEEN["names"] == ["A", "A#2", "B"]


def test_ruin_closes_the_position_and_the_strategy_is_asked_no_more():
    record = user_run(panel_of({"A": [100.0, 100, 160, 160, 100]}), "Holder", params={"size": "-20"})
    assert record.ruined
    assert [(o.filled_bar, o.side, o.reason) for o in record.orders] == [(1, "sell", "rebalance"), (3, "buy", "ruin")]
    assert record.equity.tolist() == [1000, 1000, -200, -200, -200]


def test_an_order_of_the_bar_that_ruins_is_dropped():
    record = user_run(panel_of({"A": [100.0, 100, 160, 160, 100]}), "Insists", params={"size": "-20"})
    assert [(o.filled_bar, o.side, o.reason) for o in record.orders] == [(1, "sell", "rebalance"), (3, "buy", "ruin")]


def test_orders_on_a_dead_feed_are_cancelled_also_where_nothing_is_held():
    panel = panel_of({"A": [100.0, 100, GONE, GONE, GONE, GONE], "B": [1.0] * 6}, gap=1)  # over at row 3
    for size, orders in (("0", 0), ("5", 2)):
        record = user_run(panel, "Insists", params={"size": size})
        assert len(record.orders) == orders
        assert (4, "Canceled") in users.SEEN["notified"]


def test_a_strategy_that_stops_itself_is_valued_to_the_end():
    record = user_run(panel_of({"A": [100.0, 100, 100, 110, 120]}), "Quits")
    assert record.equity.tolist() == [1000, 1000, 1000, 1050, 1100]
    assert record.sizes[:, 0].tolist() == [0, 5, 5, 5, 5]


def test_a_strategy_that_stops_before_the_first_bar_keeps_its_cash():
    record = user_run(panel_of({"A": [100.0] * 3}), "Leaves")
    assert record.equity.tolist() == record.cash.tolist() == [1000.0] * 3


def test_a_rejected_order_is_in_the_record():
    record = user_run(panel_of({"A": [100.0] * 4}), "Holder", params={"size": "11"})
    assert [(o.status, o.detail, o.size, o.price) for o in record.orders] == [("rejected", "margin", 11.0, 100.0)]
    assert record.warnings[-1] == "rejected orders: 1 margin"  # no word of on_rejected, which does not apply
    assert record.equity.tolist() == [1000] * 4


def test_limit_orders_wait_for_their_price_and_cancelled_ones_are_not_recorded():
    panel = panel_of({"A": [100.0, 100, 100, 94, 100]}, opens=[[100.0], [100], [100], [100], [100]])
    record = user_run(panel, "Limits", slippage=0.01)
    assert [(o.created_bar, o.filled_bar, o.price, o.slippage) for o in record.orders] == [(0, 3, 95.0, 0.0)]


def test_order_ids_are_in_order_of_creation_whenever_the_orders_filled():
    panel = panel_of({"A": [100.0, 100, 100, 94, 100]}, opens=[[100.0]] * 5)
    record = user_run(panel, "LimitFirst")
    orders = [(o.order_id, o.created_bar, o.filled_bar, o.size) for o in record.orders]
    assert orders == [(1, 0, 3, 1.0), (2, 1, 2, 2.0)]


def test_a_factor_that_there_is_not_is_told_with_those_there_are():
    edge = np.ones((4, 1))
    with pytest.raises(RunError) as caught:
        user_run(panel_of({"A": [100.0] * 4}), "Misspells", factors={"edge": edge, "mom": edge})
    words = str(caught.value)
    assert "the feeds have no line 'edgy'; did you mean 'edge'? factors are edge, mom, other lines close" in words
    assert words.rpartition(":")[0].endswith("users.py")
    with pytest.raises(RunError, match="stake_size"):
        user_run(panel_of({"A": [100.0] * 4}), "MisspellsItself", factors={"edge": edge})


def test_looking_ahead_is_an_error_that_names_the_user_s_line():
    with pytest.raises(RunError, match=r"Peeks' raised IndexError: line\[1\] on bar 0 .* at .*users\.py:\d+$"):
        user_run(panel_of({"A": [100.0] * 4}), "Peeks")


@pytest.mark.parametrize(
    "source, message",
    [
        ("os:system", f"module 'os' is not allowed; allowed: {MODULE} (add one with --allow-module)"),
        ("Backtest.tests.engine.backtrader.user:Cross", "did you mean 'backtest.tests.engine.backtrader.users'"),
        (f"{MODULE}:_Hidden", "is not the name of a public class"),
        (f"{MODULE}:", "is not the name of a public class"),
        (f"{MODULE}:NOT_A_STRATEGY", "is not defined there; found: Cross"),
        (f"{MODULE}:Strategy", "is imported there, not defined"),
        (f"{MODULE}:Crosss", "did you mean 'Cross'"),
    ],
)
def test_only_strategies_of_allowed_modules_are_loaded(source, message):
    with pytest.raises(RunError) as caught:
        load_user_class(source, allow_modules=(MODULE,))
    assert message.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("absent_module_here", None, "ModuleNotFoundError: No module named"),
        ("broken_module_here", "class X(:\n", "SyntaxError: "),
        ("raising_module_here", "1 / 0\n", "ZeroDivisionError: division by zero"),
        ("leaving_module_here", "raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
def test_a_module_that_does_not_import_is_one_line(tmp_path, monkeypatch, name, text, message):
    if text is not None:
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RunError, match=f"{name} cannot be imported: {message}") as caught:
        load_user_class(f"{name}:X", allow_modules=(name,))
    assert "\n" not in str(caught.value)


def test_reversals_of_any_size_are_booked_on_their_bar_and_leave_no_growing_rest():
    from Backtest.tests.engine import test_replay

    opens, highs, lows, closes = random_walk(12, 300, 1, volatility=0.02)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="A")
    record = user_run(panel, "Reverses", cash=test_replay.CASH, commission=0.001, slippage=0.001)
    assert [(o.created_bar, o.filled_bar, o.status) for o in record.orders] == [
        (t, t + 1, "filled") for t in range(len(panel.age) - 1)
    ]
    sizes = [0.3 + 2.7 * math.modf((t + 1) * 0.6180339887498949)[0] for t in range(len(panel.age) - 1)]
    assert [o.size for o in record.orders] == pytest.approx(sizes, rel=1e-12)
    assert test_replay.identity_error(record, panel) < 1e-9


def test_the_log_says_which_settings_do_not_apply():
    record = user_run(panel_of({"A": [100.0] * 3}), "Holder", min_notional=1e6, lot_step=7.0)
    assert [o.status for o in record.orders] == ["filled"]
    (line,) = record.warnings
    assert "lot_step, min_notional, no_trade_band and on_rejected do not apply" in line


def test_parameters_are_typed_and_checked():
    panel = panel_of({"A": [100.0] * 4})
    with pytest.raises(SettingsError, match="did you mean 'period'"):
        user_run(panel, "Cross", params={"periode": "3"})
    with pytest.raises(SettingsError, match="'qqq' is not a parameter; allowed: period"):
        user_run(panel, "Cross", params={"qqq": "3"})
    with pytest.raises(SettingsError, match="period is 'x'; a value like 3 is allowed"):
        user_run(panel, "Cross", params={"period": "x"})
    with pytest.raises(SettingsError, match=r"periods is '3'; a value like \(3, 5\) is allowed"):
        user_run(panel, "Counts", params={"periods": "3"})
    assert user_run(panel, "Counts", params={"name": "any text"}).orders == ()
    with pytest.raises(RunError, match="factor 'close' has the name of a feed's line"):
        user_run(panel, "Cross", factors={"close": np.ones((4, 1))})


def test_the_accounting_identity_holds_for_a_user_strategy():
    from Backtest.tests.engine import test_replay

    opens, highs, lows, closes = random_walk(3, 120, 3, volatility=0.02)
    closes[50:70, 0] = np.nan
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABC")
    edge = np.sign(np.cumsum(np.random.default_rng(4).standard_normal((120, 3)), axis=0))
    record = user_run(
        panel, "FollowFactor", factors={"edge": edge}, cash=test_replay.CASH, commission=0.002, slippage=0.01
    )
    assert len(record.orders) > 10
    assert any(order.reason == "delisting" for order in record.orders)
    assert test_replay.identity_error(record, panel) < 1e-9
