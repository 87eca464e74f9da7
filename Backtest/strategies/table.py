"""The STRATEGIES table, and a strategy from its name, its yaml and ``--param key=value``."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ..errors import RunError, SettingsError, did_you_mean
from .base import Strategy
from .longshort import LongShort
from .signal import Signal
from .topk import TopK

STRATEGIES: dict[str, type[Strategy]] = {"topk": TopK, "longshort": LongShort, "signal": Signal}

WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
EMPTY = ("", "none", "null", "~")


def build_strategy(name: str, params: Mapping[str, str], yaml_values: Mapping[str, Any]) -> Strategy:
    """Return the strategy `name` with its defaults, then the yaml's values, then ``--param key=value``.

    Raises RunError for an unknown strategy or a missing factor, SettingsError for an unknown or mistyped parameter.
    """
    kind = STRATEGIES.get(name)
    if kind is None:
        near = did_you_mean(name, STRATEGIES) or ";"
        known = f"allowed: {', '.join(STRATEGIES)}, or module:Class of an allowed module"
        raise RunError(f"strategy {name!r} is not known{near} {known}")
    return built(kind, name, params, yaml_values)


def built(kind: type[Strategy], name: str, params: Mapping[str, str], yaml_values: Mapping[str, Any]) -> Strategy:
    """Return a strategy of this class; errors as of `build_strategy`."""
    types_by_name = typing.get_type_hints(kind)
    allowed = {field.name: types_by_name[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    values = {key: value_of_yaml(name, key, value, allowed) for key, value in yaml_values.items()}
    values.update({key: value_of_text(f"--param {key}={text}", key, text, allowed) for key, text in params.items()})
    for field in fields(kind):  # type: ignore[arg-type]
        if field.default is MISSING and field.name not in values:
            raise RunError(f"strategy {name} needs {field.name}: --param {field.name}=NAME")
    return kind(**values)


def accepted(annotation: Any) -> tuple[type, ...]:
    """Return the plain types an annotation such as ``int | None`` allows."""
    members = typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)
    return tuple(members)


def known_types(where: str, key: str, allowed: Mapping[str, Any]) -> tuple[type, ...]:
    """Return the types of parameter `key`, or refuse it with the names that exist."""
    if key not in allowed:
        near = did_you_mean(key, allowed) or ";"
        raise SettingsError(f"{where}: {key!r} is not a parameter{near} allowed: {', '.join(allowed)}")
    return accepted(allowed[key])


def value_of_text(where: str, key: str, text: str, allowed: Mapping[str, Any]) -> Any:
    """Return the typed value of ``--param key=text``."""
    kinds = known_types(where, key, allowed)
    if type(None) in kinds and text.strip().lower() in EMPTY:
        return None
    kind = next(kind for kind in kinds if kind is not type(None))
    try:
        return WORDS[text.strip().lower()] if kind is bool else kind(text.strip())
    except (ValueError, KeyError):
        raise SettingsError(f"{where}: {key} is {text!r}; {words_for(kinds)} is allowed") from None


def value_of_yaml(name: str, key: str, value: Any, allowed: Mapping[str, Any]) -> Any:
    """Return a yaml value as the type its parameter has; a whole number may stand for a float or a text."""
    where = f"strategy {name}"
    kinds = known_types(where, key, allowed)
    kind = next(kind for kind in kinds if kind is not type(None))
    whole = isinstance(value, int) and not isinstance(value, bool)
    if type(value) in kinds:
        return value
    if whole and kind in (float, str):
        return kind(value)
    raise SettingsError(f"{where}: {key} is {value!r}; {words_for(kinds)} is allowed")


def words_for(kinds: tuple[type, ...]) -> str:
    """Return the kinds in words."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", type(None): "none"}
    return " or ".join(words[kind] for kind in kinds)
