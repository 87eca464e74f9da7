"""The words of errors: carets under the right place, near names, and errors that survive a process boundary."""

from __future__ import annotations

import pickle

import pytest

from Backtest import errors
from Backtest.errors import ExpressionError, FactorError, SymbolRefused, caret_lines, did_you_mean


def test_every_error_is_a_factor_error_with_exit_code_two():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) == 9
    assert all(issubclass(kind, FactorError) and kind.exit_code == 2 for kind in kinds)


@pytest.mark.parametrize(
    "error", [SymbolRefused("BTCUSDT", "empty file"), ExpressionError("x", "a + $", 4, "factor 'f'")]
)
def test_errors_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_expression_error_shows_the_place():
    text = str(ExpressionError("'$' is not known", "a + $", 4, "factor 'f'"))
    assert text == "factor 'f', column 5: '$' is not known\n    a + $\n        ^"


@pytest.mark.parametrize("offset", [0, 1, 49, 50, 51, 130, 249, 250])
def test_the_caret_stands_under_its_place_in_a_long_expression(offset):
    text = "".join(chr(ord("a") + number % 26) for number in range(250))
    shown, caret = caret_lines(text, offset).split("\n")
    assert len(shown) <= 104
    place = caret.index("^")
    assert caret == " " * place + "^"
    assert shown[place : place + 1] == text[offset : offset + 1]
    assert shown[4:] in text


def test_unprintable_characters_do_not_move_the_caret():
    shown, caret = caret_lines("a\n\tb\x00c", 5).split("\n")
    assert shown == "    a  b c"
    assert shown[caret.index("^")] == "c"


@pytest.mark.parametrize(
    "name, allowed, words",
    [
        ("comission", ["commission", "slippage"], "; did you mean 'commission'?"),
        ("BTCUSD", ["btcusdt"], "; did you mean 'btcusdt'?"),
        ("TS_MEAN", ["ts_mean"], "; did you mean 'ts_mean'?"),
        ("qqq", ["commission"], ""),
        ("a", [], ""),
        ("sharp", ["sharpe_ratio", "share"], "; did you mean 'sharpe_ratio' or 'share'?"),
        ("mean", ["ts_mean", "mean_of", "men"], "; did you mean 'mean_of' or 'ts_mean' or 'men'?"),
        ("rs", ["rsi", "vers"], "; did you mean 'rsi' or 'vers'?"),
        ("io", ["sharpe_ratio", "beta"], ""),
    ],
)
def test_did_you_mean(name, allowed, words):
    assert did_you_mean(name, allowed) == words


def test_did_you_mean_does_not_depend_on_the_order_of_a_set():
    names = ["ts_max", "ts_min", "ts_std", "ts_sum"]
    assert did_you_mean("ts_m", names) == did_you_mean("ts_m", reversed(names))
