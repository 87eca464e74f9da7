"""Alpha158 as users of polars and of Qlib compute it, symbol by symbol as both are built to, for `factors`.

polars: a frame of each symbol and one `select` of the 158 columns. It has no rolling line or place of the extreme:
lines come from rolling covariances with the row number, places from comparing each row of the window with the extreme.
Lists of shifted columns, a call of Python for each window, and a lazy frame (whose planning costs more than the shared
parts that it finds) were all slower. Qlib: its own expression engine and its cache of sub-expressions, fed from memory,
so that its files cost nothing. Neither takes arrays to write into. Both work on the first symbols only: a symbol costs
the same however many there are.
"""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from Backtest.data.panel import Panel

WINDOWS = (5, 10, 20, 30, 60)
EPSILON = 1e-12
POLARS_SYMBOLS, QLIB_SYMBOLS = 8, 2
FIELDS = ("open", "high", "low", "close", "volume")
Call = Callable[[], Any]


def columns_of(panel: Panel, column: int) -> dict[str, Any]:
    """Return one symbol's fields as both peers take them."""
    fields = {name: np.ascontiguousarray(panel.fields[name][:, column]) for name in FIELDS}
    vwap = panel.fields["quote_asset_volume"][:, column] / panel.fields["volume"][:, column]
    return {**fields, "vwap": vwap}


def polars_alpha158(polars: ModuleType, panel: Panel) -> tuple[Call, int]:
    """Return a call of the set in polars, and how many values it makes."""
    columns = polars_columns(polars)
    frames = [polars.DataFrame(columns_of(panel, column)) for column in range(POLARS_SYMBOLS)]
    return lambda: [frame.select(columns) for frame in frames], values_of(panel, POLARS_SYMBOLS, len(columns))


def values_of(panel: Panel, symbols: int, factors: int) -> int:
    """Return how many values a call makes."""
    return len(panel.age) * symbols * factors


def polars_columns(polars: ModuleType) -> list[Any]:
    """Return the columns, named as in the recipe."""
    o, h, l, c, v, vwap = (polars.col(name) for name in (*FIELDS, "vwap"))  # noqa: E741  (Qlib's own letters)
    top, bottom, span = polars.max_horizontal(o, c), polars.min_horizontal(o, c), h - l + EPSILON
    found = {
        "KMID": (c - o) / o, "KLEN": (h - l) / o, "KMID2": (c - o) / span, "KUP": (h - top) / o,
        "KUP2": (h - top) / span, "KLOW": (bottom - l) / o, "KLOW2": (bottom - l) / span, "KSFT": (2 * c - h - l) / o,
        "KSFT2": (2 * c - h - l) / span, "OPEN0": o / c, "HIGH0": h / c, "LOW0": l / c, "VWAP0": vwap / c,
    }  # fmt: skip
    row = polars.int_range(polars.len()).cast(polars.Float64)
    before, volume_before = c.shift(1), v.shift(1)
    log_volume, log_change = (v + 1).log(), (v / volume_before + 1).log()
    moved = (c / before - 1).abs() * v
    up, down = (c > before).cast(polars.Float64), (c < before).cast(polars.Float64)
    for d in WINDOWS:
        mean, slope = c.rolling_mean(d), polars.rolling_cov(row, c, window_size=d) / (d * (d + 1) / 12)
        high, low = h.rolling_max(d), l.rolling_min(d)
        highest, lowest = _place(polars, h, high, d), _place(polars, l, low, d)
        found |= {
            f"ROC{d}": c.shift(d) / c, f"MA{d}": mean / c, f"STD{d}": c.rolling_std(d) / c, f"BETA{d}": slope / c,
            f"RSQR{d}": polars.rolling_corr(row, c, window_size=d) ** 2,
            f"RESI{d}": (c - mean - slope * ((d - 1) / 2)) / c, f"MAX{d}": high / c, f"MIN{d}": low / c,
            f"QTLU{d}": c.rolling_quantile(0.8, interpolation="linear", window_size=d) / c,
            f"QTLD{d}": c.rolling_quantile(0.2, interpolation="linear", window_size=d) / c,
            f"RANK{d}": c.rolling_rank(d) / d, f"RSV{d}": (c - low) / (high - low + EPSILON),
            f"IMAX{d}": highest / d, f"IMIN{d}": lowest / d,
            f"IMXD{d}": (highest - lowest) / d,
            f"CORR{d}": polars.rolling_corr(c, log_volume, window_size=d),
            f"CORD{d}": polars.rolling_corr(c / before, log_change, window_size=d),
            f"CNTP{d}": up.rolling_mean(d), f"CNTN{d}": down.rolling_mean(d),
            f"CNTD{d}": up.rolling_mean(d) - down.rolling_mean(d),
            **_moves(c - before, d, ("SUMP", "SUMN", "SUMD")),
            f"VMA{d}": v.rolling_mean(d) / (v + EPSILON), f"VSTD{d}": v.rolling_std(d) / (v + EPSILON),
            f"WVMA{d}": moved.rolling_std(d) / (moved.rolling_mean(d) + EPSILON),
            **_moves(v - volume_before, d, ("VSUMP", "VSUMN", "VSUMD")),
        }  # fmt: skip
    return [column.alias(name) for name, column in found.items()]


def _place(polars: ModuleType, x: Any, extreme: Any, d: int) -> Any:
    """Return the place of an extreme in its window, oldest row 1: the first that equals it."""
    return polars.coalesce([polars.when(x.shift(d - 1 - k) == extreme).then(k + 1.0) for k in range(d)])


def _moves(change: Any, d: int, names: tuple[str, str, str]) -> dict[str, Any]:
    rise, fall = change.clip(lower_bound=0).rolling_sum(d), (-change).clip(lower_bound=0).rolling_sum(d)
    whole = change.abs().rolling_sum(d) + EPSILON
    return dict(zip((f"{name}{d}" for name in names), (rise / whole, fall / whole, (rise - fall) / whole), strict=True))


def qlib_alpha158(qlib: ModuleType, panel: Panel) -> tuple[Call, int]:
    """Return a call of Qlib's own list of the set, and how many values it makes; Qlib reads from memory from now on."""
    import pandas as pd
    from qlib.contrib.data.loader import Alpha158DL
    from qlib.data.base import Feature
    from qlib.data.cache import H
    from qlib.data.data import ExpressionD

    store = tempfile.TemporaryDirectory()
    atexit.register(store.cleanup)
    qlib.init(provider_uri=store.name, kernels=1, logging_level=50, expression_cache=None, dataset_cache=None)
    texts, _ = Alpha158DL.get_feature_config()
    frames = {str(column): columns_of(panel, column) for column in range(QLIB_SYMBOLS)}
    Feature._load_internal = lambda self, symbol, *_: pd.Series(frames[symbol][str(self)[1:]])

    def call() -> list[Any]:
        H["f"].clear()
        return [
            [ExpressionD.get_expression_instance(text).load(symbol, 0, None, "60min") for text in texts]
            for symbol in frames
        ]

    return call, values_of(panel, QLIB_SYMBOLS, len(texts))
