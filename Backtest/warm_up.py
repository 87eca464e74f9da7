"""Compile what a run and a sweep run on, before anyone waits for it: ``python -m Backtest.warm_up``.

Numba compiles a function for the kinds of its arguments: an account on spot or on futures, with overlays or without.
`warm_up` runs each on a market of a few bars, once as a run and once as a sweep; from then on all of it is in the disk
cache.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from .data.panel import Floats, Panel
from .data.timeframe import parse_timeframe
from .engine.costs import costs_from
from .engine.futures.fees import load_fees
from .engine.futures.terms import FuturesTerms
from .engine.futures.tiers import load_tiers
from .engine.numba import run
from .portfolio import parse_overlays
from .search import sweep
from .settings import CoreSettings, resolve
from .strategies import STRATEGIES, build_strategy

ROWS, SYMBOLS = 60, ("AUSDT", "BUSDT", "CUSDT")
OVERLAYS = ("stop_loss:pct=0.01", "vol_target:annual=0.5,days=10")
FACTOR = "score"
CASH = 1e5


def warm_up() -> None:
    """Run every shipped strategy on both markets, with overlays and without, alone and as trials of a sweep."""
    panel, scores = small_market()
    strategies = [build_strategy(name, {}, {"factor": FACTOR, "rebalance": "1"}) for name in STRATEGIES]
    strategies.append(build_strategy("topk", {}, {"factor": FACTOR, "weighting": "inverse_vol", "vol_window": 10.0}))
    costs = costs_from(CoreSettings())
    for terms, overlays in product((None, futures_terms()), ((), parse_overlays(OVERLAYS))):
        for strategy in strategies:
            run(panel, scores, strategy, costs=costs, initial_cash=CASH, overlays=overlays, futures=terms)
        sweep(panel, {FACTOR: scores}, strategies, costs=costs, initial_cash=CASH, overlays=overlays, futures=terms)


def small_market() -> tuple[Panel, Floats]:
    """Return daily bars of a few symbols, and scores for them."""
    draw = np.random.default_rng(0)
    shape = (ROWS, len(SYMBOLS))
    close = 100 * np.exp(np.cumsum(0.02 * draw.standard_normal(shape), axis=0))
    fields = {"open": close, "high": 1.01 * close, "low": 0.99 * close, "close": close, "volume": np.ones(shape)}
    there = np.ones(shape, dtype=np.bool_)
    age = np.repeat(np.arange(1, ROWS + 1, dtype=np.int32)[:, None], len(SYMBOLS), axis=1)
    panel = Panel(parse_timeframe("1d"), 20_000, SYMBOLS, fields, there, there, age, there, 0)
    return panel, draw.standard_normal(shape)


def futures_terms() -> FuturesTerms:
    """Return terms of futures under the shipped tiers and fees, without funding."""
    core = CoreSettings()
    return FuturesTerms(
        margin_mode=core.margin_mode,
        leverage=dict.fromkeys(SYMBOLS, core.leverage),
        tiers=load_tiers(resolve(core.um_tiers)),
        fees=load_fees(resolve(core.um_fees)),
        funding={},
        funding_valid_ns=0,
    )


if __name__ == "__main__":
    warm_up()
