"""Both READMEs say the same, and every command in them works, on the demo market, in a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import quickstart

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CHINESE, ENGLISH = ((PROJECT_ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README_en.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# (\S+\.(?:yaml|py|txt))\n")
"""The first line of a block that the reader is to save under this name."""

HAN = re.compile(r"[一-鿿]")


def blocks(text: str, *kinds: str) -> list[str]:
    return [content for kind, content in BLOCK.findall(text) if kind in kinds]


def commands(text: str) -> list[list[str]]:
    """Return the words of every command, in the order of reading."""
    lines = "".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


def outline(text: str) -> list[str]:
    """Return what both languages must share: the shape of every line, and the words that are no prose."""
    shape = []
    for line in BLOCK.sub("", text).splitlines():
        kind = re.match(r"#+ |- |\d\. |\||!\[|\*\*", line)
        if kind:
            shape.append(kind[0])
    return shape


def code_words(text: str) -> list[str]:
    """Return what stands in backticks outside of code blocks, sorted."""
    found = re.findall(r"`([^`]+)`", BLOCK.sub("", text))
    return sorted(found)


def test_both_readmes_have_the_same_code_blocks():
    assert BLOCK.findall(CHINESE) == BLOCK.findall(ENGLISH)
    assert CHINESE.count("```") == ENGLISH.count("```") == 2 * len(BLOCK.findall(CHINESE))


def test_both_readmes_have_the_same_sections():
    assert outline(CHINESE) == outline(ENGLISH)
    assert code_words(CHINESE) == code_words(ENGLISH)
    assert len(re.findall(r"^## ", CHINESE, re.MULTILINE)) == 12


def test_each_readme_keeps_to_its_language():
    prose = BLOCK.sub("", ENGLISH).replace("[中文]", "")
    assert HAN.findall(prose) == []
    for paragraph in re.findall(r"^(?!\||!|#|- \*\*|\[)(.+)$", BLOCK.sub("", CHINESE), re.MULTILINE):
        assert HAN.search(paragraph), paragraph


@pytest.mark.parametrize("text", [CHINESE, ENGLISH], ids=["zh", "en"])
def test_links_and_pictures_exist(text):
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) >= 4
    for target in targets:
        assert (PROJECT_ROOT / target).is_file(), target


def test_every_operator_field_and_library_function_that_is_named_exists():
    from Backtest.data import indicators
    from Backtest.data.dsl.operators import OPERATORS
    from Backtest.data.schema import COLUMNS

    for text in (CHINESE, ENGLISH):
        recipe = text.split("\n## ")[3]
        fields, _, elementwise, along, across = re.findall(r"^- (.+`.*)$", recipe, re.MULTILINE)[:5]
        assert named(fields) - {column.name for column in COLUMNS} == {"premium_"}
        assert named(elementwise) | named(along) | named(across) <= OPERATORS.keys()
        library = next(line for line in recipe.splitlines() if "`money_flow_index rsi" in line)
        assert {name for name in named(library) if not hasattr(indicators, name)} == {"Backtest", "data", "indicators"}


def named(line: str) -> set[str]:
    """Return the identifiers in a line's backticks."""
    return set(re.findall(r"[A-Za-z_]\w*", " ".join(re.findall(r"`([^`]+)`", line))))


def test_both_readmes_say_what_a_function_may_ask_for():
    """Without `symbols` a function sees one symbol: a mean across columns would be the symbol itself, silently."""
    from Backtest.data.library import SYMBOLS, TIMESTAMP

    for text in (CHINESE, ENGLISH):
        paragraph = next(line for line in text.splitlines() if "[T, S]" in line)
        for word in (SYMBOLS, TIMESTAMP, "S = 1"):
            assert f"`{word}`" in paragraph, word


def test_both_readmes_document_every_metric():
    from Backtest.runs.text import metrics_markdown

    assert metrics_markdown().strip() in CHINESE
    assert metrics_markdown().strip() in ENGLISH


