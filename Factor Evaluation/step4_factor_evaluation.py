"""Step 4: measure factors against forward returns, and write a report of each. Prints one JSON object."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.evaluate_step import evaluate_command

if __name__ == "__main__":
    sys.exit(evaluate_command(str(__doc__)))
