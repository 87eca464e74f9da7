"""Random markets with everything that goes wrong in them: the engine equals the plain-Python replay, order by order."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from collections import Counter

import numpy as np
import pytest

from Backtest.data.timeframe import parse_timeframe
from Backtest.engine.backtrader import run
from Backtest.portfolio import OVERLAYS
from Backtest.strategies import build_strategy
from Backtest.strategies.portfolio import WEIGHTINGS
from Backtest.tests.engine.market import costs, panel_of, random_walk
from Backtest.tests.engine.replay import replay

CASES = 200
LONG_CASES = 3000
CASH = 10_000.0
NEW_YEAR_NS = 1_704_067_200_000_000_000  # 2024-01-01T00:00Z: a new day, week, month and year
PERIODS = {
    "1d": lambda stamp: stamp.date(),
    "1w": lambda stamp: stamp.isocalendar()[:2],
    "1M": lambda stamp: (stamp.year, stamp.month),
}


def random_market(draw, seed: int):
    """Prices with gaps, outages, late listings, deaths, relistings and bars without volume; scores with holes."""
    rows, columns = int(draw.integers(30, 90)), int(draw.integers(2, 8))
    volatility = float(draw.choice([0.01, 0.05, 0.2]))
    opens, highs, lows, closes = random_walk(seed, rows, columns, volatility=volatility)
    for column in range(columns):
        fate = draw.random()
        if fate < 0.3:
            closes[: draw.integers(1, rows // 2), column] = np.nan
        if 0.2 < fate < 0.5:
            death = int(draw.integers(rows // 3, rows - 5))
            birth = death + int(draw.integers(4, 14)) if draw.random() < 0.7 else rows
            closes[death:birth, column] = np.nan
        if fate > 0.6:
            closes[draw.integers(0, rows, size=4), column] = np.nan
    tradable = draw.random((rows, columns)) > 0.03
    scores = np.cumsum(draw.standard_normal((rows, columns)), axis=0)
    if draw.random() < 0.3:
        scores = np.round(scores)  # ties
    scores[draw.random((rows, columns)) < 0.05] = np.nan
    if not np.isfinite(closes).any():
        closes[:, 0] = 100.0
    timeframe = str(draw.choice(["1h", "4h", "1d", "1w"]))
    new_year = parse_timeframe(timeframe).index(NEW_YEAR_NS)
    panel = panel_of(
        opens=opens,
        highs=highs,
        lows=lows,
        closes=closes,
        symbols=[f"C{column}" for column in range(columns)],
        tradable=tradable,
        timeframe=timeframe,
        first_bar=new_year - int(draw.integers(0, rows)),
        gap=3,
    )
    return panel, scores


def random_strategy(draw, bars_per_day: float):
    """(name, yaml values)."""
    kind = str(draw.choice(["topk", "longshort", "signal"]))
    rebalance = str(draw.choice(["1", "2", "5", "1d", "1w", "1M"]))
    shared = {
        "weighting": str(draw.choice(["equal", "score", "rank", "inverse_vol"])),
        "max_weight": float(draw.choice([0.2, 0.35, 1.0])),
        "ascending": bool(draw.random() < 0.3),
        "vol_window": 12 / bars_per_day,
    }
    if kind == "topk":
        more = {"k": int(draw.integers(1, 7)), "invest": float(draw.choice([0.5, 0.98, 1.0])), **shared}
    elif kind == "longshort":
        k = int(draw.integers(1, 4)) if draw.random() < 0.5 else None
        more = {"k": k, "quantile": 0.3, "gross_leverage": float(draw.choice([0.5, 1.0, 3.0])), **shared}
    else:
        weight = None if draw.random() < 0.5 else 0.4
        more = {"upper": 0.7, "lower": -0.7, "weight": weight, "invest": 0.98}
    return kind, {"factor": "x", "rebalance": rebalance, **more}


def random_costs(draw):
    return {
        "commission": float(draw.choice([0.0, 0.001, 0.02])),
        "slippage": float(draw.choice([0.0, 0.001, 0.03])),
        "slippage_capped": bool(draw.random() < 0.3),
        "lot_step": float(draw.choice([1e-8, 0.001, 0.1, 1.0])),
        "min_notional": float(draw.choice([0.0, 5.0, 200.0])),
        "no_trade_band": float(draw.choice([0.0, 0.0, 0.05])),
        "on_rejected": str(draw.choice(["count", "scale"])),
        "delisting_haircut": float(draw.choice([0.0, 0.3, 1.0])),
    }


def plain(panel, scores, due):
    """The market as the replay reads it."""
    rows, _columns = panel.shape
    names = ("open", "high", "low", "close")
    bars = {
        symbol: [
            tuple(float(panel.fields[name][t, c]) for name in names) if panel.exists[t, c] else None
            for t in range(rows)
        ]
        for c, symbol in enumerate(panel.symbols)
    }
    tradable = {symbol: panel.tradable[:, c].tolist() for c, symbol in enumerate(panel.symbols)}
    listed = {
        symbol: [None if math.isnan(value) else value for value in scores[:, c].tolist()]
        for c, symbol in enumerate(panel.symbols)
    }
    return {"symbols": list(panel.symbols), "bars": bars, "tradable": tradable, "gap": 3, "due": due}, listed


def due_rows(rebalance: str, panel) -> list[bool]:
    """By the calendar of the standard library: the period of the next bar is another one."""
    opens = [dt.datetime.fromisoformat(str(stamp)) for stamp in panel.timestamp.astype("datetime64[s]")]
    if rebalance in PERIODS:
        period, length = PERIODS[rebalance], dt.timedelta(seconds=panel.timeframe.seconds)
        return [period(stamp) != period(stamp + length) for stamp in opens]
    return [t % int(rebalance) == 0 for t in range(len(opens))]


def same(found, expected, scale=1.0):
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-9 * scale)


def compare(record, expected, initial_cash):
    orders, equity, cash, ruined = expected
    for got, want in zip(record.orders, orders, strict=False):
        where = f"order {got} against {want}"
        assert (got.created_bar, got.filled_bar, got.symbol, got.side) == (
            want["created"], want["filled"], want["symbol"], want["side"]), where  # fmt: skip
        assert (got.reason, got.status, got.detail) == (want["reason"], want["status"], want["detail"]), where
        assert same(got.size, want["size"], want["size"] + 1), where
        assert math.isnan(got.price) if want["price"] is None else same(got.price, want["price"]), where
        assert same(got.commission, want["commission"], initial_cash), where
        assert same(got.slippage, want["slippage"], initial_cash), where
    assert len(record.orders) == len(orders)
    assert [order.order_id for order in record.orders] == list(range(1, len(orders) + 1))
    np.testing.assert_allclose(record.equity, equity, rtol=1e-9, atol=1e-9 * initial_cash)
    np.testing.assert_allclose(record.cash, cash, rtol=1e-9, atol=1e-9 * initial_cash)
    assert record.ruined == ruined


def identity_error(record, panel):
    """Largest |change in equity - (price P&L - fees - slippage)| over equity, bar by bar, from orders and prices."""
    held = dict.fromkeys(record.symbols, 0.0)
    marks: dict[str, float] = {}
    worst = 0.0
    fills: dict[int, list] = {}
    for order in record.orders:
        if order.status == "filled":
            fills.setdefault(order.filled_bar, []).append(order)
    for t in range(len(record.timestamp)):
        change = 0.0
        todays = fills.get(t, [])
        for c, symbol in enumerate(record.symbols):
            mark = float(record.marks[t, c])
            start = held[symbol]
            end = float(record.sizes[t, c])
            trades = [order for order in todays if order.symbol == symbol]
            before = marks.get(symbol, math.nan)
            for order in trades:
                signed = order.size if order.side == "buy" else -order.size
                fair = order.price - order.slippage / order.size * (1 if order.side == "buy" else -1)
                if start:
                    change += start * (fair - before)
                before, start = fair, start + signed
                change -= order.commission + order.slippage
            if abs(end) > 0:
                change += end * (mark - before)
                marks[symbol] = mark
            assert math.isclose(start, end, rel_tol=1e-9, abs_tol=1e-9)
            held[symbol] = end
        previous = record.equity[t - 1] if t else CASH
        scale = max(abs(record.equity[t]), abs(previous), 1.0)
        worst = max(worst, abs(record.equity[t] - previous - change) / scale)
    return worst


def overlays_of(seed: int, bars_per_day: float, *, share: float = 0.45) -> list[str]:
    """Overlays of one seed, each with this chance; drawn apart, so that a case is the same market without them."""
    draw = np.random.default_rng((seed, 1))

    def one(*values):
        return values[int(draw.integers(len(values)))]

    texts = [
        f"stop_loss:pct={one(0.02, 0.05, 0.1)},cooldown={one(0, 0, 3, 10)}",
        f"take_profit:pct={one(0.02, 0.05, 0.2)},cooldown={one(0, 0, 3, 10)}",
        f"trailing_stop:pct={one(0.02, 0.05, 0.1)},after={one(0, 0, 0.02)},cooldown={one(0, 0, 3, 10)}",
        f"drawdown_stop:pct={one(0.02, 0.1, 0.3)},cooldown={one(0, 2, 5, 2, 5, 'none')}",
        f"vol_target:annual={one(0.1, 0.5, 2.0)},days={one(3, 8) / bars_per_day},max_scale={one(1, 2)}",
        f"max_position:cap={one(0.1, 0.3)}",
        f"max_gross:cap={one(0.3, 0.8)}",
        f"max_net:cap={one(0, 0.2, 0.6)}",
        f"max_turnover:cap={one(0.1, 0.4)}",
    ]
    return [text for text in texts if draw.random() < share]


def case(seed: int):
    """(panel, scores, strategy's name and values, costs) of one seed."""
    draw = np.random.default_rng(seed)
    panel, scores = random_market(draw, seed)
    return panel, scores, *random_strategy(draw, panel.timeframe.bars_per_day), random_costs(draw)


def plain_overlays(texts, seconds: float):
    """The overlays as the replay reads them; `seconds` of a bar."""
    rules: dict[str, dict] = {}
    for name, kind in OVERLAYS.items():
        for text in (text for text in texts if text.startswith(name + ":")):
            words = dict(word.split("=") for word in text.partition(":")[2].split(","))
            given = {key: None if value == "none" else float(value) for key, value in words.items()}
            rules[name] = {field.name: field.default for field in dataclasses.fields(kind)} | given
    if "vol_target" in rules:
        rules["vol_target"]["window"] = max(2, round(rules["vol_target"]["days"] * 86_400 / seconds))
        rules["vol_target"]["root"] = math.sqrt(365 * 86_400 / seconds)
    return rules


def replayed(panel, scores, kind, values, terms, seen=None, overlays=()):
    """What the plain-Python replay says of a case."""
    market, listed = plain(panel, scores, due_rows(values["rebalance"], panel))
    rules = plain_overlays(overlays, panel.timeframe.seconds)
    return replay(market, listed, {"kind": kind, "window": 12, "overlays": rules, **values}, terms, CASH, seen)


def check_case(seed: int):
    panel, scores, kind, values, terms = case(seed)
    record = run(panel, scores, build_strategy(kind, {}, values), costs=costs(**terms), initial_cash=CASH)
    compare(record, replayed(panel, scores, kind, values, terms), CASH)
    assert np.isfinite(record.equity).all()
    assert np.isfinite(record.cash).all()
    assert identity_error(record, panel) < 1e-9


@pytest.mark.parametrize("part", range(10))
def test_engine_equals_the_replay_on_random_markets(part, request):
    cases = LONG_CASES if request.config.getoption("--long", default=False) else CASES
    for seed in range(part * cases // 10, (part + 1) * cases // 10):
        try:
            check_case(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


FEATURES = {
    "an order meets no bar", "an order meets a bar that is not tradable", "check 1 refuses", "check 2 refuses",
    "check 2 refuses a reversal's rest", "the cap on slippage binds", "a gap while held", "a late listing traded",
    "a relisting traded", "a long settled", "a short settled", "a haircut", "a flip to long", "a flip to short",
    "a holding left alone by a repeated signal", "a holding that cannot be traded", "the no-trade band",
    "a size cut to lots by more than 1 %", "less than one lot", "a rebalance below the smallest notional",
    "a close below the smallest notional", "buys scaled", "buys scaled to nothing",
    "k too large", "legs too large", "max_weight", "a tie at the cut", "score weights of equal scores",
    "score weights with nobody left out", "a budget shared with what cannot be traded", "ruin",
    *(f"{name} {'zero' if zero else 'above zero'}" for name in ("commission", "slippage", "delisting_haircut",
      "min_notional", "no_trade_band") for zero in (True, False)),
    *(f"slippage_capped {value}" for value in (True, False)),
    *(f"on_rejected {value}" for value in ("count", "scale")),
    *(f"lot_step {value}" for value in (1e-8, 0.001, 0.1, 1.0)),
    *(f"{kind} rebalance {unit}" for kind in ("topk", "longshort", "signal") for unit in ("1", "2", "5", *PERIODS)),
    *(f"{unit} on bars of {label}" for unit in PERIODS for label in ("1h", "4h", "1d", "1w")),
    *(f"{kind} weighting {name}" for kind in ("topk", "longshort") for name in WEIGHTINGS),
}  # fmt: skip


def test_every_feature_is_hit_by_the_random_markets():
    """A rule that no seed touches is a rule that the comparison above cannot refute."""
    seen: Counter[str] = Counter()
    for seed in range(CASES):
        panel, scores, kind, values, terms = case(seed)
        orders, _equity, _cash, ruined = replayed(panel, scores, kind, values, terms, seen)
        if not orders:  # a setting counts only where something was traded under it
            continue
        seen["ruin"] += ruined
        for name in ("commission", "slippage", "delisting_haircut", "min_notional", "no_trade_band"):
            seen[f"{name} {'zero' if terms[name] == 0 else 'above zero'}"] += 1
        for name in ("slippage_capped", "on_rejected", "lot_step"):
            seen[f"{name} {terms[name]}"] += 1
        unit = values["rebalance"]
        seen[f"{kind} rebalance {unit}"] += 1
        seen[f"{unit} on bars of {panel.timeframe.label}"] += 1
        if "weighting" in values:
            seen[f"{kind} weighting {values['weighting']}"] += 1
    rare = {name: seen[name] for name in sorted(FEATURES) if seen[name] < 2}
    assert not rare, f"hit fewer than twice in {CASES} markets: {rare}"
