"""A recipe of 158 factors of price and volume, for measuring: the families and windows of Qlib's Alpha158.

The shipped recipe of that name follows Qlib's own rules; this one is plain language of ours, so that timings do not
move when those rules do.
"""

from __future__ import annotations

WINDOWS = (5, 10, 20, 30, 60)

BARS = {
    "KMID": "(close - open) / open", "KLEN": "(high - low) / open", "KMID2": "(close - open) / (high - low)",
    "KUP": "(high - max2(open, close)) / open", "KUP2": "(high - max2(open, close)) / (high - low)",
    "KLOW": "(min2(open, close) - low) / open", "KLOW2": "(min2(open, close) - low) / (high - low)",
    "KSFT": "(2 * close - high - low) / open", "KSFT2": "(2 * close - high - low) / (high - low)",
    "OPEN0": "open / close", "HIGH0": "high / close", "LOW0": "low / close",
    "VWAP0": "(high + low + close) / (3 * close)",
}  # fmt: skip

WINDOWED = {
    "ROC": "shift(close, {d}) / close",
    "MA": "ts_mean(close, {d}) / close",
    "STD": "ts_std(close, {d}) / close",
    "BETA": "ts_slope(close, {d}) / close",
    "RSQR": "ts_rsquare(close, {d})",
    "RESI": "ts_resid(close, {d}) / close",
    "MAX": "ts_max(high, {d}) / close",
    "MIN": "ts_min(low, {d}) / close",
    "QTLU": "ts_quantile(close, {d}, 0.8) / close",
    "QTLD": "ts_quantile(close, {d}, 0.2) / close",
    "RANK": "ts_rank(close, {d})",
    "RSV": "(close - ts_min(low, {d})) / (ts_max(high, {d}) - ts_min(low, {d}))",
    "IMAX": "ts_argmax(high, {d}) / {d}",
    "IMIN": "ts_argmin(low, {d}) / {d}",
    "IMXD": "(ts_argmax(high, {d}) - ts_argmin(low, {d})) / {d}",
    "CORR": "ts_corr(close, log(volume + 1), {d})",
    "CORD": "ts_corr(close / shift(close, 1), log(volume / shift(volume, 1) + 1), {d})",
    "CNTP": "ts_mean(where(close > shift(close, 1), 1, 0), {d})",
    "CNTN": "ts_mean(where(close < shift(close, 1), 1, 0), {d})",
    "CNTD": "ts_mean(where(close > shift(close, 1), 1, 0), {d}) - ts_mean(where(close < shift(close, 1), 1, 0), {d})",
    "SUMP": "ts_sum(max2(delta(close, 1), 0), {d}) / (ts_sum(abs(delta(close, 1)), {d}) + 1e-12)",
    "SUMN": "ts_sum(max2(-delta(close, 1), 0), {d}) / (ts_sum(abs(delta(close, 1)), {d}) + 1e-12)",
    "SUMD": "ts_sum(delta(close, 1), {d}) / (ts_sum(abs(delta(close, 1)), {d}) + 1e-12)",
    "VMA": "ts_mean(volume, {d}) / (volume + 1e-12)",
    "VSTD": "ts_std(volume, {d}) / (volume + 1e-12)",
    "WVMA": "ts_std(abs(returns(close, 1)) * volume, {d}) / (ts_mean(abs(returns(close, 1)) * volume, {d}) + 1e-12)",
    "VSUMP": "ts_sum(max2(delta(volume, 1), 0), {d}) / (ts_sum(abs(delta(volume, 1)), {d}) + 1e-12)",
    "VSUMN": "ts_sum(max2(-delta(volume, 1), 0), {d}) / (ts_sum(abs(delta(volume, 1)), {d}) + 1e-12)",
    "VSUMD": "ts_sum(delta(volume, 1), {d}) / (ts_sum(abs(delta(volume, 1)), {d}) + 1e-12)",
}


def recipe_text(count: int | None = None) -> str:
    """Return the recipe, or its last `count` factors."""
    rows = dict(BARS)
    rows |= {f"{name}{d}": text.format(d=d) for name, text in WINDOWED.items() for d in WINDOWS}
    chosen = list(rows.items())[-(count or len(rows)) :]
    lines = [f'  - {{name: {name}, type: expression, expression: "{text}"}}' for name, text in chosen]
    return "\n".join(["factors:", *lines]) + "\n"
