"""Stage A: compute a recipe's factors from klines and write a factor set. Prints one JSON object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__" and not __package__:  # not in a worker process, which finds the package already
    import _bootstrap  # noqa: F401  (run by path: makes the package importable)

from Backtest.cli import OneLineParser, run_command, split_symbols

if TYPE_CHECKING:
    from Backtest.prepare import PrepareSettings
    from Backtest.stage_a.pool import Pool

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of Stage A."""
    parser = OneLineParser(
        prog="run_prepare.py",
        description=__doc__,
        epilog="Defaults stand in config/core.yaml; flags override them. Exit codes: 0 all symbols written; 1 some "
        "symbols or factors left out, each named with its reason; 2 nothing written, or --check-causality found a "
        "factor that peeks; 130 and 143 stopped, run the same command again to finish.",
    )
    add = parser.add_argument
    add("--factor-set", metavar="NAME", help="name of the result (required)")
    add("--dsl-path", type=Path, metavar="FILE", help="recipe, yaml or JSON (required)")
    add("--timeframe", metavar="TF", help="bar length, e.g. 15m, 2H, 4h, 1d (required)")
    add("--symbols", nargs="+", metavar="SYMBOL", help='BTCUSDT,ETHUSDT or "@file" or all (default: all)')
    add("--start", metavar="TIME", help="first bar, UTC, e.g. 2021-01-01 (default: first there is)")
    add("--end", metavar="TIME", help="bars that open before this time (default: last there is)")
    add("--data-root", type=Path, metavar="DIR", help="folder that holds the klines folder")
    add("--datahub-root", type=Path, metavar="DIR", help="where factor sets are written")
    add("--symbols-table", type=Path, metavar="FILE", help="sector, supply ... of each coin, not the setting's file")
    add("--dtype", choices=("float64", "float32"), help="how files keep values; float32: half the size, 7 digits")
    add("--memory-limit", type=float, metavar="GB", help="what the arrays of each process may take")
    add("--workers", type=int, metavar="N", help="processes; 0: one per core")
    add(
        "--on-missing",
        choices=("fail", "drop"),
        default="fail",
        help="factor above its na_threshold: fail the run, or write it as missing for that symbol and list both under "
        "'dropped'",
    )
    add("--allow-module", action="append", metavar="MODULE", help="module whose functions the recipe may name")
    add("--config", type=Path, metavar="FILE", help="settings instead of config/core.yaml")
    add("--log-level", choices=LEVELS, help="how much the log file says")
    add("--overwrite", action="store_true", help="replace the factor set that is there")
    add("--append", action="store_true", help="extend the factor set that is there to a later --end")
    add("--dry-run", action="store_true", help="check everything but the klines, list the symbols, write nothing")
    add("--explain", action="store_true", help="print what each factor needs, write nothing (needs --dsl-path only; "
        "--timeframe too where the recipe has bars())")  # fmt: skip
    add(
        "--check-causality",
        type=int,
        metavar="N",
        help="recompute on N cut and N later-starting panels, name what peeks",
    )
    add("--list-operators", action="store_true", help="print the operators of the language")
    add("--markdown", choices=("zh", "en"), help="with --list-operators: as the page that the README links")
    return parser


def main(arguments: argparse.Namespace, *, alone: bool = False) -> int:
    """Make the settings, run Stage A, print its summary.

    `alone` in a process of its own, which starts quickly and which Ctrl-C no longer ends once the set is in place.
    """
    from Backtest.files import json_text
    from Backtest.process import clean_stdout, ignore_interrupts, interrupts_held_back, seconds_alive, start_quickly

    with clean_stdout() as write:
        if arguments.list_operators and arguments.markdown:
            from Backtest.report.operator_page import markdown_page

            write(markdown_page(arguments.markdown))
            return 0
        if arguments.list_operators:
            from Backtest.data.dsl.explain import operator_page

            write(operator_page())
            return 0
        import time

        started = time.monotonic() - seconds_alive()
        require_flags(arguments)
        if alone and arguments.check_causality is None:  # which computes here
            start_quickly()
        with early_pool(arguments) as pool:
            with interrupts_held_back():
                from Backtest.prepare import prepare

            settings = settings_of(arguments, started)
            if arguments.explain:
                from Backtest.stage_a.explain import explain_recipe

                write(explain_recipe(settings))
                return 0
            if arguments.check_causality is not None:
                return check(settings, arguments.check_causality, write)
            summary = prepare(
                settings,
                pool=pool,
                on_stop=lambda stopped: write(json_text(stopped)),
                on_published=ignore_interrupts if alone else None,
            )
            write(json_text(summary))
            return 1 if summary["status"] == "incomplete" else 0


