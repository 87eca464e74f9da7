"""A market without gaps for the 101 Alphas: the same numbers on every machine and with every NumPy.

`random.Random.random` is fixed by Python's documentation, and prices are rounded, so that the last bit of a platform's
exp cannot matter. Prices stay near each other and cross often: ranks move on nearly every bar, as the correlations of
ranks in the paper need.
"""

from __future__ import annotations

import math
import random

import numpy as np

from Backtest.data.panel import Floats, Panel
from Backtest.data.timeframe import parse_timeframe

ROWS, SYMBOLS = 320, 16
"""Rows: the longest look-back of the paper is 252. KunQuant wants a multiple of 8 symbols; 16 keep its ranks exact."""
SEED = 7
LEVEL = 1.0
"""Prices near 1: dollar volume and volume, which the paper compares, are then of one size."""
SECTORS, SUBINDUSTRIES = 3, 5


def _noise(draw: random.Random, scale: float) -> float:
    """Return the sum of four uniform numbers, centred: bell-shaped, and no function of the platform."""
    return scale * (draw.random() + draw.random() + draw.random() + draw.random() - 2.0)


def _bar(draw: random.Random, level: float, last: float) -> tuple[dict[str, float], float]:
    level = 0.5 * level + _noise(draw, 0.08)
    close = LEVEL * math.exp(level)
    opened = last * (1 + _noise(draw, 0.004))
    high = max(opened, close) * (1 + 0.02 * draw.random())
    low = min(opened, close) * (1 - 0.02 * draw.random())
    volume = 1000.0 * math.exp(_noise(draw, 1.0))
    bar = {"open": opened, "high": high, "low": low, "close": close}
    price = low + (high - low) * draw.random()
    return {**{name: round(value, 7) for name, value in bar.items()}, "volume": round(volume, 3), "vwap": price}, level


def random_market(rows: int = ROWS, symbols: int = SYMBOLS, *, seed: int = SEED) -> dict[str, Floats]:
    """Return float64 [T, S] by field: open, high, low, close, volume, quote_asset_volume and group numbers."""
    draw = random.Random(seed)
    names = ("open", "high", "low", "close", "volume", "quote_asset_volume")
    fields: dict[str, Floats] = {name: np.empty((rows, symbols)) for name in names}
    for column in range(symbols):
        level, last = 0.0, LEVEL
        for row in range(rows):
            bar, level = _bar(draw, level, last)
            last = bar["close"]
            bar["quote_asset_volume"] = round(bar.pop("vwap") * bar["volume"], 4)
            for name, value in bar.items():
                fields[name][row, column] = value
    fields["sector"] = np.tile(np.arange(symbols) % SECTORS, (rows, 1)).astype(float)
    fields["subindustry"] = np.tile(np.arange(symbols) // 2 % SUBINDUSTRIES, (rows, 1)).astype(float)
    fields["supply"] = np.tile(1e6 * (1 + np.arange(symbols)), (rows, 1)).astype(float)
    return fields


def market_panel(fields: dict[str, Floats]) -> Panel:
    """Return the market as a panel in which every symbol trades on every bar."""
    rows, columns = fields["close"].shape
    every = np.ones((rows, columns), dtype=bool)
    age = np.repeat(np.arange(1, rows + 1, dtype=np.int32)[:, None], columns, axis=1)
    names = tuple(f"S{number:02d}USDT" for number in range(columns))
    return Panel(parse_timeframe("4h"), 1_003, names, fields, every, every, age, every, 0)
