"""The same evaluation by peers, written as their users would, vectorised: IC, rank IC, errors, quantiles, turnover.

Every call takes the factor and the forward returns as arrays [T, S] and returns the mean rank IC per horizon, which the
benchmark compares before it believes the time. NumPy + scipy does all that ours does: ties, gaps dropped pair by pair,
constant bars, names that leave (a test holds every number of it equal to ours). pandas and polars are written for data
without gaps, which is less work; alphalens drops what lacks any of the horizons.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
QUANTILES = 5


def newey_west(values: Floats, lag: int) -> tuple[float, float]:
    """Return the mean and its t-statistic, as statsmodels' HAC with a correction; bars without a value deviate not."""
    there = np.isfinite(values)
    n = int(there.sum())
    mean = float(values[there].mean())
    away = np.where(there, values - mean, 0.0)
    total = away @ away
    for step in range(1, lag + 1):
        total += 2.0 * (1.0 - step / (lag + 1.0)) * (away[step:] @ away[:-step])
    return mean, float(mean / (np.sqrt(total * n / (n - 1)) / n))


def deviations(values: Floats) -> tuple[Floats, Floats]:
    """Return a row's deviations from its mean and their sum of squares: the factor's are the same for all horizons."""
    away = values - values.mean(axis=1, keepdims=True)
    return away, (away**2).sum(axis=1)


