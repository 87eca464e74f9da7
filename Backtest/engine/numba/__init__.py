"""The compiled engine: the reference engine's semantics in Numba, order by order and bit by bit.

What runs here and not on Backtrader's broker (tested against the plain-Python replay, or not at all comparable):

- a run in time chunks whose account is carried over (`run_chunks`);
- a plan of weights made beforehand for many parameter sets (`layout.Plan`);
- USDT-M futures (`um_*.py`): margin, funding, liquidation (tested by worked cases, and against a replay of their own).

What runs on Backtrader only: the user's own `backtrader.Strategy` classes, with their limit, stop and bracket orders.
Everything else is the same on both: ``run_backtest.py --engine both`` runs the two and refuses a difference.
"""

from .chunks import run_chunks
from .engine import run

__all__ = ["run", "run_chunks"]
