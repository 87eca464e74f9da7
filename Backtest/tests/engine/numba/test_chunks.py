"""A run fed in pieces is the run in one piece, bit for bit, whatever their lengths."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Backtest.engine.numba import chunks, run, run_chunks
from Backtest.errors import RunError
from Backtest.portfolio import parse_overlays
from Backtest.strategies import build_strategy
from Backtest.tests.engine.market import costs, panel_of, random_walk
from Backtest.tests.engine.test_replay import CASH, case, overlays_of
from Backtest.tests.sample_strategy import RisingShare


def loader(panel, scores, asked=None):
    """Rows of the panel, warm-up included, as a loader would give them; it notes what was asked for."""

    def load(begin: int, end: int):
        if asked is not None:
            asked.append((begin, end))
        rows = dataclasses.replace(panel, warmup=0).rows(begin, end)
        padded = np.vstack([np.full((panel.warmup, scores.shape[1]), np.nan), scores])
        return rows, padded[begin:end]

    return load


def same(panel, scores, strategy, terms, chunk_rows, overlays=()):
    """The pieces put together against one run."""
    whole = run(panel, scores, strategy, costs=terms, initial_cash=CASH, overlays=overlays)
    rows = len(panel.age) - panel.warmup
    pieces = list(
        run_chunks(loader(panel, scores), strategy, rows=rows, chunk_rows=chunk_rows, costs=terms, initial_cash=CASH,
                   positions=True, warmup=panel.warmup, overlays=overlays)
    )  # fmt: skip
    for name in ("equity", "cash", "sizes", "marks"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        assert joined.tobytes() == getattr(whole, name).tobytes(), name
    orders = [order for piece in pieces for order in piece.orders]
    assert [repr(order) for order in orders] == [repr(order) for order in whole.orders]
    assert pieces[-1].ruined == whole.ruined
    assert [piece.first for piece in pieces] == list(range(0, rows, chunk_rows))
    return whole


@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1), st.integers(1, 90))
def test_pieces_of_any_length_are_the_run_in_one_piece(seed, chunk_rows):
    panel, scores, kind, values, terms = case(seed)
    same(panel, scores, build_strategy(kind, {}, values), costs(**terms), chunk_rows)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1), st.integers(1, 90))
def test_overlays_remember_from_piece_to_piece(seed, chunk_rows):
    panel, scores, kind, values, terms = case(seed)
    overlays = parse_overlays(overlays_of(seed, panel.timeframe.bars_per_day, share=0.6))
    begin = seed % 20
    late = dataclasses.replace(panel, warmup=begin)
    same(late, scores[begin:], build_strategy(kind, {}, values), costs(**terms), chunk_rows, overlays)


def test_a_strategy_that_is_asked_sees_the_same_in_pieces():
    orders = 0
    for seed in range(12):
        panel, scores, _, _, terms = case(seed)
        orders += len(same(panel, scores, RisingShare("x", rebalance="2"), costs(**terms), 1 + 7 * seed).orders)
    assert orders > 200


def test_each_row_is_asked_for_once_but_for_the_look_back():
    opens, highs, lows, closes = random_walk(3, 200, 3)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="ABC")
    for weighting, back in (("equal", 0), ("inverse_vol", 25)):
        asked: list[tuple[int, int]] = []
        strategy = build_strategy("topk", {}, {"factor": "x", "k": 2, "weighting": weighting, "vol_window": 1})
        pieces = run_chunks(loader(panel, closes, asked), strategy, rows=200, chunk_rows=60, costs=costs(),
                            initial_cash=CASH)  # fmt: skip
        assert sum(len(piece.equity) for piece in pieces) == 200
        assert asked == [(0, 1)] + [(max(0, begin - back), min(begin + 60, 200)) for begin in (0, 60, 120, 180)]


def test_what_cannot_be_run_is_told():
    opens, highs, lows, closes = random_walk(3, 30, 2)
    panel = panel_of(opens=opens, highs=highs, lows=lows, closes=closes, symbols="AB")
    panel.fields["high"][17, 1] = np.inf
    strategy = build_strategy("topk", {}, {"factor": "x", "k": 1})
    pieces = run_chunks(loader(panel, closes), strategy, rows=30, chunk_rows=8, costs=costs(), initial_cash=CASH)
    assert [next(pieces).first, next(pieces).first] == [0, 8]
    with pytest.raises(RunError, match=r"B: the bar of 2024-01-01T17:00:00Z is marked tradable but has .*inf"):
        next(pieces)
    for words, chunk_rows, cash in (("chunk_rows is 0", 0, CASH), ("initial_cash is 0.0", 5, 0.0)):
        with pytest.raises(RunError, match=words):
            next(run_chunks(loader(panel, closes), strategy, rows=30, chunk_rows=chunk_rows, costs=costs(),
                            initial_cash=cash))  # fmt: skip


def test_more_listings_than_a_code_can_tell_apart_are_refused(monkeypatch):
    closes = [1.0, np.nan, np.nan, np.nan] * (chunks.LISTINGS + 1)
    panel = panel_of({"A": closes, "B": [1.0] * len(closes)}, gap=1)
    strategy = build_strategy("signal", {}, {"factor": "x"})
    pieces = run_chunks(loader(panel, panel.fields["close"]), strategy, rows=len(closes), chunk_rows=50, costs=costs(),
                        initial_cash=CASH)  # fmt: skip
    with pytest.raises(RunError, match="A: more than 127 listings; raise episode_gap"):
        list(pieces)
