"""The shipped factors of the literature: through Stage A on real klines against pandas, and on the demo market."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Backtest.data.clock import build_panel
from Backtest.data.demo_market import write_demo_market
from Backtest.data.dsl.plan import Plan
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.root import open_root
from Backtest.data.source import load_symbol
from Backtest.data.timeframe import parse_duration, parse_timeframe
from Backtest.prepare import PrepareSettings, prepare
from Backtest.settings import PROJECT_ROOT, CoreSettings, build
from Backtest.stage_a.causality import check_recipe

RECIPES = PROJECT_ROOT / "config" / "recipes"
CORE, FLOW, BASIS = (RECIPES / f"{name}.yaml" for name in ("crypto_core", "crypto_core_flow", "crypto_core_basis"))
SYMBOLS = ("BTCUSDT", "ETHUSDT", "KAITOUSDT")
DAY = pd.Timedelta(days=1)
PERPETUAL = RECIPES / "crypto_core_um.yaml"
RULE = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}


def daily_truth(days: pd.DataFrame, market: pd.Series) -> dict[str, pd.Series]:
    """Return factors on daily bars in one line of pandas each."""
    close, ret = days["close"], days["close"].pct_change(fill_method=None)
    market = market.reindex(days.index)
    dollars = close * days["volume"]
    down = market.where(market <= 0)
    paired = ret.where(market <= 0)
    return {
        "momentum_28d": close / close.shift(28) - 1,
        "momentum_28d_skip_7d": close.shift(7) / close.shift(28) - 1,
        "momentum_per_risk": (close / close.shift(28) - 1) / (ret.rolling(28).std() * 28**0.5),
        "reversal_1d": -ret,
        "price_to_high": close / days["high"].rolling(365).max(),
        "average_gap": close / close.rolling(20).mean() - 1,
        "volatility": ret.rolling(28).std(),
        "volatility_range": (np.log(days["high"] / days["low"]) ** 2).rolling(28).mean().div(4 * np.log(2)).pow(0.5),
        "volatility_idiosyncratic": ret.rolling(28).std() * (1 - ret.rolling(28).corr(market) ** 2).clip(0) ** 0.5,
        "beta": ret.rolling(60).cov(market) / market.rolling(60).var(),
        "beta_downside": paired.rolling(60, min_periods=20).cov(down) / down.rolling(60, min_periods=20).var(),
        "semi_deviation": (ret.clip(upper=0) ** 2).rolling(28).mean() ** 0.5,
        "max_return": ret.rolling(28).max(),
        "skewness": ret.rolling(28).skew(),
        "kurtosis": ret.rolling(28).kurt(),
        "illiquidity": (ret.abs() / dollars).rolling(28).mean() * 1e6,
        "dollar_volume": np.log(dollars.rolling(7).mean()),
        "volume_rank": dollars.rolling(50).rank(pct=True),
        "price": np.log(close),
    }


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory):
    """Stage A's settings on real perpetuals at 4h, for a recipe."""
    from Backtest.tests.conftest import real_data_folder

    data, hub = real_data_folder() / "um_futures", tmp_path_factory.mktemp("hub")
    roots = {
        "data_root": str(data),
        "datahub_root": str(hub),
        "log_root": str(hub / "logs"),
        "workers": 1,
        "last_bar": "drop",
    }
    core = build(CoreSettings, roots, "test")
    return lambda recipe: PrepareSettings(core, "4h", recipe.stem, recipe, SYMBOLS)


