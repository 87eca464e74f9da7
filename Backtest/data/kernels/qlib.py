"""What Qlib computes and nobody else does: its index of the extreme, its weighted mean, pandas' adjusted ewm.

Sources: ``qlib/data/ops.py`` of pyqlib 0.9.7 and ``pandas.Series.ewm``; see `dsl.dialects.qlib` for the names.
"""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand, window_of
from .extreme import earliest
from .finish import blank_infinite
from .rows import NO_LIMIT

TINY = 1e-300
"""A weight that has faded over a long gap: next to nothing, but the mean was seen."""


@compiled
def positions(x, age, out, d, gaps):
    """Turn bars since the extreme into its place in the window, 1 = oldest row; the first missing row wins, if any.

    gaps: scratch float64 [B].
    """
    gaps[:] = 0.0
    for t in range(x.shape[0]):
        v, a, r = x[t], age[t], out[t]
        for b in range(v.size):
            r[b] = min(a[b], d) - r[b]
            gaps[b] += 0.0 if v[b] == v[b] else 1.0
    for b in range(x.shape[1]):
        if gaps[b] > 0.0:
            _first_gaps(x[:, b], age[:, b], out[:, b], d)


@compiled
def _first_gaps(x, age, out, d):
    """One column of `positions` that has gaps: where the window has one, its place."""
    following = len(x)
    places = np.empty(len(x), np.int64)
    for row in range(len(x) - 1, -1, -1):
        following = row if x[row] != x[row] else following
        places[row] = following
    for t in range(len(x)):
        begin = max(t - min(age[t], d) + 1, 0)
        if out[t] == out[t] and places[begin] <= t:
            out[t] = places[begin] - begin + 1


@compiled
def normalised_weights(x, age, out, d):
    """Mean over the valid rows of w x, w = 1 (oldest row) .. k (present row) over their sum, k = rows of the window."""
    rows, columns = x.shape
    n, total = np.empty(columns), np.empty(columns)
    for t in range(rows):
        oldest = t + 1 if t < d - 1 else NO_LIMIT
        n[:] = 0.0
        total[:] = 0.0
        for row in range(max(t - d + 1, 0), t + 1):
            for b in range(columns):
                v, back = x[row, b], t - row
                ok = (v == v) & (age[t, b] > back)
                n[b] += 1.0 if ok else 0.0
                total[b] += (min(age[t, b], d) - back) * v if ok else 0.0
        for b in range(columns):
            k = float(min(age[t, b], d))
            enough = (n[b] > 0.0) & (age[t, b] <= oldest)
            out[t, b] = total[b] / (0.5 * k * (k + 1.0)) / n[b] if enough else np.nan


@compiled
def adjusted_means(x, age, out, alpha, carried):
    """sum (1 - alpha)^k x[t-k] / sum (1 - alpha)^k over the episode's valid rows; the last mean on a missing one.

    carried: sum of the weights, mean.
    """
    weight, mean = carried[0].copy(), carried[1].copy()
    for t in range(len(x)):
        v, a, r = x[t], age[t], out[t]
        for b in range(v.size):
            ok = (a[b] > 0) & (v[b] == v[b])
            w = weight[b] * (1.0 - alpha) if a[b] > 1 else 0.0
            # The difference keeps a flat series exactly flat.
            y = mean[b] + (v[b] - mean[b]) / (w + 1.0) if w > 0.0 else v[b]
            mean[b] = y if ok else mean[b]
            seen = (weight[b] > 0.0) & (a[b] > 1)
            weight[b] = w + 1.0 if ok else (max(w, TINY) if seen else 0.0)
            r[b] = mean[b] if (a[b] > 0) & (ok | seen) else np.nan
    carried[0], carried[1] = weight, mean


def _index(sign: float, operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    w = window_of({**literals, "min_periods": 1}, context)
    earliest(sign, operands, context, out, w)
    positions(operands[0], context.age, out, w.bars, np.empty(out.shape[1]))
    return 0


def qlib_idxmax(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Place of the largest value, 1 = oldest row of the window; the oldest wins a tie, the first gap wins anyhow."""
    return _index(1.0, operands, literals, context, out)


def qlib_idxmin(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Place of the smallest value, 1 = oldest row of the window; the oldest wins a tie, the first gap wins anyhow."""
    return _index(-1.0, operands, literals, context, out)


def qlib_wma(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Normalised linear weights, then the mean over the valid values again."""
    normalised_weights(operands[0], context.age, out, int(literals["d"]))
    return blank_infinite(out, context)


def qlib_ewm(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Exponential mean with adjust=True and ignore_na=False."""
    adjusted_means(operands[0], context.age, out, float(literals["alpha"]), context.state(2))
    return blank_infinite(out, context)
