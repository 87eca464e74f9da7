"""What a run costs as bars, symbols and trials grow: CPU time per bar and symbol, and the memory of the process.

    python -m Backtest.benchmarks.engine_curve                   to 500 symbols x 500,000 bars: some minutes
    python -m Backtest.benchmarks.engine_curve --shapes 50x17520,500x20000 --trials 100,1000

Each line is a process of its own, so that its memory is its own. Top tenth of the symbols every 6 bars, fed in pieces
of 4,096 rows (`run_chunks`); making the random market is not timed, but its memory counts. The first lines compare a
run in one piece with the same run in pieces, bit for bit.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable, Sequence

import numpy as np

from Backtest.benchmarks.backtrader_feeds import CASH, COSTS, market
from Backtest.data.panel import Floats, Panel
from Backtest.data.timeframe import parse_timeframe
from Backtest.engine.numba import run, run_chunks
from Backtest.search import sweep
from Backtest.strategies import build_strategy
from Backtest.strategies.base import Strategy

PIECE = 4_096
SHAPES = "10x8760,50x17520,50x100000,50x500000,150x100000,500x20000,500x100000,500x500000"
TRIALS = "100,1000,10000"


class Made:
    """A random market that is made piece by piece, the same whichever rows are asked for."""

    def __init__(self, bars: int, symbols: int) -> None:
        self.bars, self.symbols, self.seconds = bars, symbols, 0.0
        self.names = tuple(f"S{number:03d}USDT" for number in range(symbols))
        self.timeframe = parse_timeframe("1h")

    def block(self, number: int) -> tuple[Floats, Floats, Floats]:
        """Return opens, closes and scores of PIECE rows; every block begins anew around 100."""
        draw = np.random.default_rng(number)
        shape = (PIECE, self.symbols)
        closes = 100.0 * np.exp(np.cumsum(0.003 * draw.standard_normal(shape), axis=0))
        opens = np.vstack([np.full((1, self.symbols), 100.0), closes[:-1]])
        return opens, closes, closes * (1.0 + 0.0003 * draw.standard_normal(shape))

    def load(self, begin: int, end: int) -> tuple[Panel, Floats]:
        """Return rows begin..end-1, as `run_chunks` asks for them."""
        started = time.process_time()
        blocks = [self.block(number) for number in range(begin // PIECE, (end - 1) // PIECE + 1)]
        cut = slice(begin % PIECE, begin % PIECE + end - begin)
        opens, closes, scores = (np.concatenate(values)[cut] for values in zip(*blocks, strict=True))
        fields = {"open": opens, "high": np.maximum(opens, closes), "low": np.minimum(opens, closes), "close": closes}
        there = np.ones(closes.shape, dtype=np.bool_)
        age = np.repeat(np.arange(begin + 1, end + 1, dtype=np.int32)[:, None], self.symbols, axis=1)
        panel = Panel(self.timeframe, 420_000 + begin, self.names, fields, there, there, age, there, 0)
        self.seconds += time.process_time() - started
        return panel, scores


def strategy_of(symbols: int) -> Strategy:
    """Return the strategy of a shape."""
    return build_strategy("topk", {}, {"factor": "score", "k": max(1, symbols // 10), "rebalance": "6"})


def same_in_pieces(bars: int, symbols: int) -> str:
    """Run a shape in one piece and in pieces; say whether equity and orders have the same bits."""
    made = Made(bars, symbols)
    panel, scores = made.load(0, bars)
    whole = run(panel, scores, strategy_of(symbols), costs=COSTS, initial_cash=CASH)
    pieces = list(run_chunks(made.load, strategy_of(symbols), rows=bars, chunk_rows=1_000, costs=COSTS,
                             initial_cash=CASH))  # fmt: skip
    equity = np.concatenate([piece.equity for piece in pieces])
    orders = [repr(order) for piece in pieces for order in piece.orders]
    same = equity.tobytes() == whole.equity.tobytes() and orders == [repr(order) for order in whole.orders]
    return f"{symbols} x {bars:,}, {len(orders):,} orders: pieces are the whole, bit for bit: {'yes' if same else 'NO'}"


def shape_line(bars: int, symbols: int) -> str:
    """Return a shape's line of the curve."""
    warm = Made(100, 2)
    list(run_chunks(warm.load, strategy_of(2), rows=100, chunk_rows=50, costs=COSTS, initial_cash=CASH))
    made, orders = Made(bars, symbols), 0
    started = time.process_time()
    for piece in run_chunks(made.load, strategy_of(symbols), rows=bars, chunk_rows=PIECE, costs=COSTS,
                            initial_cash=CASH):  # fmt: skip
        orders += len(piece.orders)
    seconds = time.process_time() - started - made.seconds
    cells, peak = bars * symbols, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{symbols:>5} {bars:>9,} {orders:>11,} {seconds:>9.2f} {1e9 * seconds / cells:>9.2f} {peak:>9,.0f}"


def trials_line(trials: int) -> str:
    """Return the line of a sweep with so many trials on W1."""
    panel = market(8_760, 10, k=3, every=24).panel
    scores = np.cumsum(np.random.default_rng(1).standard_normal((8_760, 10)), axis=0)
    values = {"factor": "score", "k": 3, "rebalance": "24"}
    strategies = [build_strategy("topk", {}, {**values, "invest": 0.5 + 0.4 * n / trials}) for n in range(trials)]
    sweep(panel, {"score": scores}, strategies[:16], costs=COSTS, initial_cash=CASH)
    started = time.process_time()
    sweep(panel, {"score": scores}, strategies, costs=COSTS, initial_cash=CASH)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{trials:>7,} {seconds:>9.2f} {1e6 * seconds / trials:>9.0f} {peak:>9,.0f}"


def apart(work: Callable[..., str], *numbers: int) -> None:
    """Do the work in a process of its own and print its line."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(work, numbers), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--shapes", default=SHAPES, help="symbols x bars (default %(default)s)")
    add("--trials", default=TRIALS, help="sizes of sweeps (default %(default)s)")
    asked = parser.parse_args(arguments)
    for bars, symbols in ((8_760, 10), (5_000, 100)):
        apart(same_in_pieces, bars, symbols)
    print(f"{'syms':>5} {'bars':>9} {'orders':>11} {'CPU s':>9} {'ns/cell':>9} {'peak MB':>9}")
    for shape in asked.shapes.split(","):
        symbols, _, bars = shape.partition("x")
        apart(shape_line, int(bars), int(symbols))
    print(f"{'trials':>7} {'CPU s':>9} {'us each':>9} {'peak MB':>9}")
    for trials in asked.trials.split(","):
        apart(trials_line, int(trials))


if __name__ == "__main__":
    main()
