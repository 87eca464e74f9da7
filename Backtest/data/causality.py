"""Does a factor peek, or need more bars than it says? Recomputes on shorter panels and compares.

1. `causality_cuts`: where the panel is cut.
2. `_Check.joins`, the fields that are no klines: joined anew from what was known at a truncation, and from later
   starts: the same bits.
3. `_Check.call`, each library function on its own: the same call twice; without the bars from a truncation on; without
   the bars before a start's stated look-back. The shorter calls go to a fresh copy of its module, whose memory of
   earlier calls is empty. Values may differ by rounding, as functions are free in how they add up.
4. `_Check.expressions`, the operators on top, with the functions' values of the whole panel: the same bits.

Together they cover every factor: a function that keeps its values when bars are cut is as good as a field.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, RecipeError
from .causality_cuts import SEED, changes, outstanding, starts, truncations
from .clock import time_words
from .dsl.plan import Plan, PlannedFactor, reachable
from .dsl.steps import LibraryCall
from .factors import evaluated
from .fields import Fields, klines_of
from .library_run import differs, library_values, planned_function
from .panel import Panel
from .reach import LISTING, Reach

__all__ = ["KINDS", "SEED", "Verdict", "Violation", "check_causality"]

Floats = NDArray[np.float64]
Kind = Literal["look-ahead", "look-back", "start", "unrepeatable", "error"]

KINDS: dict[Kind, str] = {
    "look-ahead": "changes when later bars are cut off",
    "look-back": "changes when bars before its stated look-back are cut off",
    "start": "depends on where the data begin, although it states no look-back and got every bar of the listing",
    "unrepeatable": "differs from call to call on the same bars",
    "error": "fails on fewer bars",
}
HELD_BYTES = 1_000_000_000
"""Expression factors are compared in groups whose values on the whole panel stay below this."""


@dataclass(frozen=True)
class Violation:
    """One factor that breaks a rule, at the first cell where it shows.

    Attributes
    ----------
    factor, what
        Its name; ``factor``, ``definition`` under ``let``, or a joined ``field``.
    kind
        A key of KINDS.
    affects
        Factors that rest on it.
    cut
        Open time of the first bar cut off (``look-ahead``), or of the first bar computed (``look-back``, ``start``).
    symbol, timestamp
        The first cell that differs; None where the function failed.
    value, other
        Its value on all bars, and on fewer.
    cells
        How many values differ.
    detail
        What the function said, where it failed.
    """

    factor: str
    what: str
    kind: Kind
    affects: tuple[str, ...]
    cut: str | None
    symbol: str | None = None
    timestamp: str | None = None
    value: float | None = None
    other: float | None = None
    cells: int = 0
    detail: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        cut = f" (cut at {self.cut})" if self.cut else ""
        place = f": {self.symbol} at {self.timestamp}, {self.value} becomes {self.other}" if self.symbol else ""
        return f"{self.what} '{self.factor}' {KINDS[self.kind]}{cut}{place}{': ' + self.detail if self.detail else ''}"


@dataclass(frozen=True)
class Verdict:
    """What a check found; `untested` are factors whose look-back the data are too short to cut, with the reason."""

    violations: tuple[Violation, ...]
    untested: dict[str, str]


def check_causality(
    plan: Plan,
    panel: Panel,
    *,
    count: int,
    gap_tolerance: float,
    function_timeout: float | None = None,
    fields: Fields | None = None,
) -> Verdict:
    """Recompute a plan on `count` truncations and `count` later starts of a panel.

    Parameters
    ----------
    plan, panel
        As for `compute`.
    count
        Cuts of either kind, 1 or more; library functions get up to as many again, where their values stand out. The
        first ones are the same for every count.
    gap_tolerance, function_timeout
        As for `compute`.
    fields
        What filled the panel's fields that are no kline columns; None: they are taken as they are.

    Raises
    ------
    DataError
        The window has fewer than two bars.
    RecipeError
        A library function fails on the whole panel.
    """
    if panel.shape[0] - panel.warmup < 2:
        raise DataError("the window has fewer than two bars, so nothing can be cut off")
    check = _Check(plan, panel, count, gap_tolerance, function_timeout)
    if fields is not None:
        check.joins(fields)
    library: dict[int, Floats] = {}
    for number, call in plan.library_calls.items():
        library[number] = check.call(number, call)
    check.expressions(library)
    order = [*sorted(plan.fields), *(entry.name for entry in (*plan.definitions, *plan.factors))]
    found = sorted(check.found.values(), key=lambda one: (order.index(one.factor), list(KINDS).index(one.kind)))
    return Verdict(tuple(found), check.untested)


class _Check:
    def __init__(self, plan: Plan, panel: Panel, count: int, gap_tolerance: float, timeout: float | None) -> None:
        self.plan, self.panel, self.gap_tolerance, self.timeout = plan, panel, gap_tolerance, timeout
        self.count, self.cuts = count, truncations(panel, count)
        self.found: dict[tuple[str, Kind], Violation] = {}
        self.untested: dict[str, str] = {}

    # ---- library functions ----

    def call(self, number: int, call: LibraryCall) -> Floats:
        """Check a library function and return its values on the whole panel."""
        names, where = self.plan.names.get(number) or self.plan.titles[number], self.plan.title(number)
        affects = tuple(one.name for one in self.plan.factors if number in reachable(self.plan.steps, one.step))
        what = "factor" if number in self.plan.names else "definition"
        blank = Violation(names[0], what, "unrepeatable", affects, None)
        common: dict[str, Any] = {"where": where, "function_timeout": self.timeout, "check": False}
        whole, _ = library_values(call, self.panel, **common)
        again, _ = library_values(call, self.panel, **common)
        if self.compare(blank, whole, again, 0, differs(again, whole, whole)):
            return whole  # what differs by itself cannot tell a leak
        common["function"] = planned_function(call, fresh=True)
        marked = outstanding(whole, self.panel.exists, self.count)
        for cut in (*self.cuts, *(row + 1 for row in marked if self.panel.warmup <= row < len(whole) - 1)):
            blank = replace(blank, kind="look-ahead", cut=self.time(cut))
            values = self.values(blank, call, self.panel.rows(0, cut, warmup=self.panel.warmup), common)
            if values is None or self.compare(blank, whole[:cut], values, 0, differs(values, whole[:cut], whole)):
                break
        kind: Kind = "start" if call.lookback is None else "look-back"
        for start, begin in self.starts(call.lookback, affects, more=marked):
            blank = replace(blank, kind=kind, cut=self.time(start))
            values = self.values(blank, call, self.panel.rows(begin, len(whole), warmup=start - begin), common)
            if values is None:
                break
            values = values[start - begin :]
            if self.compare(blank, whole[start:], values, start, differs(values, whole[start:], whole)):
                break
        return whole

    def values(self, blank: Violation, call: LibraryCall, part: Panel, common: dict[str, Any]) -> Floats | None:
        """Return a function's values on a part of the panel, or None and a violation where it fails."""
        try:
            return library_values(call, part, **common)[0]
        except RecipeError as error:
            self.found[blank.factor, "error"] = replace(blank, kind="error", detail=str(error))
            return None

    # ---- fields beside the klines ----

    def joins(self, fields: Fields) -> None:
        """Join again what was known at each truncation, and to the bars of each later start.

        Half of the truncations come right after a bar on which a joined value changes: a stamp that came too early
        shows nowhere else, and stamps are few.
        """
        names = sorted(self.plan.fields - klines_of(self.plan.fields))
        affects = {name: tuple(one.name for one in self.plan.factors if name in one.fields) for name in names}
        klines = replace(self.panel, fields={})
        for cut in (*self.cuts, *changes(self.panel, names, len(self.cuts))):
            known = fields.known_at(self.panel.timeframe.open_ns(self.panel.first_bar + cut))
            self.same_fields(known, klines.rows(0, cut, warmup=self.panel.warmup), affects, 0, "look-ahead", cut)
        for start, _ in self.starts(0, tuple(dict.fromkeys(name for used in affects.values() for name in used))):
            later = klines.rows(start, self.panel.shape[0])
            self.same_fields(fields, later, affects, start, "start", start)

    def same_fields(
        self, fields: Fields, part: Panel, affects: dict[str, tuple[str, ...]], begin: int, kind: Kind, cut: int
    ) -> None:
        """Compare joined fields of the panel, rows `begin` on, with those of a part of it, bit by bit."""
        joined = fields.filled(part, affects).fields
        for name, factors in affects.items():
            right = joined[name]
            left = np.ascontiguousarray(self.panel.fields[name][begin : begin + len(right)])
            blank = Violation(name, "field", kind, factors, self.time(cut))
            self.compare(blank, left, right, begin, left.view(np.uint64) != right.view(np.uint64))

    # ---- expressions ----

    def expressions(self, library: dict[int, Floats]) -> None:
        """Check the operators of every factor, in groups of the same look-back."""
        for part in _groups(self.plan, self.panel):
            whole = self.evaluated(part, self.panel, library, 0)
            for cut in self.cuts:
                values = self.evaluated(part, self.panel.rows(0, cut, warmup=self.panel.warmup), library, 0)
                self.bits(part, whole, values, self.panel.warmup, "look-ahead", cut)
            names = tuple(factor.name for factor in part.factors)
            kind: Kind = "start" if part.expression_lookback is None else "look-back"
            for start, begin in self.starts(part.expression_lookback, names, part.expression_reach):
                later = self.panel.rows(begin, self.panel.shape[0], warmup=start - begin)
                self.bits(part, whole, self.evaluated(part, later, library, begin), start, kind, start)

    def evaluated(self, part: Plan, panel: Panel, library: dict[int, Floats], begin: int) -> dict[str, Floats]:
        rows = slice(begin, begin + panel.shape[0])
        own = {number: library[number][rows] for number in part.library_calls}
        return evaluated(part, panel, own, gap_tolerance=self.gap_tolerance)

    def bits(
        self, part: Plan, whole: dict[str, Floats], values: dict[str, Floats], start: int, kind: Kind, cut: int
    ) -> None:
        """Compare every factor of a group from row `start` of the panel on, bit by bit."""
        for factor in part.factors:
            first = start - self.panel.warmup
            left, right = whole[factor.name][first : first + len(values[factor.name])], values[factor.name]
            blank = Violation(factor.name, "factor", kind, (factor.name,), self.time(cut))
            self.compare(blank, left, right, start, left.view(np.uint64) != right.view(np.uint64))

    # ---- shared ----

    def starts(
        self, lookback: int | None, names: tuple[str, ...], reach: Reach = LISTING, *, more: Sequence[int] = ()
    ) -> Iterator[tuple[int, int]]:
        """Yield (first row that is compared, first row that is there, as a run would load it) of every later start.

        `more`: rows to start from as well, where that leaves something to cut off.
        """
        rows = self.panel.shape[0]
        least = max(self.panel.warmup, lookback or 0) + 1
        if least >= rows:
            reason = f"its look-back of {lookback:,} bars leaves nothing to cut off from {rows:,} bars"
            self.untested.update(dict.fromkeys(names, reason))
            return
        drawn = starts(self.panel, least, self.count, lookback)
        for start in (*drawn, *(row for row in more if row >= least)):
            yield start, start - lookback if lookback is not None else self.first_row(start, reach)

    def first_row(self, start: int, reach: Reach) -> int:
        """Return the first row that a run from `start` on would load, or the panel's first."""
        return max(0, reach.begin(start, first=0, oldest=partial(_first_alive, self.panel)))

    def compare(self, blank: Violation, left: Floats, right: Floats, start: int, wrong: NDArray[np.bool_]) -> bool:
        """Note the first place where `wrong`, rows `start` on, is true; return whether there is one.

        `left` are the values on all bars, `right` those on fewer. Rows of look-back do not count: nobody sees them.
        """
        wrong[: max(0, self.panel.warmup - start)] = False
        key = (blank.factor, blank.kind)
        if not wrong.any() or key in self.found:
            return bool(wrong.any())
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        self.found[key] = replace(
            blank,
            symbol=self.panel.symbols[column],
            timestamp=self.time(start + row),
            value=_number(left[row, column]),
            other=_number(right[row, column]),
            cells=int(np.count_nonzero(wrong)),
        )
        return True

    def time(self, row: int) -> str:
        return time_words(self.panel.timeframe.open_ns(self.panel.first_bar + row))


def _first_alive(panel: Panel, row: int) -> int:
    """Return the first row of the oldest listing episode that is alive at `row`."""
    age = panel.age[row]
    alive = age > 0
    return max(0, row - int(age[alive].max()) + 1) if alive.any() else row


def _groups(plan: Plan, panel: Panel) -> Iterator[Plan]:
    """Yield plans of expression factors that look back equally far, each small enough to be held whole."""
    rows, symbols = panel.shape
    largest = max(1, HELD_BYTES // max(1, rows * symbols * 8))
    given = (str, LibraryCall)
    computed = [
        (_depth(plan, factor), factor)
        for factor in plan.factors
        if not isinstance(plan.steps[factor.step].source, given)
    ]
    computed.sort(key=lambda pair: pair[0])
    for _, group in groupby(computed, key=lambda pair: pair[0]):
        factors = [factor for _, factor in group]
        for begin in range(0, len(factors), largest):
            yield plan.part(tuple(factors[begin : begin + largest]))


def _depth(plan: Plan, factor: PlannedFactor) -> int:
    lookback = plan.only(factor).expression_lookback
    return -1 if lookback is None else lookback


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
