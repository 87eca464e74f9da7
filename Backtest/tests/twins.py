"""Slow twins of the elementwise operators, lags, sums and ranks, and what all twins share; see `reference`.

Nothing here calls a kernel. A twin takes ``(operands, literals, context)`` like `apply` and returns float64 [T, B].
Sums are `math.fsum`; deviations are taken from the window's first value, which loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from Backtest.data.dsl.operators import Context

NAN = math.nan
Twin = Callable[..., np.ndarray]


def missing(value: float) -> bool:
    return math.isnan(value)


def finite(function: Callable[..., float], *arguments: Any) -> float:
    """Call `function`; what is undefined or infinite is missing."""
    try:
        value = function(*arguments)
    except (ArithmeticError, ValueError):
        return NAN
    return float(value) if not isinstance(value, complex) and math.isfinite(value) else NAN


# ---- one place ------------------------------------------------------------------------------------------------------


def everywhere(function: Callable[..., float], *, strict: bool = True, names: Sequence[str] = ()) -> Twin:
    """Twin of an elementwise operator; `names` are the literals that follow the operands."""

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        cells = [np.broadcast_to(operand, context.age.shape) for operand in operands]
        out = np.full(context.age.shape, NAN)
        for place in np.ndindex(out.shape):
            values = [float(cell[place]) for cell in cells]
            if strict and any(map(missing, values)):
                continue
            out[place] = finite(function, *values, *(literals[name] for name in names))
        return out

    return twin


def sign(x: float) -> float:
    return (x > 0) - (x < 0)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else math.exp(x)


def cbrt(x: float) -> float:
    return sign(x) * abs(x) ** (1 / 3)


def round_half_even(x: float, decimals: int) -> float:
    scaled = x * 10**decimals
    low = math.floor(scaled) if math.isfinite(scaled) else None
    if low is None:
        return x
    below, above = scaled - low, low + 1 - scaled
    nearest = low if below < above or (below == above and low % 2 == 0) else low + 1
    return nearest / 10**decimals


def signed_power(x: float, a: float) -> float:
    return sign(x) * abs(x) ** a


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high) if low <= high else NAN


def kleene_and(c: float, e: float) -> float:
    if c == 0 or e == 0:
        return 0
    return NAN if missing(c) or missing(e) else 1


def kleene_or(c: float, e: float) -> float:
    if c == 1 or e == 1:
        return 1
    return NAN if missing(c) or missing(e) else 0


def choose(c: float, a: float, b: float) -> float:
    if missing(c):
        return NAN
    return a if c == 1 else b


def bucket(x: float, edges: Sequence[float]) -> float:
    return sum(edge < x for edge in edges)


# ---- earlier bars ---------------------------------------------------------------------------------------------------


def lagged(function: Callable[[float, float], float]) -> Twin:
    """Twin of a change from x[t-d] to x[t] inside one listing episode."""

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        x, d = operands[0], literals["d"]
        out = np.full(x.shape, NAN)
        for t, b in np.ndindex(x.shape):
            if t >= d and context.age[t, b] >= d + 1:
                out[t, b] = finite(function, float(x[t, b]), float(x[t - d, b]))
        return out

    return twin


def episode(context: Context, t: int, b: int) -> range:
    """Rows of the listing episode at t, up to t, as far as they are loaded."""
    return range(max(t - int(context.age[t, b]) + 1, 0), t + 1)


def ema_twin(alpha: Callable[[dict[str, Any]], float], needed: str) -> Twin:
    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        x, a = operands[0], alpha(literals)
        out = np.full(x.shape, NAN)
        for t, b in np.ndindex(x.shape):
            valid = [x[row, b] for row in episode(context, t, b) if not missing(x[row, b])]
            if missing(x[t, b]) or len(valid) < max(literals[needed], 1) or not context.age[t, b]:
                continue
            weights = [(1 - a) ** (len(valid) - 1)] + [a * (1 - a) ** k for k in range(len(valid) - 2, -1, -1)]
            out[t, b] = math.fsum(w * v for w, v in zip(weights, valid, strict=True))
        return out

    return twin


def ffill(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
    x, limit = operands[0], literals["limit"]
    out = np.full(x.shape, NAN)
    for t, b in np.ndindex(x.shape):
        for row in reversed(episode(context, t, b)):
            if not missing(x[row, b]):
                if limit is None or t - row <= limit:
                    out[t, b] = x[row, b]
                break
    return out


# ---- windows --------------------------------------------------------------------------------------------------------


def windowed(function: Callable[..., float], *names: str, gap_rule: bool = True) -> Twin:
    """Twin of a rolling operator. `function` gets the valid rows [(row, x, ...)], the present row, and literals."""

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        d, chosen = literals["d"], literals["min_periods"]
        needed = math.ceil(round((1 - context.gap_tolerance) * d, 9)) if gap_rule else 0
        needed, youngest = (needed, d) if chosen is None else (chosen, 1)
        out = np.full(context.age.shape, NAN)
        for t, b in np.ndindex(out.shape):
            age = int(context.age[t, b])
            begin = t - min(d, age) + 1
            if age < max(youngest, 1) or begin < 0:
                continue
            rows = [(row, *(float(x[row, b]) for x in operands)) for row in range(begin, t + 1)]
            valid = [row for row in rows if not any(map(missing, row[1:]))]
            if len(valid) >= max(needed, 1 if gap_rule else 0):
                out[t, b] = finite(function, valid, t, *([d] if "d" in names else []), *_given(literals, names))
        return out

    return twin


def _given(literals: dict[str, Any], names: Sequence[str]) -> list[Any]:
    return [literals[name] for name in names if name != "d"]


def column(rows: Sequence[tuple[float, ...]], k: int = 1) -> list[float]:
    return [row[k] for row in rows]


def deviations(values: Sequence[float]) -> list[float]:
    """Distances from the mean."""
    steps = [value - values[0] for value in values]
    mean = math.fsum(steps) / len(steps)
    return [step - mean for step in steps]


def variance(rows: Sequence[tuple[float, ...]], t: int, ddof: int = 1) -> float:
    return math.fsum(u * u for u in deviations(column(rows))) / (len(rows) - ddof) if len(rows) > ddof else NAN


def zscore(rows: Sequence[tuple[float, ...]], t: int) -> float:
    if rows[-1][0] != t or flat(column(rows)):
        return NAN
    return deviations(column(rows))[-1] / math.sqrt(variance(rows, t))


def extreme(choose_value: Callable[[list[float]], float]) -> Callable[..., float]:
    def bars_since(rows: Sequence[tuple[float, ...]], t: int) -> float:
        best = choose_value(column(rows))
        return t - max(row for row, value in rows if value == best)

    return bars_since


def quantile_of(values: Sequence[float], q: float) -> float:
    held = sorted(values)
    position = q * (len(held) - 1)
    low = math.floor(position)
    high = min(low + 1, len(held) - 1)
    return held[low] + (position - low) * (held[high] - held[low])


def average_rank(values: Sequence[float], value: float) -> float:
    return sum(other < value for other in values) + (1 + sum(other == value for other in values)) / 2


def rank(rows: Sequence[tuple[float, ...]], t: int, norm: str) -> float:
    if rows[-1][0] != t:
        return NAN
    r, n = average_rank(column(rows), rows[-1][1]), len(rows)
    return {"abs": lambda: r, "n": lambda: r / n, "n-1": lambda: (r - 1) / (n - 1)}[norm]()


def slope(rows: Sequence[tuple[float, ...]], t: int) -> float:
    places = deviations([float(row) for row in column(rows, 0)])
    return math.fsum(p * u for p, u in zip(places, deviations(column(rows)), strict=True)) / math.fsum(
        p * p for p in places
    )


def flat(values: Sequence[float]) -> bool:
    std = math.sqrt(math.fsum(u * u for u in deviations(values)) / (len(values) - 1))
    return std <= 1e-12 * max(map(abs, values))


def covariance(rows: Sequence[tuple[float, ...]], t: int, ddof: int = 1) -> float:
    x, y = column(rows, 1), column(rows, 2)
    if len(rows) < 2 or flat(x) or flat(y):
        return NAN
    return math.fsum(u * v for u, v in zip(deviations(x), deviations(y), strict=True)) / (len(rows) - ddof)


def correlation(rows: Sequence[tuple[float, ...]], t: int) -> float:
    cov = covariance(rows, t)
    deviation_x = math.sqrt(variance([(row, x) for row, x, _ in rows], t))
    return cov / deviation_x / math.sqrt(variance([(row, y) for row, _, y in rows], t))


def decay(rows: Sequence[tuple[float, ...]], t: int, d: int) -> float:
    weights = [d - (t - row) for row in column(rows, 0)]
    first = rows[0][1]
    return first + math.fsum(w * (x - first) for w, (_, x) in zip(weights, rows, strict=True)) / sum(weights)


# ---- cross-sections -------------------------------------------------------------------------------------------------


def across(function: Callable[..., list[float]], *names: str) -> Twin:
    """Twin of a cross-section: `function` gets the members' values in column order and returns theirs."""

    def twin(operands: Sequence[Any], literals: dict[str, Any], context: Context) -> np.ndarray:
        x = operands[0]
        assert context.population is not None
        out = np.full(x.shape, NAN)
        for t in range(len(x)):
            members = [s for s in range(x.shape[1]) if context.population[t, s] and not missing(x[t, s])]
            if members:
                out[t, members] = function([float(x[t, s]) for s in members], *(literals[name] for name in names))
        return out

    return twin


