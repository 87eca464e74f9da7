"""A plan computed chunk after chunk: the bits and the counts of one piece, whatever the chunks."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from Backtest.data.dsl.engine import counted
from Backtest.data.dsl.segments import overlap_rows
from Backtest.data.factor_stream import FactorStream
from Backtest.data.factors import compile_recipe, compute
from Backtest.data.timeframe import parse_timeframe
from Backtest.tests.data.small_panel import recipe_of, small_panel

EXPRESSIONS = {
    "coarse alone": 'bars("4h", close)',
    "coarse window": 'bars("6h", ts_mean(close, 3))',
    "coarse state": 'bars("4h", ema(close, 5)) / close',
    "coarse across": 'cs_rank(bars("4h", cs_demean(returns(close, 2))))',
    "on top of coarse": 'ts_std(bars("4h", close), 9)',
    "two timeframes": 'bars("4h", log(close - open)) + bars("8h", shift(high, 1))',
    "window": "ts_corr(close, volume, 20)",
    "state": "ema(log(close - open), 7)",
    "across": "cs_zscore(cum_sum(volume)) - shift(cs_rank(close), 3)",
    "another symbol": 'of("S02USDT", ts_max(close, 5)) / close',
}


@pytest.mark.parametrize("size", [1, 7, 90])
@pytest.mark.parametrize("warmup", [0, 33])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_chunks_show_in_no_value_and_no_count(tmp_path: Path, name: str, warmup: int, size: int) -> None:
    plan = compile_recipe(
        recipe_of(tmp_path, x=EXPRESSIONS[name]), allow_modules=(), max_window=1000, timeframe=parse_timeframe("1h")
    )
    panel = dataclasses.replace(small_panel(150), warmup=warmup)
    whole = compute(plan, panel, gap_tolerance=0.1)
    stream = FactorStream(plan, counted(panel), rows=size, gap_tolerance=0.1)
    parts, undefined = [], 0
    edges = sorted({*range(0, 150, size), warmup, 150})
    for begin, end in pairwise(edges):
        top = max(0, begin - overlap_rows(plan))
        own = begin if begin >= warmup else end
        found = stream.feed(panel.rows(top, end, warmup=own - top), begin=begin - top)
        parts.append(found.values["x"])
        undefined += found.counts.get("x", {}).get("undefined", 0)
    assert np.concatenate(parts).tobytes() == whole.values["x"].tobytes()
    assert undefined == whole.counts.get("x", {}).get("undefined", 0)
    assert np.isfinite(whole.values["x"]).any()
