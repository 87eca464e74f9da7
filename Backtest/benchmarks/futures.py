"""A futures account beside the spot account of the compiled engine on the same orders: CPU time, ratios as a table.

    python -m Backtest.benchmarks.futures [--repeats 15]

50 symbols x 17,520 bars of 1 h, the best 10 every 6 bars at half the equity, leverage 1: no order is refused and
nothing is liquidated, so both accounts fill the same orders (but for fees). The simulation alone, the median of
alternating runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from Backtest.benchmarks.backtrader_feeds import CASH, COSTS, market
from Backtest.data import joins
from Backtest.data.funding import Funding
from Backtest.data.panel import Panel
from Backtest.data.stamped import Stamped
from Backtest.engine.decisions import Decisions
from Backtest.engine.episodes import checked_episodes
from Backtest.engine.futures.fees import load_fees
from Backtest.engine.futures.terms import FuturesTerms
from Backtest.engine.futures.tiers import load_tiers
from Backtest.engine.numba.engine import run_rows
from Backtest.engine.numba.layout import LOGGED, new_log, new_state
from Backtest.engine.numba.market import market_of, terms_of
from Backtest.engine.numba.plans import plan_of
from Backtest.engine.numba.um_layout import futures_of
from Backtest.settings import CoreSettings, resolve
from Backtest.strategies import build_strategy

BARS, SYMBOLS, EVERY_STAMP = 17_520, 50, 8
FUNDED = "cross, funding every 8 h"


def terms(panel: Panel, *, mode: str, funded: bool) -> FuturesTerms:
    """Leverage 1 under the shipped tiers and fees."""
    core = CoreSettings()
    stamps = panel.timestamp.astype(np.int64)[::EVERY_STAMP]
    series = Funding(Stamped(stamps, np.full(len(stamps), 1e-4), (), (), ""), None)
    return FuturesTerms(
        margin_mode=mode,
        leverage=dict.fromkeys(panel.symbols, 1.0),
        tiers=load_tiers(resolve(core.um_tiers)),
        fees=load_fees(resolve(core.um_fees)),
        funding=dict.fromkeys(panel.symbols, series) if funded else {},
        funding_valid_ns=8 * 3_600 * 10**9,
    )


def accounts() -> dict[str, Callable[[], tuple[float, int]]]:
    """Return name -> a run of the work: (CPU seconds, entries of the log)."""
    panel = market(BARS, SYMBOLS, k=1, every=6).panel
    scores = np.cumsum(np.random.default_rng(1).standard_normal((BARS, SYMBOLS)), axis=0)
    strategy = build_strategy("topk", {}, {"factor": "x", "k": 10, "invest": 0.5, "rebalance": "6"})
    episodes = checked_episodes(panel, scores, haircut=0.0, initial_cash=CASH)
    decisions = Decisions(panel, scores, strategy, episodes=episodes, costs=COSTS)
    prices = market_of(episodes, decisions.alive, decisions.tradable, panel=panel, capped=True)
    limits, plan = terms_of(COSTS, decisions.symbols, rows=BARS), plan_of(decisions)[0]
    log, bars = new_log(100_000), joins.bars_of(panel)

    def timed(made: FuturesTerms | None) -> tuple[float, int]:
        state = new_state(SYMBOLS, len(episodes), initial_cash=CASH)
        account = None if made is None else futures_of(made, decisions.symbols, bars, prices)
        begun = time.process_time()
        run_rows(prices, limits, plan, state=state, log=log, futures=account)
        return time.process_time() - begun, int(state.counts[LOGGED])

    rows = {"cross": ("cross", False), "isolated": ("isolated", False), FUNDED: ("cross", True)}
    made = {name: terms(panel, mode=mode, funded=funded) for name, (mode, funded) in rows.items()}
    return {"spot": partial(timed, None), **{name: partial(timed, one) for name, one in made.items()}}


def main() -> None:
    """Time the accounts in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    works = accounts()
    entries = {name: run()[1] for name, run in works.items()}  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, run in works.items():
            seconds[name].append(run()[0])
    spot = statistics.median(seconds["spot"])
    print(f"{'account':26}{'ms':>8}{'of spot':>9}{'entries':>9}")
    for name, found in seconds.items():
        middle = statistics.median(found)
        print(f"{name:26}{1e3 * middle:8.2f}{middle / spot:9.2f}{entries[name]:9,d}")


if __name__ == "__main__":
    main()
