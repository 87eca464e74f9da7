"""Step 4: from a run's factors to reports; what it computes itself, what it refuses, what several factors get."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from factor_evaluation.evaluate import EvaluateRequest, evaluate, open_evaluate
from factor_evaluation.parquet_store import ParquetStore

from Backtest.data.demo_market import MARKER
from Backtest.errors import DataError, RunError, SettingsError

from .market import computed, core_for, digests, prepared, step

MOMENTUM, VOLATILITY = "mom = close / shift(close, 24) - 1", "vol = ts_std(logret(close, 1), 24)"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def run(tmp_path_factory, place):
    """Return settings and layout of a run with two factors; horizon 2 has no label in it."""
    from Backtest.tests.stage_a.market import write_market

    core = core_for(write_market(tmp_path_factory.mktemp("root")), place)
    layout = prepared(core, "1h", horizons=("1", "6h"))
    computed(core, layout, MOMENTUM, VOLATILITY)
    return core, layout


def request(run, *names, **more):
    return EvaluateRequest(run[0], names or ("mom",), **more)


def document(layout, name):
    return json.loads((layout.report_folder(name) / "evaluation.json").read_text(encoding="utf-8"))


def test_rank_ic_is_what_pandas_makes_of_the_files(run):
    """Horizon 2 has no label of Step 0's; both are computed here from the input files by pandas."""
    layout = run[1]
    evaluate(request(run, horizons=("6h", "2"), html=False), ParquetStore(layout))
    found = document(layout, "mom")
    frames = {path.stem: pd.read_parquet(path).set_index("timestamp") for path in layout.inputs.glob("*.parquet")}
    opened = pd.DataFrame({symbol: frame["open"] for symbol, frame in frames.items()})
    factor = pd.DataFrame({
        symbol: pd.read_parquet(layout.factor_file("mom", symbol)).set_index("timestamp")["mom"] for symbol in frames
    }).reindex(opened.index)  # fmt: skip
    usable = pd.DataFrame({symbol: frame["volume"] > 0 for symbol, frame in frames.items()})
    for key, bars in (("6h", 6), ("2", 2)):
        label = opened.shift(-1 - bars) / opened.shift(-1) - 1
        both = factor.where(usable & label.notna()), label.where(usable & factor.notna())
        enough = both[0].notna().sum(axis=1) >= 3
        each = both[0][enough].rank(axis=1).corrwith(both[1][enough].rank(axis=1), axis=1)
        assert found["horizons"][key]["bars"] == bars
        assert found["horizons"][key]["rank_ic_mean"] == pytest.approx(each.mean(), abs=1e-12)


def test_where_step_0_wrote_returns_of_closes_alone_they_are_what_is_measured(tmp_path, market):
    """Horizon 2 is not in the run; both against pandas' closes. Another return is another trial of the same factor."""
    core = core_for(market, tmp_path)
    found: dict[tuple[str, ...], Any] = {}
    for kinds in (("close",), ("open", "close")):
        layout = prepared(core, "1h", horizons=("1",), label_kinds=kinds, overwrite=True)
        if not found:
            computed(core, layout, MOMENTUM)
        evaluate(EvaluateRequest(core, ("mom",), ("1", "2"), html=False), ParquetStore(layout))
        found[kinds] = document(layout, "mom")
    frames = {path.stem: pd.read_parquet(path).set_index("timestamp") for path in layout.inputs.glob("*.parquet")}
    close = pd.DataFrame({symbol: frame["close"] for symbol, frame in frames.items()})
    usable = pd.DataFrame({symbol: frame["volume"] > 0 for symbol, frame in frames.items()})
    factor = (close / close.shift(24) - 1).where(usable)
    for key, bars in (("1", 1), ("2", 2)):
        label = close.shift(-bars) / close - 1
        both = factor.where(label.notna()), label.where(factor.notna())
        enough = both[0].notna().sum(axis=1) >= 3
        each = both[0][enough].rank(axis=1).corrwith(both[1][enough].rank(axis=1), axis=1)
        assert found[("close",)]["horizons"][key]["rank_ic_mean"] == pytest.approx(each.mean(), abs=1e-12)
    assert "nobody who decides there buys at it" in found[("close",)]["notes"][-1]
    assert "nobody" not in " ".join(found["open", "close"]["notes"])
    assert [one["trials"]["1"]["trials"] for one in found.values()] == [2, 4]


def test_the_horizons_of_step_0_are_the_default_and_keep_their_names(run):
    summary = evaluate(request(run, html=False), ParquetStore(run[1]))
    assert list(document(run[1], "mom")["horizons"]) == ["1", "6h"] == list(summary["factors"]["mom"]["rank_ic_mean"])


