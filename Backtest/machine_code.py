"""Machine code that Numba kept on disk, and whether it still is what the sources say.

Numba looks at the file of a function only. After an upgrade that changes a function which it calls in another file, the
code on disk would still hold the old one: old numbers, silently. So a package of compiled functions names itself here
before the first of them runs, and what was compiled from other sources is removed:

1. `_digests` of the package's files are compared with those of the last time, kept beside the machine code (`STAMP`).
2. Where they differ, the machine code of each module that changed, or imports one that did, is removed. Where nothing
   was kept, it is what is older than a file that it stands on (`_limits`).

Several processes may do this at once: a file that is gone already is fine, and Numba compiles what it does not find.

Where no folder for machine code can be written, or what lies there cannot be read, Numba would raise. What `compiled`
decorates is then compiled in memory, by each process anew, and the log says so once.
"""

from __future__ import annotations

import ast
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

from .errors import SettingsError
from .logs import LOGGER

STAMP = "compiled_from.json"
WAIT_SECONDS = 5.0
"""Windows refuses to remove a file that another process holds open; readers do so for moments."""


def remove_outdated(package: Path, *used: Path) -> None:
    """Remove the machine code of the modules in the folder `package` that was not compiled from these sources.

    To be called before a module of the package is imported. `used`: other packages, or single files, whose functions it
    calls or whose constants it compiles in; where one of their files changes, all its machine code goes.
    """
    folder = _folder(package)
    if folder is None:
        return
    now, before = _digests(package, used), _read(folder / STAMP)
    if now == before:
        return
    limits = _limits(package, used, now, before)
    if folder.is_dir():
        # Indexes first: machine code that no index names is never read.
        for path in (*folder.glob("*.nbi"), *folder.glob("*.nbc")):
            if _modified(path) < limits.get(path.name.partition(".")[0], math.inf):
                _patiently(partial(path.unlink, missing_ok=True), path)
    _write(folder / STAMP, now)


def _folder(package: Path) -> Path | None:
    """Return where Numba keeps the machine code of a package's modules; None where it can nowhere."""
    beside = package / "__pycache__"
    if not os.environ.get("NUMBA_CACHE_DIR") and os.access(beside if beside.is_dir() else package, os.W_OK):
        return beside
    from numba.core.caching import InTreeCacheLocator, UserProvidedCacheLocator, UserWideCacheLocator

    for locator in (UserProvidedCacheLocator, InTreeCacheLocator, UserWideCacheLocator):  # as Numba looks
        found = locator.from_function(_folder, str(package / "__init__.py"))
        if found is not None:
            return Path(found.get_cache_path())
    return None


def compiled(function: Callable[..., Any] | None = None, **flags: Any) -> Any:
    """Compile a function when it is first called (a decorator), and keep its machine code on disk.

    `flags` are Numba's: without the GIL, and with NumPy's division by zero, is what every function here is compiled to.
    """
    if function is None:
        return partial(compiled, **flags)
    dispatcher = njit(nogil=True, error_model="numpy", **flags)(function)
    try:
        dispatcher._cache = _TolerantCache(function)
    except RuntimeError:  # what Numba raises where it finds no folder that can be written
        _tell_once("no folder for it can be written")
    return dispatcher


class _TolerantCache(FunctionCache):  # type: ignore[misc]
    """Numba's cache of one function, but for what it cannot read or write: told, and compiled instead."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # damaged pickles raise anything
            index = Path(self._cache_file._index_path)
            LOGGER.warning("%s cannot be read (%s: %s): compiled anew", index, type(error).__name__, error)
            with suppress(OSError):  # what stays will be told again by the next process
                index.unlink(missing_ok=True)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _tell_once(error.strerror or str(error))


@cache
def _tell_once(reason: str) -> None:
    LOGGER.warning("machine code cannot be kept (%s): every process compiles anew, some seconds each", reason)


def _digests(package: Path, used: Iterable[Path] = ()) -> dict[str, str]:
    """Return module -> digest of its source; of what else is used as ``package/module``."""
    own = {path.stem: path for path in sorted(package.glob("*.py"))}
    others = {f"{path.parent.name}/{path.stem}": path for path in _files(used)}
    return {name: hashlib.sha1(path.read_bytes()).hexdigest() for name, path in (own | others).items()}


def _files(used: Iterable[Path]) -> list[Path]:
    """Return the source files of packages, and the files that are named themselves."""
    return [path for one in used for path in (sorted(one.glob("*.py")) if one.is_dir() else [one])]


def _limits(package: Path, used: Iterable[Path], now: Mapping[str, str], before: Mapping[str, str]) -> dict[str, float]:
    """Return for each module the time from which on its machine code is up to date."""
    own = [name for name in now if "/" not in name]
    others = {name for name in {*now, *before} if "/" in name}
    latest = max(map(_modified, _files(used)), default=0.0)
    imports = {name: _siblings(package / f"{name}.py") for name in own}
    limits = {}
    for name in own:
        below, todo = {name}, [name]
        while todo:
            more = imports.get(todo.pop(), set()) - below
            below |= more
            todo += more
        if before:
            limits[name] = math.inf if any(now.get(one) != before.get(one) for one in below | others) else 0.0
        else:
            limits[name] = max(latest, *(_modified(package / f"{one}.py") for one in below))
    return limits


def _modified(path: Path) -> float:
    """Return when a file was written; never for one that another process has removed meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _siblings(path: Path) -> set[str]:
    """Return the modules of its own package that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {node.module.partition(".")[0]} if node.module else {name.name for name in node.names}
    return found


def _read(stamp: Path) -> Mapping[str, str]:
    """Return the digests of the last time; none where there was none, or a killed process left half a file."""
    try:
        found = json.loads(stamp.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(stamp: Path, digests: Mapping[str, str]) -> None:
    """Write the stamp whole; another process that is as far writes the same."""
    stamp.parent.mkdir(parents=True, exist_ok=True)
    temporary = stamp.with_name(f"{stamp.name}.{os.getpid()}")
    temporary.write_text(json.dumps(digests, indent=0), encoding="utf-8")
    _patiently(lambda: os.replace(temporary, stamp), stamp)


def _patiently(act: Callable[[], None], path: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return act()
        except PermissionError as error:
            if time.monotonic() > deadline:
                words = f"{path}: machine code of an earlier version, in use by another process; end that one first"
                raise SettingsError(words) from error
            time.sleep(0.05)
