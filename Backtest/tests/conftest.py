"""What every test may use: the real data, the ``--long`` option, and a copy of the project to run commands in."""

from __future__ import annotations

import os
import shutil
import signal
import site
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

import quickstart

PROJECT_ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = (
    ".git", ".venv*", ".*cache", "DataHub", "FactorFoundry", "AI_Agent_Output_fix", "results", "tests", "benchmarks",
    ".hypothesis", "test_qlib_integration.py",
)  # fmt: skip
"""What a clone does not hold, and what no command needs. Compiled kernels come along, or each copy compiles anew."""

SITE_LINK = "import site; site.addsitedir({!r})\n"
STAND_IN_PIP = """import os, sys
if __name__ == "__main__":
    with open(os.path.join(sys.prefix, "pip_calls.txt"), "a", encoding="utf-8") as calls:
        print(*sys.argv[1:], file=calls)
    print("stand-in pip was called", file=sys.stderr)
    sys.exit(int(os.environ.get("STAND_IN_PIP_CODE", "0")))
"""
"""Takes pip's place in a copy's environment: notes that it was called, installs nothing."""


def pytest_addoption(parser: pytest.Parser) -> None:
    with suppress(ValueError):  # the tests of the other pipeline have the same option, and may run along
        parser.addoption("--long", action="store_true", help="full counts of kills, mutations and seeds")


def pytest_configure(config: pytest.Config) -> None:
    """Draw the same examples in every run, so that a failure is one for everybody; new ones with ``--long``."""
    settings.register_profile("same", derandomize=True, deadline=None)
    settings.register_profile("new", deadline=None)
    settings.load_profile("new" if config.getoption("--long") else "same")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        # a run in the background ignores Ctrl-C, and so would every command that the tests start and interrupt
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def long_run(request: pytest.FixtureRequest) -> bool:
    """True with ``--long``: tests then use their full counts."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data roots; skips where it is missing."""
    return real_data_folder()


def real_data_folder() -> Path:
    """Return FACTOR_REAL_DATA, by default ../shared/data beside the project; skip where it is missing."""
    folder = Path(os.environ.get("FACTOR_REAL_DATA") or PROJECT_ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not a folder (set FACTOR_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def project_copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project, as it would be cloned, in a path with spaces and other letters than ASCII.

    Its ``.venv`` is an empty environment that looks through to the packages of the interpreter that runs the tests
    and carries the mark of installed pins, so that no command here reaches for the network.
    """
    root = tmp_path_factory.mktemp("copy") / "quant projekt 量化 é"
    shutil.copytree(PROJECT_ROOT, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
    link_environment(root)
    yield root
    shutil.rmtree(root, ignore_errors=True)


def link_environment(root: Path) -> None:
    """Make ``root/.venv`` as quickstart.py would leave it, in a tenth of a second."""
    place = root / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    packages = next(place.glob("lib/python*/site-packages"), place / "Lib" / "site-packages")
    links = "".join(SITE_LINK.format(folder) for folder in site.getsitepackages())
    (packages / "outer_packages.pth").write_text(links, encoding="utf-8")
    (packages / "pip.py").write_text(STAND_IN_PIP, encoding="utf-8")
    files = (*quickstart.closure(quickstart.TEST_PINS), *quickstart.closure(quickstart.PEER_PINS))
    pins = {name: quickstart.digest(name) for name in files}
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    quickstart.write_marker(str(place), {"python": version, "pins": pins})
