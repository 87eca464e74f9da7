"""``--verify``: equal where nothing changed, the first divergence where anything did."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from Backtest.analyze_run import command as analyze
from Backtest.data.hub import sealed
from Backtest.results import run_folders
from Backtest.run_backtest import command
from Backtest.tests.fake_market import BARS, FIRST, SYMBOLS, TIMEFRAME, Market, make_factor_set, make_market
from Backtest.verify import close, compare_csv, compare_json


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Market:
    market = make_market(tmp_path_factory.mktemp("market"))
    assert (
        command(market.arguments("--param", "k=2", "--param", "max_weight=0.4", "--symbols", "BTC,ETH,LUNA,SOL")) == 0
    )
    assert command(market.arguments("--param", "upper=0.01", "--param", "lower=-inf", strategy="signal")) == 0
    return market


@pytest.fixture
def market(made, tmp_path) -> Market:
    """A copy of the market and its runs, to be damaged. The data root recorded in it stays that of the original."""
    shutil.copytree(made.results, tmp_path / "results")
    shutil.copytree(made.datahub, tmp_path / "hub")
    for folder in run_folders(tmp_path / "results").values():
        path = folder / "run_context.json"
        text = path.read_text(encoding="utf-8").replace(str(made.datahub), str(tmp_path / "hub"))
        path.write_text(text, encoding="utf-8")
    return Market(tmp_path)


def run_of(market, strategy="topk") -> Path:
    return next(folder for folder in run_folders(market.results).values() if folder.parent.name == strategy)


def verify(market, capsys, strategy="topk"):
    code = analyze(["--verify", run_of(market, strategy).name, "--results-root", str(market.results), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


@pytest.mark.parametrize("strategy", ["topk", "signal"])
def test_a_run_computed_again_is_identical(market, capsys, strategy):
    code, found, _ = verify(market, capsys, strategy)
    assert code == 0
    assert found["verdict"] == "identical"
    assert set(found["files"].values()) == {"identical"}
    assert found["bars"] == 260
    assert found["orders"] > 20
    assert found["notes"] == []


def test_it_needs_neither_the_strategy_s_yaml_nor_the_core_yaml_of_today(market, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("Backtest.runs.request.STRATEGY_YAMLS", tmp_path / "none")
    assert verify(market, capsys)[0] == 0


def edit(path: Path, line: int, column: int, change) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[line - 1].split(",")
    cells[column] = change(cells[column])
    lines[line - 1] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "name, line, column, change, words",
    [
        ("orders.csv", 7, 6, lambda cell: repr(float(cell) * (1 + 1e-6)), "orders.csv, line 7 (6), price: stored"),
        ("orders.csv", 3, 4, lambda cell: "sell" if cell == "buy" else "buy", "orders.csv, line 3 (2), side: stored"),
        ("equity_curve.csv", 100, 1, lambda cell: repr(float(cell) + 0.01), "equity_curve.csv, line 100 ("),
        ("equity_curve.csv", 50, 6, lambda cell: "", "benchmark: stored nothing"),
        ("positions.csv", 30, 2, lambda cell: repr(float(cell) * 2), "positions.csv, line 30 ("),
    ],
)
def test_a_changed_cell_is_found_and_named(market, capsys, name, line, column, change, words):
    edit(run_of(market) / name, line, column, change)
    code, found, _ = verify(market, capsys)
    assert code == 1
    assert found["verdict"] == "diverged"
    assert words in found["divergence"]
    assert found["files"][name] == "diverged"
    assert {verdict for file, verdict in found["files"].items() if file != name} == {"identical"}


def test_a_lost_order_is_found(market, capsys):
    path = run_of(market) / "orders.csv"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]) + "\n", encoding="utf-8")
    code, found, _ = verify(market, capsys)
    assert code == 1
    assert "recomputed only" in found["divergence"]


def test_a_changed_metric_is_found(market, capsys):
    path = run_of(market) / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(metrics | {"sharpe_ratio": 99.0}), encoding="utf-8")
    code, found, _ = verify(market, capsys)
    assert code == 1
    assert found["divergence"].startswith("metrics.json, sharpe_ratio: stored 99.0, recomputed ")


def test_last_bits_are_equal_but_not_identical(market, capsys):
    edit(run_of(market) / "equity_curve.csv", 200, 1, lambda cell: repr(float(cell) * (1 + 4e-16)))
    code, found, _ = verify(market, capsys)
    assert code == 0
    assert found["verdict"] == "equal"
    assert found["files"]["equity_curve.csv"] == "equal"


def test_a_changed_setting_in_the_context_changes_the_result(market, capsys):
    path = run_of(market) / "run_context.json"
    context = json.loads(path.read_text(encoding="utf-8"))
    context["settings"]["commission"] = 0.002
    path.write_text(json.dumps(context), encoding="utf-8")
    assert verify(market, capsys)[0] == 1


def test_other_factors_diverge_and_the_cause_is_named(market, made, capsys):
    """The factor set was made again with other values: whole, but not what the run read."""
    folder = market.datahub / "factors" / "4h" / "mom_v1"
    metadata = json.loads(market.metadata_path.read_text(encoding="utf-8"))
    folder.joinpath("BTCUSDT.parquet").write_bytes(folder.joinpath("ETHUSDT.parquet").read_bytes())
    metadata["files"]["BTCUSDT"] |= {
        key: metadata["files"]["ETHUSDT"][key] for key in ("sha256", "rows", "start", "end")
    }
    market.metadata_path.write_text(json.dumps(sealed(metadata)), encoding="utf-8")
    code, found, _ = verify(market, capsys)
    assert code == 1
    assert found["divergence"].startswith("equity_curve.csv") or found["divergence"].startswith("orders.csv")
    assert any("the factor file of BTCUSDT is not the one that the run read" in note for note in found["notes"])


def test_a_damaged_factor_file_is_refused(market, capsys):
    path = market.datahub / "factors" / "4h" / "mom_v1" / "ETHUSDT.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    code, found, err = verify(market, capsys)
    assert (code, found) == (2, None)
    assert "ETHUSDT.parquet" in err


def test_changed_prices_are_refused(tmp_path, capsys):
    market = make_market(tmp_path)
    assert command(market.arguments()) == 0
    edit(market.klines("BTCUSDT"), 120, 4, lambda close: repr(float(close) * 1.002))
    capsys.readouterr()
    code, found, err = verify(market, capsys)
    assert (code, found) == (2, None)
    assert "are not those that Stage A read" in err
    make_factor_set(market)
    code, found, _ = verify(market, capsys)
    assert code == 1
    assert any("bars of BTCUSDT are not those that the run read" in note for note in found["notes"])


def touch(path: Path, bar: float) -> None:
    """Set a file's time of writing to `bar` bars after FIRST."""
    stamp = TIMEFRAME.open_ns(FIRST) + int(bar * TIMEFRAME.ns)
    os.utime(path, ns=(stamp, stamp))


