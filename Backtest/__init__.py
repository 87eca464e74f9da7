"""Systematic crypto factor research: factors in (Stage A), backtests out (Stage B)."""

__version__ = "0.1.0"
