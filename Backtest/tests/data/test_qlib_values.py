"""The qlib dialect gives pyqlib's own values: Alpha158 on real klines, and every operator on awkward series.

Two comparisons of Alpha158. First as a user of Qlib gets it: a store of float32 bins, ``D.features``. Both sides begin
with the same rounded prices, so what differs is Qlib's arithmetic, elementwise in float32. Then Qlib's operators fed
with float64: what is left are the running sums of pandas and of Qlib's Cython code. Missing cells are equal in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Backtest.data.clock import build_panel
from Backtest.data.demo_market import write_demo_market
from Backtest.data.dsl.dialects.qlib import QLIB
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.source import load_symbol, open_root
from Backtest.data.timeframe import parse_timeframe
from Backtest.settings import PROJECT_ROOT, CoreSettings
from Backtest.tests import qlib_store

from .kline_files import REAL_DATA
from .small_panel import recipe_of

pytestmark = pytest.mark.xdist_group("qlib")
qlib = pytest.importorskip("qlib", reason="pyqlib is not installed (it comes with the pins of Factor Evaluation)")

ALPHA158 = PROJECT_ROOT / "config" / "recipes" / "alpha158.yaml"
ROWS = 2_000
COLUMNS = ("open", "high", "low", "close", "volume", "quote_asset_volume")
SYMBOLS = {"um_futures": ("1000BONKUSDT", "AAVEUSDT", "BTCUSDT", "SAFEUSDT"), "demo": ("BTCUSDT", "ETHUSDT", "SOLUSDT")}
"""Of the real ones SAFEUSDT is listed inside the window; prices from 1e-2 to 1e5."""

STORAGE = 5e-7
"""Two roundings to float32 (6e-8 each) and a few between them."""
NOISY = {"CORR": 1e-4, "CORD": 2e-3, "WVMA": 2e-3}
"""Spread of nearly equal float32 numbers: a ratio of prices near 1, or moves of a quiet window, known to 6e-8."""
DRIFT = 1e-6
"""pandas' running sums against exact windows, worst where a window is quiet beside what has left it."""


def expressions(plan: Plan) -> list[str]:
    return [str(one.expression).replace("{window}", str(one.params.get("window"))) for one in plan.factors]


