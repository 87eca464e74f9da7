"""The plain loops of a block and its general ones give the same bits, and so do any number of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from Backtest.data.dsl.operators import OPERATORS, Context
from Backtest.data.kernels import chain
from Backtest.data.kernels.rows import PIECE, WIDTH

from .series import run, same_bits

ROWS = 560
KERNELS: dict[str, dict[str, Any]] = {
    "ts_sum": {}, "ts_mean": {}, "ts_count": {}, "ts_var": {}, "ts_std": {}, "ts_zscore": {}, "decay_linear": {},
    "ts_max": {}, "ts_argmin": {}, "ts_cov": {}, "ts_corr": {}, "ts_slope": {}, "ts_rank": {"norm": "n"},
    "ts_median": {}, "ts_quantile": {"q": 0.3}, "ts_rsquare": {}, "ts_resid": {}, "ts_beta": {},
    "ts_ir": {}, "ts_av_diff": {}, "ts_regression": {"out": "resid"},
}  # fmt: skip
every_kernel = pytest.mark.parametrize("name", KERNELS)


def market(columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two gap-free series and the age of symbols that were listed before, at and after row 0."""
    rng = np.random.default_rng(9)
    x, y = 100 * np.exp(0.01 * rng.standard_normal((2, ROWS, columns)).cumsum(axis=1))
    first = np.resize([-500, 0, -3, -500, 300], columns)
    age = np.maximum(np.arange(ROWS)[:, None] - first + 1, 0).astype(np.int32)
    return x, y, age


def computed(name: str, d: int, arrays: tuple[np.ndarray, ...], columns: slice, **more: Any) -> np.ndarray:
    x, y, age = (np.ascontiguousarray(array[:, columns]) for array in arrays)
    operands = [x, y][: len(OPERATORS[name].array_arguments)]
    return run(OPERATORS[name], operands, {"d": d, **KERNELS[name], **more}, Context(age=age, first_bar=1_000_003))


@every_kernel
@pytest.mark.parametrize("d", [2, 7, 30, 150])
def test_a_gap_elsewhere_changes_no_bit(name: str, d: int) -> None:
    x, y, age = market(10)
    clean = [computed(name, d, (x, y, age), slice(b, b + 1)) for b in range(10)]
    assert np.isfinite(clean[0][d:]).all()
    # The gaps of the last column make the whole block take the general loops.
    x[np.random.default_rng(1).random(ROWS) < 0.2, 9] = np.nan
    together = computed(name, d, (x, y, age), slice(None))
    for b in range(9):
        assert same_bits(together[:, b : b + 1], clean[b])


@every_kernel
@pytest.mark.parametrize("late", [False, True])
def test_one_gap_anywhere(name: str, late: bool) -> None:
    """Before it the plain loops run; where they are taken up again depends on its row. What they leave must fit."""
    d, (x, y, _) = 30, market(10)
    first = np.full(10, -500)
    first[4] = 300 if late else -500
    age = np.maximum(np.arange(ROWS)[:, None] - first + 1, 0).astype(np.int32)
    ragged = np.random.default_rng(1).random(ROWS) < 0.2
    for gap in range(2 * PIECE - 2 * d, 2 * PIECE + 3):
        broken, general = x.copy(), x.copy()
        broken[gap, 3] = general[gap, 3] = np.nan
        general[ragged, 9] = np.nan  # the general loops from the first row on
        got, want = (computed(name, d, (values, y, age), slice(None)) for values in (broken, general))
        assert same_bits(got[:, :9], want[:, :9]), gap


@every_kernel
@pytest.mark.parametrize("d", [30, 150, 300])
def test_what_lies_in_front_of_an_episode_is_not_seen(name: str, d: int) -> None:
    """By windows longer than those of the laws, for which other loops run."""
    x, y, age = market(10)
    high, low, want = (
        computed(name, d, (*(np.where(age == 0, before, values) for values in (x, y)), age), slice(None), min_periods=3)
        for before in (1e9, -1e9, np.nan)
    )
    assert np.isfinite(want[310:]).all()
    assert same_bits(high, want)
    assert same_bits(low, want)


@every_kernel
def test_any_number_of_columns(name: str) -> None:
    arrays = market(2 * WIDTH + 5)
    wide = computed(name, 21, arrays, slice(None))
    for b in (0, 1, WIDTH - 1, WIDTH, 2 * WIDTH + 4):
        assert same_bits(wide[:, b : b + 1], computed(name, 21, arrays, slice(b, b + 1)))


def test_a_chain_refuses_more_columns_than_its_windows_have_scratch_for() -> None:
    """What it is given are addresses: one column more would write past the end."""
    code, places, windows = (np.zeros(shape, np.int64) for shape in ((0, 6), (3, 0), (1, 3)))
    pairs, counts = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="columns"):
        chain.run(code, places, windows, pairs, pairs, counts, counts, 1, 1, WIDTH + 1, 0, 0, counts)
    assert chain.run(code, places, windows, pairs, pairs, counts, counts, 1, 1, WIDTH, 0, 0, counts) == 0
