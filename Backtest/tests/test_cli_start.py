"""``-h`` of every command is instant: under 0.3 s of CPU, and nothing heavy is imported for it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "quickstart.py": ["quickstart.py"],
    "quickstart.py demo": ["quickstart.py", "demo"],
    "run_prepare.py": ["Backtest/run_prepare.py"],
    "run_backtest.py": ["Backtest/run_backtest.py"],
    "run_sweep.py": ["Backtest/run_sweep.py"],
    "analyze_run.py": ["Backtest/analyze_run.py"],
    "-m Backtest.run_prepare": ["-m", "Backtest.run_prepare"],
    "-m Backtest.run_backtest": ["-m", "Backtest.run_backtest"],
    "-m Backtest.analyze_run": ["-m", "Backtest.analyze_run"],
    "-m Backtest.data.demo_market": ["-m", "Backtest.data.demo_market"],
}
HEAVY = {
    "pandas", "numba", "llvmlite", "numpy", "pyarrow", "matplotlib", "backtrader", "scipy", "pydantic", "lark", "yaml",
    "jinja2", "filelock", "tqdm", "asyncio", "multiprocessing",
}  # fmt: skip
CPU_SECONDS = 0.3
ATTEMPTS = 5
"""A shared machine charges a process for its neighbours' cache misses: the least of some attempts is its own cost."""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_instant(command):
    assert min(cpu_seconds([sys.executable, *COMMANDS[command], "-h"]) for _ in range(ATTEMPTS)) < CPU_SECONDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    line = [sys.executable, "-X", "importtime", *COMMANDS[command], "-h"]
    done = subprocess.run(line, cwd=PROJECT_ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: ")
    imported = set(re.findall(r"^import time:.*\|\s+([A-Za-z_0-9]+)", done.stderr, re.MULTILINE))
    assert "argparse" in imported  # the list is really the list
    assert imported & HEAVY == set()


def cpu_seconds(line: list[str]) -> float:
    """Return user and system time of a command that is waited for."""
    before = psutil.Process().cpu_times()
    subprocess.run(line, cwd=PROJECT_ROOT, stdout=subprocess.DEVNULL, check=True)
    after = psutil.Process().cpu_times()
    if sys.platform == "win32":
        pytest.skip("Windows does not sum the time of children")
    return after.children_user - before.children_user + after.children_system - before.children_system
