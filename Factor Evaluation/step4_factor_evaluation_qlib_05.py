"""Step 4 for Qlib: evaluate factors from the Qlib store, with Qlib's own figures on request. Prints one JSON object."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.qlib_steps import evaluate_qlib_command

if __name__ == "__main__":
    sys.exit(evaluate_qlib_command(str(__doc__)))
