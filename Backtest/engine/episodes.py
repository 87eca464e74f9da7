"""Listing episodes: each becomes one feed on the full clock, with prices that are finite on every row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.panel import Bools, Floats, Panel
from ..errors import RunError

PRICES = ("open", "high", "low", "close")
PLACEHOLDER = 1.0
"""Price of the rows before an episode's first bar: never traded, never a future value."""


@dataclass(frozen=True)
class Episode:
    """One listing of one symbol on the rows of the run's window.

    Attributes
    ----------
    symbol, column
        Whose episode it is.
    number
        1 for the symbol's first episode in the window, 2 for a relisting ...
    begin, proven
        The episode is alive on rows begin..proven-1. `proven` is the first row at whose close it is known to be over
        (any further bar would begin a new episode); the number of rows when it is still alive at the end.
    tradable
        bool [T].
    open, high, low, close
        float64 [T]: the bars; in a gap and after the end the last close in all four; before the first bar a
        placeholder. After `proven` the open (and low) is the settlement price.
    volume
        float64 [T], 0 where there is no bar.
    intact
        Every row of the panel is a sound bar of it: its prices are views of the panel's.
    """

    symbol: str
    column: int
    number: int
    begin: int
    proven: int
    tradable: Bools
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    intact: bool

    @property
    def name(self) -> str:
        """The symbol; ``SYMBOL#2`` for its second episode."""
        return self.symbol if self.number == 1 else f"{self.symbol}#{self.number}"


def checked_episodes(panel: Panel, scores: Floats, *, haircut: float, initial_cash: float) -> tuple[Episode, ...]:
    """Return the episodes of the window after checking what cannot be run at all."""
    rows, columns = panel.shape
    if scores.shape != (rows - panel.warmup, columns):
        raise RunError(f"scores have shape {scores.shape}; the window has {(rows - panel.warmup, columns)}")
    if not (np.isfinite(initial_cash) and initial_cash > 0):
        raise RunError(f"initial_cash is {initial_cash!r}; a positive number is allowed")
    episodes = find_episodes(panel, haircut=haircut)
    if not any(episode.tradable.any() for episode in episodes):
        raise RunError("no symbol has a tradable bar in the window; nothing can be run")
    return episodes


def find_episodes(panel: Panel, *, haircut: float) -> tuple[Episode, ...]:
    """Return the episodes that have a bar in the window, by symbol and time. Rows of the window only, no warm-up."""
    if is_intact(panel):
        volume = panel.fields.get("volume", np.zeros(panel.shape))
        return tuple(intact_episode(panel, column, volume[:, column]) for column in range(len(panel.symbols)))
    episodes = []
    for column in range(len(panel.symbols)):
        number = 0
        for begin, proven in spans(panel.age[:, column]):
            if panel.exists[max(begin, panel.warmup) : proven, column].any():
                number += 1
                episodes.append(episode_of(panel, column, begin, proven=proven, number=number, haircut=haircut))
    return tuple(episodes)


def is_intact(panel: Panel) -> bool:
    """Say whether every symbol has a sound bar, and a finite volume, on every row of one episode."""
    age, sound = panel.age, True
    if not (len(age) and age.size and panel.exists.all()):
        return False
    for name, lowest in (*((name, 0.0) for name in PRICES), ("volume", -np.inf)):
        values = panel.fields.get(name)
        # the comparisons are false where there is a NaN
        sound = sound and (values is None or bool(values.min() > lowest and values.max() < np.inf))
    # from row to row an age grows by 1 or falls
    return sound and bool(np.all(age[0] > 0) and np.all(age[-1] - age[0] == len(age) - 1))


def all_intact(episodes: tuple[Episode, ...], panel: Panel) -> bool:
    """Say whether the episodes are those of a panel in which nothing is missing, one for each column."""
    return len(episodes) == len(panel.symbols) and all(episode.intact for episode in episodes)


