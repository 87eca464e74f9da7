"""Writes `kunquant.npz`: the last bars of KunQuant's predefined 82 of the 101 Alphas on `market.random_market`.

The file holds names [F] and values float64 [F, rows, symbols].
Run by hand where KunQuant 0.1.12 and a C++ compiler are installed (it compiles for about half a minute):

    python -m Backtest.tests.data.alpha101.make_kunquant_values
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Backtest.data.panel import Floats
from Backtest.tests.data.alpha101.market import random_market

KEPT_ROWS = 24
PATH = Path(__file__).with_name("kunquant.npz")
INPUTS = ("open", "high", "low", "close", "volume", "vwap")


def computed(fields: dict[str, Floats]) -> dict[str, Floats]:
    """Return alpha name -> float64 [T, S]."""
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.jit import cfake
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.predefined.Alpha101 import AllData, all_alpha
    from KunQuant.runner import KunRunner
    from KunQuant.Stage import Function

    with (b := Builder()):
        given = AllData(**{name: Input(name) for name in INPUTS})
        for alpha in all_alpha:
            Output(alpha(given), alpha.__name__)
    options = {"opt_reduce": False, "no_fast_stat": True}
    config = KunCompilerConfig(dtype="double", input_layout="TS", output_layout="TS", options=options)
    flags = cfake.CppCompilerConfig(machine=cfake.X64CPUFlags(avx2=True, fma=False))
    library = cfake.compileit([("alpha101", Function(b.ops), config)], "alpha101", flags)
    rows, columns = fields["close"].shape
    out: dict[str, Floats] = {alpha.__name__: np.full((rows, columns), np.nan) for alpha in all_alpha}
    executor = KunRunner.createSingleThreadExecutor()
    KunRunner.runGraph(executor, library.getModule("alpha101"), fields, 0, rows, out)
    return out


def main() -> None:
    """Compute and write."""
    market = random_market()
    market["vwap"] = market["quote_asset_volume"] / market["volume"]
    values = computed({name: np.ascontiguousarray(market[name]) for name in INPUTS})
    kept = np.stack([array[-KEPT_ROWS:] for array in values.values()])
    np.savez_compressed(PATH, names=np.array(list(values)), values=kept)
    print(f"{PATH}: {len(kept)} factors, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
