"""Random bars for the tests of library factors, and every factor with the calls that the laws are tested on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from Backtest.data import indicators

SYMBOLS = ("AAAUSDT", "BTCUSDT", "CCCUSDT")
FIELDS = ("open", "high", "low", "close", "volume")


def random_bars(seed: int = 3, rows: int = 400, price: float = 100.0) -> dict[str, np.ndarray]:
    """Return gap-free OHLCV, float64 [rows, 3], from a seeded random walk."""
    rng = np.random.default_rng(seed)
    shape = (rows, len(SYMBOLS))
    close = price * np.exp(np.cumsum(rng.normal(0, 0.01, shape), axis=0))
    opened = close * np.exp(rng.normal(0, 0.004, shape))
    high = np.maximum(opened, close) * (1 + np.abs(rng.normal(0, 0.004, shape)))
    low = np.minimum(opened, close) * (1 - np.abs(rng.normal(0, 0.004, shape)))
    return {"open": opened, "high": high, "low": low, "close": close, "volume": rng.uniform(1e3, 1e5, shape)}


def with_gaps(bars: dict[str, np.ndarray], rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the bars with `rows` missing in every field of the first symbol."""
    holed = {name: values.copy() for name, values in bars.items()}
    for values in holed.values():
        values[rows, 0] = np.nan
    return holed


@dataclass(frozen=True)
class Call:
    """One library factor with fields and params; `lookback` is what it needs before t, None for recursive ones."""

    name: str
    fields: tuple[str, ...]
    params: dict[str, Any] = field(default_factory=dict)
    lookback: int | None = None

    @property
    def function(self) -> Callable[..., np.ndarray]:
        return getattr(indicators, self.name)

    def on(self, bars: dict[str, np.ndarray], **params: Any) -> np.ndarray:
        """Return the factor's values; the arrays are read-only, as Stage A gives them."""
        arrays: list[Any] = []
        for name in self.fields:
            if name == "symbols":
                arrays.append(SYMBOLS)
                continue
            arrays.append(bars[name].copy())
            arrays[-1].flags.writeable = False
        return self.function(*arrays, **{**self.params, **params})

    def __str__(self) -> str:
        return "-".join([self.name, *(str(value) for value in self.params.values())])


HLC, HLCV = ("high", "low", "close"), ("high", "low", "close", "volume")
WINDOWED = [
    Call("money_flow_index", HLCV, {"window": 14}, 14),
    Call("money_flow_index", HLCV, {"window": 1}, 1),
    Call("momentum", ("close",), {"window": 24}, 24),
    Call("volatility", ("close",), {"window": 20}, 20),
    Call("bollinger_width", ("close",), {"window": 20}, 19),
    Call("bollinger_width", ("close",), {"window": 37, "deviations": 1.5}, 36),
    Call("relative_strength", ("close", "symbols"), {"window": 24}, 24),
    Call("amihud_illiquidity", ("close", "volume"), {"window": 30}, 30),
    Call("vwap_distance", HLCV, {"window": 24}, 23),
]
RECURSIVE = [
    Call("rsi", ("close",), {"window": 14}),
    Call("atr", HLC, {"window": 14}),
    Call("macd", ("close",), {"output": "line"}),
    Call("macd", ("close",), {"output": "signal"}),
    Call("macd", ("close",), {"output": "histogram", "fast": 5, "slow": 13, "signal": 4}),
]
