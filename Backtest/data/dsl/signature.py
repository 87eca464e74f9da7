"""What a row of the operator table says, and how a row is applied to arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any, Literal, cast

import numpy as np

from ..kernels.context import Context, Floats, Kernel, Operand

Kind = Literal[
    "series",
    "operand",
    "mask",
    "any",
    "group",
    "number",
    "window",
    "lag",
    "count",
    "choice",
    "symbol",
    "value",
    "timeframe",
    "external",
    "delay",
]
"""What an argument accepts.

series    a series (not a number, not a mask)
operand   a series or a number
mask      a mask
any       a series or a mask
group     a field of groups, or a series whose equal values are one group
number    a finite number literal
window    a positive integer literal: bars in the window, the present one included
lag       a positive integer literal: bars back; zero or less would be look-ahead and is refused by that name
count     a non-negative integer literal
value     a series, a mask (1.0, 0.0, missing) or a number: arguments of dialects, where all are numbers
choice    one of `Argument.choices`
symbol    the full name of a symbol, quoted
timeframe a bar length, quoted
external  an external series of the recipe, by its name
delay     a quoted duration, "0h" or longer; the kernel gets nanoseconds
"""
ARRAY_KINDS = frozenset({"series", "operand", "mask", "any", "group", "value", "external"})
Family = Literal["elementwise", "time", "recursive", "cross", "named", "coarse"]
WHOLE_ROWS = frozenset({"cross", "named"})
"""Families whose kernels take all symbols of a bar at once."""
Literals = Mapping[str, Any]


@dataclass(frozen=True)
class Argument:
    """One argument of an operator.

    Attributes
    ----------
    name
        Keyword under which it may be given; keyword only where `keyword_only`.
    kind
        See `Kind`.
    required
        False: `default` is taken when it is not given (literals only; None means "no such limit").
    low, high
        Inclusive bounds of a literal.
    choices
        Allowed words of a ``choice``.
    variadic
        Takes this and every further positional argument; always last among the positional ones. Variadic literals
        reach the kernel as one tuple.
    """

    name: str
    kind: Kind
    required: bool = True
    default: float | str | None = None
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    keyword_only: bool = False
    variadic: bool = False

    @property
    def is_array(self) -> bool:
        """True where the argument is computed data, False where it is a literal of the call."""
        return self.kind in ARRAY_KINDS


def signature_words(name: str, arguments: Sequence[Argument]) -> str:
    """Return a call as users write it."""
    words: list[str] = []
    for argument in arguments:
        if argument.keyword_only and "*" not in words:
            words.append("*")
        default = f'"{argument.default}"' if argument.kind == "choice" else argument.default
        word = argument.name if argument.required else f"{argument.name}={default}"
        words.append(f"{word}, ..." if argument.variadic else word)
    return f"{name}({', '.join(words)})" if words else name


@dataclass(frozen=True)
class Operator:
    """One operator: its types, its look-back, its kernel and the words users read about it.

    Attributes
    ----------
    name, aliases, symbol
        Name in calls, other names for it, infix or prefix symbol.
    arguments
        In positional order.
    result
        Kind of the value. An elementwise operator whose operands are all numbers is a number (`folds`).
    family
        ``elementwise`` looks at one place, ``time`` at a window, ``recursive`` from the episode's first bar on,
        ``cross`` at all symbols of one bar, ``named`` at a symbol that the call names, ``coarse`` at other bars (no
        kernel: see `bind`).
    lookback
        Complete literals -> bars needed before t; None: from the episode's first bar.
    kernel
        ``module:function`` inside ``Backtest.data.kernels``; imported at first use.
    doc, formula, missing, ties, ddof, example
        What the operator page prints. `ties` and `ddof` are empty where neither can matter.
    sign
        Known sign of every value.
    check
        Complete literals -> complaint about a combination of literals, or None.
    expand
        For a row that stands for other rows and has no kernel: calls ``add(name, operands, literals)`` for each of
        them and returns what the last one gave. What is added may be a step or an array.
    dialect
        The dialect that the row exists for; empty: everybody's. Others neither list nor take it by its name.
    implicit
        Panel fields that the kernel gets as operands after the written ones.
    """

    name: str
    arguments: tuple[Argument, ...]
    result: Literal["series", "mask"]
    family: Family
    lookback: Callable[[Literals], int | None]
    kernel: str
    doc: str
    formula: str
    missing: str
    example: str
    ties: str = ""
    ddof: str = ""
    sign: Literal["any", "non-negative", "positive"] = "any"
    aliases: tuple[str, ...] = ()
    symbol: str | None = None
    check: Callable[[Literals], str | None] = lambda literals: None
    expand: Callable[[Callable[..., Any], Sequence[Any], Literals], Any] | None = None
    dialect: str = ""
    implicit: tuple[str, ...] = ()

    @property
    def array_arguments(self) -> tuple[Argument, ...]:
        """Arguments that are data."""
        return tuple(argument for argument in self.arguments if argument.is_array)

    @property
    def operands(self) -> tuple[Argument, ...]:
        """What the kernel gets as operands: the arguments that are data, then the implicit fields."""
        return (*self.array_arguments, *(Argument(name, "series") for name in self.implicit))

    @property
    def bare(self) -> bool:
        """True where nothing must be given, so that the name alone is a call."""
        return not any(argument.required for argument in self.arguments)

    @property
    def literal_arguments(self) -> tuple[Argument, ...]:
        """Arguments that are literals of the call."""
        return tuple(argument for argument in self.arguments if not argument.is_array)

    @property
    def folds(self) -> bool:
        """True where numbers alone make a call: its value is a number (`constant`)."""
        kinds = {argument.kind for argument in self.array_arguments}
        return self.family == "elementwise" and self.result == "series" and kinds == {"operand"}

    @property
    def chains(self) -> bool:
        """True where the kernel is an `elementwise.Loop`: the engine runs several of them as one call."""
        return self.kernel.startswith("elementwise:")

    def complete(self, literals: Literals) -> dict[str, Any]:
        """Return the literals with every default filled in."""
        return {argument.name: literals.get(argument.name, argument.default) for argument in self.literal_arguments}

    def signature(self) -> str:
        """Return the call as users write it, e.g. ``ts_std(x, d, *, ddof=1, min_periods=None)``, ``vwap``."""
        return signature_words(self.name, self.arguments)

    def __reduce__(self) -> tuple[Callable[[str], Operator], tuple[str]]:
        # Rows hold functions; another process has the same table, so the name is enough.
        return _row, (self.name,)


def _row(name: str) -> Operator:
    from .operators import OPERATORS

    return OPERATORS[name]


def kernel_of(operator: Operator) -> Kernel:
    """Return the operator's kernel, imported at first use."""
    return _load(operator.kernel)


