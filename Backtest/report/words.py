"""Numbers and names in the words of a report: one rule per unit, the same on screen and in HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..metrics import METRICS, Metric

MISSING = "–"

GROUPS: dict[str, tuple[str, ...]] = {
    "Return": ("total_return", "annualized_return", "final_equity", "initial_cash", "best_month", "worst_month",
               "hit_rate"),
    "Risk": ("volatility", "max_drawdown", "max_drawdown_duration_days", "var_95", "cvar_95", "skewness",
             "kurtosis_excess"),
    "Ratios": ("sharpe_ratio", "sortino_ratio", "calmar_ratio", "alpha_benchmark", "beta_benchmark",
               "alpha_equal_weight", "beta_equal_weight"),
    "Trading": ("num_trades", "num_orders", "num_rejected", "turnover", "total_commission", "total_slippage", "bars",
                "start", "end"),
    "Futures": ("waterfall_gross", "waterfall_fees", "waterfall_slippage", "waterfall_funding", "waterfall_liquidation",
                "waterfall_net", "funding_paid", "funding_received", "num_liquidations", "margin_utilization_max",
                "margin_utilization_mean"),
}  # fmt: skip
"""How a reader looks for the metrics; every key of METRICS is in one group."""


def metric_words(name: str, value: Any) -> str:
    """Return a metric's value for people: percent for fractions, thousands for money, days, a dash for null."""
    row = METRICS.get(name, Metric(name, "", "ratio"))
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value[:10] if row.unit == "time" else value
    if row.unit == "fraction":
        return f"{100 * value:,.2f} %"
    if row.unit == "count":
        return f"{value:,d}"
    return f"{value:,.1f} x" if row.unit == "per year" else f"{value:,.1f} d" if row.unit == "days" else f"{value:,.2f}"


def label(name: str) -> str:
    """Return a key as a label: ``max_drawdown`` is ``max drawdown``."""
    return name.replace("_", " ")


def param_words(params: Mapping[str, Any]) -> str:
    """Return ``factor=mfi14 k=5``; parameters that are off are left out."""
    return " ".join(f"{name}={value}" for name, value in params.items() if value is not None)
