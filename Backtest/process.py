"""This process as the user sees it: how long it has run, and a stdout that holds one JSON object and nothing else."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout


def seconds_alive() -> float:
    """Return the wall time since this process started, interpreter start and imports included.

    Linux tells it to a hundredth of a second. Elsewhere the CPU time stands in: until a command has read its
    arguments it has done nothing but compute.
    """
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as stream:
            # the command's name, in brackets, may hold spaces; the start time is the 22nd field, the 20th after it
            ticks = int(stream.read().rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return time.process_time()


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block ends: an import must not stop half-way.

    A process that is started meanwhile begins with both blocked.
    """
    import signal

    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_quickly() -> None:
    """Save what a process that leaves computing to others has no use for; call it before NumPy is imported.

    What modules and recipes are made of stays: looking for garbage in it again and again takes a tenth of the start.
    NumPy starts a thread a core, which spin where workers are starting.
    """
    gc.set_threshold(100_000)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def ignore_interrupts() -> None:
    """Let Ctrl-C and SIGTERM pass from now on: what is left takes a moment, and the work is done and in place."""
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def clean_stdout() -> Iterator[Callable[[str], None]]:
    """Yield what writes to the real stdout; everything else that prints, C code and children too, goes to stderr."""
    real, screen = sys.stdout, sys.stderr
    kept = _point_stdout_to_stderr()
    out = real if kept is None else os.fdopen(kept, "w", encoding="utf-8", newline="\n", closefd=False)

    def write(text: str) -> None:
        out.write(text)
        out.flush()

    try:
        with redirect_stdout(screen):
            yield write
    finally:
        if kept is not None:
            out.flush()
            os.dup2(kept, 1)
            os.close(kept)


def _point_stdout_to_stderr() -> int | None:
    """Point file descriptor 1 to stderr and return a copy of what it was; None where `sys.stdout` is not it."""
    try:
        if sys.stdout.fileno() != 1:
            return None
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        return kept
    except (OSError, ValueError, AttributeError):  # replaced by a test or a notebook, or closed
        return None
