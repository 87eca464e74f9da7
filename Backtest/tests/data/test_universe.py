"""Which symbols a list means."""

from __future__ import annotations

import pytest

from Backtest.data.source import open_root
from Backtest.data.timeframe import parse_timeframe
from Backtest.data.universe import resolve_symbols
from Backtest.errors import DataError, NameRefused, SettingsError
from Backtest.settings import CoreSettings

from .kline_files import rows, text, write_root

NAMES = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "1000BONKUSDT")


@pytest.fixture
def market(tmp_path):
    for name in NAMES:
        write_root(tmp_path, text(rows(3)), name=f"{name}.csv")
    return tmp_path


def resolve(market, *wanted: str, **flags: str) -> tuple[str, ...]:
    root = open_root(market, parse_timeframe("1h"), CoreSettings(**flags))  # type: ignore[arg-type]
    return resolve_symbols(root, wanted or None)


@pytest.mark.parametrize(
    "wanted,symbols",
    [
        ((), sorted(NAMES)),
        (("all",), sorted(NAMES)),
        (("ALL", "BTC"), sorted(NAMES)),
        (("BTC",), ["BTCUSDT"]),
        (("ETHUSDT,BTC", "BTCUSDT"), ["BTCUSDT", "ETHUSDT"]),
        (("SOL ETH, BTC ,",), ["BTCUSDT", "ETHUSDT", "SOLUSDT"]),
        (("1000BONK",), ["1000BONKUSDT"]),
    ],
)
def test_lists(market, wanted, symbols):
    assert resolve(market, *wanted) == tuple(symbols)


def test_a_short_name_means_the_pair_unless_a_file_has_that_very_name(market):
    write_root(market, text(rows(3)), name="BTC.csv")
    assert resolve(market, "BTC") == ("BTC",)
    assert resolve(market, "BTC,BTCUSDT,ETH") == ("BTC", "BTCUSDT", "ETHUSDT")


def test_a_longer_file_name_is_found_for_a_short_one(market):
    write_root(market, text(rows(3)), name="ADAUSDT-spot.csv")
    write_root(market, text(rows(3)), name="XRP-USDT.csv")
    assert resolve(market, "ADA", "XRP") == ("ADAUSDT", "XRP")


def test_two_names_of_one_file_are_refused(market):
    write_root(market, text(rows(3)), name="XRP-USDT.csv")
    for wanted in (["XRP", "XRP-USDT"], ["all", "XRP"]):
        with pytest.raises(DataError, match="symbols 'XRP' and 'XRP-USDT' are one file"):
            resolve(market, *wanted)


def test_the_quote_is_a_setting(market):
    write_root(market, text(rows(3)), name="BTCEUR.csv")
    assert resolve(market, "BTC", quote="EUR") == ("BTCEUR",)


def test_a_symbol_file(market, tmp_path):
    file = tmp_path / "my symbols, new.txt"
    file.write_bytes(b"\xef\xbb\xbfBTC  # the first\r\nETHUSDT,\r\n\r\n# none\r\n")
    assert resolve(market, f"@{file}") == ("BTCUSDT", "ETHUSDT")
    plain = tmp_path / "more.txt"
    plain.write_text("SOL")
    assert resolve(market, f"BTC,@{plain}") == ("BTCUSDT", "SOLUSDT")
    with pytest.raises(SettingsError, match=r"symbol file .*none\.txt cannot be read"):
        resolve(market, f"@{tmp_path / 'none.txt'}")
    with pytest.raises(SettingsError, match="cannot be read: File name too long"):
        resolve(market, "@" + "x" * 5000)
    plain.write_text("# nothing")
    with pytest.raises(SettingsError, match="no symbol is given"):
        resolve(market, f"@{plain}")


@pytest.mark.parametrize("wanted,hint", [("BTCUSD", "BTCUSDT"), ("ethusdt", "ETHUSDT"), ("SOLL", "SOLUSDT")])
def test_an_unknown_symbol_names_the_nearest(market, wanted, hint):
    with pytest.raises(DataError, match=f"symbol '{wanted}' has no klines in .*did you mean '{hint}'"):
        resolve(market, wanted)


@pytest.mark.parametrize(
    "wanted", ["../evil", "/etc/passwd", "BTC/USDT", "CON", "a" * 300, "ＢＴＣ", "BTC\0", "..", "-x"]
)
def test_names_that_leave_the_root_are_refused(market, wanted):
    with pytest.raises(NameRefused, match=r"symbol .* is not allowed"):
        resolve(market, wanted)


def test_files_whose_names_cannot_be_symbols_are_skipped_and_told(market, caplog):
    for name in ("my notes.csv", "~BTCUSDT.csv", ".hidden.csv", "README.txt", "CON.csv"):
        write_root(market, text(rows(3)), name=name)
    root = open_root(market, parse_timeframe("1h"), CoreSettings())
    assert root.symbols == tuple(sorted(NAMES))
    assert root.skipped == ("CON.csv", "my notes.csv")
    with caplog.at_level("WARNING", logger="factor_automation"):
        resolve(market, "BTC")
        assert caplog.text == ""
        resolve(market)
    assert "2 files are left out, no symbol can have their name: 'CON.csv', 'my notes.csv'" in caplog.text


def test_names_that_differ_in_case_only_are_refused(market):
    write_root(market, text(rows(3)), name="btcusdt.csv")
    if len(list(market.rglob("*.csv"))) == len(NAMES):
        pytest.skip("this file system does not tell the two apart")
    with pytest.raises(NameRefused, match="'BTCUSDT' and 'btcusdt' differ in case only"):
        resolve(market)
    assert resolve(market, "BTCUSDT") == ("BTCUSDT",)
