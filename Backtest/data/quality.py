"""What is wrong with klines: every irregularity found, counted, and dealt with by a stated rule.

Raw rows become clean bars in this order; a DataError refuses the symbol:

1. `_times_of`: rows whose open_time is unreadable are bad rows; mixed time formats refuse.
2. `_sort`: rows are put in time order; identical duplicates are dropped, differing ones refuse.
3. `_check_instants`: bars in the future or older than any coin, or closing at or before they open, or too late for
   their timeframe, refuse.
4. `_check_spacing`: a usual distance of bars other than the timeframe refuses.
5. `_judge`: bad rows (see BAD_KINDS) are dropped: their bars count as missing.
6. `_notes`: what stays but is told: zero volume, outliers, empty optional cells.

`check_bad_share` belongs to the load, not to the file: it depends on a setting, as `gaps` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .bars import Finding
from .cells import EPOCH_UNITS, NAIVE, ZONED, Integers, Times
from .clock import time_words
from .panel import Bools, Floats
from .rows import RawRows
from .schema import BY_NAME, PRICES
from .timeframe import DAY_SECONDS, SECOND_NS, Timeframe

BAD_KINDS = {
    "non_numeric": "a cell that is neither a number nor a time",
    "missing_cells": "an empty cell in a required column",
    "not_finite": "an infinite number",
    "non_positive_price": "a price of zero or below",
    "crossed": "high below low, or open or close outside them",
    "negative_amount": "a volume or count below zero",
    "off_grid": "an open time that is no multiple of the timeframe",
}
"""Rows dropped, each under the first kind that fits."""

KINDS = {
    "ignored_columns": "unknown columns, not read",
    "unterminated": "no line break after the last row: it may be cut",
    "time_units": "epoch times of several units, in time order once scaled",
    "unsorted": "rows that stand after a later one; sorted",
    "duplicates": "rows equal to another in every column; dropped",
    **{kind: f"{words}; the row is dropped" for kind, words in BAD_KINDS.items()},
    "empty_cells": "bars with an empty cell in an optional column; missing values",
    "zero_volume": "bars without volume; kept, not tradable",
    "price_outliers": "bars with a price over 10 times, or under a tenth of, the median of the 5 closes around; kept",
    "volume_outliers": "bars whose volume x close is over 100000 times the median; kept",
    "gaps": "runs of missing bars; nothing is filled",
    "episodes": "listing episodes; look-back never reaches across",
    "partial_bars": "resampled bars with missing bars inside; kept",
    "last_bar_dropped": "the last bar may still have been forming; dropped",
    "last_bar_kept": "the last bar may still have been forming; kept as set",
}
"""Kinds of findings and their rules, in the order they are reported."""

PRICE_OUTLIER = 10.0
"""Between two bars of a coin more than a factor of ten is a bad print, a redenomination or a first hour of trading."""
VOLUME_OUTLIER = 1e5
FIRST_COIN_NS = 1_231_006_505 * SECOND_NS
"""2009-01-03, Bitcoin's first block. A bar before it is a zero or a cut number read as a time, and would make the clock
of the whole run begin there."""
NEIGHBOURS = 5
MEDIAN_ROWS = 1 << 16
ODD_STRETCH = 20
"""Equal distances in a row, other than the timeframe, that no run of outages makes: the file changes its timeframe."""


@dataclass(frozen=True)
class CleanBars:
    """The bars of one file after every rule that does not depend on settings; what the klines cache stores.

    Attributes
    ----------
    index
        int64 [N], absolute bar indices, strictly ascending.
    columns
        Field name -> float64 [N].
    findings
        What was found in the file.
    rows
        Rows of the file, of which `bad_rows` were dropped as bad.
    available
        All fields of the file, read or not.
    """

    index: Integers
    columns: Mapping[str, Floats]
    findings: tuple[Finding, ...]
    rows: int
    available: tuple[str, ...]

    @property
    def bad_rows(self) -> int:
        """Rows dropped for a kind of BAD_KINDS."""
        return sum(finding.count for finding in self.findings if finding.kind in BAD_KINDS)


def clean(raw: RawRows, *, timeframe: Timeframe, now_ns: int) -> CleanBars:
    """Return the bars of one file's rows; raise DataError for what cannot be repaired by a rule."""
    unreadable, findings = _times_of(raw)
    order, more = _sort(raw, np.flatnonzero(~unreadable))
    findings += more
    _check_instants(raw, order, timeframe=timeframe, now_ns=now_ns)
    opened = raw.times["open_time"].ns[order]
    _check_spacing(opened, timeframe)
    bad = _judge(raw, order, timeframe)
    findings += _bad_findings(raw, order, bad, np.flatnonzero(unreadable))
    kept = order[bad < 0]
    index = (raw.times["open_time"].ns[kept] - timeframe.origin_ns) // timeframe.ns
    columns = {name: np.ascontiguousarray(_at(cells.values, kept)) for name, cells in raw.numbers.items()}
    findings += _notes(raw, kept, columns)
    return CleanBars(index, columns, in_order(findings), len(raw), tuple(columns))


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """Return findings in the order of KINDS."""
    places = {kind: place for place, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda finding: places[finding.kind]))


