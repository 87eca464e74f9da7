"""The files of a Qlib provider, as bytes and back; Qlib itself is not needed for them.

1. `qlib_frequency`: a bar length as Qlib calls it.
2. `calendar_text`, `instruments_text`: the clock, and who was listed when.
3. `bin_path`, `encode_bin`, `decode_bin`: one column of one symbol, float32 after the calendar row of its first value.
4. `spans_of`, `bins_of`: the same for all symbols of a panel.

Qlib checks none of this when it reads: a shorter file is a shorter series, a missing calendar line moves all dates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from Backtest.data.hub_file import clear_overflow, stored
from Backtest.data.panel import Bools, Floats, Panel
from Backtest.data.timeframe import DAY_SECONDS, Timeframe
from Backtest.errors import RunError, SettingsError
from Backtest.logs import LOGGER

from .progress import counted

MINUTE_SECONDS = 60
WORD = np.dtype("<f4")
"""Everything in a bin is little-endian float32, the header too."""

LONGEST = 1 << 24
"""Calendar rows: float32 counts no further, and a bin's header is a count."""


def qlib_frequency(timeframe: Timeframe) -> str:
    """Return a bar length as Qlib writes it: ``day``, or minutes for all others (Qlib knows no hours).

    Raises
    ------
    SettingsError
        The bar is no whole number of minutes.
    """
    if timeframe.seconds % MINUTE_SECONDS:
        raise SettingsError(f"Qlib has no bars of {timeframe.label}, only whole minutes; use 1min or longer")
    return "day" if timeframe.seconds == DAY_SECONDS else f"{timeframe.seconds // MINUTE_SECONDS}min"


def stamp_words(timestamp: NDArray[np.datetime64]) -> list[str]:
    """Return open times as Qlib's files write them: UTC without a zone, to the second."""
    return [word.replace("T", " ") for word in np.datetime_as_string(timestamp, unit="s").tolist()]


def calendar_text(timestamp: NDArray[np.datetime64]) -> str:
    """Return the calendar file: one open time a line, every bar of the clock."""
    if len(timestamp) > LONGEST:
        raise RunError(f"{len(timestamp):,} bars are more than a Qlib store can count ({LONGEST:,}); use longer bars")
    return "".join(f"{word}\n" for word in stamp_words(timestamp))


def episodes(exists: Bools, age: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return the first and last bar (rows, both inclusive) of each listing episode of one symbol.

    Parameters
    ----------
    exists
        bool [T]: there is a bar.
    age
        int32 [T]: rows since the episode began, 0 outside (`Panel.age`).

    Returns
    -------
    In order of time; a window that begins within an episode begins with its first bar inside the window.
    """
    rows = np.flatnonzero(exists)
    if not rows.size:
        return []
    # within an episode the row number and the age grow together
    birth = rows - age[rows]
    breaks = np.flatnonzero(np.diff(birth)) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(rows, breaks)]


def instruments_text(spans: dict[str, list[tuple[int, int]]], words: list[str]) -> str:
    """Return the instruments file: symbol, first and last open time, one line for each listing episode."""
    return "".join(
        f"{symbol}\t{words[first]}\t{words[last]}\n" for symbol, pairs in spans.items() for first, last in pairs
    )


def bin_path(folder: Path, symbol: str, field: str, frequency: str) -> Path:
    """Return where Qlib looks for a column: all in lower case."""
    return folder / "features" / symbol.lower() / f"{field.lower()}.{frequency}.bin"


def encode_bin(values: Floats, start: int) -> tuple[bytes, int]:
    """Return a bin's bytes and how many values float32 cannot hold.

    Parameters
    ----------
    values
        float64 [n] from calendar row `start` on; missing is NaN. Beyond float32 becomes missing, as in a factor set.
    start
        Calendar row of the first value.

    Returns
    -------
    bytes, count
        Equal values give equal bytes: every missing value is the same NaN.
    """
    own = values.copy()
    lost = clear_overflow(own, "float32")
    body: NDArray[Any] = np.concatenate([np.array([start], dtype=WORD), stored(own, "float32")]).astype(WORD)
    return body.tobytes(), lost


def decode_bin(content: bytes) -> tuple[int, NDArray[np.float32]]:
    """Return a bin's start row (-1 where the header is none) and its float32 values, but for a torn last one."""
    words = np.frombuffer(content, dtype=WORD, count=len(content) // WORD.itemsize)
    if not words.size:
        return -1, np.empty(0, dtype=np.float32)
    header = float(words[0])
    start = int(header) if 0 <= header < LONGEST and header == int(header) else -1
    return start, words[1:].astype(np.float32)


def spans_of(panel: Panel) -> dict[str, list[tuple[int, int]]]:
    """Return symbol -> first and last row of each listing episode."""
    return {
        symbol: episodes(panel.exists[:, column], panel.age[:, column]) for column, symbol in enumerate(panel.symbols)
    }


def bins_of(panel: Panel, columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, bytes]]:
    """Yield symbol, column and content; the bins of a symbol reach over all rows of which the panel knows anything."""
    for place, symbol in enumerate(counted(panel.symbols)):
        known = np.flatnonzero(panel.exists[:, place] | (panel.age[:, place] > 0))
        first, after = (int(known[0]), int(known[-1]) + 1) if known.size else (0, 0)
        for name, values in columns.items():
            content, lost = encode_bin(values[first:after, place].astype(np.float64), first)
            tell_lost(lost, name, symbol)
            yield symbol, name, content


def tell_lost(lost: int, name: str, symbol: str) -> None:
    """Warn of values that float32 cannot hold."""
    if lost:
        LOGGER.warning("%s: %d values of %s are beyond float32 and missing in the Qlib store", symbol, lost, name)
