"""Compiled functions, and their machine code on disk, loaded only where it is what would be compiled now.

Numba looks at the file of a function only. After an upgrade that changes a function which it calls in another file, or
a constant, the code on disk would still hold the old one: old numbers, silently. What `compiled` decorates is kept with
a stamp of all that was compiled in (`compiled_in.stamp_of`), taken from what the process has in memory, and with its
signature. So sources may change while processes run, and several processes may write at once, of other sources too:
what one of them reads is its own, or compiled anew. The files' names bear no line number, so that what changed sources
are compiled to takes the place of what was there.

Where no folder for machine code can be written, or what lies there cannot be read, Numba would raise. Here functions
are then compiled in memory, by each process anew, and the log says so once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from numba import njit, types
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, NullCache
from numba.core.runtime import rtsys
from numba.core.sigutils import normalize_signature

from .compiled_in import stamp_of
from .logs import LOGGER


def compiled(function: Callable[..., Any] | None = None, **flags: Any) -> Any:
    """Compile a function when it is first called (a decorator), and keep its machine code on disk.

    `flags` are Numba's, beside what is common to all: without the GIL, and dividing as NumPy does.
    """
    if function is None:
        return partial(compiled, **flags)
    dispatcher = njit(nogil=True, error_model="numpy", **flags)(function)
    dispatcher._cache = MachineCode(dispatcher)
    return dispatcher


class MachineCode(NullCache):  # type: ignore[misc]
    """What Numba asks for the machine code of a function; looks at the disk when the function is first called."""

    def __init__(self, dispatcher: Any) -> None:
        self._dispatcher = dispatcher

    @cached_property
    def _kept(self) -> Any:
        try:
            return _Kept(self._dispatcher)
        except RuntimeError:  # what Numba raises where it finds no folder that can be written
            _tell_once("no folder for it can be written")
            return NullCache()

    @property
    def cache_path(self) -> str | None:
        path: str | None = self._kept.cache_path
        return path

    def flush(self) -> None:
        self._kept.flush()

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        kept = self._kept
        try:
            return kept.load_overload(sig, target_context)
        except Exception as error:  # damaged pickles raise anything
            index = Path(kept._cache_file._index_path)
            LOGGER.warning("%s cannot be read (%s: %s): compiled anew", index, type(error).__name__, error)
            try:
                index.unlink(missing_ok=True)
            except OSError as refused:  # what stays would not be read to be added to either
                self._kept = NullCache()
                _tell_once(refused.strerror or str(refused))
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            self._kept.save_overload(sig, data)
        except OSError as error:
            _tell_once(error.strerror or str(error))


@cache
def _tell_once(reason: str) -> None:
    LOGGER.warning("machine code cannot be kept (%s): every process compiles anew, some seconds each", reason)


class _Names(CompileResultCacheImpl):  # type: ignore[misc]
    def get_filename_base(self, fullname: str, abiflags: str) -> str:
        numbered: str = super().get_filename_base(fullname, abiflags)
        return numbered.replace(f"-{self.locator.get_disambiguator()}.py", ".py")


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """An index and the files that it names, which several processes may have written: each says itself what it is."""

    def save(self, key: Any, data: Any) -> None:
        super().save(key, (self._source_stamp, key, data))

    def load(self, key: Any) -> Any:
        stamp, found, data = super().load(key) or (None, None, None)
        return data if (stamp, found) == (self._source_stamp, key) else None


class _Kept(FunctionCache):  # type: ignore[misc]
    _impl_class = _Names

    def __init__(self, dispatcher: Any) -> None:
        super().__init__(dispatcher.py_func)
        self._cache_file = _Files(self.cache_path, self._impl.filename_base, stamp_of(dispatcher))

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load, without what Numba does first here, and again when it compiles: make the target ready to compile.

        That imports all that it can compile, SciPy's linear algebra with it, which takes each process 0.2 s. Machine
        code needs Numba's runtime only.
        """
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)

    def _index_key(self, sig: Any, codegen: Any) -> Any:
        return super()._index_key(sig, codegen), _fields(normalize_signature(sig)[0])


def _fields(kinds: Iterable[Any]) -> tuple[Any, ...]:
    """Return the fields of the named tuples among types, which Numba tells apart by their class's name only."""
    tuples = (kind for kind in kinds if isinstance(kind, types.BaseTuple))
    return tuple((getattr(kind, "fields", ()), _fields(kind.types)) for kind in tuples)
