"""Tier and fee files: what is shipped, what is read, and what is refused in one line."""

from __future__ import annotations

import numpy as np
import pytest

from Backtest.data.clock import parse_time
from Backtest.engine.futures.dated import first_rows
from Backtest.engine.futures.fees import FeeRow, load_fees
from Backtest.engine.futures.tiers import load_tiers
from Backtest.errors import SettingsError
from Backtest.settings import CoreSettings, resolve

BTC = [
    (0, 0.004, 125, 0), (50e3, 0.005, 100, 50), (600e3, 0.0065, 75, 950), (3e6, 0.01, 50, 11_450),
    (12e6, 0.02, 25, 131_450), (70e6, 0.025, 20, 481_450), (100e6, 0.05, 10, 2_981_450), (230e6, 0.1, 5, 14_481_450),
]  # fmt: skip
"""BTCUSDT as of 2024-10-24; above, the cums follow from continuity."""

GOOD = "from: 2024-01-01\n    tiers: [[0, 0.01, 50, 0], [1000, 0.02, 25, 10]]\n"


def written(tmp_path, text):
    path = tmp_path / "tables.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_tiers():
    file = load_tiers(resolve(CoreSettings().um_tiers))
    (table,) = file.of("BTCUSDT")
    assert table.since == parse_time("2024-10-24")
    rows = list(zip(table.floors, table.rates, table.caps, table.cums, strict=True))
    assert rows[: len(BTC)] == BTC
    assert [row[:2] for row in rows[len(BTC) :]] == [(480e6, 0.125), (600e6, 0.15), (800e6, 0.25), (1.2e9, 0.5)]
    assert rows[len(BTC)][3] == 14_481_450 + 480e6 * 0.025
    assert file.of("NOSUCHUSDT") == file.tables["default"]
    for one in (table, *file.tables["default"]):
        for place, floor in enumerate(one.floors[1:], 1):  # continuous: both tiers ask for the same at the floor
            below = floor * one.rates[place - 1] - one.cums[place - 1]
            assert one.maintenance(floor) == pytest.approx(below, rel=1e-12)
            assert one.tier(floor) == place
            assert one.tier(np.nextafter(floor, 0)) == place - 1


def test_the_shipped_fees():
    file = load_fees(resolve(CoreSettings().um_fees))
    assert file.rows == (FeeRow(parse_time("2019-09-08"), 0.0002, 0.0005, 0.0125),)


@pytest.mark.parametrize(
    "text, words",
    [
        ("BTCUSDT:\n  - " + GOOD, "has no entry 'default'"),
        ("default: 3\n", "default is '3'; a list of tables"),
        ("default: []\n", "holds no table"),
        ("default:\n  - " + GOOD.replace("2024-01-01", "Oct 2024"), "from is 'Oct 2024'; a date such as"),
        ("default:\n  - " + GOOD.replace("2024-01-01", "2024-13-41"), "default: from"),
        ("default:\n  - " + GOOD + "  - " + GOOD, "follows 2024-01-01T00:00:00Z; dates ascend"),
        ("default:\n  - " + GOOD.replace("10]]", "11]]"),
         "default from 2024-01-01, tier 2: cum is 11, continuity asks for 10: the file is corrupt"),
        ("default:\n  - " + GOOD.replace("[0, 0.01, 50, 0]", "[0, 0.01, 50, 5]"), "tier 1: cum is 5, continuity"),
        ("default:\n  - " + GOOD.replace("[1000", "[0"), "tier 2: notional from is 0; the first is 0 and they ascend"),
        ("default:\n  - " + GOOD.replace("[0, 0.01", "[9, 0.01"), "tier 1: notional from is 9"),
        ("default:\n  - " + GOOD.replace("0.02, 25", "0.01, 25"), "tier 2: rate is 0.01; a fraction above 0.01"),
        ("default:\n  - " + GOOD.replace("0.02, 25", "2, 25"), "tier 2: rate is 2"),
        ("default:\n  - " + GOOD.replace("0.02, 25", "0.02, 60"), "tier 2: highest leverage is 60; 1 to 50"),
        ("default:\n  - " + GOOD.replace("0.01, 50", "0.01, 126"), "tier 1: highest leverage is 126; 1 to 125"),
        ("default:\n  - " + GOOD.replace("0.02, 25", "0.05, 25"), "tier 2: highest leverage is 25; 1 to 50"),
        ("default:\n  - " + GOOD.replace("0.02, 25, 10", "0.02, 25"), "tier 2 is [1000, 0.02, 25]; allowed: ["),
        ("default:\n  - " + GOOD.replace("0.02, 25", "x, 25"), "tier 2: rate is 'x'; a number is allowed"),
        ("default:\n  - {from: 2024-01-01, tiers: []}\n", "holds from, tiers; from and a list of tiers"),
        ("default:\n  - {from: 2024-01-01, steps: []}\n", "holds from, steps; from and a list of tiers"),
        ("- a\n", "holds a list; a mapping"),
    ],
)  # fmt: skip
def test_a_tier_file_that_is_not_sound_is_refused(tmp_path, text, words):
    with pytest.raises(SettingsError) as caught:
        load_tiers(written(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "tables.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "text, words",
    [
        ("rates: []\n", "holds rates; a list named fees"),
        ("fees: []\n", "holds no table"),
        ("fees: [3]\n", "from is None; a date"),
        ("fees: [{from: 2020-01-01, maker: 0, taker: 0}]\n", "liquidation is None; a number"),
        ("fees: [{from: 2020-01-01, maker: 0, taker: -0.1, liquidation: 0}]\n", "taker is -0.1; a fraction"),
        ("fees: [{from: 2020-01-01, maker: 0, taker: 0.6, liquidation: 0}]\n", "taker is 0.6"),
        ("fees: [{from: 2020-01-01, maker: 0, taker: 0, liquidation: 0, take: 1}]\n", "'take' is not known;"),
    ],
)  # fmt: skip
def test_a_fee_file_that_is_not_sound_is_refused(tmp_path, text, words):
    with pytest.raises(SettingsError) as caught:
        load_fees(written(tmp_path, text))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("load", [load_tiers, load_fees])
def test_a_file_that_is_not_there(tmp_path, load):
    with pytest.raises(SettingsError, match="there is no such"):
        load(tmp_path / "none.yaml")


def test_a_table_holds_from_the_first_bar_that_opens_on_its_date():
    rows = [FeeRow(moment, 0.0, 0.0, 0.0) for moment in (50, 100, 101, 1000)]
    assert first_rows(rows, np.array([80, 90, 100, 110])).tolist() == [0, 2, 3, 4]
