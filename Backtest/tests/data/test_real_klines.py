"""All real data roots load, with their quirks, and hold what Python's csv module finds in the files."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from Backtest.data.clock import build_panel
from Backtest.data.source import SymbolBars, load_symbol, open_root
from Backtest.data.timeframe import parse_timeframe
from Backtest.data.universe import resolve_symbols
from Backtest.settings import CoreSettings

from .kline_files import KLINES, REAL_DATA

pytestmark = pytest.mark.skipif(not REAL_DATA.is_dir(), reason=f"no real data at {REAL_DATA} (FACTOR_REAL_DATA)")

ROOTS = {
    ("um_futures", "4h"): 40, ("um_futures", "1h"): 12, ("um_futures", "1m"): 4, ("spot_daily", "1d"): 34,
    ("spot_all_columns", "1h"): 2, ("spot_all_columns", "4h"): 2, ("spot_all_columns", "1d"): 2, ("spot_2h", "2h"): 8,
    ("spot_1h_delisted", "1h"): 13, ("spot_multi_tf", "15m"): 2, ("spot_multi_tf", "1h"): 2,
    ("spot_multi_tf", "2h"): 2, ("spot_multi_tf", "1d"): 2,
}  # fmt: skip
KEEP = CoreSettings(last_bar="keep")


def load_all(market: str, timeframe: str, settings: CoreSettings = KEEP) -> list[SymbolBars]:
    root = open_root(REAL_DATA / market, parse_timeframe(timeframe), settings)
    return [load_symbol(root, symbol, settings=settings, cache_root=None) for symbol in resolve_symbols(root, None)]


def by_csv_module(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def seconds(cell: str) -> int:
    if cell.isdigit():
        return int(cell) // 1000
    moment = datetime.fromisoformat(cell)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp())


@pytest.mark.parametrize("market,timeframe", ROOTS)
def test_every_row_of_every_root_is_read_as_the_csv_module_reads_it(market, timeframe):
    loaded = load_all(market, timeframe)
    assert len(loaded) == ROOTS[market, timeframe]
    # every value of three symbols, first and last row and the count of all
    for place, bars in enumerate(loaded):
        body = by_csv_module(REAL_DATA / market / KLINES / timeframe / f"{bars.symbol}.csv.gz")
        assert len(bars.index) == len(body)
        names = [name for name in body[0] if name not in ("open_time", "close_time")]
        assert list(bars.columns) == names
        for row in range(len(body)) if place < 3 else (0, len(body) - 1):
            cells = body[row]
            assert bars.timeframe.open_ns(int(bars.index[row])) == seconds(cells["open_time"]) * 10**9
            assert [bars.fields[name][row] for name in names] == [float(cells[name]) for name in names]


def test_the_findings_are_the_quirks_that_are_known():
    found: Counter[str] = Counter()
    for market, timeframe in ROOTS:
        for bars in load_all(market, timeframe):
            found.update(finding.kind for finding in bars.findings)
    assert set(found) <= {"gaps", "zero_volume", "price_outliers", "last_bar_kept"}


def test_gaps_and_dead_coins_of_the_delisted_root():
    loaded = {bars.symbol: bars for bars in load_all("spot_1h_delisted", "1h")}
    end = max(int(bars.index[-1]) for bars in loaded.values())
    ended = {symbol for symbol, bars in loaded.items() if int(bars.index[-1]) < end - 72}
    assert ended == {name + "USDT" for name in ("ANC", "SRM", "BTT", "BZRX", "EPS", "HNT", "RAMP", "KEEP", "TRIBE")}
    assert max(int(np.diff(bars.index).max()) - 1 for bars in loaded.values()) == 4, "bars five hours apart"
    panel = build_panel(
        list(loaded.values()), timeframe=parse_timeframe("1h"), start_ns=None, end_ns=None, lookback=0,
        fields=["close"], members=loaded, episode_gap_ns=72 * 3600 * 10**9,
    )  # fmt: skip
    assert panel.exists.sum() == sum(len(bars.index) for bars in loaded.values())
    alive = panel.age[-1] > 0
    assert {symbol for symbol, lives in zip(panel.symbols, alive, strict=True) if not lives} == ended
    zero = sum(int((bars.fields["volume"] == 0).sum()) for bars in loaded.values())
    assert zero > 0
    assert panel.tradable.sum() == panel.exists.sum() - zero


@pytest.mark.parametrize("timeframe", ["1h", "2h", "1d"])
def test_quarter_hours_add_up_to_the_given_folders_exactly(tmp_path, timeframe):
    """The last bar apart: the data end with its first quarter."""
    (tmp_path / KLINES).mkdir()
    quarter = tmp_path / KLINES / "15m"
    quarter.mkdir()
    for file in (REAL_DATA / "spot_multi_tf" / KLINES / "15m").iterdir():
        (quarter / file.name).write_bytes(file.read_bytes())
    given = load_all("spot_multi_tf", timeframe)
    root = open_root(tmp_path, parse_timeframe(timeframe), CoreSettings())
    for want in given:
        got = load_symbol(root, want.symbol, settings=CoreSettings(), cache_root=tmp_path / "cache")
        assert got.last_bar == "drop"
        assert got.index.tolist() == want.index[:-1].tolist()
        for name in ("open", "high", "low", "close"):
            assert got.fields[name].tolist() == want.fields[name][:-1].tolist()
        # volumes have at most two decimals, so their sums are exact once rounded there
        assert np.round(got.fields["volume"], 2).tolist() == want.fields["volume"][:-1].tolist()
        # quote volumes were rounded to cents before and after summing: half a cent for each bar that went in
        bars = parse_timeframe(timeframe).seconds // 900
        error = np.abs(got.fields["quote_asset_volume"] - want.fields["quote_asset_volume"][:-1])
        assert error.max() <= 0.005 * (bars + 1) + 1e-6


def test_hours_add_up_to_four_hours_except_in_the_last_bar(tmp_path):
    hours = tmp_path / KLINES / "1h"
    hours.mkdir(parents=True)
    for file in (REAL_DATA / "um_futures" / KLINES / "1h").iterdir():
        (hours / file.name).write_bytes(file.read_bytes())
    given = {bars.symbol: bars for bars in load_all("um_futures", "4h")}
    root = open_root(tmp_path, parse_timeframe("4h"), KEEP)
    compared = 0
    for symbol in root.symbols:
        got = load_symbol(root, symbol, settings=KEEP, cache_root=None)
        # the first bar may lack hours before the file begins, the last ones were forming
        common = np.intersect1d(got.index, given[symbol].index)[1:-1]
        mine, theirs = np.isin(got.index, common), np.isin(given[symbol].index, common)
        for name in ("open", "high", "low", "close", "number_of_trades"):
            assert got.fields[name][mine].tolist() == given[symbol].fields[name][theirs].tolist(), (symbol, name)
        compared += len(common)
    assert compared > 12 * 1000
