"""Small panels for tests: seeded prices with gaps, a late listing and a relisting."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.recipe_spec import Recipe
from Backtest.data.timeframe import parse_timeframe

FIELDS = ("open", "high", "low", "close", "volume")
FIRST_BAR = 1_003
GAP_BARS = 20


def small_panel(rows: int = 400, symbols: int = 5, *, seed: int = 1, quirks: bool = True) -> Panel:
    """Return a panel of random walks; with `quirks` also gaps, a late listing and a symbol with two episodes."""
    draw = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(draw.normal(0, 0.02, (rows, symbols)), axis=0))
    spread = np.abs(draw.normal(0, 0.01, (rows, symbols)))
    fields = {
        "open": close * np.exp(draw.normal(0, 0.005, (rows, symbols))),
        "high": close * (1 + spread),
        "low": close * (1 - spread),
        "close": close,
        "volume": draw.lognormal(3, 1, (rows, symbols)),
    }
    exists = np.ones((rows, symbols), dtype=bool)
    age = np.repeat(np.arange(1, rows + 1, dtype=np.int32)[:, None], symbols, axis=1)
    if quirks:
        exists[draw.random((rows, symbols)) < 0.01] = False
        exists[0] = True
        late, begin, end = rows // 5, rows // 2, rows // 2 + GAP_BARS
        exists[:late, 1] = False
        age[:, 1] = np.maximum(0, np.arange(rows) - late + 1)
        exists[late, 1] = True
        exists[begin:end, 2] = False
        age[begin:end, 2] = 0
        age[end:, 2] = np.arange(1, rows - end + 1)
        exists[end, 2] = True
    for values in fields.values():
        values[~exists] = np.nan
    tradable = exists & (draw.random((rows, symbols)) > 0.02)
    names = tuple(f"S{number:02d}USDT" for number in range(symbols))
    member = np.ones((rows, symbols), dtype=bool)
    return Panel(parse_timeframe("1h"), FIRST_BAR, names, fields, exists, tradable, age, member, 0)


def recipe_of(folder: Path, *, dialect: str = "default", **expressions: str) -> Recipe:
    """Write and load a recipe of expressions."""
    lines = [f"dialect: {dialect}", "factors:"]
    for name, text in expressions.items():
        lines += [f"  - name: {name}", "    type: expression", f"    expression: {text!r}"]
    path = folder / "recipe.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_recipe(path)
