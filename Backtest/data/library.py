"""What a library factor says about itself: `library_factor` and the reader of its facts.

A library factor is a plain function. Positional parameters are panel fields (``symbols`` and ``timestamp`` may be
asked for), keyword-only parameters are the recipe's ``params``. It gets read-only float64 [T, S] arrays of bars in
time order, missing as NaN, and returns float64 [T, S].

- A function that does not ask for ``symbols`` is called with one symbol's listing episode at a time (S = 1), so no
  value can depend on which symbols share a block.
- A function that asks for ``symbols`` (tuple of S names) compares symbols and gets the whole panel.
- ``timestamp`` is datetime64[ns] [T], bar open times in UTC.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

ATTRIBUTE = "__library_factor__"
SYMBOLS = "symbols"
TIMESTAMP = "timestamp"


@dataclass(frozen=True)
class LibraryFacts:
    """What `library_factor` was told.

    Attributes
    ----------
    lookback
        Bars before t that the value at t needs, by those of the function's params that the rule names, or a fixed
        number; None: back to the episode's first bar.
    symbols
        Symbols that must be loaded whether the run names them or not, by params; None: none.
    """

    lookback: Callable[..., int] | int | None = None
    symbols: Callable[..., tuple[str, ...]] | None = None


def library_factor(
    *, lookback: Callable[..., int] | int | None = None, symbols: Callable[..., tuple[str, ...]] | None = None
) -> Callable[[Function], Function]:
    """State a library factor's look-back and extra symbols; the function itself is returned unchanged.

    Parameters
    ----------
    lookback
        ``lambda window: window``: bars before t that the value at t needs, by param names. Without it the look-back
        reaches to the episode's first bar, and every run computes from there.
    symbols
        ``lambda benchmark: (benchmark,)``: symbols that the function reads besides the run's own.

    Raises
    ------
    TypeError
        A rule names something that is not a keyword-only parameter of the function.
    """

    def mark(function: Function) -> Function:
        params = {
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        for rule in (lookback, symbols):
            unknown = set(inspect.signature(rule).parameters) - params if callable(rule) else set()
            if unknown:
                name = getattr(function, "__name__", "function")
                raise TypeError(f"{name}: rule names {sorted(unknown)}, which are no keyword-only parameters of it")
        setattr(function, ATTRIBUTE, LibraryFacts(lookback, symbols))
        return function

    return mark


def library_facts(function: Callable[..., Any]) -> LibraryFacts:
    """Return what the function was marked with; unmarked functions need everything back to the episode's start."""
    facts = getattr(function, ATTRIBUTE, None)
    return facts if isinstance(facts, LibraryFacts) else LibraryFacts()


def apply_rule(rule: Callable[..., Any], params: Mapping[str, Any]) -> Any:
    """Call a look-back or symbols rule with the params that it names."""
    return rule(**{name: params[name] for name in inspect.signature(rule).parameters})
