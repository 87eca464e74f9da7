"""The grammar against Python's own, canonical text, limits, and the words of every syntax error (FAULTS 37, 40)."""

from __future__ import annotations

import ast
import random
import time

import pytest

from Backtest.data.dsl.nodes import Call, Name, Number, Tree
from Backtest.data.dsl.parser import parse
from Backtest.errors import ExpressionError
from Backtest.tests.data.dsl.tree_text import to_text

PYTHON_NAMES = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div", ast.Mod: "mod", ast.Pow: "pow", ast.Lt: "lt",
    ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne", ast.USub: "neg", ast.Not: "not",
    ast.And: "and", ast.Or: "or",
}  # fmt: skip


def shape(tree: Tree) -> str:
    """Return a fully bracketed text of our tree."""
    if isinstance(tree, Number):
        return repr(tree.value)
    if isinstance(tree, Name):
        return tree.name
    assert isinstance(tree, Call)
    keywords = [f"{keyword.name}={shape(keyword.value)}" for keyword in tree.keywords]
    return f"{tree.name}({', '.join([*map(shape, tree.arguments), *keywords])})"


def python_shape(node: ast.AST) -> str:
    """Return the same of Python's tree."""
    if isinstance(node, ast.Expression):
        return python_shape(node.body)
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.BinOp):
        return f"{PYTHON_NAMES[type(node.op)]}({python_shape(node.left)}, {python_shape(node.right)})"
    if isinstance(node, ast.UnaryOp):
        return f"{PYTHON_NAMES[type(node.op)]}({python_shape(node.operand)})"
    if isinstance(node, ast.Compare):
        return f"{PYTHON_NAMES[type(node.ops[0])]}({python_shape(node.left)}, {python_shape(node.comparators[0])})"
    if isinstance(node, ast.BoolOp):  # a and b and c is one node there, two here
        text = python_shape(node.values[0])
        for value in node.values[1:]:
            text = f"{PYTHON_NAMES[type(node.op)]}({text}, {python_shape(value)})"
        return text
    assert isinstance(node, ast.Call)
    assert isinstance(node.func, ast.Name)
    keywords = [f"{keyword.arg}={python_shape(keyword.value)}" for keyword in node.keywords]
    return f"{node.func.id}({', '.join([*map(python_shape, node.args), *keywords])})"


def random_text(draw: random.Random, depth: int) -> str:
    """Return a random expression, with brackets only now and then, so that precedence decides."""
    if depth == 0 or draw.random() < 0.15:
        return draw.choice(["close", "x_1", "3", "0.5", "1e-6", "and_then", "f(x, 3)", "g(a < b, d=2)"])
    roll = draw.random()
    if roll < 0.12:
        return "-" + random_text(draw, depth - 1)
    if roll < 0.2:
        return "(not " + random_text(draw, depth - 1) + ")"
    if roll < 0.35:
        return "(" + random_text(draw, depth - 1) + ")"
    if roll < 0.45:
        return f"({random_text(draw, depth - 1)} {draw.choice(['<', '>=', '==', '!='])} {random_text(draw, depth - 1)})"
    symbol = draw.choice(["+", "-", "*", "/", "%", "**", " and ", " or "])
    return random_text(draw, depth - 1) + symbol + random_text(draw, depth - 1)


def test_precedence_is_pythons(pytestconfig: pytest.Config) -> None:
    draw = random.Random(5)
    compared = 0
    for _ in range(20_000 if pytestconfig.getoption("--long", default=False) else 1_500):
        text = random_text(draw, draw.randint(1, 6))
        try:
            ours = parse(text)
        except ExpressionError as error:
            assert "chain" in error.message, text  # Python chains comparisons, we refuse them
            continue
        theirs = ast.parse(text.strip(), mode="eval")
        if any(isinstance(node, ast.Compare) and len(node.ops) > 1 for node in ast.walk(theirs)):
            continue
        assert shape(ours) == python_shape(theirs), text
        printed = to_text(ours)
        assert shape(parse(printed)) == shape(ours), text
        assert to_text(parse(printed)) == printed
        compared += 1
    assert compared > 1_000


