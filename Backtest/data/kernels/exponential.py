"""Exponential means: recursive from the first valid value of the listing episode."""

# Numba infers the types of compiled functions from their arguments.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...machine_code import compiled
from .context import Context, Floats, Operand
from .finish import blank_infinite


@compiled
def exponential_mean(x, age, out, alpha, needed, carried):
    """y += alpha (x - y); missing where x is, and before the `needed`-th valid value of the episode.

    carried: number of values, y.
    """
    seen, state = carried[0].copy(), carried[1].copy()
    # With alpha = 1 no number of values makes y count: y + (x - y) is not x after a spike.
    known = 0.0 if alpha < 1.0 else np.inf
    for t in range(len(x)):
        v, a, r = x[t], age[t], out[t]
        for b in range(v.size):
            ok = (a[b] > 0) & (v[b] == v[b])
            n = seen[b] if a[b] > 1 else 0.0
            # The difference keeps a flat series exactly flat.
            y = state[b] + alpha * (v[b] - state[b]) if n > known else v[b]
            y = y if ok else state[b]
            n += 1.0 if ok else 0.0
            state[b], seen[b] = y, n
            r[b] = y if ok & (n >= needed) else np.nan
    carried[0], carried[1] = seen, state


def ema(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Exponential mean with a = 2 / (span + 1)."""
    span = int(literals["span"])
    exponential_mean(operands[0], context.age, out, 2.0 / (span + 1.0), span, context.state(2))
    return blank_infinite(out, context)


def rma(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Wilder's mean with a = 1 / d."""
    d = int(literals["d"])
    exponential_mean(operands[0], context.age, out, 1.0 / d, d, context.state(2))
    return blank_infinite(out, context)
