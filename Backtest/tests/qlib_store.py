"""Qlib beside us: a Qlib store written from a panel, and Qlib's own operators fed with float64.

Only tests use this. A store holds float32 bins that begin with the row of the symbol's first bar; missing is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from Backtest.data.panel import Panel

FREQUENCY = "240min"
"""Any name will do: Qlib reads its clock from the calendar file, one row a bar."""

Columns = Mapping[str, np.ndarray]


def qlib_fields(panel: Panel) -> dict[str, np.ndarray]:
    """Return what a store would hold: the panel's prices and volume, and vwap."""
    fields = {name: panel.fields[name] for name in ("open", "high", "low", "close", "volume")}
    with np.errstate(invalid="ignore", divide="ignore"):
        return {**fields, "vwap": panel.fields["quote_asset_volume"] / panel.fields["volume"]}


def write_store(folder: Path, panel: Panel) -> None:
    """Write calendar, instruments and bins of a panel of single-episode symbols."""
    stamps = pd.DatetimeIndex(panel.timestamp).strftime("%Y-%m-%d %H:%M:%S")
    for name in ("calendars", "instruments", "features"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "calendars" / f"{FREQUENCY}.txt").write_text("\n".join(stamps) + "\n", encoding="utf-8")
    lines = []
    for column, symbol in enumerate(panel.symbols):
        rows = np.flatnonzero(panel.exists[:, column])
        first, last = rows[0], rows[-1]
        lines.append(f"{symbol}\t{stamps[first]}\t{stamps[last]}")
        place = folder / "features" / symbol.lower()
        place.mkdir()
        for name, values in qlib_fields(panel).items():
            body = np.concatenate([[first], values[first : last + 1, column]]).astype("<f4")
            body.tofile(place / f"{name}.{FREQUENCY}.bin")
    (folder / "instruments" / "all.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def start_qlib(folder: Path) -> None:
    """Point Qlib at a store, in this process alone."""
    import qlib

    qlib.init(provider_uri={FREQUENCY: str(folder)}, region="us", kernels=1, logging_level=50, expression_cache=None,
              dataset_cache=None)  # fmt: skip


def stored_features(symbol: str, expressions: list[str]) -> np.ndarray:
    """Return float32 [rows of the symbol, expressions] as a user of Qlib gets them."""
    from qlib.data import D

    return np.asarray(D.features([symbol], expressions, freq=FREQUENCY).to_numpy())


@contextmanager
def double_precision(columns: Columns) -> Iterator[Any]:
    """Let Qlib's expressions read these float64 columns instead of a store; yields expression -> values."""
    from qlib.data.base import Feature
    from qlib.data.cache import H
    from qlib.data.data import ExpressionD

    own = Feature._load_internal

    def load(self: Any, *_: Any) -> pd.Series:
        return pd.Series(columns[str(self)[1:]].copy())

    def values(expression: str) -> np.ndarray:
        loaded = ExpressionD.get_expression_instance(expression).load("X", 0, None, FREQUENCY)
        return np.asarray(loaded.to_numpy(), dtype=np.float64)

    Feature._load_internal = load
    H["f"].clear()
    try:
        yield values
    finally:
        Feature._load_internal = own
        H["f"].clear()
