"""The commands that look at runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from Backtest.analyze_run import command
from Backtest.metrics import METRICS, SPOT_METRICS
from Backtest.report.plots import PLOTS
from Backtest.report.words import GROUPS, metric_words
from Backtest.results import run_folders
from Backtest.run_backtest import command as backtest
from Backtest.runs.text import aligned, asked_text, metrics_markdown
from Backtest.settings import PROJECT_ROOT
from Backtest.tests.fake_market import Market, make_market


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Market:
    market = make_market(tmp_path_factory.mktemp("market"))
    for k in ("1", "2", "3"):
        assert backtest(market.arguments("--param", f"k={k}")) == 0
    assert backtest(market.arguments(strategy="longshort")) == 0
    return market


@pytest.fixture
def ids(market):
    return list(run_folders(market.results))


@pytest.fixture
def look(market, capsys):
    def run(*words):
        code = command([*words, "--results-root", str(market.results)])
        return (code, *capsys.readouterr())

    return run


def test_one_run_as_text(look, ids):
    code, out, err = look("--run-id", ids[1])
    assert (code, err) == (0, "")
    assert ids[1] in out
    assert "factor=mom k=2" in out
    assert "synthetic market: no evidence" in out
    for name in SPOT_METRICS:
        assert name.replace("_", " ") in out
    assert max(len(line) for line in out.splitlines() if line.startswith("  ")) < 80


def test_one_run_as_json(look, ids, market):
    code, out, _ = look("--run-id", ids[0], "--json")
    found = json.loads(out)
    assert code == 0
    assert found["metrics"] == json.loads(
        (market.results / "topk" / ids[0] / "metrics.json").read_text(encoding="utf-8")
    )
    assert found["path"] == str(market.results / "topk" / ids[0])


def test_a_beginning_of_the_id_is_enough_when_it_is_one_run_s(look, ids):
    unique = next(
        ids[0][:length] for length in range(1, 30) if sum(run.startswith(ids[0][:length]) for run in ids) == 1
    )
    assert look("--run-id", unique)[1] == look("--run-id", ids[0])[1]
    code, _, err = look("--run-id", ids[0][:4])
    assert code == 2
    assert "begins 4 runs" in err


def test_an_unknown_id_names_the_nearest(look, ids):
    wrong = ids[2][:-1] + ("0" if ids[2][-1] != "0" else "1")
    code, out, err = look("--run-id", wrong)
    assert (code, out) == (2, "")
    assert ids[2] in err
    assert "did you mean" in err


@pytest.mark.parametrize("words", [("--run-id", "../x"), ("--verify", "a/b"), ("--compare", "", "x")])
def test_ids_that_are_no_names_are_refused(look, words):
    code, _, err = look(*words)
    assert code == 2
    assert "is not allowed" in err


def test_plot_draws_the_same_pictures_again(look, ids, market):
    folder = market.results / "topk" / ids[1]
    before = {name: (folder / name).read_bytes() for name in (*PLOTS, "report.html")}
    for name in before:
        (folder / name).unlink()
    code, out, _ = look("--run-id", ids[1], "--plot")
    assert code == 0
    assert str(folder / "equity.png") in out
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_the_list_is_a_table_oldest_first(look, ids):
    code, out, _ = look("--list")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split()[:2] == ["run_id", "strategy"]
    assert [line.split()[0] for line in lines[1:]] == ids
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("name", METRICS)
def test_the_list_sorts_by_any_metric_best_first(look, name):
    code, out, _ = look("--list", "--sort", name, "--json")
    values = [entry["metrics"][name] for entry in json.loads(out)]
    present = [value for value in values if value is not None]
    assert code == 0
    assert present == sorted(present, reverse=METRICS[name].better != "low")
    assert values[: len(present)] == present


def test_a_metric_that_is_sorted_by_is_shown(look):
    assert "turnover" in look("--list", "--sort", "turnover")[1].splitlines()[0]
    assert look("--list", "--sort", "strategy")[1].splitlines()[1].split()[1] == "longshort"


def test_an_unknown_metric_is_refused_with_a_suggestion(look):
    code, _, err = look("--list", "--sort", "sharp_ratio")
    assert code == 2
    assert "did you mean 'sharpe_ratio'" in err
    assert "did you mean 'sharpe_ratio'" in look("--list", "--sort", "sharp")[2]
    err = look("--list", "--sort", "qqq")[2]
    assert "--sort 'qqq' is not a metric; analyze_run --metrics lists them" in err


def test_the_metrics_are_listed_with_unit_and_formula(look):
    code, out, _ = look("--metrics")
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 1 + len(METRICS))
    for line, row in zip(lines[1:], METRICS.values(), strict=True):
        assert re.split("  +", line, maxsplit=2) == [row.name, row.unit, row.formula]
    assert json.loads(look("--metrics", "--json")[1])[0] == {
        "name": "initial_cash", "formula": "cash before the first bar", "unit": "quote", "better": "",
    }  # fmt: skip


def test_the_metrics_as_markdown():
    lines = metrics_markdown().splitlines()
    assert lines[:3] == [
        "| metric | unit | formula |", "| --- | --- | --- |", "| `initial_cash` | quote | cash before the first bar |",
    ]  # fmt: skip
    assert len(lines) == 2 + len(METRICS)
    assert all(len(re.split(r"(?<!\\)\|", line)) == 5 for line in lines)


def test_a_run_that_lost_a_file_is_told_by_every_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("Backtest.simulate.draw_all", lambda *_: {})
    market = make_market(tmp_path)
    for k in ("1", "2"):
        assert backtest(market.arguments("--param", f"k={k}")) == 0
    whole, broken = run_folders(market.results).values()
    (broken / "orders.csv").unlink()
    capsys.readouterr()
    said = f"run folder {broken} is incomplete: orders.csv is missing"
    for words in (("--run-id", broken.name), ("--verify", broken.name), ("--compare", whole.name, broken.name)):
        assert command([*words, "--results-root", str(market.results)]) == 2
        assert capsys.readouterr().err == f"error: {said}\n"
    for _ in range(2):
        line = [sys.executable, "-m", "Backtest.analyze_run", "--list", "--results-root", str(market.results)]
        done = subprocess.run(line, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
        assert whole.name in done.stdout
        assert broken.name not in done.stdout
        assert done.stderr == f"{said}; it is left out of the index\n"


def test_help_tells_exit_codes_and_what_verify_compares(capsys):
    with pytest.raises(SystemExit):
        command(["-h"])
    words = " ".join(capsys.readouterr().out.split())
    assert "Exit codes: 0 done, with --verify: equal; 1 with --verify: a number differs; 2 refused" in words
    assert "plots, report.html and logs.txt are not compared" in words
    with pytest.raises(SystemExit):
        backtest(["-h"])
    words = " ".join(capsys.readouterr().out.split())
    assert "Exit codes: 0 published; 1 published without" in words
    assert "config/strategies/<strategy>.yaml" in words
    assert "all or left out" in words


def test_an_empty_list(tmp_path, capsys):
    assert command(["--list", "--results-root", str(tmp_path)]) == 0
    assert capsys.readouterr().out == "no runs yet\n"
    assert list(tmp_path.iterdir()) == []
    assert command(["--list", "--results-root", str(tmp_path / "none")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"results folder {tmp_path / 'none'} does not exist" in err


def test_a_deleted_index_is_rebuilt(look, ids, market):
    (market.results / "index.json").unlink()
    assert json.loads(look("--list", "--json")[1])[0]["run_id"] == ids[0]
    assert (market.results / "index.json").exists()


def test_two_runs_side_by_side(look, ids):
    code, out, _ = look("--compare", ids[0], ids[1])
    assert code == 0
    assert ids[0] in out
    assert ids[1] in out
    assert "strategy.params.k" in out
    assert "first differing order, line 2 of orders.csv" in out
    found = json.loads(look("--compare", ids[0], ids[1], "--json")[1])
    assert found["differing"] == {"strategy.params.k": [1, 2]}
    values = found["metrics"]["final_equity"]
    assert values["difference"] == values["b"] - values["a"]


def test_runs_on_spot_have_no_rows_of_futures_beside_each_other(look, ids):
    assert "waterfall" not in look("--compare", ids[0], ids[1])[1]
    assert list(json.loads(look("--compare", ids[0], ids[1], "--json")[1])["metrics"]) == list(SPOT_METRICS)


def test_long_values_that_differ_stand_below_their_name():
    overlays = ["stop_loss:pct=0.08,cooldown=6", "take_profit:pct=0.3,cooldown=6"]
    text = asked_text({"strategy.params.k": [1, 12], "settings.overlays": [[], overlays], "engine": ["both", "numba"]})
    assert text.splitlines() == [
        "  strategy.params.k  1     12",
        "  engine             both  numba",
        "  settings.overlays",
        "    a: none",
        "    b: stop_loss:pct=0.08,cooldown=6 take_profit:pct=0.3,cooldown=6",
    ]


def test_a_run_equals_itself(look, ids):
    found = json.loads(look("--compare", ids[0], ids[0], "--json")[1])
    assert found["first_differing_order"] is None
    assert found["differing"] == {}
    assert "orders: identical" in look("--compare", ids[0], ids[0])[1]


def test_verify_as_text(look, ids):
    code, out, _ = look("--verify", ids[3])
    assert code == 0
    assert out.startswith(f"{ids[3]}: equal, byte for byte")


def test_flags_that_do_not_go_together(look, ids, capsys):
    assert look("--run-id", ids[0], "--sort", "bars")[0] == 2
    assert look("--list", "--plot")[0] == 2
    with pytest.raises(SystemExit):
        look("--list", "--run-id", ids[0])
    with pytest.raises(SystemExit):
        look()


def test_a_damaged_run_is_named(tmp_path, capsys):
    market = make_market(tmp_path)
    assert backtest(market.arguments()) == 0
    (folder,) = run_folders(market.results).values()
    (folder / "metrics.json").write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert command(["--run-id", folder.name, "--results-root", str(market.results)]) == 2
    assert "metrics.json" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-m", "Backtest.analyze_run"], ["Backtest/analyze_run.py"]])
def test_it_runs_as_a_module_and_by_path(market, words):
    line = [sys.executable, *words, "--list", "--results-root", str(market.results)]
    done = subprocess.run(line, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("run_id")


def test_every_metric_is_in_one_group_of_the_report():
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(METRICS)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("total_return", 0.12345, "12.35 %"), ("final_equity", 1234567.891, "1,234,567.89"),
        ("num_trades", 1234, "1,234"),
        ("max_drawdown_duration_days", 10.8333, "10.8 d"), ("turnover", 32.26, "32.3 x"), ("sharpe_ratio", None, "–"),
        ("start", "2024-01-01T00:00:00Z", "2024-01-01"), ("end", "2024-01-01T08:00:00Z", "2024-01-01"),
        ("beta_benchmark", -0.126, "-0.13"),
    ],
)  # fmt: skip
def test_words_of_a_metric(name, value, words):
    assert metric_words(name, value) == words


def test_columns_stand_below_each_other():
    assert aligned([("a", "1"), ("bbb", "22")]) == "a     1\nbbb  22"