def duration_words(ns: int) -> str:
    """Return a duration in its largest whole unit, e.g. ``4h``."""
    for unit, seconds in (("d", DAY_SECONDS), ("h", 3600), ("m", 60), ("s", 1)):
        if ns % (seconds * SECOND_NS) == 0:
            return f"{ns // (seconds * SECOND_NS)}{unit}"
    return f"{ns / SECOND_NS:g}s"


def _row(raw: RawRows, position: int) -> str:
    return f"row {position + raw.first_row}"


def _at(values: Floats, order: Integers) -> Floats:
    """Return ``values[order]``; `values` themselves where that is all of them in order, as in most files."""
    whole = len(order) == len(values) and bool((np.diff(order) == 1).all())
    return values if whole else values[order]


def _times_of(raw: RawRows) -> tuple[Bools, list[Finding]]:
    """Return which rows have no readable open time, and findings about the file's form."""
    findings = []
    if raw.ignored:
        findings.append(Finding("ignored_columns", len(raw.ignored), "", ", ".join(raw.ignored)))
    if raw.unterminated:
        findings.append(Finding("unterminated", 1, "", f"{_row(raw, len(raw) - 1)} has no line break; kept"))
    opened = raw.times["open_time"]
    for name, times in raw.times.items():
        _check_formats(raw, name, times)
    if not opened.valid.any():
        raise DataError(f"{_row(raw, 0)}: open_time is not a time; epoch s, ms or us or ISO 8601 are allowed")
    units = np.unique(opened.unit[opened.valid])
    if len(units) > 1:
        findings.append(_mixed_units(raw, opened))
    return ~opened.valid, findings


def _check_formats(raw: RawRows, name: str, times: Times) -> None:
    """Refuse epoch numbers beside ISO, zoned beside naive, and two zones: which one is wrong cannot be known."""
    forms = np.where(times.unit < NAIVE, 0, times.unit)
    first = {int(form): int(np.argmax(times.valid & (forms == form))) for form in np.unique(forms[times.valid])}
    if len(first) > 1:
        called = {0: "an epoch number", NAIVE: "ISO without a zone", ZONED: "ISO with a zone"}
        in_file = sorted((row, called[form]) for form, row in first.items())
        found = ", ".join(f"{_row(raw, row)} is {words}" for row, words in in_file)
        raise DataError(f"{name} mixes formats: {found}; one is allowed")
    if len(times.zones) > 1:
        found = ", ".join(f"{_row(raw, row)} has UTC{minutes / 60:+g}h" for minutes, row in times.zones.items())
        raise DataError(f"{name} mixes time zones: {found}; one is allowed")


def _mixed_units(raw: RawRows, opened: Times) -> Finding:
    rows = np.flatnonzero(opened.valid)
    unit, ns = opened.unit[rows], opened.ns[rows]
    change = int(np.flatnonzero(np.diff(unit))[0]) + 1
    before, behind = EPOCH_UNITS[unit[change - 1]], EPOCH_UNITS[unit[change]]
    words = f"{before} before and {behind} from {_row(raw, int(rows[change]))} on"
    if (np.diff(ns) < 0).any():
        raise DataError(f"open_time mixes units, {words}, and is not in time order; sort the file or use one unit")
    return Finding("time_units", int((np.diff(unit) != 0).sum()), time_words(int(ns[change])), words)


