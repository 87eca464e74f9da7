"""The demo recipe: the users' own factors as they wrote them, and its values on the demo market read as users' data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from Backtest.data import indicators
from Backtest.data.bars import SymbolBars
from Backtest.data.clock import build_panel, parse_time
from Backtest.data.demo_market import write_demo_market
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import FactorValues, compile_recipe, compute
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.root import open_root
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import parse_duration, parse_timeframe
from Backtest.data.universe import resolve_symbols
from Backtest.settings import PROJECT_ROOT, CoreSettings

RECIPE = PROJECT_ROOT / "config" / "recipes" / "demo.yaml"
USERS_BURST = (
    "(ts_std(logret(close, 1), 12) / (ts_std(logret(close, 1), 96) + 0.000001) * ts_mean(abs(logret(close, 1)), 12) / "
    "(ts_mean(abs(logret(close, 1)), 96) + 0.000001) * ts_std(logret(close, 1), 12) / "
    "(ema(ts_std(logret(close, 1), 12), 24) + 0.000001))"
)
HOUR = parse_timeframe("1h")
SETTINGS = CoreSettings()


@pytest.fixture(scope="module")
def plan() -> Plan:
    allowed = SETTINGS.allow_modules
    return compile_recipe(load_recipe(RECIPE), allow_modules=allowed, max_window=SETTINGS.max_window, timeframe=HOUR)


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> list[SymbolBars]:
    place = tmp_path_factory.mktemp("demo") / "synthetic_market"
    write_demo_market(place)
    root = open_root(place, HOUR, SETTINGS)
    symbols = resolve_symbols(root, ["all"])
    return [load_symbol(root, symbol, settings=SETTINGS, cache_root=None) for symbol in symbols]


def panel_of(plan: Plan, bars: list[SymbolBars], start: str | None = None) -> Panel:
    return build_panel(
        bars,
        timeframe=HOUR,
        start_ns=None if start is None else parse_time(start),
        end_ns=None,
        lookback=plan.lookback,
        fields=plan.fields,
        members=[one.symbol for one in bars],
        episode_gap_ns=parse_duration(SETTINGS.episode_gap),
    )


@pytest.fixture(scope="module")
def panel(plan: Plan, bars: list[SymbolBars]) -> Panel:
    return panel_of(plan, bars)


@pytest.fixture(scope="module")
def values(plan: Plan, panel: Panel) -> FactorValues:
    return compute(plan, panel, gap_tolerance=SETTINGS.gap_tolerance)


def test_holds_the_users_own_factors(plan: Plan) -> None:
    factors = {factor.name: factor for factor in plan.factors}
    users = "where(volume > 0, ts_sum((high+low+close)/3 * volume, 14) / ts_sum(volume, 14), 0)"
    assert (factors["mfi14"].expression, factors["mfi14"].na_threshold) == (users, 0.2)
    assert factors["money_flow_index"].source == "Backtest.data.indicators:money_flow_index"
    assert factors["money_flow_index"].params == {"window": 14}
    bare = re.compile(r"\s+")
    assert bare.sub("", factors["VOL_BURST_COMPLEX"].expression or "") == bare.sub("", USERS_BURST)
    assert all(factor.description for factor in plan.factors)
    assert plan.cross_symbol


def test_readme_can_name_its_factors(plan: Plan) -> None:
    assert {"momentum", "reversal", "volatility", "momentum_rank"} <= {factor.name for factor in plan.factors}


def test_every_factor_has_values_on_the_demo_market(plan: Plan, panel: Panel, values: FactorValues) -> None:
    for factor in plan.factors:
        own = panel.exists[panel.warmup :]
        missing = np.isnan(values.values[factor.name])[own].mean()
        assert missing < min(0.05, factor.na_threshold or 1.0), factor.name
        assert np.isnan(values.values[factor.name][~own]).all()


def test_the_reader_finds_the_outage_and_nothing_else(bars: list[SymbolBars]) -> None:
    for one in bars:
        assert [(finding.kind, finding.count) for finding in one.findings] == [("gaps", 1)], one.symbol


def test_every_library_factor_has_the_same_bits_from_another_start(bars: list[SymbolBars], tmp_path: Path) -> None:
    recipe = tmp_path / "library.yaml"
    recipe.write_text(
        "factors:\n"
        + "".join(
            f"  - {{name: {name}, type: library_function, source: 'Backtest.data.indicators:{name}'}}\n"
            for name in indicators.__all__
        )
    )
    allowed = SETTINGS.allow_modules
    plan = compile_recipe(load_recipe(recipe), allow_modules=allowed, max_window=SETTINGS.max_window)
    some = [one for one in bars if one.symbol in {"BTCUSDT", "FADEUSDT", "NOVAUSDT"}]
    whole, later = (panel_of(plan, some, start) for start in (None, "2024-03-05 11:00"))
    expected = compute(plan, whole, gap_tolerance=SETTINGS.gap_tolerance).values
    cut = 24 * 429 + 11
    for name, found in compute(plan, later, gap_tolerance=SETTINGS.gap_tolerance).values.items():
        assert found.tobytes() == expected[name][cut:].tobytes(), name
        assert np.isfinite(found).mean() > 0.7, name


def test_values_by_hand(panel: Panel, values: FactorValues) -> None:
    t, s = 5000, panel.symbols.index("ETHUSDT")
    high, low, close, volume = (panel.fields[name][:, s] for name in ("high", "low", "close", "volume"))
    found = {name: column[t, s] for name, column in values.values.items()}
    typical = (high + low + close) / 3
    rows = slice(t - 13, t + 1)
    assert found["mfi14"] == pytest.approx((typical * volume)[rows].sum() / volume[rows].sum(), rel=1e-12)
    rising = typical[rows] > typical[t - 14 : t]
    flow = (typical * volume)[rows]
    assert found["money_flow_index"] == pytest.approx(100 * flow[rising].sum() / flow.sum(), rel=1e-12)
    assert found["momentum"] == pytest.approx(close[t] / close[t - 168] - 1, rel=1e-12)
    assert found["reversal"] == pytest.approx(1 - close[t] / close[t - 24], rel=1e-12)
    logret = np.diff(np.log(close[t - 168 : t + 1]))
    assert found["volatility"] == pytest.approx(logret.std(ddof=1), rel=1e-9)
    every = panel.fields["close"][t] / panel.fields["close"][t - 168] - 1
    traded = every[~np.isnan(every)]
    assert found["momentum_rank"] == pytest.approx((traded <= every[s]).sum() / len(traded), rel=1e-12)
    moved = np.abs(np.diff(close[t - 168 : t + 1]) / close[t - 168 : t])
    money = (close * volume)[t - 167 : t + 1]
    assert found["illiquidity"] == pytest.approx(1e6 * (moved / money).mean(), rel=1e-9)


def test_no_momentum_rank_before_a_listing_or_after_a_delisting(panel: Panel, values: FactorValues) -> None:
    ranks = values.values["momentum_rank"]
    late, gone = panel.symbols.index("NOVAUSDT"), panel.symbols.index("FADEUSDT")
    listed, delisted = 24 * 243 + 8, 24 * 592 + 3
    assert np.isnan(ranks[: listed + 168, late]).all()
    assert np.isfinite(ranks[listed + 168, late])
    assert np.isfinite(ranks[delisted - 1, gone])
    assert np.isnan(ranks[delisted:, gone]).all()


def test_recipe_file_is_plain(tmp_path: Path) -> None:
    text = RECIPE.read_text(encoding="utf-8")
    crlf = tmp_path / "crlf.yaml"
    crlf.write_bytes(text.replace("\n", "\r\n").encode())
    assert load_recipe(crlf).sha1 == load_recipe(RECIPE).sha1
    assert all(len(line) <= 120 for line in text.splitlines())
