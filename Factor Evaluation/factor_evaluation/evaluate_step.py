"""The command line of Step 4. Imports nothing heavy, for -h; a ``_qlib_`` script passes its own store."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .steps import OpenStore, core_of, one_step, options_of, output_of, parquet_store, run_step, step_parser

if TYPE_CHECKING:
    from .evaluate import Attach

SPLITS = ("month", "quarter", "year", "regime")
FORMATS = ("html", "json")


def evaluate_command(
    description: str,
    argv: Sequence[str] | None = None,
    *,
    prog: str = "step4_factor_evaluation.py",
    open_store: OpenStore = parquet_store,
    more: Callable[[argparse.ArgumentParser], None] | None = None,
    attach: Callable[[argparse.Namespace], Attach | None] | None = None,
) -> int:
    """Run Step 4.

    Parameters
    ----------
    open_store
        Where factors and prices are read from.
    more
        Adds options of its own to the parser.
    attach
        Returns what writes further pages beside each report, or None.
    """
    parser = evaluate_parser(prog, description)
    if more:
        more(parser)

    def main(arguments: argparse.Namespace) -> dict[str, Any]:
        return _evaluate(arguments, open_store, attach(arguments) if attach else None)

    return run_step(parser, main, argv)


def evaluate_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return the options of Step 4."""
    parser = step_parser(prog, f"{description} A report that is there already is replaced.")
    add = parser.add_argument
    add("--factor-name", action="append", required=True, metavar="NAME", help="factor to evaluate; may be given "
        "several times; all: every one there is")  # fmt: skip
    add("--horizons", nargs="+", metavar="H", help="bars or durations, e.g. 5,15,1h; a bare number counts bars "
        "(default: those of Step 0)")  # fmt: skip
    add("--group", type=int, default=5, metavar="N", help="number of quantiles (default: 5)")
    add("--time-split", action="append", choices=SPLITS, help="also measure each part of the time; regime: volatility "
        "terciles and trend of the benchmark; may be given several times")  # fmt: skip
    add("--analysis-format", choices=FORMATS, default="html", help="html: evaluation.html, pictures and "
        "evaluation.json; json: evaluation.json only (default: html)")  # fmt: skip
    add("--cost", type=float, metavar="FRACTION", help="cost per unit of traded value, e.g. 0.001 for 0.1 %%")
    add("--max-loss", type=float, metavar="FRACTION", help="a factor that loses a larger share of its cells is not "
        "evaluated")  # fmt: skip
    return parser


def _evaluate(arguments: argparse.Namespace, open_store: OpenStore, attach: Attach | None) -> dict[str, Any]:
    from Backtest.process import interrupts_held_back

    with interrupts_held_back():
        from .evaluate import EvaluateRequest, evaluate, open_evaluate
    from .layout import resolve_run

    core = core_of(arguments, max_loss=arguments.max_loss)
    layout = resolve_run(output_of(arguments, core), arguments.run_id, arguments.bar_freq)
    store = open_store(layout)
    request = EvaluateRequest(
        core=core,
        factors=tuple(name for word in arguments.factor_name for name in word.split(",") if name),
        horizons=tuple(arguments.horizons or ()),
        quantiles=arguments.group,
        splits=tuple(dict.fromkeys(arguments.time_split or ())),
        html=arguments.analysis_format == "html",
        cost=arguments.cost,
    )
    open_evaluate(request, store)  # what is wrong with the command line leaves no trace in the run
    with one_step(layout, f"step4_factor_evaluation_{store.name}", core, options_of(arguments)):
        return evaluate(request, store, attach=attach)