def _sort(raw: RawRows, readable: Integers) -> tuple[Integers, list[Finding]]:
    """Return the positions of readable rows in time order without duplicates."""
    ns = raw.times["open_time"].ns[readable]
    findings = []
    late = ns < np.maximum.accumulate(ns)
    if late.any():
        first = int(np.argmax(late))
        where = f"sorted, first {_row(raw, int(readable[first]))}"
        findings.append(Finding("unsorted", int(late.sum()), time_words(int(ns[first])), where))
        readable = readable[np.argsort(ns, kind="stable")]
        ns = raw.times["open_time"].ns[readable]
    again = np.flatnonzero(np.diff(ns) == 0) + 1
    if len(again):
        _check_duplicates(raw, readable, again)
        where = f"dropped, first {_row(raw, int(readable[again[0]]))}"
        findings.append(Finding("duplicates", len(again), time_words(int(ns[again[0]])), where))
        readable = np.delete(readable, again)
    return readable, findings


def _check_duplicates(raw: RawRows, order: Integers, again: Integers) -> None:
    one, other = order[again - 1], order[again]
    for name, times in raw.times.items():
        _refuse_difference(raw, name, times.ns[one] != times.ns[other], one, other)
    for name, cells in raw.numbers.items():
        left, right = cells.values[one], cells.values[other]
        same = (left == right) | (np.isnan(left) & np.isnan(right) & (cells.text[one] == cells.text[other]))
        _refuse_difference(raw, name, ~same, one, other)


def _refuse_difference(raw: RawRows, name: str, differ: Bools, one: Integers, other: Integers) -> None:
    if differ.any():
        at = int(np.argmax(differ))
        time = time_words(int(raw.times["open_time"].ns[one[at]]))
        rows = f"{_row(raw, int(one[at]))} and {_row(raw, int(other[at]))}"
        raise DataError(f"{rows} are both {time} and differ in {name}; one bar has one row")


def _check_instants(raw: RawRows, order: Integers, *, timeframe: Timeframe, now_ns: int) -> None:
    opened = raw.times["open_time"].ns[order]
    if len(order) and opened[0] < FIRST_COIN_NS:
        times = f"open_time {time_words(int(opened[0]))} is before {time_words(FIRST_COIN_NS)}, Bitcoin's first block"
        raise DataError(f"{_row(raw, int(order[0]))}: {times}")
    if len(order) and opened[-1] > now_ns:
        at = int(np.searchsorted(opened, now_ns, side="right"))
        times = f"open_time {time_words(int(opened[at]))} is in the future, now is {time_words(now_ns)}"
        raise DataError(f"{_row(raw, int(order[at]))}: {times}")
    for name in ("close_time", "premium_close_time"):
        if name not in raw.times:
            continue
        closed, valid = raw.times[name].ns[order], raw.times[name].valid[order]
        early = valid & (closed <= opened) & (name == "close_time")
        late = valid & (closed > opened + timeframe.ns)
        for wrong, rule in ((early, "is not after"), (late, f"is more than {duration_words(timeframe.ns)} after")):
            if wrong.any():
                at = int(np.argmax(wrong))
                times = f"{name} {time_words(int(closed[at]))} {rule} open_time {time_words(int(opened[at]))}"
                raise DataError(f"{_row(raw, int(order[at]))}: {times}")


def _check_spacing(opened: Integers, timeframe: Timeframe) -> None:
    """Refuse a file whose usual distance of bars, in all of it or for a stretch, is not its timeframe."""
    steps = np.diff(opened)
    distances, counts = np.unique(steps, return_counts=True)
    if not len(distances):
        return
    asked = duration_words(timeframe.ns)
    usual, count = int(distances[np.argmax(counts)]), int(counts.max())
    # one odd distance alone, as between the only two bars, may be a gap
    if timeframe.ns not in distances[counts == count] and (usual % timeframe.ns or count > 1):
        raise DataError(f"bars are {duration_words(usual)} apart, the timeframe is {asked}")
    begins = np.flatnonzero(np.diff(steps, prepend=0))
    lengths = np.diff(np.append(begins, len(steps)))
    stretches = begins[(lengths >= ODD_STRETCH) & (steps[begins] != timeframe.ns)]
    if len(stretches):
        at = int(stretches[0])
        words = f"from {time_words(int(opened[at]))} on bars are {duration_words(int(steps[at]))} apart"
        raise DataError(f"{words}, the timeframe is {asked}")


