"""Step 2 for Qlib: load a run's inputs through Qlib and report their quality per symbol and month. Prints JSON."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.qlib_steps import qlib_store
from factor_evaluation.steps import load_command

if __name__ == "__main__":
    sys.exit(load_command(str(__doc__), qlib_store, prog="step2_loader_and_qc_qlib_03"))
