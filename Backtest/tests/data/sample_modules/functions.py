"""Functions that users might write, and the ways in which they go wrong."""

from __future__ import annotations

import sys
import time

import numpy as np

from Backtest.data.library import library_factor

SEEN_SHAPES: list[tuple[int, ...]] = []


@library_factor(lookback=lambda window: window - 1)
def mean(close, *, window: int = 3, scale: float = 1.0):
    SEEN_SHAPES.append(close.shape)
    out = np.full_like(close, np.nan)
    for t in range(window - 1, len(close)):
        out[t] = scale * sum(close[t - window + 1 + step] for step in range(window)) / window
    return out


@library_factor(lookback=0, symbols=lambda benchmark: (benchmark,))
def against(close, symbols, timestamp, *, benchmark: str = "S00USDT"):
    assert timestamp.shape == close.shape[:1]
    assert timestamp.dtype == np.dtype("datetime64[ns]")
    return close / close[:, [symbols.index(benchmark)]]


def since_start(close, symbols):
    """Bars since the first that is there: shows what is hidden."""
    return np.cumsum(np.isfinite(close), axis=0) * 1.0


def no_facts(close):
    return np.cumsum(np.isfinite(close), axis=0) * 1.0


@library_factor(lookback=0)
def future(close):
    return np.append(close[1:], close[-1:] * np.nan, axis=0)


@library_factor(lookback=0)
def whole_sample(close):
    return close - np.nanmean(close)


@library_factor(lookback=2)
def too_short(close):
    out = np.full_like(close, np.nan)
    out[5:] = close[:-5]
    return out


def randomly(close):
    return np.random.default_rng().normal(size=close.shape)


@library_factor(lookback=0)
def infinite(close):
    return np.where(close > 100, np.inf, close)


def mutates(close):
    close[0] = 0.0
    return close


def unlocks(close):
    close.flags.writeable = True
    close[0] = 0.0
    return close


def shortened(close):
    return close[1:]


def flat(close):
    return close[:, 0]


def listed(close):
    return close.tolist()


def nothing(close):
    return None


def objects(close):
    return close.astype(object)


def complex_numbers(close):
    return close.astype(complex)


@library_factor(lookback=0)
def integers(close):
    return np.isfinite(close).astype(np.int32)


def raises(close):
    raise KeyError("no such thing")


def exits(close):
    sys.exit(3)


def hangs(close):
    while True:
        time.sleep(0.01)


@library_factor(lookback=0)
def prints(close):
    print("hello", "x" * 20_000)
    return close * 1.0


def unknown_field(clsoe):
    return clsoe


def starred(*close):
    return close[0]


def no_field(symbols):
    return symbols


def weighted(close, *, weights=(1,)):
    return close * weights[0]


def needs_param(close, *, window):
    return close


@library_factor(lookback=lambda window: -window)
def negative_lookback(close, *, window: int):
    return close


@library_factor(lookback=lambda window: 10 // window)
def broken_rule(close, *, window: int):
    return close


def _private(close):
    return close


class Callable:
    def __call__(self, close):
        return close


instance = Callable()