def _judge(raw: RawRows, order: Integers, timeframe: Timeframe) -> Integers:
    """Return for each row its place in BAD_KINDS, -1 for a good one."""
    numbers = {name: _at(cells.values, order) for name, cells in raw.numbers.items()}
    required = [name for name in numbers if BY_NAME[name].required]
    amounts = [name for name in numbers if BY_NAME[name].kind == "amount"]
    unread = [~times.valid[order] & ~times.empty[order] for times in raw.times.values()]
    high, low = numbers["high"], numbers["low"]
    inner = (numbers["open"], numbers["close"])
    tests = (
        [cells.text[order] for cells in raw.numbers.values()] + unread,
        [np.isnan(numbers[name]) for name in required],
        [np.isinf(values) for values in numbers.values()],
        [numbers[name] <= 0 for name in PRICES],
        [high < low, *(value > high for value in inner), *(value < low for value in inner)],
        [numbers[name] < 0 for name in amounts],
        [(raw.times["open_time"].ns[order] - timeframe.origin_ns) % timeframe.ns != 0],
    )
    bad = np.full(len(order), -1, np.int64)
    for place in range(len(tests) - 1, -1, -1):
        bad[np.logical_or.reduce(tests[place])] = place
    return bad


def _bad_findings(raw: RawRows, order: Integers, bad: Integers, unreadable: Integers) -> list[Finding]:
    findings = []
    opened = raw.times["open_time"].ns
    for place, kind in enumerate(BAD_KINDS):
        rows = order[bad == place]
        count = len(rows) + (len(unreadable) if place == 0 else 0)
        if not count:
            continue
        candidates = np.concatenate((rows, unreadable)) if place == 0 else rows
        when = time_words(int(opened[rows[0]])) if len(rows) else ""
        findings.append(Finding(kind, count, when, f"dropped, first {_row(raw, int(candidates.min()))}"))
    return findings


def _notes(raw: RawRows, kept: Integers, columns: Mapping[str, Floats]) -> list[Finding]:
    optional = {name: np.isnan(values) for name, values in columns.items() if not BY_NAME[name].required}
    with_gaps = [name for name, gaps in optional.items() if gaps.any()]
    empty = np.logical_or.reduce(list(optional.values())) if optional else np.zeros(len(kept), np.bool_)
    found = (
        ("empty_cells", empty, "missing in " + ", ".join(with_gaps)),
        ("zero_volume", columns["volume"] == 0, "kept, not tradable"),
        ("price_outliers", price_outliers(columns), "kept"),
        ("volume_outliers", volume_outliers(columns), "kept"),
    )
    findings = []
    for kind, rows, words in found:
        if rows.any():
            at = int(kept[np.argmax(rows)])
            when = time_words(int(raw.times["open_time"].ns[at]))
            findings.append(Finding(kind, int(rows.sum()), when, f"{words}, first {_row(raw, at)}"))
    return findings


def price_outliers(columns: Mapping[str, Floats]) -> Bools:
    """Return bars with a price beyond PRICE_OUTLIER times the median of the NEIGHBOURS closes around them."""
    close = columns["close"]
    if not len(close):
        return np.zeros(0, np.bool_)
    padded = np.pad(close, NEIGHBOURS // 2, mode="reflect" if len(close) > NEIGHBOURS // 2 else "edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS)
    pieces = range(0, len(around), MEDIAN_ROWS)  # the median copies its windows
    reference = np.concatenate([np.median(around[row : row + MEDIAN_ROWS], axis=1) for row in pieces])
    with np.errstate(over="ignore"):  # nothing lies beyond an infinite limit
        high, low = PRICE_OUTLIER * reference, reference / PRICE_OUTLIER
    return np.asarray(np.logical_or.reduce([(columns[name] > high) | (columns[name] < low) for name in PRICES]))


def volume_outliers(columns: Mapping[str, Floats]) -> Bools:
    """Return bars whose traded value (volume x close: prices drift by orders of magnitude) dwarfs the median."""
    with np.errstate(over="ignore"):  # beyond the largest double is over any limit too
        value = columns["volume"] * columns["close"]
    positive = value[value > 0]
    limit = VOLUME_OUTLIER * float(np.median(positive)) if len(positive) else np.inf
    return np.asarray(value > limit)


def check_bad_share(bars: CleanBars, limit: float) -> None:
    """Raise DataError when more than the share `limit` of the rows was dropped as bad."""
    if bars.bad_rows > limit * bars.rows:
        found = "; ".join(f"{one.kind} {one.count} ({one.detail})" for one in bars.findings if one.kind in BAD_KINDS)
        raise DataError(f"{bars.bad_rows} of {bars.rows} rows are bad, max_bad_rows allows {limit:g} of them: {found}")
