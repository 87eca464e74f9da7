"""The user's own strategies, ``module:Class`` of an allow-listed module.

Two kinds of class are taken. A frozen dataclass with `target_weights`, as topk is one, runs on every engine: its fields
are its parameters, and it has the members of `base.Strategy` (`factor`, `rebalance`, `volatility_days`, `wanted`; plain
fields will do). A `backtrader.Strategy` runs on Backtrader.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from typing import Any

from ..errors import RunError, did_you_mean

MEMBERS = ("factor", "rebalance", "volatility_days", "wanted", "target_weights")


def load_class(source: str, *, allow_modules: tuple[str, ...]) -> Any:
    """Return the strategy class that ``module:Class`` names; only an allow-listed module is imported."""
    module_name, _, name = source.partition(":")
    if module_name not in allow_modules:
        near = did_you_mean(module_name, allow_modules) or ";"
        allowed = f"allowed: {', '.join(allow_modules) or 'none'} (add one with --allow-module)"
        raise RunError(f"strategy {source!r}: module {module_name!r} is not allowed{near} {allowed}")
    if not name.isidentifier() or name.startswith("_"):
        raise RunError(f"strategy {source!r}: {name!r} is not the name of a public class; write module:Class")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the user's module does when it is imported
        what = f"{type(error).__name__}: {error}"
        raise RunError(f"strategy {source!r}: {module_name} cannot be imported: {what}") from None
    found = vars(module).get(name)
    here = {key: value for key, value in vars(module).items() if is_strategy(value) and value.__module__ == module_name}
    if name not in here:
        what = "is not defined there" if not is_strategy(found) else "is imported there, not defined"
        near = did_you_mean(name, here) or ";"
        raise RunError(f"strategy {source!r}: a strategy {name!r} {what}{near} found: {', '.join(here) or 'none'}")
    if not is_backtrader(found):
        refuse_unfit_class(source, found)
    return found


def is_strategy(value: object) -> bool:
    """Say whether a module's attribute is a strategy class of either kind."""
    return isinstance(value, type) and (is_backtrader(value) or callable(getattr(value, "target_weights", None)))


def is_backtrader(value: object) -> bool:
    """Say whether a class is a Backtrader strategy; whoever defines one has imported Backtrader."""
    base = getattr(sys.modules.get("backtrader"), "Strategy", None)
    return base is not None and isinstance(value, type) and issubclass(value, base)


def refuse_unfit_class(source: str, kind: Any) -> None:
    """Refuse a class of weights that is not a frozen dataclass or lacks a member."""
    if not getattr(getattr(kind, "__dataclass_params__", None), "frozen", False):
        raise RunError(f"strategy {source!r} is not a frozen dataclass; write @dataclass(frozen=True) above the class")
    known = {field.name for field in dataclasses.fields(kind)} | set(dir(kind))
    lacking = [name for name in MEMBERS if name not in known]
    if lacking:
        raise RunError(f"strategy {source!r} lacks {', '.join(lacking)}; needed are {', '.join(MEMBERS)}")
