"""FAULTS rows 26 to 29, 41 and 42 where Stage A writes: whatever fails, old files or new ones, and a later finish."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from Backtest import files
from Backtest.cli import run_command
from Backtest.data.hub import Hub
from Backtest.data.timeframe import parse_timeframe
from Backtest.errors import HubError
from Backtest.prepare import prepare
from Backtest.run_prepare import main, make_parser

from .market import CROSS_RECIPE, RECIPE, SYMBOLS, arguments, digests, run, settings, write_market

HOUR = parse_timeframe("1h")
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals and limits")

USER_MODULE = '''"""Library functions as users might write them."""
import os, re, signal, sys, time
import numpy as np

print("imported", flush=True)


def fine(close):
    return close * 2.0


def killed_on_c(close):
    if np.nanmax(close) > 1000:
        os.kill(os.getpid(), signal.SIGKILL)
    return close * 2.0


def raises_on_c(close):
    if np.nanmax(close) > 1000:
        raise ZeroDivisionError("no such price")
    return close * 2.0


def exits_on_c(close):
    if np.nanmax(close) > 1000:
        os._exit(3)
    return close * 2.0


def raises(close):
    raise ValueError("not today")


def sleeps(close):
    time.sleep(60)
    return close


def holds_the_lock(close):
    re.match(r"(a+)+$", "a" * 60 + "b")
    return close


def prints(close):
    print("from Python")
    sys.stdout.flush()
    os.write(1, b"from C\\n")
    return close * 2.0


def wrong_shape(close):
    return close[1:]


def looks_ahead(close):
    return np.roll(close, -1, axis=0)


def killed_when_comparing(close, symbols):
    os.kill(os.getpid(), signal.SIGKILL)
'''


def recipe_of(function: str) -> str:
    return RECIPE + f"  - {{name: own, type: library_function, source: 'user_factors:{function}'}}\n"


@pytest.fixture
def user_module(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "user_factors.py").write_text(USER_MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def user_run(
    market: Path, hub: Path, function: str, *more: str, limit: float = 60.0
) -> subprocess.CompletedProcess[str]:
    line = arguments(market, hub, "one", "--allow-module", "user_factors", *more, recipe=recipe_of(function))
    (hub / "core.yaml").write_text(f"log_root: {hub / 'logs'}\nfunction_timeout: {limit}\n", encoding="utf-8")
    return run(line)


def no_traceback(finished: subprocess.CompletedProcess[str]) -> bool:
    return "Traceback" not in finished.stderr


# --- FAULTS 27 and 42: workers and library functions -------------------------------------------------------------


@posix
@pytest.mark.parametrize(
    "function, reason", [("killed_on_c", "SIGKILL"), ("raises_on_c", "no such price"), ("exits_on_c", "exit code 3")]
)
def test_27_a_lost_symbol_is_named_and_the_others_are_written(market, tmp_path, user_module, function, reason):
    finished = user_run(market, tmp_path, function)
    assert finished.returncode == 1, finished.stderr
    summary = json.loads(finished.stdout)
    assert list(summary["refused"]) == ["CCCUSDT"]
    assert reason in summary["refused"]["CCCUSDT"]
    assert summary["symbols"] == [symbol for symbol in SYMBOLS if symbol != "CCCUSDT"]
    assert no_traceback(finished)
    assert Hub(tmp_path).read(HOUR, "one").symbols == tuple(summary["symbols"])


@posix
def test_27_the_same_command_tries_the_lost_symbol_again(market, tmp_path, user_module):
    assert user_run(market, tmp_path, "killed_on_c").returncode == 1
    before = digests(tmp_path)
    again = user_run(market, tmp_path, "killed_on_c")
    assert again.returncode == 1, again.stderr
    assert digests(tmp_path) == before
    (log,) = sorted((tmp_path / "logs").glob("*.log"))[1:]
    assert "resuming: 5 symbols are finished" in log.read_text(encoding="utf-8")


@posix
def test_27_a_lost_worker_fails_a_run_that_compares_symbols(market, tmp_path, user_module):
    finished = user_run(market, tmp_path, "killed_when_comparing")
    assert finished.returncode == 2
    assert "SIGKILL" in finished.stderr
    assert "where they are compared" in finished.stderr
    assert no_traceback(finished)
    assert not (tmp_path / "metadata").exists()


def test_42_a_function_that_fails_everywhere_stops_the_run(market, tmp_path, user_module):
    finished = user_run(market, tmp_path, "raises")
    assert finished.returncode == 2
    assert "factor 'own'" in finished.stderr
    assert "not today" in finished.stderr
    assert no_traceback(finished)
    assert finished.stdout == ""


@pytest.mark.parametrize("function, words", [("wrong_shape", "shape"), ("looks_ahead", "uses the future")])
def test_42_wrong_results_are_refused(market, tmp_path, user_module, function, words):
    finished = user_run(market, tmp_path, function)
    assert finished.returncode == 2
    assert words in finished.stderr
    assert no_traceback(finished)


@pytest.mark.parametrize("function", ["sleeps", "holds_the_lock"])
def test_42_a_function_that_hangs_is_stopped_and_named(market, tmp_path, user_module, function):
    begin = time.monotonic()
    finished = user_run(market, tmp_path, function, "--symbols", "AAA", limit=1.0)
    assert finished.returncode == 2
    assert "'own'" in finished.stderr
    assert "took longer than" in finished.stderr
    assert time.monotonic() - begin < 30
    assert no_traceback(finished)


def test_42_what_a_function_prints_does_not_reach_stdout(market, tmp_path, user_module):
    finished = user_run(market, tmp_path, "prints")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["status"] == "ok"
    assert finished.stdout.startswith("{\n")
    assert "from C" in finished.stderr


def test_41_a_module_that_is_not_allowed_is_not_imported(market, tmp_path, user_module):
    finished = run(arguments(market, tmp_path, recipe=recipe_of("fine")))
    assert finished.returncode == 2
    assert "allow-list" in finished.stderr
    assert "imported" not in finished.stderr


# --- FAULTS 26: stopped ------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_26_stopped_by_a_signal(market, tmp_path, user_module, number, code):
    line = arguments(market, tmp_path, "one", "--allow-module", "user_factors", recipe=recipe_of("sleeps"))
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    workers = wait_for(lambda: computing(process.pid))
    # a terminal sends Ctrl-C to the whole group, `kill` to one process
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert json.loads(out)["status"] == "interrupted"
    assert "Traceback" not in err
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)
    assert not list(tmp_path.rglob(f"*{files.TEMPORARY}"))
    assert not (tmp_path / "metadata").exists()


@posix
def test_26_ctrl_c_once_the_factor_set_is_in_place(market, tmp_path):
    for turn in range(4):
        process = subprocess.Popen(
            arguments(market, tmp_path / str(turn)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        metadata = tmp_path / str(turn) / "metadata" / "1h" / "one.json"
        while not metadata.exists() and process.poll() is None:
            time.sleep(0.0005)
        time.sleep(0.02 * turn)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, json.loads(out)["status"]) in ((0, "ok"), (130, "interrupted")), err
        assert "Traceback" not in err
        Hub(tmp_path / str(turn)).read(HOUR, "one")


def computing(pid: int) -> list[psutil.Process]:
    """Return the worker processes once one of them has been in its task for a moment."""
    children = [child for child in psutil.Process(pid).children() if "spawn_main" in " ".join(child.cmdline())]
    busy = [child for child in children if child.num_threads() > 3 or child.cpu_times().user > 0.5]
    return children if len(busy) == len(children) == 2 else []


def wait_for(found: Callable[[], list[psutil.Process]], seconds: float = 20.0) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := found():
            time.sleep(0.5)
            return result
        time.sleep(0.05)
    raise AssertionError("not within the time")


# --- FAULTS 28: a disk that does not take it ---------------------------------------------------------------------

CALLS = ("fsync", "replace")
KINDS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS)


def fail_at(monkeypatch, name: str, number: int, code: int) -> list[int]:
    """Make the `number`-th call of ``os.<name>`` fail; the list returned has one item for every call."""
    real, calls = getattr(os, name), []

    def call(*arguments, **keywords):
        calls.append(1)
        if len(calls) == number:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **keywords)

    monkeypatch.setattr(os, name, call)
    return calls


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write_market(tmp_path_factory.mktemp("small") / "m", SYMBOLS[:2], 200)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("recipe", [RECIPE, CROSS_RECIPE], ids=["own", "cross"])
def test_28_every_call_that_fails(small, tmp_path, inline, monkeypatch, capsys, name, recipe):
    """The N-th call fails, for every N: a clean error or none, no set or a whole one, and the next run finishes."""
    prepare(settings(small, tmp_path / "whole", recipe=recipe))
    whole = digests(tmp_path / "whole")
    monkeypatch.setattr("Backtest.data.hub.RETRY_SECONDS", 0.05)
    number = 0
    while True:
        number += 1
        hub = tmp_path / f"hub{number}"
        line = arguments(small, hub, recipe=recipe)[2:]
        with monkeypatch.context() as patch:
            calls = fail_at(patch, name, number, KINDS[number % len(KINDS)])
            code = run_command(main, make_parser(), line)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        if code == 0:
            assert digests(hub) == whole  # not reached, or a cache file that nobody needs
        else:
            assert code == 2
            assert captured.err.startswith("error: ")
            assert captured.out == ""
            try:
                Hub(hub).read(HOUR, "one")
            except HubError:
                pass
            else:
                assert digests(hub) == whole  # only making the last rename durable has failed
            again = run_command(main, make_parser(), line)
            assert again == 0, capsys.readouterr().err
            assert digests(hub) == whole
            capsys.readouterr()
        if len(calls) < number:
            assert number > 5
            return


def test_28_every_failure_of_an_overwrite_leaves_the_old_set_or_a_refusal(small, tmp_path, inline, monkeypatch, capsys):
    monkeypatch.setattr("Backtest.data.hub.RETRY_SECONDS", 0.05)
    old_recipe = "factors:\n  - {name: old, type: expression, expression: close * 2}\n"
    number = 0
    refused = 0
    while True:
        number += 1
        hub = tmp_path / f"hub{number}"
        prepare(settings(small, hub, recipe=old_recipe))
        line = [*arguments(small, hub)[2:], "--overwrite"]
        with monkeypatch.context() as patch:
            calls = fail_at(patch, "replace", number, errno.ENOSPC)
            code = run_command(main, make_parser(), line)
        capsys.readouterr()
        try:
            names = list(Hub(hub).read(HOUR, "one").factors)
            assert names == (["old"] if code else ["mom", "smooth", "money"])
        except HubError:
            assert code == 2
            refused += 1
        assert run_command(main, make_parser(), line) == 0
        assert list(Hub(hub).read(HOUR, "one").factors) == ["mom", "smooth", "money"]
        capsys.readouterr()
        if len(calls) < number:
            assert refused == 2  # between the first file's move and the metadata's
            return


@posix
def test_28_a_file_size_limit(small, tmp_path):
    """A full disk, as the system tells it to pyarrow in a worker: no partial file is taken for a good one."""
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    line = arguments(small, tmp_path)
    finished = run(line, preexec_fn=limit)
    assert finished.returncode == 2, finished.stdout
    assert finished.stderr.splitlines()[-1].startswith("error: ")
    assert no_traceback(finished)
    assert finished.stdout == ""
    assert not list((tmp_path / "factors").rglob("*.parquet"))
    assert not list(tmp_path.rglob(f"factors/**/*{files.TEMPORARY}"))
    assert run(line).returncode == 0


@posix
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_28_a_folder_that_may_not_be_written(small, tmp_path):
    line = arguments(small, tmp_path)
    (tmp_path / "factors").mkdir()
    (tmp_path / "factors").chmod(0o500)
    finished = run(line)
    (tmp_path / "factors").chmod(0o700)
    assert finished.returncode == 2
    assert "Permission denied" in finished.stderr
    assert no_traceback(finished)


def test_28_a_file_where_a_folder_should_be(small, tmp_path):
    line = arguments(small, tmp_path)
    (tmp_path / "factors").write_text("in the way", encoding="utf-8")
    finished = run(line)
    assert finished.returncode == 2
    assert no_traceback(finished)


# --- FAULTS 29: two at once --------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from Backtest.files import one_writer
with one_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_29_the_second_run_is_refused_and_told_who_holds_it(small, tmp_path):
    lock = Hub(tmp_path).lock_path(HOUR, "one")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "held\n"
        finished = run(arguments(small, tmp_path))
        assert finished.returncode == 2
        assert f"being written: held by process {holder.pid}" in finished.stderr
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    finished = run(arguments(small, tmp_path))  # a killed holder leaves no stale lock
    assert finished.returncode == 0, finished.stderr


def test_29_two_runs_at_once_end_with_one_good_set(small, tmp_path):
    line = arguments(small, tmp_path)
    first = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    second = run(line)
    _, error = first.communicate(timeout=60)
    assert sorted([first.returncode, second.returncode]) == [0, 2], (error, second.stderr)
    assert Hub(tmp_path).read(HOUR, "one").symbols == SYMBOLS[:2]
