"""The reference engine: Backtrader's unmodified BackBroker under array feeds. Only this package knows Backtrader."""

from .reference import run
from .user import load_user_class, run_user_strategy

__all__ = ["load_user_class", "run", "run_user_strategy"]