def cross_zscore(values: list[float], ddof: int) -> list[float]:
    u = deviations(values)
    std = math.sqrt(math.fsum(v * v for v in u) / (len(u) - ddof)) if len(u) > ddof else 0
    return [v / std if std > 1e-12 * max(map(abs, values)) else NAN for v in u]


def cross_scale(values: list[float], a: float) -> list[float]:
    total = math.fsum(map(abs, values))
    return [value * a / total if total else NAN for value in values]


def winsorize(values: list[float], q: float) -> list[float]:
    return [min(max(value, quantile_of(values, q)), quantile_of(values, 1 - q)) for value in values]


def top_bottom(values: list[float], k: int) -> list[float]:
    k = min(k, len(values) // 2)
    order = sorted(range(len(values)), key=lambda s: (-values[s], s))
    marks = dict.fromkeys(order, 0.0) | dict.fromkeys(order[:k], 1.0) | dict.fromkeys(order[len(order) - k :], -1.0)
    return [marks[s] for s in range(len(values))]


TWINS: dict[str, Twin] = {
    "add": everywhere(lambda x, y: x + y),
    "sub": everywhere(lambda x, y: x - y),
    "mul": everywhere(lambda x, y: x * y),
    "div": everywhere(lambda x, y: x / y),
    "mod": everywhere(lambda x, y: x % y),
    "pow": everywhere(lambda x, y: x**y),
    "neg": everywhere(lambda x: -x),
    "lt": everywhere(lambda x, y: x < y),
    "le": everywhere(lambda x, y: x <= y),
    "gt": everywhere(lambda x, y: x > y),
    "ge": everywhere(lambda x, y: x >= y),
    "eq": everywhere(lambda x, y: x == y),
    "ne": everywhere(lambda x, y: x != y),
    "and": everywhere(kleene_and, strict=False),
    "or": everywhere(kleene_or, strict=False),
    "not": everywhere(lambda c: 1 - c),
    "xor": everywhere(lambda c, e: c != e),
    "abs": everywhere(abs),
    "sign": everywhere(sign),
    "sqrt": everywhere(math.sqrt),
    "cbrt": everywhere(cbrt),
    "square": everywhere(lambda x: x * x),
    "exp": everywhere(math.exp),
    "expm1": everywhere(math.expm1),
    "log": everywhere(math.log),
    "log10": everywhere(math.log10),
    "log2": everywhere(math.log2),
    "log1p": everywhere(math.log1p),
    "sin": everywhere(math.sin),
    "cos": everywhere(math.cos),
    "tan": everywhere(math.tan),
    "asin": everywhere(math.asin),
    "acos": everywhere(math.acos),
    "atan": everywhere(math.atan),
    "atan2": everywhere(math.atan2),
    "sinh": everywhere(math.sinh),
    "cosh": everywhere(math.cosh),
    "tanh": everywhere(math.tanh),
    "sigmoid": everywhere(sigmoid),
    "logit": everywhere(lambda x: math.log(x / (1 - x))),
    "softsign": everywhere(lambda x: x / (1 + abs(x))),
    "floor": everywhere(math.floor),
    "ceil": everywhere(math.ceil),
    "round": everywhere(round_half_even, names=["decimals"]),
    "fraction": everywhere(lambda x: math.fmod(x, 1)),
    "inverse": everywhere(lambda x: 1 / x),
    "signed_power": everywhere(signed_power),
    "s_log_1p": everywhere(lambda x: sign(x) * math.log1p(abs(x))),
    "max2": everywhere(max),
    "min2": everywhere(min),
    "clip": everywhere(clip),
    "where": everywhere(choose, strict=False),
    "between": everywhere(lambda x, low, high: low <= x <= high),
    "is_nan": everywhere(missing, strict=False),
    "fill": everywhere(lambda x, v: v if missing(x) else x, strict=False),
    "nan_out": everywhere(lambda x, low, high: x if low <= x <= high else NAN),
    "div_safe": everywhere(lambda x, y, eps: x / y if abs(y) > eps else NAN, names=["eps"]),
    "bucket": everywhere(bucket, names=["edges"]),
    "shift": lagged(lambda now, ago: ago),
    "delta": lagged(lambda now, ago: now - ago),
    "returns": lagged(lambda now, ago: now / ago - 1),
    "logret": lagged(lambda now, ago: math.log(now) - math.log(ago)),
    "ts_sum": windowed(lambda rows, t: math.fsum(column(rows))),
    "ts_mean": windowed(lambda rows, t: math.fsum(column(rows)) / len(rows)),
    "ts_std": windowed(lambda rows, t, ddof: math.sqrt(variance(rows, t, ddof)), "ddof"),
    "ts_var": windowed(variance, "ddof"),
    "ts_zscore": windowed(zscore),
    "ts_min": windowed(lambda rows, t: min(column(rows))),
    "ts_max": windowed(lambda rows, t: max(column(rows))),
    "ts_argmin": windowed(extreme(min)),
    "ts_argmax": windowed(extreme(max)),
    "ts_median": windowed(lambda rows, t: quantile_of(column(rows), 0.5)),
    "ts_quantile": windowed(lambda rows, t, q: quantile_of(column(rows), q), "q"),
    "ts_rank": windowed(rank, "norm"),
    "ts_count": windowed(lambda rows, t: len(rows), gap_rule=False),
    "ts_count_true": windowed(lambda rows, t: sum(column(rows))),
    "ts_slope": windowed(slope),
    "ts_cov": windowed(covariance, "ddof"),
    "ts_corr": windowed(correlation),
    "decay_linear": windowed(decay, "d"),
    "ema": ema_twin(lambda literals: 2 / (literals["span"] + 1), "span"),
    "rma": ema_twin(lambda literals: 1 / literals["d"], "d"),
    "ffill": ffill,
    "cs_rank": across(lambda values: [average_rank(values, value) / len(values) for value in values]),
    "cs_zscore": across(cross_zscore, "ddof"),
    "cs_demean": across(deviations),
    "cs_scale": across(cross_scale, "a"),
    "cs_winsorize": across(winsorize, "q"),
    "cs_top_bottom": across(top_bottom, "k"),
}
"""Operator name -> twin."""
