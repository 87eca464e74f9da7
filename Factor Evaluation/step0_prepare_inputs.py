"""Step 0: read klines, write normalised inputs, forward returns and golden samples. Prints one JSON object."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.steps import prepare_command

if __name__ == "__main__":
    sys.exit(prepare_command(str(__doc__)))
