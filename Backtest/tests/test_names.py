"""Names that become paths (FAULTS 43)."""

from __future__ import annotations

import os

import pytest

from Backtest.errors import NameRefused
from Backtest.names import check_case, check_name, inside

GOOD = ["BTCUSDT", "1000PEPEUSDT", "mfi14_v1", "a", "a.b-c_d", "x" * 64, "connect", "com10", "nullable"]
BAD = [
    "", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "BTC/USDT", "a\n", "a\nb", "a\0b", "x" * 65, "x" * 300,
    ".hidden", "-flag", "_x", "a b", "ＢＴＣ", "比特币", "é", "CON", "con", "Nul.parquet", "aux.csv", "LPT1", "com9.x",
    "trailing.", "a*", "a?b", "a|b", "<script>", "a:stream", "~", "~root", "$HOME", "a;b", "%2e%2e%2f",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_names_come_back(name):
    assert check_name("symbol", name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_refused_in_one_line(name):
    with pytest.raises(NameRefused) as caught:
        check_name("factor set", name)
    message = str(caught.value)
    assert message.startswith("factor set ")
    assert "\n" not in message
    assert len(message) < 250


def test_names_that_differ_in_case_only_are_refused():
    check_case("symbol", ["BTCUSDT", "ETHUSDT", "BTCUSDT"])
    with pytest.raises(NameRefused, match="'BTCUSDT' and 'btcusdt' differ in case only"):
        check_case("symbol", ["BTCUSDT", "ETHUSDT", "btcusdt"])


def test_inside_keeps_to_the_root(tmp_path):
    root = tmp_path / "root with space"
    root.mkdir()
    assert inside(root, "1h", "set") == root / "1h" / "set"
    for parts in (("..", "x"), ("a", "..", "..", "x"), ("/etc/passwd",)):
        with pytest.raises(NameRefused, match="leads outside"):
            inside(root, *parts)


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_links_out_of_the_root_are_not_followed(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "way_out").symlink_to(outside)
    (root / "within").symlink_to(root)
    with pytest.raises(NameRefused, match="leads outside"):
        inside(root, "way_out", "x.parquet")
    assert inside(root, "within", "x.parquet").parent == root / "within"


@pytest.mark.skipif(os.name == "nt", reason="making links needs a privilege on Windows")
def test_a_link_to_itself_is_left_to_the_one_who_opens_it(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert inside(tmp_path, "loop") == tmp_path / "loop"
