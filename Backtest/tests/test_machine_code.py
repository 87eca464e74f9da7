"""Machine code on disk follows every source that went into it: run again in a new process, as after an upgrade."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from Backtest import machine_code
from Backtest.errors import SettingsError

DECORATED = "from Backtest.machine_code import compiled\n\n@compiled\n"
SOURCES = {
    "__init__": "from pathlib import Path\nfrom Backtest.machine_code import remove_outdated\n"
    "remove_outdated(Path(__file__).parent)\n",
    "inner": DECORATED + "def inner(x):\n    return x + 1\n",
    "middle": "from . import inner as below\n" + DECORATED + "def middle(x):\n    return 10 * below.inner(x)\n",
    "outer": "from .middle import middle\n" + DECORATED + "def outer(x):\n    return middle(x) + 5\n",
    "other": DECORATED + "def other(x):\n    return -x\n",
}
PROGRAM = (
    "from tiny.outer import outer; from tiny.other import other; print(outer(2), other(2),"
    " *(sum(f.stats.cache_hits.values()) for f in (outer, other)))"
)


def package(folder: Path) -> Path:
    made = folder / "tiny"
    made.mkdir()
    for name, text in SOURCES.items():
        (made / f"{name}.py").write_text(text, encoding="utf-8")
    return made


def start(folder: Path, more: Mapping[str, str]) -> subprocess.Popen[str]:
    paths = os.pathsep.join((str(folder), str(Path(machine_code.__file__).parents[1])))
    variables = {**os.environ, "PYTHONPATH": paths, **more}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=variables, stdout=subprocess.PIPE, text=True)


def run(folder: Path, **more: str) -> list[int]:
    """Return what outer(2) and other(2) gave, and whether each was loaded from disk."""
    words, _ = start(folder, more).communicate(timeout=120)
    return [int(word) for word in words.split()]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_function_deep_below_changes(tmp_path: Path, elsewhere: bool) -> None:
    made = package(tmp_path)
    more = {"NUMBA_CACHE_DIR": str(tmp_path / "kept")} if elsewhere else {}
    assert run(tmp_path, **more) == [35, -2, 0, 0]
    assert run(tmp_path, **more) == [35, -2, 1, 1]
    (made / "inner.py").write_text(SOURCES["inner"].replace("x + 1", "x + 2"), encoding="utf-8")
    # what does not stand on it is still loaded
    assert run(tmp_path, **more) == [45, -2, 0, 1]
    assert run(tmp_path, **more) == [45, -2, 1, 1]


def test_processes_that_start_together_after_a_change(tmp_path: Path) -> None:
    made = package(tmp_path)
    run(tmp_path)
    (made / "inner.py").write_text(SOURCES["inner"].replace("x + 1", "x + 3"), encoding="utf-8")
    for process in [start(tmp_path, {}) for _ in range(3)]:
        words, _ = process.communicate(timeout=120)
        assert words.split()[:2] == ["55", "-2"]
    assert run(tmp_path) == [55, -2, 1, 1]


def test_a_function_of_another_package_changes(tmp_path: Path) -> None:
    made, kept = package(tmp_path), tmp_path / "tiny" / "__pycache__"
    other = tmp_path / "below"
    other.mkdir()
    (other / "deep.py").write_text("x = 1\n", encoding="utf-8")
    kept.mkdir()
    machine_code.remove_outdated(made, other)
    (kept / "outer.f-3.py311.nbi").touch()
    machine_code.remove_outdated(made, other)
    assert (kept / "outer.f-3.py311.nbi").exists()
    (other / "deep.py").write_text("x = 2\n", encoding="utf-8")
    machine_code.remove_outdated(made, other)
    assert not (kept / "outer.f-3.py311.nbi").exists()
    for name in SOURCES:
        os.utime(made / f"{name}.py", (900, 900))
    (kept / machine_code.STAMP).unlink()
    for time, stays in ((2000, True), (1000, False)):
        (kept / "outer.f-3.py311.nbi").touch()
        os.utime(kept / "outer.f-3.py311.nbi", (time, time))
        os.utime(other / "deep.py", (1500, 1500))
        machine_code.remove_outdated(made, other)
        assert (kept / "outer.f-3.py311.nbi").exists() is stays
        (kept / machine_code.STAMP).unlink()


def test_without_a_record_times_decide(tmp_path: Path) -> None:
    made = package(tmp_path)
    kept = made / "__pycache__"
    kept.mkdir()
    names = [f"{name}.f-3.py311.nbi" for name in ("inner", "middle", "outer", "other", "gone")]
    for number, name in enumerate((*names, "outer.f-3.py311.1.nbc")):
        (kept / name).touch()
        os.utime(kept / name, (1000 + number, 1000 + number))
    for name in SOURCES:
        os.utime(made / f"{name}.py", (900, 900))
    os.utime(made / "inner.py", (1001.5, 1001.5))
    (kept / machine_code.STAMP).write_text('{"outer": ', encoding="utf-8")  # half a file
    machine_code.remove_outdated(made)
    left = {path.name for path in kept.iterdir()}
    assert left == {"outer.f-3.py311.nbi", "outer.f-3.py311.1.nbc", "other.f-3.py311.nbi", machine_code.STAMP}


def test_a_locked_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = package(tmp_path)
    (made / "__pycache__").mkdir()
    (made / "__pycache__" / "gone.f-3.py311.nbi").touch()

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(machine_code, "WAIT_SECONDS", 0.1)
    with pytest.raises(SettingsError, match="in use by another process"):
        machine_code.remove_outdated(made)
    assert not (made / "__pycache__" / machine_code.STAMP).exists()


def test_every_package_of_compiled_functions_names_itself() -> None:
    top = Path(machine_code.__file__).parent
    compiled = {path.parent for path in top.rglob("*.py") if "\n@compiled" in path.read_text(encoding="utf-8")}
    for folder in {one for one in compiled if "tests" not in one.relative_to(top).parts}:
        text = (folder / "__init__.py").read_text(encoding="utf-8")
        assert re.search(r"\nremove_outdated\(Path\(__file__\)\.parent[,)]", text), folder


def compiled_in(path: Path) -> set[Path]:
    """Return the files outside its package from which the compiled functions of a module take names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    decorated = [one for one in tree.body if isinstance(one, ast.FunctionDef) and one.decorator_list]
    names = {name.id for one in decorated for line in one.body for name in ast.walk(line) if isinstance(name, ast.Name)}
    found = set()
    for node in tree.body:
        taken = {one.asname or one.name for one in node.names} if isinstance(node, ast.ImportFrom) else set()
        if isinstance(node, ast.ImportFrom) and node.level > 1 and names & taken:
            assert node.module
            source = path.parents[node.level - 1].joinpath(*node.module.split("."))
            found.add(source / "__init__.py" if source.is_dir() else source.with_suffix(".py"))
    return found