@pytest.mark.parametrize(
    "text, printed",
    [
        ("-a**-b**c", "-a ** -b ** c"),
        ("(-a)**b", "(-a) ** b"),
        ("a-(b-c)-d", "a - (b - c) - d"),
        ("2**3**2", "2 ** 3 ** 2"),
        ("(2**3)**2", "(2 ** 3) ** 2"),
        ("not a<b and c", "not a < b and c"),
        ("not (a and b)", "not (a and b)"),
        ("(a<b)==c", "(a < b) == c"),
        ("- - a", "--a"),
        ("f ( x , 3 , norm = 'n-1' )", 'f(x, 3, norm="n-1")'),
        ("a\n  + {  w }", "a + {w}"),
        (".5 + 1. + 1e3 + 007", "0.5 + 1.0 + 1000.0 + 7"),
        ("f()", "f()"),
    ],
)
def test_canonical_text(text: str, printed: str) -> None:
    assert to_text(parse(text)) == printed
    assert to_text(parse(printed)) == printed


@pytest.mark.parametrize(
    "text, offset, message",
    [
        ("a < b < c", 6, "comparisons do not chain; write 'a < b and b < c'"),
        ("a+", 2, "ends too early"),
        ("+a", 0, "no unary '+'"),
        ("a b", 2, "'b' follows a complete value"),
        ("5d", 1, "'d' follows a complete value"),
        ("f(x,", 1, "'(' is never closed"),
        ("f(x))", 4, "')' closes nothing"),
        ("f(x,)", 4, "')' stands where"),
        ("a && b", 2, "write 'and'"),
        ("a = b", 2, "write '==' to compare"),
        ("a ^ b", 2, "write '**'"),
        ("!a", 0, "write 'not'"),
        ("close[1]", 5, "shift(x, d)"),
        ("x.__class__", 1, "names have no dots"),
        ("a ? b : c", 2, "where(condition, a, b)"),
        ("f(d=3, x)", 7, "positional argument stands after"),
        ("a + not b", 4, "'not' binds looser"),
        ("a not b", 2, "put 'and' or 'or'"),
        ("a or or b", 5, "'or' stands where"),
        ("and", 0, "'and' stands where"),
        ("'x'", 0, "quoted word"),
        ("f('x", 1, "never closed"),
        ("(a)(b)", 3, "no operator's name"),
        ("a, b", 1, "separates the arguments"),
        ("{w", 0, "a param is {name}"),
        ("{1}", 0, "a param is {name}"),
        ("1e999", 0, "larger than a float64"),
        ("9" * 41, 0, "41 characters"),
        ("", 0, "empty"),
        (" \n ", 0, "empty"),
        ("сlose + 1", 0, "CYRILLIC SMALL LETTER ES"),
        ("close\u200b", 5, "ZERO WIDTH SPACE"),
        ("clo\uff53e", 3, "plain ASCII"),
        ("close × 2", 6, "MULTIPLICATION SIGN"),
        ("١", 0, "ARABIC-INDIC DIGIT ONE"),
        ("__import__('os').system('true')", 16, "names have no dots"),
    ],
)
def test_errors_name_the_place(text: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text, where="factor 'x'")
    assert message in caught.value.message
    assert caught.value.offset == offset
    assert str(caught.value).startswith(f"factor 'x', column {offset + 1}: ")


@pytest.mark.parametrize(
    "text, message",
    [
        ("(" * 30_000 + "a" + ")" * 30_000, "deeper than 100"),
        ("(" * 100_000 + "a" + ")" * 100_000, "65,536"),
        ("-" * 9_000 + "a", "deeper than 100"),
        ("not " * 5_000 + "a", "deeper than 100"),
        ("a**" * 4_000 + "a", "deeper than 100"),
        ("a+" * 6_000 + "a", "more than 10,000"),
        ("f(" * 101 + "a" + ")" * 101, "deeper than 100"),
        ("a+(" * 101 + "a" + ")" * 101, "deeper than 100"),
        ("{" * 60_000, "a param is"),
        ('"' * 60_001, "more than 10,000"),
        ("a " * 30_000, "more than 10,000"),
        ("1" * 60_000, "characters"),
    ],
)
def test_limits_answer_at_once(text: str, message: str) -> None:
    begin = time.process_time()
    with pytest.raises(ExpressionError, match=message):
        parse(text)
    assert time.process_time() - begin < 2


def test_long_sums_are_no_deep_trees() -> None:
    text = " + ".join(["a * b"] * 2_000)
    assert to_text(parse(text)) == text


def test_python_cannot_be_smuggled_in() -> None:
    for text in ("lambda: 1", "[x for x in y]", "f(*a)", "f(**a)", "a if b else c", "a; b", "a := 1", "f'{a}'", "a\\b"):
        with pytest.raises(ExpressionError):
            parse(text)
