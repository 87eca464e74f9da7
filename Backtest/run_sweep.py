"""A sweep on spot: a strategy with every combination of parameters, on the compiled engine. Prints one JSON object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    import _bootstrap  # noqa: F401  (run by path: makes the package importable)

from Backtest.cli import run_command, split_symbols

FORMATS = ("csv", "parquet")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of a sweep."""
    parser = argparse.ArgumentParser(
        prog="run_sweep.py",
        description=__doc__,
        epilog="Every trial has the numbers that run_backtest.py has with its parameters. The folder "
        "sweeps/<sweep_id> under the results root holds trials.csv (or .parquet; one row a trial: its parameters, then "
        "the keys of metrics.json), summary.json and sweep_context.json. Exit codes: 0 published; 1 published without "
        "the symbols that Stage A refused, each named; 2 refused, nothing published, the reason is on stderr; "
        "130 and 143 stopped.",
    )
    add = parser.add_argument
    add("--factor-set", required=True, metavar="NAME", help="factor set that Stage A made")
    add("--strategy", required=True, metavar="NAME", help="topk, longshort, signal, or module:Class of your own "
        "weights (with --allow-module)")  # fmt: skip
    add("--timeframe", required=True, metavar="TF", help="bar length of the factor set, e.g. 15m, 2H, 4h, 1d")
    add("--param", action="append", default=[], metavar="KEY=V1,V2", help="values of a strategy parameter, e.g. "
        "k=5,10,20; may be repeated: every combination is a trial")  # fmt: skip
    add("--sort", default="sharpe_ratio", metavar="METRIC", help="measure by which summary.json names the best trials "
        "(default: %(default)s)")  # fmt: skip
    add("--format", default="csv", choices=FORMATS, help="of the table of trials (default: %(default)s)")
    add("--workers", type=int, metavar="N", help="threads; 0: one per core. The result does not depend on it")
    add("--overlay", action="append", metavar="NAME:KEY=VALUE", help="rule between strategy and orders in every trial, "
        "as of run_backtest.py; may be repeated; replaces the list in the settings, none empties it")  # fmt: skip
    add("--start", metavar="TIME", help="first bar, UTC, e.g. 2021-01-01 (default: the factor set's)")
    add("--end", metavar="TIME", help="bars that open before this time (default: the factor set's)")
    add("--symbols", nargs="+", metavar="SYMBOL", help='BTCUSDT,ETHUSDT or "@file"; all or left out: the factor set\'s')
    add("--dsl-path", type=Path, metavar="FILE", help="recipe that the factor set must have been made from")
    add("--data-root", type=Path, metavar="DIR", help="prices (default: where Stage A read them)")
    add("--datahub-root", type=Path, metavar="DIR", help="where the factor set lies")
    add("--results-root", type=Path, metavar="DIR", help="where the folder sweeps goes")
    add("--config", type=Path, metavar="FILE", help="settings instead of config/core.yaml")
    add("--log-level", type=str.upper, choices=LEVELS, help="how much the log file says")
    add("--allow-module", action="append", metavar="MODULE", help="module whose strategy class may be run")
    add("--overwrite", action="store_true", help="remove earlier sweeps of the very same experiment afterwards")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Make the settings, run the sweep, print its summary."""
    from Backtest.errors import EXIT_OK, EXIT_SYMBOLS_REFUSED
    from Backtest.files import json_text
    from Backtest.sweeping import sweep_settings, sweep_strategies

    summary = sweep_strategies(sweep_settings(arguments, split_symbols(arguments.symbols)))
    print(json_text(summary), end="")
    return EXIT_SYMBOLS_REFUSED if summary.get("refused") else EXIT_OK


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return its exit code."""
    return run_command(main, make_parser(), argv)


if __name__ == "__main__":
    sys.exit(command())