@pytest.mark.parametrize("name", ["data.kernels", "engine.numba", "search"])
def test_every_constant_from_elsewhere_is_watched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine code holds the constants that it was compiled with."""
    module = importlib.import_module(f"Backtest.{name}")
    folder, used = Path(str(module.__file__)).parent, set()
    monkeypatch.setattr(machine_code, "remove_outdated", lambda package, *others: used.update(others))
    assert module.__spec__ is not None
    assert module.__spec__.loader is not None
    module.__spec__.loader.exec_module(importlib.util.module_from_spec(module.__spec__))
    packages = [folder, *(path for path in used if path.is_dir())]
    needed = {file for package_ in packages for path in package_.glob("*.py") for file in compiled_in(path)}
    assert {file for file in needed if file.parent != folder} <= set(machine_code._files(used))


def told(folder: Path, **more: str) -> tuple[list[int], str]:
    """Return what `run` does, and stderr."""
    paths = os.pathsep.join((str(folder), str(Path(machine_code.__file__).parents[1])))
    done = subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONPATH": paths, **more},
                          capture_output=True, text=True, timeout=120, check=True)  # fmt: skip
    return [int(word) for word in done.stdout.split()], done.stderr


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


def test_a_disk_that_fills_is_told_and_the_numbers_are_there(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import numba.core.caching as c\n"
        "def full(self, path):\n    raise OSError(28, 'No space left on device')\n"
        "c.IndexDataCacheFile._open_for_write = full\n", encoding="utf-8")  # fmt: skip
    numbers, words = told(tmp_path)
    assert numbers == [35, -2, 0, 0]
    assert words.count("No space left on device") == 1


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


def test_other_packages_keep_numba_s_own_error(tmp_path, nowhere) -> None:
    (tmp_path / "alone.py").write_text(
        "import numba\n\n@numba.njit(cache=True)\ndef f(x):\n    return x\n", encoding="utf-8"
    )
    (tmp_path / "__pycache__").touch()
    code = "import tiny.other\ntry:\n    import alone\nexcept RuntimeError as e:\n    print('no locator' in str(e))"
    paths = os.pathsep.join((str(tmp_path), str(Path(machine_code.__file__).parents[1])))
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, **nowhere, "PYTHONPATH": paths},
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert "True" in done.stdout, done.stderr
