"""The two commands: which Python, which environment, when pip is called, and what a demo leaves behind."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import quickstart

PROJECT_ROOT = Path(__file__).resolve().parents[2]
SOURCE = (PROJECT_ROOT / "quickstart.py").read_text(encoding="utf-8")
THIS_PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


# The file itself


def test_it_needs_the_standard_library_only_and_an_old_python_can_read_it():
    tree = ast.parse(SOURCE, feature_version=(3, 6))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 9, 18), (3, 14, 0)])
def test_another_python_is_refused_in_one_line(version):
    code = (
        f"import sys; sys.version_info = {version}; sys.version = '{'.'.join(map(str, version))} (x)'; "
        "exec(compile(open(sys.argv[1], encoding='utf-8').read(), sys.argv[1], 'exec'), {'__name__': 'x'})"
    )
    done = subprocess.run([sys.executable, "-c", code, PROJECT_ROOT / "quickstart.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(r"error: Python 3\.10 to 3\.13 is needed, this is 3\.\d+\.\d+ \(.+\); .+\n", done.stderr)


# The environment


@pytest.fixture
def place(tmp_path):
    """An environment in a path with a space that has a stand-in for pip and no pins yet."""
    folder = tmp_path / "my venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"), folder / "Lib" / "site-packages")
    from .conftest import STAND_IN_PIP

    (packages / "pip.py").write_text(STAND_IN_PIP, encoding="utf-8")
    return folder


def pip_calls(place: Path) -> list[str]:
    log = place / "pip_calls.txt"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def test_pins_are_installed_once_and_again_when_they_change(place, monkeypatch):
    python = quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert Path(python).exists()
    assert [call.split()[0] for call in pip_calls(place)] == ["install"]
    assert pip_calls(place)[0].endswith("-r " + quickstart.RUN_PINS)
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert len(pip_calls(place)) == 1
    monkeypatch.setattr(quickstart, "digest", lambda name: "another " + name)
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert len(pip_calls(place)) == 2


def test_the_pins_of_the_tests_hold_those_of_the_demo(place):
    quickstart.prepare_environment(str(place), quickstart.TEST_PINS)
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert len(pip_calls(place)) == 1
    assert set(quickstart.closure("requirements.txt")) >= {"requirements.txt", quickstart.RUN_PINS}
    assert any("Factor Evaluation" in name for name in quickstart.closure(quickstart.TEST_PINS))


def test_peers_come_after_the_pins_of_the_tests_and_without_what_they_ask_for(place):
    quickstart.prepare_environment(str(place), quickstart.TEST_PINS, quickstart.PEER_PINS)
    first, second = pip_calls(place)
    assert first.endswith("-r " + quickstart.TEST_PINS)
    assert "--no-deps" not in first
    assert second.endswith("--no-deps -r " + quickstart.PEER_PINS)
    quickstart.prepare_environment(str(place), quickstart.TEST_PINS, quickstart.PEER_PINS)
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert len(pip_calls(place)) == 2


def test_an_environment_of_earlier_tests_gets_the_peers(place):
    quickstart.prepare_environment(str(place), quickstart.TEST_PINS)
    quickstart.prepare_environment(str(place), quickstart.TEST_PINS, quickstart.PEER_PINS)
    assert pip_calls(place)[-1].endswith("--no-deps -r " + quickstart.PEER_PINS)


def test_pins_of_another_python_do_not_count(place):
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    marker = quickstart.read_marker(str(place))
    assert marker["python"] == THIS_PYTHON
    quickstart.write_marker(str(place), {**marker, "python": "3.9"})
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert len(pip_calls(place)) == 2


def test_a_failing_pip_is_told_and_not_remembered(place, monkeypatch):
    monkeypatch.setenv("STAND_IN_PIP_CODE", "3")
    with pytest.raises(quickstart.Failed, match="pip could not install") as failed:
        quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert failed.value.code == 3
    monkeypatch.delenv("STAND_IN_PIP_CODE")
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert len(pip_calls(place)) == 2


def test_a_damaged_marker_means_installing_again(place):
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    (place / quickstart.MARKER).write_text("{half", encoding="utf-8")
    quickstart.prepare_environment(str(place), quickstart.RUN_PINS)
    assert len(pip_calls(place)) == 2


def test_an_environment_is_made_and_made_anew_when_it_was_interrupted(tmp_path):
    folder = tmp_path / "new 环境"
    assert quickstart.make_environment(str(folder)) == THIS_PYTHON
    assert quickstart.probe(quickstart.interpreter(str(folder))) == THIS_PYTHON
    for pip in folder.glob("**/site-packages/pip"):
        shutil.rmtree(pip)
    assert quickstart.probe(quickstart.interpreter(str(folder))) is None
    assert quickstart.make_environment(str(folder)) == THIS_PYTHON


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("ten years of work", encoding="utf-8")
    with pytest.raises(quickstart.Failed, match="remove it, or choose another folder with --venv") as failed:
        quickstart.make_environment(str(tmp_path))
    assert failed.value.code == 2
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_line_ends_do_not_change_a_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "ROOT", str(tmp_path))
    (tmp_path / "unix").write_bytes(b"a==1\nb==2\n")
    (tmp_path / "windows").write_bytes(b"a==1\r\nb==2\r\n")
    assert quickstart.digest("unix") == quickstart.digest("windows")


# Pytest's arguments


@pytest.mark.parametrize(
    "rest, whole",
    [
        ([], True),
        (["-k", "names", "-x"], True),
        (["Backtest/tests/test_names.py"], False),
        (["Backtest/tests/test_names.py::test_good_names_come_back", "-q"], False),
    ],
)
def test_named_tests_replace_the_whole_suite(monkeypatch, rest, whole):
    seen = []
    monkeypatch.setattr(quickstart, "prepare_environment", lambda folder, *pins: f"python of {folder} {pins}")
    monkeypatch.setattr(quickstart, "call", lambda command, environment: seen.append((command, environment)) or 7)
    monkeypatch.setattr(sys, "argv", ["quickstart.py", "test", *rest, "--long", "--venv", "v"])
    monkeypatch.setenv("FACTOR_REAL_DATA", "data here")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    assert quickstart.main() == 7
    command, environment = seen[0]
    assert command[:3] == [f"python of v {(quickstart.TEST_PINS, quickstart.PEER_PINS)}", "-m", "pytest"]
    assert (os.path.join("Backtest", "tests") in command) is whole
    assert ("Factor Evaluation" in command) is whole
    assert command[-len(rest) - 1 :] == ["--long", *rest]
    assert environment["FACTOR_REAL_DATA"] == os.path.abspath("data here")
    assert "PYTHONPATH" not in environment


@pytest.mark.parametrize("rest", [["-n", "4"], ["-n0"], ["--pdb"], ["-p", "no:xdist"]])
def test_the_user_decides_about_processes(rest):
    assert quickstart.spread(rest) == []


def test_a_missing_data_root_is_refused_before_anything_is_made(tmp_path):
    command = [sys.executable, str(PROJECT_ROOT / "quickstart.py"), "demo", "--data-root", "no such", "--venv", "v"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --data-root no such is not a folder\n"
    assert os.listdir(tmp_path) == []


# The demonstration


@pytest.mark.xdist_group("project_copy")
@pytest.mark.timeout(900)
def test_the_demo_runs_from_anywhere_and_shows_where_everything_is(project_copy, tmp_path):
    done = demo(project_copy, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[:5] for line in done.stdout.splitlines() if line.startswith("[")] == [f"[{n}/4]" for n in (1, 2, 3, 4)]
    shown = dict(re.findall(r"^(run id|report|plots|run folder) +(.+)$", done.stdout, re.MULTILINE))
    folder = Path(shown["run folder"])
    assert folder.parent == project_copy / "Backtest" / "results" / "topk"
    assert shown["run id"] == folder.name
    assert "synthetic" in Path(shown["report"]).read_text(encoding="utf-8").lower()
    plots = [Path(line) for line in re.findall(r"(\S[^\n]*\.png)$", done.stdout.replace("plots", ""), re.MULTILINE)]
    assert len(plots) >= 6
    (swept,) = re.findall(r"^ +6 trials of a sweep: (.+)$", done.stdout, re.MULTILINE)
    assert len((Path(swept) / "trials.csv").read_text(encoding="utf-8").splitlines()) == 7
    assert done.stdout.count("compiling the engine for futures, overlays and sweeps") == 1
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["num_trades"] > 100
    assert metrics["bars"] == 24 * (365 + 366)
    metadata = json.loads((folder / "factor_metadata.json").read_text(encoding="utf-8"))
    assert metadata["synthetic"] is True
    assert not (project_copy / ".venv" / "pip_calls.txt").exists()
    assert os.listdir(tmp_path) == []


@pytest.mark.xdist_group("project_copy")
@pytest.mark.timeout(900)
def test_the_demo_runs_again_on_the_users_own_data(project_copy, tmp_path):
    """A second run in the same copy; the data root is named relative to the working directory."""
    folder = tmp_path / "my data" / "6.Binance Data Resampled" / "4h"
    folder.mkdir(parents=True)
    for symbol in ("AAAUSDT", "BTCUSDT"):
        (folder / f"{symbol}.csv").write_text(klines(ord(symbol[0])), encoding="utf-8")
    (folder / "EMPTYUSDT.csv").write_text("", encoding="utf-8")
    done = demo(project_copy, tmp_path, "--data-root", "my data", "--timeframe", "4h")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "refused: EMPTYUSDT: " in done.stdout
    assert (project_copy / "DataHub" / "metadata" / "4h" / "quickstart_4h.json").is_file()
    again = demo(project_copy, tmp_path, "--data-root", "my data", "--timeframe", "4h")
    assert again.returncode == 1, again.stdout + again.stderr
    assert "run folder" in again.stdout


def demo(root: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, str(root / "quickstart.py"), "demo", *more],
        cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip


def klines(seed: int) -> str:
    """Return 600 bars of 4h with the required columns only, prices on a fixed zigzag."""
    rows = ["open_time,open,high,low,close,volume"]
    for bar in range(600):
        price = 100 + (bar * seed) % 37
        rows.append(f"{1_700_006_400_000 + bar * 14_400_000},{price},{price + 2},{price - 2},{price + 1},{1000 + bar}")
    return "\n".join(rows) + "\n"
