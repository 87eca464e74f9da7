"""The digest of a symbol's bars inside a window: how Stage B proves that it trades on the prices of Stage A.

A file's own hash changes when a bar is appended; this one does not, and it changes with any bar inside the window.
"""

from __future__ import annotations

import hashlib

import numpy as np

from .bars import SymbolBars

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
