"""Names that become parts of paths: symbols, factor sets, runs, strategies."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from .errors import NameRefused

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
RULE = "1 to 64 letters, digits, '.', '_' or '-', the first a letter or a digit"
RESERVED = frozenset(
    ["con", "prn", "aux", "nul"] + [f"{device}{number}" for device in ("com", "lpt") for number in range(1, 10)]
)
"""Device names that Windows refuses as a file name, whatever the extension."""


def check_name(kind: str, name: str) -> str:
    """Return `name` if it is safe as a file name on every system, else raise NameRefused."""
    if not NAME.fullmatch(name):
        raise NameRefused(f"{kind} {name[:80]!r} is not allowed: {RULE}")
    if name.split(".")[0].lower() in RESERVED or name.endswith("."):
        raise NameRefused(f"{kind} {name!r} is not allowed: Windows keeps it for itself; choose another name")
    return name


def check_case(kind: str, names: Iterable[str]) -> None:
    """Refuse names that differ in case only: they are one file on Windows and macOS."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise NameRefused(f"{kind} {other!r} and {name!r} differ in case only and would share one file; rename one")


def inside(root: Path, *parts: str) -> Path:
    """Return ``root/parts`` and refuse it when links or dots lead outside `root`."""
    path = root.joinpath(*parts)
    # realpath, for Path.resolve raises on a link that leads to itself
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise NameRefused(f"{path} leads outside {root}; links out of it are not followed")
    return path
