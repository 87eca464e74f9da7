"""The stamp of a compiled function follows everything that Numba compiles into it, and nothing else."""

from __future__ import annotations

import cProfile
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba
import numpy as np
import pytest
from numba.core.bytecode import ByteCode, FunctionIdentity
from numba.extending import is_jitted

from Backtest.compiled_in import stamp_of
from Backtest.machine_code import compiled

TOP = Path(__file__).parents[1]
IMPORTS = "import numpy as np\nfrom typing import NamedTuple\nfrom Backtest.machine_code import compiled\n"
ARRAY = "N = np.zeros(2000)\nN[1500] = {}\n"
PAIR = "class Pair(NamedTuple):\n    {}: int\n    {}: int\n"
INTRINSIC = (
    "from numba.extending import intrinsic\n"
    "def number():\n    return {}\n"
    "@intrinsic\n"
    "def more(typing_context, x):\n"
    "    def generate(context, builder, signature, arguments):\n"
    "        return builder.add(arguments[0], arguments[0].type(number()))\n"
    "    return x(x), generate\n"
)
USES = {
    "constant": ("from below import N\n@compiled\ndef f(x):\n    return x + N\n", "N = 1\n", "N = 2\n"),
    "sign of zero": ("from below import N\n@compiled\ndef f(x):\n    return x / N\n", "N = 0.0\n", "N = -0.0\n"),
    "type": ("from below import N\n@compiled\ndef f(x):\n    return x + N\n", "N = 1\n", "N = 1.0\n"),
    "of a module": ("import below\n@compiled\ndef f(x):\n    return x + below.N\n", "N = 1\n", "N = 2\n"),
    "derived": ("import below\nM = 2 * below.N\n@compiled\ndef f(x):\n    return x + M\n", "N = 1\n", "N = 2\n"),
    "inside tuples": ("from below import N\n@compiled\ndef f(x):\n    return x + N[1][0]\n",
                      "N = (0, (1, 0))\n", "N = (0, (2, 0))\n"),
    "array": ("from below import N\n@compiled\ndef f(x):\n    return x + N[1500]\n", ARRAY.format(1), ARRAY.format(2)),
    "default": ("from below import N\n@compiled\ndef f(x, n=N):\n    return x + n\n", "N = 1\n", "N = 2\n"),
    "flag": ("from below import N\n@compiled(boundscheck=N)\ndef f(x):\n    return x[0]\n", "N = None\n", "N = True\n"),
    "kind of a local": ("from below import N\nimport numba\n@compiled(locals={'y': getattr(numba, N)})\ndef f(x):\n"
                        "    y = 0.1 * x\n    return y\n", "N = 'float32'\n", "N = 'float64'\n"),
    "fields": ("from below import Pair\n@compiled\ndef f(x):\n    return Pair(x, 1).a\n",
               PAIR.format("a", "b"), PAIR.format("b", "a")),
    "closure": ("import below\ndef make(n):\n    @compiled\n    def f(x):\n        return x + n\n    return f\n"
                "f = make(below.N)\n", "N = 1\n", "N = 2\n"),
    "function within": ("from below import N\n@compiled\ndef f(x):\n    def inner(y):\n        return y + N\n"
                        "    return inner(x)\n", "N = 1\n", "N = 2\n"),
    "functions in a tuple": ("from below import g\nALL = (g, g)\n@compiled\ndef f(x):\n    return ALL[0](x)\n",
                             "@compiled\ndef g(x):\n    return x\n", "@compiled\ndef g(x):\n    return -x\n"),
    "flag of what is called": ("from below import g\n@compiled\ndef f(x):\n    return g(x)\n",
                               "@compiled\ndef g(x):\n    return x\n",
                               "@compiled(_nrt=False)\ndef g(x):\n    return x\n"),
    "what an intrinsic calls": ("from below import more\n@compiled\ndef f(x):\n    return more(x)\n",
                                INTRINSIC.format(1), INTRINSIC.format(2)),
}  # fmt: skip
"""What the function f of a module uses, and the module ``below``, before and after."""


