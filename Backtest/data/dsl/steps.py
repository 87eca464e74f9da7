"""The steps of a plan: every distinct computation of a recipe once, numbered so that operands come first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from ..reach import Reach, add_hops
from ..timeframe import Timeframe
from .operators import OPERATORS, Operator
from .signature import WHOLE_ROWS

Kind = Literal["series", "mask", "group"]
Literals = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class LibraryCall:
    """A library function with its params: a field of the panel that is computed instead of read.

    Attributes
    ----------
    source
        ``module:function``.
    inputs
        Its positional parameters: panel fields, ``symbols``, ``timestamp``.
    params
        Its keyword-only parameters, complete.
    lookback
        Bars before t; None: from the episode's first bar.
    extra_symbols
        Symbols that must be loaded whether the run names them or not.
    cross
        It asks for ``symbols``, so it sees the whole panel.
    """

    source: str
    inputs: tuple[str, ...]
    params: Literals
    lookback: int | None
    extra_symbols: tuple[str, ...] = ()
    cross: bool = False

    @property
    def reach(self) -> Reach:
        """What its values rest on: one that compares symbols and states no look-back may read anything."""
        return Reach((self.lookback,), whole=self.cross and self.lookback is None)


@dataclass(frozen=True)
class BarsCall:
    """A value on coarser bars, joined where they close: like a library call, it is there before the engine starts.

    Attributes
    ----------
    timeframe
        Of the coarser bars.
    step
        Number of the step among those of that timeframe (`Plan.coarse`).
    ratio
        Bars of the run in one coarser bar.
    inputs, operators
        Panel fields and operators that it rests on.
    lookback
        Bars of the run before t; None: from the episode's first bar.
    """

    timeframe: Timeframe
    step: int
    ratio: int
    inputs: tuple[str, ...]
    operators: tuple[str, ...]
    lookback: int | None


def bars_lookback(lookback: int | None, ratio: int) -> int | None:
    """Return the look-back, in bars of the run, of a value that looks back `lookback` bars `ratio` times as long.

    At worst t is the last bar before the next coarser one closes: the coarser bar in use closed ratio - 1 bars ago,
    and it and those it looks back to have ratio bars each.
    """
    return None if lookback is None else (lookback + 2) * ratio - 2


@dataclass(frozen=True)
class Step:
    """One computation.

    Attributes
    ----------
    number
        Position in the plan; every operand has a smaller one.
    kind
        ``series``, ``mask`` (1.0, 0.0, NaN), or ``group``: a field of codes.
    source
        A field's name, a row of the operator table, a library call, or a value on coarser bars.
    operands
        int: number of a step; float: a constant. The fields that a row of the table implies stand last.
    literals
        Literal arguments as written; the table fills in defaults.
    lookback
        Bars before t that the value at t rests on, through all operands; None: from the episode's first bar.
    segment
        Even: computed symbol by symbol; odd: on whole rows of symbols. No step uses one of a later segment.
    """

    number: int
    kind: Kind
    source: str | Operator | LibraryCall | BarsCall
    operands: tuple[int | float, ...] = ()
    literals: Literals = ()
    lookback: int | None = 0
    segment: int = 0

    @cached_property
    def inputs(self) -> tuple[int, ...]:
        """Numbers of the operands that are steps, each once."""
        return tuple(dict.fromkeys(operand for operand in self.operands if isinstance(operand, int)))

    @cached_property
    def own_lookback(self) -> int | None:
        """Bars before t that this step alone looks back; 0 for what is there before the engine starts."""
        return self.source.lookback(self.complete_literals) if isinstance(self.source, Operator) else 0

    @cached_property
    def complete_literals(self) -> dict[str, Any]:
        """The literals of an operator with every default filled in."""
        return self.operator.complete(dict(self.literals))

    @property
    def operator(self) -> Operator:
        """The row of the table that a computed step applies."""
        assert isinstance(self.source, Operator)
        return self.source

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols that the call names."""
        if not isinstance(self.source, Operator):
            return ()
        places = {argument.name for argument in self.source.literal_arguments if argument.kind == "symbol"}
        return tuple(value for name, value in self.literals if name in places)

    @property
    def looks_across(self) -> bool:
        """True for an operator that reads other symbols' values."""
        return isinstance(self.source, Operator) and self.source.family in WHOLE_ROWS

    @property
    def is_field(self) -> bool:
        """True for what is read, not computed."""
        return isinstance(self.source, str)

    @property
    def is_computed(self) -> bool:
        """True for operators, False for what is there before the engine starts (fields, values of the two calls)."""
        return isinstance(self.source, Operator)


