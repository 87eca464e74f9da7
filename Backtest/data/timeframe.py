"""The timeframe: one type for ``2H``, ``2h``, ``120m`` and ``120min``, and its place on the absolute clock."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import SettingsError

SECOND_NS = 1_000_000_000
DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS
FIRST_MONDAY_SECONDS = 4 * DAY_SECONDS
"""1970-01-05, the first Monday after the epoch: weeks are aligned to it."""

YEAR_SECONDS = 365 * DAY_SECONDS

UNITS = {
    "s": 1, "sec": 1, "m": 60, "min": 60, "t": 60, "h": 3600, "hour": 3600,
    "d": DAY_SECONDS, "day": DAY_SECONDS, "w": WEEK_SECONDS, "week": WEEK_SECONDS,
}  # fmt: skip
LABEL = re.compile(r"([1-9][0-9]{0,5})([A-Za-z]+)", re.ASCII)


@dataclass(frozen=True)
class Timeframe:
    """A bar length. Two labels of one length are equal; the label is kept for output paths.

    Attributes
    ----------
    seconds
        Bar length.
    label
        As the user typed it.
    """

    seconds: int
    label: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timeframe) and self.seconds == other.seconds

    def __hash__(self) -> int:
        return hash(self.seconds)

    @property
    def ns(self) -> int:
        """Bar length in nanoseconds."""
        return self.seconds * SECOND_NS

    @property
    def origin_ns(self) -> int:
        """Open time of the bar with absolute index 0: the epoch, for whole weeks the first Monday."""
        return FIRST_MONDAY_SECONDS * SECOND_NS if self.seconds % WEEK_SECONDS == 0 else 0

    @property
    def bars_per_day(self) -> float:
        """Bars in 24 hours (below 1 for bars longer than a day)."""
        return DAY_SECONDS / self.seconds

    @property
    def bars_per_year(self) -> float:
        """Bars in 365 days: crypto trades every day."""
        return YEAR_SECONDS / self.seconds

    def index(self, time_ns: int) -> int:
        """Return the absolute index of the bar that holds `time_ns`."""
        return (time_ns - self.origin_ns) // self.ns

    def first_at_or_after(self, time_ns: int) -> int:
        """Return the absolute index of the first bar that opens at or after `time_ns`."""
        return -((self.origin_ns - time_ns) // self.ns)

    def open_ns(self, index: int) -> int:
        """Return the open time of the bar with absolute index `index`, in nanoseconds since the epoch."""
        return self.origin_ns + index * self.ns


def parse_timeframe(label: str) -> Timeframe:
    """Return the timeframe a label names; ``m`` and ``min`` are minutes, months are not a timeframe."""
    seconds = _seconds("timeframe", label)
    if seconds > YEAR_SECONDS:
        raise SettingsError(f"timeframe {label[:80]!r} is longer than a year, the longest bar that is made")
    return Timeframe(seconds, label.strip())


def parse_duration(text: str, name: str = "duration") -> int:
    """Return a duration such as ``3d`` or ``90min`` in nanoseconds; `name` is what the error calls it."""
    return _seconds(name, text) * SECOND_NS


def _seconds(name: str, text: str) -> int:
    match = LABEL.fullmatch(text.strip())
    unit = match[2] if match else ""
    seconds_per_unit = UNITS.get(unit.lower())
    if match is None or seconds_per_unit is None or unit == "M":
        rule = "write a number and s, m|min, h, d or w, e.g. 15m, 4h, 1d"
        raise SettingsError(f"{name} {text[:80]!r} is not known; {rule}")
    return int(match[1]) * seconds_per_unit
