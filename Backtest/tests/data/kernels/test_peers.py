"""Values from outside: pandas, TA-Lib, NumPy's least squares, and the numbers printed in other systems' pages."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import talib

from Backtest.data.dsl.operators import OPERATORS, Context

from .series import run

ROWS, D = 400, 21


def history(rows: int, columns: int = 1) -> Context:
    age = np.ascontiguousarray(np.broadcast_to(np.arange(1, rows + 1, dtype=np.int32)[:, None], (rows, columns)))
    return Context(age=age, first_bar=12_345)


def price(seed: int = 5, columns: int = 1) -> np.ndarray:
    return 100 * np.exp(0.01 * np.random.default_rng(seed).standard_normal((ROWS, columns)).cumsum(axis=0))


def along(name: str, *series: Any, **literals: Any) -> np.ndarray:
    arrays = [np.array(values, dtype=np.float64)[:, None] for values in series]
    return run(OPERATORS[name], arrays, literals, history(len(arrays[0])))[:, 0]


def across(name: str, *series: Any, **literals: Any) -> np.ndarray:
    arrays = [np.array(values, dtype=np.float64)[None, :] for values in series]
    shape = arrays[0].shape
    return run(OPERATORS[name], arrays, literals, Context(np.ones(shape, np.int32), 0, np.ones(shape, bool)))[0]


PANDAS = {
    "ts_skew": lambda s: s.rolling(D).skew(),
    "ts_kurt": lambda s: s.rolling(D).kurt(),
    "ts_mad": lambda s: s.rolling(D).apply(lambda w: np.abs(w - w.mean()).mean(), raw=True),
    "ts_av_diff": lambda s: s - s.rolling(D).mean(),
    "ts_max_diff": lambda s: s - s.rolling(D).max(),
    "ts_min_diff": lambda s: s - s.rolling(D).min(),
    "ts_scale": lambda s: (s - s.rolling(D).min()) / (s.rolling(D).max() - s.rolling(D).min()),
    "ts_ir": lambda s: s.rolling(D).mean() / s.rolling(D).std(),
    "ts_product": lambda s: s.rolling(D).apply(np.prod, raw=True),
    "ts_l2_norm": lambda s: (s * s).rolling(D).sum() ** 0.5,
    "ts_max_drawdown": lambda s: s.rolling(D).apply(lambda w: (w / np.maximum.accumulate(w) - 1).min(), raw=True),
    "ts_realized_vol": lambda s: (np.log(s).diff() ** 2).rolling(D).sum() ** 0.5,
    "ts_rsquare": lambda s: s.rolling(D).corr(pd.Series(np.arange(ROWS, dtype=np.float64))) ** 2,
    "ts_resid": lambda s: s.rolling(D).apply(lambda w: w[-1] - np.polyval(np.polyfit(range(D), w, 1), D - 1), raw=True),
    "cum_sum": lambda s: s.cumsum(),
    "cum_max": lambda s: s.cummax(),
    "cum_min": lambda s: s.cummin(),
    "cum_count": lambda s: s.expanding().count(),
}


@pytest.mark.parametrize("name", PANDAS)
def test_equals_pandas_without_gaps(name: str) -> None:
    x = price()[:, 0]
    literals = {} if name.startswith("cum_") else {"d": D}
    # From the first full window of returns on: pandas wants D of them, the gap rule of ours is met by 0.9 D.
    got, want = along(name, x, **literals)[D:], PANDAS[name](pd.Series(x)).to_numpy()[D:]
    np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-8 if name in ("ts_skew", "ts_kurt") else 1e-10)


def test_halflife_equals_pandas() -> None:
    x = price()[:, 0]
    for halflife in (0.5, 7.0, 12.5):
        want = pd.Series(x).ewm(halflife=halflife, adjust=False, min_periods=math.ceil(halflife)).mean()
        np.testing.assert_allclose(along("ewm_halflife", x, h=halflife), want, rtol=1e-12)


def test_beta_of_pandas() -> None:
    y, x = pd.Series(price(1)[:, 0]), pd.Series(price(2)[:, 0])
    want = y.rolling(D).cov(x) / x.rolling(D).var()
    np.testing.assert_allclose(along("ts_beta", y, x, d=D), want, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(along("ts_regression", y, x, d=D, out="beta"), want, rtol=1e-8, atol=1e-9)


def test_regression_of_numpy() -> None:
    y, x = price(1)[:D, 0], price(2)[:D, 0]
    design = np.column_stack([np.ones(D), x])
    (alpha, beta), (rest,), *_ = np.linalg.lstsq(design, y, rcond=None)
    fitted = alpha + beta * x[-1]
    error = math.sqrt(rest / (D - 2) * np.linalg.inv(design.T @ design)[1, 1])
    r2 = 1 - rest / ((y - y.mean()) ** 2).sum()
    want = {"alpha": alpha, "beta": beta, "fitted": fitted, "resid": y[-1] - fitted, "r2": r2, "se_beta": error}
    for out, value in want.items():
        assert along("ts_regression", y, x, d=D, out=out)[-1] == pytest.approx(value, rel=1e-9)


def test_partial_correlation_by_its_formula() -> None:
    x, y, z = (price(seed)[:D, 0] for seed in (1, 2, 3))
    xy, xz, yz = (np.corrcoef(u, v)[0, 1] for u, v in ((x, y), (x, z), (y, z)))
    want = (xy - xz * yz) / math.sqrt((1 - xz**2) * (1 - yz**2))
    assert along("ts_partial_corr", x, y, z, d=D)[-1] == pytest.approx(want, rel=1e-9)


def test_talib_averages() -> None:
    """KAMA agrees from its first value; TA-Lib's DEMA and TEMA begin with plain means, whose trace fades."""
    x = price()[:, 0]
    np.testing.assert_allclose(along("kama", x, d=10), talib.KAMA(x, 10), rtol=1e-12)
    for name, theirs, spans in (("dema", talib.DEMA, 2), ("tema", talib.TEMA, 3)):
        got, want = along(name, x, span=9), theirs(x, 9)
        # The warm-up is the same, the values once (1 - 0.2) ** n has worn the beginning away.
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
        assert np.isnan(got).sum() == spans * 8
        np.testing.assert_allclose(got[200:], want[200:], rtol=1e-12)


