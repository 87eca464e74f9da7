"""Qlib's own report figures (``qlib.contrib.report``) and risk figures, on a calendar that never closes.

1. `portfolio_of`: the group of highest factor values, rebalanced every h bars, as Qlib groups: n // N names.
2. `risk_of`: ``qlib.contrib.evaluate.risk_analysis`` with 365 days a year; its default is 238, of A-shares.
3. `figures_of`: the graphs of ``analysis_model`` and ``analysis_position`` as plain JSON.

Qlib computes with pandas, cross-section by cross-section: of long histories its IC, autocorrelation and turnover get
every k-th bar, and that is told. Group returns are sums, from which nothing may be missing: every rebalance is in them.
"""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Backtest.data.panel import Floats
from Backtest.data.timeframe import YEAR_SECONDS, Timeframe

from .qlib_reader import notices_logged

MOST_BARS = 500
"""Cross-sections that Qlib is given: half a second of pandas for a hundred and one graph."""

MIN_GROUPS = 2
MODEL_GRAPHS = {
    "group_return": ("Group return", "Group return, spread"),
    "pred_ic": ("IC", "Monthly IC", "IC distribution"),
    "pred_autocorr": ("Autocorrelation, {every} apart",),
    "pred_turnover": ("Turnover, {every} apart",),
}
"""Name of each graph of ``model_performance_graph`` -> titles of the figures that it returns."""

GROUPED = "group_return"
"""The graph that is drawn from `grouped`, the others from every k-th cross-section."""

REFUSALS = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, np.linalg.LinAlgError)
"""What Qlib, pandas and plotly raise where there is nothing to draw: no value, a constant, too few names."""


@dataclass(frozen=True)
class Portfolio:
    """The top group over time; one row for each rebalance with a name in each group, and not one value for all.

    Attributes
    ----------
    row
        int64 [R], row of the bar after whose close it is decided.
    top, spread, mean
        float64 [R]: forward return of the top group, less that of the bottom group, and of all names.
    turnover
        float64 [R]: traded value over held value; 1 to enter, 2 where every name is replaced.
    tied
        Rebalances with equal values on both sides of the top or the bottom group's edge: the factor does not say who
        is in the group.
    """

    row: NDArray[np.int64]
    top: Floats
    spread: Floats
    mean: Floats
    turnover: Floats
    tied: int = 0


@dataclass(frozen=True)
class Figure:
    """A figure of Qlib's: title, and data and layout as plotly's JSON."""

    name: str
    title: str
    content: Mapping[str, Any]


def portfolio_of(values: Floats, label: Floats, bars: int, groups: int) -> Portfolio:
    """Return the portfolio of the top group.

    Parameters
    ----------
    values, label
        float64 [T, S]: factor and forward return over `bars`; a pair counts where both are there.
    bars
        Bars from one rebalance to the next, so that no return is counted twice.
    groups
        Number of groups N; each has (number of pairs) // N names. Of equal values the first symbol is higher.
    """
    row, place, size, count = _placed(values, label, bars, groups)
    top = place < size[:, None]
    high, low, mean = (
        _mean_between(label[row], place, begin, end)
        for begin, end in ((0 * size, size), (count - size, count), (0 * size, count))
    )
    weight = top / size[:, None]
    before = np.vstack([np.zeros((1, values.shape[1])), weight[:-1]]) if len(row) else weight
    tied = _tied(values[row], place, size) | _tied(values[row], place, count - size)
    return Portfolio(row, high, high - low, mean, np.abs(weight - before).sum(axis=1), int(tied.sum()))


Places = NDArray[np.int64]
Bools = NDArray[np.bool_]


def _tied(values: Floats, place: Places, edge: Places) -> Bools:
    """Return [R]: whether the names in places edge - 1 and edge have one value."""
    above, below = (np.where(place == at[:, None], values, 0.0).sum(axis=1) for at in (edge - 1, edge))
    return np.asarray(above == below)


def _usable(values: Floats, valid: Bools, groups: int) -> Bools:
    """Return [R]: whether there is a name for each group, and more than one value: else the alphabet would choose."""
    high, low = np.where(valid, values, -np.inf).max(axis=1), np.where(valid, values, np.inf).min(axis=1)
    return np.asarray((valid.sum(axis=1) >= groups) & (high > low))


