"""Stage A with a symbols table and the market's operators: real klines against pandas, and what the table decides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from Backtest.data.hub_write import Build
from Backtest.documents import load_document
from Backtest.errors import DataError, HubError
from Backtest.files import text_sha1
from Backtest.prepare import prepare
from Backtest.settings import PROJECT_ROOT

from .market import arguments, digests, run, settings

SYMBOLS = (
    "AAVE", "ADA", "AVAX", "B2", "BCH", "BTC", "DOGE", "ETH", "LINK", "LTC", "PENDLE", "SOL", "WIF", "XRP",
)  # fmt: skip
RECIPE = """let:
  ret: returns(close, 6)
factors:
  - {name: raw, type: expression, expression: ret}
  - {name: price, type: expression, expression: close}
  - {name: demeaned, type: expression, expression: "grp_demean(ret, sector)"}
  - {name: ranked, type: expression, expression: "grp_rank(ret, sector)"}
  - {name: scored, type: expression, expression: "grp_zscore(ret, chain)"}
  - {name: middle, type: expression, expression: "grp_median(ret, sector)"}
  - {name: spread, type: expression, expression: "grp_std(ret, sector)"}
  - {name: total, type: expression, expression: "grp_sum(ret, sector)"}
  - {name: count, type: expression, expression: "grp_count(ret, sector)"}
  - {name: share, type: expression, expression: "grp_scale(ret, sector)"}
  - {name: sized, type: expression, expression: "grp_mean(ret, bucket(supply * close, 1e10, 1e11))"}
  - {name: dear, type: expression, expression: "close / vwap - 1"}
  - {name: traded, type: expression, expression: "adv(42)"}
  - {name: liquid, type: expression, expression: "adv_rank(5, d=42)"}
  - {name: listed, type: expression, expression: age}
  - {name: since, type: expression, expression: launch}
