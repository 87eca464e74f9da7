"""Three symbols, ten bars, every order and the final equity worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from Backtest.engine.backtrader import run
from Backtest.strategies import build_strategy
from Backtest.tests.engine.engines import ENGINES
from Backtest.tests.engine.market import costs, panel_of

GONE = math.nan


@pytest.fixture(autouse=True, params=sorted(ENGINES))
def engine(request, monkeypatch):
    """Every test of this file runs on every engine."""
    monkeypatch.setitem(globals(), "run", ENGINES[request.param])


def test_three_symbols_ten_bars_by_hand():
    """topk k=1, invest 0.5, every second bar; 1 % commission, 1 % slippage, lots of 0.1, cash 10,000.

    Bars (open = close unless stated; BBB opens bar 3 at 210, CCC's last bar is row 6, a listing ends after more than
    one missing row):

        row      0    1    2    3    4    5    6    7    8    9
        AAA    100  100  100  110  110  110  110  110  110  110
        BBB    200  200  200  200  220  220  220  220  220  220
        CCC     50   50   50   50   50   50   60    -    -    -

    Scores: AAA is best at row 0, BBB at row 2, CCC at row 4 and 6, nobody at row 8.

    row 0  equity 10,000. AAA: 0.5 * 10,000 / 100 = 50.0 units.
    row 1  buy 50 AAA at 100 * 1.01 = 101: value 5,050, commission 50.50, slippage 50 * 1 = 50.
           cash 10,000 - 5,050 - 50.50 = 4,899.50; equity 4,899.50 + 50 * 100 = 9,899.50
    row 2  BBB is best. AAA: sell 50. BBB: 0.5 * 9,899.50 / 200 = 24.74875 -> 24.7 units.
           sells first: AAA, then BBB. (AAA trades at 100, BBB at 200: equity 9,899.50)
    row 3  sell 50 AAA, open 110: price 108.90, value 5,445, commission 54.45, slippage 50 * 1.1 = 55
           cash 4,899.50 + 5,445 - 54.45 = 10,290.05
           buy 24.7 BBB, open 210: price 212.10, value 5,238.87, commission 52.3887, slippage 24.7 * 2.1 = 51.87
           cash 10,290.05 - 5,238.87 - 52.3887 = 4,998.7913; equity + 24.7 * 200 = 9,938.7913
    row 4  BBB closes at 220: equity 4,998.7913 + 24.7 * 220 = 10,432.7913. CCC is best.
           BBB: sell 24.7. CCC: 0.5 * 10,432.7913 / 50 = 104.327913 -> 104.3 units.
    row 5  sell 24.7 BBB at 217.80: value 5,379.66, commission 53.7966, slippage 24.7 * 2.2 = 54.34
           cash 4,998.7913 + 5,379.66 - 53.7966 = 10,324.6547
           buy 104.3 CCC at 50.50: value 5,267.15, commission 52.6715, slippage 104.3 * 0.5 = 52.15
           cash 10,324.6547 - 5,267.15 - 52.6715 = 5,004.8332; equity + 104.3 * 50 = 10,219.8332
    row 6  CCC closes at 60: equity 5,004.8332 + 104.3 * 60 = 11,262.8332. CCC is best again:
           0.5 * 11,262.8332 / 60 = 93.856943 -> 93.8: sell 10.5 (104.3 - 93.8).
    row 7  CCC has no bar: the order is rejected, untradable. Equity unchanged (last close).
    row 8  CCC is missing for two rows, more than the one allowed: the listing is over, and that is known now.
           A settlement of 104.3 is sent. No scores: nothing else.
    row 9  settled at the last close 60 less 10 % haircut = 54, less 1 % slippage = 53.46:
           value 5,575.878, commission 55.75878, slippage 104.3 * 0.54 = 56.322
           cash 5,004.8332 + 5,575.878 - 55.75878 = 10,524.95242 = final equity
    """
    panel = panel_of(
        {
            "AAA": [100, 100, 100, 110, 110, 110, 110, 110, 110, 110],
            "BBB": [200, 200, 200, 200, 220, 220, 220, 220, 220, 220],
            "CCC": [50, 50, 50, 50, 50, 50, 60, GONE, GONE, GONE],
        },
        opens=[
            [100, 200, 50], [100, 200, 50], [100, 200, 50], [110, 210, 50], [110, 220, 50],
            [110, 220, 50], [110, 220, 60], [110, 220, GONE], [110, 220, GONE], [110, 220, GONE],
        ],
        gap=1,
    )  # fmt: skip
    scores = np.full((10, 3), GONE)
    scores[0], scores[2], scores[4], scores[6] = [3, 2, 1], [1, 3, 2], [1, 2, 3], [1, 2, 3]
    strategy = build_strategy("topk", {"factor": "x", "k": "1", "invest": "0.5", "rebalance": "2"}, {})
    terms = costs(commission=0.01, slippage=0.01, lot_step=0.1, delisting_haircut=0.1)

    record = run(panel, scores, strategy, costs=terms, initial_cash=10_000.0)

    expected = [
        # id created filled symbol side size price value commission slippage reason status detail
        (1, 0, 1, "AAA", "buy", 50.0, 101.0, 5050.0, 50.50, 50.0, "rebalance", "filled", ""),
        (2, 2, 3, "AAA", "sell", 50.0, 108.9, 5445.0, 54.45, 55.0, "close", "filled", ""),
        (3, 2, 3, "BBB", "buy", 24.7, 212.1, 5238.87, 52.3887, 51.87, "rebalance", "filled", ""),
        (4, 4, 5, "BBB", "sell", 24.7, 217.8, 5379.66, 53.7966, 54.34, "close", "filled", ""),
        (5, 4, 5, "CCC", "buy", 104.3, 50.5, 5267.15, 52.6715, 52.15, "rebalance", "filled", ""),
        (6, 6, 7, "CCC", "sell", 10.5, GONE, GONE, 0.0, 0.0, "rebalance", "rejected", "untradable"),
        (7, 8, 9, "CCC", "sell", 104.3, 53.46, 5575.878, 55.75878, 56.322, "delisting", "filled", ""),
    ]
    for order, row in zip(record.orders, expected, strict=True):
        found = (
            order.order_id, order.created_bar, order.filled_bar, order.symbol, order.side, order.size, order.price,
            order.value, order.commission, order.slippage, order.reason, order.status, order.detail,
        )  # fmt: skip
        for value, wanted in zip(found, row, strict=True):
            assert value == (wanted if isinstance(wanted, str) else pytest.approx(wanted, rel=1e-12, nan_ok=True)), (
                order
            )
    equity = [
        10_000, 9_899.50, 9_899.50, 9_938.7913, 10_432.7913,
        10_219.8332, 11_262.8332, 11_262.8332, 11_262.8332, 10_524.95242,
    ]  # fmt: skip
    np.testing.assert_allclose(record.equity, equity, rtol=1e-12)
    np.testing.assert_allclose(record.cash[[1, 3, 5, 9]], [4_899.50, 4_998.7913, 5_004.8332, 10_524.95242], rtol=1e-12)
    np.testing.assert_allclose(record.sizes[4], [0, 24.7, 0])
    assert record.marks[4, 1] == 220
    assert np.isnan(record.marks[4, 0])
    assert record.sizes[9].tolist() == [0, 0, 0]
    assert not record.ruined
    assert record.timestamp[0] == np.datetime64("2024-01-01T00:00")
