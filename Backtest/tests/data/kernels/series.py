"""Series that have broken rolling code somewhere, and the literals that every operator is tried with."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from Backtest.data.dsl.operators import Argument, Context, Operator, apply

ROWS = 64
FIRST_BAR = 100_003
EXTRA_LITERALS: dict[str, list[dict[str, Any]]] = {
    "round": [{"decimals": 0}, {"decimals": 2}],
    "div_safe": [{"eps": 0.5}],
    "bucket": [{"edges": (-1.0, 0.0, 1.0, 100.0)}],
    "ffill": [{"limit": None}, {"limit": 1}, {"limit": 3}],
    "cs_scale": [{"a": 1}, {"a": 2.5}],
    "cs_winsorize": [{"q": 0.0}, {"q": 0.1}, {"q": 0.5}],
    "cs_top_bottom": [{"k": 1}, {"k": 3}, {"k": 50}],
    "cs_clip_mad": [{"k": 0.0}, {"k": 2.5}],
    "cs_clip_std": [{"k": 1.5, "ddof": 1}, {"k": 1.0, "ddof": 0}],
    "cs_qcut": [{"q": 1}, {"q": 3}, {"q": 10}],
    "qlib_ewm": [{"alpha": 0.3}, {"alpha": 1.0}],
    "adv_rank": [
        {"n": n, "d": d, "min_periods": m} for n, d, m in [(1, 5, None), (3, 2, None), (4, 8, 2), (50, 1, None)]
    ],
    "grp_scale": [{"a": 1}, {"a": 2.5}],
    "hump": [{"limit": 0.0}, {"limit": 0.5}],
    "ewm_halflife": [{"h": 0.5}, {"h": 4.0}],
    "kama": [{"d": 1, "fast": 2, "slow": 30}, {"d": 5, "fast": 3, "slow": 10}],
    "ts_moment": [
        {"d": d, "k": k, "min_periods": m} for d, k, m in [(5, 2, None), (8, 3, 2), (8, 4, None), (8, 5, None)]
    ],
    "ts_entropy": [{"d": 8, "buckets": buckets, "min_periods": m} for buckets, m in [(2, None), (10, None), (10, 2)]],
    "decay_exp": [{"d": 8, "f": f, "min_periods": m} for f, m in [(0.0, 2), (0.9, None), (1e-40, 2), (0.9, 2)]],
    "ts_regression": [
        {"d": 8, "out": out, "min_periods": m}
        for out, m in [("resid", None), ("alpha", None), ("fitted", 2), ("r2", None), ("se_beta", None), ("beta", 2)]
    ],
    "of": [{"symbol": "S0"}],
    "beta_to": [{"symbol": "S0", "d": d, "min_periods": m} for d, m in [(2, None), (8, None), (8, 2)]],
    "sum_split_by": [
        {"d": 8, "k": k, "part": part, "min_periods": m}
        for k, part, m in [(1, "top", None), (8, "bottom", 2), (3, "diff", 2)]
    ],
}
CHOICES: dict[str, list[Any]] = {
    "d": [2, 5, 8],
    "span": [1, 5],
    "ddof": [1, 0],
    "q": [0.0, 0.35, 1.0],
    "how": ["sum", "mean"],
    "lag": [0, 86_400_000_000_000],
    "norm": ["n", "n-1", "abs"],
    "min_periods": [None, 2],
}


def literal_cases(operator: Operator) -> list[dict[str, Any]]:
    """Return the literals that `operator` is tried with, every argument named."""
    if operator.name in EXTRA_LITERALS:
        return EXTRA_LITERALS[operator.name]
    names = [argument.name for argument in operator.literal_arguments]
    lows = {argument.name: argument.low or 0 for argument in operator.literal_arguments}
    kept = {name: [value for value in CHOICES[name] if value is None or isinstance(value, str) or value >= lows[name]]
            for name in names}  # fmt: skip
    cases = [dict(zip(names, values, strict=True)) for values in itertools.product(*kept.values())]
    return [case for case in cases if operator.check(case) is None]


def _walk(rng: np.random.Generator, start: float, step: float) -> np.ndarray:
    return start * np.exp(step * rng.standard_normal(ROWS).cumsum())


def columns(seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return name -> (values [ROWS], age [ROWS])."""
    rng = np.random.default_rng(seed)
    alive = np.arange(1, ROWS + 1, dtype=np.int32) + 3  # the history begins three bars before row 0
    whole = np.arange(1, ROWS + 1, dtype=np.int32)
    holes = np.where(rng.random(ROWS) < 0.1, np.nan, rng.standard_normal(ROWS))
    spike = _walk(rng, 50.0, 0.02)
    spike[11] = 1e12
    late = np.where(np.arange(ROWS) < 20, np.nan, _walk(rng, 3.0, 0.05))
    late_age = np.maximum(whole - 20, 0).astype(np.int32)
    two = _walk(rng, 7.0, 0.05)
    two[28:31] = np.nan
    two_age = np.concatenate([whole[:28], [0, 0, 0], whole[: ROWS - 31]]).astype(np.int32)
    # The next listing begins right after the last bar of the one before.
    joined_age = np.concatenate([whole[:27], whole[: ROWS - 27]]).astype(np.int32)
    ragged = np.where(rng.random(ROWS) < 0.5, np.nan, _walk(rng, 20.0, 0.05))
    return {
        "walk": (_walk(rng, 100.0, 0.02), alive),
        "noise": (rng.standard_normal(ROWS), whole),
        "holes": (holes, whole),
        "tied": (rng.integers(0, 3, ROWS).astype(np.float64), whole),
        "flat": (np.full(ROWS, 0.1), whole),
        "tiny": (_walk(rng, 1e-8, 0.02), whole),
        "fine": (6e4 + 1e-3 * rng.standard_normal(ROWS), whole),
        "spike": (spike, whole),
        "late": (late, late_age),
        "two": (two, two_age),
        "joined": (_walk(rng, 0.5, 0.05), joined_age),
        "ragged": (ragged, whole),
        "empty": (np.full(ROWS, np.nan), whole),
        "zeros": (np.where(rng.random(ROWS) < 0.7, 0.0, -0.0), whole),
    }


