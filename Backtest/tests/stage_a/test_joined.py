"""Funding, open interest and external series through Stage A: values by pandas, refusals, hashes, resuming."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from Backtest.errors import DataError, ExpressionError, HubError, RecipeError
from Backtest.prepare import prepare
from Backtest.stage_a import run as stage_run
from Backtest.stage_a.explain import explain_recipe

from .market import FIRST_MS, HOUR_MS, SYMBOLS, InlinePool, digests, frame_of, metadata_of, settings, write_market

HOUR = pd.Timedelta(hours=1)
JOINED = """external:
  issued: {path: supply.csv, column: supply}
  mood: {path: deep/mood.parquet, column: Index, time: when, valid: 3d}
factors:
  - {name: paid, type: expression, expression: 'funding(24, "sum")'}
  - {name: rate, type: expression, expression: 'funding(24, "mean")'}
  - {name: crowd, type: expression, expression: 'oi_change(6)'}
  - {name: held, type: expression, expression: 'open_interest'}
  - {name: coins, type: expression, expression: 'asof(issued, "1d")'}
  - {name: fresh, type: expression, expression: 'asof(mood, "0h") - asof(mood, "90min")'}
"""


def funding_of(symbol: str) -> pd.DataFrame:
    rng = np.random.default_rng(SYMBOLS.index(symbol))
    stamps = FIRST_MS + 8 * HOUR_MS * np.arange(3, 180) + rng.integers(0, 40, 177)
    return pd.DataFrame({"timestamp": stamps, "symbol": symbol, "funding_rate": rng.normal(0, 1e-4, 177).round(8)})


def interest_of(symbol: str) -> pd.DataFrame:
    rng = np.random.default_rng(99 + SYMBOLS.index(symbol))
    stamps = FIRST_MS + 4 * HOUR_MS * np.arange(5, 300)
    kept = stamps[rng.random(len(stamps)) > 0.2]
    return pd.DataFrame({"timestamp": kept, "symbol": symbol, "sum_open_interest": rng.lognormal(8, 0.1, len(kept))})


@pytest.fixture
def joined(tmp_path):
    """A small market with everything beside its klines."""
    root = write_market(tmp_path / "data", SYMBOLS[:3])
    for symbol in SYMBOLS[:3]:
        table = funding_of(symbol)
        for folder, part in (("funding", table.iloc[:100]), ("later", table.iloc[90:])):
            (root / folder).mkdir(exist_ok=True)
            part.to_csv(root / folder / f"{symbol}.csv.gz", index=False)
        (root / "open_interest").mkdir(exist_ok=True)
        interest_of(symbol).to_parquet(root / "open_interest" / f"{symbol}.parquet")
    (root / "external" / "deep").mkdir(parents=True)
    days = pd.date_range("2023-01-02", periods=40, freq="D")
    values = np.round(100 + np.arange(40.0) ** 1.5, 3)
    pd.DataFrame({"date": days.strftime("%Y-%m-%d"), "supply": values}).to_csv(
        root / "external/supply.csv", index=False
    )
    keep = np.arange(40) % 7 != 3
    mood = pd.DataFrame({"when": days[keep] + pd.Timedelta("10min"), "Index": values[keep]})
    mood.to_parquet(root / "external/deep/mood.parquet")
    return root


def run_joined(market, hub, recipe=JOINED, **more):
    return prepare(settings(market, hub, recipe=recipe, **{"funding_folder": "funding, later", **more}))


def expected(joined, symbol: str, index: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the factors on the clock of a symbol's rows, by merge_asof and rolling sums."""
    left = pd.DataFrame({"open": index, "close": index + HOUR})

    def known(table: pd.DataFrame, column: str, lag: str) -> pd.DataFrame:
        right = table.assign(known=table["stamp"] + pd.Timedelta(lag)).sort_values("known")
        return pd.merge_asof(left, right[["known", "stamp", column]], left_on="close", right_on="known")

    def stamped(table: pd.DataFrame, stamps: pd.Series) -> pd.DataFrame:
        return table.assign(stamp=pd.to_datetime(stamps, utc=True).astype("datetime64[ns, UTC]"))

    funding = funding_of(symbol)
    at = pd.to_datetime(funding["timestamp"], unit="ms", utc=True).dt.round("min")
    paid = funding["funding_rate"].groupby(at).sum().reindex(index, fill_value=0.0)
    count = at.groupby(at).size().reindex(index, fill_value=0)
    known_from, known_to = at.iloc[0], at.iloc[-1] + pd.Timedelta("8h")
    inside = (index >= known_from) & (index + HOUR <= known_to)
    paid, count = paid.where(inside), count.where(inside)
    enough = (paid.rolling(24, min_periods=1).count() >= 22) & (np.arange(len(index)) >= 23)
    total, number = (one.rolling(24, min_periods=1).sum().where(enough) for one in (paid, count))
    interest = interest_of(symbol)
    interest = known(stamped(interest, pd.to_datetime(interest["timestamp"], unit="ms")), "sum_open_interest", "0h")
    held = interest["sum_open_interest"].where(left["close"] - interest["stamp"] <= pd.Timedelta("1d")).to_numpy()
    supply = pd.read_csv(joined / "external/supply.csv")
    mood = pd.read_parquet(joined / "external/deep/mood.parquet")
    moods = []
    for lag in ("0h", "90min"):
        found = known(stamped(mood, mood["when"]), "Index", lag)
        moods.append(found["Index"].where(left["close"] - found["stamp"] <= pd.Timedelta("3d")).to_numpy())
    return pd.DataFrame(
        {
            "paid": total.to_numpy(),
            "rate": (total / number.where(number > 0)).to_numpy(),
            "crowd": held / np.concatenate((np.full(6, np.nan), held[:-6])) - 1,
            "held": held,
            "coins": known(stamped(supply, supply["date"]), "supply", "1d")["supply"].to_numpy(),
            "fresh": moods[0] - moods[1],
        },
        index=index,
    )