def test_stage_a_on_real_klines_equals_pandas(real, inline) -> None:
    made = real(CORE)
    summary = prepare(made)
    assert (summary["status"], len(summary["factors"])) == ("ok", 30)
    klines = {
        symbol: pd.read_csv(Path(made.core.data_root) / "6.Binance Data Resampled" / "4h" / f"{symbol}.csv.gz")
        for symbol in SYMBOLS
    }
    days: dict[str, pd.DataFrame] = {}
    for symbol, frame in klines.items():
        frame.index = pd.to_datetime(frame.pop("open_time"), unit="ms", utc=True)
        days[symbol] = frame.iloc[:-1].resample("1D").agg(RULE).dropna(subset=["close"])  # the last one was forming
    market = days["BTCUSDT"]["close"].pct_change(fill_method=None)
    for symbol in SYMBOLS:
        found = pd.read_parquet(Path(made.core.datahub_root) / "factors" / "4h" / "crypto_core" / f"{symbol}.parquet")
        closed = (found["timestamp"] + pd.Timedelta(hours=4)).astype("datetime64[ns, UTC]")
        for name, want in daily_truth(days[symbol], market).items():
            right = pd.DataFrame({"closed": (want.index + DAY).astype("datetime64[ns, UTC]"), "want": want.to_numpy()})
            joined = pd.merge_asof(pd.DataFrame({"closed": closed}), right, on="closed")["want"]
            there = joined.notna()
            assert there.sum() > 60, (symbol, name)
            np.testing.assert_allclose(
                found[name][there],
                joined[there],
                rtol=1e-6,
                atol=1e-8 if "idio" in name else 1e-12,
                err_msg=f"{symbol} {name}",
            )
        week = days[symbol]["close"].resample("W-SUN").last().pct_change(fill_method=None)
        row = found.set_index("timestamp")["momentum_calendar_week"]
        monday = pd.Timestamp("2026-03-02", tz="UTC")
        np.testing.assert_allclose(row[monday - pd.Timedelta(hours=4)], week[monday - DAY], rtol=1e-9)
        assert row[monday - pd.Timedelta(hours=8)] != row[monday - pd.Timedelta(hours=4)]


def test_it_passes_the_causality_check_on_real_klines(real) -> None:
    verdict = check_recipe(real(CORE), 2)
    assert (verdict["status"], verdict["violations"], verdict["untested"]) == ("ok", [], {})


def test_flow_on_real_klines(real_data: Path, tmp_path: Path, inline) -> None:
    roots = {"data_root": str(real_data / "spot_all_columns"), "datahub_root": str(tmp_path), "log_root": str(tmp_path)}
    summary = prepare(PrepareSettings(build(CoreSettings, roots, "test"), "1h", "flow", FLOW))
    assert (summary["status"], summary["symbols"]) == ("ok", ["BTCUSDT", "ETHUSDT"])
    found = pd.read_parquet(tmp_path / "factors" / "1h" / "flow" / "ETHUSDT.parquet").set_index("timestamp")
    folder = real_data / "spot_all_columns" / "6.Binance Data Resampled" / "1h"
    hours = pd.read_csv(folder / "ETHUSDT.csv.gz")
    hours.index = pd.to_datetime(hours.pop("open_time"), unit="ms", utc=True)
    days = hours[["volume", "taker_buy_base_volume", "quote_asset_volume", "number_of_trades"]].resample("1D").sum()
    week = days.iloc[40:47].sum()
    row = found.loc[days.index[47] + pd.Timedelta(hours=11)]
    np.testing.assert_allclose(row["taker_imbalance_7d"], 2 * week.iloc[1] / week.iloc[0] - 1, rtol=1e-9)
    np.testing.assert_allclose(row["trade_size"], np.log(week.iloc[2] / week.iloc[3]), rtol=1e-9)


def perpetuals(tmp_path: Path, data: Path) -> PrepareSettings:
    """Return the settings of a run with funding and open interest at 4h, by a copy of the recipe for such bars."""
    text = PERPETUAL.read_text(encoding="utf-8")
    for hours, bars in (("day: 24", "day: 6"), ("week: 168", "week: 42"), ("month: 672", "month: 168")):
        assert text.count(hours) == 1
        text = text.replace(hours, bars)
    copy = tmp_path / "perpetuals.yaml"
    copy.write_text(text, encoding="utf-8")
    own = {"data_root": str(data), "datahub_root": str(tmp_path), "log_root": str(tmp_path), "last_bar": "drop"}
    beside = {"funding_folder": "funding_2026", "open_interest_folder": "open_interest_4h"}
    core = build(CoreSettings, {**own, **beside, "workers": 1}, "test")
    return PrepareSettings(core, "4h", "um", copy, SYMBOLS[:2], start="2026-02-24")