def test_symbol_files_are_quoted():
    for text in (CHINESE, ENGLISH):
        assert '"@symbols.txt"' in text
        assert not re.search(r'[^"]@symbols', text)


@pytest.mark.xdist_group("project_copy")
def test_every_option_of_both_stages_is_real(project_copy):
    """An option that the README names exists in some command's help."""
    python = quickstart.interpreter(str(project_copy / ".venv"))
    helps = [["quickstart.py", "demo"], ["quickstart.py", "test"], ["Backtest/run_prepare.py"]]
    helps += [["Backtest/run_backtest.py"], ["Backtest/run_sweep.py"], ["-m", "Backtest.analyze_run"]]
    helps += [[str(path)] for path in sorted((PROJECT_ROOT / "Factor Evaluation").glob("step*.py"))]
    told = "".join(run(project_copy, [python, *line, "-h"]).stdout for line in helps)
    named = set(re.findall(r"--[a-z][a-z-]+", CHINESE))
    assert {option for option in named if not re.search(re.escape(option) + r"\b", told)} == set()


@pytest.mark.xdist_group("project_copy")
@pytest.mark.timeout(900)
def test_every_command_works(project_copy):
    """Run the commands of the README from top to bottom, as a reader would."""
    for content in blocks(CHINESE, "yaml", "python", "text"):
        name = NAMED.match(content)
        if name:
            (project_copy / name[1]).write_text(content, encoding="utf-8")
    (project_copy / "Backtest" / "tests").mkdir(exist_ok=True)
    (project_copy / "Backtest" / "tests" / "test_copy.py").write_text("def test_copy(): pass\n", encoding="utf-8")
    done = []
    for words in commands(CHINESE):
        if sys.version_info >= (3, 13) and any("_qlib_" in word for word in words):
            continue  # Qlib has no release for this Python
        result = run(project_copy, [filled(word, project_copy) for word in words])
        assert result.returncode == 0, f"{shlex.join(words)}\n{result.stdout[-2000:]}\n{result.stderr[-3000:]}"
        assert "Traceback" not in result.stderr
        done.append(words)
    assert len(done) >= 15
    called = {word for words in done for word in words}
    assert {"demo", "test", "topk", "longshort", "signal", "--verify", "--compare", "--list"} <= called
    assert {"--explain", "--check-causality"} <= called
    assert {f"step{number}" for number in range(5)} <= {Path(word).name.split("_")[0] for word in called}
    assert not (project_copy / ".venv" / "pip_calls.txt").exists()


def filled(word: str, root: Path) -> str:
    """Return a word of a command with its placeholders filled in."""
    if word == "python":
        return quickstart.interpreter(str(root / ".venv"))
    if word == "<data root>":
        return str(root / quickstart.DEMO_MARKET)
    if word in ("<run_id>", "<other_run_id>"):
        entries = json.loads((root / "Backtest" / "results" / "index.json").read_text(encoding="utf-8"))
        chosen = [entry["run_id"] for entry in entries if entry["strategy"] in ("topk", "longshort")]
        return str(chosen[-1] if word == "<run_id>" else chosen[0])
    assert "<" not in word, f"{word}: a placeholder that nobody fills in"
    return word


def run(root: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8")


def test_parameters_are_those_of_the_strategies_and_of_the_overlays():
    from dataclasses import fields

    from Backtest.portfolio import OVERLAYS
    from Backtest.strategies import STRATEGIES

    for text in (CHINESE, ENGLISH):
        rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| `([^`]+)` \|$", text, re.MULTILINE))
        assert {name: rows[name].split() for name in STRATEGIES} == {
            name: [field.name for field in fields(kind)]  # type: ignore[arg-type]
            for name, kind in STRATEGIES.items()
        }
        assert {name: rows[name].split() for name in OVERLAYS} == {
            name: [field.name for field in fields(kind)] for name, kind in OVERLAYS.items()
        }
