"""Time is cut into chunks and symbols into tasks: no byte and no count may show where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from Backtest.data.hub_writer import ROW_GROUP
from Backtest.prepare import open_inputs, prepare
from Backtest.stage_a import blocks, building, spill
from Backtest.stage_a import run as stage_run

from .market import (
    BARS,
    SYMBOLS,
    digests,
    frame_of,
    klines,
    metadata_of,
    settings,
    timeless,
    write_klines,
    write_market,
)

WINDOWED = """factors:
  - {name: mom, type: expression, expression: "close / shift(close, 24) - 1"}
  - {name: fit, type: expression, expression: "ts_corr(close, volume, 30) / (volume - volume)"}
  - {name: noise, type: expression, expression: "ts_std(logret(close, 1), 48) * ts_rank(close, 20)"}
"""
WINDOWED_CROSS = (
    WINDOWED
    + """  - name: order
    type: expression
    expression: cs_rank(mom) - ts_mean(cs_zscore(noise), 10)
"""
)


RECURSIVE = (
    WINDOWED
    + """  - {name: smooth, type: expression, expression: "ts_mean(ema(close, 12), 30) / ema(ema(volume, 5), 24) - 1"}
  - {name: rsi, type: expression, expression: "ema(max2(delta(close, 1), 0), 14) / ema(abs(delta(close, 1)), 14)"}
"""
)
RECURSIVE_CROSS = (
    RECURSIVE
    + """  - {name: order, type: expression, expression: "ema(cs_rank(smooth), 10) - cs_rank(ema(rsi, 50))"}
  - {name: lead, type: expression, expression: "ema(of('AAAUSDT', mom), 20)"}
"""
)
COARSE = (
    RECURSIVE
    + """  - {name: slow, type: expression, expression: 'bars("1d", ema(close, 3)) - bars("4h", ts_mean(close, 12))'}
  - {name: calm, type: expression, expression: 'ts_mean(bars("12h", ts_std(logret(close, 1), 5)), 30)'}
  - {name: void, type: expression, expression: 'ema(bars("4h", log(close - close)), 5)'}