def intact_episode(panel: Panel, column: int, volume: Floats) -> Episode:
    """Return the one episode of a symbol that has a sound bar on every row; `volume` is of the panel's rows."""
    cut = slice(panel.warmup, len(panel.age))
    return Episode(
        symbol=panel.symbols[column],
        column=column,
        number=1,
        begin=0,
        proven=len(panel.age) - panel.warmup,
        tradable=panel.tradable[cut, column],
        volume=volume[cut],
        intact=True,
        **{name: panel.fields[name][cut, column] for name in PRICES},
    )


def spans(age: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Return (first row, first row after) of each run of rows whose age counts up."""
    if len(age) and age[0] > 0 and np.all(age[1:] - age[:-1] == 1):  # the usual one, five times faster
        return [(0, len(age))]
    previous = np.concatenate(([0], age[:-1]))
    starts = np.flatnonzero((age > 0) & (age != previous + 1) | (age > 0) & (previous == 0))
    after = np.flatnonzero((previous > 0) & (age != previous + 1))  # the row at which a run is over
    return [(int(start), int(min(after[after > start], default=len(age)))) for start in starts]


def episode_of(panel: Panel, column: int, begin: int, *, proven: int, number: int, haircut: float) -> Episode:
    """Return one episode; its prices never leave the finite positive numbers on a tradable row."""
    rows = len(panel.age)
    inside = np.zeros(rows, dtype=np.bool_)
    inside[begin:proven] = True
    bars = {name: panel.fields[name][:, column] for name in PRICES}
    sound = np.ones(rows, dtype=np.bool_)
    for values in bars.values():
        if not (values.min() > 0 and values.max() < np.inf):  # so too where there is a NaN
            sound &= (values > 0) & (values < np.inf)
    tradable = inside & panel.tradable[:, column]
    refuse_unsound(panel, column, tradable & ~sound)
    real = inside & panel.exists[:, column] & sound
    volume = panel.fields["volume"][:, column] if "volume" in panel.fields else np.zeros(rows)
    volume = np.where(real & np.isfinite(volume), volume, 0.0)
    if real.all():
        return intact_episode(panel, column, volume)
    close = carried(bars["close"], real)
    prices = {name: np.where(real, bars[name], close) for name in PRICES}
    after = slice(proven + 1, rows)
    prices["open"][after] = close[after] * (1.0 - haircut)
    prices["low"][after] = prices["open"][after]
    cut = slice(panel.warmup, rows)
    return Episode(
        symbol=panel.symbols[column],
        column=column,
        number=number,
        begin=max(0, begin - panel.warmup),
        proven=proven - panel.warmup,
        tradable=tradable[cut],
        volume=volume[cut],
        intact=False,
        **{name: np.ascontiguousarray(values[cut]) for name, values in prices.items()},
    )


def refuse_unsound(panel: Panel, column: int, wrong: Bools) -> None:
    """Refuse a bar that claims to be tradable with a price that is not finite and positive."""
    if wrong.any():
        row = int(np.argmax(wrong))
        found = ", ".join(f"{name} {panel.fields[name][row, column]!r}" for name in PRICES)
        raise RunError(
            f"{panel.symbols[column]}: the bar of {np.datetime_as_string(panel.timestamp[row], unit='s')}Z is marked "
            f"tradable but has {found}; prices must be finite and positive"
        )


def carried(values: Floats, known: Bools) -> Floats:
    """Return `values` where `known`, else the last known one, the placeholder before the first."""
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return np.where(last >= 0, values[np.maximum(last, 0)], PLACEHOLDER)


def refuse_unsound_prices(episode: Episode) -> None:
    """Refuse NaN, infinite, zero or negative prices: one of them would make the account's value NaN."""
    for name in ("open", "high", "low", "close"):
        values = getattr(episode, name)
        if values.min() > 0 and values.max() < np.inf:  # false where there is a NaN
            continue
        lowest = 0.0 if name in ("open", "low") else np.nextafter(0, 1)  # a haircut of 1 settles at 0
        with np.errstate(invalid="ignore"):
            wrong = ~np.isfinite(values) | (values < lowest) | (episode.tradable & (values <= 0))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise RunError(
                f"{episode.name}: {name} is {values[row]!r} at row {row}; prices must be finite and positive"
            )
