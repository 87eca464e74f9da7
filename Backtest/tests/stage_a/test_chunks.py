"""Time is cut into chunks and symbols into tasks: no byte and no count may show where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from Backtest.data.hub_writer import ROW_GROUP
from Backtest.prepare import open_inputs, prepare
from Backtest.stage_a import blocks, spill, workers
from Backtest.stage_a import run as stage_run

from .market import (
    BARS,
    SYMBOLS,
    digests,
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


@pytest.mark.parametrize("recipe", [WINDOWED, WINDOWED_CROSS], ids=["each on its own", "cross-section"])
def test_same_bytes_for_any_chunk_of_time(market, tmp_path, inline, monkeypatch, recipe):
    """Bytes, counts and findings are those of one piece, wherever time is cut."""
    found = []
    for rows in (10_000, 100, 333):
        monkeypatch.setattr(workers, "chunk_rows", lambda job, whole, symbols, rows=rows: min(rows, whole))
        hub = tmp_path / str(rows)
        prepare(settings(market, hub, recipe=recipe))
        found.append((digests(hub), timeless(metadata_of(hub))))
    assert found[0] == found[1] == found[2]
    assert found[0][1]["factors"]["fit"]["undefined_values"] > 5000


def test_a_small_memory_limit_cuts_time_and_changes_no_byte(tmp_path, inline):
    root = write_market(tmp_path / "m", SYMBOLS[:2], 25_000)
    inputs = open_inputs(settings(root, tmp_path, recipe=WINDOWED))
    assert blocks.chunk_rows(inputs.job, 25_000, 2) == ROW_GROUP
    tight = replace(inputs.job, core=replace(inputs.job.core, memory_limit_gb=0.1))
    assert blocks.chunk_rows(tight, 4_000_000, 8) == blocks.LEAST_CHUNK
    prepare(settings(root, tmp_path, recipe=WINDOWED))
    prepare(settings(root, tmp_path, "tight", recipe=WINDOWED, memory_limit_gb=0.1))
    assert digests(tmp_path) == digests(tmp_path, "tight")


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
    monkeypatch.setattr(workers, "chunk_rows", lambda job, whole, symbols: 200)
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
