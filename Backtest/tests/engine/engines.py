"""The engines by name: what is worked out by hand must hold on each."""

from __future__ import annotations

from Backtest.engine.backtrader import run as run_reference
from Backtest.engine.numba import run as run_compiled

ENGINES = {"backtrader": run_reference, "numba": run_compiled}