def test_hull_is_three_linear_means() -> None:
    """TA-Lib's WMA, put together as Hull's page says."""
    x = price()[:, 0]
    want = talib.WMA(2 * talib.WMA(x, 10) - talib.WMA(x, 20), 4)
    np.testing.assert_allclose(along("hull", x, d=20), want, rtol=1e-12)


def test_composed_means_are_their_compositions() -> None:
    x, context = price(3, 4), history(ROWS, 4)
    x[np.random.default_rng(0).random(x.shape) < 0.05] = np.nan

    def ema(values: np.ndarray) -> np.ndarray:
        return run(OPERATORS["ema"], [values], {"span": 6}, context)

    e1 = ema(x)
    e2 = ema(e1)
    np.testing.assert_allclose(run(OPERATORS["dema"], [x], {"span": 6}, context), 2 * e1 - e2, rtol=1e-13)
    np.testing.assert_allclose(run(OPERATORS["tema"], [x], {"span": 6}, context), 3 * e1 - 3 * e2 + ema(e2), rtol=1e-13)


def test_numbers_printed_elsewhere() -> None:
    """OPERATORS.md and the pages it quotes; sum_split_by from polars_ta's doc string."""
    clipped = across("cs_clip_std", [2, 4, 5, 6, 3, 8, 10], k=1.0, ddof=0)
    np.testing.assert_allclose(clipped, [2.82, 4, 5, 6, 3, 8, 8.04], atol=0.005)
    x, by = np.arange(10.0, 101.0, 10.0), np.arange(10.0, 0.0, -1.0)
    np.testing.assert_array_equal(along("sum_split_by", x, by, d=8, k=3, part="bottom")[7:], [210, 240, 270])
    np.testing.assert_array_equal(along("sum_split_by", x, by, d=8, k=3, part="top")[7:], [60, 90, 120])
    assert along("decay_exp", [1, 2, 3], d=3, f=0.5)[-1] == pytest.approx((3 + 1 + 0.25) / 1.75)
    assert along("ts_entropy", [1, 1, 2, 2], d=4, buckets=2)[-1] == pytest.approx(math.log(2))


