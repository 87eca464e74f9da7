"""KunQuant's predefined 82 of the 101 Alphas: equal where KunQuant computes what the paper says, explained where not.

`kunquant.npz` holds KunQuant 0.1.12's values (see `make_kunquant_values`). Two readings differ in all of them and are
given to our side as KunQuant has them; factors that differ in more stand in `AS_KUNQUANT` with the reason and the
expression that KunQuant's code amounts to, which then must give KunQuant's values.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest

from .comparison import FORMULAS, Bools, same, unexplained
from .make_kunquant_values import KEPT_ROWS, PATH
from .market import SYMBOLS, market_panel, random_market
from .paper_words import Floats, Market, windows_rounded
from .runs import computed, reworded, shipped

TOLERANCE = 1e-9
"""Of the largest |value| of the factor."""
ADV = re.compile(r"\badv([0-9]+)\b")
FRACTION = re.compile(r", ([0-9]+\.[0-9]+)\)")

AS_KUNQUANT = {
    "alpha001": (
        "without - 0.5",
        "rank(Ts_ArgMax(SignedPower(((returns < 0) ? stddev(returns, 20) : close), 2.), 5))",
    ),
    "alpha010": (
        "without the rank around it",
        "((0 < ts_min(delta(close, 1), 4)) ? delta(close, 1)"
        " : ((ts_max(delta(close, 1), 4) < 0) ? delta(close, 1) : (-1 * delta(close, 1))))",
    ),
    "alpha029": (
        "sum(x, 2) where the paper has sum(ts_min(x, 2), 1)",
        "(ts_min(rank(rank(scale(log(sum(rank(rank((-1 * rank(delta((close - 1), 5))))), 2))))), 5)"
        " + ts_rank(delay((-1 * returns), 6), 5))",
    ),
    "alpha032": (
        "the mean of 7 closes is divided by 7 again",
        "(scale((((sum(close, 7) / 7) / 7) - close)) + (20 * scale(correlation(vwap, delay(close, 5), 230))))",
    ),
    "alpha036": (
        "the mean of 200 closes is divided by 200 again",
        "(((((2.21 * rank(correlation((close - open), delay(volume, 1), 15))) + (0.7 * rank((open - close))))"
        " + (0.73 * rank(Ts_Rank(delay((-1 * returns), 6), 5)))) + rank(abs(correlation(vwap, adv20, 6))))"
        " + (0.6 * rank(((((sum(close, 200) / 200) / 200) - open) * (close - open)))))",
    ),
    "alpha038": ("ts_rank of open for that of close", "((-1 * rank(Ts_Rank(open, 10))) * rank((close / open)))"),
    "alpha047": (
        "the mean of 5 highs is divided by 5 again",
        "((((rank((1 / close)) * volume) / adv20) * ((high * rank((high - close))) / ((sum(high, 5) / 5) / 5)))"
        " - rank((vwap - delay(vwap, 5))))",
    ),
    "alpha072": (
        "0.0001 is added to both ranks",
        "((rank(decay_linear(correlation(((high + low) / 2), adv40, 8.93345), 10.1519)) + 0.0001)"
        " / (rank(decay_linear(correlation(Ts_Rank(vwap, 3.72469), Ts_Rank(volume, 18.5188), 6.86671), 2.95011))"
        " + 0.0001))",
    ),
    "alpha075": (
        "a window that does not move has no correlation, is left out of the rank, and a comparison with it is 0",
        "(rank(correlation(vwap, volume, 4.24304)) < rank((covariance(rank(low), rank(adv50), 12.4413)"
        " / (stddev(rank(low), 12.4413) * stddev(rank(adv50), 12.4413)))))",
    ),
}
"""Factor -> (what KunQuant does otherwise, the expression of that)."""

FALSE_WHERE_MISSING = ("alpha075",)
"""A comparison with a missing value is missing here and 0 in KunQuant."""

POWERS = ("alpha078", "alpha084", "alpha085", "alpha094")
"""x ^ y is exp(y log x) with an exponential of single precision in KunQuant."""
POWER_TOLERANCE = 2e-7

TIES = {
    "alpha013": "covariances of ranks are multiples of one small number, and the rank around them",
    "alpha015": "correlations of three pairs of ranks, and the rank around them",
    "alpha016": "as alpha013",
    "alpha031": "weighted means of ranks, and the rank around them",
    "alpha045": "two bars correlate by 1 or -1: the rank around them is of rounding alone",
    "alpha085": "a correlation of time-series ranks, and the rank around it",
    "alpha088": "weighted means of ranks, and the rank around them",
    "alpha092": "weighted counts and correlations of ranks, and the time-series ranks around them",
    "alpha094": "a correlation of time-series ranks, and the time-series rank around it",
    "alpha096": "correlations of four time-series ranks, and which day is largest",
    "alpha098": "a time-series rank of which day is smallest, weighted means of them, and the rank around them",
}
"""Factor -> what is often equal on paper, so that rounding decides who comes first. Only such cells may differ: those
that change in the independent version, read as KunQuant reads, when its comparisons see an error of 1e-12."""


def as_kunquant_reads(expression: str) -> str:
    """Return an expression with KunQuant's readings: adv is mean base volume, windows are rounded to the nearest."""
    expression = ADV.sub(r"(sum(volume, \1) / \1)", expression)
    return FRACTION.sub(lambda found: f", {float(found[1]):.0f})", expression)


@cache
def kunquant() -> dict[str, Floats]:
    with np.load(PATH, allow_pickle=False) as file:
        return dict(zip(file["names"].tolist(), file["values"], strict=True))


@cache
def ours() -> dict[str, Floats]:
    recipe = shipped()
    written = {spec.name: str(spec.expression) for spec in recipe.factors if spec.name in kunquant()}
    written |= {name: expression for name, (_, expression) in AS_KUNQUANT.items()}
    reading = {name: as_kunquant_reads(expression) for name, expression in written.items()}
    return dict(computed(reworded(recipe, reading), market_panel(random_market())))


def unequal(name: str) -> Bools:
    """Return which of the kept cells differ, bool [rows, S]."""
    theirs = kunquant()[name]
    mine = ours()[name][-len(theirs) :]
    if name in FALSE_WHERE_MISSING:
        mine = np.nan_to_num(mine)
    return ~same(mine, theirs, tolerance=POWER_TOLERANCE if name in POWERS else TOLERANCE)


def test_the_82_are_there() -> None:
    assert len(kunquant()) == 82
    for name, values in kunquant().items():
        assert values.shape == (KEPT_ROWS, SYMBOLS), name
        assert not np.isnan(values).any(), name


@pytest.mark.parametrize("name", sorted(set(kunquant()) - set(TIES)))
def test_equals_kunquant(name: str) -> None:
    assert not unequal(name).any()


@pytest.mark.parametrize("name", TIES)
def test_differs_from_kunquant_where_rounding_decides_only(name: str) -> None:
    differs = unequal(name)
    market = Market(random_market(), adv_of="volume")
    with windows_rounded():
        assert not unexplained(differs, FORMULAS[name], market).any()


@pytest.mark.parametrize("name", AS_KUNQUANT)
def test_the_stated_difference_is_one(name: str) -> None:
    """The shipped expression, read as KunQuant reads, does not give KunQuant's values."""
    written = {spec.name: str(spec.expression) for spec in shipped().factors}
    values = computed(reworded(shipped(), {name: as_kunquant_reads(written[name])}), market_panel(random_market()))
    theirs = kunquant()[name]
    assert not same(values[name][-len(theirs) :], theirs, tolerance=TOLERANCE).all()
