"""The age of a process, and a stdout that nobody but the command writes to."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from Backtest.process import clean_stdout

NOISY = """
import os, subprocess, sys
from Backtest.process import clean_stdout
with clean_stdout() as write:
    print("from Python")
    os.write(1, b"from C\\n")
    subprocess.run([sys.executable, "-c", "print('from a child')"])
    write("{}\\n")
print("afterwards")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems are told the CPU time instead")
def test_age_is_the_wall_time_since_the_start():
    line = "import time; time.sleep(0.3); from Backtest.process import seconds_alive; print(seconds_alive())"
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", line], capture_output=True, text=True, check=True)
    # the system counts in hundredths of a second
    assert 0.29 < float(done.stdout) < time.monotonic() - begin + 0.011


def test_only_the_command_writes_to_stdout():
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout == "{}\nafterwards\n"
    assert sorted(done.stderr.split("\n")[:3]) == ["from C", "from Python", "from a child"]


def test_a_stdout_that_a_test_or_notebook_replaced(capsys):
    with clean_stdout() as write:
        print("noise")
        write("kept\n")
    captured = capsys.readouterr()
    assert captured.out == "kept\n"
    assert captured.err == "noise\n"
