"""Look at runs: one, all of them, two side by side, or one computed again and compared.

Runs are named by their id or an unambiguous beginning of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:
    import _bootstrap  # noqa: F401  (run by path: makes the package importable)

from Backtest.cli import OneLineParser, run_command

if TYPE_CHECKING:
    from Backtest.results import Run

DIVERGED = 1


def make_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = OneLineParser(
        prog="python -m Backtest.analyze_run",
        description=__doc__,
        epilog="Exit codes: 0 done, with --verify: equal; 1 with --verify: a number differs; 2 refused, the reason is "
        "on stderr; 130 and 143 stopped.",
    )
    modes = parser.add_mutually_exclusive_group(required=True)
    modes.add_argument("--run-id", metavar="ID", help="show a run's metrics")
    modes.add_argument("--list", action="store_true", help="show all runs")
    modes.add_argument("--compare", nargs=2, metavar=("A", "B"), help="show two runs side by side")
    modes.add_argument(
        "--verify",
        metavar="ID",
        help="compute a run again from the klines and the factor files with the settings in its run_context.json, and "
        "compare orders.csv, equity_curve.csv, positions.csv, trades.json and metrics.json number by number (to 1e-9); "
        "factor values are read and hashed, not computed again; plots, report.html and logs.txt are not compared",
    )
    modes.add_argument("--metrics", action="store_true", help="print every metric with its unit and formula")
    parser.add_argument("--sort", metavar="METRIC", help="with --list: by a metric of metrics.json, the best first")
    parser.add_argument("--plot", action="store_true", help="with --run-id: draw the plots and the report again")
    parser.add_argument(
        "--allow-module",
        action="append",
        metavar="MODULE",
        help="with --verify: module whose strategy class may be run",
    )
    parser.add_argument("--results-root", type=Path, metavar="DIR", help="where the runs lie")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Print what was asked for and return the exit code."""
    from Backtest.errors import SettingsError
    from Backtest.files import json_text
    from Backtest.settings import load_core, resolve

    if arguments.sort and not arguments.list:
        raise SettingsError("--sort goes with --list")
    if arguments.plot and not arguments.run_id:
        raise SettingsError("--plot goes with --run-id")
    if arguments.metrics:
        facts, text, code = described()
        print(json_text(facts) if arguments.json else text + "\n", end="")
        return code
    core, given = load_core(), arguments.results_root
    root = resolve(core.results_root) if given is None else given.absolute()
    if arguments.list:
        facts, text, code = listed(root, arguments.sort)
    elif arguments.compare:
        facts, text, code = compared(root, *arguments.compare)
    elif arguments.verify is not None:
        facts, text, code = verified(root, arguments.verify, (*core.allow_modules, *(arguments.allow_module or ())))
    else:
        facts, text, code = shown(root, arguments.run_id, plot=arguments.plot)
    print(json_text(facts) if arguments.json else text + "\n", end="")
    return code


def open_run(root: Path, run_id: str) -> Run:
    """Return a run by its id or the beginning of it."""
    from Backtest.results import find_run, read_run

    return read_run(find_run(root, run_id))


def described() -> tuple[Any, str, int]:
    """Return the table of metrics as facts and as text."""
    from dataclasses import asdict

    from Backtest.metrics import METRICS
    from Backtest.runs.text import metrics_text

    return [asdict(row) for row in METRICS.values()], metrics_text(), 0


def listed(root: Path, by: str | None) -> tuple[Any, str, int]:
    """Return the index as facts and as text."""
    from Backtest.runs.index import list_runs
    from Backtest.runs.text import list_text, sorted_entries

    entries = sorted_entries(list_runs(root), by)
    return entries, list_text(entries, by), 0


def shown(root: Path, run_id: str, *, plot: bool) -> tuple[Any, str, int]:
    """Return one run as facts and as text; `plot` draws its pictures again."""
    from Backtest.runs.text import run_text

    run = open_run(root, run_id)
    facts: dict[str, Any] = {
        "run_id": run.run_id,
        "path": str(run.folder),
        "context": run.context,
        "metrics": run.metrics,
    }
    text = run_text(run)
    if plot:
        from Backtest.runs.reread import redraw

        facts["plots"] = [str(path) for path in redraw(run)]
        text += "\n\ndrawn\n" + "\n".join(f"  {path}" for path in facts["plots"])
    return facts, text, 0


def compared(root: Path, first: str, second: str) -> tuple[Any, str, int]:
    """Return two runs side by side."""
    from Backtest.runs.text import comparison, comparison_text

    found = comparison(open_run(root, first), open_run(root, second))
    return found, comparison_text(found), 0


def verified(root: Path, run_id: str, allow_modules: tuple[str, ...]) -> tuple[Any, str, int]:
    """Return what computing a run again found; exit code DIVERGED when a number differs."""
    from dataclasses import asdict

    from Backtest.verify import verify_run

    run = open_run(root, run_id)
    found = verify_run(run, allow_modules=allow_modules)
    size = f"{found.orders:,} orders and {found.bars:,} bars computed again"
    words = {
        "identical": "equal, byte for byte",
        "equal": "equal to 1e-9; the last bits differ",
        "diverged": "DIVERGED",
    }
    lines = [f"{run.run_id}: {words[found.verdict]} ({size})"]
    lines += [f"  {name}: {verdict}" for name, verdict in found.files.items()]
    lines += [f"first divergence: {found.divergence}"] * bool(found.divergence)
    lines += [f"changed since: {note}" for note in found.notes]
    return {"run_id": run.run_id, **asdict(found)}, "\n".join(lines), DIVERGED if found.verdict == "diverged" else 0


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return its exit code."""
    return run_command(main, make_parser(), argv)


if __name__ == "__main__":
    sys.exit(command())
