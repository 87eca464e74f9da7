"""Step 1: check a run's inputs: schema contract and golden rows, every differing cell named. Prints one JSON object."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.steps import check_command, parquet_store

if __name__ == "__main__":
    sys.exit(check_command(str(__doc__), parquet_store, prog="step1_contract_and_golden"))
