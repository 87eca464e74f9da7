"""From ``module:function`` in a recipe to a checked library call. Importing runs code, so the list comes first.

1. The module must stand on the allow-list, letter for letter; the list is the settings' and ``--allow-module``'s.
2. The function must be public and defined in that module (or in a module of that package, which re-exports it).
3. Its positional parameters must be panel fields, and the recipe's params must fit its keyword-only ones.
4. Its look-back and extra symbols are computed from the params.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, cast

from ..errors import FactorError, RecipeError, did_you_mean
from ..names import check_name
from .dsl.steps import LibraryCall
from .library import SYMBOLS, TIMESTAMP, apply_rule, library_facts

SOURCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}
"""Annotations that are held to; others are the function's own business."""


def plan_library_call(
    source: str,
    params: Mapping[str, Any],
    *,
    allow_modules: Collection[str],
    fields: Collection[str],
    max_window: int,
    where: str,
) -> LibraryCall:
    """Return the checked call; raise RecipeError beginning with `where`."""
    try:
        function = load_function(source, allow_modules)
        inputs, complete = _match(function, source, params, fields)
        lookback, symbols = _facts(function, complete, max_window)
    except FactorError as error:
        raise RecipeError(f"{where}: {error}") from None
    return LibraryCall(source, inputs, tuple(complete.items()), lookback, symbols, cross=SYMBOLS in inputs)


def load_function(source: str, allow_modules: Collection[str]) -> Callable[..., Any]:
    """Return the function that `source` names, importing nothing that is not on the list."""
    if not SOURCE.fullmatch(source):
        raise RecipeError(f"source {source[:100]!r} is not allowed; write module:function")
    module_name, _, name = source.partition(":")
    if module_name not in allow_modules:
        listed = ", ".join(sorted(allow_modules)) or "empty"
        raise RecipeError(
            f"module {module_name!r} is not on the allow-list ({listed}); add it with --allow-module or in the settings"
        )
    if name.startswith("_"):
        raise RecipeError(f"source {source!r} is not allowed: {name!r} is private")
    module = _import(module_name)
    found = vars(module).get(name)
    public = [other for other, value in vars(module).items() if _is_own(module, other, value)]
    if not _is_own(module, name, found):
        what = "there is no function" if found is None else "there is no function defined in it and called"
        hint = did_you_mean(name, public) or f"; it has {', '.join(sorted(public)) or 'none'}"
        raise RecipeError(f"module {module_name}: {what} {name!r}{hint}")
    return cast(Callable[..., Any], found)


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except FactorError as problem:
        raise RecipeError(f"module {name!r} cannot be used: {problem}") from None
    except (Exception, SystemExit) as problem:
        raise RecipeError(f"module {name!r} cannot be imported: {type(problem).__name__}: {problem}") from None


def _is_own(module: ModuleType, name: str, value: Any) -> bool:
    """Return whether `value` is a public function of `module`, or of a module inside it when it is a package."""
    python = getattr(value, "py_func", value)  # numba keeps the Python function there
    if name.startswith("_") or not inspect.isfunction(python):
        return False
    home = python.__module__
    return home == module.__name__ or (hasattr(module, "__path__") and home.startswith(module.__name__ + "."))


def _match(
    function: Callable[..., Any], source: str, given: Mapping[str, Any], fields: Collection[str]
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Return the inputs and the complete params of a function."""
    inputs: list[str] = []
    params: dict[str, inspect.Parameter] = {}
    for parameter in inspect.signature(getattr(function, "py_func", function)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            params[parameter.name] = parameter
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise RecipeError(f"{source}: parameter *{parameter.name} is not allowed; name fields and params singly")
        elif parameter.name not in fields and parameter.name not in (SYMBOLS, TIMESTAMP):
            hint = did_you_mean(parameter.name, fields) or "; params come after '*'"
            raise RecipeError(f"{source}: parameter {parameter.name!r} is no panel field{hint}")
        else:
            inputs.append(parameter.name)
    if not set(inputs) & set(fields):
        raise RecipeError(f"{source}: asks for no panel field; {', '.join(fields)} are there")
    for name, value in given.items():
        if name not in params:
            hint = did_you_mean(name, params) or f"; it has {', '.join(params) or 'none'}"
            raise RecipeError(f"{source}: there is no param {name!r}{hint}")
        _check_type(source, params[name], value)
    complete = {name: given.get(name, parameter.default) for name, parameter in params.items()}
    for name, value in complete.items():
        if value is inspect.Parameter.empty:
            raise RecipeError(f"{source}: param {name!r} is not given and has no default")
    return tuple(inputs), complete


def _check_type(source: str, parameter: inspect.Parameter, value: Any) -> None:
    annotation = parameter.annotation if isinstance(parameter.annotation, str) else getattr(
        parameter.annotation, "__name__", ""
    )  # fmt: skip
    allowed = TYPES.get(annotation)
    if allowed and (not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed)):
        raise RecipeError(f"{source}: param {parameter.name!r} is {value!r}; {annotation} is allowed")


def _facts(
    function: Callable[..., Any], params: Mapping[str, Any], max_window: int
) -> tuple[int | None, tuple[str, ...]]:
    """Return look-back and extra symbols as the function's own rules say."""
    facts = library_facts(function)
    try:
        lookback = apply_rule(facts.lookback, params) if callable(facts.lookback) else facts.lookback
        symbols = apply_rule(facts.symbols, params) if facts.symbols else ()
    except Exception as problem:
        raise RecipeError(f"params {dict(params)!r} are refused: {problem}") from None
    if lookback is not None and (isinstance(lookback, bool) or not isinstance(lookback, int) or lookback < 0):
        raise RecipeError(f"its look-back is {lookback!r}; a whole number of bars, 0 or more, is allowed")
    if lookback is not None and lookback > max_window:
        raise RecipeError(f"its look-back is {lookback:,} bars; max_window allows {max_window:,}")
    return lookback, tuple(check_name("symbol", str(symbol)) for symbol in symbols)
