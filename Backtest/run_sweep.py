"""A sweep: a strategy with every combination of parameters, on the compiled engine. Prints one JSON object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

if not __package__:
    import _bootstrap  # noqa: F401  (run by path: makes the package importable)

from Backtest.cli import OneLineParser, add_run_options, print_summary, run_command, split_symbols

FORMATS = ("csv", "parquet")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of a sweep."""
    parser = OneLineParser(
        prog="run_sweep.py",
        description=__doc__,
        epilog="Every trial has the numbers that run_backtest.py has with its parameters. The folder "
        "sweeps/<sweep_id> under the results root holds trials.csv (or .parquet; one row a trial: its parameters, then "
        "the keys of metrics.json), summary.json and sweep_context.json. A trial on futures (--market um) that was "
        "liquidated is never among the best. Exit codes: 0 published; 1 published without the symbols that Stage A "
        "refused, each named; 2 refused, nothing published, the reason is on stderr; 130 and 143 stopped.",
    )
    grid = "values of a strategy parameter, e.g. k=5,10,20; may be repeated: every combination is a trial"
    add_run_options(parser, param=("KEY=V1,V2", grid))
    add = parser.add_argument
    add("--sort", default="sharpe_ratio", metavar="METRIC", help="measure by which summary.json names the best trials "
        "(default: %(default)s)")  # fmt: skip
    add("--format", default="csv", choices=FORMATS, help="of the table of trials (default: %(default)s)")
    add("--workers", type=int, metavar="N", help="threads; 0: one per core. The result does not depend on it")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Make the settings, run the sweep, print its summary."""
    from Backtest.sweeping import sweep_settings, sweep_strategies

    return print_summary(sweep_strategies(sweep_settings(arguments, split_symbols(arguments.symbols))))


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return its exit code."""
    return run_command(main, make_parser(), argv)


if __name__ == "__main__":
    sys.exit(command())
