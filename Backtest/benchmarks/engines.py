"""The compiled engine beside vectorbt, bt and Backtrader on the same orders: CPU time, one process, ratios as a table.

    python -m Backtest.benchmarks.engines                 W1 to W5, the slow peers on W1 only
    python -m Backtest.benchmarks.engines --full          every peer on every work: an hour
    python -m Backtest.benchmarks.engines --works W2 --peers vectorbt-rust --repeats 9

| work | what |
| W1 | 10 symbols x 8,760 bars, the best 3 every 24 bars: the whole call, arrays in, tables out |
| W2 | 50 x 17,520, the best 10 every 6: the simulation |
| W3 | 300 x 17,520, the best 30 every 6: the simulation, and the memory it takes |
| W4 | a trial of a sweep on W1, all measures of metrics.json included |
| W5 | one symbol, 500,000 bars, long, short or flat by a signal: the simulation |

Ranking is made beforehand for all. Ours and vectorbt give orders and the equity curve. Each number is the median of
alternating runs; peers are optional (requirements-engines.txt), what is not installed is left out.
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Backtest.benchmarks.backtrader_feeds import CASH, COSTS, market
from Backtest.benchmarks.engine_peers import PEERS, Fills, Job, installed
from Backtest.comparison import equal_weight
from Backtest.data.panel import Floats, Panel
from Backtest.engine.decisions import Decisions
from Backtest.engine.episodes import checked_episodes
from Backtest.engine.numba import run
from Backtest.engine.numba.engine import run_rows
from Backtest.engine.numba.layout import LEGS, LOGGED, new_log, new_state
from Backtest.engine.numba.market import market_of, terms_of
from Backtest.engine.numba.plans import plan_of
from Backtest.search import sweep
from Backtest.strategies import build_strategy
from Backtest.strategies.base import Strategy

SLOW = ("bt", "backtrader")
TRIALS = 1_000
"""Trials of W4, one of which is the number shown."""


@dataclass(frozen=True)
class Setup:
    """A work: its size and strategy."""

    bars: int
    symbols: int
    strategy: Strategy
    every: int
    target: str


def topk(k: int, every: int, invest: float = 0.98) -> Strategy:
    """Return the strategy of W1 to W4."""
    values = {"factor": "score", "k": k, "rebalance": str(every), "invest": invest}
    return build_strategy("topk", {}, values)


WORKS = {
    "W1": Setup(8_760, 10, topk(3, 24), 24, "vectorbt-rust 10"),
    "W2": Setup(17_520, 50, topk(10, 6), 6, "vectorbt-rust 80"),
    "W3": Setup(17_520, 300, topk(30, 6), 6, "25 ms, 600 MB"),
    "W4": Setup(8_760, 10, topk(3, 24), 24, "vectorbt-rust 90, 3,000 trials/s"),
    "W5": Setup(
        500_000,
        1,
        build_strategy("signal", {}, {"factor": "score", "upper": 1.0, "lower": -1.0, "invest": 0.5}),
        1,
        "",
    ),
}


class Bench:
    """One work, prepared: ours, and the job that the peers do."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.panel = market(setup.bars, setup.symbols, k=1, every=setup.every).panel
        draw = np.random.default_rng(1)
        self.scores = np.cumsum(draw.standard_normal((setup.bars, setup.symbols)), axis=0)
        if setup.symbols == 1:
            self.scores = draw.standard_normal((setup.bars, 1))
        episodes = checked_episodes(self.panel, self.scores, haircut=0.0, initial_cash=CASH)
        decisions = Decisions(self.panel, self.scores, setup.strategy, episodes=episodes, costs=COSTS)
        self.episodes = len(episodes)
        self.market = market_of(episodes, decisions.alive, decisions.tradable, panel=self.panel, capped=False)
        self.terms = terms_of(COSTS, decisions.symbols, rows=setup.bars)
        self.plan, _ = plan_of(decisions)
        self.log = new_log(1 << 17)
        self.simulate()
        self.megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.fills = self.found()

    def simulate(self) -> float:
        """Return the CPU seconds of a simulation."""
        state = new_state(self.setup.symbols, self.episodes, initial_cash=CASH)
        begin = time.process_time()
        result = run_rows(self.market, self.terms, self.plan, state=state, log=self.log)
        seconds = time.process_time() - begin
        self.log, self.logged = result.log, int(state.counts[LOGGED])
        return seconds

    def whole_call(self) -> float:
        """Return the CPU seconds from arrays to tables of orders, positions and equity."""
        begin = time.process_time()
        record = run(self.panel, self.scores, self.setup.strategy, costs=COSTS, initial_cash=CASH)
        tables(record.orders.columns, record.sizes, record.equity, self.panel)  # type: ignore[attr-defined]
        return time.process_time() - begin

    def trial(self) -> float:
        """Return the CPU seconds of one trial of a sweep with all measures, what all share included."""
        strategies = [topk(3, 24, 0.5 + 0.0004 * number) for number in range(TRIALS)]
        even = equal_weight(self.panel, CASH)
        curve = CASH * self.panel.fields["close"][:, 0] / self.panel.fields["close"][0, 0]
        begin = time.process_time()
        sweep(self.panel, {"score": self.scores}, strategies, costs=COSTS, initial_cash=CASH, benchmark=curve,
              equal_weight=even)  # fmt: skip
        return (time.process_time() - begin) / TRIALS

    def found(self) -> Fills:
        """Return what ours filled."""
        log, n = self.log, self.logged
        places = zip(log.filled[:n].tolist(), log.column[:n].tolist(), strict=True)
        return dict(zip(places, zip(log.size[:n].tolist(), log.price[:n].tolist(), strict=True), strict=True))

    def job(self) -> Job:
        """Return what the peers do."""
        sizes = np.full(self.panel.shape, np.nan)
        for (row, column), (size, _) in self.fills.items():
            sizes[row, column] = size
        return Job(self.panel, sizes, self.weights(), self.setup.every, self.setup is WORKS["W1"])

    def weights(self) -> Floats | None:
        """Return the target weights [T, S] of the plan."""
        if self.plan.mode != LEGS:
            return None
        weights = np.zeros(self.panel.shape)
        for row in np.flatnonzero(self.plan.place >= 0).tolist():
            begin, end, _ = self.plan.starts[self.plan.place[row]]
            weights[row, self.plan.columns[begin:end]] = self.plan.poured[begin:end]
        return weights