def sample(seed: int = 0) -> tuple[np.ndarray, Context]:
    """Return x [ROWS, B] and its context; a few cells of the population are out."""
    named = columns(seed)
    x = np.ascontiguousarray(np.column_stack([values for values, _ in named.values()]))
    age = np.ascontiguousarray(np.column_stack([ages for _, ages in named.values()]))
    population = np.random.default_rng(seed + 1).random(x.shape) < 0.8
    return x, Context(age=age, first_bar=FIRST_BAR, population=population, symbols=names_of(x))


def names_of(x: np.ndarray) -> tuple[str, ...]:
    """Return S0, S1, ... for the columns of x."""
    return tuple(f"S{column}" for column in range(x.shape[1]))


def operands_of(operator: Operator, x: np.ndarray, context: Context, seed: int = 0) -> list[np.ndarray]:
    """Return one array per data argument: x itself, then related and unrelated series; masks where masks are due."""
    rng = np.random.default_rng(seed + 2)
    return [_operand(argument, k, x, context, rng) for k, argument in enumerate(operator.operands)]


def _operand(argument: Argument, k: int, x: np.ndarray, context: Context, rng: np.random.Generator) -> np.ndarray:
    if argument.kind == "mask":
        values = (rng.random(x.shape) < 0.5).astype(np.float64)
        values[rng.random(x.shape) < 0.1] = np.nan
    elif argument.kind == "group":
        values = np.where(rng.random(x.shape) < 0.1, rng.integers(0, 4, x.shape), rng.integers(0, 4, x.shape[1]))
    elif k == 0:
        return x
    else:
        values = np.where(rng.random(x.shape) < 0.3, x, x * (0.5 + rng.random(x.shape)) + rng.integers(-1, 2, x.shape))
    return np.where((context.age == 0) | (rng.random(x.shape) < 0.02), np.nan, values)


def run(operator: Operator, operands: list[np.ndarray], literals: dict[str, Any], context: Context) -> np.ndarray:
    """Return the operator's values."""
    return apply(operator, operands, literals, context)[0]


def cut(
    arrays: list[np.ndarray], context: Context, rows: slice, symbols: Any = slice(None)
) -> tuple[list[Any], Context]:
    """Return the operands and the context of some rows and symbols, as if only they had been loaded."""

    def take(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values[rows][:, symbols])

    assert context.population is not None
    begin = rows.indices(len(context.age))[0]
    part = replace(
        context, age=take(context.age), population=take(context.population), first_bar=context.first_bar + begin
    )
    return [take(array) for array in arrays], part


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """True where both hold the same bytes, missing values included."""
    return np.ascontiguousarray(left).tobytes() == np.ascontiguousarray(right).tobytes()
