"""Step 2: load a run's inputs and report their quality per symbol and month. Prints one JSON object."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.steps import load_command, parquet_store

if __name__ == "__main__":
    sys.exit(load_command(str(__doc__), parquet_store, prog="step2_loader_and_qc"))