def test_splits_groups_of_quantiles_and_cost_arrive(run):
    evaluate(request(run, quantiles=2, splits=("month", "quarter"), cost=0.001, html=False), ParquetStore(run[1]))
    found = document(run[1], "mom")
    assert list(found["splits"]["month"]["parts"]) == ["2023-01", "2023-02", "2023-03"]
    assert list(found["splits"]["quarter"]["parts"]) == ["2023-Q1"]
    assert len(found["horizons"]["1"]["quantile_mean_return"]) == 2
    assert found["horizons"]["1"]["net_spread"] is not None


def test_several_factors_get_a_page_and_one_ledger(run, place):
    store = ParquetStore(run[1])
    summary = evaluate(request(run, "all"), store)
    folder = run[1].reports()
    page = (folder / "factors.html").read_text(encoding="utf-8")
    assert summary["comparison"] == str(folder / "factors.html")
    assert list(summary["factors"]) == ["mom", "vol"]
    assert 'href="mom/evaluation.html"' in page
    twin = json.loads((folder / "factors.json").read_text(encoding="utf-8"))
    assert twin["correlation"]["names"] == ["mom", "vol"]
    before = twin["trials"]
    again = evaluate(request(run, "all"), store)
    assert again == summary
    assert json.loads((folder / "factors.json").read_text(encoding="utf-8"))["trials"] == before
    trials = document(run[1], "mom")["trials"]["1"]
    assert trials["trials"] == before >= 4
    assert trials["p_value"] <= trials["benjamini_hochberg"] <= trials["benjamini_yekutieli"] <= 1


def test_the_same_call_leaves_the_same_bytes(run):
    evaluate(request(run, "mom", "vol", splits=("month",)), ParquetStore(run[1]))
    first = digests(run[1].reports())
    (run[1].report_folder("vol") / "evaluation.json").unlink()  # as if killed before the last file
    evaluate(request(run, "mom", "vol", splits=("month",)), ParquetStore(run[1]))
    assert digests(run[1].reports()) == first


def test_other_klines_are_another_trial_and_a_mixture_is_told(tmp_path):
    """Same name, expression, bars and symbols: only the klines of one symbol differ in one close."""
    from Backtest.tests.stage_a.market import write_market

    core = core_for(write_market(tmp_path / "root", ("AAAUSDT", "BBBUSDT"), 200), tmp_path)
    layout = prepared(core, "1h", horizons=("1",))
    store, asked = ParquetStore(layout), EvaluateRequest(core, ("mom",), html=False)

    def trials():
        evaluate(asked, store)
        return document(layout, "mom")["trials"]["1"]["trials"], document(layout, "mom")["notes"]

    computed(core, layout, "mom = close / shift(close, 3) - 1")
    assert trials()[0] == trials()[0] == 1
    path = tmp_path / "root" / "6.Binance Data Resampled" / "1h" / "BBBUSDT.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:50], *lines[51:]]), encoding="utf-8")
    prepared(core, "1h", horizons=("1",), overwrite=True)
    count, notes = trials()
    assert count == 1  # the factor is still the old one
    assert notes[-1].startswith("the klines of BBBUSDT have changed between factor and forward returns; step3_")
    computed(core, layout, "mom = close / shift(close, 3) - 1", overwrite=True)
    count, notes = trials()
    assert (count, len(notes)) == (2, 1)


