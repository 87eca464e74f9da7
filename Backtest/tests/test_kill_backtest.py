"""kill -9 at random moments of Stage B: a run is listed whole or not at all, and the next run gives the same bytes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from Backtest.report.plots import PLOTS
from Backtest.results import REQUIRED, run_folders
from Backtest.run_backtest import command
from Backtest.runs.index import list_runs
from Backtest.settings import PROJECT_ROOT
from Backtest.tests.fake_market import make_market

WHOLE = {*REQUIRED, *PLOTS, "factor_metadata.json", "logs.txt", "report.html"}

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL is sent")


def outputs(folder: Path) -> dict[str, bytes]:
    names = json.loads((folder / "run_context.json").read_text(encoding="utf-8"))["outputs"]
    return {name: (folder / name).read_bytes() for name in names}


def test_no_half_written_run_is_ever_listed(tmp_path, long_run, capsys):
    market = make_market(tmp_path)
    line = [sys.executable, "Backtest/run_backtest.py", *market.arguments("--param", "k=2")]
    began = time.monotonic()
    subprocess.run(line, cwd=PROJECT_ROOT, check=True, stdout=subprocess.DEVNULL)
    seconds = time.monotonic() - began
    expected = outputs(next(iter(run_folders(market.results).values())))
    moments = random.Random(5)
    killed = 0
    for attempt in range(100):
        if killed and attempt >= (50 if long_run else 3):
            break
        began = time.monotonic()
        process = subprocess.Popen(line, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL)
        # Most of the time goes into imports; the writes lie in the last third.
        delay = seconds * moments.uniform(0.5, 1.0)
        try:
            process.wait(delay)
            seconds = min(seconds, time.monotonic() - began)  # the machine was busier when the first one ran
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        for folder in run_folders(market.results).values():
            assert {path.name for path in folder.iterdir()} == WHOLE
            assert outputs(folder) == expected
        assert {entry["run_id"] for entry in list_runs(market.results)} == set(run_folders(market.results))
    assert killed > 0
    assert command(market.arguments("--param", "k=2")) == 0
    latest = Path(json.loads(capsys.readouterr().out)["path"])
    assert outputs(latest) == expected
    assert list(latest.parent.glob(".*.partial")) == []


KILL_AT = """
import os, signal, sys
sys.path.insert(0, {root!r})
count = 0
def counted(real):
    def call(*arguments, **named):
        global count
        count += 1
        if count == {number}:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return call
os.fsync, os.replace, os.rename = counted(os.fsync), counted(os.replace), counted(os.rename)
import Backtest.simulate
Backtest.simulate.draw_all = lambda *_: {{name: b"" for name in {plots!r}}}
from Backtest.run_backtest import command
code = command({arguments!r})
print(count, file=sys.stderr)
sys.exit(code)
"""


def test_killed_at_chosen_writes(tmp_path, long_run):
    """The process kills itself at the N-th fsync or rename: every one with --long, some without."""
    market = make_market(tmp_path)
    facts = {"root": str(PROJECT_ROOT), "plots": list(PLOTS), "arguments": market.arguments("--param", "k=1")}

    def run(number: int) -> subprocess.CompletedProcess[str]:
        script = KILL_AT.format(number=number, **facts)
        return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert command(market.arguments("--param", "k=1")) == 0  # fills the klines cache
    done = run(0)
    assert done.returncode == 0, done.stderr
    total = int(done.stderr.splitlines()[-1])
    expected = outputs(next(iter(run_folders(market.results).values())))
    for number in range(1, total + 1) if long_run else (total // 2, total - 4, total):
        assert run(number).returncode == -signal.SIGKILL
        for folder in run_folders(market.results).values():
            assert {path.name for path in folder.iterdir()} == WHOLE
            assert outputs(folder) == expected
        assert {entry["run_id"] for entry in list_runs(market.results)} == set(run_folders(market.results))
    assert run(0).returncode == 0
    assert list((market.results / "topk").glob(".*.partial")) == []