def test_states_by_hand() -> None:
    nan = np.nan
    x = [1.0, 1.0, nan, 3.0, 2.0, 2.0]
    c = [0.0, 1.0, nan, 0.0, 1.0, 0.0]
    no = [0.0] * 6
    end = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]
    for name, series, literals, want in (
        ("bars_since", [c], {}, [nan, 0, nan, 2, 0, 1]),
        ("value_when", [c, x], {}, [nan, 1, nan, 1, 2, 2]),
        ("trade_when", [c, x, no], {}, [nan, 1, nan, 1, 2, 2]),
        ("trade_when", [c, x, end], {}, [nan, 1, nan, nan, 2, 2]),
        ("days_from_last_change", [x], {}, [0, 1, nan, 0, 0, 1]),
        ("hump", [x], {"limit": 0.5}, [1, 1, nan, 1.5, 1.5, 1.5]),
        ("cum_sum", [x], {}, [1, 2, nan, 5, 7, 9]),
        ("cum_count", [x], {}, [1, 2, 2, 3, 4, 5]),
        ("cross_up", [x, [2.0] * 6], {}, [nan, 0, nan, nan, 0, 0]),
        ("cross_down", [[3.0, 2, 1, 2, 3, 1], [2.0] * 6], {}, [nan, 0, 1, 0, 0, 1]),
        ("ts_count_nan", [x], {"d": 3}, [nan, nan, 1, 1, 1, 0]),
    ):
        np.testing.assert_array_equal(along(name, *series, **literals), want, err_msg=name)


def test_ties_by_hand() -> None:
    x, same = [1.0, 2.0, 4.0, 8.0], [5.0] * 4
    for k, top, bottom in ((1, 8, 1), (3, 14, 7)):
        assert along("sum_split_by", x, same, d=4, k=k, part="top")[3] == top
        assert along("sum_split_by", x, same, d=4, k=k, part="bottom")[3] == bottom
    for n, want in ((1, [0, 1, 0, 0, 0]), (2, [0, 1, 1, 0, 0]), (3, [0, 1, 1, 1, 0]), (4, [1, 1, 1, 1, 0])):
        np.testing.assert_array_equal(across("adv_rank", [5, 7, 7, 7, 1], n=n, d=1), want)


def test_cross_sections_of_pandas_and_numpy() -> None:
    rng = np.random.default_rng(8)
    x, y, z = rng.standard_normal((3, 41))
    s = pd.Series(x)
    np.testing.assert_array_equal(across("cs_qcut", x, q=7), pd.qcut(s, 7, labels=False))
    np.testing.assert_array_equal(across("cs_qcut", [1, 2, 2, 3, 4], q=2), [0, 0, 0, 1, 1])
    mad = (s - s.median()).abs().median() * 1.4826
    np.testing.assert_allclose(across("cs_robust_zscore", x), (s - s.median()) / mad, rtol=1e-12)
    np.testing.assert_allclose(across("cs_clip_mad", x, k=1.0), s.clip(s.median() - mad, s.median() + mad), rtol=1e-12)
    np.testing.assert_allclose(across("cs_minmax", x), (s - s.min()) / (s.max() - s.min()), rtol=1e-12)
    for name in ("mean", "median", "std", "sum", "count"):
        np.testing.assert_allclose(across(f"cs_{name}", x), getattr(s, name)(), rtol=1e-12)
    np.testing.assert_allclose(across("cs_corr", x, y), np.corrcoef(x, y)[0, 1], rtol=1e-12)
    design = np.column_stack([np.ones(41), y, z])
    want = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    np.testing.assert_allclose(across("cs_resid", x, y, z), want, rtol=1e-9)
    # The third is given by the other two: nothing more is taken out.
    np.testing.assert_allclose(across("cs_resid", x, y, z, y + 2 * z), want, rtol=1e-9)
    neutral = across("cs_vector_neut", x, y)
    assert abs(neutral @ y) < 1e-13
    np.testing.assert_allclose(neutral, x - y * (x @ y) / (y @ y), rtol=1e-12)


def test_normal_scores_invert_the_error_function() -> None:
    n = 2001
    scores = across("cs_quantile", np.random.default_rng(1).permutation(n).astype(np.float64))
    below = [0.5 * math.erfc(-z / math.sqrt(2)) for z in sorted(scores)]
    np.testing.assert_allclose(below, (np.arange(1, n + 1) - 0.5) / n, rtol=1e-13)
    np.testing.assert_array_equal(across("cs_quantile", [5.0]), [0.0])
    np.testing.assert_allclose(
        across("cs_quantile", [1, 1, 2, 2]), [-0.6744897501960817] * 2 + [0.6744897501960817] * 2
    )
