"""What the other accuracy tests leave: recursive means, order, cross-sections, functions of one number; all rows told.

Exact values are fractions, decimals of fifty digits, or long doubles where NumPy has them.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context

from ...twins_more import dot, root
from . import test_accuracy as first
from . import test_accuracy_more as more
from .series import run
from .test_accuracy import LIMIT, ROWS, SERIES, D
from .test_accuracy_groups import VALUES
from .test_accuracy_more import Values, check, fit, is_flat, mean, std

SPAN = 9
ALPHA = Fraction(2, SPAN + 1)

# ---- windows --------------------------------------------------------------------------------------------------------


def quantile(x: Values, q: Fraction) -> Fraction:
    ordered, place = sorted(x), q * (len(x) - 1)
    low = math.floor(place)
    high = min(low + 1, len(x) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def faded(x: Values, f: Fraction) -> tuple[float, float]:
    weights = [f ** (len(x) - 1 - k) for k in range(len(x))]
    return float(dot(weights, x) / sum(weights)), 0.0


def realized(x: Values) -> tuple[float, float]:
    """Root of the sum of squared log returns; D counts returns, so the first value of the window is the base."""
    if min(x) <= 0:
        return math.nan, 0.0
    with localcontext() as context:
        context.prec = 50
        logs = [(Decimal(value.numerator) / Decimal(value.denominator)).ln() for value in x]
        total = sum(((b - a) ** 2 for a, b in itertools.pairwise(logs)), Decimal(0))
        return float(total.sqrt()), 0.0


def split(x: Values, by: Values) -> tuple[float, float]:
    order = sorted(range(len(x)), key=lambda k: (by[k], k))
    bottom, top = (sum((x[k] for k in part), Fraction(0)) for part in (order[:5], order[-5:]))
    return float(top - bottom), float(sum(map(abs, x)))


def once_more(x: Values) -> tuple[float, float]:
    weights = [Fraction(k + 1) for k in range(len(x))]
    return float(dot(weights, x) / sum(weights) / len(x)), 0.0


WINDOWS: dict[str, tuple[Callable[..., tuple[float, float]], dict[str, Any]]] = {
    "ts_var": (lambda x: (float(Fraction(std(x)) ** 2), 0.0), {}),
    "ts_median": (lambda x: (float(quantile(x, Fraction(1, 2))), 0.0), {}),
    "ts_quantile": (lambda x: (float(quantile(x, Fraction(0.3))), 0.0), {"q": 0.3}),
    "decay_exp": (lambda x: faded(x, Fraction(0.9)), {"f": 0.9}),
    "adv": (lambda x: (float(mean(x)), std(x)), {}),
    "qlib_wma": (once_more, {}),
}
WHOLE = [kind for kind in SERIES if "holes" not in kind]


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("kind", WHOLE)
def test_windows(name: str, kind: str) -> None:
    exact, literals = WINDOWS[name]
    check(name, [SERIES[kind]], exact, **literals)


@pytest.mark.parametrize("kind", WHOLE)
def test_windows_of_two(kind: str) -> None:
    check("sum_split_by", [SERIES[kind], SERIES["zero mean"]], split, k=5)
    slope = std  # the natural scale of a slope: std y / std x
    check("ts_beta", [SERIES[kind], SERIES["zero mean"]],
          lambda y, x: (float(fit(x, y)[1]), slope(y) / slope(x)))  # fmt: skip
    counts = np.ones(ROWS)
    check("funding", [SERIES[kind], counts], lambda x, n: (float(sum(x)), float(sum(map(abs, x)))), how="sum")
    check("funding", [SERIES[kind], counts], lambda x, n: (float(mean(x)), float(sum(map(abs, x)) / len(x))),
          how="mean")  # fmt: skip


@pytest.mark.parametrize("f", [0.01, 0.5])
def test_a_spike_fades_with_all_its_digits(f: float) -> None:
    """Wherever in a block it lies: what it weighs after some bars is as small as the prices are."""
    d, spikes = 30, range(30, 60)
    x = 100 * np.exp(0.02 * np.random.default_rng(4).standard_normal((90, len(spikes))).cumsum(axis=0))
    x[spikes, range(len(spikes))] = 1e12
    age = np.arange(1, 91, dtype=np.int32)[:, None].repeat(len(spikes), axis=1)
    got = run(OPERATORS["decay_exp"], [x], {"d": d, "f": f}, Context(age=age, first_bar=7))
    for column, row in enumerate(spikes):
        for t in range(row, row + d, 4):
            want, _ = faded([Fraction(value) for value in x[t - d + 1 : t + 1, column]], Fraction(f))
            assert got[t, column] == pytest.approx(want, rel=1e-14), (row, t)


def of_column(name: str, x: np.ndarray, **literals: Any) -> np.ndarray:
    age = np.arange(1, ROWS + 1, dtype=np.int32)[:, None].copy()
    return run(OPERATORS[name], [np.ascontiguousarray(x[:, None])], literals, Context(age=age, first_bar=7))[:, 0]


@pytest.mark.parametrize("kind", WHOLE)
def test_realized_volatility_and_log_returns(kind: str) -> None:
    x = SERIES[kind]
    values = [Fraction(float(value)) for value in x]
    vol, change = of_column("ts_realized_vol", x, d=12), of_column("logret", x, d=1)
    for t in range(13, ROWS, 5):
        want, _ = realized(values[t - 12 : t + 1])
        assert math.isnan(want) == math.isnan(vol[t])
        if not math.isnan(want):
            assert abs(vol[t] - want) <= LIMIT * want
            last, _ = realized(values[t - 1 : t + 1])
            assert abs(abs(change[t]) - last) <= LIMIT * last


def test_a_log_return_to_the_last_digits() -> None:
    """Near and far, and about the change where its series hands over to the logarithm."""
    ratios = np.concatenate([np.geomspace(0.3, 3.0, 240), 1.0 + np.geomspace(1e-12, 0.1, 60)])
    x = np.where(np.arange(600) % 2 == 0, 64.3, 64.3 * np.repeat(ratios, 2))
    change = run(OPERATORS["logret"], [x[:, None].copy()], {"d": 1},
                 Context(age=np.arange(1, 601, dtype=np.int32)[:, None].copy(), first_bar=7))[:, 0]  # fmt: skip
    for t in range(1, 600, 2):
        with localcontext() as context:
            context.prec = 50
            want = float((Decimal(float(x[t])) / Decimal(float(x[t - 1]))).ln())
        assert abs(change[t] - want) <= 2e-15 * abs(want), t


@pytest.mark.parametrize("kind", WHOLE)
def test_hull(kind: str) -> None:
    def linear(x: Values) -> Fraction:
        weights = [Fraction(k + 1) for k in range(len(x))]
        return dot(weights, x) / sum(weights)

    x, d = [Fraction(float(value)) for value in SERIES[kind]], 16
    got = of_column("hull", SERIES[kind], d=d)
    for t in range(d + 4, ROWS, 7):
        lead = [2 * linear(x[s - d // 2 + 1 : s + 1]) - linear(x[s - d + 1 : s + 1]) for s in range(t - 3, t + 1)]
        want = float(linear(lead))
        assert abs(got[t] - want) <= LIMIT * max(abs(want), max(std(x[s - d + 1 : s + 1]) for s in range(t - 3, t + 1)))


def test_hull_passes_over_a_gap() -> None:
    """Each of its means takes as many missing values as the tolerance lets it."""

    def linear(x: np.ndarray, d: int, t: int) -> float:
        rows = [(d - k, x[t - k]) for k in range(d) if not math.isnan(x[t - k])]
        return sum(weight * value for weight, value in rows) / sum(weight for weight, _ in rows)

    x = np.array([3.0, 1.0, 4.0, math.nan, 5.0, 9.0, 2.0, 6.0])
    lead = np.array([math.nan] * 4 + [2 * linear(x, 2, t) - linear(x, 4, t) for t in range(4, 8)])
    age = np.arange(1, 9, dtype=np.int32)[:, None].copy()
    for tolerance in (0.0, 0.5):
        context = Context(age=age, first_bar=7, gap_tolerance=tolerance)
        got = run(OPERATORS["hull"], [x[:, None].copy()], {"d": 4}, context)[:, 0]
        for t in range(5, 8):
            want = linear(lead, 2, t) if tolerance else math.nan
            assert got[t] == pytest.approx(want, nan_ok=True)


# ---- recursive ------------------------------------------------------------------------------------------------------


def means(x: Values, alpha: Fraction) -> Values:
    out = [x[0]]
    for value in x[1:]:
        out.append(out[-1] + alpha * (value - out[-1]))
    return out


def of_means(x: Values, depth: int) -> Values:
    """DEMA or TEMA; each mean begins with the first published value of the one below, its SPAN-th."""
    levels = [means(x, ALPHA)]
    for _ in range(depth - 1):
        levels.append(means(levels[-1][SPAN - 1 :], ALPHA))
    ends = [level[len(level) - len(levels[-1]) :] for level in levels]
    if depth == 2:
        return [2 * a - b for a, b in zip(*ends, strict=True)]
    return [3 * a - 3 * b + c for a, b, c in zip(*ends, strict=True)]


def adaptive(x: Values) -> Values:
    """KAMA with d = SPAN, fast 2, slow 30: the state is the SPAN-th value, then it follows."""
    out = [x[SPAN - 1]]
    for t in range(SPAN, len(x)):
        path = sum((abs(x[k] - x[k - 1]) for k in range(t - SPAN + 1, t + 1)), Fraction(0))
        pace = (abs(x[t] - x[t - SPAN]) / path * (Fraction(2, 3) - Fraction(2, 31)) + Fraction(2, 31)) ** 2
        # fifty digits are enough, and fractions would grow without end
        out.append((out[-1] + pace * (x[t] - out[-1])).limit_denominator(10**60))
    return out[1:]


def halving() -> Fraction:
    with localcontext() as context:
        context.prec = 50
        return Fraction(1) - Fraction((Decimal("0.5").ln() / 5).exp())


def adjusted(x: Values) -> Values:
    out, top, weight = [], Fraction(0), Fraction(0)
    for value in x:
        top, weight = top * (1 - ALPHA) + value, weight * (1 - ALPHA) + 1
        out.append(top / weight)
    return out


@pytest.mark.parametrize(
    "name, literals",
    [
        ("ema", {"span": 1}), ("rma", {"d": 1}), ("ewm_halflife", {"h": 0.001}), ("dema", {"span": 1}),
        ("tema", {"span": 1}), ("kama", {"d": 1, "fast": 1, "slow": 1}), ("qlib_ewm", {"alpha": 1.0}),
    ],
)  # fmt: skip
def test_a_mean_that_forgets_at_once_is_the_value(name: str, literals: dict[str, Any]) -> None:
    """After a spike, too: y + (x - y) would keep its rounding."""
    x = np.array([0.1, 3.7, 1e12, -0.3, 0.1, 5e-9])
    age = np.arange(1, 7, dtype=np.int32)[:, None].copy()
    got = run(OPERATORS[name], [x[:, None].copy()], literals, Context(age=age, first_bar=7))[:, 0]
    np.testing.assert_array_equal(got[1:], x[1:])


RECURSIVE: dict[str, tuple[Callable[[Values], Values], dict[str, Any]]] = {
    "ema": (lambda x: means(x, ALPHA), {"span": SPAN}),
    "rma": (lambda x: means(x, Fraction(1, SPAN)), {"d": SPAN}),
    "ewm_halflife": (lambda x: means(x, halving()), {"h": 5.0}),
    "dema": (lambda x: of_means(x, 2), {"span": SPAN}),
    "tema": (lambda x: of_means(x, 3), {"span": SPAN}),
    "kama": (adaptive, {"d": SPAN, "fast": 2, "slow": 30}),
    "qlib_ewm": (adjusted, {"alpha": 0.2}),
    "cum_sum": (lambda x: [sum(x[: k + 1], Fraction(0)) for k in range(len(x))], {}),
}


@pytest.mark.parametrize("name", RECURSIVE)
@pytest.mark.parametrize("kind", WHOLE)
def test_recursive(name: str, kind: str) -> None:
    exact, literals = RECURSIVE[name]
    got = of_column(name, SERIES[kind], **literals)
    x = [Fraction(float(value)) for value in SERIES[kind]]
    want = exact(x)
    held = 0.0  # what a departed spike has left in the state fades as the state does
    for t in range(ROWS):
        place = t - (ROWS - len(want))
        held = max(held * (1 - float(ALPHA) / 4), abs(float(x[t])))
        if place < 0 or math.isnan(got[t]):
            assert math.isnan(got[t]) or place >= 0
            continue
        scale = sum(map(abs, map(float, x[: t + 1]))) if name == "cum_sum" else held
        assert abs(got[t] - float(want[place])) <= LIMIT * max(abs(float(want[place])), scale), t
    assert np.isfinite(got[-60:]).all()


# ---- across symbols -------------------------------------------------------------------------------------------------


def pulled(x: Values, low: Fraction, high: Fraction) -> list[tuple[float, float]]:
    return [(float(min(max(value, low), high)), std(x)) for value in x]


def near_median(x: Values) -> tuple[Fraction, Fraction]:
    median = quantile(x, Fraction(1, 2))
    return median, Fraction(1.4826) * quantile([abs(value - median) for value in x], Fraction(1, 2))


def robust(x: Values) -> list[tuple[float, float]]:
    median, width = near_median(x)
    flat = width <= Fraction(1, 10**12) * abs(median)
    return [(math.nan if flat else float((value - median) / width), 1.0) for value in x]


def clipped_by_median(x: Values) -> list[tuple[float, float]]:
    median, width = near_median(x)
    return pulled(x, median - 2 * width, median + 2 * width)


def clipped_by_std(x: Values) -> list[tuple[float, float]]:
    width = Fraction(std(x)) * Fraction(1.5)
    return pulled(x, mean(x) - width, mean(x) + width)


def places(x: Values) -> list[tuple[float, float]]:
    low, spread = min(x), max(x) - min(x)
    flat = spread <= Fraction(1, 10**12) * max(map(abs, x))
    return [(math.nan if flat else float((value - low) / spread), 1.0) for value in x]


def scores(x: Values) -> list[tuple[float, float]]:
    normal = statistics.NormalDist()
    ranks = [sum(other < value for other in x) + (sum(other == value for other in x) + 1) / 2 for value in x]
    return [(normal.inv_cdf((rank - 0.5) / len(x)), 1.0) for rank in ranks]


ACROSS: dict[str, tuple[Callable[[Values], list[tuple[float, float]]], dict[str, Any]]] = {
    "cs_minmax": (places, {}),
    "cs_robust_zscore": (robust, {}),
    "cs_clip_mad": (clipped_by_median, {"k": 2.0}),
    "cs_clip_std": (clipped_by_std, {"k": 1.5}),
    "cs_winsorize": (lambda x: pulled(x, quantile(x, Fraction(0.1)), quantile(x, 1 - Fraction(0.1))), {"q": 0.1}),
    "cs_median": (lambda x: [(float(quantile(x, Fraction(1, 2))), 0.0)] * len(x), {}),
    "cs_quantile": (scores, {}),
}


def of_row(name: str, operands: list[np.ndarray], **literals: Any) -> np.ndarray:
    shape = operands[0].shape
    context = Context(age=np.ones(shape, np.int32), first_bar=7, population=np.ones(shape, np.bool_))
    return run(OPERATORS[name], operands, literals, context)


def compared(got: np.ndarray, want: list[tuple[float, float]]) -> None:
    for value, (exact, scale) in zip(got, want, strict=True):
        assert math.isnan(value) == math.isnan(exact)
        assert math.isnan(exact) or abs(value - exact) <= LIMIT * max(abs(exact), scale), (value, exact)


@pytest.mark.parametrize("case", VALUES)
@pytest.mark.parametrize("name", ACROSS)
def test_order_across_symbols(name: str, case: str) -> None:
    exact, literals = ACROSS[name]
    x = VALUES[case]
    got = of_row(name, [x], **literals)
    for row in range(len(x)):
        there = ~np.isnan(x[row])
        compared(got[row, there], exact([Fraction(float(value)) for value in x[row, there]]))


@pytest.mark.parametrize("case", VALUES)
def test_regressions_across_symbols(case: str) -> None:
    y, x = VALUES[case], VALUES["zero mean"]
    for name in ("cs_corr", "cs_resid", "cs_vector_neut"):
        got = of_row(name, [y, x])
        for row in range(len(x)):
            there = ~np.isnan(y[row])
            u, v = ([Fraction(float(value)) for value in series[row, there]] for series in (y, x))
            left, beta, spread = fit(v, u)
            if name == "cs_corr":
                whole = root(dot(left, left) + beta * beta * dot(spread, spread))
                r = math.nan if is_flat(u) else float(beta) * root(dot(spread, spread)) / whole
                want = [(r, 1.0)] * len(u)
            elif name == "cs_resid":
                want = [(float(value), std(u)) for value in left]
            else:
                share = dot(u, v) / dot(v, v)
                want = [(float(a - share * b), root(dot(u, u))) for a, b in zip(u, v, strict=True)]
            compared(got[row, there], want)


# ---- one number -----------------------------------------------------------------------------------------------------

NEAR_ONE = np.array([1e-300, 1e-17, 1e-9, 0.3, 0.999999999, 1.0, 1.000000001, 1.7, 3.0, 6e4, 1e15, 7e300])
SIGNED = np.concatenate([-NEAR_ONE[::-1], NEAR_ONE])
UNIT = np.array([-1.0, -0.999999999, -0.3, -1e-17, 1e-300, 1e-9, 0.5, 0.999999999])
SMALL = np.concatenate([-np.geomspace(1e-17, 600, 40), np.geomspace(1e-17, 600, 40)])
ONE_NUMBER: dict[str, tuple[np.ndarray, Callable[[Any], Any]]] = {
    "sqrt": (NEAR_ONE, np.sqrt), "cbrt": (SIGNED, np.cbrt), "square": (SMALL, np.square),
    "exp": (SMALL, np.exp), "expm1": (SMALL, np.expm1), "log": (NEAR_ONE, np.log), "log10": (NEAR_ONE, np.log10),
    "log2": (NEAR_ONE, np.log2), "log1p": (np.concatenate([UNIT[1:], NEAR_ONE]), np.log1p),
    "sin": (SMALL, np.sin), "cos": (SMALL, np.cos), "tan": (SMALL, np.tan), "asin": (UNIT, np.arcsin),
    "acos": (UNIT, np.arccos), "atan": (SIGNED, np.arctan), "sinh": (SMALL, np.sinh), "cosh": (SMALL, np.cosh),
    "tanh": (SMALL, np.tanh), "sigmoid": (SMALL, lambda x: 1 / (1 + np.exp(-x))),
    "logit": (np.array([1e-300, 1e-9, 0.3, 0.5000001, 0.999999999]), lambda p: np.log(p / (1 - p))),
    "softsign": (SIGNED, lambda x: x / (1 + np.abs(x))), "inverse": (SMALL, lambda x: 1 / x),
    "s_log_1p": (SIGNED, lambda x: np.sign(x) * np.log1p(np.abs(x))),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_NUMBER)
def test_functions_of_one_number(name: str) -> None:
    """Relative to the result, whatever its size; sines and logarithms relative to 1 where they cross 0."""
    x, exact = ONE_NUMBER[name]
    with np.errstate(all="ignore"):
        want = np.asarray(exact(x.astype(np.longdouble)))
    context = Context(age=np.ones((len(x), 1), np.int32), first_bar=0)
    got = run(OPERATORS[name], [np.ascontiguousarray(x[:, None])], {}, context)[:, 0]
    there = np.isfinite(want.astype(np.float64)) & (np.abs(want) > 1e-300)
    assert there.sum() > len(x) // 2
    scale = np.abs(want[there]) + (1e-3 if name in ("sin", "cos", "tan", "logit") else 0.0)
    assert (np.abs(got[there].astype(np.longdouble) - want[there]) <= 1e-12 * scale).all()


# ---- every row ------------------------------------------------------------------------------------------------------

ELSEWHERE = {
    "ts_moment", "ts_resid", "ts_rsquare", "ts_regression", "ts_co_skew", "ts_co_kurt", "ts_partial_corr",
    "ts_weighted_mean", *(f"{head}_{name}" for head in ("cs", "grp") for name in
                          ("sum", "mean", "demean", "std", "zscore", "scale")),
}  # fmt: skip
"""In the other accuracy tests, beside what their tables name."""
ONE_OPERATION = {
    "add", "sub", "mul", "div", "mod", "pow", "neg", "abs", "floor", "ceil", "round", "fraction", "signed_power",
    "atan2", "clip", "div_safe", "delta", "returns", "ts_max_diff", "ts_min_diff", "vwap", "taker_imbalance",
    "basis", "oi_change", "ts_max_drawdown", "beta_to", "ts_entropy",
}  # fmt: skip
"""One or two operations of IEEE 754 or of the C library on values as they are; `beta_to` is `ts_beta` of `of`."""
CHOOSES = {
    "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "xor", "sign", "max2", "min2", "where", "between",
    "is_nan", "fill", "nan_out", "bucket", "premium", "age", "asof", "qlib_definite", "qlib_only", "shift", "ts_min",
    "ts_max", "ts_argmin", "ts_argmax", "ts_rank", "ts_count", "ts_count_nan", "ts_count_true", "cross_up",
    "cross_down", "qlib_idxmax", "qlib_idxmin", "ffill", "cum_max", "cum_min", "cum_count", "bars_since", "value_when",
    "days_from_last_change", "trade_when", "hump", "cs_rank", "cs_top_bottom", "cs_qcut", "cs_count", "grp_rank",
    "grp_median", "grp_count", "adv_rank", "of",
}  # fmt: skip
"""Values of the input, comparisons, ranks and counts: nothing is rounded but the last division."""


def test_every_row_is_measured_or_rounds_nothing() -> None:
    here = {"sum_split_by", "ts_beta", "funding", "ts_realized_vol", "logret", "hull", "cs_corr", "cs_resid",
            "cs_vector_neut"}  # fmt: skip
    measured = {*first.ALONE, *first.PAIRED, *more.ALONE, *WINDOWS, *RECURSIVE, *ACROSS, *ONE_NUMBER, *ELSEWHERE, *here}
    assert not measured & (ONE_OPERATION | CHOOSES)
    assert measured | ONE_OPERATION | CHOOSES == set(OPERATORS)
    assert D > SPAN
