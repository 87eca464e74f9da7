"""Performance measures of a run: pure functions of the record, one row each in METRICS.

Rules that hold for every measure: fractions, not percent; quote currency for money; a measure without a value
(no returns, no spread, no benchmark) is None, which is null in JSON; nothing here reads a file or a clock.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .data.timeframe import DAY_SECONDS, Timeframe
from .returns import (
    DAYS_PER_YEAR,
    GROWTH_DAYS_PER_YEAR,
    Floats,
    alpha_beta,
    annualized_return,
    daily_equity,
    daily_returns,
    drawdown,
    iso_time,
    kurtosis_excess,
    longest_drawdown_bars,
    monthly_returns,
    sharpe_ratio,
    skewness,
    sortino_ratio,
    spread_of,
)

Value = float | int | str | None

TAIL = 0.05
"""Probability of the tail behind VaR and CVaR."""


class OrderFacts(Protocol):
    """What the measures read of an order; `Backtest.engine.ledger.Order` has it."""

    @property
    def side(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def size(self) -> float: ...
    @property
    def value(self) -> float: ...
    @property
    def commission(self) -> float: ...
    @property
    def slippage(self) -> float: ...
    @property
    def status(self) -> str: ...


class RecordFacts(Protocol):
    """What the measures read of a run; `Backtest.engine.ledger.RunRecord` has it."""

    @property
    def timestamp(self) -> NDArray[np.datetime64]: ...
    @property
    def equity(self) -> Floats: ...
    @property
    def sizes(self) -> Floats: ...
    @property
    def marks(self) -> Floats: ...
    @property
    def used_margin(self) -> Floats | None: ...
    @property
    def orders(self) -> Sequence[OrderFacts]: ...


@dataclass(frozen=True)
class Metric:
    """One row of the table: what a key of metrics.json means.

    Attributes
    ----------
    name
        Key in metrics.json.
    formula
        How it is computed, and when it is null.
    unit
        ``fraction``, ``quote``, ``count``, ``days``, ``ratio``, ``per year`` or ``time``.
    better
        ``high`` or ``low`` where one end is the better one, ``""`` where it is not: tables sort by it.
    """

    name: str
    formula: str
    unit: Literal["fraction", "quote", "count", "days", "ratio", "per year", "time"]
    better: Literal["high", "low", ""] = ""


_ROWS = (
    Metric("initial_cash", "cash before the first bar", "quote"),
    Metric("final_equity", "equity at the close of the last bar", "quote", "high"),
    Metric("total_return", "final_equity / initial_cash - 1", "fraction", "high"),
    Metric("annualized_return", "(final_equity / initial_cash) ^ (1 / years) - 1, years = (end - start) / 365.25 days; "
           "-1 when the final equity is not positive", "fraction", "high"),
    Metric("volatility", "standard deviation (ddof 1) of the daily returns r x sqrt(365); null below two days",
           "fraction", "low"),
    Metric("sharpe_ratio", "mean(r - f) / std(r - f, ddof 1) x sqrt(365), f = risk_free / 365 per day; "
           "null without spread", "ratio", "high"),
    Metric("sortino_ratio", "mean(r - f) / sqrt(mean(min(r - f, 0)^2)) x sqrt(365), over all days; "
           "null without a losing day", "ratio", "high"),
    Metric("calmar_ratio", "annualized_return / |max_drawdown|; null without a drawdown", "ratio", "high"),
    Metric("max_drawdown", "lowest equity / highest equity so far - 1, at bar closes, the initial cash included",
           "fraction", "high"),
    Metric("max_drawdown_duration_days", "longest time from a highest equity until it is reached again, "
           "or until the end", "days", "low"),
    Metric("var_95", "5 % quantile of the daily returns, interpolated; a loss is negative", "fraction", "high"),
    Metric("cvar_95", "mean of the daily returns at or below var_95; a loss is negative", "fraction", "high"),
    Metric("skewness", "bias-corrected sample skewness of the daily returns; null below three days or without spread",
           "ratio", "high"),
    Metric("kurtosis_excess", "bias-corrected sample excess kurtosis of the daily returns (0 for a normal); "
           "null below four days or without spread", "ratio", "low"),
    Metric("hit_rate", "days with a positive return / days with a return other than zero; null without such a day",
           "fraction", "high"),
    Metric("best_month", "highest compounded return of a UTC calendar month, cut months at both ends included",
           "fraction", "high"),
    Metric("worst_month", "lowest compounded return of a UTC calendar month, cut months at both ends included",
           "fraction", "high"),
    Metric("num_trades", "position changes: closes at which the held size of a symbol differs from the close before",
           "count"),
    Metric("num_orders", "orders created, filled and rejected", "count"),
    Metric("num_rejected", "orders rejected for margin or because the symbol was not tradable", "count", "low"),
    Metric("turnover", "value of all fills, buys and sells / mean equity / years of 365.25 days; "
           "null when the mean equity is not positive", "per year", "low"),
    Metric("total_commission", "sum of the commissions paid, liquidation fees apart", "quote", "low"),
    Metric("total_slippage", "sum of what slippage cost", "quote", "low"),
    Metric("alpha_benchmark", "(mean(r - f) - beta x mean(b - f)) x 365 against the benchmark's daily returns b; "
           "null without a benchmark", "fraction", "high"),
    Metric("beta_benchmark", "cov(r, b) / var(b) of daily returns; null without a benchmark or without spread in it",
           "ratio"),
    Metric("alpha_equal_weight", "as alpha_benchmark, against the equal-weight universe", "fraction", "high"),
    Metric("beta_equal_weight", "as beta_benchmark, against the equal-weight universe", "ratio"),
    Metric("bars", "rows of equity_curve.csv", "count"),
    Metric("start", "open time of the first bar", "time"),
    Metric("end", "close time of the last bar", "time"),
)  # fmt: skip

_FUTURES_ROWS = (
    Metric("waterfall_gross", "profit at prices before slippage: values sold less values bought, and what is held at "
           "the end at its mark", "quote", "high"),
    Metric("waterfall_fees", "- total_commission", "quote", "high"),
    Metric("waterfall_slippage", "- total_slippage", "quote", "high"),
    Metric("waterfall_funding", "funding_received - funding_paid", "quote", "high"),
    Metric("waterfall_liquidation", "- liquidation fees", "quote", "high"),
    Metric("waterfall_net", "final_equity - initial_cash: the sum of the five above", "quote", "high"),
    Metric("funding_paid", "sum of the funding paid", "quote", "low"),
    Metric("funding_received", "sum of the funding received", "quote", "high"),
    Metric("num_liquidations", "positions that were liquidated", "count", "low"),
    Metric("margin_utilization_max", "highest initial margin in use / equity at bar closes (0 without equity); above 1 "
           "where losses left less equity than that: positions stay until the maintenance margin, none is opened",
           "fraction", "low"),
    Metric("margin_utilization_mean", "mean of the same over all bars", "fraction", "low"),
)  # fmt: skip

METRICS: dict[str, Metric] = {row.name: row for row in (*_ROWS, *_FUTURES_ROWS)}
"""Every key of metrics.json, in its order."""

SPOT_METRICS = tuple(row.name for row in _ROWS)
"""Keys of a run on spot: all but those of futures."""


def compute_metrics(
    record: RecordFacts,
    *,
    benchmark: Floats | None,
    equal_weight: Floats | None,
    timeframe: Timeframe,
    initial_cash: float,
    risk_free: float,
) -> dict[str, Value]:
    """Return every metric of METRICS, on spot without those of futures, in its order; one without a value is None.

    Parameters
    ----------
    record
        The run; its equity must be finite on every bar.
    benchmark, equal_weight
        Comparison curves [T] in quote currency; NaN where they are not known yet, None without one.
    timeframe
        Bar length of the record's clock.
    initial_cash
        Quote currency before the first bar, positive.
    risk_free
        Yearly rate, a fraction.
    """
    opens = record.timestamp.astype("datetime64[ns]").astype(np.int64)
    equity = np.asarray(record.equity, dtype=np.float64)
    daily = daily_equity(opens, equity, timeframe, initial_cash)
    returns = daily_returns(daily)
    years = len(opens) * timeframe.seconds / (GROWTH_DAYS_PER_YEAR * DAY_SECONDS)
    final = float(equity[-1])
    found: dict[str, Value] = {
        "initial_cash": float(initial_cash),
        "final_equity": final,
        "total_return": final / initial_cash - 1,
        "annualized_return": annualized_return(final / initial_cash, years),
        "bars": len(equity),
        "start": iso_time(int(opens[0])),
        "end": iso_time(int(opens[-1]) + timeframe.ns),
    }
    found |= _risk(returns, risk_free) | _drawdowns(equity, timeframe, initial_cash, found["annualized_return"])
    found |= _months(opens, equity, timeframe, initial_cash) | _activity(record, equity, years)
    for name, curve in (("benchmark", benchmark), ("equal_weight", equal_weight)):
        against = None if curve is None else daily_returns(daily_equity(opens, curve, timeframe, initial_cash))
        found[f"alpha_{name}"], found[f"beta_{name}"] = alpha_beta(returns, against, risk_free=risk_free)
    if record.used_margin is not None:
        found |= _futures(record, record.used_margin, equity, initial_cash)
    return {name: _plain(found[name]) for name in METRICS if name in found}


def _plain(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _risk(returns: Floats, risk_free: float) -> dict[str, Value]:
    spread = spread_of(returns)
    var = float(np.quantile(returns, TAIL))
    moved = np.count_nonzero(returns)
    return {
        "volatility": spread * math.sqrt(DAYS_PER_YEAR) if len(returns) > 1 else None,
        "sharpe_ratio": sharpe_ratio(returns, risk_free=risk_free),
        "sortino_ratio": sortino_ratio(returns, risk_free=risk_free),
        "var_95": var,
        "cvar_95": float(returns[returns <= var].mean()),
        "skewness": skewness(returns),
        "kurtosis_excess": kurtosis_excess(returns),
        "hit_rate": float(np.count_nonzero(returns > 0) / moved) if moved else None,
    }


def _drawdowns(equity: Floats, timeframe: Timeframe, initial_cash: float, annualized: Value) -> dict[str, Value]:
    worst = float(drawdown(equity, initial_cash).min())
    bars = longest_drawdown_bars(equity, initial_cash)
    return {
        "max_drawdown": worst,
        "max_drawdown_duration_days": bars * timeframe.seconds / DAY_SECONDS,
        "calmar_ratio": annualized / -worst if worst < 0 and isinstance(annualized, float) else None,
    }


def _months(opens: NDArray[np.int64], equity: Floats, timeframe: Timeframe, initial_cash: float) -> dict[str, Value]:
    _, returns = monthly_returns(opens, equity, timeframe, initial_cash)
    return {"best_month": float(returns.max()), "worst_month": float(returns.min())}


def _activity(record: RecordFacts, equity: Floats, years: float) -> dict[str, Value]:
    sized = [order for order in record.orders if order.size > 0]
    filled = [order for order in sized if order.status == "filled"]
    mean = float(equity.mean())
    changes = np.count_nonzero(np.diff(record.sizes, axis=0, prepend=0))
    return {
        "num_trades": int(changes),
        "num_orders": len(sized),
        "num_rejected": len(sized) - len(filled),
        "turnover": math.fsum(order.value for order in filled) / mean / years if mean > 0 else None,
        "total_commission": math.fsum(order.commission for order in filled if order.reason != "liquidation"),
        "total_slippage": math.fsum(order.slippage for order in filled),
    }


def _futures(record: RecordFacts, used: Floats, equity: Floats, initial_cash: float) -> dict[str, Value]:
    filled = [order for order in record.orders if order.status == "filled"]
    struck = [order for order in filled if order.reason == "liquidation"]
    flows = [order.value for order in filled if order.reason == "funding"]
    received, paid = math.fsum(flow for flow in flows if flow > 0), math.fsum(-flow for flow in flows if flow < 0)
    held = record.sizes[-1] != 0
    sold = [(order.value if order.side == "sell" else -order.value) + order.slippage for order in filled if order.size]
    with np.errstate(divide="ignore", invalid="ignore"):
        utilization = np.where(equity > 0, used / equity, 0.0)
    return {
        "waterfall_gross": math.fsum([*sold, *(record.sizes[-1][held] * record.marks[-1][held]).tolist()]),
        "waterfall_fees": 0.0 - math.fsum(order.commission for order in filled if order.reason != "liquidation"),
        "waterfall_slippage": 0.0 - math.fsum(order.slippage for order in filled),
        "waterfall_funding": received - paid,
        "waterfall_liquidation": 0.0 - math.fsum(order.commission for order in struck),
        "waterfall_net": float(equity[-1]) - initial_cash,
        "funding_paid": paid,
        "funding_received": received,
        "num_liquidations": len(struck),
        "margin_utilization_max": float(utilization.max()),
        "margin_utilization_mean": float(utilization.mean()),
    }
