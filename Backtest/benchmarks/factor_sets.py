"""Published factor sets for `factors`: ours and KunQuant's, and the recipes' plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from Backtest.benchmarks.alpha158_peers import polars_alpha158, qlib_alpha158
from Backtest.data.dsl.blocks import choose_blocks
from Backtest.data.dsl.engine import evaluate
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import compile_recipe
from Backtest.data.fields import Fields
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.symbols_table import SymbolsTable, TableColumn
from Backtest.settings import CoreSettings

Call = Callable[[], Any]
RECIPES = Path(__file__).resolve().parents[2] / "config" / "recipes"
KBARS = {"kbar": {}, "price": {"windows": [0]}, "rolling": {}}
"""What of KunQuant's Alpha158 is Qlib's."""


@dataclass(frozen=True)
class FactorSet:
    """A published set.

    Attributes
    ----------
    recipe
        Its file.
    symbols
        Of the market that it is measured on.
    floor, target
        ns per row and factor.
    """

    recipe: str
    symbols: int
    floor: float
    target: float


SECTORS = 8
SETS = {
    "Alpha158": FactorSet("alpha158.yaml", 48, 5.0, 2.5),
    "Alpha101": FactorSet("alpha101.yaml", 64, 60.0, 30.0),
}


def sectors(panel: Panel) -> Fields:
    """Return a symbols table of some sectors: the industries of Alpha101."""
    codes = {symbol: float(place % SECTORS) for place, symbol in enumerate(panel.symbols)}
    labels = tuple(f"sector {code}" for code in range(SECTORS))
    return Fields((SymbolsTable("benchmark", "USDT", columns=(TableColumn("sector", "text", labels, codes),)),))


def plan_of_set(name: str, panel: Panel) -> tuple[Plan, Panel]:
    """Return the plan of a set's recipe, and the panel with all fields that it needs."""
    settings, fields = CoreSettings(), sectors(panel)
    plan = compile_recipe(
        load_recipe(RECIPES / SETS[name].recipe),
        allow_modules=settings.allow_modules,
        max_window=settings.max_window,
        fields=fields,
    )
    return plan, fields.filled(panel, plan.fields)


def ours(plan: Plan, panel: Panel, *, threads: int = 1) -> Call:
    """Return a call that computes a plan into arrays that are there."""
    out = {factor.name: np.zeros(panel.shape) for factor in plan.factors}
    blocks = choose_blocks(plan, *panel.shape, threads=threads)
    more: dict[str, Any] = {"blocks": blocks, "gap_tolerance": 0.1, "threads": threads}
    return lambda: evaluate(plan, panel, library={}, out=out, **more)


def peer_set(peer: str, module: ModuleType, name: str, panel: Panel) -> tuple[Call, int] | None:
    """Return a call of a peer's version of a set, and how many values it makes; None where the peer has none."""
    if peer == "KunQuant":
        return kunquant_set(name, panel)
    makers = {"polars": polars_alpha158, "qlib": qlib_alpha158}
    return makers[peer](module, panel) if name == "Alpha158" and peer in makers else None


def kunquant_set(name: str, panel: Panel) -> tuple[Call, int]:
    """Return a call of KunQuant's version of a set, compiled for this machine, and how many values it makes."""
    from KunQuant.Driver import KunCompilerConfig
    from KunQuant.jit import cfake
    from KunQuant.Op import Builder, Input, Output
    from KunQuant.predefined import Alpha101, Alpha158
    from KunQuant.runner import KunRunner
    from KunQuant.Stage import Function

    names: list[str] = []
    with (builder := Builder()):
        fields = {field: Input(field) for field in ("open", "close", "high", "low", "volume", "amount")}
        if name == "Alpha158":
            found, names = Alpha158.AllData(**fields).build(KBARS)
            for value, label in zip(found, names, strict=True):
                Output(value, label)
        else:
            data = Alpha101.AllData(**fields)
            for function in Alpha101.all_alpha:
                Output(function(data), function.__name__)
                names.append(function.__name__)
    config = KunCompilerConfig(
        partition_factor=4, dtype="double", input_layout="TS", output_layout="TS", options={"opt_reduce": True}
    )
    library = cfake.compileit([("value", Function(builder.ops), config)], "value", cfake.CppCompilerConfig())
    executor, module = KunRunner.createSingleThreadExecutor(), library.getModule("value")
    inputs = {field: panel.fields[source_of(field)] for field in fields}
    out: Mapping[str, Any] = {label: np.zeros(panel.shape) for label in names}
    return lambda: (library, KunRunner.runGraph(executor, module, inputs, 0, len(panel.age), out)), (
        panel.shape[0] * panel.shape[1] * len(names)
    )


def source_of(field: str) -> str:
    """Return our name of one of KunQuant's fields."""
    return "quote_asset_volume" if field == "amount" else field
