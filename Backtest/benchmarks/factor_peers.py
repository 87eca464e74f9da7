"""What other libraries offer of the operators that `factors` measures, called as their users would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from Backtest.data.panel import Panel

Call = Callable[[], Any]


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
    "qlib": lambda qlib, panel: {},
}
"""Module -> its calls; Qlib takes part in the published sets only."""
