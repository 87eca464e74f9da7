"""Machine code on disk follows every source that went into it: run again in a new process, as after an upgrade."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from Backtest import machine_code

TOP = Path(machine_code.__file__).parents[1]
DECORATED = "from Backtest.machine_code import compiled\n\n@compiled\n"
SOURCES = {
    "__init__": "",
    "inner": DECORATED + "def inner(x):\n    return x + 1\n",
    "middle": "from . import inner as below\n" + DECORATED + "def middle(x):\n    return 10 * below.inner(x)\n",
    "outer": "from .middle import middle\n" + DECORATED + "def outer(x):\n    return middle(x) + 5\n",
    "other": DECORATED + "def other(x):\n    return -x\n",
}
IMPORTS = "from tiny.outer import outer; from tiny.other import other; "
CALLS = "print(outer(2), other(2), *(sum(f.stats.cache_hits.values()) for f in (outer, other)))"
PROGRAM = IMPORTS + CALLS


def package(folder: Path) -> Path:
    made = folder / "tiny"
    made.mkdir()
    for name, text in SOURCES.items():
        write(made, name, text)
    return made


def write(folder: Path, name: str, text: str) -> None:
    """Write a source, and let Python not take the bytecode of one that was as long and written in the same second."""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    for kept in folder.glob(f"__pycache__/{name}.*.pyc"):
        kept.unlink()


def start(folder: Path, program: str = PROGRAM, **more: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(TOP))), **more}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program]
    return subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def told(folder: Path, program: str = PROGRAM, **more: str) -> tuple[list[int], str]:
    """Return what a program prints (here outer(2), other(2), and whether each was loaded from disk), and stderr."""
    words, errors = start(folder, program, **more).communicate(timeout=120)
    return [int(word) for word in words.split()], errors


def run(folder: Path, program: str = PROGRAM, **more: str) -> list[int]:
    numbers, words = told(folder, program, **more)
    assert words == ""
    return numbers


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_function_deep_below_changes(tmp_path: Path, elsewhere: bool) -> None:
    made = package(tmp_path)
    more = {"NUMBA_CACHE_DIR": str(tmp_path / "kept")} if elsewhere else {}
    assert run(tmp_path, **more) == [35, -2, 0, 0]
    assert run(tmp_path, **more) == [35, -2, 1, 1]
    before = {path.name for path in tmp_path.rglob("*.nb?")}
    # two lines further down
    write(made, "inner", "\n\n" + SOURCES["inner"].replace("x + 1", "x + 2"))
    # what does not stand on it is still loaded
    assert run(tmp_path, **more) == [45, -2, 0, 1]
    assert run(tmp_path, **more) == [45, -2, 1, 1]
    # what is superseded is replaced
    assert {path.name for path in tmp_path.rglob("*.nb?")} == before


def test_loading_needs_nothing_that_compiling_needs(tmp_path: Path) -> None:
    package(tmp_path)
    program = f"{PROGRAM}; import sys; print(int('numba.np.arraymath' in sys.modules))"
    assert run(tmp_path, program) == [35, -2, 0, 0, 1]
    assert run(tmp_path, program) == [35, -2, 1, 1, 0]


def test_what_is_compiled_may_call_what_was_loaded(tmp_path: Path) -> None:
    made = package(tmp_path)
    run(tmp_path)
    imports = "import numpy as np\nfrom .outer import outer\n"
    write(made, "new", f"{imports}{DECORATED}def new(x):\n    return outer(x) + np.ones(3).sum()\n")
    program = f"{PROGRAM}; from tiny.new import new; print(round(new(2)), outer(3), sum(new.stats.cache_hits.values()))"
    assert run(tmp_path, program) == [35, -2, 1, 1, 38, 45, 0]
    assert run(tmp_path, program) == [35, -2, 1, 1, 38, 45, 1]


def test_processes_that_start_together_after_a_change(tmp_path: Path) -> None:
    made = package(tmp_path)
    run(tmp_path)
    write(made, "inner", SOURCES["inner"].replace("x + 1", "x + 3"))
    for process in [start(tmp_path) for _ in range(3)]:
        words, _ = process.communicate(timeout=120)
        assert words.split()[:2] == ["55", "-2"]
    assert run(tmp_path) == [55, -2, 1, 1]


def test_a_process_that_began_before_a_change_leaves_nothing_to_others(tmp_path: Path) -> None:
    made = package(tmp_path)
    old = start(tmp_path, f"{IMPORTS}print(flush=True); input(); {CALLS}")
    assert old.stdout is not None
    assert old.stdout.readline() == "\n"
    write(made, "inner", SOURCES["inner"].replace("x + 1", "x + 2"))
    assert run(tmp_path) == [45, -2, 0, 0]
    words, _ = old.communicate("\n", timeout=120)
    assert words.split() == ["35", "-2", "0", "1"]
    assert run(tmp_path) == [45, -2, 0, 1]


def test_an_index_that_names_the_code_of_another_signature(tmp_path: Path) -> None:
    """Two processes that compile at once may leave that: each takes the first number that is free for its file."""
    made = package(tmp_path)
    program = (
        "from tiny.other import other; print(other(3), round(2 * other(1.5)), sum(other.stats.cache_hits.values()))"
    )
    assert run(tmp_path, program) == [-3, -3, 0]
    one, two = sorted(made.glob("__pycache__/other*.nbc"))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    assert run(tmp_path, program) == [-3, -3, 0]
    assert run(tmp_path, program) == [-3, -3, 2]


def test_an_index_that_names_the_code_of_other_sources(tmp_path: Path) -> None:
    """A process that began before a change may write that after the index of one that began later."""
    made = package(tmp_path)
    run(tmp_path)
    before = {path: path.read_bytes() for path in made.glob("__pycache__/*.nbc")}
    write(made, "inner", SOURCES["inner"].replace("x + 1", "x + 2"))
    assert run(tmp_path) == [45, -2, 0, 1]
    for path, code in before.items():
        path.write_bytes(code)
    assert run(tmp_path) == [45, -2, 0, 1]
    assert run(tmp_path) == [45, -2, 1, 1]


@pytest.mark.parametrize(
    "fields, limit, numbers",
    [("a b", 2, [12, 0]), ("b a", 1, [21, 0]), ("a b", 1, [11, 1])],
    ids=["constant", "fields of an argument", "nothing"],
)
def test_what_another_package_holds_changes(tmp_path: Path, fields: str, limit: int, numbers: list[int]) -> None:
    other = tmp_path / "below"
    other.mkdir()
    text = "from collections import namedtuple\nPair = namedtuple('Pair', '{}')\nLIMIT = {}\n"
    write(other, "deep", text.format("a b", 1))
    write(tmp_path, "user", f"from below.deep import LIMIT\n{DECORATED}def f(pair):\n    return pair.a + LIMIT\n")
    program = (
        "from user import f; from below.deep import Pair; print(f(Pair(10, 20)), sum(f.stats.cache_hits.values()))"
    )
    assert run(tmp_path, program) == [11, 0]
    write(other, "deep", text.format(fields, limit))
    assert run(tmp_path, program) == numbers


def test_everything_that_is_compiled_is_kept_here() -> None:
    """What another decorator of Numba's compiles would follow the sources of its own file only."""
    sources = [path for folder in ("Backtest", "Factor Evaluation") for path in (TOP / folder).rglob("*.py")]
    for path in sources:
        if "tests" not in path.relative_to(TOP).parts and path != Path(machine_code.__file__):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"(@|numba\.|from numba.* import .*)\b(n?jit|(gu)?vectorize|cfunc|stencil)\b", text), (
                path
            )


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment in which no folder can be written: files stand where Numba would make them (root may write
    anywhere, so permissions prove nothing)."""
    file = tmp_path / "file"
    file.touch()
    made = package(tmp_path)
    (made / "__pycache__").touch()
    home = str(file)
    return {"NUMBA_CACHE_DIR": home, "HOME": home, "XDG_CACHE_HOME": home, "LOCALAPPDATA": home,
            "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip


def test_where_nothing_can_be_written_all_is_compiled_in_memory_and_told_once(tmp_path, nowhere) -> None:
    numbers, words = told(tmp_path, **nowhere)
    assert numbers == [35, -2, 0, 0]
    assert words.count("machine code cannot be kept") == 1
    assert "every process compiles anew" in words
    assert not list(tmp_path.rglob("*.nbi"))


@pytest.mark.parametrize("number, words", [(28, "No space left on device"), (13, "Permission denied")])
def test_a_full_disk_and_a_locked_file_are_told_and_the_numbers_are_there(tmp_path: Path, number, words) -> None:
    made = package(tmp_path)
    run(tmp_path)
    write(made, "inner", SOURCES["inner"].replace("x + 1", "x + 2"))
    write(
        tmp_path,
        "sitecustomize",
        "import numba.core.caching as c\n"
        f"def refuse(self, path):\n    raise OSError({number}, {words!r})\n"
        "c.IndexDataCacheFile._open_for_write = refuse\n",
    )
    numbers, errors = told(tmp_path)
    assert numbers == [45, -2, 0, 1]
    assert errors.count(words) == 1


@pytest.mark.parametrize(("suffix", "content"), [("nbi", b""), ("nbi", None), ("nbc", b"garbage")])
def test_damaged_machine_code_is_compiled_anew(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    made = package(tmp_path)
    assert run(tmp_path) == [35, -2, 0, 0]
    for path in (made / "__pycache__").glob(f"outer*.{suffix}"):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    numbers, words = told(tmp_path)
    assert numbers == [35, -2, 0, 1]
    assert words.count("cannot be read") == 1
    assert told(tmp_path) == ([35, -2, 1, 1], "")


def test_a_damaged_index_that_stays_is_told_and_the_numbers_are_there(tmp_path: Path) -> None:
    """As on Windows, where another process that reads the file keeps it from being removed."""
    made = package(tmp_path)
    run(tmp_path)
    (index,) = (made / "__pycache__").glob("outer*.nbi")
    index.write_bytes(b"garbage")
    write(
        tmp_path,
        "sitecustomize",
        "import os, pathlib\ndef refuse(*arguments, **more):\n    raise PermissionError(13, 'Permission denied')\n"
        "pathlib.Path.unlink = refuse\n",
    )
    numbers, words = told(tmp_path)
    assert numbers == [35, -2, 0, 1]
    assert "cannot be read" in words
    assert words.count("machine code cannot be kept") == 1


def test_other_packages_keep_numba_s_own_error(tmp_path, nowhere) -> None:
    write(tmp_path, "alone", "import numba\n\n@numba.njit(cache=True)\ndef f(x):\n    return x\n")
    (tmp_path / "__pycache__").touch()
    code = "import tiny.other\ntry:\n    import alone\nexcept RuntimeError as e:\n    print('no locator' in str(e))"
    words, errors = start(tmp_path, code, **nowhere).communicate(timeout=120)
    assert "True" in words, errors