def test_every_value_equals_merge_asof(joined, tmp_path, inline):
    run_joined(joined, tmp_path / "hub")
    for symbol in SYMBOLS[:3]:
        frame = frame_of(tmp_path / "hub", symbol)
        bars = frame["tradable_flag"].index
        want = expected(joined, symbol, bars)
        close = pd.read_csv(joined / "6.Binance Data Resampled/1h" / f"{symbol}.csv")["open_time"]
        exists = bars.isin(pd.to_datetime(close, unit="ms", utc=True))
        for name in want:
            ours, theirs = frame[name].to_numpy(), want[name].where(exists).to_numpy()
            np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=f"{symbol} {name}")
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12, err_msg=f"{symbol} {name}")
            assert np.isfinite(ours).sum() > 500, name


def test_metadata_name_every_file_with_its_hash(joined, tmp_path, inline):
    run_joined(joined, tmp_path / "hub")
    metadata = metadata_of(tmp_path / "hub")
    external = {path for path in metadata["fields"] if "external" in path}
    assert external == {str(joined / "external" / name) for name in ("supply.csv", "deep/mood.parquet")}
    stamped = metadata["files"]["AAAUSDT"]["stamped"]
    names = ("funding/AAAUSDT.csv.gz", "later/AAAUSDT.csv.gz", "open_interest/AAAUSDT.parquet")
    assert list(stamped) == [str(joined / name) for name in names]
    kinds = {finding["kind"] for finding in metadata["qc"]["AAAUSDT"]}
    assert "stamped_overlap" in kinds
    assert "stamped_duplicates" not in kinds, "an overlap of two files that agree is no fault"


