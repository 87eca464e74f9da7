"""Terms of futures for the tests: tiers, fees and funding without files."""

from __future__ import annotations

import numpy as np

from Backtest.data.funding import Funding
from Backtest.data.stamped import MINUTE_NS, Stamped
from Backtest.engine.futures.fees import FeeFile, FeeRow
from Backtest.engine.futures.terms import FuturesTerms
from Backtest.engine.futures.tiers import DEFAULT, TierFile, TierTable

HOUR_NS = 60 * MINUTE_NS


def table(*rows, since=0) -> TierTable:
    """A tier table of (floor, rate, cap) rows; the cums make it continuous."""
    cums, rate, cum = [], 0.0, 0.0
    for floor, own, _cap in rows:
        cum, rate = cum + floor * (own - rate), own
        cums.append(cum)
    floors, rates, caps = zip(*rows, strict=True)
    return TierTable(since, tuple(map(float, floors)), rates, tuple(map(float, caps)), tuple(cums))


PLAIN = table((0, 0.005, 125))
"""Half a percent of everything."""


def fees(*rows) -> FeeFile:
    """A fee file of (since, taker, liquidation) rows."""
    return FeeFile("fees", "0", tuple(FeeRow(since, 0.0, taker, liquidation) for since, taker, liquidation in rows))


def funding(stamps_ns, rates, marks=None) -> Funding:
    """Settlements; a mark of NaN is none."""
    stamps = np.asarray(stamps_ns, dtype=np.int64)
    series = Stamped(stamps, np.asarray(rates, dtype=float), (), (), "")
    known = np.isfinite(marks) if marks is not None else np.zeros(len(stamps), dtype=bool)
    if not known.any():
        return Funding(series, None)
    return Funding(series, Stamped(stamps[known], np.asarray(marks, dtype=float)[known], (), (), ""))


def terms(symbols, *, mode="cross", leverage=1.0, tiers=None, taker=0.0, liquidation=0.0, settled=None, **more):
    """Futures terms; `leverage` for all or per symbol, `tiers` per symbol over PLAIN, `settled`: funding per symbol."""
    own = leverage if isinstance(leverage, dict) else dict.fromkeys(symbols, float(leverage))
    tables = {DEFAULT: (PLAIN,), **(tiers or {})}
    rows = more.pop("fees", fees((0, taker, liquidation)))
    return FuturesTerms(mode, own, TierFile("tiers", "0", tables), rows, settled or {}, 8 * HOUR_NS, **more)
