"""Which steps of a plan are computed together, in which order, and in which array each value lies.

The steps fall into segments: even ones are computed symbol by symbol; odd ones look at other symbols and take whole
rows. Values that one segment leaves for a later one are held for all symbols; all others live inside a block of
symbols. Inside a segment, elementwise steps and short sums that follow each other are one chain (`runs`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from .plan import Plan

SUMS = frozenset(("rolling:ts_sum", "rolling:ts_mean", "rolling:ts_count"))
SHORT = 32
"""Sums over windows of fewer bars than these go into chains: for each strip of some 170 rows they go through what they
look back to anew."""


@dataclass(frozen=True)
class Segment:
    """Steps that are computed together.

    Attributes
    ----------
    number
        Odd: on whole rows.
    steps
        Numbers, in order.
    sources
        What the steps read and the segment does not compute.
    exports
        Those whose values a later segment reads.
    frees
        For each of `steps`, what this segment reads for the last time there (nothing that is exported).
    last
        Steps of earlier segments that no later segment reads: their full-width values can go afterwards.
    """

    number: int
    steps: tuple[int, ...]
    sources: tuple[int, ...]
    exports: frozenset[int]
    frees: tuple[tuple[int, ...], ...]
    last: tuple[int, ...]


def segments(plan: Plan) -> tuple[Segment, ...]:
    """Return the plan's segments in order."""
    return plan.once("segments", lambda: _segments(plan))


def _segments(plan: Plan) -> tuple[Segment, ...]:
    groups: dict[int, list[int]] = {}
    for number in plan.order:
        groups.setdefault(plan.steps[number].segment, []).append(number)
    readers: dict[int, set[int]] = {}
    for number in plan.order:
        for used in plan.steps[number].inputs:
            readers.setdefault(used, set()).add(plan.steps[number].segment)
    return tuple(_segment(plan, group, _late(plan, steps), readers) for group, steps in sorted(groups.items()))


def _late(plan: Plan, steps: Sequence[int]) -> tuple[int, ...]:
    """Return the steps in order, elementwise ones on fields alone not before they are read.

    Fields are there all the time, so that nothing is held longer, and more of what is read once stays inside a chain.
    """
    late: set[int] = set()
    done: dict[int, None] = {}
    for number in steps:
        inputs = plan.steps[number].inputs
        if (
            plan.steps[number].operator.chains
            and number not in plan.names
            and all(used in late or not plan.steps[used].is_computed for used in inputs)
        ):
            late.add(number)
            continue
        wanted = {used for used in inputs if used in late and used not in done}
        todo = list(wanted)
        while todo:
            more = {used for used in plan.steps[todo.pop()].inputs if used in late and used not in done} - wanted
            wanted |= more
            todo += more
        done.update(dict.fromkeys((*sorted(wanted), number)))
    done.update(dict.fromkeys(sorted(late.difference(done))))
    return tuple(done)


def _segment(plan: Plan, group: int, steps: tuple[int, ...], readers: dict[int, set[int]]) -> Segment:
    last_reader = {used: number for number in steps for used in plan.steps[number].inputs}
    for number in steps:
        last_reader.setdefault(number, number)  # read by a factor or a later segment only
    exports = frozenset(number for number in steps if max(readers.get(number, {0})) > group)
    done_with: dict[int, list[int]] = {number: [] for number in steps}
    for used, reader in last_reader.items():
        done_with[reader].append(used)
    frees = tuple(tuple(done_with[number]) for number in steps)
    last = tuple(used for used in last_reader if plan.steps[used].segment < group and max(readers[used]) == group)
    own = frozenset(steps)
    sources = tuple(dict.fromkeys(used for number in steps for used in plan.steps[number].inputs if used not in own))
    return Segment(group, steps, sources, exports, frees, last)


def reaches(plan: Plan) -> Mapping[int, int]:
    """Return for each step how many rows back its readers look; recursive ones remember what they need."""
    return plan.once("reaches", lambda: _reaches(plan))


