"""The command lines of the steps: arguments -> settings -> one call -> print JSON. Imports nothing heavy, for -h.

Each script calls the function of its verb here and says which store it works on; options of one name mean the same
in every step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from Backtest.cli import OneLineParser, run_command, split_symbols

if TYPE_CHECKING:
    from Backtest.settings import CoreSettings

    from .layout import RunLayout
    from .store import Store

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
Main = Callable[[argparse.Namespace], "dict[str, Any]"]
OpenStore = Callable[["RunLayout"], "Store"]
DIFFERENT, OK = 1, 0


def step_parser(prog: str, description: str, *, output: str = "--output-dir") -> argparse.ArgumentParser:
    """Return a parser with the options that every step has."""
    parser = OneLineParser(
        prog=prog,
        description=description,
        epilog="Defaults stand in config/core.yaml; flags override them. Exit codes: 0 fine; 1 symbols left out or "
        "checks failed, each named; 2 refused, nothing changed; 130 and 143 stopped, run the same command again.",
    )
    add = parser.add_argument
    place = "folder of all runs" if output == "--output-root" else "folder of all runs, or of this one"
    add(output, type=Path, metavar="DIR", help=f"{place} (default: AI_Agent_Output_fix in the project)")
    add("--run-id", metavar="NAME", required=True, help="name of the run")
    add("--bar-freq", metavar="TF", required=True, help="bar length, e.g. 3min, 5min, 4h")
    add("--config", type=Path, metavar="FILE", help="settings instead of config/core.yaml")
    add("--log-level", choices=LEVELS, help="how much the log file says")
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of steps that read klines."""
    add = parser.add_argument
    add("--data-root", type=Path, metavar="DIR", help="folder that holds the klines folder")
    add("--symbols", nargs="+", metavar="SYMBOL", help='BTCUSDT,ETHUSDT or "@file" or all (default: all)')
    add("--start", metavar="TIME", help="first bar, UTC, e.g. 2025-01-01 (default: first there is)")
    add("--end", metavar="TIME", help="bars that open before this time (default: last there is)")
    add("--concurrency", type=int, metavar="N", help="symbols that are worked on at a time; 0: one per core")
    add("--overwrite", action="store_true", help="replace what is there")


def run_step(parser: argparse.ArgumentParser, main: Main, argv: Sequence[str] | None = None) -> int:
    """Run a step: print its JSON summary, return 1 where it names what is not as it should be."""

    def call(arguments: argparse.Namespace) -> int:
        from Backtest.files import json_text
        from Backtest.process import clean_stdout

        with clean_stdout() as write:
            summary = main(arguments)
            write(json_text(summary))
        return OK if summary["status"] == "ok" else DIFFERENT

    return run_command(call, parser, argv)


def core_of(arguments: argparse.Namespace, **more: Any) -> CoreSettings:
    """Return the settings that the command line means; its relative paths are relative to the working directory."""
    from Backtest.settings import load_core, resolve

    data_root = getattr(arguments, "data_root", None)
    return load_core(
        arguments.config,
        data_root=data_root and str(resolve(data_root, Path.cwd())),
        workers=getattr(arguments, "concurrency", None),
        log_level=arguments.log_level,
        **more,
    )


def output_of(arguments: argparse.Namespace, core: CoreSettings, name: str = "output_dir") -> Path:
    """Return the folder of runs: as given, or the setting's."""
    from Backtest.settings import resolve

    given = getattr(arguments, name)
    return resolve(given, Path.cwd()) if given else resolve(core.evaluation_root)


@contextmanager
def one_step(layout: RunLayout, step: str, core: CoreSettings, options: dict[str, Any]) -> Iterator[None]:
    """Hold the run's lock and its log file for the length of a step, and keep the settings it ran with."""
    from Backtest.errors import FactorError, RunError
    from Backtest.files import Locked, one_writer, sweep, write_json
    from Backtest.logs import LOGGER, log_path, run_log

    from .layout import PARTS

    try:
        with one_writer(layout.lock), run_log(log_path(layout.folder("logs"), step), core.log_level):
            LOGGER.info("started: %s", options)
            for part in PARTS:
                sweep(layout.folder(part), LOGGER.info)
            try:
                yield
            except FactorError as error:
                LOGGER.info("stopped: %s", error)  # the command prints it: only the file needs it here
                raise
            except KeyboardInterrupt:
                LOGGER.info("interrupted")
                raise
            layout.snapshot(step).parent.mkdir(parents=True, exist_ok=True)
            write_json(layout.snapshot(step), {"options": options, "settings": _plain(core)})
    except Locked as held:
        raise RunError(f"run {layout.run_id} is being written at {layout.bar_freq}: {held}") from None


def _plain(core: CoreSettings) -> dict[str, Any]:
    from dataclasses import asdict

    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(core).items()}


def parquet_store(layout: RunLayout) -> Store:
    """Return the plain store of a run."""
    from .parquet_store import ParquetStore

    return ParquetStore(layout)


def stores_of(layout: RunLayout) -> list[Store]:
    """Return every store of a run that a new factor belongs into: the plain one, and the Qlib store where there is one.

    The plain one is first: the other remembers what it holds a copy of.
    """
    from .qlib_reader import require_qlib
    from .qlib_store import QlibStore

    found, store = [parquet_store(layout)], QlibStore(layout)
    if store.exists():
        require_qlib()
        store.require_writable()
        found.append(store)
    return found


