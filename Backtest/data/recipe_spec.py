"""What a recipe says, as values: its factors, definitions and external series."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .dsl.dialects.interface import DEFAULT

EXPRESSION, LIBRARY_FUNCTION = "expression", "library_function"
PLACEHOLDER = re.compile(r"\{ *([A-Za-z_][A-Za-z0-9_]*) *\}", re.ASCII)


@dataclass(frozen=True)
class FactorSpec:
    """One factor, or one definition under ``let``, as the recipe states it.

    Attributes
    ----------
    name, type, expression, source, params, na_threshold, description
        As written; `expression` or `source` is None by `type`. Of a grid, one combination: its values are in `params`.
    place
        File, line and column of the entry, for messages.
    what
        ``factor`` or ``definition``.
    needs
        Fields without which the factor is left out; a field that is not among them and is unknown is an error.
    """

    name: str
    type: str
    expression: str | None = None
    source: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    na_threshold: float | None = None
    description: str = ""
    place: str = "recipe"
    what: str = "factor"
    needs: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """Place and name, the beginning of every message about this factor."""
        return f"{self.place}, {self.what} '{self.name}'"


@dataclass(frozen=True)
class ExternalSpec:
    """An external series under ``external``.

    Attributes
    ----------
    name, path, column, time, valid
        As written; None: the file's usual time column, and values that never grow old.
    place
        File, line and column of the entry, for messages.
    """

    name: str
    path: str
    column: str
    time: str | None = None
    valid: str | None = None
    place: str = "recipe"


@dataclass(frozen=True)
class Recipe:
    """A recipe file.

    Attributes
    ----------
    factors
        In file order, grids expanded.
    params
        Values of ``{placeholders}``.
    sha1
        Of the file's bytes with CRLF as LF.
    path
        The file.
    description
        Free text.
    definitions
        What stands under ``let``, in file order: named and computed like factors, before them, but not stored.
    dialect
        The language of the expressions, one of DIALECTS.
    externals
        What stands under ``external``, in file order.
    """

    factors: tuple[FactorSpec, ...]
    params: Mapping[str, Any]
    sha1: str
    path: Path
    description: str = ""
    definitions: tuple[FactorSpec, ...] = ()
    dialect: str = DEFAULT.name
    externals: tuple[ExternalSpec, ...] = ()
