"""Numba's disk cache serves worker processes that were spawned: they load the kernels and compile nothing."""

from __future__ import annotations

import multiprocessing
import re
import sys
from pathlib import Path

import numpy as np

from Backtest.data.dsl.operators import OPERATORS, Context, apply
from Backtest.data.factors import compute as compute_plan

LOOPS = ("", "(_nrt=False)", "(_nrt=False, forceinline=True)")
"""What loops that allocate nothing add (`kernels.rows`)."""


def compute() -> tuple[bytes, int, int]:
    """Run one kernel; return its bytes, cache hits and cache misses of this process."""
    from Backtest.data.kernels import deviation

    x = np.random.default_rng(0).standard_normal((50, 3))
    age = np.ascontiguousarray(np.broadcast_to(np.arange(1, 51, dtype=np.int32)[:, None], x.shape))
    values, _ = apply(OPERATORS["ts_std"], [x], {"d": 7}, Context(age=age, first_bar=4))
    stats = deviation.moments.stats
    return values.tobytes(), sum(stats.cache_hits.values()), sum(stats.cache_misses.values())


def test_spawned_workers_load_kernels_from_the_cache() -> None:
    here, _, _ = compute()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = [pool.apply_async(compute) for _ in range(2)]
        for result in results:
            values, hits, misses = result.get(timeout=120)
            assert values == here
            assert (hits, misses) == (1, 0)


def loaded_with_all() -> set[str]:
    """Run every operator, a chain and what writing needs; return what this process has that only compiling needs."""
    from Backtest.benchmarks import factors
    from Backtest.benchmarks.kernels import first_calls
    from Backtest.data.kernels.columns import separate

    first_calls(list(OPERATORS.values()))
    panel, plan = factors.market(64, 8), factors.plan_of(factors.MFI)
    (values,) = compute_plan(plan, panel, gap_tolerance=0.0).values.values()
    tops, ends, missing, beyond = (np.full(8, number) for number in (0, len(values), 0, 0))
    exists = panel.exists[panel.warmup :].copy()
    separate(values, exists, tops, ends, 1e300, np.empty(values.T.shape), missing, beyond)
    return {"numba.np.arraymath", "scipy.linalg"} & set(sys.modules)


def test_no_machine_code_loads_what_only_compiling_needs() -> None:
    """What NumPy's min, where, searchsorted and others are compiled from imports SciPy: 0.2 s for every process."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        pool.apply_async(loaded_with_all).get(timeout=600)  # where the disk has no machine code yet, it compiles
        assert pool.apply_async(loaded_with_all).get(timeout=60) == set()


def test_every_kernel_is_cached() -> None:
    """A kernel that Numba's own decorator compiled, or one made by a factory, would be compiled by every worker."""
    folder = Path(__file__).parents[3] / "data" / "kernels"
    for path in folder.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        decorators = [line for line in text.splitlines() if re.match(r"\s*@(numba|njit|jit|compiled)", line)]
        assert set(decorators) <= {f"@compiled{more}" for more in LOOPS}, path.name
