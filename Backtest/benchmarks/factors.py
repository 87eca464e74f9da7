"""Kernels and the two expressions of the user guide beside their peers: nanoseconds per value, in one run.

    python -m Backtest.benchmarks.factors                  48 symbols x 17,520 bars, every case
    python -m Backtest.benchmarks.factors --only ts_std    cases whose name begins so
    python -m Backtest.benchmarks.factors --only Alpha     the published sets

One thread, float64, warm: every array is written once before it is timed. "kernel" is one call on a block that stays
in the cache; "engine" is the same as a one-factor recipe over the whole panel, with the copies into blocks and out of
them. Peers get the whole panel in the layout that suits them: pandas and polars a column per symbol, bottleneck a row
per symbol, KunQuant its TS layout with outputs preallocated; the published sets as in `alpha158_peers`. Their windows
do not follow our rules for gaps (the market has none). Peers that are not installed are left out (requirements.txt
beside this file; KunQuant needs a C++ compiler). Times are CPU time of the process, all threads together: a busy
machine disturbs less, and a peer's threads are not free. The middle of several repeats. The allocator keeps freed
memory (`keep_memory`), for peers as for us (polars has its own): fresh pages cost more than most operators. The last
table sets what has a floor beside it; "two threads" is wall time, and beside it stands what the machine gives two
threads that share nothing, in turns with ours: cores of a shared host may give less than two.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any, NamedTuple

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np

from Backtest.benchmarks.factor_peers import PEERS, Call
from Backtest.benchmarks.factor_sets import SETS, ours, peer_set, plan_of_set
from Backtest.data.dsl.bind import bind
from Backtest.data.dsl.operators import OPERATORS, Context, apply
from Backtest.data.dsl.parser import parse
from Backtest.data.dsl.plan import Plan, PlannedFactor
from Backtest.data.dsl.scope import Scope
from Backtest.data.dsl.steps import StepTable
from Backtest.data.panel import Panel
from Backtest.data.timeframe import parse_timeframe

MFI = "where(volume > 0, ts_sum((high+low+close)/3 * volume, 14) / ts_sum(volume, 14), 0)"
BURST = (
    "ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001) * ts_mean(abs(logret(close, 1)), 12) / "
    "(ts_mean(abs(logret(close, 1)), 96) + 0.000001) * ts_std(logret(close, 1), 12) / "
    "(ema(ts_std(logret(close, 1), 12), 24) + 0.000001)"
)
EXPRESSIONS = {"mfi14": MFI, "VOL_BURST_COMPLEX": BURST}
GOALS = {"mfi14": (4.0, 1.5), "VOL_BURST_COMPLEX": (15.0, 6.0)}
"""Floor and target, ns per value."""
THREADS_FLOOR, THREADS_TARGET = 1.6, 1.9
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT = 1 << 30
WINDOWS = {
    "ts_sum": (14, 96, 672), "ts_mean": (96,), "ts_std": (14, 96, 672), "ts_zscore": (96,), "ts_max": (14, 96, 672),
    "ts_argmax": (96,), "ts_corr": (14, 96), "ts_slope": (96,), "decay_linear": (96,), "ts_rank": (14, 96, 672),
    "ts_median": (14, 96, 672), "ts_quantile": (96,), "ema": (24,), "logret": (1,),
}  # fmt: skip
KERNEL_ROWS = 1024
LEAST_SECONDS = 0.25
WIDTH = 10


class Threads(NamedTuple):
    """How much faster two threads are than one: the engine's, and what the machine gives two that share nothing."""

    engine: float
    machine: float


def market(bars: int, symbols: int) -> Panel:
    """Return a gap-free random market."""
    draw = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(0.005 * draw.standard_normal((bars, symbols)), axis=0))
    volume = np.exp(draw.standard_normal((bars, symbols)))
    fields = {
        "open": close * (1 + 0.001 * draw.standard_normal((bars, symbols))),
        "close": close,
        "high": close * (1 + 0.002 * draw.random((bars, symbols))),
        "low": close * (1 - 0.002 * draw.random((bars, symbols))),
        "volume": volume,
        "quote_asset_volume": volume * close,
    }
    there = np.ones((bars, symbols), dtype=np.bool_)
    age = np.repeat(np.arange(1, bars + 1, dtype=np.int32)[:, None], symbols, axis=1)
    names = tuple(f"S{number:03d}USDT" for number in range(symbols))
    return Panel(parse_timeframe("1h"), 420_000, names, fields, there, there, age, there, 0)


