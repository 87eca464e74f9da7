"""Small panels for the engine tests: prices in, listing episodes by the panel's own rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from Backtest.data.panel import Panel
from Backtest.data.timeframe import parse_timeframe
from Backtest.engine.costs import Costs

FREE: dict[str, Any] = {
    "commission": 0.0, "slippage": 0.0, "slippage_capped": False, "lot_step": 1e-8, "min_notional": 0.0,
    "no_trade_band": 0.0, "on_rejected": "count", "delisting_haircut": 0.0,
}  # fmt: skip


def costs(**changes: Any) -> Costs:
    """Costs of nothing but what is named."""
    return Costs(**(FREE | changes))


def ages(exists, gap: int):
    """Panel.age written as the plain rule: an episode lasts until more than `gap` rows are missing."""
    age = np.zeros(exists.shape, dtype=np.int32)
    for column in range(exists.shape[1]):
        count, missing = 0, 0
        for row in range(exists.shape[0]):
            if exists[row, column]:
                count, missing = count + 1, 0
            elif count:
                missing += 1
                count = count + 1 if missing <= gap else 0
            age[row, column] = count
    return age


def panel_of(
    prices: dict[str, list[float]] | None = None,
    *,
    opens=None,
    highs=None,
    lows=None,
    closes=None,
    symbols=None,
    tradable=None,
    timeframe: str = "1h",
    first_bar: int = 473_352,  # 2024-01-01T00:00Z in hours
    gap: int = 3,
    warmup: int = 0,
) -> Panel:
    """Return a panel from close prices per symbol (NaN: no bar), or from [T, S] arrays. Opens default to the closes."""
    if prices is not None:
        symbols = tuple(prices)
        closes = np.array(list(prices.values()), dtype=float).T
    closes = np.asarray(closes, dtype=float)
    opens = closes if opens is None else np.asarray(opens, dtype=float)
    highs = np.fmax(opens, closes) if highs is None else np.asarray(highs, dtype=float)
    lows = np.fmin(opens, closes) if lows is None else np.asarray(lows, dtype=float)
    exists = np.isfinite(closes)
    traded = exists if tradable is None else exists & tradable
    fields = {"open": opens, "high": highs, "low": lows, "close": closes, "volume": np.where(traded, 1.0, 0.0)}
    return Panel(
        timeframe=parse_timeframe(timeframe),
        first_bar=first_bar,
        symbols=tuple(symbols),
        fields={name: np.ascontiguousarray(np.where(exists, values, np.nan)) for name, values in fields.items()},
        exists=exists,
        tradable=traded,
        age=ages(exists, gap),
        member=np.ones_like(exists),
        warmup=warmup,
    )


def random_walk(seed: int, rows: int, columns: int, *, volatility: float = 0.01):
    """Return (opens, highs, lows, closes), [T, S], a gap-free market with a gap between close and next open."""
    draw = np.random.default_rng(seed)
    closes = 100 * np.exp(np.cumsum(volatility * draw.standard_normal((rows, columns)), axis=0))
    before = np.vstack([closes[:1], closes[:-1]])
    opens = before * np.exp(0.1 * volatility * draw.standard_normal((rows, columns)))
    highs = np.maximum(opens, closes) * (1 + 0.2 * volatility * np.abs(draw.standard_normal((rows, columns))))
    lows = np.minimum(opens, closes) * (1 - 0.2 * volatility * np.abs(draw.standard_normal((rows, columns))))
    return opens, highs, lows, closes
