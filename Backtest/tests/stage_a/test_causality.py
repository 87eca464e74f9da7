"""``run_prepare.py --check-causality N``: its JSON, its words and its exit codes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from Backtest.errors import DataError, SettingsError
from Backtest.run_prepare import command
from Backtest.settings import PROJECT_ROOT
from Backtest.stage_a.causality import check_recipe

from .market import BARS, COMMAND, CROSS_RECIPE, SYMBOLS, run, settings, write_klines

LEAKS = "Backtest.tests.data.sample_modules.leaks"
LEAKY = f"""factors:
  - {{name: fair, type: expression, expression: "ts_mean(close, 12)"}}
  - {{name: leak, type: library_function, source: "{LEAKS}:rolled"}}
  - {{name: short, type: library_function, source: "{LEAKS}:off_by_one"}}
  - {{name: both, type: expression, expression: "cs_rank(leak) + fair"}}
"""


def line(market: Path, hub: Path, recipe: str, *more: str) -> list[str]:
    dsl = settings(market, hub, recipe=recipe).dsl_path
    common = ["--timeframe", "1h", "--dsl-path", str(dsl), "--data-root", str(market), "--datahub-root", str(hub)]
    return [*common, *more]


def test_an_honest_recipe(market: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    words = [sys.executable, str(COMMAND), *line(market, hub, CROSS_RECIPE, "--check-causality", "3")]
    done = [run(words, cwd=PROJECT_ROOT) for _ in range(2)]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    assert done[0].stdout == done[1].stdout
    summary = json.loads(done[0].stdout)
    assert summary["status"] == "ok"
    assert summary["symbols"] == list(SYMBOLS)
    assert summary["factors"] == dict.fromkeys(("mom", "smooth", "money", "order"), "ok")
    assert (summary["rows"], summary["truncations"], summary["starts"]) == (BARS, 3, 3)
    assert (summary["start"], summary["end"]) == ("2023-01-01T00:00:00Z", "2023-03-04T12:00:00Z")
    assert summary["violations"] == []
    assert {path.name for path in hub.iterdir() if path.is_dir()} == {"klines"}, "no factor set is written"


def test_leaks_are_named(market: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = command(line(market, tmp_path / "hub", LEAKY, "--allow-module", LEAKS, "--check-causality", "4"))
    shown = capsys.readouterr()
    assert code == 2
    summary = json.loads(shown.out)
    assert summary["status"] == "failed"
    assert summary["factors"] == {"fair": "ok", "leak": "failed", "short": "failed", "both": "failed"}
    kinds = {(one["factor"], one["kind"]) for one in summary["violations"]}
    assert kinds == {("leak", "look-ahead"), ("leak", "look-back"), ("short", "look-back")}
    first = summary["violations"][0]
    assert first["affects"] == ["leak", "both"]
    assert first["symbol"] in SYMBOLS
    assert first["timestamp"] < first["cut"]
    errors = shown.err.splitlines()
    assert [text.split(" ")[:3] for text in errors] == [
        ["error:", "factor", "'leak'"], ["error:", "factor", "'leak'"], ["error:", "factor", "'short'"],
    ]  # fmt: skip
    assert f"{first['symbol']} at {first['timestamp']}" in errors[0]


def test_a_window_and_some_symbols(market: Path, tmp_path: Path) -> None:
    recipe = LEAKY.replace("cs_rank(leak)", "leak")
    chosen: dict[str, Any] = {"symbols": ("AAAUSDT", "EEEUSDT"), "start": "2023-02-01", "end": "2023-02-20"}
    some = check_recipe(settings(market, tmp_path / "hub", recipe=recipe, allow_modules=[LEAKS], **chosen), 2)
    assert some["symbols"] == ["AAAUSDT", "EEEUSDT"]
    assert some["rows"] == 19 * 24
    assert {one["factor"] for one in some["violations"]} == {"leak", "short"}
    assert all(one["timestamp"] >= "2023-02-01" for one in some["violations"])


def test_refused_symbols_and_short_data_are_told(market: Path, tmp_path: Path) -> None:
    root = tmp_path / "market"
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    source = market / "6.Binance Data Resampled" / "1h" / "AAAUSDT.csv"
    (folder / "AAAUSDT.csv").write_bytes(source.read_bytes())
    write_klines(folder / "BADUSDT.csv", [])
    recipe = "factors:\n  - {name: a, type: expression, expression: close}\n"
    summary = check_recipe(settings(root, tmp_path / "hub", recipe=recipe), 2)
    assert summary["status"] == "incomplete"
    assert set(summary["refused"]) == {"BADUSDT"}
    long = recipe.replace("expression: close", "expression: 'shift(close, 5000)'")
    summary = check_recipe(settings(root, tmp_path / "hub", recipe=long, symbols=("AAAUSDT",)), 2)
    assert (summary["status"], list(summary["untested"])) == ("incomplete", ["a"])
    assert summary["factors"] == {"a": "untested"}
    with pytest.raises(DataError, match="no symbol can be used: BADUSDT"):
        check_recipe(settings(root, tmp_path / "hub", recipe=recipe, symbols=("BADUSDT",)), 2)


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_counts_out_of_range(market: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(SettingsError, match=f"--check-causality is {count}; allowed is 1 to 10,000"):
        check_recipe(settings(market, tmp_path / "hub"), count)


def test_what_the_command_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["--check-causality", "3", "--dsl-path", "x.yaml"]) == 2
    assert "--timeframe is required" in capsys.readouterr().err
