"""What the ``_qlib_`` scripts add to `steps`: store, Step 0 of it, Qlib's report. Imports nothing heavy, for -h."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .evaluate_step import evaluate_command
from .steps import core_of, one_step, options_of, output_of, run_step, step_parser

if TYPE_CHECKING:
    from .evaluate import Attach
    from .layout import RunLayout
    from .store import Store


def qlib_store(layout: RunLayout) -> Store:
    """Return the Qlib store of a run; RunError where Qlib is not installed, or the store is of earlier inputs."""
    from .qlib_reader import require_qlib
    from .qlib_store import QlibStore

    require_qlib()
    store = QlibStore(layout)
    if store.exists():
        store.require_current()
    return store


def evaluated_store(layout: RunLayout) -> Store:
    """Return the Qlib store of a run, which must be there."""
    from .qlib_reader import require_qlib
    from .qlib_store import QlibStore

    require_qlib()
    store = QlibStore(layout)
    store.require_current()
    return store


def evaluate_qlib_command(description: str, argv: Sequence[str] | None = None) -> int:
    """Run Step 4 on the Qlib store."""
    prog = "step4_factor_evaluation_qlib_05.py"
    return evaluate_command(description, argv, prog=prog, open_store=evaluated_store, more=_more, attach=_attach)


def _more(parser: argparse.ArgumentParser) -> None:
    words = "also Qlib's own report figures, with 365 days a year: qlib_report.html"
    parser.add_argument("--enable-report-analysis", action="store_true", help=words)


def _attach(arguments: argparse.Namespace) -> Attach:
    """Return what adds Qlib's report to ours, or removes that of an earlier evaluation."""
    from functools import partial

    from .qlib_report import with_qlib_report, without_qlib_report

    if arguments.enable_report_analysis:
        return partial(with_qlib_report, html=arguments.analysis_format == "html")
    return without_qlib_report


def prepare_qlib_command(description: str, argv: Sequence[str] | None = None) -> int:
    """Run Step 0 for Qlib."""
    return run_step(step_parser("step0_prepare_inputs_qlib_01.py", description), _prepare, argv)


def _prepare(arguments: argparse.Namespace) -> dict[str, Any]:
    from .layout import resolve_run
    from .manifest import read_manifest
    from .qlib_prepare import prepare_qlib
    from .qlib_reader import require_qlib

    core = core_of(arguments)
    layout = resolve_run(output_of(arguments, core), arguments.run_id, arguments.bar_freq)
    read_manifest(layout)  # what is wrong with the command line leaves no trace in the run
    require_qlib()
    with one_step(layout, "step0_prepare_inputs_qlib", core, options_of(arguments)):
        return prepare_qlib(layout)
