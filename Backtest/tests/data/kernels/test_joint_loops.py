"""Two operations in one loop beside NumPy's, one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from Backtest.data.kernels.chain import JOINT, PIECE, RETRY, TWO, run
from Backtest.data.kernels.context import FLOAT
from Backtest.data.kernels.joint_loops import ARITHMETIC, code_after, two_at_once
from Backtest.data.kernels.scalar_functions import ADD, DIV, MAX2, MUL, SUB

NUMPY = {ADD: np.add, SUB: np.subtract, MUL: np.multiply, DIV: np.divide}
PAIRS = [(first, second, reverse) for first in ARITHMETIC for second in ARITHMETIC for reverse in (False, True)]
FEW = st.sampled_from([0.0, -0.0, 1.0, 3.0, 1.7e308, -1.7e308, 5e-324, np.inf, -np.inf, np.nan])
TRIPLES = st.integers(1, 40).flatmap(lambda n: st.tuples(*[arrays(np.float64, n, elements=FEW, fill=st.nothing())] * 3))


@pytest.mark.parametrize("first, second, reverse", PAIRS)
@settings(max_examples=40, deadline=None)
@given(xyz=TRIPLES)
def test_both_operations(first: int, second: int, reverse: bool, xyz: tuple[np.ndarray, ...]) -> None:
    """The bits are NumPy's wherever both results are finite; whatever is not finite makes the result so and counts."""
    x, y, z = xyz
    after = code_after(first, second, reverse=reverse)
    if after is None:
        assert (second, reverse) == (DIV, True)
        return
    out = np.empty_like(x)
    strange = two_at_once(first, after, x, y, z, out)
    with np.errstate(all="ignore"):
        between = NUMPY[first](x, y)
        wanted = NUMPY[second](z, between) if reverse else NUMPY[second](between, z)
    finite = np.isfinite(wanted)
    assert out[finite].tobytes() == wanted[finite].tobytes()
    assert not np.isfinite(out[~finite]).any()
    assert strange == np.count_nonzero(~finite)
    assert not (finite & ~np.isfinite(between)).any()


@pytest.mark.parametrize("first, second, reverse", PAIRS)
def test_both_results_are_rounded(first: int, second: int, reverse: bool) -> None:
    """Values with all their digits: a product and a sum rounded once, as processors can, would differ in many."""
    after = code_after(first, second, reverse=reverse)
    if after is None:
        return
    x, y, z = np.random.default_rng(1).normal(size=(3, 1000))
    out = np.empty_like(x)
    assert two_at_once(first, after, x, y, z, out) == 0
    between = NUMPY[first](x, y)
    assert out.tobytes() == (NUMPY[second](z, between) if reverse else NUMPY[second](between, z)).tobytes()


def test_one_missing_value_does_not_part_the_rest() -> None:
    """What the first gives is written only where the two go one by one: until they are tried together again."""
    pieces = 2 * RETRY + 1
    x, y, z, between, out = np.full((5, pieces * PIECE), 2.0)
    x[PIECE] = np.nan
    code = np.array([(JOINT, SUB, 0, 1, code_after(SUB, DIV, reverse=False), 3), (TWO, DIV, 3, 2, 0, 4)])
    places = np.array([(one.ctypes.data, FLOAT, FLOAT) for one in (x, y, z, between, out)]).T.copy()
    nothing, counts = np.zeros(0, dtype=np.int64), np.zeros(2, dtype=np.int64)
    pairs = nothing.reshape(0, 2)
    tables = (code, places, nothing.reshape(0, 3), pairs, pairs, nothing, nothing)
    assert run(*tables, x.size, x.size, 1, 0, 0, counts) == 0
    assert np.isnan(out[PIECE])
    assert np.count_nonzero(out) == 1
    apart = [k for k in range(pieces) if (between[k * PIECE : (k + 1) * PIECE] != 2.0).any()]
    assert apart == list(range(1, RETRY))


def test_other_functions_have_no_joint_loop() -> None:
    assert code_after(MAX2, ADD, reverse=False) is None
    assert code_after(ADD, MAX2, reverse=True) is None