def test_same_bytes_for_any_cut_and_later_start(joined, tmp_path, inline, monkeypatch):
    run_joined(joined, tmp_path / "one")
    monkeypatch.setattr(stage_run, "largest_block", lambda job, symbols: 1)
    run_joined(joined, tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    run_joined(joined, tmp_path / "later", start="2023-01-20", end="2023-02-10")
    whole = frame_of(tmp_path / "one", "BBBUSDT")
    later = frame_of(tmp_path / "later", "BBBUSDT")
    for name in later.columns:
        assert later[name].to_numpy().tobytes() == whole[name].reindex(later.index).to_numpy().tobytes(), name


def test_coarser_bars_have_the_same_settlements(joined, tmp_path, inline):
    run_joined(joined, tmp_path / "hub", timeframe="1d", recipe=JOINED.replace("24,", "1,").replace("(6)", "(1)"))
    frame = pd.read_parquet(tmp_path / "hub/factors/1d/one/AAAUSDT.parquet").set_index("timestamp")
    funding = funding_of("AAAUSDT")
    days = pd.to_datetime(funding["timestamp"], unit="ms", utc=True).dt.floor("D")
    want = funding["funding_rate"].groupby(days).agg(["sum", "mean", "count"]).query("count == 3")
    got = frame["paid"].dropna()
    np.testing.assert_allclose(got, want["sum"].reindex(got.index), rtol=1e-12)
    np.testing.assert_allclose(frame["rate"].dropna(), want["mean"].reindex(got.index), rtol=1e-12)
    assert len(got) == len(want) == 59


def test_a_symbol_without_a_file_is_refused_by_name(joined, tmp_path, inline):
    (joined / "funding" / "BBBUSDT.csv.gz").unlink()
    (joined / "later" / "BBBUSDT.csv.gz").unlink()
    (joined / "open_interest" / "CCCUSDT.parquet").write_bytes(b"PAR1 broken PAR1")
    summary = run_joined(joined, tmp_path / "hub")
    assert summary["status"] == "incomplete"
    assert summary["symbols"] == ["AAAUSDT"]
    assert "a factor needs funding_" in summary["refused"]["BBBUSDT"]
    assert "(setting funding_folder) has no file of BBBUSDT" in summary["refused"]["BBBUSDT"]
    assert "CCCUSDT.parquet: not a whole Parquet file" in summary["refused"]["CCCUSDT"]


def test_files_that_contradict_each_other_refuse_the_symbol(joined, tmp_path, inline):
    table = pd.read_csv(joined / "later" / "AAAUSDT.csv.gz")
    table.loc[0, "funding_rate"] += 1e-4
    table.to_csv(joined / "later" / "AAAUSDT.csv.gz", index=False)
    summary = run_joined(joined, tmp_path / "hub")
    assert "1 stamps have two values, first 2023-02-01T00:00:00Z: " in summary["refused"]["AAAUSDT"]


def test_one_file_for_a_symbol_may_stand_in_the_list(joined, tmp_path, inline):
    whole = funding_of("AAAUSDT").rename(columns={"timestamp": "calc_time"})
    whole.to_csv(joined / "funding_AAAUSDT_2023.csv", index=False)
    run_joined(joined, tmp_path / "two", symbols=("AAAUSDT",))
    run_joined(joined, tmp_path / "one", symbols=("AAAUSDT",), funding_folder=["funding_AAAUSDT_2023.csv"])
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    again = run_joined(
        joined, tmp_path / "none", symbols=("AAAUSDT", "BBBUSDT"), funding_folder="funding_AAAUSDT_2023.csv"
    )
    assert list(again["refused"]) == ["BBBUSDT"]


def test_a_missing_folder_or_file_stops_before_anything_is_read(joined, tmp_path, inline):
    with pytest.raises(
        DataError, match=r"there is no folder .*nowhere \(setting funding_folder\), which a factor needs"
    ):
        run_joined(joined, tmp_path / "hub", funding_folder="nowhere", dry_run=True)
    broken = JOINED.replace("supply.csv", "suply.csv")
    with pytest.raises(RecipeError, match=r"line 2.*external series 'issued': there is no file 'suply\.csv' in"):
        run_joined(joined, tmp_path / "hub", recipe=broken, dry_run=True)
    (tmp_path / "secret.csv").write_text("date,supply\n2023-01-01,1\n", encoding="utf-8")
    for path in ("../../secret.csv", str(tmp_path / "secret.csv")):
        with pytest.raises(RecipeError, match="leads outside"):
            run_joined(joined, tmp_path / "hub", recipe=JOINED.replace("supply.csv", path), dry_run=True)
    assert run_joined(joined, tmp_path / "hub", dry_run=True)["status"] == "dry_run"
    assert not (tmp_path / "hub" / "klines").exists()


def test_an_external_name_alone_is_an_error_with_a_caret(joined, tmp_path, inline):
    for text in ("issued", "issued / close", "rank(issued)"):
        recipe = JOINED + f"  - {{name: bare, type: expression, expression: '{text}'}}\n"
        with pytest.raises(ExpressionError, match=r"external series 'issued'.*; write asof\(name") as caught:
            run_joined(joined, tmp_path / "hub", recipe=recipe)
        assert "^" in str(caught.value)
    table = JOINED.replace("issued:", "supply:").replace("asof(issued", "asof(supply")
    with pytest.raises(RecipeError, match="'supply' is a column of the symbols table; choose another name"):
        run_joined(joined, tmp_path / "hub", recipe=table)
    taken = JOINED.replace("issued:", "open_interest:").replace("asof(issued", "asof(open_interest")
    with pytest.raises(RecipeError, match="'open_interest' is a field of funding or open interest; choose another"):
        run_joined(joined, tmp_path / "hub", recipe=taken)
    with pytest.raises(RecipeError, match="'issued' is a column of the recipe's external series"):
        run_joined(
            joined, tmp_path / "hub", recipe=JOINED + "  - {name: issued, type: expression, expression: close}\n"
        )


class Stopped(InlinePool):
    """Does the first task only, as if the run had been stopped."""

    def run(self, tasks):
        for number, outcome in enumerate(super().run(tasks)):
            if number:
                raise KeyboardInterrupt
            yield outcome


@pytest.mark.parametrize("what", ["nothing", "funding", "a new file", "external"])
def test_a_resumed_run_never_mixes_versions(joined, tmp_path, inline, monkeypatch, what):
    monkeypatch.setattr(stage_run, "largest_block", lambda job, symbols: 1)
    with monkeypatch.context() as patch:
        patch.setattr("Backtest.prepare.Pool", Stopped)
        with pytest.raises(KeyboardInterrupt):
            run_joined(joined, tmp_path / "hub", workers=1)
    first = tmp_path / "hub/factors/1h/one.partial"
    (kept,) = first.glob("*.parquet")
    before = kept.stat().st_mtime_ns
    if what == "funding":
        path = joined / "later" / f"{kept.stem}.csv.gz"
        table = pd.read_csv(path)
        table.loc[len(table) - 1, "funding_rate"] *= 2
        table.to_csv(path, index=False)
    elif what == "a new file":
        (joined / "later" / "ZZZUSDT.csv").write_text("timestamp,funding_rate\n1672531200,0\n", encoding="utf-8")
    elif what == "external":
        with open(joined / "external/supply.csv", "a", encoding="utf-8") as stream:
            stream.write("2023-03-01,1\n")
    place = {"a new file": joined / "later", "external": joined / "external" / "supply.csv"}.get(what)
    overwrite = place is not None  # the manifest differs: half a set must be given up knowingly
    if overwrite:
        with pytest.raises(HubError, match=f"unfinished run that differs in {place};"):
            run_joined(joined, tmp_path / "hub", workers=1)
    run_joined(joined, tmp_path / "hub", workers=1, overwrite=overwrite)
    run_joined(joined, tmp_path / "cold", workers=1)
    assert digests(tmp_path / "hub") == digests(tmp_path / "cold")
    made = (tmp_path / "hub/factors/1h/one" / kept.name).stat().st_mtime_ns
    assert (made == before) == (what == "nothing")


def test_explain_tells_the_fields(joined, tmp_path):
    text = explain_recipe(settings(joined, tmp_path / "hub", recipe=JOINED.replace("supply.csv", "gone.csv")))
    assert 'asof(issued, "1d")' in text
    assert "funding_count, funding_sum" in text
    assert json.dumps(text)
