"""What every command shares: arguments in, exit code out. Imports nothing heavy, so that -h is instant."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from .errors import FactorError

INTERRUPTED = 130
TERMINATED = 143


def run_command(
    main: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: Sequence[str] | None = None
) -> int:
    """Parse, run, and turn a FactorError into its one message on stderr and its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # JSON is UTF-8 whatever the locale, and a path that is no text must not end a finished run
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    arguments = parser.parse_args(argv)
    try:
        with terminate_as_interrupt():
            code = main(arguments)
            sys.stdout.flush()
            return code
    except FactorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except Terminated:
        print("terminated", file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            return 0
        place = f" ({error.filename})" if error.filename else ""
        print(f"error: {error.strerror or error}{place}", file=sys.stderr)
        return FactorError.exit_code


def reader_left() -> bool:
    """Return whether nobody reads stdout any more (``| head``), and silence it then: Python flushes it at exit."""
    import select

    if not hasattr(select, "poll"):
        return False
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)  # a closed far end is reported unasked
    if not pipe.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: unwinds like Ctrl-C, so that workers stop and temporary files go."""


class terminate_as_interrupt:
    """Raise Terminated in the main thread on SIGTERM while the block runs."""

    def __enter__(self) -> None:
        import signal
        import threading

        self.before = None
        if threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGTERM, self.stop)

    @staticmethod
    def stop(_number: int, _frame: object) -> None:
        raise Terminated

    def __exit__(self, *_: object) -> None:
        import signal

        if self.before is not None:
            signal.signal(signal.SIGTERM, self.before)


def split_symbols(words: Sequence[str] | None) -> list[str] | None:
    """Return the symbols of ``--symbols A,B C``, or None when the flag was not given; ``@file`` stays as it is."""
    if words is None:
        return None
    return [name for word in words for name in ([word] if word.startswith("@") else word.replace(",", " ").split())]
