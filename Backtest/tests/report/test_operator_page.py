"""The operator page says what the table says, in both languages, and the files hold what the command prints."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from Backtest.data.dsl.explain import FAMILIES, operator_page, rule_words
from Backtest.data.dsl.operators import ALIASES, APART, LISTED
from Backtest.report.operator_page import COMMAND, PAGES, TITLES, Language, chinese, markdown_page
from Backtest.report.operator_words import SENTENCES
from Backtest.settings import PROJECT_ROOT

ROWS = {**LISTED, **APART}
HAN = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(
    r"\b(where|and|until|with|without|before|after|is|are|the|all|has|have|than|missing|outside|never|of|bars?)\b"
)
"""Words that formulas do not need: one that is left over was not translated."""


def test_every_operator_has_a_chinese_sentence() -> None:
    lacking = sorted(set(ROWS) - set(SENTENCES))
    assert not lacking, f"add a line for {', '.join(lacking)} to SENTENCES in Backtest/report/operator_words.py"
    left = sorted(set(SENTENCES) - set(ROWS))
    assert not left, f"no operator is called {', '.join(left)}: take it out of SENTENCES in operator_words.py"
    for name, sentence in SENTENCES.items():
        assert HAN.search(sentence), name
        assert sentence.endswith("。"), name


@pytest.mark.parametrize("name", ROWS)
def test_every_rule_is_told_in_chinese(name: str) -> None:
    row = ROWS[name]
    for words in (row.missing, row.ties, row.ddof, rule_words(row)):
        left = ENGLISH.findall(re.sub(r"`[^`]*`", "", chinese(words)))
        advice = "add its words to PHRASES in Backtest/report/operator_words.py, longer ones first"
        assert not left, f"{name}: {chinese(words)!r} still holds {left}; {advice}"


@pytest.mark.parametrize("language", PAGES)
def test_the_file_is_the_page(language: Language) -> None:
    command = f"{COMMAND.format(language)} > {PAGES[language]}"
    written = (PROJECT_ROOT / PAGES[language]).read_text(encoding="utf-8")
    assert written == markdown_page(language), f"the table has changed; print the page anew: {command}"


def test_both_pages_hold_every_operator_once() -> None:
    assert TITLES.keys() == FAMILIES.keys()
    pages = {language: markdown_page(language) for language in PAGES}
    for page in pages.values():
        table = [line for line in page.splitlines() if line.startswith("| `")]
        assert len(table) == len(ROWS)
        for line in table:
            assert len(re.findall(r"(?<!\\)\|", line)) == 5, line  # four cells
        for alias in ALIASES:
            assert f"`{alias}`" in page
    for row in ROWS.values():
        formula = row.formula.replace("`", "").replace("|", "\\|")
        assert all(f"`{formula}`" in page for page in pages.values())
        if row.symbol is None:
            assert all(row.example.replace("|", "\\|") in page for page in pages.values())
    assert not HAN.search(pages["en"].replace("[中文]", ""))


def test_the_command_prints_the_page_and_loads_no_kernel() -> None:
    code = (
        "import sys; from Backtest.run_prepare import command; command(['--list-operators', '--markdown', 'zh']);"
        "sys.exit(bool({'numba', 'pandas', 'pyarrow', 'lark', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == markdown_page("zh")


def test_arguments_that_many_rows_share_are_explained() -> None:
    """`min_periods` changes both conditions of a window's warm-up, and no row says so itself."""
    assert any(argument.name == "min_periods" for row in ROWS.values() for argument in row.arguments)
    for page in (operator_page(), markdown_page("en"), markdown_page("zh")):
        head = page.partition("close + open")[0]
        assert "min_periods=m" in head
