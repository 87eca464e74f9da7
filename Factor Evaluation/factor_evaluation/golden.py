"""Golden samples: rows that every later step must reproduce, taken from the files without the project's reader.

1. `choose_rows`: which rows; seeded, and stratified over each symbol's life.
2. `make_golden`: their raw cells and what follows from them (`golden_raw`), inputs and labels.
3. `compare`: a store's inputs against them, cell by cell.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from Backtest.data.cells import Integers
from Backtest.data.clock import parse_time, time_words
from Backtest.data.schema import BY_NAME
from Backtest.data.timeframe import Timeframe, parse_duration

from .golden_raw import RawBar, good_numbers, read_raw
from .klines import Klines
from .labels import DELAY, LabelKind, label_name
from .progress import counted
from .store import Difference, Inputs

Sample = dict[str, Any]


def choose_rows(index: Integers, *, count: int, seed: int, symbol: str) -> dict[int, str]:
    """Return bar index -> stratum of a symbol's golden rows.

    Parameters
    ----------
    index
        int64 [N], the symbol's bars inside the window, ascending.
    count
        Strata of equal size in time, of each of which one bar is drawn. The first and the last bar and both sides of
        the longest gap come besides.
    seed, symbol
        Decide the draw; other symbols do not.
    """
    salt = int.from_bytes(hashlib.sha256(symbol.encode()).digest()[:8], "big")
    rng = np.random.default_rng([seed, salt])
    edges = np.linspace(0, len(index), min(count, len(index)) + 1).astype(np.int64)
    chosen = {
        int(index[rng.integers(low, high)]): f"part {part + 1} of {len(edges) - 1}"
        for part, (low, high) in enumerate(pairwise(edges))
    }
    steps = np.diff(index)
    if len(steps) and steps.max() > 1:
        place = int(steps.argmax())
        chosen |= {int(index[place]): "before the longest gap", int(index[place + 1]): "after the longest gap"}
    return dict(sorted((chosen | {int(index[0]): "first bar", int(index[-1]): "last bar"}).items()))


def make_golden(
    klines: Klines,
    sources: Mapping[str, Mapping[str, Any]],
    indices: Mapping[str, Integers],
    *,
    horizons: Sequence[int],
    kinds: Sequence[LabelKind],
) -> dict[str, Any]:
    """Return the content of golden.json: `indices` are each symbol's bars inside the window."""
    core, samples = klines.core, []
    clock = klines.timeframe
    gap = parse_duration(core.episode_gap) // clock.ns
    for symbol, index in counted(sorted(indices.items())):
        chosen = choose_rows(index, count=core.golden_rows, seed=core.golden_seed, symbol=symbol)
        ends = {bar + shift for bar in chosen for kind in kinds for h in horizons for shift in _ends(kind, h)}
        path = klines.root.path(symbol)
        raw, seen = read_raw(path, source=klines.root.timeframe, target=clock, wanted={*chosen, *ends})
        last = int(index[-1])
        for bar, stratum in chosen.items():
            labels = {
                label_name(kind, h): _label(raw, seen, bar, h, kind=kind, gap=gap, last=last)
                for kind in kinds
                for h in horizons
            }
            samples.append(_sample(symbol, bar, stratum, raw.get(bar, RawBar()), labels, clock))
    return {
        "bar_freq": clock.label,
        "seed": core.golden_seed,
        "sources": {symbol: source["sha256"] for symbol, source in sorted(sources.items())},
        "samples": samples,
    }


def _sample(
    symbol: str, bar: int, stratum: str, raw: RawBar, labels: dict[str, float | None], clock: Timeframe
) -> Sample:
    return {
        "symbol": symbol,
        "timestamp": time_words(clock.open_ns(bar)),
        "stratum": stratum,
        "rows": [{"place": place, "cells": cells} for _, place, cells in sorted(raw.rows, key=lambda row: row[:2])],
        "good_rows": len({ns for ns, _, cells in raw.rows if good_numbers(cells) is not None}),
        "inputs": raw.values(),
        "labels": labels,
    }


def _ends(kind: LabelKind, horizon: int) -> tuple[int, int]:
    return DELAY[kind], DELAY[kind] + horizon


def _label(
    raw: Mapping[int, RawBar], bars: list[int], bar: int, horizon: int, *, kind: LabelKind, gap: int, last: int
) -> float | None:
    """Return a label by its definition: two prices of one listing, neither after the `last` bar that is used."""
    bought, sold = (bar + shift for shift in _ends(kind, horizon))
    if sold > last or any(one not in raw for one in (bought, sold)):
        return None
    begin, end = bisect.bisect_left(bars, bar), bisect.bisect_right(bars, sold)
    if any(later - earlier - 1 > gap for earlier, later in pairwise(bars[begin:end])):
        return None
    prices = [raw[one].values().get(kind) for one in (bought, sold)]
    if prices[0] is None or prices[1] is None:
        return None
    change = prices[1] / prices[0] - 1.0
    return change if math.isfinite(change) else None


def compare(golden: Mapping[str, Any], inputs: Inputs, dtype: type[np.floating[Any]]) -> Iterator[Difference]:
    """Yield every cell of the golden rows that the store does not have as it should: bit for bit, rounded to `dtype`.

    A sum of n finer bars may differ from the correctly rounded one by n roundings: it was added in another order.
    """
    panel = inputs.panel
    columns = {symbol: place for place, symbol in enumerate(panel.symbols)}
    for sample in golden["samples"]:
        row = panel.timeframe.index(parse_time(sample["timestamp"])) - panel.first_bar
        where = f"{sample['symbol']} {sample['timestamp']}"
        if sample["symbol"] not in columns or not 0 <= row < len(panel.age):
            yield Difference(where, "no such row", "the golden row")
            continue
        column = columns[sample["symbol"]]
        for kind, arrays in (("inputs", panel.fields), ("labels", inputs.labels)):
            for name, expected in sample[kind].items():
                cell = f"{where} {name}"
                if name not in arrays:
                    yield Difference(cell, "no such column", _words(expected))
                elif not _same(float(arrays[name][row, column]), expected, dtype, terms=_terms(name, sample)):
                    yield Difference(cell, repr(float(arrays[name][row, column])), _words(expected))


def _terms(name: str, sample: Sample) -> int:
    return int(sample["good_rows"]) if name in BY_NAME and BY_NAME[name].combine == "sum" else 1


def _same(found: float, expected: float | None, dtype: type[np.floating[Any]], *, terms: int) -> bool:
    if expected is None or math.isnan(found):
        return expected is None and math.isnan(found)
    rounded = float(dtype(expected))
    if found == rounded:
        return True
    spare = terms * np.finfo(np.float64).eps * abs(expected)
    return terms > 1 and float(dtype(expected - spare)) <= found <= float(dtype(expected + spare))


def _words(expected: float | None) -> str:
    return "nothing" if expected is None else repr(expected)