@pytest.fixture
def touched(tmp_path, monkeypatch) -> Market:
    """A market whose last bars are decided by the files' times, as by default; all files were written late."""
    monkeypatch.setattr("Backtest.simulate.draw_all", lambda *_: {})
    market = make_market(tmp_path)
    make_factor_set(market, changes={"settings": {"episode_gap": "3d"}})
    market.config.write_text(market.config.read_text(encoding="utf-8").replace("keep", "auto"), encoding="utf-8")
    for symbol in SYMBOLS:
        touch(market.klines(symbol), BARS + 9)
    return market


def test_the_benchmark_s_last_bar_is_decided_once(touched, capsys):
    path = touched.klines("BTCUSDT")
    touch(path, BARS - 0.5)
    assert command(touched.arguments("--symbols", "ADA,ETH")) == 0
    folder = run_of(touched)
    noted = json.loads((folder / "run_context.json").read_text(encoding="utf-8"))["inputs"]["klines"]["BTCUSDT"]
    assert (noted["last_bar"], noted["end"]) == ("drop", "2023-02-13T00:00:00Z")
    touch(path, BARS + 9)
    capsys.readouterr()
    code, found, _ = verify(touched, capsys)
    assert (code, found["verdict"], found["notes"]) == (0, "identical", [])
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(f"{TIMEFRAME.open_ns(FIRST + BARS) // 1_000_000},20,21,19,20,5\n")
    code, found, _ = verify(touched, capsys)
    assert (code, found["verdict"], found["notes"]) == (0, "identical", [])


