"""The only door to Qlib's reader: a provider opened once, columns read through ``qlib.data.D``.

Qlib is imported here, on first use: it costs seconds, prints notices and sets up loggers, all kept off stdout.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from Backtest.errors import RunError
from Backtest.files import sha256
from Backtest.logs import LOGGER
from Backtest.process import interrupts_held_back

LAST_PYTHON = (3, 12)
"""Qlib 0.9.7, its last release, has no wheels for later ones."""

ONLY_CRITICAL = 50
"""Qlib's level of logging: it warns of every column that is shorter than the calendar."""


def require_qlib() -> None:
    """Raise RunError in one line where Qlib cannot be imported."""
    from importlib.util import find_spec

    if find_spec("qlib") is not None:
        return
    if sys.version_info[:2] > LAST_PYTHON:
        rule = "it has no release for this Python; use 3.10 to 3.12, or the scripts without _qlib_"
    else:
        rule = 'install it with: pip install -r "Factor Evaluation/requirements.txt"'
    raise RunError(f"Qlib is not installed in this Python {sys.version_info[0]}.{sys.version_info[1]}: {rule}")


@contextmanager
def notices_logged() -> Iterator[None]:
    """Send what Qlib and its imports print to the log."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            LOGGER.debug("qlib: %s", line)


@dataclass(frozen=True)
class Columns:
    """What Qlib gives for one symbol.

    Attributes
    ----------
    timestamp
        datetime64[ns] [n], from Qlib's calendar.
    values
        float32 [n, F].
    """

    timestamp: NDArray[np.datetime64]
    values: NDArray[np.float32]


@dataclass(frozen=True)
class Provider:
    """A Qlib provider that `open_provider` has made the current one."""

    frequency: str

    def calendar(self) -> NDArray[np.datetime64]:
        """Return Qlib's clock, datetime64[ns] [T]."""
        from qlib.data import D

        with notices_logged():
            return np.asarray(D.calendar(freq=self.frequency), dtype="datetime64[ns]")

    def instruments(self) -> dict[str, list[tuple[np.datetime64, np.datetime64]]]:
        """Return symbol -> first and last bar of each listing episode."""
        from qlib.data import D

        with notices_logged():
            found = D.list_instruments(D.instruments("all"), freq=self.frequency, as_list=False)
        return {
            str(symbol): [(np.datetime64(first, "ns"), np.datetime64(last, "ns")) for first, last in spans]
            for symbol, spans in found.items()
        }

    def columns(self, symbol: str, fields: Sequence[str]) -> Columns:
        """Return columns of one symbol, from its first to its last row."""
        from qlib.data import D
        from qlib.data.cache import H

        with notices_logged():
            frame = D.features([symbol], [f"${field}" for field in fields], freq=self.frequency)
        H["f"].clear()  # Qlib would keep every column that it ever read
        stamps = frame.index.get_level_values("datetime").to_numpy(dtype="datetime64[ns]")
        return Columns(stamps, np.asarray(frame.to_numpy(), dtype=np.float32))


_current: tuple[str, str, str] | None = None
"""Folder, frequency and calendar (SHA-256) that Qlib points at: it has one provider a process, and keeps its clock."""


def open_provider(folder: Path, frequency: str) -> Provider:
    """Point Qlib at a provider, in this process, and forget what it read from another.

    No cache of Qlib's on disk is used: those are pickles (FAULTS.md), and this store has none.
    """
    global _current
    require_qlib()
    calendar = folder / "calendars" / f"{frequency}.txt"
    wanted = (str(folder), frequency, sha256(calendar) if calendar.exists() else "")
    with notices_logged():
        with interrupts_held_back():
            import qlib
            from qlib.config import C

        uri = {frequency: str(folder)}
        if _current != wanted or C["provider_uri"] != uri:
            _current = None
            qlib.init(
                provider_uri=uri,
                region="us",
                kernels=1,
                logging_level=ONLY_CRITICAL,
                expression_cache=None,
                dataset_cache=None,
            )
            _current = wanted
    return Provider(frequency)