def correlation(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> Floats:
    """Return the row-wise correlation of two arrays, given their `deviations`."""
    return np.asarray((one[0] * other[0]).sum(axis=1) / np.sqrt(one[1] * other[1]))


def correlation_of_pairs(one: Floats, other: Floats, pairs: Bools) -> Floats:
    """Return the same over the cells `pairs`, missing below three."""
    count = pairs.sum(axis=1)
    one, other = (np.where(pairs, side, 0.0) for side in (one, other))
    one, other = (np.where(pairs, side - (side.sum(axis=1) / count)[:, None], 0.0) for side in (one, other))
    made = (one * other).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    return np.where(count > 2, made, np.nan)


def numpy_numbers(factor: Floats, labels: Mapping[str, Floats], horizons: Mapping[str, int]) -> dict[str, Any]:
    """Return by horizon key IC and rank IC (mean, t, ICIR), quantile means and t, and turnover; autocorrelation.

    Whole bars are correlated at once; only bars with gaps are masked and ranked anew.
    """
    from scipy.stats import rankdata

    known = np.isfinite(factor)
    factor = np.where(known, factor, np.nan)
    ranks = rankdata(factor, axis=1, nan_policy="omit")
    with np.errstate(invalid="ignore", divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        known &= ((known.sum(axis=1) > 2) & (np.nanmin(factor, axis=1) < np.nanmax(factor, axis=1)))[:, None]
        names, usable = known.sum(axis=1), np.asarray(known.any(axis=1))
        bucket = np.where(known, np.floor(QUANTILES * (ranks - 0.5) / names[:, None] + 1e-9), -1.0).astype(np.int8)
        held = [bucket == q for q in range(QUANTILES)]
        sizes = [mask.sum(axis=1) for mask in held]
        away, away_in_rank = deviations(factor), deviations(ranks)
        found: dict[str, Any] = {}
        for key, bars in horizons.items():
            label = labels[key]
            pairs = known & np.isfinite(label)
            gaps = ~pairs.all(axis=1)
            some, mine, paid = pairs[gaps], factor[gaps], label[gaps]
            ic = correlation(away, deviations(label))
            rank_ic = correlation(away_in_rank, deviations(rankdata(label, axis=1)))
            ic[gaps] = correlation_of_pairs(mine, paid, some)
            theirs = [rankdata(np.where(some, side, np.nan), axis=1, nan_policy="omit") for side in (mine, paid)]
            rank_ic[gaps] = correlation_of_pairs(theirs[0], theirs[1], some)
            ic[np.asarray(np.isnan(rank_ic))] = (
                np.nan
            )  # a constant side: its ranks are equal exactly, its rounded mean is not
            quantiles, turnover = [], []
            for mask, size in zip(held, sizes, strict=True):
                means = np.where(mask, label, 0.0).sum(axis=1) / size
                here = mask[gaps] & some
                means[gaps] = np.where(here, paid, 0.0).sum(axis=1) / here.sum(axis=1)
                quantiles.append(newey_west(means, 2 * (bars - 1)))
                sold = 1.0 - (mask[:-bars] & mask[bars:]).sum(axis=1) / size[:-bars]
                turnover.append(float(np.nanmean(sold[usable[bars:] & usable[:-bars]])))
            found[key] = (
                *((*newey_west(one, 2 * (bars - 1)), icir(one)) for one in (ic, rank_ic)),
                quantiles,
                turnover,
            )
        both = known[1:] & known[:-1]
        off, squares = away_in_rank
        steps = correlation((off[1:], squares[1:]), (off[:-1], squares[:-1]))
        gaps = ~both.all(axis=1)
        steps[gaps] = correlation_of_pairs(ranks[1:][gaps], ranks[:-1][gaps], both[gaps])
        found["autocorrelation"] = float(np.nanmean(steps))
    return found


def icir(values: Floats) -> float:
    """Return the mean over the standard deviation (ddof 1)."""
    return float(np.nanmean(values) / np.nanstd(values, ddof=1))


def with_scipy(factor: Floats, labels: Mapping[str, Floats], horizons: Mapping[str, int]) -> list[float]:
    """NumPy and `scipy.stats.rankdata`."""
    found = numpy_numbers(factor, labels, horizons)
    return [found[key][1][0] for key in horizons]


def with_pandas(factor: Floats, labels: Mapping[str, Floats], horizons: Mapping[str, int]) -> list[float]:
    """Long table, `groupby` of vectorised columns; no `apply`."""
    import pandas as pd

    bars_, symbols = factor.shape
    bar = np.repeat(np.arange(bars_), symbols)
    table = pd.DataFrame({"bar": bar, "name": np.tile(np.arange(symbols), bars_), "factor": factor.ravel()})
    by_bar = table.groupby("bar", sort=False)
    table["rank"] = by_bar["factor"].rank()
    table["bucket"] = np.minimum((QUANTILES * (table["rank"] - 0.5) / symbols).astype(np.int64), QUANTILES - 1)

    def per_bar(one: str, other: str) -> Floats:
        a, b = (table[name] - table.groupby("bar", sort=False)[name].transform("mean") for name in (one, other))
        sums = pd.DataFrame({"bar": bar, "ab": a * b, "aa": a * a, "bb": b * b}).groupby("bar", sort=False).sum()
        return np.asarray(sums["ab"] / np.sqrt(sums["aa"] * sums["bb"]))

    found = []
    for key, bars in horizons.items():
        table["label"] = labels[key].ravel()
        table["label_rank"] = table.groupby("bar", sort=False)["label"].rank()
        ic, rank_ic = per_bar("factor", "label"), per_bar("rank", "label_rank")
        for series in (ic, rank_ic):
            newey_west(series, 2 * (bars - 1))
        means = table.groupby(["bar", "bucket"])["label"].mean().unstack()
        for q in range(QUANTILES):
            newey_west(means[q].to_numpy(), 2 * (bars - 1))
        earlier = table.groupby("name", sort=False)["bucket"].shift(bars)
        gone = (table["bucket"] != earlier)[earlier.notna()]
        gone.groupby([table["bar"], earlier]).mean().groupby(level=1).mean()
        found.append(float(np.nanmean(rank_ic)))
    table["before"] = table.groupby("name", sort=False)["rank"].shift(1)
    per_bar("rank", "before")
    return found


def with_polars(factor: Floats, labels: Mapping[str, Floats], horizons: Mapping[str, int]) -> list[float]:
    """One lazy query per horizon over a long frame."""
    import polars as pl

    rows, symbols = factor.shape
    base = pl.DataFrame({
        "bar": np.repeat(np.arange(rows), symbols), "name": np.tile(np.arange(symbols), rows), "factor": factor.ravel()
    }).with_columns(pl.col("factor").rank().over("bar").alias("rank"))  # fmt: skip
    base = base.with_columns((QUANTILES * (pl.col("rank") - 0.5) / symbols).cast(pl.Int64).alias("bucket"))
    found = []
    for key, bars in horizons.items():
        table = base.with_columns(pl.Series("label", labels[key].ravel()))
        per_bar = table.group_by("bar", maintain_order=True).agg(
            pl.corr("factor", "label").alias("ic"),
            pl.corr(pl.col("rank"), pl.col("label").rank()).alias("rank_ic"),
            *(pl.col("label").filter(pl.col("bucket") == q).mean().alias(f"q{q}") for q in range(QUANTILES)),
        )
        for name in ("ic", "rank_ic", *(f"q{q}" for q in range(QUANTILES))):
            newey_west(per_bar[name].to_numpy(), 2 * (bars - 1))
        table.with_columns(pl.col("bucket").shift(bars).over("name").alias("was")).drop_nulls("was").group_by(
            "bar", "was"
        ).agg((pl.col("bucket") != pl.col("was")).mean().alias("gone")).group_by("was").agg(pl.col("gone").mean())
        found.append(float(np.nanmean(per_bar["rank_ic"].to_numpy())))
    shifted = base.with_columns(pl.col("rank").shift(1).over("name").alias("before")).drop_nulls("before")
    shifted.group_by("bar").agg(pl.corr("rank", "before")).mean()
    return found


def with_alphalens(factor: Floats, labels: Mapping[str, Floats], horizons: Mapping[str, int]) -> list[float]:
    """Its `performance` functions on a factor table with our forward returns, as `get_clean_factor` makes it."""
    import pandas as pd
    from alphalens import performance, utils

    days = pd.date_range("2000-01-01", periods=len(factor), freq="h", tz="UTC")
    index = pd.MultiIndex.from_product([days, range(factor.shape[1])], names=["date", "asset"])
    tidy = pd.DataFrame({f"{bars}h": labels[key].ravel() for key, bars in horizons.items()}, index)
    tidy.index.levels[0].freq = days.freq
    tidy["factor"] = factor.ravel()
    tidy = tidy.dropna()
    tidy["factor_quantile"] = utils.quantize_factor(tidy, QUANTILES)
    ic = performance.factor_information_coefficient(tidy)
    performance.mean_return_by_quantile(tidy, demeaned=False)
    for bars in horizons.values():
        for q in range(QUANTILES):
            performance.quantile_turnover(tidy["factor_quantile"], q + 1, bars)
    performance.factor_rank_autocorrelation(tidy, 1)
    return [float(value) for value in ic.mean()]


PEERS: Mapping[str, tuple[str, Any]] = {
    "NumPy + scipy": ("scipy", with_scipy),
    "polars": ("polars", with_polars),
    "pandas groupby": ("pandas", with_pandas),
    "alphalens-reloaded": ("alphalens", with_alphalens),
}
