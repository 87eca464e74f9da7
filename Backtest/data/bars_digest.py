"""Digests of a symbol's bars: how later runs prove that they rest on the bars of an earlier one.

A file's own hash changes when a bar is appended; these do not, and they change with any bar that they cover.
`bars_sha256` covers the prices inside a window: Stage B trades on those of Stage A. `history_sha256` covers everything
that factors may rest on, before the window too: only then may a factor set be extended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from .bars import SymbolBars
from .panel import Floats

DIGEST_FIELDS = ("open", "high", "low", "close", "volume")
"""What the engine trades on. A change of another column alone changes factors, which have their own hash."""


def bars_sha256(bars: SymbolBars, first_bar: int, after_bar: int) -> str:
    """Return the SHA-256 of the bars with absolute index first_bar..after_bar-1: indices, prices, volumes, flags.

    `bars` must hold DIGEST_FIELDS. The bytes hashed are little-endian on every machine, and minus zero is zero.
    """
    low, high = np.searchsorted(bars.index, (first_bar, after_bar))
    digest = hashlib.sha256()
    digest.update(bars.index[low:high].astype("<i8").tobytes())
    for name in DIGEST_FIELDS:
        digest.update((bars.fields[name][low:high] + 0.0).astype("<f8").tobytes())
    digest.update(bars.tradable[low:high].astype("u1").tobytes())
    return digest.hexdigest()


def history_sha256(bars: SymbolBars, after_bar: int, more: Mapping[str, Floats]) -> str:
    """Return the SHA-256 of all bars before absolute index `after_bar`.

    Parameters
    ----------
    bars
        With every field that a factor uses and DIGEST_FIELDS.
    after_bar
        First bar that is left out.
    more
        Field that is no column of klines -> float64, its values on the rows of the clock before `after_bar`.

    Returns
    -------
    str
        Over indices, names and values of all fields, and flags; minus zero is zero and every NaN the same.
    """
    count = int(np.searchsorted(bars.index, after_bar))
    digest = hashlib.sha256(bars.index[:count].astype("<i8").tobytes())
    for name, values in sorted({**{name: values[:count] for name, values in bars.fields.items()}, **more}.items()):
        digest.update(name.encode())
        same = np.where(np.isnan(values), np.nan, values + 0.0)
        digest.update(same.astype("<f8").tobytes())
    digest.update(bars.tradable[:count].astype("u1").tobytes())
    return digest.hexdigest()
