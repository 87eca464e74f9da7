"""Stage B as a command on a small market: what it publishes, prints, refuses and notes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from Backtest.analyze_run import command as analyze
from Backtest.metrics import SPOT_METRICS
from Backtest.report.plots import PLOTS
from Backtest.results import REQUIRED, run_folders
from Backtest.run_backtest import command
from Backtest.runs.outcome import read_table
from Backtest.settings import PROJECT_ROOT
from Backtest.tests.fake_market import (
    BARS,
    DELISTED,
    FIRST,
    SYMBOLS,
    TIMEFRAME,
    Market,
    make_factor_set,
    make_market,
    write_klines,
)


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Market:
    return make_market(tmp_path_factory.mktemp("a b é"))


@pytest.fixture(scope="module")
def run(market) -> Path:
    """One run of topk that most tests look at."""
    assert command(market.arguments("--param", "k=2", "--dsl-path", str(market.recipe))) == 0
    (folder,) = run_folders(market.results).values()
    return folder


@pytest.fixture
def fresh(tmp_path, monkeypatch) -> Market:
    """A market of its own, to be damaged; pictures are left out, they take half of the time."""
    monkeypatch.setattr("Backtest.simulate.draw_all", lambda *_: {})
    return make_market(tmp_path)


def context_of(folder: Path) -> dict:
    return json.loads((folder / "run_context.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("engine", "other"), [("numba", "backtrader"), ("backtrader", "numba")])
def test_an_engine_loads_nothing_of_the_other(market, tmp_path, engine, other):
    code = (
        "import sys; from Backtest.run_backtest import command; code = command(sys.argv[1:]);"
        f"sys.exit(code or 10 + ({other!r} in sys.modules))"
    )
    line = [sys.executable, "-c", code, *market.arguments("--engine", engine, "--results-root", str(tmp_path))]
    done = subprocess.run(line, cwd=PROJECT_ROOT, capture_output=True, check=False)
    assert done.returncode == 10, done.stderr


def stage_b(capsys, market, *more, strategy="topk"):
    """Run the command; return exit code, stdout, stderr."""
    code = command(market.arguments(*more, strategy=strategy))
    return (code, *capsys.readouterr())


def latest(market) -> Path:
    return list(run_folders(market.results).values())[-1]


def test_the_run_folder_is_complete(run):
    files = {path.name for path in run.iterdir()}
    assert files == {*REQUIRED, *PLOTS, "factor_metadata.json", "logs.txt", "report.html"}
    assert list(json.loads((run / "metrics.json").read_text(encoding="utf-8"))) == list(SPOT_METRICS)
    assert run.parent.name == "topk"
    assert [path for path in run.parent.iterdir() if path.name.startswith(".")] == []


def test_it_prints_one_json_object_and_nothing_else(market, run, capsys):
    code, out, err = stage_b(capsys, market, "--param", "k=2")
    summary = json.loads(out)
    assert (code, list(summary)) == (0, ["status", "run_id", "path", "metrics"])
    assert summary["status"] == "ok"
    assert Path(summary["path"]) == market.results / "topk" / summary["run_id"]
    assert "..." not in err  # progress is for terminals


def test_the_context_tells_all_that_is_needed_to_replay(market, run):
    context = context_of(run)
    assert context["strategy"]["params"]["k"] == 2
    assert context["strategy"]["params"]["invest"] == 0.98
    assert context["settings"]["commission"] == 0.0005
    assert context["symbols"] == list(SYMBOLS)
    assert (context["start"], context["end"]) == ("2023-01-01T00:00:00Z", "2023-02-13T08:00:00Z")
    assert set(context["inputs"]["factor_files"]) == set(context["inputs"]["klines"]) == set(SYMBOLS)
    assert context["inputs"]["data_root"] == str(market.data_root)
    assert set(context["outputs"]) == {*REQUIRED} - {"run_context.json"}
    assert re.fullmatch("[0-9a-f]{64}", context["software"]["project_code_sha256"])
    assert context["synthetic"] is True


def test_the_factor_metadata_and_the_log_are_kept(market, run):
    stored = json.loads((run / "factor_metadata.json").read_text(encoding="utf-8"))
    assert stored == json.loads(market.metadata_path.read_text(encoding="utf-8"))
    log = (run / "logs.txt").read_text(encoding="utf-8")
    assert run.name in log
    written = [path.read_text(encoding="utf-8") for path in (market.root / "logs").glob("backtest_topk_*.log")]
    assert any(whole.startswith(log) for whole in written)


def test_equity_is_finite_and_the_dead_coin_is_settled(run):
    curve = read_table(run / "equity_curve.csv")
    assert len(curve["equity"]) == BARS
    for name in ("equity", "cash", "gross_exposure", "net_exposure", "drawdown", "benchmark", "equal_weight"):
        assert np.isfinite(curve[name]).all(), name
    assert curve["benchmark"][0] == curve["equal_weight"][0] == 100_000.0
    orders = read_table(run / "orders.csv")
    assert "delisting" in orders["reason"]
    assert set(orders["status"]) <= {"filled", "rejected"}


def test_the_same_command_twice_gives_the_same_bytes(market, run):
    assert command(market.arguments("--param", "k=2")) == 0
    again = latest(market)
    assert again != run
    for name in (*context_of(run)["outputs"], "factor_metadata.json"):
        assert (again / name).read_bytes() == (run / name).read_bytes(), name
    assert context_of(again)["experiment_sha256"] == context_of(run)["experiment_sha256"]


def test_overwrite_replaces_runs_of_the_very_same_experiment_only(fresh):
    for k in ("1", "1", "2"):
        assert command(fresh.arguments("--param", f"k={k}")) == 0
    assert command(fresh.arguments("--param", "k=1", "--overwrite")) == 0
    left = [context_of(folder)["strategy"]["params"]["k"] for folder in run_folders(fresh.results).values()]
    assert sorted(left) == [1, 2]
    index = json.loads((fresh.results / "index.json").read_text(encoding="utf-8"))
    assert [entry["run_id"] for entry in index] == sorted(run_folders(fresh.results))


def test_a_factor_set_of_stage_a_gives_the_same_run(market, run, tmp_path):
    """The same klines and recipe through the real Stage A, in processes of their own, as users run both."""
    roots = ["--datahub-root", str(tmp_path / "hub"), "--config", str(market.config)]
    stage_a = [
        "Backtest/run_prepare.py", "--timeframe", "4h", "--symbols", "all", "--factor-set", "mom_v1",
        "--dsl-path", str(market.recipe), "--data-root", str(market.data_root), "--workers", "1", *roots,
    ]  # fmt: skip
    subprocess.run([sys.executable, *stage_a], cwd=PROJECT_ROOT, check=True, stdout=subprocess.DEVNULL)
    words = market.arguments(
        "--param", "k=2", "--dsl-path", str(market.recipe), "--results-root", str(tmp_path / "out")
    )
    assert command([*words, *roots]) == 0
    (again,) = run_folders(tmp_path / "out").values()
    for name in context_of(run)["outputs"]:
        assert (again / name).read_bytes() == (run / name).read_bytes(), name


@pytest.mark.parametrize("strategy, params", [("longshort", ("k=1",)), ("signal", ("upper=0.01", "lower=-inf"))])
def test_the_other_strategies_run(market, capsys, strategy, params):
    words = [word for param in params for word in ("--param", param)]
    code, out, _ = stage_b(capsys, market, *words, strategy=strategy)
    assert code == 0
    folder = Path(json.loads(out)["path"])
    assert folder.parent.name == strategy
    assert len(read_table(folder / "orders.csv")["order_id"]) > 0


OWN = "Backtest.tests.sample_strategy"


def test_the_user_s_own_backtrader_strategy(market, capsys):
    code, out, _ = stage_b(capsys, market, "--param", "size=2.5", "--allow-module", OWN, strategy=f"{OWN}:BuyRising")
    assert code == 0
    folder = Path(json.loads(out)["path"])
    assert folder.parent.name == "BuyRising"
    context = context_of(folder)
    assert context["strategy"] == {
        "name": "BuyRising", "source": f"{OWN}:BuyRising", "params": {"factor": "mom", "size": "2.5"},
    }  # fmt: skip
    assert set(read_table(folder / "orders.csv")["size"]) == {2.5}
    words = ["--verify", folder.name, "--results-root", str(market.results)]
    assert analyze([*words, "--allow-module", OWN]) == 0
    # What the run folder allows counts for nothing: it may come from someone else.
    assert analyze(words) == 2
    assert f"module '{OWN}' is not allowed" in capsys.readouterr().err


def test_a_module_that_is_not_allowed_is_not_imported(market, capsys):
    code, _, err = stage_b(capsys, market, strategy="antigravity:Strategy")
    assert code == 2
    assert "'antigravity' is not allowed" in err
    assert "antigravity" not in sys.modules


def test_a_window_and_symbols_inside_the_factor_set(market, capsys):
    code, out, _ = stage_b(
        capsys,
        market,
        "--param",
        "k=1",
        "--start",
        "2023-01-10",
        "--end",
        "2023-01-20T12:00",
        "--symbols",
        "ADA,ETHUSDT",
    )
    folder = Path(json.loads(out)["path"])
    assert code == 0
    curve = read_table(folder / "equity_curve.csv")
    assert (curve["timestamp"][0], curve["timestamp"][-1]) == ("2023-01-10T00:00:00Z", "2023-01-20T08:00:00Z")
    assert set(read_table(folder / "orders.csv")["symbol"]) <= {"ADAUSDT", "ETHUSDT"}
    # The benchmark is drawn although it is not in the universe.
    assert np.isfinite(curve["benchmark"]).all()


def closes_of(market, symbol) -> list[float]:
    rows = market.klines(symbol).read_text(encoding="utf-8").splitlines()[1:]
    return [float(row.split(",")[4]) for row in rows]


def test_equal_weight_is_the_run_s_universe_without_the_benchmark(market, capsys):
    """Half of the money in each of two symbols, made even again at the last close of every UTC day."""
    code, out, _ = stage_b(capsys, market, "--symbols", "ADA,ETH")
    assert code == 0
    curve = read_table(Path(json.loads(out)["path"]) / "equity_curve.csv")
    prices = list(zip(closes_of(market, "ADAUSDT"), closes_of(market, "ETHUSDT"), strict=True))
    value, units, expected = 100_000.0, None, []
    for bar, (ada, eth) in enumerate(prices):
        value = value if units is None else units[0] * ada + units[1] * eth
        expected.append(value)
        if bar == 0 or bar % 6 == 5:  # six bars of 4h a day, the first one opens at midnight
            units = (value / 2 / ada, value / 2 / eth)
    assert curve["equal_weight"] == pytest.approx(expected, rel=1e-12)
    held = np.array(closes_of(market, "BTCUSDT"))
    assert curve["benchmark"] == pytest.approx(100_000.0 * held / held[0], rel=1e-12)


def write_soaring(path: Path) -> None:
    """Double the prices at every bar from the 100th to the 119th."""
    lines = path.read_text(encoding="utf-8").splitlines()
    for bar in range(BARS):
        cells = lines[1 + bar].split(",")
        factor = 2.0 ** min(max(bar - 99, 0), 20)
        lines[1 + bar] = ",".join([cells[0], *(repr(float(cell) * factor) for cell in cells[1:5]), cells[5]])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_ruin_is_told_by_every_output(tmp_path, capsys):
    market = make_market(tmp_path)
    write_soaring(market.klines("ADAUSDT"))
    make_factor_set(market)
    always_short = ("--param", "upper=inf", "--param", "lower=1000")
    code, out, _ = stage_b(capsys, market, *always_short, strategy="signal")
    summary = json.loads(out)
    assert (code, summary["status"], summary["ruined"]) == (0, "ok", True)
    assert summary["metrics"]["final_equity"] <= 0
    folder = Path(summary["path"])
    assert context_of(folder)["ruined"] is True
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<strong>Ruined.</strong>" in page
    assert analyze(["--run-id", folder.name, "--results-root", str(market.results), "--plot"]) == 0
    assert "RUINED: equity reached zero" in capsys.readouterr().out
    assert (folder / "report.html").read_text(encoding="utf-8") == page
    assert analyze(["--verify", folder.name, "--results-root", str(market.results)]) == 0
    capsys.readouterr()
    code, out, _ = stage_b(capsys, market)
    assert (code, "ruined" in json.loads(out)) == (0, False)
    assert context_of(latest(market))["ruined"] is False
    assert analyze(["--list", "--results-root", str(market.results)]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head[-1] == "ruined"
    assert {row[0]: row[-1] for row in rows} == {folder.name: "yes", latest(market).name: "no"}
    index = json.loads((market.results / "index.json").read_text(encoding="utf-8"))
    assert [entry["ruined"] for entry in index] == [True, False]


def test_margin_rejections_point_to_scaling(fresh, capsys):
    words = ("--param", "k=1", "--param", "invest=1.0")
    hint = "; the setting on_rejected: scale shrinks opening buys to the cash instead"
    _, _, err = stage_b(capsys, fresh, *words)
    assert re.search(rf"rejected orders: \d+ margin.*{re.escape(hint)}", err)
    fresh.config.write_text(fresh.config.read_text(encoding="utf-8") + "on_rejected: scale\n", encoding="utf-8")
    assert hint not in stage_b(capsys, fresh, *words)[2]


def test_limits_of_a_symbol_that_there_is_not_are_noted(fresh, capsys, monkeypatch):
    path = fresh.root / "instruments.yaml"
    path.write_text("BTCUSD: {lot_step: 0.001}\nETHUSDT: {lot_step: 0.001}\n", encoding="utf-8")
    monkeypatch.setattr("Backtest.runs.request.INSTRUMENTS_YAML", path)
    code, _, err = stage_b(capsys, fresh, "--symbols", "ADA,SOL")
    assert code == 0
    assert "config/instruments.yaml: 'BTCUSD' is no symbol of" in err
    assert "its limits are not used; did you mean 'BTCUSDT'" in err
    assert "'ETHUSDT' is no symbol" not in err


def test_the_log_level_is_taken_in_any_case(fresh):
    assert command(fresh.arguments("--log-level", "debug")) == 0
    assert context_of(latest(fresh))["settings"]["log_level"] == "DEBUG"


def test_a_missing_benchmark_leaves_an_empty_column_and_a_warning(fresh, capsys):
    with open(fresh.config, "a", encoding="utf-8") as stream:
        stream.write("benchmark: XRPUSDT\n")
    code, out, err = stage_b(capsys, fresh)
    assert code == 0
    folder = Path(json.loads(out)["path"])
    assert np.isnan(read_table(folder / "equity_curve.csv")["benchmark"]).all()
    assert json.loads(out)["metrics"]["beta_benchmark"] is None
    assert "benchmark column is empty" in err
    assert "benchmark column is empty" in (folder / "logs.txt").read_text(encoding="utf-8")


def test_a_window_longer_than_the_data_is_noted_not_refused(market, capsys):
    code, out, err = stage_b(capsys, market, "--start", "2022-12-01", "--end", "2024-01-01")
    assert code == 0
    assert "the data begin 2023-01-01" in err
    assert "the data end 2023-02-13" in err
    assert json.loads(out)["metrics"]["bars"] == BARS


def test_a_window_longer_than_stage_a_was_asked_for_is_refused(fresh, capsys):
    make_factor_set(fresh, changes={"asked": {"start": "2023-01-01T00:00:00Z", "end": "2023-02-01T00:00:00Z"}})
    code, out, err = stage_b(capsys, fresh, "--end", "2023-02-02")
    assert (code, out) == (2, "")
    assert "--end 2023-02-02T00:00:00Z is too late" in err
    code, _, err = stage_b(capsys, fresh, "--start", "2022-12-31")
    assert code == 2
    assert "is too early" in err


def test_symbols_that_stage_a_refused_are_left_out_and_named(fresh, capsys):
    write_klines(fresh.klines("XRPUSDT"), range(FIRST, FIRST + BARS), seed=9)
    make_factor_set(fresh, changes={"refused": {"XRPUSDT": "volume.csv, row 3: negative"}})
    code, out, err = stage_b(capsys, fresh, "--symbols", "BTC,ETH,XRP")
    summary = json.loads(out)
    assert code == 1
    assert summary["status"] == "symbols_refused"
    assert summary["refused"] == {"XRPUSDT": "volume.csv, row 3: negative"}
    assert "XRPUSDT is left out" in err


def test_klines_that_grew_since_stage_a_are_noted_and_change_nothing(fresh, capsys):
    _, before, _ = stage_b(capsys, fresh)
    with open(fresh.klines("BTCUSDT"), "a", encoding="utf-8") as stream:
        stream.write(f"{TIMEFRAME.open_ns(FIRST + BARS) // 1_000_000},20,21,19,20,5\n")
    code, after, err = stage_b(capsys, fresh)
    assert code == 0
    assert "has changed since Stage A; its bars inside the window have not" in err
    assert json.loads(after)["metrics"] == json.loads(before)["metrics"]


def test_bars_that_differ_inside_the_window_are_refused(fresh, capsys):
    path = fresh.klines("ETHUSDT")
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[100].split(",")
    lines[100] = ",".join([*cells[:4], repr(float(cells[4]) * 1.000001), cells[5]])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, out, err = stage_b(capsys, fresh)
    assert (code, out) == (2, "")
    assert "bars of ETHUSDT" in err
    assert "are not those that Stage A read" in err
    assert run_folders(fresh.results) == {}


def test_prices_from_another_root_with_the_same_bars(fresh, capsys):
    moved = fresh.root / "moved"
    fresh.data_root.rename(moved)
    code, _, err = stage_b(capsys, fresh)
    assert code == 2
    assert "does not exist" in err
    code, out, _ = stage_b(capsys, fresh, "--data-root", str(moved))
    assert code == 0
    assert context_of(Path(json.loads(out)["path"]))["inputs"]["data_root"] == str(moved)


def test_a_file_that_ended_early_and_grew_inside_the_window_is_cut_where_stage_a_saw_it_end(fresh, capsys):
    _, before, _ = stage_b(capsys, fresh)
    with open(fresh.klines("LUNAUSDT"), "a", encoding="utf-8") as stream:
        stream.write(f"{TIMEFRAME.open_ns(FIRST + DELISTED['LUNAUSDT']) // 1_000_000},20,21,19,20,5\n")
    code, after, err = stage_b(capsys, fresh)
    assert code == 0
    assert "LUNAUSDT.csv has changed since Stage A" in err
    assert json.loads(after)["metrics"] == json.loads(before)["metrics"]


def test_klines_are_read_with_the_settings_that_stage_a_had(fresh, capsys):
    fresh.config.write_text(fresh.config.read_text(encoding="utf-8") + "episode_gap: 5d\n", encoding="utf-8")
    code, _, err = stage_b(capsys, fresh)
    assert code == 0
    assert "episode_gap is '3d' as Stage A had it, not '5d'" in err


@pytest.mark.parametrize(
    "more, message",
    [
        (("--param", "factor=mum"), "--param factor is given twice"),
        (("--param", "kk=3"), "did you mean 'k'"),
        (("--param", "k=three"), "whole number"),
        (("--param", "k"), "key=value is allowed"),
        (("--param", "api_key=abc"), "looks like a secret"),
        (("--symbols", "BTCUSD"), "did you mean 'BTCUSDT'"),
        (("--start", "2025-01-01", "--end", "2025-02-01"), "holds no bar"),
        (("--start", "yesterday"), "is not known"),
        (("--dsl-path", "absent.yaml"), "absent.yaml"),
        (("--config", "absent.yaml"), "absent.yaml"),
        (("--data-root", "absent"), "does not exist"),
    ],
)
def test_what_is_refused_is_told_in_one_line(market, capsys, more, message):
    code, out, err = stage_b(capsys, market, *more)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "flag, value, message",
    [
        ("--factor-set", "mom_v2", "did you mean 'mom_v1'"),
        ("--factor-set", "../mom_v1", "is not allowed"),
        ("--strategy", "topq", "did you mean 'topk'"),
        ("--strategy", "os:system", "is not allowed"),
        ("--timeframe", "4x", "is not known"),
        ("--timeframe", "1h", "does not exist"),
        ("--datahub-root", "absent", "does not exist"),
    ],
)
def test_wrong_names_are_refused_with_a_suggestion(market, capsys, flag, value, message):
    arguments = market.arguments()
    arguments[arguments.index(flag) + 1] = value
    code = command(arguments)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_an_unknown_factor_is_told_with_those_there_are(market, capsys):
    arguments = market.arguments()
    arguments[arguments.index("factor=mom")] = "factor=mum"
    assert command(arguments) == 2
    assert "did you mean 'mom'" in capsys.readouterr().err


def test_another_recipe_than_the_factor_set_s_is_refused(fresh, capsys):
    fresh.recipe.write_text(fresh.recipe.read_text(encoding="utf-8").replace("6", "7"), encoding="utf-8")
    code, _, err = stage_b(capsys, fresh, "--dsl-path", str(fresh.recipe))
    assert code == 2
    assert "was made from another recipe" in err


def test_a_recipe_with_windows_line_ends_is_the_same(fresh, capsys):
    fresh.recipe.write_bytes(fresh.recipe.read_bytes().replace(b"\n", b"\r\n"))
    assert stage_b(capsys, fresh, "--dsl-path", str(fresh.recipe))[0] == 0


def test_a_factor_that_is_missing_everywhere_trades_nothing_and_has_no_nan(fresh, capsys):
    code, out, _ = stage_b(capsys, fresh, "--end", "2023-01-01T16:00")
    metrics = json.loads(out)["metrics"]
    assert code == 0
    assert (metrics["bars"], metrics["num_orders"], metrics["total_return"]) == (4, 0, 0)
    assert metrics["sharpe_ratio"] is None


def test_defaults_of_paths_are_those_of_the_settings(market, monkeypatch, capsys):
    """Neither --data-root, --datahub-root nor --results-root: the users' own command."""
    text = market.config.read_text(encoding="utf-8")
    config = market.root / "paths.yaml"
    roots = (
        f"datahub_root: {json.dumps(str(market.datahub))}\nresults_root: {json.dumps(str(market.root / 'elsewhere'))}\n"
    )
    config.write_text(text + roots, encoding="utf-8")
    words = ["--timeframe", "4H", "--factor-set", "mom_v1", "--strategy", "topk", "--param", "factor=mom"]
    assert command([*words, "--config", str(config)]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert Path(summary["path"]).parent == market.root / "elsewhere" / "topk"
