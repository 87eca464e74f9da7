"""The plots of a run, one function each: what happened in, a figure out.

1. `equity`: equity against the benchmark and the equal-weight universe; liquidations are marked.
2. `drawdowns`: how far below its peak, and the five deepest falls.
3. `months`: monthly returns as a calendar.
4. `rolling_sharpe`: the Sharpe ratio of the last 90 days.
5. `exposure`: gross and net exposure, and what was traded each day.
6. `weights`: who was held, over time.
7. `waterfall`: on futures, from gross profit to net.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from ..data.panel import Floats
from ..returns import DAYS_PER_YEAR, daily_equity, daily_returns, drawdown, monthly_returns
from ..runs.outcome import Outcome, exposures, position_values
from . import style
from .waterfall import waterfall

ROLLING_DAYS = 90
"""A quarter: long enough for a ratio that is not all noise, short enough to show a change."""

LOG_RANGE = 3.0
"""Highest over lowest value from which the equity axis is logarithmic."""

MAP_ROWS, MAP_COLUMNS = 30, 500
"""Symbols and spans of time in the map of weights: what a page and its pixels can show."""

LOSS_GAIN = LinearSegmentedColormap.from_list("loss_gain", [style.RED, "#F7F3EF", style.BLUE])
"""Orange-red to blue through paper: told apart with any colour vision."""

DEEPEST = 5

MOST_MARKS = 60
"""Bars with a liquidation that are marked on the curve; more would hide it, and stand as ticks at the foot."""


@dataclass(frozen=True)
class Subject:
    """What every title says.

    Attributes
    ----------
    strategy, factor_set, run_id
        Names of the run.
    benchmark
        Symbol of the benchmark curve.
    synthetic
        The prices are simulated: every title says so.
    """

    strategy: str
    factor_set: str
    run_id: str
    benchmark: str
    synthetic: bool

    def title(self, name: str) -> str:
        """Return the title of the plot called `name`."""
        return f"{name} (synthetic market, no evidence)" if self.synthetic else name

    def subtitle(self, outcome: Outcome) -> str:
        """Return the line below the title."""
        first, last = (str(day.astype("datetime64[D]")) for day in outcome.record.timestamp[[0, -1]])
        return (
            f"{self.strategy} on {self.factor_set}, {outcome.timeframe.label} bars, {first} to {last} · {self.run_id}"
        )


def draw_all(outcome: Outcome, subject: Subject) -> dict[str, bytes]:
    """Return file name -> PNG of every plot, in the order of the report."""
    drawn = PLOTS if outcome.record.used_margin is None else ALL_PLOTS
    return {name: style.png(draw(outcome, subject)) for name, (_, draw) in drawn.items()}


def equity(outcome: Outcome, subject: Subject) -> Figure:
    """Equity, benchmark and equal-weight universe; logarithmic when they span more than LOG_RANGE."""
    figure = style.new_figure(4.6, subject.title("Equity"), subject.subtitle(outcome))
    axes = figure.add_subplot()
    curves = [(outcome.record.equity, style.BLUE, 1.8, "-", "strategy"),
              (outcome.equal_weight, style.GREEN, 1.1, "--", "equal-weight universe")]  # fmt: skip
    if outcome.benchmark is not None:
        curves.insert(1, (outcome.benchmark, style.ORANGE, 1.1, "-", f"{subject.benchmark} held"))
    for order, (curve, colour, width, dash, label) in enumerate(curves):
        days, shown = style.thin(outcome.record.timestamp, curve)
        axes.plot(days, shown, color=colour, linewidth=width, linestyle=dash, label=label, zorder=3 + order)
    struck = sorted({order.filled_bar for order in outcome.record.orders if order.reason == "liquidation"})
    if struck:
        at, value = outcome.record.timestamp[struck], outcome.record.equity[struck]
        look: dict[str, Any] = {"color": style.RED, "label": "liquidation", "zorder": 9}
        if len(struck) <= MOST_MARKS:
            axes.plot(at, value, "x", markersize=6, markeredgewidth=1.6, **look)
        else:
            foot: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "markersize": 9, "markeredgewidth": 0.7}
            axes.plot(at, np.full(len(at), 0.025), "|", **foot, **look)
    axes.axhline(outcome.initial_cash, color=style.GREY, linewidth=0.8, linestyle=":")
    style.dress(axes, label="equity, quote currency")
    _log_when_wide(axes, np.concatenate([curve[np.isfinite(curve)] for curve, *_ in curves]))
    style.date_axis(axes, outcome.record.timestamp)
    style.legend(axes)
    return figure


def _log_when_wide(axes: Axes, values: Floats) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(style.money_words))
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > LOG_RANGE:
        axes.set_yscale("log")
        steps = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
        axes.yaxis.set_major_locator(LogLocator(subs=steps))
        axes.yaxis.set_major_formatter(FuncFormatter(style.money_words))
        axes.yaxis.set_minor_locator(NullLocator())


def drawdowns(outcome: Outcome, subject: Subject) -> Figure:
    """Equity over its highest value so far, the deepest falls marked with their depth."""
    figure = style.new_figure(3.6, subject.title("Drawdown"), subject.subtitle(outcome))
    axes = figure.add_subplot()
    record = outcome.record
    below = drawdown(record.equity, outcome.initial_cash)
    days, shown = style.thin(record.timestamp, below)
    axes.fill_between(days, shown, 0, color=style.SKY, alpha=0.35, linewidth=0)
    axes.plot(days, shown, color=style.BLUE, linewidth=1.0)
    for low in labelled_lows(below):
        axes.plot(record.timestamp[low], below[low], "o", markersize=4, color=style.RED)
        edge = "left" if low < 0.05 * len(below) else "right" if low > 0.95 * len(below) else "center"
        axes.annotate(
            style.percent_words(round(float(below[low]), 3)), (record.timestamp[low], below[low]), xytext=(0, -5),
            textcoords="offset points", ha=edge, va="top", fontsize=8.5, color=style.INK, fontfamily=style.FONT,
            bbox={"facecolor": style.PAPER, "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
        )  # fmt: skip
    style.dress(axes, label="below the highest equity", percent=True)
    axes.set_ylim(min(max(float(below.min()) * 1.2, min(float(below.min()), -1.0) - 0.14), -1e-4), 0)
    style.date_axis(axes, record.timestamp)
    return figure


def labelled_lows(below: Floats) -> list[int]:
    """Return the lowest rows of the deepest falls, those that matter and whose labels do not touch."""
    lows: list[int] = []
    for _, low, _ in falls(below)[:DEEPEST]:
        apart = all(abs(low - other) > 0.08 * len(below) for other in lows)
        if apart and below[low] < 0.15 * below.min():
            lows.append(low)
    return lows


def falls(below: Floats) -> list[tuple[int, int, int]]:
    """Return (first row, lowest row, last row) of every stay below the peak, deepest first."""
    under = np.concatenate(([False], below < 0, [False]))
    begins, ends = np.flatnonzero(under[1:] & ~under[:-1]), np.flatnonzero(under[:-1] & ~under[1:])
    spans = [
        (int(begin), int(begin + np.argmin(below[begin:end])), min(int(end), len(below) - 1))
        for begin, end in zip(begins, ends, strict=True)
    ]
    return sorted(spans, key=lambda span: (below[span[1]], span[0]))


def months(outcome: Outcome, subject: Subject) -> Figure:
    """Monthly returns as a calendar of colours: blue gains, red losses, each with its number, and the year's."""
    stamps, returns = monthly_returns(
        outcome.record.timestamp.astype("datetime64[ns]").astype(np.int64), outcome.record.equity, outcome.timeframe,
        outcome.initial_cash,
    )  # fmt: skip
    number = stamps.astype(np.int64)
    years = np.arange(number[0] // 12, number[-1] // 12 + 1)
    grid = np.full((len(years), 13), np.nan)
    grid[number // 12 - years[0], number % 12] = returns
    for row, year in enumerate(years):
        grid[row, 12] = np.prod(1 + returns[number // 12 == year]) - 1
    figure = style.new_figure(
        1.45 + 0.42 * len(years), subject.title("Monthly returns, percent"), subject.subtitle(outcome)
    )
    axes = figure.add_subplot()
    limit = max(float(np.nanmax(np.abs(grid[:, :12]))), 0.01)
    axes.imshow(grid, cmap=LOSS_GAIN, norm=TwoSlopeNorm(0, -limit, limit), aspect="auto")
    for row, column in np.argwhere(np.isfinite(grid)):
        value = grid[row, column]
        strong = abs(value) > 0.62 * limit
        axes.text(
            column, row, cell_words(value), ha="center", va="center", fontsize=8.5, fontfamily=style.FONT,
            color=style.PAPER if strong else style.INK, fontweight="bold" if column == 12 else "normal",
        )  # fmt: skip
    names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Year"]
    axes.set_xticks(range(13), names)
    axes.set_yticks(range(len(years)), [str(1970 + year) for year in years])
    axes.axvline(11.5, color=style.PAPER, linewidth=4)
    style.dress(axes)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)
    return figure


def cell_words(value: float) -> str:
    """Return a month's return in percent, one decimal, none from 100 % on."""
    return f"{100 * value:+.{0 if abs(value) >= 1 else 1}f}".replace("-", "−")


def rolling_sharpe(outcome: Outcome, subject: Subject) -> Figure:
    """The Sharpe ratio of the last ROLLING_DAYS days (fewer in a short run), against the whole run's."""
    days, ratios, window = rolling_ratios(outcome)
    figure = style.new_figure(3.4, subject.title(f"Rolling Sharpe ratio, {window} days"), subject.subtitle(outcome))
    axes = figure.add_subplot()
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.plot(days, ratios, color=style.BLUE, linewidth=1.3, label=f"last {window} days")
    whole = outcome.metrics["sharpe_ratio"]
    if isinstance(whole, float):
        axes.axhline(
            whole, color=style.ORANGE, linewidth=1.1, linestyle="--", label=f"whole run: {whole:.2f}".replace("-", "−")
        )
    style.dress(axes, label="Sharpe ratio, annualised")
    style.date_axis(axes, outcome.record.timestamp)
    style.legend(axes)
    return figure


def rolling_ratios(outcome: Outcome) -> tuple[NDArray[np.datetime64], Floats, int]:
    """Return days, the trailing Sharpe ratio at each and its window; NaN before a whole window or without spread."""
    opens = outcome.record.timestamp.astype("datetime64[ns]").astype(np.int64)
    returns = daily_returns(daily_equity(opens, outcome.record.equity, outcome.timeframe, outcome.initial_cash))
    days = outcome.record.timestamp[0].astype("datetime64[D]") + np.arange(len(returns))
    window = max(2, min(ROLLING_DAYS, len(returns) // 3))
    ratios = np.full(len(returns), np.nan)
    if len(returns) >= window:
        seen = np.lib.stride_tricks.sliding_window_view(returns, window)
        spread = seen.std(axis=1, ddof=1)
        means = seen.mean(axis=1)
        flat = spread <= 1e-12 * np.abs(seen).max(axis=1)
        ratios[window - 1 :] = np.where(flat, np.nan, means / np.where(flat, 1, spread) * np.sqrt(DAYS_PER_YEAR))
    return days, ratios, window


def exposure(outcome: Outcome, subject: Subject) -> Figure:
    """Above: gross and net exposure. Below: value traded a day over equity."""
    figure = style.new_figure(5.2, subject.title("Exposure and turnover"), subject.subtitle(outcome))
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    gross, net = exposures(outcome.record)
    days, shown_gross, shown_net = style.thin(outcome.record.timestamp, gross, net)
    above.fill_between(days, shown_gross, 0, color=style.SKY, alpha=0.35, linewidth=0, label="gross")
    above.plot(days, shown_net, color=style.BLUE, linewidth=1.1, label="net")
    above.axhline(0, color=style.GREY, linewidth=0.8)
    style.dress(above, label="of equity", percent=True)
    style.legend(above)
    day, traded = daily_turnover(outcome)
    below.fill_between(day, traded, 0, step="mid", color=style.ORANGE, alpha=0.85, linewidth=0)
    style.dress(below, label="traded a day", percent=True)
    below.set_ylim(bottom=0)
    style.date_axis(below, outcome.record.timestamp)
    return figure


def daily_turnover(outcome: Outcome) -> tuple[NDArray[np.datetime64], Floats]:
    """Return UTC days and the value of each day's fills over the equity before it (0 where that is not positive).

    The equity at its end would be next to nothing on the day of a liquidation.
    """
    record = outcome.record
    day = record.timestamp.astype("datetime64[D]").astype(np.int64)
    day -= day[0]
    traded = np.zeros(day[-1] + 1)
    for order in record.orders:
        if order.status == "filled" and order.size > 0:
            traded[day[order.filled_bar]] += order.value
    after = np.full(len(traded), outcome.initial_cash)
    after[day] = record.equity
    before = np.r_[outcome.initial_cash, after[:-1]]
    sound = before > 0
    days = record.timestamp[0].astype("datetime64[D]") + np.arange(len(traded))
    return days, np.where(sound, traded / np.where(sound, before, 1), 0.0)


def weights(outcome: Outcome, subject: Subject) -> Figure:
    """Each holding's share of equity over time: a row a symbol, blue is long, red is short, the largest on average."""
    symbols, edges, shares = weight_map(outcome)
    rows = max(len(symbols), 1)
    figure = style.new_figure(2.1 + 0.21 * rows, subject.title("Weights"), subject.subtitle(outcome))
    axes = figure.add_subplot()
    limit = max(float(np.max(np.abs(shares), initial=0.0)), 1e-9)
    drawn = axes.pcolormesh(edges, np.arange(rows + 1), shares, cmap=LOSS_GAIN, norm=TwoSlopeNorm(0, -limit, limit))
    axes.hlines(np.arange(1, rows), edges[0], edges[-1], color=style.PAPER, linewidth=1.6)
    axes.invert_yaxis()
    style.dress(axes)
    axes.grid(visible=False)
    axes.set_yticks(np.arange(rows) + 0.5, symbols or ["no position"])
    axes.tick_params(axis="y", length=0, labelsize=8.5)
    style.date_axis(axes, outcome.record.timestamp)
    bar = figure.colorbar(drawn, ax=axes, pad=0.01, aspect=30, format=FuncFormatter(style.percent_words))
    if np.any(shares):
        bar.ax.set_ylim(-limit if shares.min() < 0 else 0, limit if shares.max() > 0 else 0)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(labelsize=9, colors=style.INK, color=style.GREY)
    everything = len(outcome.record.symbols)
    shown = f"the {len(symbols)} largest of {everything} symbols" if len(symbols) < everything else "all symbols"
    bar.set_label(f"of equity, {shown}", fontsize=9, color=style.INK, family=style.FONT)
    return figure


def weight_map(outcome: Outcome) -> tuple[list[str], NDArray[np.datetime64], Floats]:
    """Return the symbols held most (by mean absolute weight), edges of at most MAP_COLUMNS spans, mean weights."""
    record = outcome.record
    sound = (record.equity > 0)[:, None]
    shares = np.where(sound, position_values(record) / np.where(sound, record.equity[:, None], 1.0), 0.0)
    spans = min(MAP_COLUMNS, len(shares))
    begins = np.linspace(0, len(shares), spans + 1).astype(int)
    means = np.add.reduceat(shares, begins[:-1], axis=0) / np.diff(begins)[:, None]
    size = np.abs(shares).mean(axis=0)
    ranked = [column for column in np.argsort(-size, kind="stable").tolist() if size[column] > 0][:MAP_ROWS]
    edges = np.append(record.timestamp, record.timestamp[-1:] + np.timedelta64(outcome.timeframe.ns, "ns"))[begins]
    picked = means[:, ranked].T if ranked else np.zeros((1, spans))
    return [record.symbols[column] for column in ranked], edges, picked


PLOTS: dict[str, tuple[str, Callable[[Outcome, Subject], Figure]]] = {
    "equity.png": ("Equity against the benchmark and the equal-weight universe", equity),
    "drawdown.png": ("Drawdown", drawdowns),
    "monthly_returns.png": ("Monthly returns, percent", months),
    "rolling_sharpe.png": ("Rolling Sharpe ratio", rolling_sharpe),
    "exposure_turnover.png": ("Exposure and turnover", exposure),
    "weights.png": ("Weights over time", weights),
}
"""File name -> what it shows, and the function that draws it."""

ALL_PLOTS = {**PLOTS, "waterfall.png": ("From gross profit to net", waterfall)}
"""With that of futures."""