@cache
def _load(kernel: str) -> Kernel:
    module, _, function = kernel.partition(":")
    return cast(Kernel, getattr(import_module(f"..kernels.{module}", __package__), function))


def apply(
    operator: Operator,
    operands: Sequence[Operand],
    literals: Literals,
    context: Context,
    *,
    out: Floats | None = None,
) -> tuple[Floats, int]:
    """Compute one operator on a block of rows and symbols.

    Parameters
    ----------
    operator
        The row of the table.
    operands
        The data arguments in order (variadic ones spread out), then the implicit fields: float64 [T, B], or floats
        for numbers. Masks are 1.0 true, 0.0 false, NaN missing. Values are finite or NaN.
    literals
        The literal arguments by name; defaults may be left out.
    context
        Age, population and clock of the rows.
    out
        float64 [T, B], C-ordered, none of the operands; made when None.

    Returns
    -------
    values, undefined
        `out`, finite or NaN, and the number of values from ``context.own_row`` on that are missing although their
        operands are there (x/0, log of a non-positive number, overflow).
    """
    if out is None:
        out = np.empty(context.age.shape)
    if operator.expand is not None:
        return _expanded(operator, operands, literals, context, out)
    ready = [value if isinstance(value, float) else _ready(value) for value in operands]
    undefined = kernel_of(operator)(ready, operator.complete(literals), context, out)
    return out, undefined


def _expanded(
    operator: Operator, operands: Sequence[Operand], literals: Literals, context: Context, out: Floats
) -> tuple[Floats, int]:
    undefined = 0

    def add(name: str, inputs: Sequence[Operand], given: Literals) -> Floats:
        nonlocal undefined
        values, count = apply(_row(name), inputs, given, context)
        undefined += count
        return values

    assert operator.expand is not None
    np.copyto(out, operator.expand(add, operands, literals))
    return out, undefined


def _ready(value: Operand | int) -> Operand:
    # Read-only, strided or non-float64 input would compile a kernel anew: a copy is cheaper.
    if not isinstance(value, np.ndarray):
        return float(value)
    return np.require(value, dtype=np.float64, requirements=["C", "W", "A"])


def constant(operator: Operator, numbers: Sequence[float], literals: Literals) -> float:
    """Return the value of a call whose operands are all numbers (`Operator.folds`); NaN where it is undefined."""
    context = Context(age=np.ones((1, 1), dtype=np.int32), first_bar=0)
    cells: list[Operand] = [np.full((1, 1), float(number)) for number in numbers]
    values, _ = apply(operator, cells, literals, context)
    return float(values[0, 0])
