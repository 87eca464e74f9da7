"""Stage B: run a strategy on a factor set and publish the run folder. Prints one JSON object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

if not __package__:
    import _bootstrap  # noqa: F401  (run by path: makes the package importable)

from Backtest.cli import OneLineParser, add_run_options, print_summary, run_command, split_symbols

ENGINES = ("backtrader", "numba", "both")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of Stage B."""
    parser = OneLineParser(
        prog="run_backtest.py",
        description=__doc__,
        epilog="Defaults stand in config/core.yaml and config/strategies/<strategy>.yaml; flags override them. The "
        "parameters of topk, longshort and signal are described line by line in their yaml, those of your own class "
        "are its fields, or its Backtrader params. Of a Backtrader class orders.csv holds what was filled, and what "
        "was rejected for margin; orders that were cancelled, expired or never filled are left out (the docstring of "
        "Backtest/engine/backtrader/user.py says what the class sees). Overlays are stop_loss, take_profit, "
        "trailing_stop, drawdown_stop, vol_target, max_position, max_gross, max_net and max_turnover; README and the "
        "docstrings of Backtest/portfolio describe them. Exit codes: 0 published; 1 published without "
        "the symbols that Stage A refused, each named; 2 refused, nothing published, the reason is on stderr; "
        "130 and 143 stopped.",
    )
    param = ("KEY=VALUE", "strategy parameter, e.g. factor=mfi14; may be repeated")
    add_run_options(parser, param=param)
    parser.add_argument("--engine", choices=ENGINES, help="backtrader: the reference; numba: compiled, the same "
        "orders; both: run the two, refuse a difference (default: backtrader; numba for --market um, which runs on it "
        "alone)")  # fmt: skip
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Make the settings, run Stage B, print its summary."""
    from Backtest.runs.request import settings_of
    from Backtest.simulate import simulate

    return print_summary(simulate(settings_of(arguments, split_symbols(arguments.symbols))))


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return its exit code."""
    return run_command(main, make_parser(), argv)


if __name__ == "__main__":
    sys.exit(command())
