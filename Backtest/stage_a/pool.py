"""Worker processes that may die: a lost worker costs its own task, never the others (spawn on every system).

`concurrent.futures` breaks the whole pool when one worker is killed, and cannot stop a task that hangs. Here each
worker has its own pipe; end of file on it means that the worker is gone. A worker says what it is doing, so that the
parent can name it in the reason and kill it when it takes too long.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

from ..errors import FactorError
from ..process import interrupts_held_back

WORK = "Backtest.stage_a.workers:work"
"""What the workers of Stage A call."""

JOIN_SECONDS = 10.0
"""A killed process is gone within milliseconds unless the system is stuck; never wait for it for ever."""

Note = Callable[[str, float | None], None]
"""``note(doing, seconds)``: tells the parent what the task does now, and after how long to kill it (None: never)."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes
    ----------
    task
        The task as given.
    value
        What the function returned.
    error
        What it raised, or None.
    lost
        Why the worker is gone (killed, ended, too slow), or None.
    """

    task: Any
    value: Any = None
    error: BaseException | None = None
    lost: str | None = None


class Pool:
    """Processes that call ``function(task, note)``, named ``module:function``; use it in a ``with`` block.

    Parameters
    ----------
    function
        Imported by each worker before it takes a task. The first worker starts at once.
    """

    def __init__(self, function: str) -> None:
        self.function = function
        self.workers: list[_Worker] = []

    def __enter__(self) -> Pool:
        self.grow(1)
        return self

    def grow(self, size: int) -> None:
        """Start workers until there are `size`."""
        while len(self.workers) < size:
            self.workers.append(_Worker(self.function))

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> list[int]:
        """Kill the workers at once and return their process ids: what they were writing has a temporary name."""
        stopped = [worker.process.pid for worker in self.workers]
        for worker in self.workers:
            worker.process.kill()  # all of them before the first is waited for: they end side by side
        for worker in self.workers:
            worker.kill()
        self.workers = []
        return [pid for pid in stopped if pid is not None]

    def wait_ready(self) -> None:
        """Wait until the first worker has imported what it needs."""
        while not any(worker.ready for worker in self.workers):
            for outcome in self._events():
                raise AssertionError(f"{outcome} before a task was given")

    def run(self, tasks: deque[Any]) -> Iterator[Outcome]:
        """Yield an outcome per task as they end; tasks that are appended to `tasks` meanwhile are run too."""
        while tasks or any(worker.busy for worker in self.workers):
            for worker in self.workers:
                if tasks and worker.ready and not worker.busy:
                    worker.give(tasks.popleft())
            yield from self._events()

    def _events(self) -> Iterator[Outcome]:
        deadlines = [worker.deadline for worker in self.workers if worker.deadline is not None]
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
        # a list, because losing a worker replaces it in self.workers
        for connection in wait([worker.connection for worker in self.workers], timeout):
            worker = next(one for one in self.workers if one.connection is connection)
            outcome = worker.receive()
            if worker.gone:
                self._replace(worker)
            if outcome:
                yield outcome
        for worker in [one for one in self.workers if one.late]:
            outcome = worker.give_up()
            self._replace(worker)
            yield outcome

    def _replace(self, worker: _Worker) -> None:
        if not worker.ready:
            raise FactorError(f"a worker process could not start ({worker.end_words()}); its own message is above")
        self.workers[self.workers.index(worker)] = _Worker(self.function)


class _Worker:
    """One process, seen from the parent."""

    def __init__(self, function: str) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        self.ready, self.busy, self.gone = False, False, False
        self.task: Any = None
        self.doing, self.limit = "", 0.0
        self.deadline: float | None = None
        if os.name == "posix":
            # starting its tracker, multiprocessing unblocks SIGINT: it must run before, not between block and child
            resource_tracker.ensure_running()
        # a terminal sends Ctrl-C to all, and only the parent shall answer it; stopped by SIGTERM between its start and
        # what it is sent, it would end with a traceback
        with interrupts_held_back():
            self.process.start()
        theirs.close()  # else the pipe would never end when the worker dies

    def give(self, task: Any) -> None:
        self.task, self.busy, self.doing, self.deadline = task, True, "", None
        with suppress(OSError):  # a worker that is gone already: its pipe has ended, which `receive` tells
            self.connection.send(task)

    def receive(self) -> Outcome | None:
        """Take one message; None when it ends no task."""
        try:
            kind, content, last = self.connection.recv()
        except (EOFError, OSError):
            return self._lost()
        if kind == "ready":
            self.ready = True
        elif kind == "doing":
            self.doing, seconds = content
            self.limit = seconds or 0.0
            self.deadline = None if seconds is None else time.monotonic() + seconds
        else:
            self.busy, self.deadline, self.gone = False, None, last
            if last:
                self.kill()
            return Outcome(self.task, **{kind: content})
        return None

    def _lost(self) -> Outcome | None:
        self.gone = True
        was_busy, self.busy = self.busy, False
        self.kill()
        while_doing = f" while it was {self.doing}" if self.doing else ""
        return Outcome(self.task, lost=f"its worker process {self.end_words()}{while_doing}") if was_busy else None

    @property
    def late(self) -> bool:
        return self.deadline is not None and time.monotonic() >= self.deadline

    def give_up(self) -> Outcome:
        self.kill()
        return Outcome(self.task, lost=f"stopped: {self.doing} took longer than {self.limit:g} s")

    def kill(self) -> None:
        self.process.kill()
        self.process.join(JOIN_SECONDS)
        self.connection.close()

    def end_words(self) -> str:
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        return f"was killed by {name}" + (" (the system does so when memory runs out)" if name == "SIGKILL" else "")


def _serve(connection: Connection, function: str) -> None:
    """Run in the worker: take a task, call the function, send what came of it; end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # it began with it held back
    _keep_stdout_clean()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each worker has a core: NumPy's threads would spin on others'
    call = _imported(function)
    connection.send(("ready", None, False))
    lock = threading.Lock()
    own_threads = threading.active_count()

    def note(doing: str, seconds: float | None) -> None:
        with lock:
            connection.send(("doing", (doing, seconds), False))

    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            message = ("value", call(task, note))
        except Exception as error:
            message = ("error", _portable(error))
        with lock:
            # a function that was given up still runs in its thread: a fresh process takes the next task
            connection.send((*message, threading.active_count() > own_threads))


def _imported(function: str) -> Any:
    """Return what ``module:function`` names. What importing makes stays: looking for garbage in it takes a tenth."""
    gc.disable()
    module, _, name = function.partition(":")
    call = getattr(import_module(module), name)
    gc.freeze()
    gc.enable()
    return call


def _portable(error: Exception) -> Exception:
    """Return `error` if the parent can unpickle it, else its words: many exceptions of others cannot be rebuilt."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever their __reduce__ or __init__ does
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _keep_stdout_clean() -> None:
    """Send what anyone prints here to stderr, C code included: stdout belongs to the parent's one JSON object."""
    sys.stdout = sys.stderr
    with suppress(OSError):  # no stderr at all: nothing to point to
        os.dup2(2, 1)


def _end_with_parent() -> None:
    """End this process when its parent is gone, killed ones included: no orphan may go on writing."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
    os._exit(1)
