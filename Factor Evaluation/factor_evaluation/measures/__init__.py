"""Measures of a factor: pure functions of arrays [T, S], one row each in MEASURES."""

from .aligned import Aligned, align
from .document import to_json
from .evaluate import evaluate_factor
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
from .family import Family, benjamini_hochberg, benjamini_yekutieli, compare_factors
from .fused import BarSeries, cross_sections
from .ledger import Corrected, read_ledger, record_trials, trial_key
from .ranked import FactorRows, factor_rows
from .table import MEASURES, Measure

__all__ = [
    "MEASURES",
    "Aligned",
    "BarSeries",
    "Corrected",
    "FactorRows",
    "Family",
    "align",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "compare_factors",
    "cross_sections",
    "evaluate_factor",
    "factor_rows",
    "read_ledger",
    "record_trials",
    "trial_key",
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
