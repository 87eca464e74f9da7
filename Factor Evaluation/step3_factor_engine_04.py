"""Step 3: compute factors from klines, with Stage A's reader, language and engine. Prints one JSON object."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.steps import compute_command

if __name__ == "__main__":
    sys.exit(compute_command(str(__doc__)))
