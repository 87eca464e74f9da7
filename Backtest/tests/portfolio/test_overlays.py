"""Overlays from text, and what each rule does to a cross-section worked out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Backtest import run_backtest
from Backtest.engine.numba.overlays import Rules
from Backtest.errors import SettingsError
from Backtest.portfolio import OVERLAYS, parse_overlays, text_of
from Backtest.portfolio.exits import DrawdownStop, Positions, StopLoss, TakeProfit, TrailingStop
from Backtest.portfolio.limits import MaxGross, MaxNet, MaxPosition, MaxTurnover, Targets, VolTarget


def targets(weights, now=None, movable=None, volatility=0.5) -> Targets:
    weights = np.array(weights, dtype=float)
    now = np.zeros(len(weights)) if now is None else np.array(now, dtype=float)
    movable = np.ones(len(weights), dtype=bool) if movable is None else np.array(movable)
    return Targets(weights, now, movable, lambda days, given: volatility)


def limited(rule, *given, **more):
    return pytest.approx(rule.limited(targets(*given, **more)).weights.tolist(), abs=1e-12)


def test_overlays_come_in_the_order_of_the_table_with_every_parameter():
    first = parse_overlays(["max_gross:cap=1", "stop_loss: pct = 0.08", "vol_target:annual=0.4,days=20"])
    assert first == (StopLoss(0.08), VolTarget(0.4, 20.0), MaxGross(1.0))
    texts = [text_of(overlay) for overlay in first]
    assert texts == ["stop_loss:pct=0.08,cooldown=0", "vol_target:annual=0.4,days=20.0,max_scale=1.0",
                     "max_gross:cap=1.0"]  # fmt: skip
    assert parse_overlays(texts) == first
    assert parse_overlays(["drawdown_stop:pct=0.2,cooldown=none"]) == (DrawdownStop(0.2),)
    assert parse_overlays([text_of(DrawdownStop(0.2))]) == (DrawdownStop(0.2, None),)
    assert parse_overlays(["none"]) == parse_overlays([]) == ()


@pytest.mark.parametrize(
    "texts, words",
    [
        (["stop_los:pct=0.1"], "overlay 'stop_los:pct=0.1': 'stop_los' is not known; did you mean 'stop_loss'"),
        (["stop_loss:pc=0.1"], "'pc' is not a parameter; did you mean 'pct'"),
        (["stop_loss"], "overlay 'stop_loss' needs pct: stop_loss:pct=NUMBER"),
        (["stop_loss:0.1"], "'0.1'; key=value is allowed, the keys are pct, cooldown"),
        (["stop_loss:pct=8%"], "pct is '8%'; a number is allowed"),
        (["stop_loss:pct=-0.1"], "overlay 'stop_loss:pct=-0.1': pct is -0.1; allowed is 1e-06 to 100"),
        (["stop_loss:pct=nan"], "pct is nan; allowed is"),
        (["stop_loss:pct=0.1,cooldown=1.5"], "cooldown is '1.5'; a whole number is allowed"),
        (["stop_loss:pct=0.1,pct=0.2"], "pct is given twice"),
        (["max_net:cap=1", "max_net:cap=2"], "overlay max_net is given twice: max_net:cap=1.0 and max_net:cap=2"),
        (["none", "max_net:cap=2"], "'none' is not known"),
    ],
)
def test_what_is_wrong_with_an_overlay_is_one_line(texts, words):
    with pytest.raises(SettingsError) as caught:
        parse_overlays(texts)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_compiled_rules_and_the_help_know_every_overlay_of_the_table():
    named = [f"{name}_{field.name}" for name, kind in OVERLAYS.items() for field in dataclasses.fields(kind)]
    assert named == list(Rules._fields)
    told = run_backtest.make_parser().format_help()
    assert all(name in told for name in OVERLAYS)


def test_exits_by_hand():
    """Long bought at 100, best 120; short sold at 50, best 40; both seen at three closes."""
    for prices, stop, take, trail, late in (
        ((93.0, 53.5), [True, True], [False, False], [True, True], [True, True]),  # -7 %; back 22.5 % and 33.75 %
        ((112.0, 44.0), [False, False], [True, True], [False, True], [False, True]),  # +12 %; back 6.7 % and 10 %
        ((108.0, 42.0), [False, False], [False, True], [True, False], [True, False]),  # +8, +16 %; back 10 % and 5 %
    ):
        seen = Positions(np.array([1, -1], dtype=np.int8), np.array(prices), np.array([100.0, 50.0]),
                         np.array([120.0, 40.0]))  # fmt: skip
        assert StopLoss(0.07).closes(seen).tolist() == stop
        assert TakeProfit(0.12).closes(seen).tolist() == take
        assert TrailingStop(0.1).closes(seen).tolist() == trail
        assert TrailingStop(0.1, after=0.2).closes(seen).tolist() == late
        assert TrailingStop(0.1, after=0.21).closes(seen).tolist() == [False, False]  # the best was 20 % for both
    assert DrawdownStop(0.3).halts(70.0, 100.0)
    assert not DrawdownStop(0.3).halts(70.1, 100.0)


def test_caps_by_hand():
    assert limited(MaxPosition(0.3), [0.5, -0.4, 0.1]) == [0.3, -0.3, 0.1]
    assert limited(MaxPosition(0.3), [0.5, -0.4], movable=[False, True]) == [0.5, -0.3]
    assert limited(MaxGross(1.0), [0.8, -0.4, 0.4]) == [0.5, -0.25, 0.25]  # 1.6 to 1
    assert limited(MaxGross(1.0), [0.4, -0.4]) == [0.4, -0.4]
    assert limited(MaxGross(1.0), [0.6, 0.5, -0.5], movable=[False, True, True]) == [0.6, 0.2, -0.2]  # 0.4 is left
    assert limited(MaxGross(0.5), [0.6, 0.5], movable=[False, True]) == [0.6, 0.0]
    assert limited(MaxNet(0.2), [0.6, 0.2, -0.3]) == [0.375, 0.125, -0.3]  # longs 0.8 to 0.5
    assert limited(MaxNet(0.2), [0.3, -0.6, -0.2]) == [0.3, -0.375, -0.125]
    assert limited(MaxNet(0.0), [0.6, -0.2]) == [0.2, -0.2]
    assert limited(MaxNet(0.2), [0.6, 0.3, -0.1], movable=[False, True, True]) == [0.6, 0.0, -0.1]
    # 0.5 bought and 0.3 sold are 0.8; half of it is allowed
    assert limited(MaxTurnover(0.4), [0.5, 0.0], now=[0.0, 0.3]) == [0.25, 0.15]
    assert limited(MaxTurnover(0.8), [0.5, 0.0], now=[0.0, 0.3]) == [0.5, 0.0]
    # what cannot move does not count
    assert limited(MaxTurnover(0.4), [0.9, 0.4], now=[0.0, 0.0], movable=[False, True]) == [0.9, 0.4]


def test_volatility_target_by_hand():
    assert limited(VolTarget(0.25), [0.6, -0.2]) == [0.3, -0.1]  # 0.5 a year, half of it is wanted
    assert limited(VolTarget(1.0), [0.6, -0.2]) == [0.6, -0.2]  # max_scale 1
    assert limited(VolTarget(1.0, max_scale=3), [0.6, -0.2]) == [1.2, -0.4]
    assert limited(VolTarget(1.0, max_scale=1.5), [0.6, -0.2]) == [0.9, -0.3]
    assert limited(VolTarget(0.25), [0.6, -0.2], movable=[False, True]) == [0.6, -0.1]
    assert limited(VolTarget(0.25), [0.6, -0.2], volatility=np.nan) == [0.0, 0.0]
    assert limited(VolTarget(0.25, max_scale=2), [0.6], volatility=0.0) == [1.2]
    assert limited(VolTarget(0.25), [0.0, 0.0], volatility=np.nan) == [0.0, 0.0]


WEIGHTS = st.lists(st.floats(-2, 2).map(lambda weight: round(weight, 6)), min_size=1, max_size=12)
CAP = st.floats(0.01, 2)


@settings(max_examples=100)
@given(WEIGHTS, CAP, CAP, CAP, CAP, st.data())
def test_all_caps_hold_together_and_no_weight_grows_or_turns(weights, position, gross, net, turnover, data):
    """In the order of the table; with the turnover cap too where what is held now keeps to the caps."""
    rules = (VolTarget(0.3), MaxPosition(position), MaxGross(gross), MaxNet(net))
    now = np.array(data.draw(st.lists(st.floats(-2, 2), min_size=len(weights), max_size=len(weights))))
    held = targets(now, volatility=0.4)
    for rule in rules:
        held = rule.limited(held)
    reached = targets(weights, now=held.weights, volatility=0.4)
    for rule in rules:
        reached = rule.limited(reached)
    asked = np.array(weights)
    assert (reached.weights * asked >= 0).all()
    assert (np.abs(reached.weights) <= np.abs(asked)).all()
    traded = MaxTurnover(turnover).limited(reached)
    for found in (reached.weights, traded.weights):
        assert np.abs(found).max() <= position + 1e-12
        assert np.abs(found).sum() <= gross + 1e-12
        assert abs(found.sum()) <= net + 1e-12
    assert np.abs(traded.weights - traded.now).sum() <= turnover + 1e-12