def early_pool(arguments: argparse.Namespace) -> AbstractContextManager[Pool | None]:
    """Return the pool of a run that will need one: its first worker starts while this process imports the rest."""
    if arguments.explain or arguments.dry_run or arguments.check_causality is not None:
        return nullcontext()
    from Backtest.process import interrupts_held_back

    with interrupts_held_back():
        from Backtest.stage_a.pool import WORK, Pool

    return Pool(WORK)


def check(settings: PrepareSettings, count: int, write: Callable[[str], object]) -> int:
    """Check the recipe's causality, print the summary, name each violation on stderr."""
    from Backtest.files import json_text
    from Backtest.stage_a.causality import check_recipe

    summary = check_recipe(settings, count)
    write(json_text(summary))
    for violation in summary["violations"]:
        print(f"error: {violation['words']}", file=sys.stderr)
    return {"ok": 0, "incomplete": 1, "failed": 2}[summary["status"]]


def require_flags(arguments: argparse.Namespace) -> None:
    """Refuse a command line that lacks what it needs."""
    from Backtest.errors import SettingsError

    needed = ["factor_set", "dsl_path", "timeframe"]
    if arguments.explain:
        needed = ["dsl_path"]
    elif arguments.check_causality is not None:
        needed = ["dsl_path", "timeframe"]
    for name in needed:
        if not getattr(arguments, name):
            raise SettingsError(f"--{name.replace('_', '-')} is required; -h shows all flags")


def settings_of(arguments: argparse.Namespace, started: float) -> PrepareSettings:
    """Return the settings that the command line means; its relative paths are relative to the working directory."""
    from Backtest.errors import SettingsError
    from Backtest.prepare import PrepareSettings
    from Backtest.settings import load_core, resolve, with_flags

    here = Path.cwd()
    table = arguments.symbols_table and resolve(arguments.symbols_table, here)
    if table and not table.is_file():  # the setting's file may be missing; one that is named is meant to be used
        raise SettingsError(f"--symbols-table: there is no file {table}")
    core = load_core(
        arguments.config,
        data_root=arguments.data_root and str(resolve(arguments.data_root, here)),
        datahub_root=arguments.datahub_root and str(resolve(arguments.datahub_root, here)),
        symbols_table=table and str(table),
        workers=arguments.workers,
        dtype=arguments.dtype,
        memory_limit_gb=arguments.memory_limit,
        log_level=arguments.log_level,
    )
    if arguments.allow_module:
        core = with_flags(core, allow_modules=(*core.allow_modules, *arguments.allow_module))
    symbols = split_symbols(arguments.symbols)
    return PrepareSettings(
        core=core,
        timeframe=arguments.timeframe or "",
        factor_set=arguments.factor_set or "",
        dsl_path=resolve(arguments.dsl_path, here),
        symbols=None if symbols is None else tuple(symbols),
        start=arguments.start,
        end=arguments.end,
        on_missing=arguments.on_missing,
        overwrite=arguments.overwrite,
        append=arguments.append,
        dry_run=arguments.dry_run,
        started=started,
    )


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return its exit code."""
    return run_command(main, make_parser(), argv)


def script() -> int:
    """Run the command in a process of its own and return its exit code."""
    return run_command(partial(main, alone=True), make_parser())


if __name__ == "__main__":
    sys.exit(script())
