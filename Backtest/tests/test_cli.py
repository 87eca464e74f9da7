"""A command's exit code and its one message, whatever ends it."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from Backtest.cli import OneLineParser, run_command, split_symbols
from Backtest.errors import FactorError, SymbolRefused

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def ending(error):
    def main(_arguments):
        raise error

    return run_command(main, argparse.ArgumentParser(), [])


@pytest.mark.parametrize(
    "error, code, message",
    [
        (FactorError("no such factor"), 2, "error: no such factor\n"),
        (SymbolRefused("BTCUSDT", "empty file"), 2, "error: BTCUSDT: empty file\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(errno.ENOSPC, "No space left on device", "/full/x"), 2, "error: No space left on device (/full/x)\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "error: Broken pipe\n"),
    ],
)
def test_errors_end_in_one_line_and_their_code(capfd, error, code, message):
    assert ending(error) == code
    assert capfd.readouterr() == ("", message)


def test_a_wrong_option_ends_in_one_line(capfd):
    parser = OneLineParser(prog="run_prepare.py", description="many lines of usage")
    parser.add_argument("--dtype", choices=("float64", "float32"))
    for option in range(30):
        parser.add_argument(f"--option-{option}")
    for line in (["--dtype", "float16"], ["--nothing"]):
        with pytest.raises(SystemExit) as ending:
            run_command(lambda _arguments: 0, parser, line)
        assert ending.value.code == 2
        out, error = capfd.readouterr()
        assert (out, error.count("\n")) == ("", 1)
        assert error.startswith("error: ")
        assert line[-1] in error


def test_a_defect_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError())


def test_the_code_of_main_comes_back_and_sigterm_is_as_before():
    before = signal.getsignal(signal.SIGTERM)
    assert run_command(lambda _arguments: 1, argparse.ArgumentParser(), []) == 1
    assert signal.getsignal(signal.SIGTERM) == before


COMMAND = """
import argparse, sys, time
from Backtest.cli import run_command

def main(arguments):
    try:
        {body}
    finally:
        print("cleaned up", file=sys.stderr)
    return 0

sys.exit(run_command(main, argparse.ArgumentParser(), []))
"""


def start(body):
    command = [sys.executable, "-c", COMMAND.format(body=body)]
    return subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_stdout_is_utf_8_whatever_the_locale():
    command = [sys.executable, "-c", COMMAND.format(body="print('币安 \\udcb1')")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode("utf-8").rstrip()) == (0, "币安 \\udcb1")


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without a signal")
@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_unwinds_and_gives_its_code(number, code, word):
    child = start("print('ready', flush=True); time.sleep(60)")
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(number)
    _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors.decode().split("\n")) == (code, ["cleaned up", word, ""])


@pytest.mark.skipif(os.name == "nt", reason="pipes close otherwise on Windows")
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_reader_that_leaves_is_no_error(size):
    child = start(f"time.sleep(0.3); print('x' * {size})")
    assert child.stdout is not None
    child.stdout.close()
    assert child.stderr is not None
    errors = child.stderr.read()
    assert (child.wait(20), errors) == (0, b"cleaned up\n")
    child.stderr.close()


@pytest.mark.parametrize(
    "words, symbols",
    [
        (None, None),
        (["BTCUSDT,ETHUSDT"], ["BTCUSDT", "ETHUSDT"]),
        (["BTCUSDT", "ETHUSDT"], ["BTCUSDT", "ETHUSDT"]),
        (["BTCUSDT, ETHUSDT,", " SOL"], ["BTCUSDT", "ETHUSDT", "SOL"]),
        (["all"], ["all"]),
        (["@my symbols, of today.txt"], ["@my symbols, of today.txt"]),
        ([""], []),
    ],
)
def test_symbols_take_commas_and_spaces(words, symbols):
    assert split_symbols(words) == symbols