def options_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the command line as plain values, as it was given."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in sorted(vars(arguments).items())
        if value is not None
    }


# Step 0


def prepare_command(description: str, argv: Sequence[str] | None = None) -> int:
    """Run Step 0."""
    parser = step_parser("step0_prepare_inputs.py", description, output="--output-root")
    add_data_options(parser)
    add = parser.add_argument
    add("--horizons", nargs="+", metavar="H", help="of the forward returns: bars or durations, e.g. 5,15,1h")
    add("--label-price", choices=("open", "close", "both"), default="open", help="returns between opens or closes")
    add("--mode", choices=("plan", "execute"), default="execute", help="plan writes the manifest only")
    return run_step(parser, _prepare, argv)


def _prepare(arguments: argparse.Namespace) -> dict[str, Any]:
    from .layout import new_run
    from .prepare import PrepareRequest, open_request, prepare

    core = core_of(arguments)
    symbols = split_symbols(arguments.symbols)
    request = PrepareRequest(
        core=core,
        output_root=output_of(arguments, core, "output_root"),
        run_id=arguments.run_id,
        bar_freq=arguments.bar_freq,
        symbols=None if symbols is None else tuple(symbols),
        start=arguments.start,
        end=arguments.end,
        horizons=tuple(arguments.horizons or ()),
        label_kinds=("open", "close") if arguments.label_price == "both" else (arguments.label_price,),
        mode=arguments.mode,
        overwrite=arguments.overwrite,
    )
    open_request(request)  # what is wrong with the command line leaves no folder behind
    layout = new_run(request.output_root, request.run_id, request.bar_freq)
    with one_step(layout, "step0_prepare_inputs", core, options_of(arguments)):
        return prepare(request)


# Steps 1 and 2


def check_command(description: str, store: OpenStore, *, prog: str, argv: Sequence[str] | None = None) -> int:
    """Run Step 1 on a store."""

    def main(arguments: argparse.Namespace) -> dict[str, Any]:
        from .check import check
        from .manifest import read_manifest

        core, layout = existing_run(arguments)
        read_manifest(layout)
        with one_step(layout, prog, core, options_of(arguments)):
            return check(core, layout, store(layout))

    parser = step_parser(f"{prog}.py", description)
    parser.add_argument("--concurrency", type=int, metavar="N", help="symbols that are worked on at a time")
    return run_step(parser, main, argv)


def load_command(description: str, store: OpenStore, *, prog: str, argv: Sequence[str] | None = None) -> int:
    """Run Step 2 on a store."""

    def main(arguments: argparse.Namespace) -> dict[str, Any]:
        from .load import load

        core, layout = existing_run(arguments)
        opened = store(layout)
        opened.read_inputs(())  # names the step where they are missing, and leaves no trace
        with one_step(layout, prog, core, options_of(arguments)):
            return load(core, layout, opened, report=arguments.report)

    parser = step_parser(f"{prog}.py", description)
    parser.add_argument("--report", choices=("json", "html"), default="json", help="html: a page beside qc.json")
    return run_step(parser, main, argv)


def existing_run(arguments: argparse.Namespace) -> tuple[CoreSettings, RunLayout]:
    """Return the settings and the run of a step that works on what Step 0 made."""
    from .layout import resolve_run

    core = core_of(arguments)
    return core, resolve_run(output_of(arguments, core), arguments.run_id, arguments.bar_freq)


# Step 3


def compute_command(description: str, argv: Sequence[str] | None = None) -> int:
    """Run Step 3."""
    parser = step_parser("step3_factor_engine_04.py", description)
    add_data_options(parser)
    add = parser.add_argument
    add("--dsl", action="append", metavar="'NAME = EXPRESSION'", help="a factor; may be given several times")
    add("--dsl-path", type=Path, metavar="FILE", help="recipe instead of --dsl, yaml or JSON")
    add("--allow-module", action="append", metavar="MODULE", help="module whose functions the recipe may name")
    return run_step(parser, _compute, argv)


def _compute(arguments: argparse.Namespace) -> dict[str, Any]:
    from Backtest.process import interrupts_held_back

    with interrupts_held_back():
        from .compute import ComputeRequest, compute_factors, open_compute, recipe_from
    from Backtest.settings import resolve, with_flags

    core, layout = existing_run(arguments)
    if arguments.allow_module:
        core = with_flags(core, allow_modules=(*core.allow_modules, *arguments.allow_module))
    symbols = split_symbols(arguments.symbols)
    request = ComputeRequest(
        core=core,
        data_root_given=arguments.data_root is not None,
        recipe=recipe_from(arguments.dsl, arguments.dsl_path and resolve(arguments.dsl_path, Path.cwd())),
        symbols=None if symbols is None else tuple(symbols),
        start=arguments.start,
        end=arguments.end,
        overwrite=arguments.overwrite,
    )
    open_compute(request, layout)  # what is wrong with the command line leaves no trace in the run
    with one_step(layout, "step3_factor_engine", core, options_of(arguments)):
        return compute_factors(request, layout, stores_of(layout))
