"""The symbols table: what it refuses, what its columns become, and that nothing is known before its day."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from Backtest.data.factors import compile_recipe, compute
from Backtest.data.fields import Fields, klines_of, open_fields
from Backtest.data.symbols_table import SymbolsTable, load_symbols_table
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import ExpressionError, RecipeError, SettingsError
from Backtest.settings import CORE_YAML, CoreSettings

from .small_panel import recipe_of, small_panel

YAML = """
S00: {sector: b, launch: 1970-02-12, supply: 3}
S01USDT: {sector: a, supply: 0.5}
S01: {sector: b, launch: 1970-02-14}
S02: {sector: b}
ELSE: {sector: 0, supply: 1e3}
"""
CSV = "symbol,sector,launch,supply\nS00,b,1970-02-12,3\nS01USDT,a,,0.5\n\nS01,b,1970-02-14,\nS02,b,,\nELSE,aa,,1e3\n"


def table_of(folder: Path, text: str, name: str = "symbols.yaml") -> SymbolsTable:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return load_symbols_table(path, quote="USDT")


@pytest.fixture(params=["yaml", "csv"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> SymbolsTable:
    if request.param == "csv":
        return table_of(tmp_path, CSV, "symbols.csv")
    return table_of(tmp_path, YAML.replace("sector: 0", "sector: aa"))


def test_text_is_a_group_numbers_and_dates_are_series(table: SymbolsTable) -> None:
    assert [(source.name, source.kind) for source in table.sources] == [
        ("sector", "group"), ("launch", "series"), ("supply", "series"),
    ]  # fmt: skip


def test_codes_follow_the_sorted_labels_of_the_whole_table(table: SymbolsTable) -> None:
    """S01USDT has a row of its own; what stands nowhere is missing; a symbol outside the run still takes a code."""
    panel = small_panel(rows=30, symbols=4, quirks=False)
    np.testing.assert_array_equal(table.fill("sector", panel)[7], [2.0, 0.0, 2.0, np.nan])
    np.testing.assert_array_equal(table.fill("supply", panel)[7], [3.0, 0.5, np.nan, np.nan])
    alone = panel.columns(("S02USDT",))
    np.testing.assert_array_equal(table.fill("sector", alone)[7], [2.0])
    other_quote = replace(table, quote="USDC")
    np.testing.assert_array_equal(other_quote.fill("sector", panel)[7], [np.nan, 0.0, np.nan, np.nan])


def test_a_date_is_days_since_and_unknown_before(table: SymbolsTable) -> None:
    """Row 0 opens 1,003 hours after 1970: on 11 February at 19:00, so it closes four hours before the 12th."""
    panel = small_panel(rows=60, symbols=3, quirks=False)
    days = table.fill("launch", panel)
    hours = np.arange(60) - 4
    np.testing.assert_allclose(days[:, 0], np.where(hours >= 0, hours / 24, np.nan), atol=1e-12)
    np.testing.assert_allclose(days[:, 1], np.where(hours >= 48, hours / 24 - 2, np.nan), atol=1e-12)
    assert days[4, 0] == 0.0  # the bar that closes at midnight
    assert np.isnan(days[:, 2]).all()
    later = table.fill("launch", panel.rows(11, 60))
    assert later.tobytes() == days[11:].tobytes()


def test_nothing_is_known_where_there_is_no_bar(table: SymbolsTable) -> None:
    panel = small_panel(symbols=3)
    for name in ("sector", "launch", "supply"):
        assert np.isnan(table.fill(name, panel)[~panel.exists]).all()


def test_columns_serve_as_fields_of_a_recipe(table: SymbolsTable, tmp_path: Path) -> None:
    """Market value, group mean by hand, a bucket as a group; the table travels to another process."""
    fields = pickle.loads(pickle.dumps(Fields((table,))))
    recipe = recipe_of(
        tmp_path, cap="supply * close", mean="grp_mean(close, sector)", own="close - grp_demean(close, group=sector)",
        big="grp_count(close, bucket(supply, 1))", plain="close",
    )  # fmt: skip
    plan = compile_recipe(recipe, allow_modules=(), max_window=100, fields=fields)
    assert plan.fields == {"close", "supply", "sector"}
    assert klines_of(plan.fields) == {"close"}
    assert plan.cross_symbol
    panel = small_panel(rows=50, symbols=4, quirks=False)
    panel = replace(panel, tradable=panel.exists)
    got = compute(plan, fields.filled(panel, plan.fields), gap_tolerance=0.1).values
    close = panel.fields["close"]
    np.testing.assert_array_equal(got["cap"], close * [3.0, 0.5, np.nan, np.nan])
    both = (close[:, 0] + close[:, 2]) / 2
    want = np.column_stack([both, close[:, 1], both, np.full(50, np.nan)])
    np.testing.assert_allclose(got["mean"], want, rtol=1e-14)
    np.testing.assert_allclose(got["own"], want, rtol=1e-14)
    np.testing.assert_array_equal(got["big"][0], [1.0, 1.0, np.nan, np.nan])
    assert fields.fingerprints(plan.fields) == {"symbols_table": table.sha1}
    assert fields.fingerprints({"close"}) == {}


def test_columns_are_fields_of_coarser_bars_too(table: SymbolsTable, tmp_path: Path) -> None:
    fields = Fields((table,))
    recipe = recipe_of(
        tmp_path, inside="bars('4h', supply * close)", outside="supply * bars('4h', close)",
        grouped="bars('4h', grp_mean(close, sector))", apart="grp_mean(bars('4h', close), sector)",
    )  # fmt: skip
    panel = small_panel(rows=60, symbols=3, quirks=False)
    plan = compile_recipe(recipe, allow_modules=(), max_window=100, timeframe=panel.timeframe, fields=fields)
    panel = replace(panel, tradable=panel.exists)
    got = compute(plan, fields.filled(panel, plan.fields), gap_tolerance=0.1).values
    for left, right in (("inside", "outside"), ("grouped", "apart")):
        assert np.isfinite(got[left][10:, :2]).all()
        np.testing.assert_array_equal(got[left], got[right])


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "a mapping of symbol"),
        ("- BTC", "a mapping of symbol"),
        ("BTC: layer-1", "line 1, column 1: BTC needs {column: value}"),
        ("BTC: {sector: [a]}", "column 7: sector of BTC is ['a']; text, a number or a date is allowed"),
        ("BTC: {sector: true}", "sector of BTC is True"),
        ("BTC: {sector: a}\nETH: {sector: 3}", "line 2, column 7: sector of ETH is 3.0, a number; sector is a text"),
        ("BTC: {launch: 2009-01-03}\nETH: {launch: soon}", "line 2, column 7: launch of ETH is 'soon', a text"),
        ("BTC: {launch: 2009-02-30}", "launch is '2009-02-30', which is no day of the calendar"),
        ("BTC: {close: 3}", "column 'close' is not allowed: 'close' is a kline column"),
        ("BTC: {vwap: 3}", "column 'vwap' is not allowed: 'vwap' is an operator"),
        ("BTC: {market cap: 3}", "column 'market cap' is not allowed: a letter or '_'"),
        ("BTC: {a: 1}\nbtc: {a: 2}", "differ in case only"),
        ("BTC: {a: 1}\nBTC: {a: 2}", "line 2, column 1: key 'BTC' stands twice"),
        ("../BTC: {a: 1}", "symbol '../BTC' is not allowed"),
    ],
)
def test_a_yaml_table_is_read_strictly(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        table_of(tmp_path, text)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "symbols.yaml"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the first line must be 'symbol' and the names"),
        ("coin,sector\nBTC,a\n", "line 1: the first line must be 'symbol'"),
        ("symbol,a,a\nBTC,1,2\n", "each once"),
        ("symbol,a\nBTC\n", "line 2: has 1 cells, the first line has 2"),
        ("symbol,a\nBTC,1\nBTC,2\n", "line 3: BTC stands twice"),
        ("symbol,a\nBTC,1\n\nETH,x\n", "line 4: a of ETH is 'x', a text; a is a number"),
        ("symbol,a\nBTC,1e999\n", "line 2: number 1e999 is larger than a float64 holds"),
        ('symbol,a\nBTC,"x\n', "unexpected end of data"),
        ("symbol,close\nBTC,1\n", "line 1: column 'close' is not allowed"),
    ],
)
def test_a_csv_table_is_read_strictly(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        table_of(tmp_path, text, "symbols.csv")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "symbols.csv"))
    assert "\n" not in str(caught.value)


def test_without_a_table_a_group_says_what_to_write(tmp_path: Path) -> None:
    fields = Fields((load_symbols_table(tmp_path / "symbols.yaml", quote="USDT"),))
    with pytest.raises(ExpressionError) as caught:
        compile_recipe(recipe_of(tmp_path, a="grp_mean(close, sector)"), allow_modules=(), max_window=9, fields=fields)
    assert f"there is no symbols table {tmp_path / 'symbols.yaml'} (setting symbols_table)" in str(caught.value)
    assert "a row of it is 'BTC: {sector: layer-1, supply: 19800000}'" in str(caught.value)


def test_a_factor_is_no_group_and_takes_no_column_s_name(table: SymbolsTable, tmp_path: Path) -> None:
    fields = Fields((table,))
    with pytest.raises(RecipeError, match="the expression is a group, which has no size"):
        compile_recipe(recipe_of(tmp_path, a="sector"), allow_modules=(), max_window=9, fields=fields)
    with pytest.raises(RecipeError, match="'supply' is a column of the symbols table; choose another name"):
        compile_recipe(recipe_of(tmp_path, Supply="close"), allow_modules=(), max_window=9, fields=fields)


def test_the_shipped_table_says_what_the_settings_promise() -> None:
    table = open_fields(CoreSettings()).fillers[0]
    assert isinstance(table, SymbolsTable)
    assert CoreSettings().symbols_table in CORE_YAML.read_text(encoding="utf-8")
    assert [source.name for source in table.sources] == ["sector", "chain", "launch", "supply"]
    sector, chain, launch, supply = table.columns
    assert set(launch.values) | set(supply.values) <= set(sector.values) == set(chain.values)
    assert len(sector.values) > 50
    bitcoin = float(np.datetime64("2009-01-03T00:00", "ns").astype(np.int64))
    assert (launch.values["BTC"], supply.values["BTC"]) == (bitcoin, 19.8e6)
    assert sector.labels[int(sector.values["ETH"])] == "layer-1"
    panel = replace(small_panel(rows=5, quirks=False), timeframe=parse_timeframe("1d"))
    assert np.isnan(table.fill("sector", panel)).all()