def rounded(panel: Panel) -> Panel:
    """Return the panel as float32 bins hold it; quote volume is such that quote over base is the rounded vwap."""
    fields = {name: values.astype(np.float32).astype(np.float64) for name, values in panel.fields.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        vwap = (fields["quote_asset_volume"] / fields["volume"]).astype(np.float32).astype(np.float64)
    # The product of two 24-bit numbers is exact, so the division gives vwap back.
    fields["quote_asset_volume"] = np.where(fields["volume"] > 0, vwap * fields["volume"], 0.0)
    fields["quote_asset_volume"][~panel.exists] = np.nan
    return replace(panel, fields=fields)


def with_holes(panel: Panel) -> Panel:
    """Take 2 % of the bars away, first and last of a symbol apart."""
    holes = np.random.default_rng(1).random(panel.shape) < 0.02
    for column in range(panel.shape[1]):
        holes[np.flatnonzero(panel.exists[:, column])[[0, -1]], column] = False
    fields = {name: np.where(holes, np.nan, values) for name, values in panel.fields.items()}
    return replace(panel, fields=fields, exists=panel.exists & ~holes, tradable=panel.tradable & ~holes)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return compile_recipe(load_recipe(ALPHA158), allow_modules=(), max_window=100)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Panel:
    """Real klines where there are any, else the demo market: a panel that float32 holds, with holes in half of it."""
    core, timeframe = CoreSettings(), parse_timeframe("4h")
    name, folder = "um_futures", REAL_DATA / "um_futures"
    if not folder.is_dir():
        name, folder = "demo", tmp_path_factory.mktemp("market")
        write_demo_market(folder)
    root = open_root(folder, timeframe, core)
    bars = [load_symbol(root, symbol, settings=core, cache_root=None) for symbol in SYMBOLS[name]]
    panel = build_panel(
        bars, timeframe=timeframe, start_ns=None, end_ns=None, lookback=0, fields=COLUMNS, members=set(SYMBOLS[name]),
        episode_gap_ns=3 * 86_400 * 10**9,
    ).rows(0, ROWS)  # fmt: skip
    return rounded(panel)


@pytest.fixture(scope="module", params=["as stored", "with holes"])
def compared(request: pytest.FixtureRequest, market: Panel, plan: Plan, tmp_path_factory: pytest.TempPathFactory):
    panel = market if request.param == "as stored" else with_holes(market)
    folder = tmp_path_factory.mktemp("qlib")
    qlib_store.write_store(folder, panel)
    qlib_store.start_qlib(folder)
    return panel, compute(plan, panel, gap_tolerance=0.1).values


def life(panel: Panel, column: int) -> slice:
    """Rows from a symbol's first to its last bar: those of its bins."""
    rows = np.flatnonzero(panel.exists[:, column])
    return slice(rows[0], rows[-1] + 1)


def worst(got: np.ndarray, want: np.ndarray) -> float:
    """Return the largest difference relative to the value or, if that is larger, to the column's spread."""
    assert np.array_equal(np.isnan(got), np.isnan(want)), "other cells are missing"
    scale = np.maximum(np.abs(want), np.nanstd(want))
    there = ~np.isnan(want) & (got != want)
    return float(np.max(np.abs(got - want)[there] / scale[there], initial=0.0))


def finite(values: np.ndarray) -> np.ndarray:
    """Infinite values (volume without trades before it) are missing here; see the dialect's list."""
    return np.where(np.isfinite(values), values, np.nan).astype(np.float64)


def test_the_recipe_is_qlibs_own_list(plan: Plan) -> None:
    from qlib.contrib.data.loader import Alpha158DL

    wanted, names = Alpha158DL.get_feature_config()
    assert [factor.name for factor in plan.factors] == names
    assert expressions(plan) == wanted


def test_alpha158_equals_qlibs_stored_values(compared, plan: Plan) -> None:
    panel, ours = compared
    wrong = []
    for column, symbol in enumerate(panel.symbols):
        rows = life(panel, column)
        there = panel.exists[rows, column]
        theirs = qlib_store.stored_features(symbol, expressions(plan))
        for k, factor in enumerate(plan.factors):
            error = worst(ours[factor.name][rows, column][there], finite(theirs[there, k]))
            if error > NOISY.get(factor.name.rstrip("0123456789"), STORAGE):
                wrong.append((symbol, factor.name, error))
    assert not wrong


def test_alpha158_equals_qlibs_operators_in_double_precision(compared, plan: Plan) -> None:
    panel, ours = compared
    for column, symbol in enumerate(panel.symbols):
        rows = life(panel, column)
        there = panel.exists[rows, column]
        own = {name: values[rows, column] for name, values in qlib_store.qlib_fields(panel).items()}
        with qlib_store.double_precision(own) as values:
            for factor, expression in zip(plan.factors, expressions(plan), strict=True):
                error = worst(ours[factor.name][rows, column][there], finite(values(expression)[there]))
                assert error < DRIFT, (symbol, factor.name, error)


# ---- every operator -------------------------------------------------------------------------------------------------


def _awkward() -> dict[str, dict[str, np.ndarray]]:
    """Return name -> columns of one series each, and a partner with gaps of its own."""
    rng = np.random.default_rng(11)
    n = 90
    walk = 100 * np.exp(0.02 * rng.standard_normal(n).cumsum())
    ragged = np.where(rng.random(n) < 0.3, np.nan, walk)
    ragged[40:62] = np.nan
    tied = rng.integers(0, 3, n).astype(np.float64)
    flat = np.where(np.arange(n) // 15 % 2, walk, 7.5)
    quiet = 50 + np.where(np.arange(n) < 45, 1e-5, 1.0) * rng.standard_normal(n)
    signed = rng.standard_normal(n)
    partner = np.where(rng.random(n) < 0.1, np.nan, 30 + rng.standard_normal(n).cumsum())
    series = {"walk": walk, "ragged": ragged, "tied": tied, "flat": flat, "quiet": quiet, "signed": signed,
              "short": ragged[:3], "one": walk[:1]}  # fmt: skip
    return {name: {"close": x, "open": partner[: len(x)], "volume": np.abs(x)} for name, x in series.items()}


SERIES = _awkward()
WINDOWED = ("Mean", "Sum", "Std", "Var", "Max", "Min", "IdxMax", "IdxMin", "Med", "Mad", "Rank", "Count", "Slope",
            "Rsquare", "Resi", "WMA", "EMA", "Ref", "Delta")  # fmt: skip
CASES = (
    *(f"{name}($close, {window})" for name in WINDOWED for window in (2, 5, 20)),
    *(f"{name}($close, {window})" for name in ("Skew", "Kurt") for window in (4, 5, 20)),
    *(f"{name}($close, 1)" for name in ("Mean", "Sum", "Max", "IdxMin", "Med", "Mad", "Rank", "Count", "WMA", "EMA")),
    *(f"{name}($close, 0.3)" for name in ("Mean", "Sum", "Std", "Var", "Max", "Min", "Med", "Count", "EMA")),
    *(f"{name}($close, $open, {window})" for name in ("Corr", "Cov") for window in (2, 5, 20)),
    *(f"Quantile($close, 7, {q})" for q in (0, 0.2, 0.5, 1)),
    *(f"{name}($close, $open)" for name in ("Add", "Sub", "Mul", "Div", "Greater", "Less", "Gt", "Ge", "Lt", "Le", "Eq",
                                            "Ne", "Power")),
    *(f"$close {symbol} $open" for symbol in ("+", "-", "*", "/", "**", "<", "<=", ">", ">=", "==", "!=")),
    *(f"{name}($close)" for name in ("Abs", "Sign", "Log")),
    "EMA($close, 3.5)", "Not($close > $open)", "And($close > $open, $close > 50)", "Or($close > $open, $close > 50)",
    "($close > $open) & ($close > 50) | ($open > 29)", "If($close > $open, $close, 1)", "If($close, 1, $open)",
    "If($close > 1, 2, 3)", "Mean($close > $open, 5)", "($close > $open) * $volume", "Sum($close > 50, 5) / 5",
    "2 * $close - 1 / $open", "2 ** 3 * $close", "-1 * $close", "Greater($close - Ref($close, 1), 0)",
    "Mean(Ref($close, 3) != $close, 10)", "Ref($close > $open, 2)", "EMA(Std($close, 5), 10)",
    "Corr($close/Ref($close, 1), Log($volume/Ref($volume, 1)+1), 10)",
)  # fmt: skip
SCALES: dict[str, Callable[[np.ndarray], float]] = {
    "Slope": np.nanstd, "Resi": np.nanstd, "Cov": lambda x: np.nanmax(np.abs(x)) ** 2, "Delta": np.nanstd,
    "Var": lambda x: np.nanmax(np.abs(x)) ** 2, "Std": lambda x: np.nanmax(np.abs(x)),
}  # fmt: skip
"""Below the natural scale of an operator a relative difference of running sums means nothing."""
RUNNING = {"Rsquare": 1e-7, "Corr": 1e-7, "Skew": 1e-7, "Kurt": 1e-6}
"""What running sums lose of a number whose scale is 1 when 100 is left by a window that moves by 1e-2 (`quiet`)."""


def our_values(folder: Path, columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return expression -> values on one symbol that has a bar in every row, whatever is missing in it."""
    n = len(columns["close"])
    shape = (n, 1)
    everywhere = np.ones(shape, bool)
    fields = {name: np.ascontiguousarray(values[:, None]) for name, values in columns.items()}
    age = np.arange(1, n + 1, dtype=np.int32)[:, None].copy()
    panel = Panel(parse_timeframe("1h"), 1_003, ("S",), fields, everywhere, everywhere, age, everywhere, 0)
    recipe = recipe_of(folder, dialect="qlib", **{f"f{k}": text for k, text in enumerate(CASES)})
    values = compute(compile_recipe(recipe, allow_modules=(), max_window=100), panel, gap_tolerance=0.1).values
    return {text: values[f"f{k}"][:, 0] for k, text in enumerate(CASES)}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[str, np.ndarray, np.ndarray]]]:
    folder = tmp_path_factory.mktemp("operators")
    qlib_store.start_qlib(folder)
    table: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {text: [] for text in CASES}
    for name, columns in SERIES.items():
        ours = our_values(folder, columns)
        with qlib_store.double_precision(columns) as values, np.errstate(all="ignore"):
            for text in CASES:
                table[text].append((name, ours[text], finite(np.broadcast_to(values(text), ours[text].shape))))
    return table


@pytest.mark.parametrize("text", CASES)
def test_every_operator_equals_qlibs(text: str, both) -> None:
    for name, got, want in both[text]:
        x, y = SERIES[name]["close"], SERIES[name]["open"]
        if "Power" in text or "**" in text:
            # numpy: 1 ** missing and missing ** 0 are 1. Here nothing is made of a missing value.
            want = np.where(np.isnan(x) | ("$open" in text) & np.isnan(y), np.nan, want)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=name)
        operator = text.partition("(")[0]
        scale = SCALES.get(operator, lambda _: 0.0)(x) if len(x) > 1 else 0.0
        allowed = max(1e-11 * scale, RUNNING.get(operator, 1e-12))
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=allowed, err_msg=name)


def test_the_dialect_knows_every_operator_of_qlib() -> None:
    from qlib.data.ops import OpsList

    assert QLIB.forms is not None
    known = {*QLIB.forms, *QLIB.refused}
    assert {operator.__name__ for operator in OpsList} <= known
    used = " ".join(CASES)
    assert {name for name in QLIB.forms if f"{name}(" not in used} == {"Mask", "ChangeInstrument"}
