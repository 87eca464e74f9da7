"""Strict yaml and JSON: what a person may write in a recipe or a settings file, with the place of every entry.

1. `_read` takes the bytes, at most SIZE_LIMIT; `_decode` makes them text (UTF-8, with or without a byte order mark).
2. `_yaml_events` or `_json_events` turn the text into a flat stream of events, so that nothing recurses.
3. `_build` makes plain values of them and keeps line and column of every key and list item.

A file ending in ``.json`` is JSON, every other one is yaml. Refused in both: duplicate keys, keys that are not text,
nesting over DEPTH_LIMIT, more than NODE_LIMIT entries, numbers that are not finite. Refused in yaml as well: tags,
anchors, aliases, ``<<`` and several documents in a file. A plain (unquoted) yaml word is read as follows:

==========================================  ====================================================================
``null`` ``~`` and nothing at all           missing
``true`` ``false``                          a truth value; ``yes no on off`` are refused: YAML 1.1 and 1.2 differ
``12`` ``-3`` ``0.2`` ``.5`` ``1e3``        a number; ``010 0x1F 0o17 1_000 .inf .nan 1e999`` are refused
``2021-01-01`` ``12:30:45``                 text, as typed: no dates, no numbers to the base 60
anything else                               text
==========================================  ====================================================================
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from .errors import FactorError, SettingsError

SIZE_LIMIT = 1_000_000
"""Bytes. The largest published factor libraries, written as a recipe, take about 60 kB."""

DEPTH_LIMIT = 20
NODE_LIMIT = 50_000
"""Entries. Bounds the time: PyYAML reads about 100,000 a second without its C library."""

DIGIT_LIMIT = 40
"""Characters of a number; the longest that means something to a float64 takes 24."""

Keys = tuple[str | int, ...]


class Place(NamedTuple):
    """Where an entry stands in its file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """A file's content as plain dicts, lists, text, numbers, truth values and None.

    Attributes
    ----------
    path
        The file.
    value
        Its content; None when it is empty.
    text_bytes
        Its bytes, for hashing.
    positions
        Place of every mapping key and list item, by its path of keys and indices from the top.
    """

    path: Path
    value: Any
    text_bytes: bytes
    positions: Mapping[Keys, Place] = field(default_factory=dict)

    def where(self, *keys: str | int) -> str:
        """Return ``"file, line 3, column 5"`` for the entry at `keys`, or for the nearest one that holds it."""
        while keys and keys not in self.positions:
            keys = keys[:-1]
        return _where(self.path, self.positions.get(keys, Place(1, 1)))


class Event(NamedTuple):
    """One step through a document: ``map`` and ``list`` open, ``end`` closes, ``value`` is a scalar."""

    kind: str
    place: Place
    value: Any = None


class _Refused(Exception):
    """Found while reading; `load_document` adds the file's name."""

    def __init__(self, message: str, place: Place) -> None:
        super().__init__(message)
        self.place = place


def load_document(path: Path, *, error: type[FactorError] = SettingsError) -> Document:
    """Return the content of a yaml or JSON file; raise `error` naming file, line and column where it breaks a rule."""
    content = _read(path, error)
    try:
        text = _decode(content)
        events = _json_events(text) if path.suffix.lower() == ".json" else _yaml_events(text)
        value, positions = _build(events)
    except _Refused as refused:
        raise error(f"{_where(path, refused.place)}: {refused}") from None
    return Document(path, value, content, positions)


def _where(path: Path, place: Place) -> str:
    return f"{path}, line {place.line}, column {place.column}"


def _read(path: Path, error: type[FactorError]) -> bytes:
    try:
        with open(path, "rb") as stream:
            content = stream.read(SIZE_LIMIT + 1)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else problem
        raise error(f"{path}: cannot be read: {reason}") from None
    if len(content) > SIZE_LIMIT:
        raise error(f"{path}: is larger than {SIZE_LIMIT:,} bytes; a recipe or settings file may not be")
    return content


FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What yaml calls not printable, and the byte order mark, which is invisible inside a text."""


def _decode(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        before = content[: problem.start].decode("utf-8", "replace")
        hint = "; it looks like UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        message = f"byte 0x{content[problem.start]:02x} is not UTF-8{hint}; save as UTF-8"
        raise _Refused(message, _end_of(before)) from None
    found = FORBIDDEN.search(text)
    if found:
        raise _Refused(f"control character U+{ord(found[0]):04X} is not allowed", _end_of(text[: found.start()]))
    return text


def _end_of(text: str) -> Place:
    """Return the place just after `text`."""
    return Place(text.count("\n") + 1, len(text) - text.rfind("\n"))


# ---------------------------------------------------------------------------------------------------- yaml


def _yaml_events(text: str) -> Iterator[Event]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            start: Any = event.start_mark
            place = Place(start.line + 1, start.column + 1)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _Refused("a second document begins; one per file is allowed", place)
            elif isinstance(event, yaml.NodeEvent):
                yield _yaml_node(event, place)
            elif isinstance(event, yaml.CollectionEndEvent):
                yield Event("end", place)
    except yaml.MarkedYAMLError as problem:
        mark: Any = problem.problem_mark or problem.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise _Refused(f"not yaml: {problem.problem or problem.context}", place) from None
    except (yaml.YAMLError, ValueError) as problem:
        raise _Refused(f"not yaml: {str(problem).splitlines()[0]}", Place(1, 1)) from None


def _yaml_node(event: Any, place: Place) -> Event:
    import yaml

    if isinstance(event, yaml.AliasEvent):
        raise _Refused(f"alias *{event.anchor} is not allowed; write the value out", place)
    if event.anchor is not None:
        raise _Refused(f"anchor &{event.anchor} is not allowed; write the value where it is used", place)
    if event.tag is not None:
        raise _Refused(f"tag {event.tag[:60]!r} is not allowed; write plain values", place)
    if isinstance(event, yaml.MappingStartEvent):
        return Event("map", place)
    if isinstance(event, yaml.SequenceStartEvent):
        return Event("list", place)
    return Event("value", place, event.value if event.style else _plain(event.value, place))


NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
OTHER_NUMBER = re.compile(r"[-+]?(?:0[xob]?[0-9a-f_]+|[0-9][0-9_]*_[0-9_.]*|0[0-9_]+\.[0-9_]*|\.(?:inf|nan))", re.I)
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
OLD_TRUTH = frozenset(("yes", "no", "on", "off"))


def _plain(text: str, place: Place) -> Any:
    """Return the value of an unquoted yaml word by the table at the top."""
    word = text.lower() if text in (text.lower(), text.upper(), text.capitalize()) else text
    if word in WORDS:
        return WORDS[word]
    if word in OLD_TRUTH:
        raise _Refused(f"{text!r} is a truth value in YAML 1.1, text in 1.2; write true or false, or quote it", place)
    if NUMBER.fullmatch(text):
        return _number(text, place)
    if OTHER_NUMBER.fullmatch(text):
        raise _Refused(f"{text[:60]!r} is different numbers to different parsers; write it decimal or quote it", place)
    if text == "<<":
        raise _Refused("the merge key << is not allowed; write the entries out", place)
    return text


def _number(text: str, place: Place) -> int | float:
    if text.endswith(("NaN", "Infinity")):
        raise _Refused(f"{text} is not a JSON number; leave the entry out or write null", place)
    if len(text) > DIGIT_LIMIT:
        raise _Refused(f"number of {len(text)} characters; at most {DIGIT_LIMIT} are allowed", place)
    if not any(mark in text for mark in ".eE"):
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"number {text} is larger than a float64 holds", place)
    return value


# ---------------------------------------------------------------------------------------------------- JSON

TOKEN = re.compile(
    r"""[ \t\n\r,:]+|(?P<open>[\[{])|(?P<close>[\]}])|(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<word>[^\s,:\[\]{}"]+)""",
    re.ASCII | re.DOTALL,
)
JSON_WORDS = {"null": None, "true": True, "false": False}


def _json_events(text: str) -> Iterator[Event]:
    """Let `json` judge the syntax, then walk the tokens of what is known to be well-formed."""
    if not text.strip(" \t\r\n"):
        return
    _check_json(text)
    line, line_start = 1, 0
    for token in TOKEN.finditer(text):
        place = Place(line, token.start() - line_start + 1)
        word = token[0]
        if token["open"]:
            yield Event("map" if word == "{" else "list", place)
        elif token["close"]:
            yield Event("end", place)
        elif token["text"]:
            yield Event("value", place, json.loads(word))
        elif token["word"]:
            yield Event("value", place, JSON_WORDS[word] if word in JSON_WORDS else _number(word, place))
        elif "\n" in word:
            line += word.count("\n")
            line_start = token.start() + word.rfind("\n") + 1


def _check_json(text: str) -> None:
    try:
        json.loads(text, parse_int=len, parse_float=len, parse_constant=len)  # the walk reads the numbers
    except json.JSONDecodeError as problem:
        raise _Refused(f"not JSON: {problem.msg}", Place(problem.lineno, problem.colno)) from None
    except RecursionError:
        raise _Refused(f"nested deeper than {DEPTH_LIMIT} levels", Place(1, 1)) from None


# ---------------------------------------------------------------------------------------------------- values


@dataclass
class _Open:
    """A mapping or list that is being filled; `key` is the entry that the next value belongs to."""

    holder: dict[str, Any] | list[Any]
    keys: Keys
    key: str | None = None

    def next_keys(self) -> Keys:
        last = self.key if self.key is not None else len(self.holder)
        return (*self.keys, last)

    def put(self, value: Any) -> None:
        if isinstance(self.holder, list):
            self.holder.append(value)
        elif self.key is not None:
            self.holder[self.key] = value
            self.key = None


def _build(events: Iterator[Event]) -> tuple[Any, dict[Keys, Place]]:
    """Return the value that the events spell, and the place of each of its entries."""
    top = _Open([], ())
    stack: list[_Open] = [top]
    positions: dict[Keys, Place] = {}
    for count, (kind, place, value) in enumerate(events):
        if count > NODE_LIMIT:
            raise _Refused(f"more than {NODE_LIMIT:,} entries; split the file", place)
        inner = stack[-1]
        if kind == "end":
            stack.pop()
            continue
        if isinstance(inner.holder, dict) and inner.key is None:
            _begin_entry(inner, kind, value, place)
            positions[inner.next_keys()] = place
            continue
        keys = () if inner is top else inner.next_keys()
        positions.setdefault(keys, place)
        if kind == "value":
            inner.put(_whole(value, place))
            continue
        if len(stack) > DEPTH_LIMIT:
            raise _Refused(f"nested deeper than {DEPTH_LIMIT} levels", place)
        opened = _Open({} if kind == "map" else [], keys)
        inner.put(opened.holder)
        stack.append(opened)
    return (top.holder[0] if isinstance(top.holder, list) and top.holder else None), positions


def _begin_entry(mapping: _Open, kind: str, key: Any, place: Place) -> None:
    if kind != "value" or not isinstance(key, str):
        shown = "a list or mapping" if kind != "value" else json.dumps(key)
        raise _Refused(f"key {shown} is not text; quote it", place)
    if key in mapping.holder:
        raise _Refused(f"key {key[:60]!r} stands twice in this mapping; remove one", place)
    mapping.key = _whole(key, place)


def _whole(value: Any, place: Place) -> Any:
    """Return `value`, refusing text with half of a surrogate pair: it cannot be written to any file."""
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise _Refused("text holds half of a surrogate pair", place)
    return value
