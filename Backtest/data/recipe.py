"""The recipe file: its schema, checked entry by entry, every complaint with file, line and column.

```yaml
description: free text                     # optional
dialect: default                           # optional; the language of every expression, one of DIALECTS
external:                                  # optional; series from files, the same for all symbols (`external_fields`)
  usdt: {path: usdt_supply.csv.gz, column: supply, time: date, valid: 7d}    # time and valid are optional
params: {slow: 30}                         # optional; {slow} in an expression is the number 30
let:                                       # optional; computed and named like factors, but not stored
  ret: "logret(close, 1)"                  # an expression, or a mapping as of a factor without name and type
  flow: {source: "Backtest.data.indicators:money_flow_index", params: {window: 7}}
factors:                                   # at least one; later ones may name earlier ones
  - name: momentum                         # a letter or _, then letters, digits and _; 64 at most
    type: expression                       # or library_function
    expression: "close / shift(close, {slow}) - 1"
    params: {slow: 60}                     # optional; goes before the recipe's own params
    na_threshold: 0.2                      # optional; share of missing values that fails the run
    description: free text                 # optional
    needs: [supply]                        # optional; left out, with a warning, where nothing fills these fields
  - name: mfi
    type: library_function
    source: Backtest.data.indicators:money_flow_index
    params: {window: "{slow}"}             # a number, text, truth value or list; "{slow}" is the recipe's param
  - name: vol_{window}                     # one factor for each value of the grid: vol_7, vol_14 (see recipe_grid)
    type: expression
    expression: "ts_std(ret, {window})"
    grid: {window: [7, 14]}                # optional
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from ..documents import Document, Keys, load_document
from ..errors import RecipeError, SettingsError, did_you_mean
from ..files import text_sha1
from .dsl.dialects.interface import DEFAULT
from .dsl.dialects.table import DIALECTS
from .recipe_grid import Grid, GridRefused, check_grid, expand
from .recipe_names import NAME, NAME_RULE, reserved_names
from .recipe_spec import EXPRESSION, LIBRARY_FUNCTION, ExternalSpec, FactorSpec, Recipe
from .timeframe import parse_duration

TYPES = (EXPRESSION, LIBRARY_FUNCTION)
CONTENT = {EXPRESSION: "expression", LIBRARY_FUNCTION: "source"}
TOP_KEYS = ("factors", "params", "let", "external", "dialect", "description")
FACTOR_KEYS = ("name", "type", "expression", "source", "params", "grid", "na_threshold", "needs", "description")
EXTERNAL_KEYS = ("path", "column", "time", "valid")
DEFINITION_KEYS = ("expression", "source", "params", "description")

FACTOR_LIMIT = 10_000
"""Factors of a recipe, grids expanded: a page of YAML could otherwise ask for millions."""


def load_recipe(path: Path) -> Recipe:
    """Return the recipe in a yaml or JSON file; raise RecipeError naming file, line and column."""
    return recipe_of(load_document(path, error=RecipeError))


def recipe_of(document: Document) -> Recipe:
    """Return the recipe in a document that was read, or made from a command line."""
    return _Reader(document).recipe()


class _Reader:
    """Walks one document; `keys` is always the path of the entry in question."""

    def __init__(self, document: Document) -> None:
        self.document = document

    def fail(self, keys: Keys, message: str) -> NoReturn:
        raise RecipeError(f"{self.document.where(*keys)}: {message}")

    def recipe(self) -> Recipe:
        document = self.document
        top = self.mapping((), document.value, TOP_KEYS, "the recipe")
        if "factors" not in top:
            self.fail((), "there are no 'factors'; a recipe lists at least one")
        entries = top["factors"]
        if not isinstance(entries, list) or not entries:
            self.fail(("factors",), f"'factors' is {_shown(entries)}; a list of at least one factor is allowed")
        params = self.params(("params",), top.get("params"))
        definitions = self.definitions(top.get("let"))
        names = {one.name.casefold(): one for one in definitions}
        factors: list[FactorSpec] = []
        for place, entry in enumerate(entries):
            for factor in self.factor(("factors", place), entry):
                self.unique(("factors", place, "name"), factor, names)
                factors.append(factor)
                if len(factors) > FACTOR_LIMIT:
                    self.fail(("factors", place), f"the recipe makes more than {FACTOR_LIMIT:,} factors; split it")
        description = self.text(("description",), top.get("description", ""))
        sha1 = text_sha1(document.text_bytes)
        externals = self.externals(top.get("external"))
        return Recipe(
            tuple(factors), params, sha1, document.path, description, definitions, self.dialect(top), externals
        )

    def externals(self, entries: Any) -> tuple[ExternalSpec, ...]:
        """Return what stands under ``external``."""
        if entries is None:
            return ()
        if not isinstance(entries, dict):
            self.fail(("external",), f"'external' is {_shown(entries)}; a mapping of name: {{path, column}} is allowed")
        names: dict[str, str] = {}
        specs = []
        for name, entry in entries.items():
            keys = ("external", name)
            self.name(keys, name)
            other = names.setdefault(name.casefold(), name)
            if other != name:
                self.fail(keys, f"external series '{other}' and '{name}' differ in case only; rename one")
            given = self.mapping(keys, entry, EXTERNAL_KEYS, "an external series")
            for required in ("path", "column"):
                if required not in given:
                    self.fail(keys, f"external series '{name}' has no '{required}'")
            texts = {key: self.text((*keys, key), value) for key, value in given.items()}
            self.duration((*keys, "valid"), texts.get("valid"))
            specs.append(ExternalSpec(name, **texts, place=self.document.where(*keys)))
        return tuple(specs)

    def duration(self, keys: Keys, value: str | None) -> None:
        try:
            if value is not None:
                parse_duration(value, str(keys[-1]))
        except SettingsError as refused:
            self.fail(keys, str(refused))

    def dialect(self, top: Mapping[str, Any]) -> str:
        name = self.text(("dialect",), top.get("dialect", DEFAULT.name))
        if name not in DIALECTS:
            hint = did_you_mean(name, DIALECTS) or f"; allowed are {', '.join(DIALECTS)}"
            self.fail(("dialect",), f"there is no dialect {name[:60]!r}{hint}")
        return name

    def factor(self, keys: Keys, entry: Any) -> Iterator[FactorSpec]:
        """Yield the factors of an entry: one, or one for each combination of its grid."""
        given = self.mapping(keys, entry, FACTOR_KEYS)
        for required in ("name", "type"):
            if required not in given:
                self.fail(keys, f"this factor has no '{required}'")
        name, kind = given["name"], given["type"]
        grid = self.grid(keys, given)
        (self.name if grid is None else self.text)((*keys, "name"), name)
        if kind not in TYPES:
            hint = did_you_mean(str(kind), TYPES) or f"; allowed are {' and '.join(TYPES)}"
            self.fail((*keys, "type"), f"factor {_shown(name)}: type is {_shown(kind)}{hint}")
        wanted, other = (CONTENT[kind], *(key for key in CONTENT.values() if key != CONTENT[kind]))
        if wanted not in given:
            self.fail(keys, f"factor {_shown(name)}: a factor of type {kind} needs '{wanted}'")
        if other in given:
            self.fail((*keys, other), f"factor {_shown(name)}: a factor of type {kind} has no '{other}'")
        spec = self.spec(keys, given, kind, "factor")
        if grid is None:
            yield spec
            return
        for name, description, chosen in expand(spec.name, spec.description, grid):
            self.name((*keys, "name"), name)
            yield replace(spec, name=name, description=description, params={**spec.params, **chosen})

    def grid(self, keys: Keys, given: Mapping[str, Any]) -> Grid | None:
        """Return a factor's grid, None where it has none."""
        try:
            return check_grid(given)
        except GridRefused as refused:
            self.fail((*keys, *refused.keys), str(refused))

    def spec(self, keys: Keys, given: Mapping[str, Any], kind: str, what: str) -> FactorSpec:
        wanted = CONTENT[kind]
        content = self.text((*keys, wanted), given[wanted])
        return FactorSpec(
            name=given["name"],
            type=kind,
            expression=content if kind == EXPRESSION else None,
            source=content if kind == LIBRARY_FUNCTION else None,
            params=self.params((*keys, "params"), given.get("params")),
            na_threshold=self.share((*keys, "na_threshold"), given.get("na_threshold")),
            description=self.text((*keys, "description"), given.get("description", "")),
            place=self.document.where(*keys, wanted),
            what=what,
            needs=self.needs((*keys, "needs"), given.get("needs")),
        )

    def needs(self, keys: Keys, value: Any) -> tuple[str, ...]:
        if value is None:
            return ()
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            self.fail(keys, f"'needs' is {_shown(value)}; a list of field names is allowed")
        return tuple(value)

    def definitions(self, entries: Any) -> tuple[FactorSpec, ...]:
        """Return what stands under ``let``."""
        if entries is None:
            return ()
        if not isinstance(entries, dict):
            self.fail(("let",), f"'let' is {_shown(entries)}; a mapping of name: expression is allowed")
        names: dict[str, FactorSpec] = {}
        for name, entry in entries.items():
            keys = ("let", name)
            self.name(keys, name)
            given = {"expression": entry} if isinstance(entry, str) else entry
            given = self.mapping(keys, given, DEFINITION_KEYS, "a definition")
            kinds = [kind for kind, content in CONTENT.items() if content in given]
            if len(kinds) != 1:
                self.fail(keys, f"definition '{name}' needs 'expression' or 'source', one of them")
            spec = self.spec(keys, {**given, "name": name}, kinds[0], "definition")
            self.unique(keys, spec, names)
        return tuple(names.values())

    def unique(self, keys: Keys, spec: FactorSpec, seen: dict[str, FactorSpec]) -> None:
        """Take a name, or refuse one that another entry has."""
        other = seen.setdefault(spec.name.casefold(), spec)
        if other is spec:
            return
        if other.name == spec.name:
            first = "" if other.what == spec.what else f", first as a {other.what}"
            self.fail(keys, f"{spec.what} '{spec.name}' stands twice{first}; rename one")
        both = f"{spec.what}s" if other.what == spec.what else f"{other.what} and {spec.what}"
        why = "; their reports would share a folder" if other.what == spec.what == "factor" else "; rename one"
        self.fail(keys, f"{both} '{other.name}' and '{spec.name}' differ in case only{why}")

    # ---- entries ----

    def mapping(self, keys: Keys, value: Any, allowed: tuple[str, ...], what: str = "a factor") -> dict[str, Any]:
        if not isinstance(value, dict):
            self.fail(keys, f"{what} is {_shown(value)}; a mapping with {', '.join(allowed)} is allowed")
        for key in value:
            if key not in allowed:
                hint = did_you_mean(key, allowed) or f"; allowed are {', '.join(allowed)}"
                self.fail((*keys, key), f"{key[:60]!r} is no key of {what}{hint}")
        return value

    def text(self, keys: Keys, value: Any) -> str:
        if not isinstance(value, str):
            self.fail(keys, f"'{keys[-1]}' is {_shown(value)}; text is allowed (quote it)")
        return value

    def name(self, keys: Keys, value: Any) -> str:
        name = self.text(keys, value)
        if not NAME.fullmatch(name):
            self.fail(keys, f"name {name[:80]!r} is not allowed: {NAME_RULE}")
        what = reserved_names().get(name.casefold())
        if what:
            self.fail(keys, f"name {name!r} is not allowed: {name.casefold()!r} is {what}; choose another")
        return name

    def share(self, keys: Keys, value: Any) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            self.fail(keys, f"na_threshold is {_shown(value)}; a number from 0 to 1 is allowed")
        return float(value)

    def params(self, keys: Keys, value: Any) -> Mapping[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.fail(keys, f"'params' is {_shown(value)}; a mapping of name: value is allowed")
        for name, content in value.items():
            if not NAME.fullmatch(name):
                self.fail((*keys, name), f"param {name[:80]!r} is not allowed: {NAME_RULE}")
            for item in content if isinstance(content, list) else [content]:
                if isinstance(item, (dict, list)):
                    allowed = "a number, text, a truth value or a flat list of them is allowed"
                    self.fail((*keys, name), f"param '{name}' holds {_shown(item)}; {allowed}")
        return {name: tuple(content) if isinstance(content, list) else content for name, content in value.items()}


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return "empty" if value is None else repr(value)[:80]
