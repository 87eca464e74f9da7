"""The plan: everything a recipe demands of the data, as a value, before any data is read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar, cast

from ..reach import Reach, add_hops, join_reaches
from ..timeframe import Timeframe
from .operators import Operator
from .steps import BarsCall, Kind, LibraryCall, Step, bars_lookback, total_lookback

Made = TypeVar("Made")


@dataclass(frozen=True)
class PlannedFactor:
    """One factor of the recipe, or one definition under ``let``, and what it needs.

    Attributes
    ----------
    name, type, expression, source, params, na_threshold, description
        As in the recipe; `params` are complete, with the function's defaults.
    step
        Number of the step whose values the factor is.
    kind
        ``series`` or ``mask`` (1.0, 0.0, NaN); a definition may be a ``group`` as well.
    lookback
        Bars before t; None: from the episode's first bar.
    fields, operators
        Names it rests on, sorted.
    """

    name: str
    step: int
    kind: Kind
    lookback: int | None
    fields: tuple[str, ...]
    operators: tuple[str, ...]
    type: str = "expression"
    expression: str | None = None
    source: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    na_threshold: float | None = None
    description: str = ""


@dataclass(frozen=True)
class Plan:
    """A compiled recipe. It holds no function and no data, so it travels to worker processes, and serves any panel.

    Attributes
    ----------
    steps
        Every distinct computation once; a step's operands have smaller numbers.
    factors
        In the recipe's order.
    definitions
        What stands under the recipe's ``let``: computed where factors need it, and not stored.
    dialect
        The language of the recipe's expressions.
    coarse
        Steps on coarser bars, which the `BarsCall` among `steps` join; they rest on fields and on each other only.
    skipped
        Factor that was left out -> why: nothing fills a field that it needs.
    """

    steps: tuple[Step, ...]
    factors: tuple[PlannedFactor, ...]
    definitions: tuple[PlannedFactor, ...] = ()
    dialect: str = "default"
    coarse: Mapping[Timeframe, tuple[Step, ...]] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what `make` makes of the plan and `key`: made when it is first asked for, then the same one."""
        if key not in self._made:
            self._made[key] = make()
        return cast(Made, self._made[key])

    @cached_property
    def fields(self) -> frozenset[str]:
        """Panel fields that are needed, whoever fills them (`data.fields`)."""
        return frozenset(name for factor in self.factors for name in factor.fields)

    @cached_property
    def lookback(self) -> int | None:
        """Bars before the window that must be loaded; None: as far as `reach` says."""
        return total_lookback([factor.lookback for factor in self.factors])

    @cached_property
    def expression_lookback(self) -> int | None:
        """Longest look-back counted from the fields and library values that operators and `bars` start from."""
        depth: dict[int, int | None] = {}
        for number in self.needed:
            step = self.steps[number]
            own = step.lookback if isinstance(step.source, BarsCall) else step.own_lookback
            depth[number] = add_hops(own, total_lookback([depth[used] for used in step.inputs]))
        return total_lookback(list(depth.values()))

    @cached_property
    def reach(self) -> Reach:
        """How far back the values rest on bars: what must be loaded."""
        if self.lookback is not None:
            return Reach((self.lookback,))
        return self._reach({number: call.reach for number, call in self.library_calls.items()})

    @cached_property
    def expression_reach(self) -> Reach:
        """How far back the values rest on fields and library values."""
        return self._reach({})

    def _reach(self, given: Mapping[int, Reach]) -> Reach:
        """Return the reach, counted from what the steps of `given` rest on."""
        found: dict[int, Reach] = {}
        for number in self.needed:
            step = self.steps[number]
            below = join_reaches(found[used] for used in step.inputs)
            if isinstance(step.source, BarsCall):
                found[number] = self._coarse_reach(number, step.source)
            elif number in given:
                found[number] = given[number]
            else:
                found[number] = (below.across if step.looks_across else below.further)(step.own_lookback)
        return join_reaches(found[factor.step] for factor in self.factors)

    def _coarse_reach(self, number: int, call: BarsCall) -> Reach:
        part = self.coarse_plans[call.timeframe]
        (factor,) = (one for one in part.factors if one.name == str(number))
        inner = part.only(factor).reach
        return Reach(tuple(bars_lookback(hop, call.ratio) for hop in inner.hops), inner.whole)

    @cached_property
    def needed(self) -> tuple[int, ...]:
        """Steps that the factors rest on: all of them, unless the plan is a part of another (`only`)."""
        return reachable(self.steps, *(factor.step for factor in self.factors))

    def only(self, factor: PlannedFactor) -> Plan:
        """Return the plan of one factor."""
        return self.part((factor,))

    def part(self, factors: tuple[PlannedFactor, ...]) -> Plan:
        """Return the plan of some factors."""
        return replace(self, factors=factors)

    @cached_property
    def cross_symbol(self) -> bool:
        """True when a value depends on the run's other symbols: `cs_*`, or a library function asks for ``symbols``."""
        sources = (self.steps[number].source for number in self.needed)
        across = any(isinstance(source, Operator) and source.family == "cross" for source in sources)
        coarse = any(plan.cross_symbol for plan in self.coarse_plans.values())
        return across or coarse or any(call.cross for call in self.library_calls.values())

    @cached_property
    def library_calls(self) -> Mapping[int, LibraryCall]:
        """Step -> library function, each distinct call once."""
        sources = {number: self.steps[number].source for number in self.needed}
        return {number: source for number, source in sources.items() if isinstance(source, LibraryCall)}

    @cached_property
    def extra_symbols(self) -> tuple[str, ...]:
        """Symbols to load besides the run's own, sorted."""
        named = {symbol for number in self.needed for symbol in self.steps[number].symbols}
        named.update(*(call.extra_symbols for call in self.library_calls.values()))
        named.update(*(plan.extra_symbols for plan in self.coarse_plans.values()))
        return tuple(sorted(named))

    @cached_property
    def bars_calls(self) -> Mapping[int, BarsCall]:
        """Step -> value on coarser bars."""
        sources = {number: self.steps[number].source for number in self.needed}
        return {number: source for number, source in sources.items() if isinstance(source, BarsCall)}

    @cached_property
    def coarse_plans(self) -> Mapping[Timeframe, Plan]:
        """Timeframe -> plan of what this one takes from its bars: a factor for each call, named by its step here."""
        calls: dict[Timeframe, list[PlannedFactor]] = {}
        for number, call in self.bars_calls.items():
            inner = self.coarse[call.timeframe][call.step]
            calls.setdefault(call.timeframe, []).append(
                PlannedFactor(str(number), call.step, inner.kind, inner.lookback, call.inputs, call.operators)
            )
        return {timeframe: Plan(self.coarse[timeframe], tuple(found)) for timeframe, found in calls.items()}

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Steps that the engine computes, in the order in which it does: by segment, then by number."""
        computed = [self.steps[number] for number in self.needed if self.steps[number].is_computed]
        return tuple(step.number for step in sorted(computed, key=lambda step: (step.segment, step.number)))

    @cached_property
    def readers(self) -> Mapping[int, frozenset[int]]:
        """Step -> the computed steps that read it; absent where none does."""
        table: dict[int, set[int]] = {}
        for number in self.order:
            for used in self.steps[number].inputs:
                table.setdefault(used, set()).add(number)
        return {number: frozenset(found) for number, found in table.items()}

    @cached_property
    def names(self) -> Mapping[int, tuple[str, ...]]:
        """Step -> names of the factors that it is."""
        table: dict[int, list[str]] = {}
        for factor in self.factors:
            table.setdefault(factor.step, []).append(factor.name)
        return {number: tuple(names) for number, names in table.items()}

    @cached_property
    def titles(self) -> Mapping[int, tuple[str, ...]]:
        """Step -> names of the definitions and factors that it is."""
        table: dict[int, list[str]] = {}
        for entry in (*self.definitions, *self.factors):
            table.setdefault(entry.step, []).append(entry.name)
        return {number: tuple(names) for number, names in table.items()}

    def title(self, number: int) -> str:
        """Return ``factor 'a', 'b'`` for a step that has names; ``definition 'a'`` where it is no factor."""
        names = self.names.get(number)
        what = "factor" if names else "definition"
        return f"{what} " + ", ".join(f"'{name}'" for name in names or self.titles[number])

    @cached_property
    def users(self) -> Mapping[int, int]:
        """Step -> how many steps and factors read it; 0 where no factor rests on it."""
        counts = dict.fromkeys(range(len(self.steps)), 0)
        inputs = (used for number in self.needed for used in self.steps[number].inputs)
        for number in [*inputs, *(factor.step for factor in self.factors)]:
            counts[number] += 1
        return counts

    def shared(self, factor: PlannedFactor) -> tuple[int, ...]:
        """Return the steps of `factor`, fields apart, that are read more than once in the recipe."""
        below = reachable(self.steps, factor.step)
        return tuple(number for number in below if self.users[number] > 1 and not self.steps[number].is_field)


def reachable(steps: Sequence[Step], *roots: int) -> tuple[int, ...]:
    """Return the numbers of the steps that `roots` rest on, themselves included, ascending."""
    found = set(roots)
    todo = list(roots)
    while todo:
        for used in steps[todo.pop()].inputs:
            if used not in found:
                found.add(used)
                todo.append(used)
    return tuple(sorted(found))
