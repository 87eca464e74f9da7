"""The shipped recipe on real klines with the shipped symbols table, against the independent version.

Prices from 1e-3 to 1e5 side by side, real ties and real volumes; symbols without a gap in the window, since the
independent version knows none. A symbol that the table does not know has no sector: both leave it missing.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from Backtest.data.clock import build_panel, parse_time
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.fields import klines_of, open_fields
from Backtest.data.panel import Panel
from Backtest.data.root import open_root
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import parse_duration, parse_timeframe
from Backtest.data.universe import resolve_symbols
from Backtest.settings import CoreSettings

from ..kline_files import REAL_DATA
from .comparison import FORMULAS, TIES, Bools, unexplained
from .paper_words import Floats, Market, ties_seen
from .runs import shipped
from .test_paper import WARMUP

pytestmark = pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real data at {REAL_DATA} (FACTOR_REAL_DATA)")

CORE = CoreSettings()
END, ROWS = "2026-01-01", 300
CHOSEN = slice(2, None, 3)
"""Of the symbols without a gap in these rows: every third, BTC among them."""
TOLERANCE = 1e-9
"""Of the symbol's largest |value|: factors in price units are 1e8 times larger for one coin than for another."""


def loaded() -> Panel:
    """Return the last rows of symbols that have every bar in them, and were listed long before."""
    root = open_root(REAL_DATA / "um_futures", parse_timeframe("4h"), CORE)
    plan = compile_recipe(shipped(), allow_modules=(), max_window=CORE.max_window, fields=open_fields(CORE))
    columns = klines_of(plan.fields)
    bars = [
        load_symbol(root, one, settings=CORE, cache_root=None, fields=columns) for one in resolve_symbols(root, None)
    ]
    whole = build_panel(
        bars, timeframe=parse_timeframe("4h"), start_ns=None, end_ns=parse_time(END), lookback=0, fields=columns,
        members=[one.symbol for one in bars], episode_gap_ns=parse_duration(CORE.episode_gap),
    )  # fmt: skip
    rows = whole.shape[0]
    last = whole.rows(rows - ROWS, rows)
    steady = last.tradable.all(axis=0) & (last.age[0] > WARMUP)
    symbols = tuple(symbol for symbol, good in zip(whole.symbols, steady, strict=True) if good)[CHOSEN]
    return open_fields(CORE).filled(last.columns(symbols), plan.fields)


@cache
def panel() -> Panel:
    return loaded()


@cache
def ours() -> dict[str, Floats]:
    plan = compile_recipe(shipped(), allow_modules=(), max_window=CORE.max_window, fields=open_fields(CORE))
    return dict(compute(plan, panel(), gap_tolerance=CORE.gap_tolerance).values)


@cache
def market() -> Market:
    fields = dict(panel().fields)
    return Market({**fields, "subindustry": fields["sector"]})


def differing(x: Floats, y: Floats) -> Bools:
    scale = np.maximum(np.max(np.abs(np.nan_to_num(y)), axis=0), 1e-300)
    return np.asarray(~((np.isnan(x) & np.isnan(y)) | (np.abs(x - y) <= TOLERANCE * scale)))


def test_the_market_is_wide() -> None:
    assert panel().shape[1] >= 10
    close = panel().fields["close"][-1]
    assert close.max() / close.min() > 1e5


@pytest.mark.parametrize("name", sorted(FORMULAS))
def test_equals_the_paper(name: str) -> None:
    mine, paper = ours()[name][WARMUP:], FORMULAS[name](market())[WARMUP:]
    differs = differing(mine, paper)
    if not differs.any():
        return
    with ties_seen():
        differs &= differing(mine, FORMULAS[name](market())[WARMUP:])
    assert differs.mean() <= TIES.get(name, 0.0)
    assert not unexplained(differs, FORMULAS[name], market()).any()
