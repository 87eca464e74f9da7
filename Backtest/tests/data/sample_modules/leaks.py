"""Library functions that peek, or need more bars than they say, in every way that has been seen; and honest twins."""

from __future__ import annotations

import numpy as np

from Backtest.data.library import library_factor

COARSE = 4
"""Bars of the panel in a coarser bar."""

MEMORY: dict[str, float] = {}
CALLS = [0]


def filled(close):
    """Return the series without its gaps: the last value goes on."""
    rows = np.where(np.isfinite(close), np.arange(len(close))[:, None], 0)
    return np.take_along_axis(close, np.maximum.accumulate(rows, axis=0), axis=0)


def trailing(close, window):
    out = np.full_like(close, np.nan)
    for t in range(window - 1, len(close)):
        out[t] = np.mean(close[t - window + 1 : t + 1], axis=0)
    return out


def buckets(timestamp):
    """Return the number of the coarser bar that each bar lies in."""
    return timestamp.astype("datetime64[h]").astype(np.int64) // COARSE


# ---- the future -----------------------------------------------------------------------------------------------------


@library_factor(lookback=0)
def negative_index(close):
    return close / filled(close)[-1]


@library_factor(lookback=0)
def full_sample_zscore(close):
    return (close - np.nanmean(close)) / np.nanstd(close)


@library_factor(lookback=2)
def centred_window(close):
    out = np.full_like(close, np.nan)
    for t in range(2, len(close) - 2):
        out[t] = np.mean(close[t - 2 : t + 3], axis=0)
    return out


def backfilled(close):
    return filled(close[::-1])[::-1]


@library_factor(lookback=0)
def rolled(close):
    return np.roll(close, -1, axis=0) / close


@library_factor(lookback=0)
def future_max(high, close):
    out = np.full_like(close, np.nan)
    for t in range(len(close)):
        out[t] = np.max(high[t : t + 5], axis=0) / close[t]
    return out


def reversed_cumulative_sum(volume):
    return np.nancumsum(volume[::-1], axis=0)[::-1]


def interpolated_gaps(close):
    known = np.flatnonzero(np.isfinite(close[:, 0]))
    if not known.size:
        return close * 1.0
    return np.interp(np.arange(len(close)), known, close[known, 0])[:, None]


@library_factor(lookback=0)
def whole_sample_percentile(volume):
    return np.where(np.isnan(volume), np.nan, volume > np.nanquantile(volume, 0.9))


def whole_sample_rank(close):
    return np.argsort(np.argsort(filled(close), axis=0), axis=0) / len(close)


@library_factor(lookback=COARSE - 1)
def coarse_bar_at_its_start(close, timestamp):
    group = buckets(timestamp)
    last = {bucket: close[np.flatnonzero(group == bucket)[-1]] for bucket in np.unique(group)}
    return np.array([last[bucket] for bucket in group])


@library_factor(lookback=2 * COARSE)
def joined_one_bar_early(close, timestamp):
    hours = timestamp.astype("datetime64[h]").astype(np.int64)
    at = {hour: row for row, hour in enumerate(hours.tolist())}
    closed = (hours + 2) // COARSE * COARSE - 1  # the bar that the coarser one closes with; + 1 would be right
    rows = [at.get(hour, at.get(hour - 1, -1)) for hour in closed.tolist()]
    return np.array([close[row] if row >= 0 else np.full(1, np.nan) for row in rows])


@library_factor(lookback=0)
def mean_of_all_symbols_and_times(close, symbols):
    return close / np.nanmean(close)


@library_factor(lookback=1)
def central_difference(close):
    return np.gradient(filled(close), axis=0) if len(close) > 1 else np.zeros_like(close)


def detrended(close):
    rows = np.arange(len(close), dtype=np.float64)
    known = np.isfinite(close[:, 0])
    if known.sum() < 3:
        return close * 0.0
    slope, level = np.polyfit(rows[known], close[known, 0], 1)
    return close - (level + slope * rows)[:, None]