def _reaches(plan: Plan) -> Mapping[int, int]:
    found = dict.fromkeys(plan.needed, 0)
    for number in plan.order:
        own = plan.steps[number].own_lookback or 0
        for used in plan.steps[number].inputs:
            found[used] = max(found[used], own)
    return found


def runs(plan: Plan, segment: Segment) -> tuple[tuple[bool, tuple[int, ...]], ...]:
    """Return the segment's steps in order, those together that are one chain (True) or the others between (False)."""
    groups = groupby(segment.steps, lambda number: _chains(plan, number))
    return plan.once(("runs", segment.number), lambda: tuple((chained, tuple(numbers)) for chained, numbers in groups))


def is_chain(plan: Plan) -> bool:
    """True where all steps are one chain."""
    return [chained for segment in segments(plan) for chained, _ in runs(plan, segment)] == [True]


def _chains(plan: Plan, number: int) -> bool:
    operator = plan.steps[number].operator
    return operator.chains or (operator.kernel in SUMS and 0 < (plan.steps[number].own_lookback or 0) < SHORT)


def read_outside(plan: Plan, numbers: Collection[int]) -> frozenset[int]:
    """Return the steps of a chain that are read outside of it; the others need no array."""
    return frozenset(one for one in numbers if not plan.readers.get(one, frozenset()).issubset(numbers))


def places(plan: Plan, segment: Segment, held: Collection[int]) -> tuple[dict[int, int], int]:
    """Return the array of each step and source of a segment, and how many arrays there are.

    An array that was free last is taken first, as the cache still holds it. What is `held` for all symbols anyway has
    no place in a segment that looks across symbols, and what only a chain reads has none at all. A chain frees its
    operands at its end.
    """
    return plan.once(("places", segment.number, frozenset(held)), lambda: _places(plan, segment, held))


def _places(plan: Plan, segment: Segment, held: Collection[int]) -> tuple[dict[int, int], int]:
    skipped = frozenset(held) if segment.number % 2 else frozenset()
    frees = dict(zip(segment.steps, segment.frees, strict=True))
    found: dict[int, int] = {}
    free: list[int] = []
    count = 0
    for chained, numbers in runs(plan, segment):
        if chained:
            skipped = skipped.union(numbers).difference(plan.names, read_outside(plan, numbers))
        for part in [numbers] if chained else [(number,) for number in numbers]:
            for used in (one for number in part for one in (*plan.steps[number].inputs, number)):
                if used in found or used in skipped:
                    continue
                if not free:
                    free.append(count)
                    count += 1
                found[used] = free.pop()
            free += [found[used] for number in part for used in frees[number] if used in found]
    return found, count


def full_places(parts: Sequence[Segment]) -> tuple[dict[int, int], int]:
    """Return the array of each step held for all symbols, as a later segment reads it, and how many there are."""
    found: dict[int, int] = {}
    free: list[int] = []
    count = 0
    for segment in parts:
        for number in sorted(segment.exports):
            if not free:
                free.append(count)
                count += 1
            found[number] = free.pop()
        free += [found[number] for number in segment.last if number in found]
    return found, count


def live_arrays(plan: Plan) -> tuple[int, int]:
    """Return how many arrays are alive at once: inside a block, and for all symbols."""
    parts = segments(plan)
    held, whole = full_places(parts)
    counts = [(part.number % 2, places(plan, part, held)[1]) for part in parts]
    in_block, across = (max((count for odd, count in counts if odd == side), default=0) for side in (0, 1))
    return in_block, across + whole


def deepest(plan: Plan) -> int:
    """Return the longest look-back of one step; recursive ones remember what they need."""
    return plan.once("deepest", lambda: max((plan.steps[number].own_lookback or 0 for number in plan.order), default=0))


def overlap_rows(plan: Plan) -> int:
    """Return the rows that a chunk of time brings of the one before, or all there were: what one step looks back.

    A coarser bar is made where it closes: of rows that begin one coarser bar earlier than those it is joined to.
    """
    ratios = {call.timeframe: call.ratio for call in plan.bars_calls.values()}
    coarse = [(deepest(part) + 1) * ratios[timeframe] for timeframe, part in plan.coarse_plans.items()]
    return max(deepest(plan), *coarse, 0)
