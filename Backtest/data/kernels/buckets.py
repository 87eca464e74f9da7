"""Which of several ranges a value lies in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .context import Context, Floats, Operand


def bucket(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Number of edges strictly below x."""
    x = np.broadcast_to(operands[0], out.shape)
    edges = np.array(literals["edges"], dtype=np.float64)
    out[...] = np.where(np.isnan(x), np.nan, np.searchsorted(edges, x, side="left"))
    return 0
