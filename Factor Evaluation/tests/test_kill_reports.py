"""kill -9 over Step 4 and the Qlib store: what is left is whole or named as missing, a re-run gives the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from Backtest.settings import PROJECT_ROOT

from .market import FOLDER


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Qlib has no release for this Python")
@pytest.mark.timeout(7200)
def test_killed_at_writes_and_at_random_moments(market, tmp_path, long_run):
    line = [sys.executable, "-m", "tests.killing", str(market), str(tmp_path), *(["--long"] if long_run else [])]
    done = subprocess.run(
        line, cwd=FOLDER, env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    killed = [line for line in done.stderr.splitlines() if line.endswith(" kills")]
    assert len(killed) == 4, done.stderr