"""
)
COARSE_CROSS = COARSE + "  - {name: order, type: expression, expression: 'bars(\"4h\", ema(cs_rank(close), 5))'}\n"
RECIPES = {
    "each on its own": WINDOWED,
    "cross-section": WINDOWED_CROSS,
    "recursive": RECURSIVE,
    "recursive cross-section": RECURSIVE_CROSS,
    "coarser bars": COARSE,
    "cross-section of coarser bars": COARSE_CROSS,
}


@pytest.mark.parametrize("window", [{}, {"start": "2023-01-27T05:00", "end": "2023-02-20"}], ids=["all", "window"])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_same_bytes_for_any_chunk_of_time(market, tmp_path, inline, monkeypatch, recipe, window):
    """Bytes, counts and findings are those of one piece, wherever time is cut."""
    found = []
    for rows in (10_000, 100, 333, 1) if recipe is RECURSIVE_CROSS and window else (10_000, 100, 333):
        monkeypatch.setattr(building, "chunk_rows", lambda job, whole, symbols, rows=rows: min(rows, whole))
        hub = tmp_path / str(rows)
        prepare(settings(market, hub, recipe=recipe, **window))
        found.append((digests(hub), timeless(metadata_of(hub))))
    assert all(one == found[0] for one in found)
    assert found[0][1]["factors"]["fit"]["undefined_values"] > (2500 if window else 5000)


@pytest.mark.parametrize(
    "recipe, limit",
    [(WINDOWED, 0.003), (RECURSIVE_CROSS, 0.004), (COARSE, 0.004)],
    ids=["windows", "across", "coarser bars"],
)
def test_a_small_memory_limit_cuts_time_and_changes_no_byte(tmp_path, inline, monkeypatch, recipe, limit):
    monkeypatch.setattr("Backtest.settings.RANGES", ())  # few MB of arrays: less than the setting allows
    root = write_market(tmp_path / "m", SYMBOLS[:2], 25_000)
    inputs = open_inputs(settings(root, tmp_path, recipe=recipe))
    assert blocks.chunk_rows(inputs.job, 25_000, 2) == ROW_GROUP
    tight = replace(inputs.job, core=replace(inputs.job.core, memory_limit_gb=0.1))
    assert blocks.chunk_rows(tight, 4_000_000, 8) == blocks.LEAST_CHUNK
    whole = replace(inputs.job, core=replace(inputs.job.core, memory_limit_gb=limit))
    assert blocks.chunk_rows(whole, 25_000, 2) < 5000
    prepare(settings(root, tmp_path, recipe=recipe))
    prepare(settings(root, tmp_path, "tight", recipe=recipe, memory_limit_gb=limit))
    assert digests(tmp_path) == digests(tmp_path, "tight")


def test_recursive_values_across_symbols_rest_on_one_that_is_gone(tmp_path, inline):
    """BBBUSDT ended before the window begins, and before that began AAAUSDT was not listed yet."""
    root = write_market(tmp_path / "m", SYMBOLS[:3])
    folder = root / "6.Binance Data Resampled" / "1h"
    for symbol, kept in zip(SYMBOLS[:3], (slice(300, None), slice(0, 500), slice(400, None)), strict=True):
        write_klines(folder / f"{symbol}.csv", klines(symbol)[kept])
    recipe = 'factors:\n  - {name: order, type: expression, expression: "ema(cs_rank(ema(close, 200)), 200)"}\n'
    prepare(settings(root, tmp_path, recipe=recipe))
    prepare(settings(root, tmp_path, "late", recipe=recipe, start="2023-01-27"))
    for symbol in ("AAAUSDT", "CCCUSDT"):
        late = frame_of(tmp_path, symbol, "late")
        assert frame_of(tmp_path, symbol).loc[late.index].equals(late)


def test_counts_do_not_depend_on_who_shares_a_task(tmp_path, inline, monkeypatch):
    """AAAUSDT ends 20 bars before the other: its windows live on, and what is undefined there is nobody's row."""
    root = write_market(tmp_path / "m", SYMBOLS[:2])
    folder = root / "6.Binance Data Resampled" / "1h"
    write_klines(folder / "AAAUSDT.csv", klines("AAAUSDT")[:-20])
    recipe = (
        'factors:\n  - {name: zero, type: expression, expression: "ts_mean(close, 300) / (ts_mean(close, 300) * 0)"}\n'
    )
    counted = []
    for size in (1, 2):
        monkeypatch.setattr(stage_run, "largest_block", lambda job, symbols, size=size: size)
        monkeypatch.setattr(stage_run, "cut_blocks", lambda symbols, workers, largest: [
            tuple(symbols[at : at + largest]) for at in range(0, len(symbols), largest)
        ])  # fmt: skip
        prepare(settings(root, tmp_path / str(size), recipe=recipe))
        counted.append(metadata_of(tmp_path / str(size))["factors"]["zero"]["undefined_values"])
    assert counted == [2 * (BARS - 299) - 20] * 2


@pytest.mark.parametrize("recipe", [WINDOWED, WINDOWED_CROSS], ids=["each on its own", "cross-section"])
def test_bars_that_memory_does_not_take_wait_in_files(market, tmp_path, inline, monkeypatch, recipe):
    prepare(settings(market, tmp_path, recipe=recipe))
    monkeypatch.setattr(building, "chunk_rows", lambda job, whole, symbols: 200)
    monkeypatch.setattr(blocks, "BARS_SHARE", 1e6)
    seen: list[int] = []
    monkeypatch.setattr(spill.BarStore, "clear", count_clears(seen, spill.BarStore.clear))
    prepare(settings(market, tmp_path, "spilled", recipe=recipe))
    assert digests(tmp_path) == digests(tmp_path, "spilled")
    assert max(seen) == (6 if "cs_" in recipe else 2)
    assert not list(tmp_path.rglob("*.tmp~"))


def count_clears(seen, clear):
    def counted(store):
        seen.append(len(store.spilled))
        return clear(store)

    return counted