def test_a_simulated_market_is_named_even_when_its_folder_is_gone(tmp_path, market):
    (market / MARKER).write_text("simulated\n", encoding="utf-8")
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", horizons=("1",), symbols=("AAA", "BBB"))
    computed(core, layout, MOMENTUM, symbols=("AAA",))
    (market / MARKER).unlink()
    evaluate(EvaluateRequest(core, ("mom",)), ParquetStore(layout))
    page = (layout.report_folder("mom") / "evaluation.html").read_text(encoding="utf-8")
    assert "Synthetic market." in page
    assert "1 symbol (a cross-section needs 5): IC and quantiles are over time" in page


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"factors": ("moom",)}, r"factor 'moom' is not in .*; did you mean 'mom'\?"),
        ({"factors": ("zzz",)}, r"factor 'zzz' is not in .*; there are mom, vol; step3_factor_engine_04.py makes it"),
        ({"horizons": ("90min",)}, "horizon '90min' is no whole number of 1h bars"),
        ({"horizons": ("2", "2h")}, "horizons '2' and '2h' are both 2 bars"),
        ({"quantiles": 1}, "--group is 1; allowed are 2 to 100 quantiles"),
        ({"cost": 10.0}, "--cost is 10; it is a fraction of the traded value"),
        ({"cost": float("nan")}, "--cost is nan; it is a fraction"),
        ({"factors": ()}, "no factor is named; write --factor-name mom, or --factor-name all for every one"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_one_line(run, changes, message):
    with pytest.raises((RunError, SettingsError), match=message) as caught:
        open_evaluate(replace(request(run), **changes), ParquetStore(run[1]))
    assert "\n" not in str(caught.value)


def test_regimes_need_the_benchmark_in_the_run(run):
    with pytest.raises(RunError, match="regimes are BTCUSDT's, which is not in this run; add it in Step 0"):
        open_evaluate(request(run, splits=("regime",)), ParquetStore(run[1]))
    core = replace(run[0], benchmark="AAAUSDT")
    evaluate(replace(request(run, splits=("regime",), html=False), core=core), ParquetStore(run[1]))
    assert set(document(run[1], "mom")["splits"]) == {"volatility", "trend"}


def test_a_factor_that_loses_too_much_is_left_out_of_several(tmp_path, market):
    """1,500 bars of six symbols, a window of 1,400: a small part of the cells has a value; alone it is an error."""
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", horizons=("1",))
    computed(core, layout, MOMENTUM, "late = ts_mean(close, 1400)")
    asked, store = EvaluateRequest(core, ("late", "mom"), html=False), ParquetStore(layout)
    summary = evaluate(asked, store)
    assert (summary["status"], list(summary["factors"]), list(summary["refused"])) == ("incomplete", ["mom"], ["late"])
    assert "cells are lost (factor missing" in summary["refused"]["late"]
    assert not summary["refused"]["late"].startswith("late")
    assert summary["refused"]["late"].endswith("max_loss allows 0.5")
    assert not layout.report_folder("late").exists()
    for names in (("late",), ("late", "late")):
        with pytest.raises(DataError, match=r"max_loss allows 0\.5"):
            evaluate(replace(asked, factors=names), store)
    assert evaluate(replace(asked, core=replace(core, max_loss=0.95)), store)["status"] == "ok"
    assert document(layout, "late")["dropped"]["factor missing"] > 5_000


def test_missing_outputs_name_the_step(market, tmp_path):
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", horizons=("1",), symbols=("AAA",), mode="plan")
    with pytest.raises(RunError, match=r"is only a plan; run step0_prepare_inputs\.py --mode execute first"):
        open_evaluate(EvaluateRequest(core, ("mom",)), ParquetStore(layout))
    layout = prepared(core, "1h", horizons=("1",), symbols=("AAA",))
    with pytest.raises(RunError, match=r"there is no factor in .*; run step3_factor_engine_04\.py first"):
        open_evaluate(EvaluateRequest(core, ("mom",)), ParquetStore(layout))


def test_nothing_varies(market, tmp_path):
    """All-equal factor, and a factor without a value: missing measures and words, never a traceback."""
    core = core_for(market, tmp_path)
    layout = prepared(core, "1h", horizons=("1",), end="2023-01-20")
    computed(core, layout, "flat = close * 0 + 1")
    evaluate(EvaluateRequest(core, ("flat",)), ParquetStore(layout))
    found = document(layout, "flat")
    assert found["horizons"]["1"]["rank_ic_mean"] is None
    assert found["verdict"]["level"] == "unknown"
    assert np.isclose(found["distribution"]["mean"], 1.0)


def test_the_users_own_commands(real_data, tmp_path):
    """USAGE's minimal example on real 1m bars, with dates that the data have."""
    window = ("--symbols", "BTCUSDT", "--bar-freq", "3min", "--start", "2025-05-05", "--end", "2025-05-07")
    root, out = ("--data-root", real_data / "um_futures"), tmp_path / "with space"
    for script, words in (
        ("step0_prepare_inputs.py", (*root, "--output-root", out, *window, "--mode", "execute")),
        ("step3_factor_engine_04.py", (*root, "--output-dir", out / "demo_run", *window, "--dsl",
                                       "MOM3_SIMPLE = close / shift(close, 3) - 1")),
        ("step4_factor_evaluation.py", ("--output-dir", out, "--factor-name", "MOM3_SIMPLE", "--bar-freq", "3min",
                                        "--horizons", "5,15")),
    ):  # fmt: skip
        done = step(script, *words, "--run-id", "demo_run")
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
    assert summary["status"] == "ok"
    folder = out / "demo_run" / "reports" / "3min" / "MOM3_SIMPLE"
    assert {"evaluation.html", "evaluation.json", "quantile_bars.png"} <= {path.name for path in folder.iterdir()}
    assert list(json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["horizons"]) == ["5", "15"]
    done = step("step4_factor_evaluation.py", "--output-dir", out, "--factor-name", "MOM", "--run-id", "demo_run",
                "--bar-freq", "3min")  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "did you mean 'MOM3_SIMPLE'?" in done.stderr