def tables(orders: dict[str, NDArray[Any]], sizes: Floats, equity: Floats, panel: Panel) -> None:
    """Make frames of orders, positions and equity, as a user would."""
    import pandas as pd

    index = pd.DatetimeIndex(panel.timestamp)
    pd.DataFrame({**orders, "filled_at": panel.timestamp[orders["filled_bar"]]})
    pd.DataFrame(sizes, index=index, columns=list(panel.symbols), copy=False)
    pd.Series(equity, index=index)


def same(mine: Fills, theirs: Fills) -> bool:
    """Say whether two runs filled the same sizes at the same prices, to 1e-9."""
    if mine.keys() != theirs.keys():
        return False
    keys = list(mine)
    return np.allclose([mine[key] for key in keys], [theirs[key] for key in keys], rtol=1e-9, atol=1e-9)


def measured(name: str, bench: Bench, peers: Sequence[str], repeats: int) -> tuple[dict[str, list[float]], list[str]]:
    """Return CPU seconds of ours and of each peer, in turn, and the peers whose orders differ."""
    kinds = {"W1": bench.whole_call, "W4": bench.trial}
    ours: Callable[[], float] = kinds.get(name, bench.simulate)
    ours()
    job, seconds, differing = bench.job(), {"ours": list[float]()}, list[str]()
    for peer in peers:
        if not peer_fits(peer, job):
            continue
        seconds[peer] = []
        if peer not in SLOW:
            PEERS[peer][1](job)  # compiles
    for turn in range(repeats):
        for peer, taken in seconds.items():
            if peer in SLOW and turn:
                continue
            gc.collect()
            if peer == "ours":
                taken.append(ours())
                continue
            took, fills = PEERS[peer][1](job)
            taken.append(took)
            if not same(bench.fills, fills) and peer not in differing:
                differing.append(peer)
    return seconds, differing


def peer_fits(peer: str, job: Job) -> bool:
    """Say whether a peer can do the job: Backtrader makes its orders from weights."""
    return job.weights is not None or peer != "backtrader"


def shown(name: str, bench: Bench, seconds: dict[str, list[float]], differing: Sequence[str]) -> str:
    """Return a work's lines of the table."""
    ours = statistics.median(seconds["ours"])
    setup = bench.setup
    lines = [
        f"{name}  {setup.symbols} x {setup.bars:,}, {len(bench.fills):,} fills; ours {1e3 * ours:.3f} ms"
        f"{f' ({1 / ours:,.0f} trials/s)' if name == 'W4' else ''}"
        f"; process so far {bench.megabytes:,.0f} MB{f'; target: {setup.target}' if setup.target else ''}"
    ]
    for peer, taken in seconds.items():
        if peer != "ours":
            middle = statistics.median(taken)
            orders = "OTHER ORDERS" if peer in differing else "same orders"
            lines.append(f"    {peer:<14} {1e3 * middle:>12.2f} ms {middle / ours:>10.1f} times   {orders}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--works", default=",".join(WORKS), help="which (default %(default)s)")
    add("--peers", default=",".join(PEERS), help="which (default %(default)s)")
    add("--repeats", type=int, default=5, help="alternating runs; slow peers run once (default %(default)s)")
    add("--full", action="store_true", help="the slow peers on every work, not on W1 only")
    asked = parser.parse_args(arguments)
    named = [peer for peer in asked.peers.split(",") if peer]
    if not set(named) <= set(PEERS):
        parser.error(f"--peers {asked.peers}; allowed: {', '.join(PEERS)}, or an empty text for none")
    chosen = [peer for peer in named if installed(peer)]
    for peer in named:
        if peer not in chosen:
            print(f"{peer} is not installed: left out")
    for name in asked.works.split(","):
        bench = Bench(WORKS[name])
        peers = [peer for peer in chosen if asked.full or peer not in SLOW or name == "W1"]
        seconds, differing = measured(name, bench, peers, asked.repeats)
        print(shown(name, bench, seconds, differing), flush=True)


if __name__ == "__main__":
    main()
