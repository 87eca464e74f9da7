"""Leaks in what is joined to bars, in the join itself and in functions on top, are caught; honest joins pass.

A join that peeks shows nowhere in the panel, which holds its result: the check joins again what was known at each cut.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Backtest.data import joins
from Backtest.data.causality import Verdict, check_causality
from Backtest.data.clock import parse_time
from Backtest.data.external_fields import ExternalFields
from Backtest.data.factors import compile_recipe
from Backtest.data.fields import Fields
from Backtest.data.joins import Bars
from Backtest.data.panel import Panel
from Backtest.data.recipe import load_recipe
from Backtest.data.recipe_spec import ExternalSpec
from Backtest.data.stamped import Stamped
from Backtest.data.stamped_fields import FUNDING, INTEREST, StampedFields

from .small_panel import small_panel

HOUR = 3_600_000_000_000
MODULE = "Backtest.tests.data.sample_modules.leaks"
SPEC = ExternalSpec("supply", "supply.csv", "supply")


def series_of(panel: Panel, every_hours: int, seed: int, jitter_ns: int = 0) -> Stamped:
    """Return a random series over the panel and two days more; `jitter_ns` moves its stamps off the bars' edges."""
    draw = np.random.default_rng(seed)
    first = panel.timeframe.open_ns(panel.first_bar) // (24 * HOUR) * 24 * HOUR - 48 * HOUR
    count = (panel.shape[0] + 120) // every_hours
    stamps = first + every_hours * HOUR * np.arange(count, dtype=np.int64) + jitter_ns
    return Stamped(stamps, draw.normal(1, 0.1, count), (), (), "")


def joined_panel() -> tuple[Panel, Fields]:
    panel = small_panel()
    funding = {symbol: {FUNDING: series_of(panel, 8, k)} for k, symbol in enumerate(panel.symbols)}
    interest = {symbol: {INTEREST: series_of(panel, 4, 50 + k, HOUR // 2)} for k, symbol in enumerate(panel.symbols)}
    fields = Fields(
        (
            StampedFields("funding_folder", (), 8 * HOUR, funding),
            StampedFields("open_interest_folder", (), 24 * HOUR, interest),
            ExternalFields((SPEC,), {"supply": series_of(panel, 24, 7)}),
        )
    )
    return panel, fields


def verdict_of(folder: Path, text: str, count: int = 12) -> Verdict:
    """Return the verdict on one factor `a`: an expression, or a function of the sample module."""
    entry = (
        f"type: library_function, source: '{MODULE}:{text}'"
        if text.isidentifier()
        else f"type: expression, expression: '{text}'"
    )
    path = folder / "recipe.yaml"
    path.write_text(f"factors:\n  - {{name: a, {entry}}}\n", encoding="utf-8")
    panel, fields = joined_panel()
    plan = compile_recipe(load_recipe(path), allow_modules=(MODULE,), max_window=1000, fields=fields)
    return check_causality(plan, fields.filled(panel, plan.fields), count=count, gap_tolerance=0.1, fields=fields)


def ahead(bars: Bars, by: int) -> Bars:
    return Bars(bars.opens + by, bars.closes + by)


def one_bar_early(true: Callable[..., Any]) -> Callable[..., Any]:
    """Label joined one bar early: each bar gets what the next one settles."""
    return lambda series, bars, **more: true(series, ahead(bars, HOUR), **more)


def without_the_delay(true: Callable[..., Any]) -> Callable[..., Any]:
    """External series joined at its date, as if it were published then."""
    return lambda series, bars, *, lag_ns, valid_ns: true(series, bars, lag_ns=0, valid_ns=valid_ns)


def nearest(true: Callable[..., Any]) -> Callable[..., Any]:
    """Stamp nearest to the close, which may lie after it."""

    def join(series: Stamped, bars: Bars, **more: Any) -> Any:
        gap = np.abs(series.stamps[None, :] - bars.closes[:, None])
        return series.values[np.argmin(gap, axis=1)] if len(series.stamps) else np.full(len(bars.closes), np.nan)

    return join


def backfilled(true: Callable[..., Any]) -> Callable[..., Any]:
    """Missing values filled with the next known one."""

    def join(series: Stamped, bars: Bars, **more: Any) -> Any:
        values = true(series, bars, **{**more, "valid_ns": HOUR})
        known = np.flatnonzero(np.isfinite(values))
        place = np.minimum(np.searchsorted(known, np.arange(len(values))), len(known) - 1)
        return values[known[place]] if len(known) else values

    return join


def whole_series(true: Callable[..., Any]) -> Callable[..., Any]:
    """Values standardised over all stamps of the file."""

    def join(series: Stamped, bars: Bars, **more: Any) -> Any:
        return true(series, bars, **more) - (series.values.mean() if len(series.values) else 0.0)

    return join


def since_the_start(true: Callable[..., Any]) -> Callable[..., Any]:
    """Values that count from the first bar that is asked for."""
    return lambda series, bars, **more: true(series, bars, **more) + (bars.closes - bars.closes[0]) / HOUR


EXPRESSIONS = {
    "settled": ('funding(24, "sum")', {"funding_sum"}),
    "last_known": ("oi_change(3)", {"open_interest"}),
    "asof": ('asof(supply, "1d") / close', {'asof(supply, "1d")'}),
}
LEAKS = [
    ("settled", one_bar_early), ("last_known", one_bar_early), ("asof", one_bar_early), ("asof", without_the_delay),
    ("last_known", nearest), ("last_known", backfilled), ("last_known", whole_series), ("asof", whole_series),
]  # fmt: skip


@pytest.mark.parametrize("what, leak", LEAKS, ids=lambda value: getattr(value, "__name__", value))
def test_a_join_that_peeks_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, leak: Callable[..., Any]
) -> None:
    expression, names = EXPRESSIONS[what]
    assert verdict_of(tmp_path, expression).violations == ()
    join = "settled" if what == "settled" else "last_known"
    monkeypatch.setattr(joins, join, leak(getattr(joins, join)))
    found = [one for one in verdict_of(tmp_path, expression).violations if one.kind == "look-ahead"]
    assert {one.factor for one in found} == names
    for one in found:
        assert (one.what, one.affects) == ("field", ("a",))
        assert one.words.startswith(f"field '{one.factor}' changes when later bars are cut off (cut at 19")
        assert one.cut is not None
        assert parse_time(str(one.timestamp)) < parse_time(one.cut)


def test_a_join_that_depends_on_the_start_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joins, "last_known", since_the_start(joins.last_known))
    kinds = {(one.factor, one.kind) for one in verdict_of(tmp_path, "ts_mean(open_interest, 3)").violations}
    assert ("open_interest", "start") in kinds


@pytest.mark.parametrize("name", ["next_settlement", "interpolated_interest"])
def test_a_function_that_peeks_at_joined_fields_is_caught(tmp_path: Path, name: str) -> None:
    assert "look-ahead" in {one.kind for one in verdict_of(tmp_path, name).violations}


@pytest.mark.parametrize(
    "text",
    [
        "honest_day_of_funding", 'funding(24, "mean")', "ts_mean(open_interest, 5)", "shift(funding_sum, 1)",
        'asof(supply, "0h")', 'asof(supply, "90min") - asof(supply, "3d")', 'cs_rank(funding(8, "sum"))',
    ],
)  # fmt: skip
def test_what_is_honest_passes(tmp_path: Path, text: str) -> None:
    assert verdict_of(tmp_path, text, count=20) == Verdict((), {})
