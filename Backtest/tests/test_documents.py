"""Strict yaml and JSON: FAULTS row 36, and every reading rule of the table in `documents`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from Backtest.documents import NODE_LIMIT, SIZE_LIMIT, Place, load_document
from Backtest.errors import FactorError, RecipeError, SettingsError


def written(folder: Path, content: str | bytes, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_document(path)
    return str(caught.value)


def test_plain_values_and_places(tmp_path: Path) -> None:
    path = written(tmp_path, "a: 1\nb:\n  - x: .5\n  - {y: true}\nc: 'no'\n")
    document = load_document(path)
    assert document.value == {"a": 1, "b": [{"x": 0.5}, {"y": True}], "c": "no"}
    assert document.positions["b", 0, "x"] == Place(3, 5)
    assert document.positions["b", 1, "y"] == Place(4, 6)
    assert document.where("b", 1, "y", "deeper") == f"{path}, line 4, column 6"
    assert document.text_bytes == path.read_bytes()


@pytest.mark.parametrize(
    "word, value",
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("False", False), ("12", 12), ("-3", -3), ("+4", 4),
        ("0.2", 0.2), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("1E-6", 1e-6), ("0", 0), ("2021-01-01", "2021-01-01"),
        ("12:30:45", "12:30:45"), ("1:30", "1:30"), ("2H", "2H"), ("y", "y"), ("nan", "nan"), ("=", "="),
        ('"12"', "12"), ("'true'", "true"), ('"no"', "no"), ("|-\n  0x1F", "0x1F"), ("a b", "a b"), ("1e", "1e"),
    ],
)  # fmt: skip
def test_yaml_words(tmp_path: Path, word: str, value: object) -> None:
    read = load_document(written(tmp_path, f"key: {word}\n")).value["key"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    "word, message",
    [
        ("no", "truth value"), ("Yes", "truth value"), ("OFF", "truth value"), ("on", "truth value"),
        ("010", "different numbers"), ("0x1F", "different numbers"), ("0o17", "different numbers"),
        ("0b11", "different numbers"), ("1_000", "different numbers"), (".inf", "different numbers"),
        ("-.inf", "different numbers"), (".nan", "different numbers"), ("1e999", "larger than a float64"),
        ("9" * 50, "50 characters"), ("!!python/object/apply:os.system ['true']", "tag"), ("!!str 1", "tag"),
        ("!x 1", "tag"), ("&a 1", "anchor"), ("*a", "alias"), ("<<", "merge key"),
    ],
)  # fmt: skip
def test_refused_words_name_their_place(tmp_path: Path, word: str, message: str) -> None:
    text = refusal(written(tmp_path, f"first: 1\nkey: {word}\n"))
    assert message in text
    assert "line 2, column 6" in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "content, message",
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: key 'a' stands twice"),
        ("a: {x: 1, x: 2}\n", "column 11: key 'x' stands twice"),
        ("1: 2\n", "key 1 is not text"),
        ("true: 2\n", "key true is not text"),
        ("? [a]\n: 2\n", "key a list or mapping is not text"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: a second document"),
        ("a: b: c\n", "line 1, column 5: not yaml"),
        ("a: 1\n\tb: 2\n", "line 2, column 1: not yaml"),
        ("a: 'x\n", "not yaml"),
        ("a: x\x00y\n", "line 1, column 5: control character U+0000"),
        ("a: x\u202ey\nb: \ufeff\n", "line 2, column 4: control character U+FEFF"),
        (b"a: 1\nb: \xff\n", "line 2, column 4: byte 0xff is not UTF-8"),
        ("a: 1".encode("utf-16"), "looks like UTF-16"),
        ("a: &a [*a]\n", "anchor"),
        ("%TAG ! tag:x,2000:\n---\na: !b 1\n", "tag"),
    ],
)
def test_refused_files(tmp_path: Path, content: str | bytes, message: str) -> None:
    assert message in refusal(written(tmp_path, content))


def test_depth_size_and_count(tmp_path: Path) -> None:
    assert load_document(written(tmp_path, "[" * 20 + "]" * 20)).value is not None
    assert "deeper than 20" in refusal(written(tmp_path, "[" * 21 + "]" * 21))
    assert "deeper than 20" in refusal(written(tmp_path, "[" * 21 + "]" * 21, "x.json"))
    assert "larger than" in refusal(written(tmp_path, b"#" * (SIZE_LIMIT + 1)))
    assert "more than" in refusal(written(tmp_path, "- 1\n" * (NODE_LIMIT + 1)))


@pytest.mark.parametrize(
    "content",
    [
        "[" * 500_000, "- " * 400_000, "{" * 500_000, "? " * 400_000, "!" * 900_000, "a: b\n" * 190_000, "x" * 999_999,
        "- - \n" * 190_000, "[a," * 300_000, '"' + "\\x41" * 200_000, "# x\n" * 240_000, "a: |\n" + " x\n" * 300_000,
        "{a: " * 200_000, "- [" * 300_000, "&a " * 300_000, "a:\n" + " b:\n" * 200_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["x.yaml", "x.json"])
def test_hostile_files_are_answered_at_once(tmp_path: Path, content: str, name: str) -> None:
    path = written(tmp_path, content, name)
    begin = time.process_time()
    try:
        load_document(path)
    except FactorError as error:
        assert len(str(error).splitlines()) == 1
    assert time.process_time() - begin < 2


def test_byte_order_mark_crlf_and_empty(tmp_path: Path) -> None:
    assert load_document(written(tmp_path, b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")).value == {"a": 1, "b": 2}
    assert load_document(written(tmp_path, "")).value is None
    assert load_document(written(tmp_path, "# nothing\n")).value is None
    assert load_document(written(tmp_path, " ", "x.json")).value is None


def test_json(tmp_path: Path) -> None:
    content = '{"a": [1, 2.5e3, "x\\u00e9, y: {z}"],\n "b": null, "no": true}'
    document = load_document(written(tmp_path, content, "x.json"))
    assert document.value == {"a": [1, 2500.0, "xé, y: {z}"], "b": None, "no": True}
    assert document.positions[("b",)] == Place(2, 2)
    assert document.positions["a", 2] == Place(1, 18)


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"a": 1,\n "a": 2}', "line 2, column 2: key 'a' stands twice"),
        ('{"a": NaN}', "line 1, column 7: NaN is not a JSON number"),
        ('{"NaN": 1, "a": -Infinity}', "column 17: -Infinity is not a JSON number"),
        ('{"a": 1,}', "not JSON"),
        ("{'a': 1}", "not JSON"),
        ("[01]", "not JSON"),
        ('["\\ud800"]', "surrogate"),
        ("[1e999]", "larger than a float64"),
        ("[" + "9" * 5000 + "]", "5000 characters"),
        ('{"a": 1} x', "not JSON"),
    ],
)
def test_refused_json(tmp_path: Path, content: str, message: str) -> None:
    assert message in refusal(written(tmp_path, content, "x.json"))


def test_unreadable_and_the_error_class(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        load_document(tmp_path / "absent.yaml", error=RecipeError)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_document(tmp_path)
    with pytest.raises(SettingsError, match="cannot be read"):
        load_document(tmp_path / "a\0b.yaml")
