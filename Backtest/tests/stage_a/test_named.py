"""Recipes that name a symbol, through Stage A: it is loaded wherever it is needed and published only if asked for."""

from __future__ import annotations

import pandas as pd
import pytest

from Backtest.errors import DataError
from Backtest.prepare import prepare
from Backtest.stage_a import run as stage_run

from .market import digests, frame_of, metadata_of, settings

NAMED = """factors:
  - {name: beta, type: expression, expression: 'beta_to("CCCUSDT", returns(close, 1), 48)'}
  - {name: level, type: expression, expression: 'close / of("CCCUSDT", close)'}
  - {name: undefined, type: expression, expression: 'log(close - close)'}
"""


def test_same_bytes_for_any_cut_and_for_a_symbol_outside_the_run(market, tmp_path, inline, monkeypatch):
    found = []
    for size in (1, 2, 16):
        monkeypatch.setattr(stage_run, "largest_block", lambda job, symbols, size=size: size)
        prepare(settings(market, tmp_path / str(size), recipe=NAMED))
        metadata = metadata_of(tmp_path / str(size))
        found.append((digests(tmp_path / str(size)), metadata["factors"], metadata["qc"]))
    assert found[0] == found[1] == found[2]
    few = ("AAAUSDT", "EEEUSDT")
    summary = prepare(settings(market, tmp_path / "few", recipe=NAMED, symbols=few))
    assert summary["symbols"] == list(few)
    assert set(digests(tmp_path / "few")) == {f"{symbol}.parquet" for symbol in few}
    for symbol in few:
        pd.testing.assert_frame_equal(frame_of(tmp_path / "few", symbol), frame_of(tmp_path / "1", symbol))
    assert not frame_of(tmp_path / "few", "AAAUSDT")["beta"].iloc[60:].isna().any()


@pytest.mark.parametrize(
    "name, words",
    [
        ("CCC", r"the recipe names symbol 'CCC'; a recipe names symbols in full: write 'CCCUSDT'"),
        ("CCUSDT", r"symbol 'CCUSDT' has no klines in .*did you mean 'CCCUSDT'"),
        ("all", r"symbol 'all' has no klines"),
    ],
)
def test_a_symbol_without_klines_is_refused_before_anything_is_read(market, tmp_path, inline, name, words):
    recipe = NAMED.replace("CCCUSDT", name)
    with pytest.raises(DataError, match=words):
        prepare(settings(market, tmp_path, recipe=recipe))
    assert not (tmp_path / "klines").exists()
