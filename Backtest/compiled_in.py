"""What goes into the machine code of a function, whatever file it stands in: the function, what it calls, constants."""

from __future__ import annotations

import hashlib
from types import CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core.dispatcher import Dispatcher
from numba.extending import _Intrinsic

COMPILER = {"builtins", "llvmlite", "math", "numba", "numpy"}
"""Packages that Numba compiles as it knows them, so that they are named only, beside their versions."""

Met = list[tuple[Any, tuple[str, ...]]]
"""What a function uses, in the order met: functions, and modules with the names that are looked for in them."""


def stamp_of(dispatcher: Any) -> str:
    """Return a digest of all that is compiled into a function: bytecode, flags and constants, of what it calls too."""
    digest = hashlib.sha256(repr([package.__version__ for package in (llvmlite, numba, np)]).encode())
    met: Met = [(dispatcher, ())]
    for thing, names in met:  # which grows meanwhile
        digest.update(repr(_inside(thing, names, met)).encode())
    return digest.hexdigest()


def _inside(thing: Any, names: tuple[str, ...], met: Met) -> Any:
    """Return what a function compiles in, or what a module has under `names`."""
    if isinstance(thing, ModuleType):
        return _held(vars(thing), names, met)
    function = getattr(thing, "py_func", None) or getattr(thing, "_defn", thing)
    code = function.__code__
    cells = zip(code.co_freevars, (cell.cell_contents for cell in function.__closure__ or ()), strict=True)
    return (
        [sorted(getattr(thing, flags, {}).items()) for flags in ("targetoptions", "locals")],
        _bytecode(code),
        _told(function.__defaults__, (), met),
        _held({**function.__globals__, **dict(cells)}, (*_names(code), *code.co_freevars), met),
    )


def _held(space: dict[str, Any], names: tuple[str, ...], met: Met) -> Any:
    return [(name, _told(space[name], names, met)) for name in names if name in space]


def _told(value: Any, names: tuple[str, ...], met: Met) -> Any:
    """Return what tells a value from others, the same in every process; what is to be looked into goes to `met`."""
    if isinstance(value, tuple):
        return type(value).__name__, getattr(value, "_fields", ()), [_told(one, names, met) for one in value]
    if isinstance(value, np.ndarray):
        return value.dtype.descr, value.shape, value.tobytes()
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None) or repr(value)
    home = name if isinstance(value, ModuleType) else getattr(value, "__module__", None) or type(value).__module__
    if home.partition(".")[0] in COMPILER:
        return home, name
    if isinstance(value, type) and hasattr(value, "_fields"):
        return home, name, value._fields
    if not isinstance(value, (Dispatcher, FunctionType, ModuleType, _Intrinsic)):
        raise TypeError(f"{home}: {name} cannot be compiled in: what it holds cannot be told from what it held before")
    one = (value, names if isinstance(value, ModuleType) else ())
    if one not in met:
        met.append(one)
    return home, name


def _bytecode(code: CodeType) -> Any:
    constants = [
        _bytecode(one) if isinstance(one, CodeType) else sorted(map(repr, one)) if isinstance(one, frozenset) else one
        for one in code.co_consts
    ]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, constants, names, code.co_argcount, code.co_kwonlyargcount


def _names(code: CodeType) -> tuple[str, ...]:
    """Return the globals and attributes that a function names, and the functions inside it."""
    inner = [name for one in code.co_consts if isinstance(one, CodeType) for name in _names(one)]
    return (*code.co_names, *inner)
