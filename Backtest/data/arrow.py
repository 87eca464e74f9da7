"""Columns of whole values between NumPy and Arrow.

`pyarrow.array`, `pyarrow.scalar`, what takes a Python value as a scalar, and `to_numpy` import pandas whenever it is
installed: a third of a second in every worker process, which has no other use for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa


def to_arrow(values: NDArray[Any], kind: Any = None) -> pa.Array:
    """Return an array of Arrow's without nulls.

    Parameters
    ----------
    values
        Numbers, not copied if contiguous, or bool.
    kind
        Arrow type of the same width; None: the one that is called like NumPy's.
    """
    import pyarrow as pa

    kind = kind or pa.from_numpy_dtype(values.dtype)
    plain = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else np.ascontiguousarray(values)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(plain)])


def to_texts(words: Sequence[str]) -> pa.Array:
    """Return a string array of Arrow's."""
    import pyarrow as pa

    cells = [word.encode() for word in words]
    ends = np.cumsum([0, *map(len, cells)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(cells), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(cells))])


def to_scalar(value: str | float | int) -> pa.Scalar:
    """Return a text, a float64 or an int64 as a scalar of Arrow's."""
    return (to_texts([value]) if isinstance(value, str) else to_arrow(np.array([value])))[0]


def to_numpy(column: pa.Array | pa.ChunkedArray, dtype: Any) -> NDArray[Any]:
    """Return the values of a column as a new array of `dtype`, which is as wide as its type; ValueError for nulls."""
    if column.null_count:
        raise ValueError(f"{column.null_count} nulls where there may be none")
    parts = [np.empty(0, dtype)]
    for chunk in getattr(column, "chunks", [column]):
        rows, data = slice(chunk.offset, chunk.offset + len(chunk)), chunk.buffers()[1]
        if dtype == np.bool_:
            parts.append(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[rows].astype(np.bool_))
        else:
            parts.append(np.frombuffer(data, dtype)[rows])
    return np.concatenate(parts)
