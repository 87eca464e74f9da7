"""What every command shares: arguments in, exit code out. Imports nothing heavy, so that -h is instant."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .errors import EXIT_OK, EXIT_SYMBOLS_REFUSED, FactorError

INTERRUPTED = 130
TERMINATED = 143

MARKETS = ("spot", "um")
MARGIN_MODES = ("cross", "isolated")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class OneLineParser(argparse.ArgumentParser):
    """argparse, but for a wrong option: one line as for every other error, not the whole usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(FactorError.exit_code, f"error: {message}; -h lists all options\n")


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


def add_run_options(parser: argparse.ArgumentParser, *, param: tuple[str, str]) -> None:
    """Add the options that a run and a sweep share; `param` are the metavar and the help of ``--param``."""
    add = parser.add_argument
    add("--factor-set", required=True, metavar="NAME", help="factor set that Stage A made")
    add("--strategy", required=True, metavar="NAME", help="topk, longshort, signal, or module:Class of your own "
        "(with --allow-module)")  # fmt: skip
    add("--timeframe", required=True, metavar="TF", help="bar length of the factor set, e.g. 15m, 2H, 4h, 1d")
    add("--param", action="append", default=[], metavar=param[0], help=param[1])
    add("--overlay", action="append", metavar="NAME:KEY=VALUE", help="rule between strategy and orders, e.g. "
        "stop_loss:pct=0.08 or vol_target:annual=0.4,days=20; may be repeated; replaces the list in the settings, none "
        "empties it")  # fmt: skip
    add("--start", metavar="TIME", help="first bar, UTC, e.g. 2021-01-01 (default: the factor set's)")
    add("--end", metavar="TIME", help="bars that open before this time (default: the factor set's)")
    add("--symbols", nargs="+", metavar="SYMBOL", help='BTCUSDT,ETHUSDT or "@file"; all or left out: the factor set\'s')
    add("--dsl-path", type=Path, metavar="FILE", help="recipe that the factor set must have been made from")
    add("--data-root", type=Path, metavar="DIR", help="prices (default: where Stage A read them)")
    add("--datahub-root", type=Path, metavar="DIR", help="where the factor set lies")
    add("--results-root", type=Path, metavar="DIR", help="where the results go")
    add("--config", type=Path, metavar="FILE", help="settings instead of config/core.yaml")
    add("--market", default="spot", choices=MARKETS, help="um: USDT-M perpetual futures, with margin, funding and "
        "liquidation (default: spot)")  # fmt: skip
    add("--leverage", nargs="+", metavar="X", help="futures: notional per margin for all, or SYMBOL=X for one symbol, "
        "e.g. 5 BTC=10,ETH=8")  # fmt: skip
    add("--margin-mode", choices=MARGIN_MODES, help="futures: one wallet for all positions, or a margin for each")
    add("--log-level", type=str.upper, choices=LEVELS, help="how much the log file says")
    add("--allow-module", action="append", metavar="MODULE", help="module whose strategy class may be run")
    add("--overwrite", action="store_true", help="remove earlier results of the very same experiment afterwards")


def print_summary(summary: Mapping[str, Any]) -> int:
    """Print a summary as JSON and return the exit code that it stands for."""
    from .files import json_text

    print(json_text(summary), end="")
    return EXIT_SYMBOLS_REFUSED if summary.get("refused") else EXIT_OK
