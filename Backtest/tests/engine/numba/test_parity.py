"""The compiled engine gives what Backtrader's unmodified broker and the plain-Python replay give, order by order."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from Backtest.engine.backtrader import run as run_reference
from Backtest.engine.ledger import RunRecord
from Backtest.engine.numba import run
from Backtest.portfolio import parse_overlays
from Backtest.strategies import build_strategy
from Backtest.tests.engine.market import costs
from Backtest.tests.engine.test_replay import CASH, case, compare, overlays_of, replayed

CASES = 500
LONG_CASES = 5000
OVERLAY_CASES = 400
LONG_OVERLAY_CASES = 4000
AT_LEAST = 30
FEATURES = {
    "topk", "longshort", "signal", "commission zero", "commission above zero", "slippage zero", "slippage above zero",
    "capped", "uncapped", "the cap on slippage binds", "check 1 refuses", "check 2 refuses", "count", "scale",
    "buys scaled", "a size cut to lots by more than 1 %",
    "a rebalance below the smallest notional", "a late listing traded", "a gap while held", "delisted while held",
    "an order meets no bar", "an order meets a bar that is not tradable", "a holding that cannot be traded",
    "a flip to long", "a flip to short", "k larger than the universe", "rebalance by bars", "rebalance by 1d",
    "rebalance by 1w", "rebalance by 1M",
}  # fmt: skip
OVERLAY_FEATURES = {
    *(f"{name} of a {side}" for name in ("stop_loss", "take_profit", "trailing_stop") for side in ("long", "short")),
    "a trailing stop that does not trail yet", "an exit is sent again", "a cooldown bars an opening",
    "a reversal begins a new reference", "drawdown_stop", "trading resumes after a drawdown stop", "vol_target",
    "weights scaled up", "a volatility that is not known", "a return stands for those that are missing",
    "max_position", "max_gross", "max_net", "max_turnover",
}  # fmt: skip
"""Counted in the markets of the overlays, which come on top of the others."""


def same_records(mine: RunRecord, theirs: RunRecord) -> None:
    """Every order and every bar has the same bits: the arithmetic stands in the same sequence."""
    for left, right in zip(mine.orders, theirs.orders, strict=False):
        assert repr(left) == repr(right)
    assert len(mine.orders) == len(theirs.orders)
    for name in ("equity", "cash", "sizes", "marks"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=True), name
    assert mine.warnings == theirs.warnings
    assert mine.ruined == theirs.ruined


def features_of(kind, values, terms, seen) -> set[str]:
    """What a case is about, the words of FEATURES."""
    unit = values["rebalance"]
    found = {name for name, times in seen.items() if times} | {kind, terms["on_rejected"]}
    found |= {f"{name} {'above ' * (terms[name] > 0)}zero" for name in ("commission", "slippage")}
    found |= {"capped" if terms["slippage_capped"] else "uncapped"}
    found |= {f"rebalance by {'bars' if unit.isdigit() else unit}"}
    found |= {"k larger than the universe"} if found & {"k too large", "legs too large"} else set()
    return found | ({"delisted while held"} if found & {"a long settled", "a short settled"} else set())


def test_random_markets_give_the_same_record_on_both_engines(long_run):
    cases = LONG_CASES if long_run else CASES
    found, counted = compared_markets(cases, share=0.0)
    assert found >= cases * 0.9
    rare = {name: counted[name] for name in sorted(FEATURES) if counted[name] < AT_LEAST}
    assert not rare, f"in fewer than {AT_LEAST} of {found} markets: {rare}"


def test_random_markets_with_overlays_give_the_same_record_on_both_engines(long_run):
    cases = LONG_OVERLAY_CASES if long_run else OVERLAY_CASES
    found, counted = compared_markets(cases, share=0.6)
    assert found >= cases * 0.75  # where the volatility is never known, nothing is traded
    rare = {name: counted[name] for name in sorted(OVERLAY_FEATURES) if counted[name] < AT_LEAST}
    assert not rare, f"in fewer than {AT_LEAST} of {found} markets: {rare}"


def compared_markets(cases: int, *, share: float) -> tuple[int, Counter[str]]:
    """Compare the two engines and the replay on random markets, each overlay in this share of them.

    Return how many markets traded, and how many of these each feature was found in.
    """
    counted: Counter[str] = Counter()
    found = 0

    @settings(max_examples=cases, suppress_health_check=list(HealthCheck), database=None)
    @given(st.integers(min_value=0, max_value=2**32 - 1))
    def check(seed):
        nonlocal found
        panel, scores, kind, values, terms = case(seed)
        texts = overlays_of(seed, panel.timeframe.bars_per_day, share=share)
        strategy = build_strategy(kind, {}, values)
        record, reference = (
            engine(panel, scores, strategy, costs=costs(**terms), initial_cash=CASH, overlays=parse_overlays(texts))
            for engine in (run, run_reference)
        )
        same_records(record, reference)
        seen: Counter[str] = Counter()
        compare(record, replayed(panel, scores, kind, values, terms, seen, texts), CASH)
        if record.orders:
            found += 1
            counted.update(features_of(kind, values, terms, seen))

    check()
    return found, counted
