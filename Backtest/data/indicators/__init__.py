"""Library factors: functions of panel fields that a recipe names as ``Backtest.data.indicators:money_flow_index``."""

from __future__ import annotations

from .momentum import macd, momentum, rsi
from .relative import relative_strength
from .volatility import atr, bollinger_width, volatility
from .volume import amihud_illiquidity, money_flow_index, vwap_distance

__all__ = [
    "amihud_illiquidity",
    "atr",
    "bollinger_width",
    "macd",
    "momentum",
    "money_flow_index",
    "relative_strength",
    "rsi",
    "volatility",
    "vwap_distance",
]