def keep_memory() -> None:
    """Tell glibc to keep freed memory instead of giving it back; other allocators are left alone."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT)


def nanoseconds(call: Call, values: int, repeats: int) -> float:
    """Return the middle CPU time per value of some calls (all threads), after one that warms everything up.

    Short ones are repeated for `LEAST_SECONDS`: the first few of them still find caches and the heap as others left
    them.
    """
    call()
    taken: list[float] = []
    while len(taken) < repeats or sum(taken) < LEAST_SECONDS:
        begin = time.process_time()
        call()
        taken.append(time.process_time() - begin)
    return statistics.median(taken) / values * 1e9


# ---- ours -----------------------------------------------------------------------------------------------------------


def plan_of(text: str) -> Plan:
    """Return the plan of one expression over the market's fields."""
    table = StepTable()
    fields = frozenset(("close", "high", "low", "volume"))
    scope = Scope(fields, {}, "value", frozenset(("value",)), {}, 100_000, None)
    step = int(bind(parse(text, where="benchmark"), text, scope=scope, table=table, where="benchmark").value)
    factor = PlannedFactor("value", step, "series", None, tuple(sorted(table.fields[step])), ())
    return Plan(tuple(table.steps), (factor,))


def engine(text: str, panel: Panel) -> Call:
    """Return a call that computes an expression into an array that is there."""
    return ours(plan_of(text), panel)


def expression(name: str, d: int) -> str:
    """Return the call of an operator with window d."""
    return {
        "ts_corr": f"ts_corr(close, volume, {d})",
        "ts_quantile": f"ts_quantile(close, {d}, 0.8)",
    }.get(name, f"{name}(close, {d})")


