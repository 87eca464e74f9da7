"""The operator page of the README, in both languages: printed from the operator table, never written by hand.

1. `markdown_page` makes the page; ``run_prepare.py --list-operators --markdown zh|en`` prints it.
2. `PAGES` are the files beside the table that hold it; a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..data.dsl.explain import FAMILIES, rule_words
from ..data.dsl.operators import APART, LISTED, Operator
from ..data.dsl.row_words import FLAT_WORDS, MIN_PERIODS_WORDS, SQUARES_WORDS
from .operator_words import PHRASES, SENTENCES

Language = Literal["zh", "en"]
PAGES: dict[Language, str] = {"zh": "Backtest/data/dsl/OPERATORS.md", "en": "Backtest/data/dsl/OPERATORS_en.md"}
COMMAND = "python Backtest/run_prepare.py --list-operators --markdown {}"

TITLES = {
    "elementwise": "逐元素", "time": "时间序列", "recursive": "时间序列，递推",
    "cross": "横截面与组内（总体：池内且当时可交易的标的）", "named": "指定标的", "coarse": "较大周期",
}  # fmt: skip
HEADS = {
    "zh": (
        "# 表达式的全部算子",
        "[English](OPERATORS_en.md) | 本页由算子表打印：`{}`",
        "- W：最近 d 根 K 线（缺失的也算在内）；n：W 或总体中的有效值个数。值要么有限，要么缺失（NaN）。",
        "- `=` 后是默认值；`*` 之后的参数要写名字。方括号里是别名，斜体是例子；公式照表中原文。",
        "- 写 min_periods=m 时，窗口里有 m 个有效值就有结果，不论上市多少根 K 线，也不论 gap_tolerance。",
        "- 平坦：各值的标准差（在区间中的位置则看极差）不超过最大 |值| 的 1e-12。那是舍入误差，不是变动，"
        "以它为除数的结果缺失。",
        "- 标准差、相关系数等要把距离平方，适用于 1e-150 到 1e150 的距离：再小则平方为 0，视为平坦；再大则溢出，"
        "结果缺失。操作数不超过 1e150 时，溢出的值全部计入未定义数；再大时正负无穷可能相消，不一定全部计入。",
        "| 算子 | 含义与公式 | 何时缺失 | 其他 |",
    ),
    "en": (
        "# Every operator of an expression",
        "[中文](OPERATORS.md) | This page is printed from the operator table: `{}`",
        "- W: the last d bars, missing ones included; n: valid values in W or in the population. A value is finite or "
        "missing (NaN).",
        "- After `=` stands a default; arguments after `*` are given by name. Aliases stand in brackets, examples "
        "in italics.",
        f"- {MIN_PERIODS_WORDS}",
        f"- {FLAT_WORDS}",
        f"- {SQUARES_WORDS}",
        "| operator | meaning and formula | missing | more |",
    ),
}
NOTES = {
    "zh": {"ties": "并列", "ddof": "ddof", "look-back": "回看", "fields": "字段", "mask": "结果是真假值"},
    "en": {"ties": "ties", "ddof": "ddof", "look-back": "look-back", "fields": "fields", "mask": "gives a mask"},
}


def chinese(words: str) -> str:
    """Return a rule of the table in Chinese."""
    for english, translated in PHRASES:
        words = words.replace(english, translated)
    return words


def markdown_page(language: Language) -> str:
    """Return the page; KeyError where an operator has no Chinese sentence yet."""
    head, source, *rules, columns = HEADS[language]
    lines = [head, "", source.format(COMMAND.format(language)), "", *rules]
    for family, title in (TITLES if language == "zh" else FAMILIES).items():
        rows = [row for row in (*LISTED.values(), *APART.values()) if row.family == family]
        lines += ["", f"## {title}", "", columns, "|---|---|---|---|", *(_row(row, language) for row in rows)]
    return "\n".join(lines) + "\n"


def _row(row: Operator, language: Language) -> str:
    say: Callable[[str], str] = chinese if language == "zh" else str
    names, colon = NOTES[language], "：" if language == "zh" else ": "
    head = row.example if row.symbol is not None else row.signature()
    call = _code(head) + (f" [{', '.join(map(_code, row.aliases))}]" if row.aliases else "")
    example = "" if row.symbol is not None else f"<br>*{_code(row.example)}*"
    sentence = _plain(SENTENCES[row.name] if language == "zh" else row.doc)
    facts = {
        "ties": _plain(say(row.ties)),
        "ddof": _plain(say(row.ddof)),
        "look-back": _plain(say(rule_words(row))),
        "fields": ", ".join(map(_code, row.implicit)),
    }
    notes = [f"{names[name]}{colon}{text}" for name, text in facts.items() if text]
    notes += [names["mask"]] if row.result == "mask" else []
    missing = _plain(say(row.missing))
    return f"| {call}{example} | {sentence}<br>{_code(row.formula)} | {missing} | {'<br>'.join(notes)} |"


def _code(text: str) -> str:
    """Return text as code inside a table; backticks cannot stand there."""
    bare = text.replace("`", "").replace("|", "\\|")
    return f"`{bare}`"


def _plain(text: str) -> str:
    """Return text that Markdown prints as it is, what stands in backticks as code."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for mark in "\\*_<>[]":
            parts[place] = parts[place].replace(mark, "\\" + mark)
    return "`".join(parts).replace("|", "\\|")