def _placed(values: Floats, label: Floats, bars: int, groups: int) -> tuple[Places, Places, Places, Places]:
    """Return the rebalances' rows [R], each name's place from the highest value on [R, S], names a group and in all."""
    planned = np.arange(0, len(values), bars)
    valid = ~(np.isnan(values[planned]) | np.isnan(label[planned]))
    usable = _usable(values[planned], valid, groups)
    row, valid = planned[usable], valid[usable]
    count = valid.sum(axis=1)
    score = np.where(valid, values[row], -np.inf)
    place = np.argsort(np.argsort(-score, axis=1, kind="stable"), axis=1, kind="stable")
    return row, np.where(valid, place, values.shape[1]), count // groups, count


def _mean_between(returns: Floats, place: Places, begin: Places, end: Places) -> Floats:
    """Return [R]: the mean return of the names in places begin to end - 1."""
    chosen = (place >= begin[:, None]) & (place < end[:, None])
    return np.asarray(np.where(chosen, returns, 0.0).sum(axis=1) / chosen.sum(axis=1))


def grouped(values: Floats, label: Floats, bars: int, groups: int) -> tuple[Places, Floats]:
    """Return rows [K] and what each group earned from there to the next of them [K, N + 1], the last of all names.

    The returns of every rebalance as Qlib groups: n // N names, the highest first; summed, as its graph does, over as
    many rebalances as leave `MOST_BARS` sums.
    """
    row, place, size, count = _placed(values, label, bars, groups)
    ends = [(size * n, size * (n + 1)) for n in range(groups)] + [(0 * size, count)]
    earned = np.stack([_mean_between(label[row], place, begin, end) for begin, end in ends], axis=1)
    starts = np.arange(0, len(row), max(1, -(-len(row) // MOST_BARS)))
    return row[starts], np.add.reduceat(earned, starts, axis=0) if len(row) else earned


def _made(row: Places, bars: int) -> float:
    """Return the share of the rebalances from the first to the last that took place: a year has no more of them."""
    return len(row) / ((row[-1] - row[0]) / bars + 1) if len(row) else 1.0


Risk = dict[str, "float | None"]
"""What ``risk_analysis`` says, by its names; None where it has no number."""


def risk_of(portfolio: Portfolio, bars: int, timeframe: Timeframe, cost: float | None) -> dict[str, Risk]:
    """Return what ``risk_analysis`` says of the top group, its excess over the mean, and the spread, compounded."""
    import pandas as pd

    with notices_logged():
        from qlib.contrib.evaluate import risk_analysis

    per_year = YEAR_SECONDS / (timeframe.seconds * bars) * _made(portfolio.row, bars)
    paid = portfolio.turnover * (cost or 0.0)
    series = {"top": portfolio.top, "top_net": portfolio.top - paid, "excess": portfolio.top - portfolio.mean,
              "spread": portfolio.spread}  # fmt: skip
    if cost is None:
        del series["top_net"]
    out: dict[str, Risk] = {}
    for name, returns in series.items():
        if not len(returns):
            continue
        with notices_logged(), np.errstate(all="ignore"):
            # below nothing there is no way back: Qlib's product would go on with the sign turned
            risk = risk_analysis(pd.Series(np.maximum(returns, -1.0)), N=per_year, freq=None, mode="product")["risk"]
        out[name] = {key: float(value) if np.isfinite(value) else None for key, value in risk.items()}
    return out


def stride(rows: int, bars: int) -> int:
    """Return how many bars lie between those that Qlib is given: a multiple of the horizon."""
    return bars * max(1, -(-rows // (bars * MOST_BARS)))


def in_bars(count: int) -> str:
    """Return ``1 bar``, ``10 bars``."""
    return f"{count} bar{'s' * (count > 1)}"


def figures_of(
    values: Floats,
    label: Floats,
    timestamp: NDArray[np.datetime64],
    symbols: tuple[str, ...],
    *,
    portfolio: Portfolio,
    bars: int,
    groups: int,
    cost: float | None,
) -> tuple[list[Figure], list[str]]:
    """Return Qlib's figures, and why some are not there.

    Parameters
    ----------
    values, label
        float64 [T, S], factor and forward return over `bars`.
    timestamp, symbols
        datetime64[ns] [T], and S names.
    portfolio
        From the same, for ``report_graph``: returns summed by UTC day, which is that graph's clock.
    groups, cost
        Number of groups, cost per unit of traded value.
    """
    with notices_logged():
        from qlib.contrib.report import analysis_model, analysis_position

    every = stride(len(values), bars)
    sampled = _pairs(values, label, timestamp, symbols, every, groups)
    summed = _group_rows(timestamp, *grouped(values, label, bars, groups))
    apart = in_bars(every)
    found: list[Figure] = []
    refused: list[str] = []

    def draw(name: str, titles: tuple[str, ...], graph: Callable[[], Any]) -> None:
        try:
            with notices_logged(), np.errstate(all="ignore"):
                drawn = [_decoded(figure) for figure in graph()]
        except REFUSALS as error:
            refused.append(f"{titles[0]}: Qlib draws none of these values ({type(error).__name__}: {_short(error)})")
            return
        found.extend(
            Figure(f"{name}-{n}", title, one) for n, (title, one) in enumerate(zip(titles, drawn, strict=False))
        )

    for name, titles in MODEL_GRAPHS.items():
        frame = summed if name == GROUPED else sampled
        said = tuple(title.format(every=apart) for title in titles)
        draw(name, said, lambda name=name, frame=frame: analysis_model.model_performance_graph(  # type: ignore[misc]
            frame.copy(), N=groups, graph_names=[name], show_notebook=False, rangebreaks=[]))  # fmt: skip
    days = _daily(portfolio, timestamp, cost)
    draw("report", ("Top group over time",), lambda: analysis_position.report_graph(days, show_notebook=False))
    return found, refused


def _pairs(
    values: Floats, label: Floats, timestamp: NDArray[np.datetime64], symbols: tuple[str, ...], every: int, groups: int
) -> Any:
    """Return Qlib's table of score and label by (instrument, datetime); bars that are not `_usable` are out."""
    import pandas as pd

    rows = np.arange(0, len(values), every)
    valid = ~(np.isnan(values[rows]) | np.isnan(label[rows]))
    valid &= _usable(values[rows], valid, groups)[:, None]
    column, place = np.nonzero(valid.T)
    index = pd.MultiIndex.from_arrays(
        [np.array(symbols)[column], timestamp[rows[place]]], names=["instrument", "datetime"]
    )
    score = {"score": values[rows[place], column], "label": label[rows[place], column]}
    return pd.DataFrame(score, index=index)


def _group_rows(timestamp: NDArray[np.datetime64], row: Places, earned: Floats) -> Any:
    """Return Qlib's table with one name for each group, which puts it into that group again.

    A last name is below all of them and in none of the n // N; it brings the mean of the names to that of all of them.
    """
    import pandas as pd

    groups = earned.shape[1] - 1
    label = np.hstack([earned[:, :-1], (groups + 1) * earned[:, -1:] - earned[:, :-1].sum(axis=1, keepdims=True)])
    names = [f"group {n + 1}" for n in range(groups)] + ["all names"]
    index = pd.MultiIndex.from_product([timestamp[row], names], names=["datetime", "instrument"])
    return pd.DataFrame({"score": np.tile(-np.arange(groups + 1.0), len(row)), "label": label.ravel()}, index=index)


def _daily(portfolio: Portfolio, timestamp: NDArray[np.datetime64], cost: float | None) -> Any:
    """Return Qlib's table of a portfolio by day: sums of return, bench (the mean of all names), cost and turnover."""
    import pandas as pd

    turnover = portfolio.turnover
    columns = {"return": portfolio.top, "bench": portfolio.mean, "cost": turnover * (cost or 0.0), "turnover": turnover}
    frame = pd.DataFrame(columns, index=pd.DatetimeIndex(timestamp[portfolio.row], name="date"))
    return frame.groupby(frame.index.floor("D")).sum()


def _plain(value: Any) -> Any:
    """Return a part of a figure as JSON has it: plotly packs arrays in base64, this unpacks them; missing is null."""
    if isinstance(value, dict) and value.keys() >= {"dtype", "bdata"}:
        packed = np.frombuffer(b64decode(value["bdata"]), dtype=value["dtype"])
        shape = [int(part) for part in str(value.get("shape", len(packed))).split(",")]
        return _plain(packed.reshape(shape).tolist())
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _decoded(figure: Any) -> Any:
    from plotly.utils import PlotlyJSONEncoder

    return _plain(json.loads(json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder)))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:100]
