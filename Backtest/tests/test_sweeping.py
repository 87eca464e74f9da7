"""``run_sweep``: trials are the runs of run_backtest; its folder is whole, the same for any workers, or absent."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from Backtest.metrics import METRICS
from Backtest.results import incomplete_runs, run_folders
from Backtest.run_backtest import command as backtest
from Backtest.run_sweep import command
from Backtest.tests.fake_market import Market, make_market

GRID = ("--param", "k=1,2,5", "--param", "rebalance=6,1d", "--param", "weighting=equal,inverse_vol",
        "--param", "vol_window=5")  # fmt: skip
UM = ("--market", "um", "--leverage", "5", "ETH=10", "--margin-mode", "isolated")
OVERLAYS = ("--overlay", "trailing_stop:pct=0.02", "--overlay", "vol_target:annual=0.3,days=5")
OWN = "Backtest.tests.sample_strategy"


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Market:
    return make_market(tmp_path_factory.mktemp("sweeps"))


@pytest.fixture(autouse=True)
def without_pictures(monkeypatch):
    monkeypatch.setattr("Backtest.simulate.draw_all", lambda *_: {})


def swept(market: Market, capsys, *more: str, strategy: str = "topk") -> tuple[Path, dict]:
    code = command(market.arguments(*more, strategy=strategy))
    out, err = capsys.readouterr()
    assert code == 0, err
    told = json.loads(out)
    return Path(told["path"]), told


def rows_of(folder: Path) -> list[dict]:
    with open(folder / "trials.csv", encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize(
    "strategy, grid, names",
    [
        ("topk", GRID, ("k", "rebalance", "weighting", "vol_window")),
        ("longshort", ("--param", "k=1,2", "--param", "gross_leverage=0.5,1.5"), ("k", "gross_leverage")),
        ("signal", ("--param", "upper=0.01,0.03", "--param", "lower=-inf,-0.01"), ("upper", "lower")),
        (f"{OWN}:RisingShare", ("--allow-module", OWN, "--param", "weight=0.05,0.15"), ("weight",)),
        ("topk", ("--param", "k=1,3", *OVERLAYS), ("k",)),
        ("longshort", ("--param", "k=1,2", "--param", "gross_leverage=2,9", *UM), ("k", "gross_leverage")),
        ("topk", ("--param", "k=1,2", "--param", "invest=2", *UM, *OVERLAYS), ("k", "invest")),
    ],
)
def test_a_trial_has_the_metrics_of_the_run_with_its_parameters(market, capsys, strategy, grid, names):
    folder, told = swept(market, capsys, *grid, strategy=strategy)
    rows = rows_of(folder)
    assert told["trials"] == len(rows) >= 2
    allow = ["--allow-module", OWN] if ":" in strategy else [*OVERLAYS] if "--overlay" in grid else []
    allow += UM if "um" in grid else []
    for row in (rows[0], rows[len(rows) // 2], rows[-1]):
        params = [f"{name}={row[name]}" for name in names]
        words = [word for param in params for word in ("--param", param)]
        assert backtest(market.arguments("--engine", "numba", *allow, *words, strategy=strategy)) == 0
        metrics = json.loads(capsys.readouterr().out)["metrics"]
        assert list(metrics) == list(row)[-len(metrics) :]
        for name, value in metrics.items():
            if isinstance(value, float):
                assert float(row[name]) == pytest.approx(value, rel=1e-12, abs=1e-12), name
            else:
                assert row[name] == ("" if value is None else str(value)), name


def test_a_liquidated_trial_is_told_and_never_the_best(market, capsys):
    """At a gross leverage of 8 every trial is liquidated, at 1 none; the best is named among the others only."""
    words = (*UM, "--leverage", "10", "--param", "k=1", "--sort", "num_liquidations")
    folder, told = swept(market, capsys, *words, "--param", "gross_leverage=9,1,8", strategy="longshort")
    struck = [int(row["num_liquidations"]) for row in rows_of(folder)]
    assert [count > 0 for count in struck] == [True, False, True]
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert (summary["market"], summary["liquidated"]) == ("um", 2)
    assert [trial["trial"] for trial in summary["best"]] == [2] == [told["best"]["trial"]]
    context = json.loads((folder / "sweep_context.json").read_text(encoding="utf-8"))
    assert context["market"] == "um"
    assert any(line.startswith("funding of 6 symbols is unknown") for line in context["warnings"])
    assert "2 of 3 trials were liquidated: they are not among the best" in (folder / "logs.txt").read_text("utf-8")
    _, told = swept(market, capsys, *words, "--param", "gross_leverage=9,8", strategy="longshort")
    assert told["best"] is None


def test_the_folder_does_not_depend_on_the_workers_and_names_the_best(market, capsys):
    first, told = swept(market, capsys, *GRID, "--workers", "1", "--sort", "max_drawdown")
    second, _ = swept(market, capsys, *GRID, "--workers", "3", "--sort", "max_drawdown")
    assert first != second
    assert (first / "trials.csv").read_bytes() == (second / "trials.csv").read_bytes()
    summary, other = (json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in (first, second))
    assert {**summary, "sweep_id": ""} == {**other, "sweep_id": ""}
    drawdowns = [float(row["max_drawdown"]) for row in rows_of(first)]
    assert [trial["metrics"]["max_drawdown"] for trial in summary["best"]] == sorted(drawdowns, reverse=True)[:10]
    assert summary["best"][0] == told["best"]
    assert summary["varied"] == ["k", "rebalance", "weighting"]
    assert summary["grid"]["k"] == ["1", "2", "5"]
    assert sorted(path.name for path in first.iterdir()) == [
        "logs.txt", "summary.json", "sweep_context.json", "trials.csv",
    ]  # fmt: skip


def test_parquet_holds_what_csv_holds(market, capsys):
    folder, _ = swept(market, capsys, *GRID, "--format", "parquet")
    rows = rows_of(swept(market, capsys, *GRID)[0])
    table = pq.read_table(folder / "trials.parquet").to_pylist()
    assert [list(row) for row in table] == [list(row) for row in rows]
    for left, right in zip(table, rows, strict=True):
        assert left["k"] == int(right["k"])
        assert left["sharpe_ratio"] == float(right["sharpe_ratio"])
        assert left["num_orders"] == int(right["num_orders"])
        assert (left["ruined"], left["ascending"]) == (False, False)
    assert set(METRICS) >= set(table[0]) & set(METRICS)


def test_an_infinite_parameter_is_a_number_in_either_table_and_text_in_json(market, capsys):
    grid = ("--param", "upper=0,inf", "--param", "lower=-inf")
    csv_folder, told = swept(market, capsys, *grid, strategy="signal")
    folder, _ = swept(market, capsys, *grid, "--format", "parquet", strategy="signal")
    table = pq.read_table(folder / "trials.parquet").to_pylist()
    assert [(row["upper"], row["lower"]) for row in table] == [(0.0, -math.inf), (math.inf, -math.inf)]
    assert [(row["upper"], row["lower"]) for row in rows_of(csv_folder)] == [("0.0", "-inf"), ("inf", "-inf")]
    assert told["best"]["params"]["lower"] == "-inf"


def test_the_context_tells_what_was_swept_and_run_lists_do_not_show_it(market, capsys):
    folder, _ = swept(market, capsys, *GRID)
    context = json.loads((folder / "sweep_context.json").read_text(encoding="utf-8"))
    assert context["strategy"]["params"]["rebalance"] == ["6", "1d"]
    assert context["engine"] == "numba"
    assert set(context["outputs"]) == {"trials.csv", "summary.json"}
    assert "engine" not in context["arguments"]
    assert folder.name not in run_folders(market.results)
    assert folder.name not in incomplete_runs(market.results)


def test_unknown_funding_is_refused_where_the_settings_say_so(market, capsys, tmp_path):
    config = tmp_path / "core.yaml"
    config.write_text(market.config.read_text(encoding="utf-8") + "missing_funding: refuse\n", encoding="utf-8")
    assert command(market.arguments("--market", "um", "--config", str(config))) == 2
    err = capsys.readouterr().err
    assert "funding of 6 symbols is unknown: " in err
    assert "BTCUSDT on 260 of the 260 bars it has (no funding file has it)" in err


def test_overwrite_removes_sweeps_of_the_very_same_experiment_only(tmp_path, capsys):
    market = make_market(tmp_path)
    same, _ = swept(market, capsys, "--param", "k=1,2")
    other, _ = swept(market, capsys, "--param", "k=1,3")
    last, _ = swept(market, capsys, "--param", "k=1,2", "--overwrite")
    assert not same.exists()
    assert other.exists()
    assert last.exists()


@pytest.mark.parametrize(
    "more, message",
    [
        (("--param", "k=1,x"), "k is 'x'; a whole number is allowed"),
        (("--param", "k=1,,2"), "a value between commas is empty"),
        (("--param", "k=1,2,1"), "'1' stands twice"),
        (("--param", "kk=1,2"), "'kk' is not a parameter; did you mean 'k'"),
        (("--param", "k=0,1"), "k is 0; allowed is 1"),
        (("--param", "weighting=equal,scores"), "allowed: equal, score"),
        (("--sort", "sharpe"), "did you mean 'sharpe_ratio'"),
        (("--sort", "bars"), "allowed: final_equity"),
        (("--sort", "num_liquidations"), "'num_liquidations'; allowed: final_equity"),
        (("--param", "invest=1,2"), "invest is 2.0; spot allows 0 to 1 (more: --market um with --leverage)"),
        (("--leverage", "3"), "--leverage 3: spot has none; add --market um"),
        (("--market", "um", "--leverage", "BTV=5"), "BTVUSDT is not in the run; did you mean 'BTCUSDT'"),
        (("--market", "um", "--leverage", "60"), "leverage of ADAUSDT is 60; 1 to 50 is allowed"),
        (("--workers", "-1"), "--workers -1; 0 (one per core) or more is allowed"),
        (("--param", "rebalance=" + ",".join(map(str, range(1, 2001))),
          "--param", "k=" + ",".join(map(str, range(1, 600)))), "1,198,000 trials; at most 1,000,000"),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_in_one_line(market, capsys, more, message):
    before = sorted(market.results.rglob("*"))
    code = command(market.arguments(*more))
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(market.results.rglob("*")) == before


def test_an_unknown_factor_among_known_ones_and_a_backtrader_class_are_refused(market, capsys):
    words = market.arguments()
    words[words.index("factor=mom")] = "factor=mom,mum"
    assert command(words) == 2
    assert "did you mean 'mom'" in capsys.readouterr().err
    own = market.arguments("--allow-module", OWN, strategy=f"{OWN}:BuyRising")
    assert command(own) == 2
    assert "is a backtrader.Strategy; a sweep runs classes of weights only" in capsys.readouterr().err