NOT_FIELDS = frozenset(("symbols", "timestamp"))
"""Inputs of library functions that the panel always has."""


class StepTable:
    """Collects steps; asking for the same computation again gives the number it already has.

    Attributes
    ----------
    steps
        By number.
    fields, operators
        For every step the names that it rests on.
    coarse
        The steps on coarser bars, one table for each timeframe.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.fields: list[frozenset[str]] = []
        self.operators: list[frozenset[str]] = []
        self.coarse: dict[Timeframe, StepTable] = {}
        self._numbers: dict[tuple[object, ...], int] = {}

    def field(self, name: str, kind: Literal["series", "group"] = "series") -> int:
        """Return the step that is the panel field `name`."""
        return self._add(("field", name), kind=kind, source=name)

    def library(self, call: LibraryCall) -> int:
        """Return the step of a library call."""
        key = ("library", call.source, repr(call.params))
        return self._add(key, kind="series", source=call, lookback=call.lookback)

    def bars(self, timeframe: Timeframe, step: int, ratio: int) -> int:
        """Return the step that joins a step on coarser bars, each `ratio` of ours."""
        table = self.coarse[timeframe]
        inner = table.steps[step]
        lookback = bars_lookback(inner.lookback, ratio)
        inputs, operators = (tuple(sorted(names[step])) for names in (table.fields, table.operators))
        call = BarsCall(timeframe, step, ratio, inputs, operators, lookback)
        return self._add(("bars", timeframe.seconds, step), kind=inner.kind, source=call, lookback=lookback)

    def operator(self, operator: Operator, operands: tuple[int | float, ...], literals: Literals) -> int:
        """Return the step that applies `operator` to these operands and to the fields that it implies.

        Where the row stands for others, it is the step that these end with.
        """
        operands = (*operands, *(self.field(name) for name in operator.implicit))
        if operator.expand is not None:
            return int(operator.expand(self._named, operands, dict(literals)))
        complete = operator.complete(dict(literals))
        # repr tells 0.0 from -0.0 and 1 from 1.0, which == does not; their results differ in bits.
        key = (operator.name, tuple(map(repr, operands)), repr(complete))
        inputs = [self.steps[operand] for operand in operands if isinstance(operand, int)]
        own = operator.lookback(complete)
        return self._add(
            key,
            kind=operator.result,
            source=operator,
            operands=operands,
            literals=literals,
            lookback=add_hops(own, total_lookback([step.lookback for step in inputs])),
            segment=_segment(operator, inputs),
        )

    def _named(self, name: str, operands: tuple[int | float, ...], literals: Mapping[str, Any]) -> int:
        return self.operator(OPERATORS[name], operands, tuple(literals.items()))

    def _add(self, key: tuple[object, ...], **facts: Any) -> int:
        if key not in self._numbers:
            self._numbers[key] = len(self.steps)
            step = Step(len(self.steps), **facts)
            self.steps.append(step)
            own = step.source
            fields = {own} if isinstance(own, str) else () if isinstance(own, Operator) else own.inputs
            operators = {own.name} if isinstance(own, Operator) else set()
            if isinstance(own, BarsCall):
                operators = {"bars", *own.operators}
            self.fields.append(_union(self.fields, step.inputs, frozenset(fields) - NOT_FIELDS))
            self.operators.append(_union(self.operators, step.inputs, frozenset(operators)))
        return self._numbers[key]


def _union(sets: list[frozenset[str]], inputs: tuple[int, ...], own: frozenset[str]) -> frozenset[str]:
    for number in inputs:
        # the larger set itself where it holds the other: thousands of steps then share a few sets
        own = sets[number] if own <= sets[number] else own | sets[number]
    return own


def total_lookback(lookbacks: list[int | None]) -> int | None:
    """Return the longest look-back; None (the episode's first bar) is longer than any number."""
    known = [lookback for lookback in lookbacks if lookback is not None]
    return None if len(known) < len(lookbacks) else max(known, default=0)


def _segment(operator: Operator, inputs: list[Step]) -> int:
    last = max((step.segment for step in inputs), default=0)
    odd = operator.family in WHOLE_ROWS
    return last if last % 2 == odd else last + 1