def test_perpetuals_on_real_data_equal_pandas(real_data: Path, tmp_path: Path, inline) -> None:
    data, bar = real_data / "um_futures", pd.Timedelta(hours=4)
    made = perpetuals(tmp_path, data)
    summary = prepare(made)
    assert (summary["status"], len(summary["factors"])) == ("ok", 7)
    for symbol in SYMBOLS[:2]:
        found = pd.read_parquet(tmp_path / "factors" / "4h" / "um" / f"{symbol}.parquet").set_index("timestamp")
        paid = pd.read_csv(data / "funding_2026" / f"{symbol}.csv.gz")
        paid.index = pd.to_datetime(paid["timestamp"], unit="ms", utc=True).dt.round("1min")
        held = pd.read_csv(data / "open_interest_4h" / f"{symbol}.csv.gz")
        held.index = pd.to_datetime(held["timestamp"], unit="ms", utc=True)
        klines = pd.read_csv(data / "6.Binance Data Resampled" / "4h" / f"{symbol}.csv.gz")
        klines.index = pd.to_datetime(klines["open_time"], unit="ms", utc=True)

        def window(row: pd.Timestamp, bars: int, paid: pd.DataFrame = paid) -> pd.Series:
            rate = paid["funding_rate"]
            return rate[(rate.index >= row - (bars - 1) * bar) & (rate.index < row + bar)]

        for text in ("2026-03-05 00:00", "2026-03-11 12:00", "2026-03-17 20:00"):
            row = pd.Timestamp(text, tz="UTC")
            day, before, week, month = window(row, 6), window(row - 6 * bar, 6), window(row, 42), window(row, 168)
            assert (len(day), len(week), len(month)) == (3, 21, 84)
            now, then, old = (held["sum_open_interest"].asof(row + bar - lag * bar) for lag in (0, 6, 42))
            move = np.sign(klines["close"][row] / klines["close"][row - 6 * bar] - 1)
            want = {
                "funding_1d": day.sum(),
                "funding_1w": week.sum(),
                "funding_change": day.sum() - before.sum(),
                "funding_shock": day.mean() - month.mean(),
                "open_interest_change_1d": now / then - 1,
                "open_interest_change_1w": now / old - 1,
                "open_interest_with_price": move * (now / then - 1),
            }
            for name, value in want.items():
                np.testing.assert_allclose(found[name][row], value, rtol=1e-9, atol=1e-15, err_msg=f"{symbol} {name}")


def test_perpetuals_pass_the_causality_check_on_real_data(real_data: Path, tmp_path: Path) -> None:
    verdict = check_recipe(perpetuals(tmp_path, real_data / "um_futures"), 3)
    assert (verdict["status"], verdict["violations"], verdict["untested"]) == ("ok", [], {})


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("demo") / "synthetic_market"
    write_demo_market(place)
    return place


def demo_panel(place: Path, plan: Plan) -> Panel:
    core, hour = CoreSettings(), parse_timeframe("1h")
    root = open_root(place, hour, core)
    names = root.symbols[:3]
    bars = [
        load_symbol(root, symbol, settings=core, cache_root=None, fields=plan.fields)
        for symbol in sorted({*names, *plan.extra_symbols})
    ]
    return build_panel(
        bars, timeframe=hour, start_ns=None, end_ns=None, lookback=plan.lookback, fields=plan.fields, members=names,
        episode_gap_ns=parse_duration(core.episode_gap),
    )  # fmt: skip


@pytest.mark.parametrize("recipe", [CORE, FLOW, BASIS], ids=lambda recipe: recipe.stem)
def test_every_factor_has_values_on_the_demo_market(demo: Path, recipe: Path) -> None:
    plan = compile_recipe(load_recipe(recipe), allow_modules=(), max_window=1_000_000, timeframe=parse_timeframe("1h"))
    assert not plan.cross_symbol
    panel = demo_panel(demo, plan)
    values = compute(plan, panel, gap_tolerance=0.1).values
    rows = panel.member[0] & panel.exists[-1]
    for name, found in values.items():
        assert np.isfinite(found[-1, rows]).all(), name
        assert np.unique(found[np.isfinite(found)]).size > 20, name


@pytest.mark.parametrize("recipe", [CORE, FLOW, BASIS, PERPETUAL], ids=lambda recipe: recipe.stem)
def test_every_factor_names_its_source(recipe: Path) -> None:
    loaded = load_recipe(recipe)
    assert "day" in loaded.description
    for factor in loaded.factors:
        assert any(year in factor.description for year in map(str, range(1980, 2025))) or any(
            word in factor.description for word in ("LTW", "As basis", "s funding_1d", "s open_interest")
        ), factor.name
