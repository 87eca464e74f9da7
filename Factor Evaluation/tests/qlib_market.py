"""A small market for the tests of the Qlib store, all numbers by hand or from a seed: late, relisted, and holed."""

from __future__ import annotations

import numpy as np
from factor_evaluation.labels import make_labels
from factor_evaluation.store import FactorColumns, Inputs

from Backtest.data.panel import Panel
from Backtest.data.timeframe import parse_timeframe

ROWS = 60
SYMBOLS = ("ADAUSDT", "BTCUSDT", "XRPUSDT")


def market(label: str = "4h", *, first_bar: int = 110_000) -> Inputs:
    """Return 60 bars: ADA from row 5 on without row 9, BTC always, XRP twice: rows 0 to 19, and 40 to 54."""
    rng = np.random.default_rng(5)
    close = np.exp(rng.normal(size=(ROWS, 3)).cumsum(axis=0) * 0.02) * [0.37, 41_234.567, 0.0000123]
    exists = np.ones((ROWS, 3), dtype=np.bool_)
    exists[:5, 0] = exists[9, 0] = exists[20:40, 2] = exists[55:, 2] = False
    age = np.zeros((ROWS, 3), dtype=np.int32)
    age[5:, 0] = np.arange(1, 56)
    age[:, 1] = np.arange(1_000_001, 1_000_001 + ROWS)  # listed long before the window
    age[:38, 2] = np.arange(301, 339)  # the gap is proven after 18 bars
    age[40:, 2] = np.arange(1, 21)
    fields = {"open": close * 0.999, "close": close, "volume": rng.uniform(1, 9e9, size=close.shape)}
    fields = {name: np.where(exists, values, np.nan) for name, values in fields.items()}
    tradable = exists.copy()
    tradable[11, 1] = False
    panel = Panel(parse_timeframe(label), first_bar, SYMBOLS, fields, exists, tradable, age, np.ones_like(exists), 0)
    return Inputs(panel, make_labels(panel, (1, 4)))


def momentum(inputs: Inputs, name: str = "MOM3") -> FactorColumns:
    """Return close / close three bars before - 1, float64."""
    panel = inputs.panel
    close = panel.fields["close"]
    values = np.full(close.shape, np.nan)
    values[3:] = close[3:] / close[:-3] - 1
    return FactorColumns(name, panel.timeframe, panel.symbols, panel.first_bar, values)
