"""Measures of a factor: pure functions of arrays [T, S], one row each in MEASURES."""

from .document import to_json
from .evaluation import (
    Coverage,
    Decay,
    Distribution,
    Evaluation,
    HorizonResult,
    SeriesSummary,
    Split,
    SplitPart,
)
from .table import MEASURES, Measure

__all__ = [
    "MEASURES",
    "Coverage",
    "Decay",
    "Distribution",
    "Evaluation",
    "HorizonResult",
    "Measure",
    "SeriesSummary",
    "Split",
    "SplitPart",
    "to_json",
]
