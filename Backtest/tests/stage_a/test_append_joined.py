"""``--append`` where factors rest on more than klines: files beside them grow, only changed values are in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from Backtest.errors import DataError, HubError
from Backtest.prepare import prepare

from .market import FIRST_MS, HOUR_MS, SYMBOLS, digests, metadata_of, settings
from .test_append import cut_market, same_as_cold

THREE = SYMBOLS[:3]
JOINED = """external:
  issued: {path: supply.csv, column: supply}
factors:
  - {name: paid, type: expression, expression: 'funding(24, "sum")'}
  - {name: crowd, type: expression, expression: 'oi_change(6) + ema(open_interest, 9)'}
  - {name: coins, type: expression, expression: 'asof(issued, "1d") / close'}
"""
GROUPED = """factors:
  - {name: held, type: expression, expression: 'grp_mean(returns(close, 3), sector)'}
  - {name: old, type: expression, expression: 'close * supply + launch'}
"""
TABLE = """AAA: {sector: b, supply: 10, launch: 2020-01-01}
BBB: {sector: b, supply: 20, launch: 2020-05-01}
CCC: {sector: d, supply: 30, launch: 2023-01-10}
"""


def write_all(root: Path, hours: int, *, beside: int | None = None) -> Path:
    """Write klines of so many hours and everything beside them; files beside them as if that many had gone by."""
    beside = hours if beside is None else beside
    cut_market(root, dict.fromkeys(THREE, hours))
    for number, symbol in enumerate(THREE):
        rng = np.random.default_rng(number)
        rates, sizes = rng.normal(0, 1e-4, 400).round(8), rng.lognormal(8, 0.1, 800)
        for folder, column, values, step in (
            ("funding", "funding_rate", rates, 8),
            ("open_interest", "sum_open_interest", sizes, 2),
        ):
            (root / folder).mkdir(exist_ok=True)
            count = beside // step + 1
            table = pd.DataFrame({"timestamp": FIRST_MS + step * HOUR_MS * np.arange(count), column: values[:count]})
            table.to_csv(root / folder / f"{symbol}.csv", index=False)
    (root / "external").mkdir(exist_ok=True)
    days = pd.date_range("2023-01-01", periods=beside // 24 + 1, freq="D").strftime("%Y-%m-%d")
    supply = pd.DataFrame({"date": days, "supply": 100 + np.arange(len(days)) ** 1.5})
    supply.to_csv(root / "external" / "supply.csv", index=False)
    return root


def test_everything_beside_the_klines_grows_too(tmp_path, inline):
    root, hub = tmp_path / "data", tmp_path / "hub"
    for number, hours in enumerate((700, 701, 1100)):  # BBBUSDT has no bar from 700 to 711
        write_all(root, hours)
        if number:  # a file of a symbol that is not asked for
            (root / "funding" / f"OTHER{number}USDT.csv").write_text("timestamp,funding_rate\n", encoding="utf-8")
        done = prepare(settings(root, hub, recipe=JOINED, append=number > 0, symbols=THREE))
        assert (done["status"], done.get("new_rows")) == ("ok", (None, 2, 399 + 400 + 399)[number])
        same_as_cold(root, hub, recipe=JOINED, symbols=THREE, overwrite=True)


def test_files_that_grow_alone_are_noted(tmp_path, inline):
    """No new bar: the values stay, the hashes of the files do not."""
    root, hub = write_all(tmp_path / "data", 700), tmp_path / "hub"
    prepare(settings(root, hub, recipe=JOINED))
    write_all(root, 700, beside=800)
    assert prepare(settings(root, hub, recipe=JOINED, append=True))["new_rows"] == 0
    same_as_cold(root, hub, recipe=JOINED)


@pytest.mark.parametrize("which", ["funding/BBBUSDT.csv", "open_interest/BBBUSDT.csv", "external/supply.csv"])
def test_a_used_value_that_changed_is_refused(tmp_path, inline, which):
    root, hub = write_all(tmp_path / "data", 700), tmp_path / "hub"
    prepare(settings(root, hub, recipe=JOINED))
    before = digests(hub)
    write_all(root, 900)
    lines = (root / which).read_text(encoding="utf-8").splitlines()
    stamp, value = lines[15].split(",")
    (root / which).write_text(
        "\n".join([*lines[:15], f"{stamp},{2 * float(value)}", *lines[16:]]) + "\n", encoding="utf-8"
    )
    words = rf"bars of \w+ that it rests on, or values joined to them, have changed \(.*{which}"
    with pytest.raises(DataError, match=words):
        prepare(settings(root, hub, recipe=JOINED, append=True))
    assert digests(hub) == before


def test_rows_that_join_the_symbols_table(tmp_path, inline):
    """A new label moves every group's code; another symbol's row is none of this set's business."""
    root, hub, table = tmp_path / "data", tmp_path / "hub", tmp_path / "symbols.yaml"
    cut_market(root, dict.fromkeys(THREE, 700))
    table.write_text(TABLE, encoding="utf-8")
    more: dict[str, Any] = {"recipe": GROUPED, "symbols": THREE, "symbols_table": str(table)}
    prepare(settings(root, hub, **more))
    assert metadata_of(hub)["files"]["CCCUSDT"]["symbols_table"] == {
        "sector": "d", "supply": 30.0, "launch": "2023-01-10T00:00:00Z"
    }  # fmt: skip
    table.write_text(TABLE + "ZZZ: {sector: a, supply: 1, launch: 2019-01-01, chain: own}\n", encoding="utf-8")
    cut_market(root, dict.fromkeys(THREE, 900))
    prepare(settings(root, hub, append=True, **more))
    same_as_cold(root, hub, **more)


@pytest.mark.parametrize(
    "cell, other, words",
    [
        ("sector: d", "sector: b", "sector of CCCUSDT was d in the symbols table and is b"),
        ("supply: 20", "supply: 21", r"supply of BBBUSDT was 20\.0 in the symbols table and is 21\.0"),
        (", launch: 2020-01-01", "", "launch of AAAUSDT was 2020-01-01T00:00:00Z in the symbols table and is empty"),
    ],
)
def test_a_cell_that_changed_is_refused(tmp_path, inline, cell, other, words):
    root, hub, table = tmp_path / "data", tmp_path / "hub", tmp_path / "symbols.yaml"
    cut_market(root, dict.fromkeys(THREE, 700))
    table.write_text(TABLE, encoding="utf-8")
    more = {"recipe": GROUPED, "symbols_table": str(table)}
    prepare(settings(root, hub, **more))
    table.write_text(TABLE.replace(cell, other), encoding="utf-8")
    with pytest.raises(HubError, match=words):
        prepare(settings(root, hub, append=True, **more))
