"""No value depends on ``--start``, also not through symbols that are delisted before it: the same bits."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from Backtest.errors import DataError
from Backtest.prepare import prepare
from Backtest.stage_a.causality import check_recipe

from .market import FIRST_MS, HOUR_MS, digests, frame_of, klines, metadata_of, settings, timeless, write_klines

BARS, DELISTED, EARLY = 900, 500, 300
ENDS = {"AAAUSDT": BARS, "BBBUSDT": DELISTED, "CCCUSDT": BARS, "DDDUSDT": EARLY, "FFFUSDT": BARS, "GGGUSDT": BARS}
LISTED = {"FFFUSDT": 350, "GGGUSDT": 690}
STARTS = {"just after": 510, "inside the window": 560, "later than the gap": 590, "both are gone": 650}
TABLE = "".join(f"{name}: {{side: {'xz'[k > 2]}}}\n" for k, name in enumerate(ENDS))

RECIPES = {
    "recursive below": "ts_mean(cs_rank(ema(close, 10)), 100)",
    "recursive between": "ts_mean(cs_rank(ema(cs_zscore(ema(volume, 20)), 10)), 100)",
    "recursive above": "ema(cs_rank(ema(close, 10)), 30)",
    "windows": "ts_mean(cs_rank(close / shift(close, 20)), 100)",
    "groups": "ts_mean(grp_mean(ema(close, 10), side), 100)",
    "coarser bars": 'ts_mean(bars("4h", cs_rank(ema(close, 10))), 100)',
    "inside coarser bars": 'bars("4h", ts_mean(cs_rank(ema(close, 10)), 30))',
    "of another": 'ts_mean(of("BBBUSDT", ema(close, 10)), 100, min_periods=1)',
    "a function": "ts_mean(relative, 100)",
}
FUNCTION = """  - name: relative
    type: library_function
    source: Backtest.tests.stage_a.start_functions:market_share
"""


def recipe_of(name: str) -> str:
    """Return the recipe of that name."""
    before = FUNCTION if name == "a function" else ""
    return f"factors:\n{before}  - {{name: one, type: expression, expression: '{RECIPES[name]}'}}\n"


@pytest.fixture(scope="module")
def delisting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root in which two symbols end and two begin, and a symbols table beside it."""
    root = tmp_path_factory.mktemp("delisting") / "market"
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    for symbol, end in ENDS.items():
        begin, end = (FIRST_MS + HOUR_MS * row for row in (LISTED.get(symbol, 0), end))
        write_klines(folder / f"{symbol}.csv", [row for row in klines(symbol) if begin <= int(row[0]) < end])
    (root / "symbols.yaml").write_text(TABLE, encoding="utf-8")
    return root


def time_of(row: int) -> str:
    """Return the open time of a row."""
    return f"{np.datetime64(FIRST_MS + HOUR_MS * row, 'ms').astype('datetime64[m]')}"


def run(root: Path, hub: Path, name: str, **more):
    """Run Stage A with a recipe."""
    modules = ("Backtest.data.indicators", "Backtest.tests.stage_a.start_functions")
    given = {"symbols_table": str(root / "symbols.yaml"), "allow_modules": modules, "workers": 1, **more}
    return prepare(settings(root, hub, recipe=recipe_of(name), **given))


def bits(hub: Path, symbol: str, start: int) -> str:
    """Return the hash of a symbol's values from a row on."""
    frame = frame_of(hub, symbol)
    return hashlib.sha256(frame.loc[f"{time_of(start)}+00:00" :].to_numpy(np.float64).tobytes()).hexdigest()


@pytest.mark.parametrize("name", RECIPES)
def test_a_later_start_gives_the_same_bits(delisting, tmp_path, inline, name):
    run(delisting, tmp_path / "whole", name)
    values = frame_of(tmp_path / "whole", "AAAUSDT")["one"].to_numpy()
    assert np.isfinite(values[DELISTED:]).mean() > 0.9 or name == "of another"
    for case, start in STARTS.items():
        done = run(delisting, tmp_path / case, name, start=time_of(start))
        assert "BBBUSDT" in done["refused"]
        assert done["symbols"] == ["AAAUSDT", "CCCUSDT", "FFFUSDT", "GGGUSDT"]
        for symbol in done["symbols"]:
            assert bits(tmp_path / case, symbol, start) == bits(tmp_path / "whole", symbol, start), (case, symbol)


@pytest.mark.parametrize("name", RECIPES)
def test_an_extended_set_is_that_of_a_cold_run(delisting, tmp_path, inline, name):
    start = time_of(STARTS["inside the window"])
    for number, end in enumerate((600, 700, None)):
        until = None if end is None else time_of(end)
        run(delisting, tmp_path / "hub", name, start=start, end=until, append=number > 0)
    run(delisting, tmp_path / "cold", name, start=start)
    assert digests(tmp_path / "hub") == digests(tmp_path / "cold")
    assert timeless(metadata_of(tmp_path / "hub")) == timeless(metadata_of(tmp_path / "cold"))


def test_a_new_symbol_that_ranks_of_the_look_back_would_have_had_is_refused(delisting, tmp_path, inline):
    start = time_of(STARTS["inside the window"])
    few = [symbol for symbol in ENDS if symbol != "BBBUSDT"]
    run(delisting, tmp_path, "windows", start=start, end=time_of(600), symbols=few)
    with pytest.raises(DataError, match="BBBUSDT is new and has bars that the look-back"):
        run(delisting, tmp_path, "windows", start=start, append=True)


def test_a_symbol_that_only_a_factor_names_may_end_before_the_window(delisting, tmp_path, inline):
    few = [symbol for symbol in ENDS if symbol not in ("BBBUSDT", "DDDUSDT")]
    recipe = f"factors:\n  - {{name: one, type: expression, expression: 'cs_rank(close) + {RECIPES['of another']}'}}\n"
    found = []
    for start in (None, time_of(560)):
        hub = tmp_path / str(start)
        done = prepare(settings(delisting, hub, recipe=recipe, start=start, symbols=few, workers=1))
        assert (done["status"], done["refused"]) == ("ok", {})
        found.append(bits(hub, "AAAUSDT", 560))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", RECIPES)
def test_the_causality_command_loads_as_much(delisting, tmp_path, name):
    modules, table = ("Backtest.tests.stage_a.start_functions",), str(delisting / "symbols.yaml")
    for start in (None, time_of(590)):
        given = settings(
            delisting, tmp_path, recipe=recipe_of(name), start=start, symbols_table=table, allow_modules=modules
        )
        assert check_recipe(given, 12)["violations"] == []
