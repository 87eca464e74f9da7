"""How symbols are cut into tasks."""

from __future__ import annotations

import os

import pytest

from Backtest.prepare import open_inputs
from Backtest.stage_a import blocks
from Backtest.stage_a.blocks import cut_blocks, largest_block, most_bars, worker_count

from .market import BARS, SYMBOLS, settings


@pytest.mark.parametrize("count", [1, 2, 5, 16, 17, 40, 333])
@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("largest", [1, 3, 16])
def test_every_symbol_once_in_near_equal_blocks(count, workers, largest):
    symbols = [str(number) for number in range(count)]
    blocks = cut_blocks(symbols, workers=workers, largest=largest)
    assert [symbol for block in blocks for symbol in block] == symbols
    sizes = {len(block) for block in blocks}
    assert max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1
    assert len(blocks) % workers == 0 or len(blocks) == count


def test_no_symbols_no_blocks():
    assert cut_blocks([], workers=2, largest=16) == []


def test_workers():
    assert worker_count(3, 10) == 3
    assert worker_count(3, 2) == 2
    assert 1 <= worker_count(0, 1000) <= (os.cpu_count() or 1)


def test_a_file_never_holds_more_bars_than_its_size_says(market, tmp_path):
    job = open_inputs(settings(market, tmp_path)).job
    assert all(BARS <= most_bars(job.root, symbol) for symbol in SYMBOLS if symbol != "EEEUSDT")
    assert most_bars(job.root, "NOSUCH") == 1


def test_a_memory_limit_makes_smaller_blocks(market, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "most_bars", lambda root, symbol: 2_000_000)
    for limit, least, most in ((100.0, 16, 16), (2.0, 2, 8), (0.3, 1, 1)):
        job = open_inputs(settings(market, tmp_path, memory_limit_gb=limit)).job
        assert least <= largest_block(job, SYMBOLS) <= most
