"""Stage B: run a strategy on a factor set and publish the run folder. Prints one JSON object."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    import _bootstrap  # noqa: F401  (run by path: makes the package importable)

from Backtest.cli import run_command, split_symbols

ENGINES = ("backtrader", "numba", "both")
MARKETS = ("spot", "um")
MARGIN_MODES = ("cross", "isolated")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def make_parser() -> argparse.ArgumentParser:
    """Return the command line of Stage B."""
    parser = argparse.ArgumentParser(
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
    add = parser.add_argument
    add("--factor-set", required=True, metavar="NAME", help="factor set that Stage A made")
    add("--strategy", required=True, metavar="NAME", help="topk, longshort, signal, or module:Class of your own "
        "(with --allow-module)")  # fmt: skip
    add("--timeframe", required=True, metavar="TF", help="bar length of the factor set, e.g. 15m, 2H, 4h, 1d")
    add("--param", action="append", default=[], metavar="KEY=VALUE", help="strategy parameter, e.g. factor=mfi14; may "
        "be repeated")  # fmt: skip
    add("--overlay", action="append", metavar="NAME:KEY=VALUE", help="rule between strategy and orders, e.g. "
        "stop_loss:pct=0.08 or vol_target:annual=0.4,days=20; may be repeated; replaces the list in the settings, none "
        "empties it")  # fmt: skip
    add("--start", metavar="TIME", help="first bar, UTC, e.g. 2021-01-01 (default: the factor set's)")
    add("--end", metavar="TIME", help="bars that open before this time (default: the factor set's)")
    add("--symbols", nargs="+", metavar="SYMBOL", help='BTCUSDT,ETHUSDT or "@file"; all or left out: the factor set\'s')
    add("--dsl-path", type=Path, metavar="FILE", help="recipe that the factor set must have been made from")
    add("--data-root", type=Path, metavar="DIR", help="prices (default: where Stage A read them)")
    add("--datahub-root", type=Path, metavar="DIR", help="where the factor set lies")
    add("--results-root", type=Path, metavar="DIR", help="where the run folder goes")
    add("--config", type=Path, metavar="FILE", help="settings instead of config/core.yaml")
    add("--engine", choices=ENGINES, help="backtrader: the reference; numba: compiled, the same orders; both: run the "
        "two, refuse a difference (default: backtrader; numba for --market um, which runs on it alone)")  # fmt: skip
    add("--market", default="spot", choices=MARKETS, help="um: USDT-M perpetual futures, with margin, funding and "
        "liquidation (default: spot)")  # fmt: skip
    add("--leverage", nargs="+", metavar="X", help="futures: notional per margin, for all, or SYMBOL=X for one of them")
    add("--margin-mode", choices=MARGIN_MODES, help="futures: one wallet for all positions, or a margin for each")
    add("--log-level", type=str.upper, choices=LEVELS, help="how much the log file says")
    add("--allow-module", action="append", metavar="MODULE", help="module whose strategy class may be run")
    add("--overwrite", action="store_true", help="remove earlier runs of the very same experiment afterwards")
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Make the settings, run Stage B, print its summary."""
    from Backtest.errors import EXIT_OK, EXIT_SYMBOLS_REFUSED
    from Backtest.files import json_text
    from Backtest.runs.request import settings_of
    from Backtest.simulate import simulate

    summary = simulate(settings_of(arguments, split_symbols(arguments.symbols)))
    print(json_text(summary), end="")
    return EXIT_SYMBOLS_REFUSED if summary.get("refused") else EXIT_OK


def command(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments and return its exit code."""
    return run_command(main, make_parser(), argv)


if __name__ == "__main__":
    sys.exit(command())
