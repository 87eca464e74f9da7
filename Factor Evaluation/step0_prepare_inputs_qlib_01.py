"""Step 0 for Qlib: write a run's inputs, labels and factors as a Qlib provider. Prints one JSON object."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.qlib_steps import prepare_qlib_command

if __name__ == "__main__":
    sys.exit(prepare_qlib_command(str(__doc__)))