def low_passed(close):
    spectrum = np.fft.rfft(np.nan_to_num(filled(close)), axis=0)
    spectrum[len(spectrum) // 4 :] = 0
    return np.fft.irfft(spectrum, n=len(close), axis=0)


def smoothed_both_ways(close):
    def once(values):
        out = values.copy()
        for t in range(1, len(out)):
            out[t] = 0.9 * out[t - 1] + 0.1 * values[t]
        return out

    return once(once(np.nan_to_num(filled(close)))[::-1])[::-1]


def share_of_the_sample(close):
    return np.arange(len(close))[:, None] / len(close) + 0 * close


def best_window(close):
    """Chooses the window by how well it would have done over the whole sample."""
    series = filled(close)
    change = np.diff(series, axis=0)
    scores = [np.nansum(np.sign(change[window - 1 : -1]) * change[window:]) for window in (1, 2, 3, 5)]
    return np.sign(close - np.roll(series, int(np.argmax(scores)) + 1, axis=0))


@library_factor(lookback=0)
def next_settlement(funding_sum):
    return np.roll(funding_sum, -1, axis=0)


def interpolated_interest(open_interest):
    changes = np.flatnonzero(np.diff(open_interest[:, 0], prepend=np.nan) != 0)
    known = changes[np.isfinite(open_interest[changes, 0])]
    if not known.size:
        return open_interest * 1.0
    return np.interp(np.arange(len(open_interest)), known, open_interest[known, 0])[:, None]


def peeks_on_the_sixth_bar(close):
    out = np.zeros_like(close)
    out[5:6] = close[-1]
    return out


@library_factor(lookback=0)
def knows_of_gaps(close):
    out = close.copy()
    out[:-1][np.isnan(close[1:])] = -1.0
    return out


@library_factor(lookback=1)
def marks_before_a_jump(close):
    change = np.full_like(close, np.nan)
    change[1:] = close[1:] / close[:-1] - 1.0
    out = change.copy()
    out[:-1][change[1:] > 0.05] = 1.0
    return out


@library_factor(lookback=0)
def blank_before_a_jump(close):
    out = close.copy()
    out[:-1][close[1:] > 1.05 * close[:-1]] = np.nan
    return out


# ---- memory ---------------------------------------------------------------------------------------------------------


def remembers_the_first_call(close):
    return close / MEMORY.setdefault("scale", float(np.nansum(close)))


def counts_its_calls(close):
    CALLS[0] += 1
    return close * CALLS[0]


def grows_a_default(close, *, kept=[0.0]):  # noqa: B006  (the leak)
    kept[0] = max(kept[0], float(np.nanmax(close, initial=0.0)))
    return close / kept[0]


def rolls_dice(close):
    return close * np.random.default_rng().normal(size=close.shape)


# ---- look-back ------------------------------------------------------------------------------------------------------


@library_factor(lookback=lambda window: window - 2)
def off_by_one(close, *, window: int = 10):
    return trailing(close, window)


@library_factor(lookback=3)
def too_short(close):
    out = np.full_like(close, np.nan)
    out[30:] = close[:-30]
    return out


@library_factor(lookback=50)
def endless_average(close):
    out = np.nan_to_num(filled(close)).copy()
    for t in range(1, len(out)):
        out[t] = 0.9 * out[t - 1] + 0.1 * out[t]
    return out


@library_factor(lookback=20)
def expanding(volume):
    return np.nancumsum(volume, axis=0)


def rows_since_the_array_began(close, symbols):
    return np.arange(len(close), dtype=np.float64)[:, None] + 0 * close


@library_factor(lookback=5)
def fails_on_few_bars(close):
    if len(close) < 130:
        raise ValueError("need 130 bars")
    return close * 1.0


@library_factor(lookback=1)
def change_from_the_last_price(close):
    """The bar before may be a gap, and the price then lies further back."""
    out = np.full_like(close, np.nan)
    out[1:] = close[1:] / filled(close)[:-1]
    return out


@library_factor(lookback=7)
def bars_of_rise(close):
    """One run in 256 is longer than the look-back."""
    out = np.zeros_like(close)
    for t in range(1, len(close)):
        out[t] = np.where(close[t] > close[t - 1], out[t - 1] + 1.0, 0.0)
    return out


# ---- honest ---------------------------------------------------------------------------------------------------------


@library_factor(lookback=lambda window: window - 1)
def honest_mean(close, *, window: int = 10):
    return trailing(close, window)


def honest_average(close):
    return endless_average(close)


def honest_expanding(close):
    return (close - np.nancumsum(close, axis=0) / np.cumsum(np.isfinite(close), axis=0)) * 1.0


def honest_forward_fill(close):
    return filled(close)


@library_factor(lookback=2 * COARSE)
def honest_coarse_join(close, timestamp):
    hours = timestamp.astype("datetime64[h]").astype(np.int64)
    at = {hour: row for row, hour in enumerate(hours.tolist())}
    closed = (hours + 1) // COARSE * COARSE - 1
    return np.array([close[at[hour]] if hour in at else np.full(1, np.nan) for hour in closed.tolist()])


@library_factor(lookback=23)
def honest_day_of_funding(funding_sum):
    return trailing(funding_sum, 24)


@library_factor(lookback=0)
def honest_spread(close, symbols):
    return close / np.nanmean(close, axis=1, keepdims=True)


def honest_cumulative_difference(close):
    """A window mean by differences of a running sum: other bits from every start, the same value."""
    total = np.cumsum(np.nan_to_num(close), axis=0)
    total[10:] -= total[:-10].copy()
    return total / 10
