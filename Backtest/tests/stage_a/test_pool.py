"""A lost worker costs its own task, is named with its reason, and never the others."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from multiprocessing.process import BaseProcess

import psutil
import pytest

from Backtest.errors import FactorError
from Backtest.settings import PROJECT_ROOT
from Backtest.stage_a.pool import Outcome, Pool

WORK = "Backtest.tests.stage_a.pool_tasks:work"
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool(WORK) as made:
        made.grow(2)
        yield made


def outcomes(pool: Pool, *tasks: tuple[str, object]) -> list[Outcome]:
    return sorted(pool.run(deque(tasks)), key=lambda outcome: str(outcome.task))


def test_values_of_all_tasks(pool):
    found = outcomes(pool, *(("square", number) for number in range(20)))
    assert sorted(outcome.value for outcome in found) == [number * number for number in range(20)]


def test_an_exception_comes_back_and_the_worker_goes_on(pool):
    raised, squared = outcomes(pool, ("raise", "no luck"), ("square", 3))
    assert isinstance(raised.error, ValueError)
    assert str(raised.error) == "no luck"
    assert squared.value == 9


def test_an_exception_that_cannot_travel_comes_as_words(pool):
    (raised,) = outcomes(pool, ("raise unportable", 0))
    assert str(raised.error) == "Unportable: half and half"


@posix
def test_a_killed_worker_is_named_with_what_it_did_and_replaced(pool):
    killed, *squares = outcomes(pool, ("kill", 0), *(("square", number) for number in range(6)))
    assert killed.lost is not None
    assert "SIGKILL" in killed.lost
    assert "counting sheep" in killed.lost
    assert sorted(outcome.value for outcome in squares) == [0, 1, 4, 9, 16, 25]
    assert len(pool.workers) == 2


def test_a_worker_that_ends_by_itself(pool):
    (ended,) = outcomes(pool, ("exit", 7))
    assert ended.lost == "its worker process ended with exit code 7"


def test_a_task_that_never_lets_go_is_stopped(pool):
    (hung,) = outcomes(pool, ("hang", 0))
    assert hung.lost == "stopped: matching for ever took longer than 0.5 s"


def test_tasks_appended_while_running_are_run(pool):
    tasks = deque([("square", 2)])
    found = []
    for outcome in pool.run(tasks):
        found.append(outcome.value)
        if len(found) == 1:
            tasks.append(("square", 5))
    assert found == [4, 25]


def test_a_process_with_a_left_over_thread_takes_no_further_task():
    with Pool(WORK) as single:
        first, second = (next(iter(single.run(deque([(kind, 0)])))).value for kind in ("leave a thread", "pid"))
        assert first != second


def test_nothing_printed_in_a_worker_reaches_stdout(pool, capfd):
    outcomes(pool, ("print", "noise\n"))
    captured = capfd.readouterr()
    assert captured.out == ""


def test_a_worker_that_cannot_start_is_an_error():
    with (
        Pool("Backtest.tests.stage_a.pool_tasks:absent") as broken,
        pytest.raises(FactorError, match="could not start"),
    ):
        broken.wait_ready()


def test_leaving_the_block_ends_the_processes():
    with Pool(WORK) as brief:
        brief.grow(2)
        pids = [worker.process.pid for worker in brief.workers]
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not multiprocessing.active_children() or all(
        child.pid not in pids for child in multiprocessing.active_children()
    )


@posix
def test_no_process_is_waited_for_before_all_are_killed(monkeypatch):
    """Each takes a while to give its memory back; one after the other that was a tenth of a second of a run."""
    running: list[int] = []
    join = BaseProcess.join

    def noted(process: BaseProcess, timeout: float | None = None) -> None:
        end = time.monotonic() + 5
        while (alive := [pid for pid in pids if is_running(pid)]) and time.monotonic() < end:
            time.sleep(0.01)
        running.append(len(alive))
        join(process, timeout)

    brief = Pool(WORK)
    brief.grow(3)
    pids = [worker.process.pid for worker in brief.workers]
    monkeypatch.setattr(BaseProcess, "join", noted)
    assert brief.stop() == pids
    assert running == [0, 0, 0]


def is_running(pid: int | None) -> bool:
    """Tell whether a process has not ended; one that nobody has waited for yet has."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@posix
def test_sigterm_while_a_process_starts_waits_until_it_has_what_it_needs():
    """Between its start and what it is sent there is a moment; without that it would end with a traceback."""
    code = (
        "import multiprocessing.util as util, os, signal, sys\n"
        "from multiprocessing import resource_tracker\n"
        "from Backtest.cli import Terminated, terminate_as_interrupt\n"
        "from Backtest.stage_a.pool import Pool\n"
        "spawn, pids = util.spawnv_passfds, []\n"
        "def stopped(*given):\n"
        "    pids.append(spawn(*given))\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return pids[-1]\n"
        "if __name__ == '__main__':\n"
        "    resource_tracker.ensure_running()\n"
        "    util.spawnv_passfds = stopped\n"
        "    try:\n"
        "        with terminate_as_interrupt(), Pool('Backtest.tests.stage_a.pool_tasks:work') as pool:\n"
        "            print('never here')\n"
        "    except Terminated:\n"
        "        print(len(pids), 'started, then terminated')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 started, then terminated\n", "")


@posix
def test_a_worker_can_be_terminated():
    """It begins with SIGTERM held back and lets it through again."""
    with Pool(WORK) as brief:
        brief.wait_ready()
        process = brief.workers[0].process
        process.terminate()
        process.join(10)
        assert process.exitcode == -signal.SIGTERM


@posix
def test_ctrl_c_never_reaches_a_process_that_starts():
    """In a fresh process: there the first worker starts multiprocessing's tracker, which lets SIGINT through again."""
    code = (
        "import signal, sys, time\n"
        "from Backtest.stage_a.pool import Pool\n"
        "if __name__ == '__main__':\n"
        "    with Pool('Backtest.tests.stage_a.pool_tasks:work') as pool:\n"
        "        pid = pool.workers[0].process.pid\n"
        "        words = open(f'/proc/{pid}/status').read().split('SigBlk:')[1].split()[0]\n"
        "        print(bool(int(words, 16) & 1 << signal.SIGINT - 1))\n"
    )
    if not os.path.exists("/proc/self/status"):
        pytest.skip("no /proc")
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n", done.stderr