@pytest.fixture
def stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the stamp of f, given the two sources."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def of(user: str, below: str) -> str:
        for name, text in (("user", user), ("below", below)):
            (tmp_path / f"{name}.py").write_text(IMPORTS + text, encoding="utf-8")
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return stamp_of(importlib.import_module("user").f)

    yield of
    for name in ("user", "below"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("what", USES)
def test_what_is_compiled_in_changes_it(stamp: Any, what: str) -> None:
    user, before, after = USES[what]
    assert stamp(user, before) == stamp(user, before) != stamp(user, after)


@pytest.mark.parametrize("package", [numba, llvmlite, np], ids=lambda package: package.__name__)
def test_a_compiler_of_another_version_changes_it(stamp: Any, monkeypatch: pytest.MonkeyPatch, package: Any) -> None:
    one = "@compiled\ndef f(x):\n    return x\n"
    before = stamp(one, "")
    monkeypatch.setattr(package, "__version__", "999.0")
    assert stamp(one, "") != before


def test_all_else_does_not(stamp: Any) -> None:
    user = "import below\n@compiled\ndef f(x):\n    return x + below.N\n"
    first = stamp(user, "N = 1\n")
    assert stamp("# moved\n\n\n" + user + "def g(x):\n    return x\n", "M = object()\nN = 1\n") == first


def test_a_profiler_does_not() -> None:
    """Numba gives what it calls other flags while a profiler runs."""
    function = compiled(lambda x: x + 1)
    before = stamp_of(function)
    with cProfile.Profile():
        function(1)
    assert stamp_of(function) == before


def test_what_cannot_be_told_is_refused(stamp: Any) -> None:
    with pytest.raises(TypeError, match=r"below: .*cannot be compiled in"):
        stamp("from below import N\n@compiled\ndef f(x):\n    return N\n", "class Own:\n    pass\nN = Own()\n")


def modules() -> Iterator[ModuleType]:
    for path in sorted(TOP.rglob("*.py")):
        if "tests" not in path.relative_to(TOP).parts and "\n@compiled" in path.read_text(encoding="utf-8"):
            yield importlib.import_module(".".join(path.relative_to(TOP.parent).with_suffix("").parts))


def functions() -> dict[str, Any]:
    """Return every compiled function of the project by its name."""
    held = (one for module in modules() for one in vars(module).values() if is_jitted(one))
    return {f"{one.__module__}.{one.__qualname__}": one for one in held}


def test_another_process_finds_the_same() -> None:
    here = {name: stamp_of(one) for name, one in functions().items()}
    assert len(here) > 250
    program = (
        f"import json; from {__name__} import *; print(json.dumps({{n: stamp_of(f) for n, f in functions().items()}}))"
    )
    variables = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(TOP.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, check=True, timeout=120)
    assert json.loads(done.stdout) == here


def test_a_set_of_words_is_the_same_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(IMPORTS + "@compiled\ndef f(x):\n    return x in {'a', 'b', 'c', 'd', 'e'}\n")
    program = "from user import f; from Backtest.compiled_in import stamp_of; print(stamp_of(f))"
    paths = os.pathsep.join((str(tmp_path), str(TOP.parent)))
    found = {
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, check=True, timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


def test_every_global_that_numba_takes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba says itself which globals a function takes: with another value of one, the stamp is another."""
    count = 0
    for name, one in functions().items():
        before = stamp_of(one)
        used = ByteCode(FunctionIdentity.from_function(one.py_func)).get_used_globals()
        for used_name, value in used.items():
            number = isinstance(value, (int, float, tuple, np.number))
            if number or is_jitted(value):
                count += 1
                with monkeypatch.context() as patch:
                    patch.setitem(one.py_func.__globals__, used_name, 12345.0 if number else min)
                    assert stamp_of(one) != before, (name, used_name)
    assert count > 500
