"""Values of one named symbol, for every symbol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...machine_code import compiled
from .context import Context, Floats, Operand


@compiled
def _spread(x: Floats, column: int, age: NDArray[np.int32], out: Floats) -> None:
    rows, symbols = age.shape
    for t in range(rows):
        value = x[t, column]
        for s in range(symbols):
            out[t, s] = value if age[t, s] > 0 else np.nan


def of(operands: Sequence[Operand], literals: Mapping[str, Any], context: Context, out: Floats) -> int:
    """Value of the symbol named in the call; NaN outside a column's own listing episodes.

    Raises
    ------
    ValueError
        The symbol is not among `Context.symbols`: whoever makes the panel loads it.
    """
    _spread(operands[0], context.symbols.index(literals["symbol"]), context.age, out)
    return 0
