"""What a factor sees, and what is counted, does not depend on other factors, nor on who shares a task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from Backtest.prepare import prepare
from Backtest.stage_a import blocks

from .market import FIRST_MS, HOUR_MS, digests, frame_of, klines, metadata_of, settings, timeless, write_klines

FUNCTIONS = "Backtest.tests.stage_a.start_functions"
MODULES = ("Backtest.data.indicators", FUNCTIONS)
OWN = ("AAAUSDT", "BBBUSDT", "DDDUSDT")


def call(function: str, name: str = "one", **params: str) -> str:
    """Return a factor of a recipe that calls a function."""
    given = f", params: {{{', '.join(f'{key}: {value}' for key, value in params.items())}}}" if params else ""
    return f"  - {{name: {name}, type: library_function, source: {FUNCTIONS}:{function}{given}}}\n"


def written(expression: str, name: str = "other") -> str:
    """Return a factor of a recipe that is an expression."""
    return f"  - {{name: {name}, type: expression, expression: '{expression}'}}\n"


def values(market: Path, hub: Path, factors: str, **more) -> np.ndarray:
    """Return factor one of every symbol side by side."""
    prepare(settings(market, hub, recipe=f"factors:\n{factors}", allow_modules=MODULES, symbols=OWN, **more))
    return np.array([frame_of(hub, symbol)["one"].dropna().to_numpy() for symbol in ("AAAUSDT", "DDDUSDT")])


UNRELATED = {
    "nothing": "",
    "another symbol": written('of("CCCUSDT", close)'),
    "another function": call("columns_beside", "other", benchmark="FFFUSDT"),
    "inside coarser bars": written('bars("4h", of("CCCUSDT", close))'),
}


@pytest.mark.parametrize("more", UNRELATED.values(), ids=UNRELATED)
def test_a_function_sees_the_symbols_of_the_run(market, tmp_path, inline, more):
    assert set(values(market, tmp_path / "plain", call("columns") + more).ravel()) == {3.0}
    beside = call("columns_beside", benchmark="EEEUSDT")
    assert set(values(market, tmp_path / "beside", beside + more).ravel()) == {1004.0}


def test_a_function_begins_with_the_symbols_that_it_sees(tmp_path, inline):
    """CCCUSDT, which another factor names, is older than all of them."""
    root = tmp_path / "market"
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    for symbol in ("AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT"):
        write_klines(folder / f"{symbol}.csv", klines(symbol)[0 if symbol == "CCCUSDT" else 200 : 400])
    alone = values(root, tmp_path / "alone", call("rows"))
    assert alone[0, 0] == 0.0
    named = values(root, tmp_path / "named", call("rows") + written('of("CCCUSDT", ema(close, 5))'))
    np.testing.assert_array_equal(alone, named)


def short_market(root: Path) -> Path:
    """Write four symbols; two lack bars right at the start and at the end of the windows below."""
    folder = root / "6.Binance Data Resampled" / "1h"
    folder.mkdir(parents=True)
    for symbol in ("AAAUSDT", "CCCUSDT", "DDDUSDT", "FFFUSDT"):
        lacking = {"CCCUSDT": (198, 205), "DDDUSDT": (200, 203)}.get(symbol, (0, 0))
        end = {"CCCUSDT": 370, "FFFUSDT": 380}.get(symbol, 400)
        kept = [row for k, row in enumerate(klines(symbol)[:end]) if not lacking[0] <= k < lacking[1]]
        write_klines(folder / f"{symbol}.csv", kept)
    return root


COUNTED = {
    "windows": "log(ts_mean(close, 50) - 1e9)",
    "recursive": "log(ema(close, 5) - 1e9)",
    "of another": 'log(of("CCCUSDT", ema(close, 5)) - 1e9) + log(ts_mean(close, 50) - 1e9)',
    "of two": 'of("CCCUSDT", log(ema(close, 5) - 1e9)) * of("FFFUSDT", log(ts_mean(close, 50) - 1e9))',
    "coarser bars": 'bars("4h", log(ema(close, 5) - 1e9))',
}


@pytest.mark.parametrize("expression", COUNTED.values(), ids=COUNTED)
def test_counts_do_not_depend_on_the_tasks(tmp_path, inline, monkeypatch, expression):
    root = short_market(tmp_path / "market")
    recipe = f"factors:\n{written(expression)}{call('infinite')}"
    start = f"{np.datetime64(FIRST_MS + HOUR_MS * 200, 'ms').astype('datetime64[m]')}"
    found = {}
    for size in (1, 2, 3, 4):
        hub = tmp_path / str(size)
        with monkeypatch.context() as patched:
            patched.setattr(blocks, "LEAST_TASKS", 1)
            patched.setattr(blocks, "TASK_SYMBOLS", size)
            prepare(settings(root, hub, recipe=recipe, allow_modules=MODULES, start=start, workers=1))
        found[size] = timeless(metadata_of(hub))
        assert digests(hub) == digests(tmp_path / "1")
    counts = [metadata["factors"]["other"]["undefined_values"] for metadata in found.values()]
    assert len(set(counts)) == 1, counts
    assert counts[0] > 100
    assert all(metadata == found[1] for metadata in found.values())
    bars = sum(listed["bars"] for listed in found[1]["files"].values())
    assert found[1]["factors"]["one"]["infinite_values"] == bars
