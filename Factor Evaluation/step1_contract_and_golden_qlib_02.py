"""Step 1 for Qlib: check a run's Qlib store: bins, calendar and golden rows, each difference named. Prints JSON."""

import sys

import _bootstrap  # noqa: F401  (makes Backtest importable)
from factor_evaluation.qlib_steps import qlib_store
from factor_evaluation.steps import check_command

if __name__ == "__main__":
    sys.exit(check_command(str(__doc__), qlib_store, prog="step1_contract_and_golden_qlib_02"))
