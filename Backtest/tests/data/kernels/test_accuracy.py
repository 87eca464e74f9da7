"""Error against exact rational arithmetic stays below 1e-9 of max(|result|, natural scale), also under cancellation."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context

from .series import run

ROWS, D = 150, 37
LIMIT = 1e-9
Exact = list[Fraction]


def _series() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    price = 6e4 + 1e-3 * rng.standard_normal(ROWS)
    spiked = 100 * np.exp(0.01 * rng.standard_normal(ROWS).cumsum())
    spiked[20] = 1e12
    spiked_fine = price.copy()
    spiked_fine[D + 5] = 1e12
    step = np.where(np.arange(ROWS) < 70, 1e9, 1e-3) + rng.standard_normal(ROWS) * 1e-6
    holes = np.where(rng.random(ROWS) < 0.08, np.nan, price)
    return {
        "price 6e4, noise 1e-3": price,
        "price 1e-8": 1e-8 * np.exp(0.01 * rng.standard_normal(ROWS).cumsum()),
        "price 1e-8, noise 1e-13": 1e-8 + 1e-13 * rng.standard_normal(ROWS),
        "1e12 spike": spiked,
        "1e12 spike in fine noise": spiked_fine,
        "collapse from 1e9 to 1e-3": step,
        "zero mean": rng.standard_normal(ROWS),
        "fine noise with holes": holes,
    }


SERIES = _series()


def _mean(x: Exact) -> Fraction:
    return sum(x, Fraction(0)) / len(x)


def _moment(x: Exact, y: Exact) -> Fraction:
    mean_x, mean_y = _mean(x), _mean(y)
    return sum(((u - mean_x) * (v - mean_y) for u, v in zip(x, y, strict=True)), Fraction(0))


def _root(value: Fraction) -> float:
    """Square root of a fraction of any size, to float precision."""
    if value == 0:
        return 0.0
    shift = 2 * max(0, 80 + (value.denominator.bit_length() - value.numerator.bit_length()) // 2)
    return float(Fraction(math.isqrt(int(value * 2**shift)), 2 ** (shift // 2)))


def _windows(x: np.ndarray, y: np.ndarray) -> list[tuple[int, list[int], Exact, Exact]]:
    """Return (t, rows, x, y) of every full window with enough valid pairs."""
    found = []
    for t in range(D - 1, ROWS):
        rows = [row for row in range(t - D + 1, t + 1) if not math.isnan(x[row] + y[row])]
        if len(rows) >= math.ceil(0.9 * D):
            found.append((t, rows, [Fraction(float(x[r])) for r in rows], [Fraction(float(y[r])) for r in rows]))
    return found


def _check(name: str, x: np.ndarray, y: np.ndarray, exact: Callable[..., tuple[float, float]]) -> None:
    operator = OPERATORS[name]
    age = np.arange(1, ROWS + 1, dtype=np.int32)[:, None].copy()
    arrays = [np.ascontiguousarray(a[:, None]) for a in (x, y)][: len(operator.array_arguments)]
    got = run(operator, arrays, {"d": D}, Context(age=age, first_bar=1_000_001))[:, 0]
    checked = 0
    for t, rows, u, v in _windows(x, y):
        want, scale = exact(t, rows, u, v)
        if math.isnan(want):
            assert math.isnan(got[t])
            continue
        assert abs(got[t] - want) <= LIMIT * max(abs(want), scale), (t, got[t], want)
        checked += 1
    assert checked > 30


def _sum(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    return float(sum(u)), float(sum(map(abs, u)))


def _average(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    return float(_mean(u)), _root(_moment(u, u) / len(u))


def _deviation(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    return _root(_moment(u, u) / (len(u) - 1)), 0.0


def _score(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    if rows[-1] != t or _flat(u):
        return math.nan, 1.0
    distance = u[-1] - _mean(u)
    size = _root(distance * distance * (len(u) - 1) / _moment(u, u))
    return math.copysign(size, distance), 1.0


def _linear(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    weights = [Fraction(D - (t - row)) for row in rows]
    mean = sum((w * x for w, x in zip(weights, u, strict=True)), Fraction(0)) / sum(weights)
    return float(mean), _root(_moment(u, u) / len(u))


def _line(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    places = [Fraction(row) for row in rows]
    spread = _moment(places, places)
    return float(_moment(places, u) / spread), _root(_moment(u, u) / spread)


def _flat(x: Exact) -> bool:
    return _root(_moment(x, x) / (len(x) - 1)) <= 1e-12 * max(abs(float(value)) for value in x)


def _covariance(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    if _flat(u) or _flat(v):
        return math.nan, 0.0
    return float(_moment(u, v) / (len(u) - 1)), _root(_moment(u, u) * _moment(v, v)) / (len(u) - 1)


def _correlation(t: int, rows: list[int], u: Exact, v: Exact) -> tuple[float, float]:
    if _flat(u) or _flat(v):
        return math.nan, 1.0
    shared, both = _moment(u, v), _moment(u, u) * _moment(v, v)
    return math.copysign(_root(shared * shared / both), shared), 1.0


ALONE = {
    "ts_sum": _sum,
    "ts_mean": _average,
    "ts_std": _deviation,
    "ts_zscore": _score,
    "decay_linear": _linear,
    "ts_slope": _line,
}
PAIRED = {"ts_cov": _covariance, "ts_corr": _correlation}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("kind", SERIES)
def test_one_input_against_fractions(name: str, kind: str) -> None:
    _check(name, SERIES[kind], np.zeros(ROWS), ALONE[name])


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("kind", SERIES)
def test_two_inputs_against_fractions(name: str, kind: str) -> None:
    _check(name, SERIES[kind], SERIES["price 6e4, noise 1e-3"][::-1].copy(), PAIRED[name])
    _check(name, SERIES[kind], SERIES["zero mean"], PAIRED[name])


def test_a_departed_spike_leaves_no_trace() -> None:
    """Bits after the spike has left equal those of a series that never had it."""
    clean = SERIES["price 6e4, noise 1e-3"][:, None].copy()
    spiked = clean.copy()
    spiked[60] = 1e12
    age = np.arange(1, ROWS + 1, dtype=np.int32)[:, None].copy()
    context = Context(age=age, first_bar=3)
    for name in ("ts_sum", "ts_mean", "ts_std", "ts_zscore", "ts_slope", "decay_linear", "ts_max", "ts_median"):
        got, want = (run(OPERATORS[name], [x], {"d": D}, context) for x in (spiked, clean))
        assert got[60 + D :].tobytes() == want[60 + D :].tobytes(), name
        assert got[60:66].tobytes() != want[60:66].tobytes(), name


@pytest.mark.parametrize("value", [0.1, 1e-8, 6e4, 1e12, -3.3])
def test_flat_windows_are_exactly_flat(value: float) -> None:
    x = np.full((60, 1), value)
    age = np.arange(1, 61, dtype=np.int32)[:, None].copy()
    context = Context(age=age, first_bar=5, population=np.ones((60, 1), bool))
    flat = {
        "ts_std": 0.0, "ts_var": 0.0, "ts_zscore": np.nan, "ts_slope": 0.0, "ts_mean": value, "decay_linear": value,
        "ema": value, "rma": value, "cs_demean": 0.0, "cs_zscore": np.nan,
    }  # fmt: skip
    for name, want in flat.items():
        operator = OPERATORS[name]
        names = [argument.name for argument in operator.literal_arguments]
        got = run(operator, [x], {k: 13 for k in ("d", "span") if k in names}, context)
        np.testing.assert_array_equal(got[13:], want, err_msg=name)
    assert np.isnan(run(OPERATORS["ts_corr"], [x, age * 1.0], {"d": 13}, context)).all()


def test_a_coin_at_1e_8_is_not_flat() -> None:
    """Correlation has no absolute cut-off; std below 1e-12 of the price is rounding."""
    rng = np.random.default_rng(2)
    age = np.arange(1, 101, dtype=np.int32)[:, None].copy()
    context = Context(age=age, first_bar=0)
    noise = rng.standard_normal((100, 1))
    moving, rounding = 1e-8 * (1 + 1e-6 * noise), 1 + 1e-14 * noise
    assert run(OPERATORS["ts_corr"], [moving, noise], {"d": 20}, context)[-1, 0] == pytest.approx(1, abs=1e-9)
    assert np.isnan(run(OPERATORS["ts_corr"], [rounding, noise], {"d": 20}, context)).all()
