"""Strategies: pure functions of a cross-section."""

from .base import FLIP, CrossSection, Strategy
from .table import STRATEGIES, build_strategy

__all__ = ["FLIP", "STRATEGIES", "CrossSection", "Strategy", "build_strategy"]
