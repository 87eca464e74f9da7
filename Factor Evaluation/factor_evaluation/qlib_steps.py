"""What the ``_qlib_`` scripts add to `steps`: their store, and Step 0 of it. Imports nothing heavy, for -h."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .steps import core_of, one_step, options_of, output_of, run_step, step_parser

if TYPE_CHECKING:
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