def test_a_benchmark_s_last_bar_that_was_kept_is_kept(touched, capsys):
    assert command(touched.arguments("--symbols", "ADA,ETH")) == 0
    touch(touched.klines("BTCUSDT"), BARS - 0.5)
    capsys.readouterr()
    code, found, _ = verify(touched, capsys)
    assert (code, found["verdict"], found["notes"]) == (0, "identical", [])


def test_a_member_s_last_bar_is_the_one_that_stage_a_decided(touched, capsys):
    assert command(touched.arguments("--symbols", "BTC,ETH")) == 0
    before = (run_of(touched) / "positions.csv").read_bytes()
    touch(touched.klines("BTCUSDT"), BARS - 0.5)  # forming, had Stage A not decided to keep it
    capsys.readouterr()
    code, found, _ = verify(touched, capsys)
    assert (code, found["verdict"], found["notes"]) == (0, "identical", [])
    assert command(touched.arguments("--symbols", "BTC,ETH")) == 0
    again = list(run_folders(touched.results).values())[-1]
    assert (again / "positions.csv").read_bytes() == before
    noted = json.loads((again / "run_context.json").read_text(encoding="utf-8"))["inputs"]["klines"]["BTCUSDT"]
    assert (noted["last_bar"], noted["end"]) == ("keep", "2023-02-13T04:00:00Z")


def test_a_factor_set_without_the_decision_takes_the_run_s(touched, capsys):
    metadata = json.loads(touched.metadata_path.read_text(encoding="utf-8"))
    del metadata["files"]["BTCUSDT"]["last_bar"]
    touched.metadata_path.write_text(json.dumps(sealed(metadata)), encoding="utf-8")
    assert command(touched.arguments("--symbols", "BTC,ETH")) == 0
    touch(touched.klines("BTCUSDT"), BARS - 0.5)
    capsys.readouterr()
    assert verify(touched, capsys)[1]["verdict"] == "identical"


def test_a_context_that_lacks_something_is_refused(market, capsys):
    path = run_of(market) / "run_context.json"
    context = json.loads(path.read_text(encoding="utf-8"))
    del context["settings"]
    path.write_text(json.dumps(context), encoding="utf-8")
    code, _, err = verify(market, capsys)
    assert code == 2
    assert "settings is 'None'; the run folder is damaged" in err


def test_a_context_whose_parts_lack_something_is_refused(market, capsys):
    path = run_of(market) / "run_context.json"
    context = json.loads(path.read_text(encoding="utf-8"))
    del context["inputs"]["data_root"]
    path.write_text(json.dumps(context), encoding="utf-8")
    code, _, err = verify(market, capsys)
    assert code == 2
    assert "lacks 'data_root'; the run cannot be replayed" in err


def test_comparing_texts():
    head = "a,b\n"
    assert compare_csv("t.csv", head + "1,2\n", head + "1,2.0000000000001\n") == ""
    assert compare_csv("t.csv", head + "x,2\n", head + "y,2\n") == "t.csv, line 2 (y), a: stored x, recomputed y"
    assert compare_csv("t.csv", head, head + "1,2\n") == "t.csv, line 2: recomputed only: 1,2"
    assert compare_csv("t.csv", head + "1\n", head + "1,2\n") == "t.csv, line 2: stored '1', recomputed '1,2'"
    assert compare_csv("t.csv", "a\n1,2\n", head + "1,2\n") == "t.csv, line 1: stored 'a', recomputed 'a,b'"
    assert compare_json("j", '{"a": [1.0]}', '{"a": [1.0000000000001]}') == ""
    assert compare_json("j", '{"a": [1]}', '{"a": [2]}') == "j, a, item 1: stored 1, recomputed 2"
    assert compare_json("j", '{"a": null}', '{"a": 1.0}') == "j, a: stored null, recomputed 1.0"
    assert compare_json("j", "{", "{}") == "j: is not JSON"
    assert close(1e-12, 0)
    assert not close(1.0, 1.00001)
    assert not close(float("nan"), 1.0)