"""


@pytest.fixture(scope="module")
def made(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, dict]:
    """The factor set of real futures, one row a bar and symbol, and its metadata."""
    hub = tmp_path_factory.mktemp("groups")
    line = arguments(real_data / "um_futures", hub, recipe=RECIPE)
    line[line.index("1h")] = "4h"
    done = run([*line, "--symbols", ",".join(SYMBOLS), "--start", "2025-04-01", "--end", "2025-07-01"])
    assert done.returncode == 0, done.stderr
    metadata = json.loads((hub / "metadata" / "4h" / "one.json").read_text(encoding="utf-8"))
    folder = hub / "factors" / "4h" / "one"
    frames = {path.stem: pd.read_parquet(path).set_index("timestamp") for path in sorted(folder.iterdir())}
    return pd.concat(frames, names=["symbol"]), metadata


@pytest.fixture(scope="module")
def shipped() -> dict[str, dict]:
    """The shipped table, as yaml reads it."""
    table: dict[str, dict] = load_document(PROJECT_ROOT / "config" / "symbols.yaml").value
    return table


def test_groups_equal_pandas_groupby(made, shipped):
    frame, metadata = made
    path = PROJECT_ROOT / "config" / "symbols.yaml"
    assert metadata["fields"] == {"symbols_table": text_sha1(path.read_bytes())}
    frame = frame[frame["tradable_flag"]]
    coins = frame.index.get_level_values("symbol").str.removesuffix("USDT")
    facts = pd.DataFrame([shipped.get(coin, {}) for coin in coins], index=frame.index)
    time = frame.index.get_level_values("timestamp")
    sector, chain = (frame["raw"].groupby([time, facts[name]]) for name in ("sector", "chain"))
    cap = facts["supply"] * frame["price"]
    bucket = pd.cut(cap, [-np.inf, 1e10, 1e11, np.inf], labels=False)
    absolute = frame["raw"].abs().groupby([time, facts["sector"]]).transform("sum")
    want = {
        "demeaned": frame["raw"] - sector.transform("mean"),
        "ranked": sector.rank(pct=True),
        "scored": (frame["raw"] - chain.transform("mean")) / chain.transform("std"),
        "middle": sector.transform("median"),
        "spread": sector.transform("std"),
        "total": sector.transform("sum"),
        "count": sector.transform("count"),
        "share": frame["raw"] / absolute,
        "sized": frame["raw"].groupby([time, bucket]).transform("mean"),
    }
    assert facts["sector"].nunique() >= 6
    assert facts["sector"].isna().any()
    for name, series in want.items():
        assert series.notna().sum() > 1000, name
        np.testing.assert_allclose(frame[name], series, rtol=1e-9, atol=1e-13, err_msg=name)


def test_market_rows_equal_pandas(made, shipped, real_data):
    frame, _ = made
    folder = real_data / "um_futures" / "6.Binance Data Resampled" / "4h"
    adv = {}
    for coin in SYMBOLS:
        symbol = f"{coin}USDT"
        own = frame.loc[symbol]
        klines = pd.read_csv(folder / f"{symbol}.csv.gz")
        klines.index = pd.to_datetime(klines["open_time"], unit="ms", utc=True)
        bars = klines.asfreq("4h")
        adv[symbol] = bars["quote_asset_volume"].rolling(42).mean().reindex(own.index)
        vwap = (bars["quote_asset_volume"] / bars["volume"]).reindex(own.index)
        np.testing.assert_allclose(own["dear"], own["price"] / vwap - 1, rtol=0, atol=1e-12)
        np.testing.assert_allclose(own["traded"], adv[symbol], rtol=1e-9)
        np.testing.assert_array_equal(own["listed"], (own.index - klines.index[0]) / pd.Timedelta("4h"))
        launch = shipped.get(coin, {}).get("launch")
        close = own.index + pd.Timedelta("4h")
        days = np.nan if launch is None else (close - pd.Timestamp(launch, tz="UTC")) / pd.Timedelta("1D")
        np.testing.assert_allclose(own["since"], days if launch else np.full(len(own), np.nan), rtol=1e-12)
    ranks = pd.DataFrame(adv).rank(axis=1, ascending=False)
    liquid = frame["liquid"].unstack("symbol").reindex(columns=ranks.columns)
    assert (liquid.sum(axis=1).iloc[:-1] == 5).all()
    both = liquid.notna() & ranks.notna()
    assert ((ranks <= 5).astype(float).where(both).fillna(-1) == liquid.where(both).fillna(-1)).all(axis=None)


TABLE = "AAA: {sector: x}\nBBBUSDT: {sector: x}\nCCC: {sector: y, supply: 2}\n"
GROUPED = "factors:\n  - {name: own, type: expression, expression: 'grp_demean(close, sector)'}\n"


def test_the_table_is_named_by_a_flag_and_decides_the_values(market, tmp_path, inline):
    """Another table gives other bytes for the symbols whose group it changes, and another hash in the metadata."""
    first, second = tmp_path / "one.yaml", tmp_path / "two.yaml"
    first.write_text(TABLE, encoding="utf-8")
    second.write_text(TABLE.replace("sector: y", "sector: x"), encoding="utf-8")
    line = arguments(market, tmp_path / "hub", recipe=GROUPED)
    done = run([*line, "--symbols-table", first.name], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    prepare(settings(market, tmp_path / "other", recipe=GROUPED, symbols_table=str(second)))
    for hub, table in ((tmp_path / "hub", first), (tmp_path / "other", second)):
        written = json.loads((hub / "metadata" / "1h" / "one.json").read_text(encoding="utf-8"))
        assert written["fields"] == {"symbols_table": text_sha1(table.read_bytes())}
    one, two = digests(tmp_path / "hub"), digests(tmp_path / "other")
    assert {name for name in one if one[name] != two[name]} == {"AAAUSDT.parquet", "BBBUSDT.parquet", "CCCUSDT.parquet"}


def test_an_unfinished_set_of_another_table_is_not_resumed(market, tmp_path, monkeypatch, inline):
    """The same command after the table was changed would mix two tables."""
    table = tmp_path / "symbols.yaml"
    table.write_text(TABLE, encoding="utf-8")
    given = settings(market, tmp_path, recipe=GROUPED, symbols_table=str(table))

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Build, "publish", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare(given)
    table.write_text(TABLE.replace("sector: y", "sector: x"), encoding="utf-8")
    with pytest.raises(HubError, match="holds an unfinished run that differs in the symbols table;"):
        prepare(given)
    table.write_text(TABLE, encoding="utf-8")
    assert prepare(given)["status"] == "ok"


def test_an_implied_column_that_a_file_lacks_is_named(market, tmp_path, inline):
    """No file of this market has quote volumes."""
    recipe = "factors:\n  - {name: dear, type: expression, expression: close / vwap}\n"
    with pytest.raises(DataError, match="a factor needs column quote_asset_volume"):
        prepare(settings(market, tmp_path, recipe=recipe))


def test_a_table_that_is_named_must_exist(market, tmp_path):
    """Without it, whatever `needs` one of its columns would be left out, although a table was named."""
    line = arguments(market, tmp_path / "hub", recipe="factors: [{name: a, type: expression, expression: close}]\n")
    done = run([*line, "--symbols-table", "tabel.yaml"], cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --symbols-table: there is no file {tmp_path / 'tabel.yaml'}\n"
    assert not (tmp_path / "hub" / "factors").exists()
