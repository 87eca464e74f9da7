"""What the workers of the pool's own tests do."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

Note = Callable[[str, float | None], None]


class Unportable(Exception):
    """Cannot be rebuilt from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


def work(task: Any, note: Note) -> Any:
    """Do as the task says."""
    kind, value = task
    if kind == "square":
        return value * value
    if kind == "pid":
        return os.getpid()
    if kind == "kill":
        note("counting sheep", None)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit":
        os._exit(value)
    if kind == "raise":
        raise ValueError(value)
    if kind == "raise unportable":
        raise Unportable("half ", "and half")
    if kind == "hang":
        note("matching for ever", 0.5)
        re.match(r"(a+)+$", "a" * 60 + "b")  # holds the interpreter's lock for years
    if kind == "leave a thread":
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        return os.getpid()
    if kind == "print":
        print(value)
        os.write(1, value.encode())
        return None
    raise AssertionError(kind)
