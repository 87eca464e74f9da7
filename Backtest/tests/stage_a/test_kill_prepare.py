"""FAULTS 25 and 32: kill -9 at random moments; nothing half-written is taken for good, and the next run finishes it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import psutil
import pytest

from Backtest import files
from Backtest.data import hub as hub_module
from Backtest.data.hub import Hub
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import HubError

from .market import CROSS_RECIPE, RECIPE, arguments, digests, run

HOUR = parse_timeframe("1h")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def test_killed_at_random_moments(market, tmp_path, long_run, monkeypatch):
    monkeypatch.setattr(hub_module, "RETRY_SECONDS", 0.1)
    moments = random.Random(25)
    wholes: dict[str, dict[str, str]] = {}
    usual = 0.0
    for recipe in (RECIPE, CROSS_RECIPE):
        whole = tmp_path / f"whole {len(wholes)}"
        begin = time.monotonic()
        assert run(arguments(market, whole, recipe=recipe)).returncode == 0
        usual, wholes[recipe] = time.monotonic() - begin, digests(whole)
    for turn in range(25 if long_run else 3):
        recipe = (RECIPE, CROSS_RECIPE)[turn % 2]
        hub = tmp_path / f"hub {turn}"
        line = arguments(market, hub, recipe=recipe)
        for _ in range(2):
            # the first half is start-up; the files are written near the end
            kill_after(line, usual * moments.uniform(0.4, 1.05))
            try:
                found = Hub(hub).read(HOUR, "one")
            except HubError:
                continue
            assert found.factors["mom"].shape[1] == 6
        finished = run([*line, "--overwrite"])
        assert finished.returncode == 0, finished.stderr
        assert digests(hub) == wholes[recipe]
        assert not list(hub.rglob(f"factors/**/*{files.TEMPORARY}"))
        assert not (hub / "factors" / "1h" / "one.partial").exists()
        Hub(hub).read(HOUR, "one")


def kill_after(line: list[str], seconds: float) -> None:
    """Run a command, kill it without warning, and see to it that its workers end by themselves."""
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    try:
        workers = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        workers = []
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
