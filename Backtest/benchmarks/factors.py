"""Kernels and the two expressions of the user guide beside their peers: nanoseconds per value, in one run.

    python -m Backtest.benchmarks.factors                  48 symbols x 17,520 bars, every case
    python -m Backtest.benchmarks.factors --only ts_std    cases whose name begins so

One thread, float64, warm: every array is written once before it is timed. "kernel" is one call on a block that stays
in the cache; "engine" is the same as a one-factor recipe over the whole panel, with the copies into blocks and out of
them. Peers get the whole panel in the layout that suits them: pandas and polars a column per symbol, bottleneck a row
per symbol, KunQuant its TS layout with outputs preallocated. Their windows do not follow our rules for gaps (the
market has none). Peers that are not installed are left out (requirements.txt beside this file; KunQuant needs a C++
compiler). Times are CPU time of the process, all threads together: a busy machine disturbs less, and a peer's threads
are not free. The middle of several repeats.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np

from Backtest.data.dsl.bind import Scope, bind
from Backtest.data.dsl.blocks import choose_blocks
from Backtest.data.dsl.engine import evaluate
from Backtest.data.dsl.operators import OPERATORS, Context, apply
from Backtest.data.dsl.parser import parse
from Backtest.data.dsl.plan import Plan, PlannedFactor
from Backtest.data.dsl.steps import StepTable
from Backtest.data.panel import Panel
from Backtest.data.timeframe import parse_timeframe

Call = Callable[[], Any]

MFI = "where(volume > 0, ts_sum((high+low+close)/3 * volume, 14) / ts_sum(volume, 14), 0)"
BURST = (
    "ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001) * ts_mean(abs(logret(close, 1)), 12) / "
    "(ts_mean(abs(logret(close, 1)), 96) + 0.000001) * ts_std(logret(close, 1), 12) / "
    "(ema(ts_std(logret(close, 1), 12), 24) + 0.000001)"
)
EXPRESSIONS = {"mfi14": MFI, "VOL_BURST_COMPLEX": BURST}
WINDOWS = {
    "ts_sum": (14, 96, 672), "ts_mean": (96,), "ts_std": (14, 96, 672), "ts_zscore": (96,), "ts_max": (14, 96, 672),
    "ts_argmax": (96,), "ts_corr": (14, 96), "ts_slope": (96,), "decay_linear": (96,), "ts_rank": (14, 96, 672),
    "ts_median": (14, 96, 672), "ts_quantile": (96,), "ema": (24,), "logret": (1,),
}  # fmt: skip
KERNEL_ROWS = 1024
WIDTH = 10


def market(bars: int, symbols: int) -> Panel:
    """Return a gap-free random market."""
    draw = np.random.default_rng(7)
    close = 100.0 * np.exp(np.cumsum(0.005 * draw.standard_normal((bars, symbols)), axis=0))
    fields = {
        "close": close,
        "high": close * (1 + 0.002 * draw.random((bars, symbols))),
        "low": close * (1 - 0.002 * draw.random((bars, symbols))),
        "volume": np.exp(draw.standard_normal((bars, symbols))),
    }
    there = np.ones((bars, symbols), dtype=np.bool_)
    age = np.repeat(np.arange(1, bars + 1, dtype=np.int32)[:, None], symbols, axis=1)
    names = tuple(f"S{number:03d}USDT" for number in range(symbols))
    return Panel(parse_timeframe("1h"), 420_000, names, fields, there, there, age, there, 0)


def nanoseconds(call: Call, values: int, repeats: int) -> float:
    """Return the middle CPU time per value of some calls (all threads), after one that warms everything up."""
    call()
    taken = []
    for _ in range(repeats):
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
    plan = plan_of(text)
    out = {"value": np.zeros(panel.shape)}
    blocks = choose_blocks(plan, *panel.shape)
    return lambda: evaluate(plan, panel, library={}, out=out, blocks=blocks, gap_tolerance=0.1)


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


# ---- peers ----------------------------------------------------------------------------------------------------------


def with_pandas(pandas: ModuleType, panel: Panel) -> dict[str, Callable[[int], Call]]:
    """Return the calls of pandas by operator."""
    x, y = pandas.DataFrame(panel.fields["close"]), pandas.DataFrame(panel.fields["volume"])
    return {
        "ts_sum": lambda d: lambda: x.rolling(d).sum(),
        "ts_mean": lambda d: lambda: x.rolling(d).mean(),
        "ts_std": lambda d: lambda: x.rolling(d).std(),
        "ts_zscore": lambda d: lambda: (x - x.rolling(d).mean()) / x.rolling(d).std(),
        "ts_max": lambda d: lambda: x.rolling(d).max(),
        "ts_corr": lambda d: lambda: x.rolling(d).corr(y),
        "ts_rank": lambda d: lambda: x.rolling(d).rank(),
        "ts_median": lambda d: lambda: x.rolling(d).median(),
        "ts_quantile": lambda d: lambda: x.rolling(d).quantile(0.8),
        "ema": lambda d: lambda: x.ewm(span=d, adjust=False).mean(),
        "logret": lambda d: lambda: np.log(x / x.shift(d)),
        "mfi14": lambda d: lambda: pandas_mfi(pandas, panel),
        "VOL_BURST_COMPLEX": lambda d: lambda: pandas_burst(x),
    }


def pandas_mfi(pandas: ModuleType, panel: Panel) -> Any:
    """Return mfi14 as one would write it."""
    high, low, close, volume = (
        pandas.DataFrame(panel.fields[n], copy=False) for n in ("high", "low", "close", "volume")
    )
    ratio = ((high + low + close) / 3 * volume).rolling(14).sum() / volume.rolling(14).sum()
    return ratio.where(volume > 0, 0)


def pandas_burst(close: Any) -> Any:
    """Return VOL_BURST_COMPLEX as one would write it, shared parts computed once."""
    change = np.log(close / close.shift(1))
    size, quick, slow = change.abs(), change.rolling(12).std(), change.rolling(96).std()
    ratio = quick / (slow + 1e-6) * size.rolling(12).mean() / (size.rolling(96).mean() + 1e-6)
    return ratio * quick / (quick.ewm(span=24, adjust=False).mean() + 1e-6)


def with_bottleneck(bn: ModuleType, panel: Panel) -> dict[str, Callable[[int], Call]]:
    """Return the calls of bottleneck by operator, along contiguous bars."""
    x = np.ascontiguousarray(panel.fields["close"].T)
    names = {"ts_sum": "move_sum", "ts_mean": "move_mean", "ts_max": "move_max", "ts_argmax": "move_argmax",
             "ts_rank": "move_rank", "ts_median": "move_median"}  # fmt: skip

    def along(move: Callable[..., Any]) -> Callable[[int], Call]:
        return lambda d: lambda: move(x, d)

    calls = {name: along(getattr(bn, move)) for name, move in names.items()}
    calls["ts_std"] = lambda d: lambda: bn.move_std(x, d, ddof=1)
    high, low, volume = (np.ascontiguousarray(panel.fields[name].T) for name in ("high", "low", "volume"))

    def mfi() -> Any:
        ratio = bn.move_sum((high + low + x) / 3 * volume, 14) / bn.move_sum(volume, 14)
        return np.where(volume > 0, ratio, 0)

    calls["mfi14"] = lambda d: mfi
    return calls


def with_polars(polars: ModuleType, panel: Panel) -> dict[str, Callable[[int], Call]]:
    """Return the calls of polars by operator, a column per symbol, one thread."""
    frame = polars.DataFrame({name: panel.fields["close"][:, k].copy() for k, name in enumerate(panel.symbols)})
    each = polars.all()
    return {
        "ts_sum": lambda d: lambda: frame.select(each.rolling_sum(d)),
        "ts_mean": lambda d: lambda: frame.select(each.rolling_mean(d)),
        "ts_std": lambda d: lambda: frame.select(each.rolling_std(d)),
        "ts_max": lambda d: lambda: frame.select(each.rolling_max(d)),
        "ts_median": lambda d: lambda: frame.select(each.rolling_median(d)),
        "ts_quantile": lambda d: lambda: frame.select(each.rolling_quantile(0.8, window_size=d)),
        "ema": lambda d: lambda: frame.select(each.ewm_mean(span=d, adjust=False)),
        "logret": lambda d: lambda: frame.select((each / each.shift(d)).log()),
    }


def with_kunquant(kunquant: ModuleType, panel: Panel) -> dict[str, Callable[[int], Call]]:
    """Return the calls of KunQuant for the two expressions, compiled for this machine, outputs preallocated."""
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.jit import cfake
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.ops import (
        Abs,
        AddConst,
        BackRef,
        Div,
        DivConst,
        ExpMovingAvg,
        GreaterThanConst,
        Log,
        Mul,
        Select,
        WindowedAvg,
        WindowedStddev,
        WindowedSum,
    )  # fmt: skip
    from KunQuant.ops import ConstantOp as Constant
    from KunQuant.runner import KunRunner
    from KunQuant.Stage import Function

    def mfi() -> Function:
        with (b := Builder()):
            high, low, close, volume = (Input(name) for name in ("high", "low", "close", "volume"))
            typical = DivConst(high + low + close, 3)
            ratio = Div(WindowedSum(Mul(typical, volume), 14), WindowedSum(volume, 14))
            Output(Select(GreaterThanConst(volume, 0), ratio, Constant(0)), "value")
        return Function(b.ops)

    def burst() -> Function:
        with (b := Builder()):
            close = Input("close")
            change = Log(Div(close, BackRef(close, 1)))
            size, quick = Abs(change), WindowedStddev(change, 12)
            first = Div(quick, AddConst(WindowedStddev(change, 96), 1e-6))
            second = Div(Mul(first, WindowedAvg(size, 12)), AddConst(WindowedAvg(size, 96), 1e-6))
            Output(Div(Mul(second, quick), AddConst(ExpMovingAvg(quick, 24), 1e-6)), "value")
        return Function(b.ops)

    def compiled(make: Callable[[], Any], fields: Sequence[str]) -> Call:
        config = KunCompilerConfig(dtype="double", input_layout="TS", output_layout="TS")
        library = cfake.compileit([("value", make(), config)], "value", cfake.CppCompilerConfig())
        executor, module = KunRunner.createSingleThreadExecutor(), library.getModule("value")
        inputs, out = {name: panel.fields[name] for name in fields}, {"value": np.zeros(panel.shape)}
        return lambda: (library, KunRunner.runGraph(executor, module, inputs, 0, len(panel.age), out))

    return {
        "mfi14": lambda d: compiled(mfi, ("high", "low", "close", "volume")),
        "VOL_BURST_COMPLEX": lambda d: compiled(burst, ("close",)),
    }


PEERS: dict[str, Callable[[ModuleType, Panel], dict[str, Callable[[int], Call]]]] = {
    "pandas": with_pandas,
    "bottleneck": with_bottleneck,
    "polars": with_polars,
    "KunQuant": with_kunquant,
}


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=17_520, help="bars (default %(default)s)")
    parser.add_argument("--symbols", type=int, default=48, help="symbols, a multiple of 8 (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls each (default %(default)s)")
    parser.add_argument("--only", default="", help="only the cases whose name begins so")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    asked = parser.parse_args(arguments)
    panel = market(asked.bars, asked.symbols)
    peers = {} if asked.alone else installed(panel)
    heads = ["kernel", "engine", *peers, "best peer / engine"]
    print(f"ns per value, {asked.symbols} symbols x {asked.bars:,} bars, one thread")
    print(f"{'case':<22}" + "".join(f"{head:>{max(WIDTH, len(head) + 2)}}" for head in heads))
    cases = [*((name, d) for name, windows in WINDOWS.items() for d in windows), *((name, 0) for name in EXPRESSIONS)]
    for name, d in cases:
        if not name.startswith(asked.only):
            continue
        times = row(name, d, panel, peers, asked.repeats)
        others = [value for value in times[2:] if value is not None]
        ratio = min(others) / times[1] if others and times[1] else None
        cells = "".join(
            f"{'-' if value is None else format(value, '.2f'):>{max(WIDTH, len(head) + 2)}}"
            for head, value in zip(heads, [*times, ratio], strict=True)
        )
        print(f"{f'{name} {d}' if d else name:<22}{cells}", flush=True)


if __name__ == "__main__":
    main()