def kernel(name: str, d: int, panel: Panel) -> tuple[Call, int]:
    """Return one call of a kernel on a block in the cache, and the number of its values."""
    operator = OPERATORS[name]
    # the middle of the market: every window is full
    rows = slice(len(panel.age) // 2, len(panel.age) // 2 + max(KERNEL_ROWS, 4 * d))
    operands = [panel.fields[field][rows].copy() for field in ("close", "volume")][: len(operator.array_arguments)]
    context = Context(age=panel.age[rows].copy(), first_bar=panel.first_bar + rows.start)
    literals = {"span" if name == "ema" else "d": d, **({"q": 0.8} if name == "ts_quantile" else {})}
    out = np.zeros_like(operands[0])
    return lambda: apply(operator, operands, literals, context, out=out), out.size


# ---- the table -------------------------------------------------------------------------------------------------------


def installed(panel: Panel) -> dict[str, dict[str, Callable[[int], Call]]]:
    """Return the calls of every peer that can be imported."""
    found = {}
    for name, calls in PEERS.items():
        try:
            module = import_module(name)
        except ImportError:
            continue
        found[name] = calls(module, panel)
    return found


def row(name: str, d: int, panel: Panel, peers: Mapping[str, Any], repeats: int) -> list[float | None]:
    """Return the times of kernel, engine and peers; None where there is none."""
    times: list[float | None] = []
    if name in EXPRESSIONS:
        times.append(None)
        text = EXPRESSIONS[name]
    else:
        call, values = kernel(name, d, panel)
        times.append(nanoseconds(call, values, 10 * repeats))
        text = expression(name, d)
    size = panel.shape[0] * panel.shape[1]
    times.append(nanoseconds(engine(text, panel), size, repeats))
    for calls in peers.values():
        times.append(nanoseconds(calls[name](d), size, repeats) if name in calls else None)
    return times


def set_row(name: str, bars: int, peers: Mapping[str, Any], repeats: int) -> tuple[list[float | None], Threads]:
    """Return the times of a published set per row and factor, and how much faster two threads are."""
    plan, panel = plan_of_set(name, market(bars, SETS[name].symbols))
    size = panel.shape[0] * panel.shape[1]
    times: list[float | None] = [None, nanoseconds(ours(plan, panel), size * len(plan.factors), repeats)]
    for peer in peers:
        made = peer_set(peer, import_module(peer), name, panel)
        times.append(None if made is None else nanoseconds(*made, repeats))
    return times, two_threads(plan, panel, 3 * repeats)


def two_threads(plan: Plan, panel: Panel, repeats: int) -> Threads:
    """Time a plan on one thread and on two, and a kernel on a block in the cache twice, one by one and side by side."""
    jobs = [kernel("ts_rank", 96, panel)[0] for _ in range(2)]

    def work(job: Call) -> None:
        for _ in range(20):
            job()

    def alone() -> None:
        for job in jobs:
            work(job)

    def beside() -> None:
        for _ in pool.map(work, jobs):
            pass

    with ThreadPoolExecutor(2) as pool:
        one, two, first, second = least_wall((ours(plan, panel), ours(plan, panel, threads=2), alone, beside), repeats)
    return Threads(one / two, first / second)


def least_wall(calls: Sequence[Call], repeats: int) -> list[float]:
    """Return the least wall time of each call, made in turns after one each to warm everything up."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats + 1):
        for call, seconds in zip(calls, taken, strict=True):
            begin = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begin)
    return [min(seconds[1:]) for seconds in taken]


def line(title: str, times: Sequence[float | None], heads: Sequence[str]) -> str:
    """Return a row of the table."""
    others = [value for value in times[2:] if value is not None]
    ratio = min(others) / times[1] if others and times[1] else None
    cells = (
        f"{'-' if value is None else format(value, '.2f'):>{max(WIDTH, len(head) + 2)}}"
        for head, value in zip(heads, [*times, ratio], strict=True)
    )
    return f"{title:<22}" + "".join(cells)


def summary(found: Mapping[str, Sequence[float | None]], threads: Mapping[str, Threads]) -> None:
    """Print what has a floor and a target."""
    goals = {**GOALS, **{name: (one.floor, one.target) for name, one in SETS.items()}}
    print(f"\n{'goal':<28}{'ours':>9}{'floor':>9}{'target':>9}{'best peer':>11}")
    for name, times in found.items():
        if name in goals and times[1] is not None:
            peers = [value for value in times[2:] if value is not None]
            best = f"{min(peers):.2f}" if peers else "-"
            print(f"{name:<28}{times[1]:>9.2f}{goals[name][0]:>9.2f}{goals[name][1]:>9.2f}{best:>11}")
    for name, (ratio, machine) in threads.items():
        goal = f"{THREADS_FLOOR:>8.2f}x{THREADS_TARGET:>8.2f}x"
        print(f"{name + ', two threads':<28}{ratio:>8.2f}x{goal}{'machine':>11}{machine:>6.2f}x")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=17_520, help="bars (default %(default)s)")
    parser.add_argument("--symbols", type=int, default=48, help="symbols, a multiple of 8 (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls each (default %(default)s)")
    parser.add_argument("--only", default="", help="only the cases whose name begins so")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    asked = parser.parse_args(arguments)
    keep_memory()
    panel = market(asked.bars, asked.symbols)
    peers = {} if asked.alone else installed(panel)
    heads = ["kernel", "engine", *peers, "best peer / engine"]
    print(f"ns per value, {asked.symbols} symbols x {asked.bars:,} bars, one thread; sets: per row and factor")
    print(f"{'case':<22}" + "".join(f"{head:>{max(WIDTH, len(head) + 2)}}" for head in heads))
    cases = [*((name, d) for name, windows in WINDOWS.items() for d in windows), *((name, 0) for name in EXPRESSIONS)]
    found: dict[str, Sequence[float | None]] = {}
    threads: dict[str, Threads] = {}
    for name, d in cases:
        if name.startswith(asked.only):
            times = row(name, d, panel, peers, asked.repeats)
            found[f"{name} {d}" if d else name] = times
            print(line(f"{name} {d}" if d else name, times, heads), flush=True)
    for name in SETS:
        if name.startswith(asked.only):
            found[name], threads[name] = set_row(name, asked.bars, peers, asked.repeats)
            print(line(name, found[name], heads), flush=True)
    summary(found, threads)


if __name__ == "__main__":
    main()
