"""How symbols are cut into tasks."""

from __future__ import annotations

import os

import pytest

from Backtest.data.file_size import FileSize
from Backtest.prepare import open_inputs
from Backtest.stage_a import blocks
from Backtest.stage_a.blocks import cut_blocks, largest_block, largest_file, panel_rows, worker_count

from .market import BARS, FIRST_MS, SYMBOLS, settings


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


@pytest.mark.parametrize("count, least", [(3, 3), (13, 4), (40, 5), (96, 12), (300, 12), (1000, 32)])
def test_an_interrupt_loses_few_symbols(market, tmp_path, count, least):
    """One process, no limit in the way: at least four tasks, none above eight symbols, or a twelfth of them, or 32."""
    job = open_inputs(settings(market, tmp_path)).job
    symbols = [*SYMBOLS, *map(str, range(count))][:count]
    blocks = cut_blocks(symbols, workers=1, largest=largest_block(job, symbols))
    assert len(blocks) == least
    assert max(map(len, blocks)) <= min(32, max(8, count / 12))


def test_bars_by_the_size_of_the_largest_file(market, tmp_path):
    momentum = "factors:\n  - {name: mom, type: expression, expression: 'close / shift(close, 24)'}\n"
    job = open_inputs(settings(market, tmp_path, recipe=momentum)).job
    assert largest_file(job.root, ["NOSUCH"]) is None
    size = largest_file(job.root, SYMBOLS)
    assert size is not None
    assert size.bars == pytest.approx(BARS, rel=0.05)
    assert size.first_ns == FIRST_MS * 1_000_000
    begin = size.first_ns + 1000 * job.timeframe.ns
    until = panel_rows(size, job.root, job.plan, start_ns=None, end_ns=begin)
    inside = panel_rows(size, job.root, job.plan, start_ns=begin, end_ns=begin + 50 * job.timeframe.ns)
    assert (until, inside) == (1000, 24 + 50)


def test_a_memory_limit_makes_smaller_blocks(market, tmp_path, monkeypatch):
    long = FileSize("long.csv", 2_000_000, 6, None, 200_000_000)
    monkeypatch.setattr(blocks, "largest_file", lambda root, symbols: long)
    for limit, least, most in ((100.0, 8, 8), (1.0, 2, 4), (0.3, 1, 1)):
        job = open_inputs(settings(market, tmp_path, memory_limit_gb=limit)).job
        assert least <= largest_block(job, SYMBOLS) <= most
