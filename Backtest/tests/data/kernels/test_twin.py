"""Every operator equals its slow twin; a few also equal pandas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from Backtest.data.dsl.operators import OPERATORS, Context, Operator

from ...reference import REFERENCE
from .series import literal_cases, names_of, operands_of, run, sample

RELATIVE = 1e-9
CASES = [
    pytest.param(operator, literals, id=f"{operator.name}-{k}")
    for operator in OPERATORS.values()
    for k, literals in enumerate(literal_cases(operator))
]


UNIT_SCALE = {
    "oi_change",
    "returns", "logret", "sin", "cos", "logit", "ts_zscore", "ts_corr", "ts_skew", "ts_kurt", "ts_rsquare", "ts_scale",
    "ts_partial_corr", "ts_co_skew", "ts_co_kurt", "ts_max_drawdown", "cs_zscore", "cs_robust_zscore", "cs_corr",
    "cs_quantile", "grp_zscore",
}  # fmt: skip
STD_SCALE = {"ts_mean", "decay_linear", "decay_exp", "ts_slope", "ts_av_diff", "ts_resid", "ts_mad", "hull"}
LARGEST_SCALE = {
    "cs_demean", "cs_mean", "cs_sum", "cs_resid", "cs_vector_neut", "cs_clip_std", "ema", "rma", "ewm_halflife", "dema",
    "tema", "kama", "cum_sum", "hump", "grp_demean", "grp_mean", "grp_sum",
}  # fmt: skip


def scale_of(operator: Operator, operands: list[np.ndarray], literals: dict[str, Any], context: Context) -> Any:
    """Return the natural scale (DESIGN section 5 rule 7), below which relative error means nothing."""
    name, spread = operator.name, {"min_periods": None, **literals, "ddof": 0}
    if name == "beta_to":
        return scale_of_two("ts_beta", [*operands, REFERENCE["of"](operands, literals, context)], spread, context)
    if name in UNIT_SCALE:
        return 1.0
    if name in LARGEST_SCALE:
        return np.nanmax(np.abs(operands[0]), axis=1 if operator.family == "cross" else 0, keepdims=True, initial=0)
    if name in STD_SCALE:
        return REFERENCE["ts_std"](operands, spread, context)
    if name == "ts_moment":
        return REFERENCE["ts_std"](operands, spread, context) ** literals["k"]
    if name == "ts_sum":
        return REFERENCE["ts_sum"]([abs(operands[0])], literals, context)
    if len(operands) < 2 or operator.family != "time" or operator.result == "mask":
        return 0.0
    return scale_of_two(name, operands, spread, context)


def scale_of_two(name: str, operands: list[np.ndarray], literals: dict[str, Any], context: Context) -> Any:
    """Return the natural scale of a statistic of two series."""
    there = ~np.isnan(operands[0] + operands[1])
    first, second = (np.where(there, operand, np.nan) for operand in operands)
    if name == "funding":
        totals = [
            REFERENCE["ts_sum"]([values], literals, context)
            for values in (abs(operands[0]), abs(operands[1]), operands[1])
        ]
        with np.errstate(all="ignore"):
            mean = totals[0] / abs(totals[2]) * (1 + totals[1] / abs(totals[2]))
        return totals[0] if literals["how"] == "sum" else mean
    if name == "sum_split_by":
        return REFERENCE["ts_sum"]([abs(first)], literals, context)
    if name == "ts_weighted_mean":
        weights = [REFERENCE["ts_sum"]([w], literals, context) for w in (second, abs(second))]
        middle = REFERENCE["ts_mean"]([first], literals, context)
        with np.errstate(all="ignore"):
            return REFERENCE["ts_max"]([abs(first)], literals, context) * weights[1] / abs(weights[0]) + abs(middle)
    std_y, std_x = (REFERENCE["ts_std"]([series], literals, context) for series in (first, second))
    if name == "ts_cov":
        return std_y * std_x
    out = literals.get("out", "beta")
    if out == "r2":
        return 1.0
    if out in ("resid", "fitted"):
        return std_y
    with np.errstate(all="ignore"):
        slope = std_y / std_x
        if out != "alpha":
            return slope
        mean_y, mean_x = (REFERENCE["ts_mean"]([series], literals, context) for series in (first, second))
        return abs(mean_y) + slope * abs(mean_x)


def assert_close(operator: Operator, operands: list[np.ndarray], literals: dict[str, Any], context: Context) -> None:
    got, want = run(operator, operands, literals, context), REFERENCE[operator.name](operands, literals, context)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg="missing where the twin has a value")
    scale = np.nan_to_num(scale_of(operator, operands, literals, context))
    wrong = np.abs(got - want) > RELATIVE * np.maximum(np.abs(want), scale)
    assert not wrong.any(), f"{np.argwhere(wrong)[:5]}: {got[wrong][:5]} against {want[wrong][:5]}"


def test_every_operator_has_a_twin() -> None:
    assert set(REFERENCE) == set(OPERATORS)


@pytest.mark.parametrize("operator, literals", CASES)
def test_equals_twin_on_awkward_series(operator: Operator, literals: dict[str, Any]) -> None:
    x, context = sample()
    assert_close(operator, operands_of(operator, x, context), literals, context)


@st.composite
def small_markets(draw: st.DrawFn) -> tuple[np.ndarray, Context]:
    """A few symbols with listings, holes and ties anywhere, on a clock that begins anywhere."""
    rows, symbols = draw(st.integers(1, 24)), draw(st.integers(1, 3))
    values = st.one_of(st.just(np.nan), st.integers(-2, 3).map(float), st.floats(-1e3, 1e3).map(lambda v: round(v, 3)))
    x = np.array(draw(st.lists(values, min_size=rows * symbols, max_size=rows * symbols))).reshape(rows, symbols)
    starts = st.lists(st.sampled_from(["on", "on", "on", "on", "begin", "end"]), min_size=rows, max_size=rows)
    age = np.zeros((rows, symbols), dtype=np.int32)
    for s in range(symbols):
        now = draw(st.integers(0, 4))
        for t, event in enumerate(draw(starts)):
            now = {"begin": 1, "end": 0, "on": now + 1 if now else 0}[event]
            age[t, s] = now
    x[age == 0] = np.nan
    first = draw(st.integers(-20, 20))
    return x, Context(age=age, first_bar=first, population=~np.isnan(x), symbols=names_of(x))


@pytest.mark.parametrize("operator", [o for o in OPERATORS.values() if o.family != "elementwise"], ids=lambda o: o.name)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(market=small_markets(), choice=st.integers(0, 1000))
def test_equals_twin_anywhere(operator: Operator, market: tuple[np.ndarray, Context], choice: int) -> None:
    x, context = market
    cases = literal_cases(operator)
    literals = cases[choice % len(cases)]
    assert_close(operator, operands_of(operator, x, context), literals, context)


PANDAS = {
    "ts_sum": lambda s, d: s.rolling(d).sum(),
    "ts_mean": lambda s, d: s.rolling(d).mean(),
    "ts_std": lambda s, d: s.rolling(d).std(),
    "ts_var": lambda s, d: s.rolling(d).var(),
    "ts_min": lambda s, d: s.rolling(d).min(),
    "ts_max": lambda s, d: s.rolling(d).max(),
    "ts_median": lambda s, d: s.rolling(d).median(),
    "ts_rank": lambda s, d: s.rolling(d).rank(pct=True),
    "shift": lambda s, d: s.shift(d),
    "delta": lambda s, d: s.diff(d),
    "returns": lambda s, d: s.pct_change(d),
    "rma": lambda s, d: s.ewm(alpha=1 / d, adjust=False, min_periods=d).mean(),
    "ema": lambda s, d: s.ewm(span=d, adjust=False, min_periods=d).mean(),
}


@pytest.mark.parametrize("name", PANDAS)
def test_equals_pandas_without_gaps(name: str) -> None:
    rng = np.random.default_rng(5)
    x = 100 * np.exp(0.01 * rng.standard_normal((500, 3)).cumsum(axis=0))
    age = np.ascontiguousarray(np.broadcast_to(np.arange(1, 501, dtype=np.int32)[:, None], x.shape))
    d = 21
    literals = {"span": d} if name == "ema" else {"d": d}
    got = run(OPERATORS[name], [x], literals, Context(age=age, first_bar=12_345))
    want = pd.DataFrame(x).apply(lambda series: PANDAS[name](series, d)).to_numpy()
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


def test_corr_and_cov_equal_pandas_without_gaps() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.standard_normal((2, 300, 1)).cumsum(axis=1)
    age = np.arange(1, 301, dtype=np.int32)[:, None].copy()
    context = Context(age=age, first_bar=7)
    rolling = pd.Series(x[:, 0]).rolling(30)
    other = pd.Series(y[:, 0])
    np.testing.assert_allclose(
        run(OPERATORS["ts_corr"], [x, y], {"d": 30}, context)[:, 0], rolling.corr(other).to_numpy(), rtol=1e-8
    )
    np.testing.assert_allclose(
        run(OPERATORS["ts_cov"], [x, y], {"d": 30}, context)[:, 0], rolling.cov(other).to_numpy(), rtol=1e-8
    )


def history(n: int) -> Context:
    return Context(age=np.arange(1, n + 1, dtype=np.int32)[:, None].copy(), first_bar=0)


def last(name: str, values: list[float], **literals: Any) -> float:
    column = np.array(values, dtype=np.float64)[:, None]
    return float(run(OPERATORS[name], [column], literals, history(len(values)))[-1, 0])


def test_worked_examples_along_time() -> None:
    """Numbers printed in OPERATORS.md."""
    assert last("decay_linear", [1, 2, 3], d=3) == pytest.approx(14 / 6)
    assert last("decay_linear", [6, 8, 10], d=3) == pytest.approx(52 / 6)
    assert last("ts_rank", [10, 12, 11, 15, 13], d=5, norm="n-1") == 0.75


def test_worked_examples_across_symbols() -> None:
    """Numbers printed in OPERATORS.md."""
    row = Context(age=np.ones((1, 5), np.int32), first_bar=0, population=np.ones((1, 5), bool))
    scores = run(OPERATORS["cs_zscore"], [np.array([[100.0, 0, 50, 60, 25]])], {"ddof": 0}, row)
    np.testing.assert_allclose(scores, [[1.57, -1.39, 0.09, 0.39, -0.65]], atol=0.006)
    shares = run(OPERATORS["cs_scale"], [np.array([[2.0, -3, 5, np.nan, np.nan]])], {}, row)
    np.testing.assert_allclose(shares, [[0.2, -0.3, 0.5, np.nan, np.nan]], atol=1e-15)
    ranks = run(OPERATORS["cs_rank"], [np.array([[4.0, 3, 6, 10, 2]])], {}, row)
    np.testing.assert_array_equal(ranks, [[0.6, 0.4, 0.8, 1.0, 0.2]])
