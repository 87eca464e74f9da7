"""Error of moments, regressions and weighted means against whole-number arithmetic, also under cancellation."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context

from ...twins_more import dot, root
from .series import run
from .test_accuracy import LIMIT, ROWS, SERIES, D

Values = list[Fraction]
STEP = 3
"""Every third window: they overlap all but three rows."""


def centred(x: Values) -> tuple[Values, Fraction]:
    """Return whole-number deviations from the mean and the size of their unit: whole numbers need no reducing."""
    unit = Fraction(1, len(x) * max(value.denominator for value in x))
    whole = [int(value / unit) for value in x]
    mean = sum(whole) // len(x)  # exact: every value is a multiple of len(x)
    return [Fraction(value - mean) for value in whole], unit


def power_sum(u: Values, k: int) -> int:
    return sum(int(value) ** k for value in u)


def check(name: str, arrays: list[np.ndarray], exact: Callable[..., tuple[float, float]], **literals: Any) -> None:
    """Compare with `exact(*window values)` -> (value, natural scale); NaN: missing."""
    operator = OPERATORS[name]
    age = np.arange(1, ROWS + 1, dtype=np.int32)[:, None].copy()
    columns = [np.ascontiguousarray(array[:, None]) for array in arrays[: len(operator.operands)]]
    got = run(operator, columns, {"d": D, **literals}, Context(age=age, first_bar=1_000_001))[:, 0]
    checked = 0
    for t in range(D - 1, ROWS, STEP):
        rows = [r for r in range(t - D + 1, t + 1) if not any(math.isnan(array[r]) for array in arrays)]
        if len(rows) < math.ceil(0.9 * D) or rows[-1] != t:
            continue
        want, scale = exact(*([Fraction(float(array[r])) for r in rows] for array in arrays))
        if math.isnan(want):
            assert math.isnan(got[t]), (t, got[t])
            continue
        assert abs(got[t] - want) <= LIMIT * max(abs(want), scale), (t, got[t], want)
        checked += 1
    assert checked > 8


def unless_flat(exact: Callable[[Values], tuple[float, float]]) -> Callable[[Values], tuple[float, float]]:
    return lambda x: (math.nan, 1.0) if is_flat(x) else exact(x)


def place(x: Values) -> tuple[float, float]:
    spread = max(x) - min(x)
    flat = spread <= Fraction(1, 10**12) * max(map(abs, x))
    return (math.nan if flat else float((x[-1] - min(x)) / spread)), 1.0


def skew(x: Values) -> tuple[float, float]:
    u, _ = centred(x)
    n, m2, m3 = len(x), power_sum(u, 2), power_sum(u, 3)
    size = root(Fraction(m3 * m3, m2**3) * n)
    return math.copysign(size, m3) * math.sqrt(n * (n - 1)) / (n - 2), 1.0


def kurt(x: Values) -> tuple[float, float]:
    u, _ = centred(x)
    n = len(x)
    ratio = Fraction(n * power_sum(u, 4), power_sum(u, 2) ** 2)
    return float(Fraction(n - 1, (n - 2) * (n - 3)) * ((n + 1) * ratio - 3 * (n - 1))), 1.0


def moment(k: int) -> Callable[[Values], tuple[float, float]]:
    def exact(x: Values) -> tuple[float, float]:
        u, unit = centred(x)
        return float(power_sum(u, k) * unit**k / len(x)), (root(Fraction(power_sum(u, 2), len(x))) * float(unit)) ** k

    return exact


def std(x: Values, ddof: int = 1) -> float:
    u, unit = centred(x)
    return root(Fraction(power_sum(u, 2), len(x) - ddof)) * float(unit)


def mean(x: Values) -> Fraction:
    return sum(x, Fraction(0)) / len(x)


def fit(x: Values, y: Values) -> tuple[Values, Fraction, Values]:
    """Return residuals of y on x, slope, deviations of x, all exact."""
    mean_x, mean_y = mean(x), mean(y)
    u, v = [value - mean_x for value in x], [value - mean_y for value in y]
    beta = dot(u, v) / dot(u, u)
    return [b - beta * a for a, b in zip(u, v, strict=True)], beta, u


def is_flat(x: Values) -> bool:
    """The rule of the rows: std at or below 1e-12 of the largest size."""
    return std(x) <= 1e-12 * float(max(map(abs, x)))


def finite_product(x: Values) -> tuple[float, float]:
    exact = math.prod(x, start=Fraction(1))
    return (float(exact) if abs(exact) < 2**1023 else math.nan), 0.0


ALONE: dict[str, Callable[[Values], tuple[float, float]]] = {
    "ts_skew": unless_flat(skew),
    "ts_kurt": unless_flat(kurt),
    "ts_mad": lambda x: (float(sum(abs(value - mean(x)) for value in x) / len(x)), std(x)),
    "ts_av_diff": lambda x: (float(x[-1] - mean(x)), std(x, 0)),
    "ts_ir": unless_flat(lambda x: (float(mean(x)) / std(x), 1.0)),
    "ts_l2_norm": lambda x: (root(dot(x, x)), 0.0),
    "ts_scale": place,
    "ts_product": finite_product,
}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("kind", SERIES)
def test_one_input_against_whole_numbers(name: str, kind: str) -> None:
    check(name, [SERIES[kind]], ALONE[name])


@pytest.mark.parametrize("k", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["fine noise with holes", "1e12 spike in fine noise", "collapse from 1e9 to 1e-3"])
def test_central_moments(k: int, kind: str) -> None:
    check("ts_moment", [SERIES[kind]], moment(k), k=k)


@pytest.mark.parametrize("kind", SERIES)
def test_line_through_the_window(kind: str) -> None:
    x = SERIES[kind]
    line = np.where(np.isnan(x), np.nan, np.arange(ROWS, dtype=np.float64))

    def residual(values: Values, rows: Values) -> tuple[float, float]:
        return float(fit(rows, values)[0][-1]), std(values)

    def explained(values: Values, rows: Values) -> tuple[float, float]:
        if is_flat(values):
            return math.nan, 1.0
        left, beta, u = fit(rows, values)
        return float(1 - dot(left, left) / (dot(left, left) + beta * beta * dot(u, u))), 1.0

    for name, out, exact in (("ts_resid", "resid", residual), ("ts_rsquare", "r2", explained)):
        # The twin of the row number is handed over as data; the operator counts for itself.
        check(name, [x, line], exact)
        check("ts_regression", [x, line], exact, out=out)


@pytest.mark.parametrize("kind", SERIES)
@pytest.mark.parametrize("other", ["price 6e4, noise 1e-3", "nearly the same"])
def test_regression(kind: str, other: str) -> None:
    x = SERIES["zero mean"] if other == "nearly the same" else SERIES[other][::-1].copy()
    y = SERIES[kind]
    if other == "nearly the same":
        x = np.nan_to_num(y, nan=np.nanmean(y)) * (1 + 1e-7 * x)

    def output(out: str) -> Callable[[Values, Values], tuple[float, float]]:
        def exact(y: Values, x: Values) -> tuple[float, float]:
            left, beta, u = fit(x, y)
            slope = std(y) / std(x)
            if out == "resid":
                return float(left[-1]), std(y)
            if out == "se_beta":
                return root(dot(left, left) / (len(x) - 2) / dot(u, u)), slope / math.sqrt(len(x) - 2)
            if out == "beta":
                return float(beta), slope
            if out == "fitted":
                return float(y[-1] - left[-1]), std(y)
            level = float(mean(y) - beta * mean(x))
            return level, abs(float(mean(y))) + slope * abs(float(mean(x)))

        return exact

    for out in ("resid", "se_beta", "beta", "fitted", "alpha"):
        check("ts_regression", [y, x], output(out), out=out)


@pytest.mark.parametrize("kind", SERIES)
def test_comoments_and_partial_correlation(kind: str) -> None:
    def joint(power: int) -> Callable[[Values, Values], tuple[float, float]]:
        def exact(y: Values, x: Values) -> tuple[float, float]:
            if is_flat(y) or is_flat(x):
                return math.nan, 1.0
            (u, unit_u), (v, unit_v) = centred(y), centred(x)
            top = sum((a * b**power for a, b in zip(u, v, strict=True)), Fraction(0)) / len(x)
            return float(top * unit_u * unit_v**power) / std(y, 0) / std(x, 0) ** power, 1.0

        return exact

    def partial(x: Values, y: Values, z: Values) -> tuple[float, float]:
        if is_flat(x) or is_flat(y) or is_flat(z):
            return math.nan, 1.0
        left, right = fit(z, x)[0], fit(z, y)[0]
        if std(left) <= 1e-6 * std(x) or std(right) <= 1e-6 * std(y):
            return math.nan, 1.0
        return float(dot(left, right)) / root(dot(left, left)) / root(dot(right, right)), 1.0

    y, x = SERIES[kind], SERIES["price 6e4, noise 1e-3"][::-1].copy()
    check("ts_co_skew", [y, x], joint(2))
    check("ts_co_kurt", [x, y], joint(3))
    check("ts_partial_corr", [x, SERIES["zero mean"][::-1].copy(), y], partial)
    check("ts_partial_corr", [y, x, np.nan_to_num(y, nan=6e4) * (1 + 1e-5 * SERIES["zero mean"])], partial)


@pytest.mark.parametrize("kind", SERIES)
def test_weighted_means(kind: str) -> None:
    def weighted(x: Values, w: Values) -> tuple[float, float]:
        return float(dot(x, w) / sum(w)), std(x)

    check("ts_weighted_mean", [SERIES[kind], np.exp(SERIES["zero mean"])], weighted)


def test_a_departed_spike_leaves_no_trace() -> None:
    """Bits after the spike has left equal those of a series that never had it."""
    clean = SERIES["price 6e4, noise 1e-3"][:, None].copy()
    spiked = clean.copy()
    spiked[60] = 1e12
    other = SERIES["zero mean"][:, None].copy()
    age = np.arange(1, ROWS + 1, dtype=np.int32)[:, None].copy()
    names = [name for name, row in OPERATORS.items() if row.family == "time" and name not in ("hull", "ts_count_nan")]
    for name in names:
        operator = OPERATORS[name]
        if operator.operands[0].kind == "mask" or operator.lookback(operator.complete({"d": D})) != D - 1:
            continue
        literals = {"d": D, "k": 3, "f": 0.9, "q": 0.3, "how": "sum"}
        given = {k: v for k, v in literals.items() if k in [argument.name for argument in operator.literal_arguments]}
        others = [other, other[::-1].copy()][: len(operator.operands) - 1]
        context = Context(age=age, first_bar=3)
        got, want = (run(operator, [x, *others], given, context) for x in (spiked, clean))
        assert got[60 + D :].tobytes() == want[60 + D :].tobytes(), name


@pytest.mark.parametrize("value", [0.1, 1e-8, 6e4, 1e12, -3.3])
def test_flat_windows_are_exactly_flat(value: float) -> None:
    x = np.full((60, 1), value)
    age = np.arange(1, 61, dtype=np.int32)[:, None].copy()
    weights = np.arange(1.0, 61.0)[:, None].copy()
    context = Context(age=age, first_bar=5)
    flat = {
        "ts_skew": np.nan, "ts_kurt": np.nan, "ts_mad": 0.0, "ts_scale": np.nan, "ts_av_diff": 0.0, "ts_max_diff": 0.0,
        "ts_min_diff": 0.0, "ts_ir": np.nan, "ts_rsquare": np.nan, "ts_resid": 0.0, "ts_entropy": 0.0, "dema": value,
        "tema": value, "kama": value, "hull": value, "ts_weighted_mean": value, "ts_beta": 0.0,
    }  # fmt: skip
    for name, want in flat.items():
        operator = OPERATORS[name]
        names = [argument.name for argument in operator.literal_arguments]
        given: dict[str, Any] = {k: 13 for k in ("d", "span") if k in names}
        got = run(operator, [x, weights][: len(operator.array_arguments)], given, context)
        np.testing.assert_array_equal(got[40:], want, err_msg=name)
    decayed = run(OPERATORS["decay_exp"], [x], {"d": 13, "f": 0.9}, context)
    np.testing.assert_array_equal(decayed[13:], value)


def test_only_the_result_of_a_product_can_overflow() -> None:
    x = np.array([1e200, 1e200, 1e-250, 1e-300, 5e-324, 1e300])[:, None]
    context = Context(age=np.arange(1, 7, dtype=np.int32)[:, None].copy(), first_bar=1)
    got = run(OPERATORS["ts_product"], [x], {"d": 4}, context)[:, 0]
    np.testing.assert_allclose(got[3:], [1e-150, 0.0, 1e-250 * 1e-300 * 5e-324 * 1e300], rtol=1e-12)
    assert np.isnan(run(OPERATORS["ts_product"], [x], {"d": 2}, context)[1, 0])
