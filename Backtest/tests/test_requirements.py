"""The requirements files: exact pins, nothing forgotten, and no test package needed at run time."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RUN, TEST = "Backtest/requirements.txt", "Backtest/requirements-dev.txt"
EVALUATION = "Factor Evaluation/requirements.txt"
PEERS = "Backtest/benchmarks/requirements.txt"
ENGINE_PEERS = "Backtest/benchmarks/requirements-engines.txt"
EVALUATION_PEERS = "Factor Evaluation/factor_evaluation/benchmarks/requirements.txt"
"""Optional: what the benchmarks measure beside us."""
ALONE = "Factor Evaluation/requirements-no-deps.txt"
"""Peers of the tests, installed without what they ask for."""
CLAUSE = r"\w+ [<>=!]+ '[\w.]+'"
PIN = re.compile(rf"([a-z0-9-]+)==[0-9][0-9a-z.]*( ; \(?{CLAUSE}\)?( (and|or) \(?{CLAUSE}\)*)*)?")
TOP = {"Backtest", "quickstart", "_bootstrap"}
DONE_WITHOUT = {"KunQuant"}
"""A peer with many pins of its own: tests hold values that a script made with it by hand."""
PACKAGES = {"alphalens": "alphalens-reloaded", "qlib": "pyqlib"}
"""Distributions that are not installed on every Python, by what is imported of them."""


def pins(name: str) -> set[str]:
    """Return the packages that a requirements file pins itself."""
    lines = (PROJECT_ROOT / name).read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line and not line.startswith(("#", "-r "))]
    matches = [PIN.fullmatch(line) for line in lines]
    assert all(matches), [line for line, match in zip(lines, matches, strict=True) if not match]
    names = [match[1] for match in matches if match]
    assert names == sorted(set(names))
    return set(names)


def imported(paths: list[Path]) -> set[str]:
    """Return the top-level packages outside the standard library and the project that files import."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - TOP


def distributions(packages: set[str]) -> set[str]:
    known = packages_distributions()
    return {
        re.sub(r"[-_.]+", "-", name).lower()
        for package in packages
        for name in known.get(package, [PACKAGES.get(package, package)])
    }


def test_the_project_file_includes_those_of_both_pipelines():
    assert (PROJECT_ROOT / "requirements.txt").read_text(encoding="utf-8") == f'-r {RUN}\n-r "{EVALUATION}"\n'
    assert f"-r ../{RUN}" in (PROJECT_ROOT / EVALUATION).read_text(encoding="utf-8").splitlines()
    assert f'-r "../{EVALUATION}"' in (PROJECT_ROOT / TEST).read_text(encoding="utf-8").splitlines()
    assert "-r requirements.txt" in (PROJECT_ROOT / TEST).read_text(encoding="utf-8").splitlines()


def test_every_line_is_an_exact_pin_and_stands_once():
    assert pins(RUN) & pins(TEST) == set()
    assert pins(EVALUATION) & (pins(RUN) | pins(TEST)) == set()
    for optional in (PEERS, ENGINE_PEERS, EVALUATION_PEERS, ALONE):
        assert pins(optional) & (pins(RUN) | pins(TEST)) == set()


def test_neither_users_nor_tests_get_what_pandas_would_use_unasked():
    assert "bottleneck" not in pins(RUN) | pins(EVALUATION) | pins(TEST) | pins(ALONE)
    alone = (PROJECT_ROOT / ALONE).read_text(encoding="utf-8")
    assert "-r " not in "".join(line for line in alone.splitlines() if not line.startswith("#"))


def test_qlib_and_what_only_it_needs_end_with_the_last_python_that_it_knows():
    lines = (PROJECT_ROOT / EVALUATION).read_text(encoding="utf-8").splitlines()
    everywhere = {line.split("==")[0] for line in lines if "==" in line and "python_version < '3.13'" not in line}
    assert {"pandas", "plotly", "scipy"} <= everywhere
    assert not {"pyqlib", "gym", "mlflow", "jupyter", "redis"} & everywhere


def test_what_runs_imports_nothing_but_its_own_pins():
    sources = [
        path for path in (PROJECT_ROOT / "Backtest").rglob("*.py") if not {"tests", "benchmarks"} & set(path.parts)
    ]
    assert distributions(imported(sources)) <= pins(RUN)


def test_the_evaluation_imports_nothing_but_its_own_pins_and_those_of_the_backtest():
    folder = PROJECT_ROOT / "Factor Evaluation"
    apart = {"tests", "benchmarks"}  # peers are measured where they are installed, and named where they are not
    sources = [path for path in folder.rglob("*.py") if not apart & set(path.parts) and path.name[:5] != "test_"]
    packages = imported(sources) - {"factor_evaluation"}
    assert distributions(packages) <= pins(RUN) | pins(EVALUATION)


@pytest.mark.parametrize(
    "folder, more",
    [
        ("Backtest/tests", []),
        ("Factor Evaluation/tests", [ALONE]),
        ("Backtest/benchmarks", [PEERS, ENGINE_PEERS]),
        ("Factor Evaluation/factor_evaluation/benchmarks", [EVALUATION_PEERS]),
    ],
)
def test_tests_and_benchmarks_import_nothing_unpinned(folder, more):
    sources = list((PROJECT_ROOT / folder).rglob("*.py"))
    packages = imported(sources) - {path.stem for path in sources} - DONE_WITHOUT - {"factor_evaluation", "tests"}
    known = pins(RUN) | pins(EVALUATION) | pins(TEST) | {name for file in more for name in pins(file)}
    assert distributions(packages) <= known
